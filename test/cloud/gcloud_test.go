package cloud

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// step is a command, and what must come of it.
type step struct {
	run     string // with the arguments apart by blanks; · stands for a blank in one
	refused string // part of what it says when it fails; empty: it does not
	says    string // part of what it prints
	changes string // the changing requests that arrive, with ", " between them, as METHOD PATH-AFTER-THE-PROJECT
}

// machine is where gcloud runs, with a server for it.
type machine struct {
	*Server
	dir string
	env []string
}

// newMachine has gcloud and bq, which CI must have.
func newMachine(t *testing.T, config Config) machine {
	t.Helper()
	for _, name := range []string{"gcloud", "bq"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("CI must have %s: %v", name, err)
			}
			t.Skipf("no %s here: %v", name, err)
		}
	}
	s, dir := start(t, config), t.TempDir()
	env, err := s.Environ(dir)
	if err != nil {
		t.Fatal(err)
	}
	// Nothing of the machine's: not its home, not its variables.
	return machine{Server: s, dir: dir, env: append(env, "PATH="+os.Getenv("PATH"), "HOME="+dir, "LC_ALL=C.UTF-8")}
}

// run runs a command, and returns what it printed and the changing requests.
func (m machine) run(t *testing.T, command string) (printed string, changes []string, failed bool) {
	t.Helper()
	args := strings.Fields(command)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "·", " ")
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = m.dir, m.env, &out, &out
	before := len(m.Requests())
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for _, r := range m.Requests()[before:] {
		if r.Mutates() {
			_, rest, found := strings.Cut(r.Path, "/"+m.config.Project)
			if !found {
				rest = r.Path
			}
			changes = append(changes, r.Method+" "+rest)
		}
	}
	return out.String(), changes, err != nil
}

// walk runs one step after the other.
func (m machine) walk(t *testing.T, steps []step) {
	t.Helper()
	defer func() {
		for _, r := range m.Requests() {
			if r.Unknown {
				t.Errorf("%s: is not known to the server", r)
			}
		}
	}()
	for _, step := range steps {
		printed, changes, failed := m.run(t, step.run)
		if failed != (step.refused != "") {
			t.Fatalf("%s: fails: %t\n%s", step.run, failed, printed)
		}
		// gcloud breaks lines where its terminal would.
		flat := strings.Join(strings.Fields(printed), " ")
		if !strings.Contains(flat, step.refused) || !strings.Contains(flat, step.says) {
			t.Errorf("%s: says\n%s\nwant %q", step.run, printed, step.refused+step.says)
		}
		if got := strings.Join(changes, ", "); step.changes != "-" && got != step.changes {
			t.Errorf("%s: changes by %q; want %q", step.run, got, step.changes)
		}
	}
}

// write puts a file where the commands run.
func (m machine) write(t *testing.T, name, content string) {
	t.Helper()
	name = filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// For an API without an override gcloud asks the proxy for the way to Google.
func TestNothingLeavesTheMachine(t *testing.T) {
	t.Parallel()
	m := newMachine(t, Empty())
	printed, _, failed := m.run(t, "gcloud dns managed-zones list --project=example-project")
	if !failed || !strings.Contains(printed, "dns.googleapis.com: this stand-in for Google Cloud has no such API") {
		t.Errorf("a command for an API that is not here: fails: %t\n%s\nwant a refusal that names the API", failed, printed)
	}
	if requests := m.Requests(); len(requests) != 1 || !requests[0].Unknown || requests[0].Host != "dns.googleapis.com" {
		t.Errorf("requests %v; want the one for what is not here", requests)
	}
}

func TestGcloudSetsUpAProject(t *testing.T) {
	t.Parallel()
	m := newMachine(t, Empty())
	m.write(t, "policy.yaml", "allow: []\n")
	const in = " --project=example-project"
	const runtime = "serviceAccount:onbehalf-runtime@example-project.iam.gserviceaccount.com"
	m.walk(t, []step{
		{run: "gcloud pubsub topics list" + in, refused: "SERVICE_DISABLED"},
		{run: "gcloud projects describe somebody-else", refused: "Permission denied on resource project somebody-else"},
		{run: "gcloud services enable pubsub.googleapis.com iam.googleapis.com secretmanager.googleapis.com" + in, says: "finished successfully", changes: "POST /services:batchEnable"},
		{run: "gcloud services list --enabled" + in, says: "pubsub.googleapis.com"},
		{run: "gcloud beta services identity create --service=pubsub.googleapis.com" + in, says: "service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com", changes: "POST /services/pubsub.googleapis.com:generateServiceIdentity"},
		{run: "gcloud projects describe example-project --format=value(projectNumber)", says: "123456789012"},
		{run: "gcloud config get account", says: "admin@example.com"},

		{run: "gcloud iam service-accounts create onbehalf-runtime --display-name=Runs" + in, says: "Created", changes: "POST /serviceAccounts"},
		{run: "gcloud iam service-accounts create onbehalf-runtime" + in, refused: "already exists", changes: "POST /serviceAccounts"},
		{run: "gcloud iam service-accounts list --format=value(email)" + in, says: "onbehalf-runtime@"},
		{run: "gcloud iam roles create onbehalfSigner --title=Sign --permissions=iam.serviceAccounts.signJwt --stage=GA" + in, changes: "POST /roles"},
		{run: "gcloud iam roles update onbehalfSigner --title=Signs --permissions=iam.serviceAccounts.signJwt --stage=GA --quiet" + in, says: "title: Signs", changes: "PATCH /roles/onbehalfSigner"},
		{run: "gcloud iam roles delete onbehalfSigner" + in, says: "deleted: true", changes: "DELETE /roles/onbehalfSigner"},
		{run: "gcloud iam roles undelete onbehalfSigner" + in, changes: "POST /roles/onbehalfSigner:undelete"},
		{run: "gcloud iam roles describe onbehalfSigner --format=value(includedPermissions)" + in, says: "iam.serviceAccounts.signJwt"},
		{
			run:     "gcloud iam service-accounts add-iam-policy-binding onbehalf-runtime@example-project.iam.gserviceaccount.com --role=projects/example-project/roles/onbehalfSigner --member=" + runtime + in,
			changes: "POST /serviceAccounts/onbehalf-runtime@example-project.iam.gserviceaccount.com:setIamPolicy",
		},
		{run: "gcloud projects add-iam-policy-binding example-project --condition=None --role=roles/datastore.user --member=" + runtime, changes: "POST :setIamPolicy"},
		{run: "gcloud projects add-iam-policy-binding example-project --condition=None --role=roles/pubsub.nothing --member=" + runtime, refused: "is not supported for this resource", changes: "POST :setIamPolicy"},
		{run: "gcloud projects remove-iam-policy-binding example-project --condition=None --role=roles/datastore.user --member=" + runtime, changes: "POST :setIamPolicy"},

		{run: "gcloud pubsub topics create onbehalf-jobs onbehalf-dead-letters" + in, changes: "PUT /topics/onbehalf-jobs, PUT /topics/onbehalf-dead-letters"},
		{run: "gcloud pubsub topics add-iam-policy-binding onbehalf-jobs --role=roles/pubsub.publisher --member=" + runtime + in, says: "Updated IAM policy", changes: "POST /topics/onbehalf-jobs:setIamPolicy"},
		{run: "gcloud pubsub topics add-iam-policy-binding onbehalf-jobs --role=roles/pubsub.publisher --member=serviceAccount:nobody@example-project.iam.gserviceaccount.com" + in, refused: "does not exist", changes: "POST /topics/onbehalf-jobs:setIamPolicy"},
		{run: "gcloud pubsub subscriptions create onbehalf-results --topic=onbehalf-jobs --message-retention-duration=7d --expiration-period=never" + in, changes: "PUT /subscriptions/onbehalf-results"},
		{run: "gcloud pubsub subscriptions update onbehalf-results --dead-letter-topic=onbehalf-dead-letters --max-delivery-attempts=100 --min-retry-delay=10s --max-retry-delay=600s --ack-deadline=600" + in, changes: "PATCH /subscriptions/onbehalf-results"},
		{run: "gcloud pubsub subscriptions update onbehalf-results --dead-letter-topic=onbehalf-nothing" + in, refused: "onbehalf-nothing", changes: "PATCH /subscriptions/onbehalf-results"},
		{run: "gcloud pubsub subscriptions describe onbehalf-results --format=value(ackDeadlineSeconds,deadLetterPolicy.maxDeliveryAttempts,retryPolicy.minimumBackoff,expirationPolicy.ttl)" + in, says: "600 100 10s"},
		{run: "gcloud pubsub topics publish onbehalf-jobs --message=hello" + in, says: "messageIds", changes: "POST /topics/onbehalf-jobs:publish"},
		{run: "gcloud pubsub subscriptions pull onbehalf-results --auto-ack --format=value(message.data.decode(base64))" + in, says: "hello", changes: "POST /subscriptions/onbehalf-results:pull, POST /subscriptions/onbehalf-results:acknowledge"},

		{run: "gcloud secrets create onbehalf-policy --replication-policy=automatic" + in, changes: "POST /secrets"},
		{run: "gcloud secrets versions access latest --secret=onbehalf-policy" + in, refused: "NOT_FOUND"},
		{run: "gcloud secrets versions add onbehalf-policy --data-file=policy.yaml" + in, says: "Created version [1]", changes: "POST /secrets/onbehalf-policy:addVersion"},
		{run: "gcloud secrets versions access latest --secret=onbehalf-policy" + in, says: "allow: []"},
		{run: "gcloud secrets versions describe latest --secret=onbehalf-policy --format=value(name.basename())" + in, says: "1"},
		{run: "gcloud secrets add-iam-policy-binding onbehalf-policy --role=roles/secretmanager.secretAccessor --member=" + runtime + in, changes: "POST /secrets/onbehalf-policy:setIamPolicy"},
		{run: "gcloud secrets delete onbehalf-policy --quiet" + in, changes: "DELETE /secrets/onbehalf-policy"},
	})
	want := []string{
		"//cloudresourcemanager.googleapis.com/projects/example-project roles/owner user:admin@example.com",
		"//cloudresourcemanager.googleapis.com/projects/example-project roles/pubsub.serviceAgent serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com",
		"//iam.googleapis.com/projects/example-project/serviceAccounts/onbehalf-runtime@example-project.iam.gserviceaccount.com projects/example-project/roles/onbehalfSigner " + runtime,
		"//pubsub.googleapis.com/projects/example-project/topics/onbehalf-jobs roles/pubsub.publisher " + runtime,
	}
	if got := m.Bindings(); !slices.Equal(got, want) {
		t.Errorf("in the end the bindings are %q; want %q", got, want)
	}
}

func TestGcloudDeploysFunctions(t *testing.T) {
	t.Parallel()
	m := newMachine(t, everything())
	m.write(t, "source/go.mod", "module example.com/f\n\ngo 1.26\n")
	m.write(t, "source/f.go", "package f\n")
	const in, there = " --project=example-project", " --region=europe-west1 --project=example-project"
	const trigger = "serviceAccount:onbehalf-trigger@example-project.iam.gserviceaccount.com"
	const deploy = "gcloud functions deploy onbehalf-execute --gen2 --runtime=go126 --source=source --entry-point=Execute --trigger-topic=onbehalf-jobs --retry --ingress-settings=internal-only --cpu=1 --memory=512Mi --concurrency=80 --min-instances=0" +
		" --run-service-account=onbehalf-runtime@example-project.iam.gserviceaccount.com --trigger-service-account=onbehalf-trigger@example-project.iam.gserviceaccount.com --set-env-vars=A=B" + there
	must(
		t, m.Server, "PUT "+topic+"/onbehalf-jobs {}",
		"POST "+accounts+` {"accountId": "onbehalf-runtime"}`, "POST "+accounts+` {"accountId": "onbehalf-trigger"}`,
	)
	m.walk(t, []step{
		{run: "gcloud meta list-files-for-upload source", says: "go.mod"},
		{run: strings.Replace(deploy, "go126", "go121", 1), refused: "go121 is not a supported runtime"},
		{run: strings.Replace(deploy, "onbehalf-jobs", "onbehalf-nothing", 1), refused: "topics/onbehalf-nothing", changes: "-"},
		{run: deploy, says: "[Build]..done [Service]..done [Trigger]..done Done.", changes: "-"},
		{run: "gcloud functions describe onbehalf-execute --gen2 --format=value(state,serviceConfig.availableCpu,serviceConfig.minInstanceCount.yesno(no=0),eventTrigger.retryPolicy)" + there, says: "ACTIVE 1 0 RETRY_POLICY_RETRY"},
		{run: deploy + " --update-labels=a=b", says: "a: b", changes: "-"},
		{run: "gcloud functions list --v2 --regions=europe-west1" + in, says: "onbehalf-execute ACTIVE topic: onbehalf-jobs europe-west1"},
		{run: "gcloud eventarc triggers list --location=europe-west1 --format=value(transport.pubsub.subscription)" + in, says: "projects/example-project/subscriptions/eventarc-europe-west1-onbehalf-execute-"},
		{run: "gcloud run services list" + there, says: "onbehalf-execute europe-west1"},
		{run: "gcloud run services add-iam-policy-binding onbehalf-execute --role=roles/run.invoker --member=" + trigger + there, changes: "POST /locations/europe-west1/services/onbehalf-execute:setIamPolicy"},
		{run: "gcloud run services describe onbehalf-nothing" + there, refused: "Cannot find service"},
		{run: "gcloud functions delete onbehalf-execute --gen2 --quiet" + there, says: "Deleted", changes: "DELETE /locations/europe-west1/functions/onbehalf-execute"},
		{run: "gcloud functions describe onbehalf-execute --gen2" + there, refused: "was not found"},
	})
}

func TestGcloudKeepsALedgerAndSchedules(t *testing.T) {
	t.Parallel()
	m := newMachine(t, everything())
	m.write(t, "build.yaml", "steps:\n- name: golang:1.26\n  args: [version]\n")
	m.write(t, "wrong.yaml", "steps:\n- nome: golang:1.26\n")
	const in, there = " --project=example-project", " --location=europe-west1 --project=example-project"
	must(t, m.Server, "PUT "+topic+"/onbehalf-sweep {}")
	m.walk(t, []step{
		{run: "gcloud firestore databases describe --database=(default)" + in, refused: "NOT_FOUND"},
		{run: "gcloud firestore databases create --database=(default) --type=firestore-native --delete-protection" + there, says: "done: true", changes: "POST /databases"},
		{run: "gcloud firestore databases describe --database=(default) --format=value(type)" + in, says: "FIRESTORE_NATIVE"},
		{run: "gcloud firestore fields ttls update expireAt --collection-group=onbehalf-jobs --enable-ttl --async --database=(default)" + in, changes: "PATCH /databases/(default)/collectionGroups/onbehalf-jobs/fields/expireAt"},
		{run: "gcloud firestore fields ttls list --database=(default) --format=value(name,ttlConfig.state)" + in, says: "onbehalf-jobs/fields/expireAt CREATING"},
		{run: "gcloud firestore databases delete --database=(default) --quiet" + in, refused: "delete protection", changes: "DELETE /databases/(default)"},

		{run: "gcloud scheduler jobs create pubsub onbehalf-sweep --topic=projects/example-project/topics/onbehalf-sweep --schedule=*·*·*·*·* --message-body={}" + there, says: "state: ENABLED", changes: "POST /locations/europe-west1/jobs"},
		{run: "gcloud scheduler jobs update pubsub onbehalf-sweep --schedule=often" + there, refused: "Schedule or time zone is invalid", changes: "PATCH /locations/europe-west1/jobs/onbehalf-sweep"},
		{run: "gcloud scheduler jobs update pubsub onbehalf-sweep --schedule=*/2·*·*·*·* --time-zone=Europe/Zurich" + there, says: "Europe/Zurich", changes: "PATCH /locations/europe-west1/jobs/onbehalf-sweep"},
		{run: "gcloud scheduler jobs list --format=value(schedule,timeZone)" + there, says: "*/2 * * * * Europe/Zurich"},
		{run: "gcloud scheduler jobs delete onbehalf-sweep --quiet" + there, changes: "DELETE /locations/europe-west1/jobs/onbehalf-sweep"},

		{run: "gcloud builds submit --no-source --config=build.yaml" + in, says: "Each step counts as done.", changes: "POST /locations/global/builds"},
		{run: "gcloud builds submit --no-source --config=wrong.yaml" + in, refused: ".steps[0].nome: unused"},
	})
}

func TestGcloudMonitorsAndBqKeepsResults(t *testing.T) {
	t.Parallel()
	m := newMachine(t, everything())
	m.write(t, "metric.yaml", "description: jobs\nfilter: jsonPayload.message=\"attempt\"\nlabelExtractors:\n  status: EXTRACT(jsonPayload.status)\nmetricDescriptor:\n  labels:\n  - key: status\n")
	m.write(t, "alert.yaml", "displayName: jobs\ncombiner: OR\nconditions:\n- displayName: c\n  conditionThreshold:\n    filter: resource.type=\"cloud_run_revision\" AND metric.type=\"logging.googleapis.com/user/onbehalf/jobs\"\n    comparison: COMPARISON_GT\n    duration: 60s\n    aggregations:\n    - alignmentPeriod: 60s\n      perSeriesAligner: ALIGN_DELTA\n")
	m.write(t, "dashboard.yaml", "displayName: onbehalf\ngridLayout:\n  widgets:\n  - text:\n      content: Hello\n")
	m.write(t, "schema.json", `[{"name": "data", "type": "JSON"}, {"name": "publish_time", "type": "TIMESTAMP"}]`)
	const in, bq = " --project=example-project", "bq --project_id=example-project "
	m.walk(t, []step{
		{run: "gcloud alpha monitoring policies create --policy-from-file=alert.yaml" + in, refused: "Cannot find metric", changes: "POST /alertPolicies"},
		{run: "gcloud logging metrics create onbehalf/jobs --config-from-file=metric.yaml" + in, says: "Created", changes: "POST /metrics"},
		{run: "gcloud logging metrics update onbehalf/jobs --description=new" + in, says: "Updated", changes: "PUT /metrics/onbehalf%252Fjobs"},
		{run: "gcloud logging metrics list --format=value(name,description)" + in, says: "onbehalf/jobs new"},
		{run: "gcloud beta monitoring channels create --type=email --channel-labels=email_address=a@example.com --display-name=alerts --user-labels=onbehalf=alerts" + in, says: "Created notification channel", changes: "POST /notificationChannels"},
		{run: "gcloud beta monitoring channels list --filter=userLabels.onbehalf=alerts --format=value(displayName)" + in, says: "alerts"},
		{run: "gcloud alpha monitoring policies create --policy-from-file=alert.yaml --user-labels=onbehalf=jobs" + in, says: "Created alert policy", changes: "POST /alertPolicies"},
		{run: "gcloud alpha monitoring policies list --format=value(displayName,userLabels.onbehalf)" + in, says: "jobs jobs"},
		{run: "gcloud monitoring dashboards create --config-from-file=dashboard.yaml" + in, says: "Created", changes: "POST /dashboards"},
		{run: "gcloud monitoring dashboards list --format=value(displayName)" + in, says: "onbehalf"},

		{run: bq + "mk --dataset --location=europe-west1 results", says: "successfully created", changes: "POST /datasets"},
		{run: bq + "mk --table --time_partitioning_field=nothing results.jobs schema.json", refused: "partitioning", changes: "POST /datasets/results/tables"},
		{run: bq + "mk --table --clustering_fields=publish_time results.jobs schema.json", says: "successfully created", changes: "POST /datasets/results/tables"},
		{run: bq + "show --format=json results.jobs", says: `"location":"europe-west1"`},
		{run: bq + "rm -f -d results", refused: "still in use", changes: "DELETE /datasets/results"},
		{run: bq + "rm -f -t results.jobs", changes: "DELETE /datasets/results/tables/jobs"},
		{run: bq + "rm -f -d results", changes: "DELETE /datasets/results"},
		{run: bq + "show results", refused: "Not found: Dataset"},
	})
}
