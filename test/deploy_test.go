package test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
	"github.com/onbehalf-dev/onbehalf/test/cloud"
	"github.com/onbehalf-dev/onbehalf/test/emulator"
)

// The scripts in deploy are run as people run them, with the real gcloud and bq, in a project
// that test/cloud stands in for. What is looked at is what arrives there.

// cloudProject is a project of Google Cloud's that a test has to itself, and a terminal in it.
type cloudProject struct {
	*cloud.Server
	id       string
	env      []string
	dir      string
	settings map[string]string
	scopes   []string // of the administrator's link
}

// newCloudProject makes one with nothing in it, and a configuration with every option.
func newCloudProject(t *testing.T) *cloudProject {
	t.Helper()
	for _, name := range []string{"gcloud", "bq"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%v; CI needs the Google Cloud SDK", err)
			}
			t.Skip(err)
		}
	}
	empty := cloud.Empty()
	server, err := cloud.Start(t.Context(), "127.0.0.1:0", empty)
	if err != nil {
		t.Fatal(err)
	}
	p := &cloudProject{Server: server, id: empty.Project, dir: t.TempDir()}
	own, err := server.Environ(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	p.env = append(os.Environ(), own...)
	p.env = append(p.env, "PATH="+logged(t, p.path("bin"))+":"+os.Getenv("PATH"))
	write(t, p.path("policy.yaml"), "domains: [example.com]\nactions: [gmail.users.messages.insert]\n")
	write(t, p.path("rules.yaml"), "labels: [INBOX]\nrules: []\n")
	write(t, p.path("schedules"), "# by the clock\n\nsignatures | 0  3 * * * | Europe/Paris | docs/batches/signatures.yaml\nwatches|30 */12 * * *|Etc/UTC|docs/batches/watches.yaml\n")
	p.settings = map[string]string{
		"GOOGLE_CLOUD_PROJECT": p.id, "REGION": "europe-west1", "FIRESTORE_LOCATION": "eur3", "ONBEHALF_ADMIN": "admin@example.com",
		"ONBEHALF_POLICY": p.path("policy.yaml"), "ONBEHALF_RULES": p.path("rules.yaml"), "SCHEDULES": p.path("schedules"),
		"ALERT_EMAIL": "oncall@example.com", "BIGQUERY_DATASET": "onbehalf", "BIGQUERY_LOCATION": "EU", "DEPLOYER": "user:deployer@example.com",
	}
	return p
}

// logged makes a gcloud and a bq that are the real ones, and note what was accepted.
func logged(t *testing.T, dir string) string {
	t.Helper()
	for _, name := range []string{"gcloud", "bq"} {
		program, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), "#!/usr/bin/env bash\n"+program+` "$@" || exit; echo "`+name+` ${*//$'\n'/ }" >>'`+acceptedLog()+"'\n")
		if err := os.Chmod(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func (p *cloudProject) path(name string) string { return filepath.Join(p.dir, name) }

// ran is what came of a script.
type ran struct {
	stdout, stderr string
	status         int
	asked          []cloud.Request
}

// changes are the requests for a change, each as a line without project and query.
func (r ran) changes() []string {
	list := []string{}
	for _, request := range r.asked {
		if request.Mutates() {
			list = append(list, fmt.Sprintf("%s %s%s", request.Method, request.Host, request.Path))
		}
	}
	return list
}

// bash runs a command in the root folder.
func (p *cloudProject) bash(t *testing.T, line string) ran {
	t.Helper()
	before := len(p.Requests())
	cmd := command(t, root, "bash", "-c", line)
	var stdout, stderr strings.Builder
	cmd.Env, cmd.Stdout, cmd.Stderr = p.env, &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	asked := p.Requests()[before:]
	for _, request := range asked {
		if request.Unknown {
			t.Errorf("test/cloud knows no %s", request)
		}
	}
	return ran{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode(), asked}
}

// script runs one of deploy's with the project's configuration.
func (p *cloudProject) script(t *testing.T, line string) ran {
	t.Helper()
	var config strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p.settings)) {
		fmt.Fprintf(&config, "%s='%s'\n", name, p.settings[name])
	}
	write(t, p.path("config.env"), config.String())
	return p.bash(t, "deploy/"+line+" --config="+p.path("config.env"))
}

// must runs a script that is to succeed.
func (p *cloudProject) must(t *testing.T, line string) ran {
	t.Helper()
	r := p.script(t, line)
	if r.status != 0 {
		t.Fatalf("%s: exit status %d\n%s", line, r.status, r.stderr)
	}
	return r
}

// changesOnly runs a script that is to succeed and to ask for just these changes, given as patterns, in any order: functions
// are deployed side by side.
func (p *cloudProject) changesOnly(t *testing.T, line string, want ...string) {
	t.Helper()
	got := p.must(t, line).changes()
	if len(got) != len(want) {
		t.Errorf("%s asks for %d changes, %q; want %d", line, len(got), got, len(want))
		return
	}
	for _, pattern := range want {
		i := slices.IndexFunc(got, regexp.MustCompile(pattern).MatchString)
		if i < 0 {
			t.Errorf("%s: no change is %s; left are %q", line, pattern, got)
			return
		}
		got = slices.Delete(got, i, i+1)
	}
}

// function is a function's full name.
func (p *cloudProject) function(name string) string {
	return "//cloudfunctions.googleapis.com/projects/" + p.id + "/locations/europe-west1/functions/" + name
}

// entryPoints are the functions' names, by what they are deployed for.
var entryPoints = map[string]string{
	"Execute": "onbehalf-execute", "DeadLetter": "onbehalf-dead-letter", "FanOut": "onbehalf-fanout", "Sweep": "onbehalf-sweep",
}

func TestEveryEntryPointIsDeployed(t *testing.T) {
	script := read(t, "deploy/deploy.sh")
	for name := range functions.EntryPoints() {
		if want := "deploy " + entryPoints[name] + " " + name + " "; entryPoints[name] == "" || !strings.Contains(script, want) {
			t.Errorf("deploy/deploy.sh does not deploy %s; want %q", name, want)
		}
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	var all sync.WaitGroup // not t.Parallel, for they wait most of their time
	for name, test := range map[string]func(*testing.T){
		"a deployment lives": deploymentLives, "it goes on where it failed": goesOnWhereItFailed, "dry runs can be pasted": dryRunsCanBePasted,
		"wrong settings stop it": wrongSettingsStopIt, "wrong files stop setup": wrongFilesStopSetup, "the rest is accepted": restIsAccepted,
	} {
		all.Go(func() { t.Run(name, test) })
	}
	all.Wait()
	if t.Failed() {
		return
	}
	accepted := map[string]bool{}
	for line := range strings.Lines(textAt(t, acceptedLog())) {
		accepted[verbs(line)] = true
	}
	scripts, err := filepath.Glob(filepath.Join(root, "deploy", "*.sh"))
	if err != nil {
		t.Fatal(err)
	}
	libraries, err := filepath.Glob(filepath.Join(root, "deploy", "lib", "*.sh"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(scripts, libraries...) {
		for i, line := range strings.Split(textAt(t, file), "\n") {
			for _, command := range commandPattern.FindAllString(uncommented(line), -1) {
				if verb := verbs(command); !isBegun(accepted, verb) && !slices.Contains(notRun, verb) {
					t.Errorf("%s:%d: %q was accepted by nobody", file, i+1, verb)
				}
			}
		}
	}
}

// acceptedLog has the commands that the real gcloud and bq have accepted, one a line.
func acceptedLog() string { return filepath.Join(run.dir, "accepted") }

// notRun is what the scripts say to people: commands that need a browser or diagnose a network, and a sentence.
var notRun = []string{"gcloud auth login", "gcloud config get account", "gcloud info", "gcloud is not on", "bq is not on"}

// commandPattern is a command in a script, up to the first word that the script puts in; flagPattern is a flag.
var (
	flagPattern    = regexp.MustCompile(` +--?[a-z_-]+(=("[^"]*"|'[^']*'|[^\s"'])*)?`)
	commandPattern = regexp.MustCompile(`\b(gcloud|bq)(` + flagPattern.String() + `| +[a-z][a-z0-9-]*)+`)
)

// verbs are a command's words, without flags.
func verbs(command string) string {
	return strings.TrimSpace(flagPattern.ReplaceAllString(command, ""))
}

func isBegun(accepted map[string]bool, verb string) bool {
	for command := range accepted {
		if strings.HasPrefix(command, verb) {
			return true
		}
	}
	return false
}

// textAt is what a file has in it.
func textAt(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// uncommented is a line of a script without its comment.
func uncommented(line string) string {
	line, _, _ = strings.Cut(" "+line, " #")
	return line
}

// The life of a deployment: from an empty project to one, through changes, and away again.
func deploymentLives(t *testing.T) {
	p := newCloudProject(t)
	fresh := p.Names()
	p.Delay(2) // a service account that was just made is not known at once

	setup := p.must(t, "setup.sh")
	id, _ := p.Resource("//iam.googleapis.com/projects/" + p.id + "/serviceAccounts/onbehalf-delegated@" + p.id + ".iam.gserviceaccount.com")["uniqueId"].(string)
	link := regexp.MustCompile(`https://admin\.google\.com/ac/owl/domainwidedelegation\?clientScopeToAdd=(\S+)&clientIdToAdd=` + id + `\b`).FindStringSubmatch(setup.stderr)
	if id == "" || link == nil {
		t.Fatalf("setup.sh does not end with the administrator's link for the client id %q:\n%s", id, setup.stderr)
	}
	p.scopes = strings.Split(link[1], ",")
	p.changesOnly(t, "setup.sh")

	p.quotes(t, "onbehalf-dead-letter: ", p.must(t, "deploy.sh").stderr)
	p.hasRights(t)
	p.isDeployed(t)
	p.changesOnly(t, "deploy.sh")

	t.Run("only what is chosen otherwise is changed", p.chosenOtherwise)
	t.Run("what somebody has changed is put right", p.putRight)
	t.Run("what arrived is the function", p.answers)

	before := p.Names()
	p.must(t, "teardown.sh --yes --delete-ledger")
	p.changesOnly(t, "teardown.sh --yes --delete-results", `^DELETE bigquery\.\S+/tables/results$`)
	p.leavesNothing(t, fresh, before)
	// Over what is left, a database among it, and with a role that somebody has deleted, all can be made again. It
	// is broken off before the alerts, which are as they were the first time.
	p.bash(t, "gcloud iam roles delete onbehalfSigner --quiet --project="+p.id)
	p.Fail(cloud.Fault{Method: http.MethodGet, Path: regexp.MustCompile(`^logging\.`), Times: 1, Status: http.StatusForbidden})
	p.script(t, "setup.sh")
	if got := p.given(); !slices.ContainsFunc(got, func(b string) bool {
		return strings.Contains(b, "roles/onbehalfSigner serviceAccount:onbehalf-runtime@")
	}) {
		t.Errorf("after a second setup nobody may sign: %q", got)
	}
}

// hasRights holds all rights in the project against the table in docs/deploy.md: no more, and no less.
func (p *cloudProject) hasRights(t *testing.T) {
	t.Helper()
	var got []string
	for _, binding := range p.given() {
		resource, right, _ := strings.Cut(binding, " ")
		binding = resource[strings.LastIndex(resource, "/")+1:] + " " + right
		binding = regexp.MustCompile(`eventarc-europe-west1-(\S+)-\d+-sub-\d+`).ReplaceAllString(binding, "the subscription of $1")
		got = append(got, strings.NewReplacer("@"+p.id+".iam.gserviceaccount.com", "", "projects/"+p.id+"/", "", "123456789012", "N").Replace(binding))
	}
	slices.Sort(got)
	want := slices.Concat(slices.Collect(maps.Values(rights))...)
	slices.Sort(want)
	for _, right := range got {
		if !slices.Contains(want, right) {
			t.Errorf("rights: %s: is not in the table", right)
		}
	}
	for _, right := range want {
		if !slices.Contains(got, right) {
			t.Errorf("rights: %s: is missing", right)
		}
	}
	role := p.Resource("//iam.googleapis.com/projects/" + p.id + "/roles/onbehalfSigner")
	if got := fmt.Sprint(role["includedPermissions"]); got != "[iam.serviceAccounts.signJwt]" {
		t.Errorf("onbehalfSigner permits %s; want signing alone", got)
	}
}

// given are the rights that somebody has given: not the owner's, nor those that Google gives its own agents
// when an API is switched on.
func (p *cloudProject) given() []string {
	return slices.DeleteFunc(p.Bindings(), func(b string) bool {
		return strings.HasSuffix(b, " roles/owner user:admin@example.com") || strings.Contains(b, "serviceAgent serviceAccount:service-")
	})
}

// isDeployed sees what the functions were deployed with, and what their triggers' subscriptions are.
func (p *cloudProject) isDeployed(t *testing.T) {
	t.Helper()
	topics := map[string]string{"Execute": "onbehalf-jobs", "DeadLetter": "onbehalf-dead-letters", "FanOut": "onbehalf-batches", "Sweep": "onbehalf-sweep"}
	instances := map[string]string{"Execute": "10", "DeadLetter": "1", "FanOut": "3", "Sweep": "3"}
	account := func(name string) string { return "onbehalf-" + name + "@" + p.id + ".iam.gserviceaccount.com" }
	for entry, name := range entryPoints {
		f := p.Resource(p.function(name))
		service, trigger := part(f, "serviceConfig"), part(f, "eventTrigger")
		environment := part(service, "environmentVariables")
		delete(environment, "LOG_EXECUTION_ID") // gcloud's own
		for what, c := range map[string]struct{ got, want any }{
			"entry point":     {part(f, "buildConfig")["entryPoint"], entry},
			"runtime":         {part(f, "buildConfig")["runtime"], "go126"},
			"runs as":         {service["serviceAccountEmail"], account("runtime")},
			"delivered as":    {trigger["serviceAccountEmail"], account("trigger")},
			"topic":           {trigger["pubsubTopic"], "projects/" + p.id + "/topics/" + topics[entry]},
			"retries":         {trigger["retryPolicy"], "RETRY_POLICY_RETRY"},
			"ingress":         {service["ingressSettings"], "ALLOW_INTERNAL_ONLY"},
			"instances":       {fmt.Sprint(service["maxInstanceCount"]), instances[entry]},
			"processors":      {fmt.Sprint(service["availableCpu"]), "1"},
			"memory":          {service["availableMemory"], "1Gi"},
			"the environment": {fmt.Sprint(environment), fmt.Sprint(p.environment(instances[entry]))},
		} {
			if c.got != c.want {
				t.Errorf("%s: %s: %v; want %v", name, what, c.got, c.want)
			}
		}
		s := p.subscription(t, name)
		dead := part(s, "deadLetterPolicy")
		if policy := part(s, "retryPolicy"); policy["minimumBackoff"] != "10s" || policy["maximumBackoff"] != "600s" || fmt.Sprint(s["ackDeadlineSeconds"]) != "600" || len(part(s, "expirationPolicy")) != 0 {
			t.Errorf("%s: its subscription is %v", name, s)
		}
		if (entry == "Execute") != (dead["deadLetterTopic"] == "projects/"+p.id+"/topics/onbehalf-dead-letters" && fmt.Sprint(dead["maxDeliveryAttempts"]) == "100") {
			t.Errorf("%s: its dead letters are %v", name, dead)
		}
	}
}

// environment is that of each function, but for how many instances there are.
func (p *cloudProject) environment(instances string) map[string]any {
	return map[string]any{
		"ONBEHALF_SERVICE_ACCOUNT": "onbehalf-delegated@" + p.id + ".iam.gserviceaccount.com", "ONBEHALF_ADMIN": "admin@example.com",
		"ONBEHALF_POLICY": "sm://" + p.id + "/onbehalf-policy/1", "ONBEHALF_RULES": "sm://" + p.id + "/onbehalf-rules/1", "ONBEHALF_LEDGER": "firestore:(default)",
		"ONBEHALF_JOBS_TOPIC": "onbehalf-jobs", "ONBEHALF_RESULTS_TOPIC": "onbehalf-results", "ONBEHALF_BATCHES_TOPIC": "onbehalf-batches",
		"ONBEHALF_MAX_INSTANCES": instances,
	}
}

// subscription is that of a function's trigger.
func (p *cloudProject) subscription(t *testing.T, name string) map[string]any {
	t.Helper()
	for _, full := range p.Names() {
		if strings.Contains(full, "/subscriptions/eventarc-europe-west1-"+name+"-") {
			return p.Resource(full)
		}
	}
	t.Fatalf("%s has no subscription", name)
	return nil
}

// Patterns of the requests that deploy a function that is there.
func redeployed(name string) []string {
	return []string{`^POST cloudfunctions\.\S+/functions:generateUploadUrl$`, `^PUT storage\.`, `^PATCH cloudfunctions\.\S+/functions/` + name + `$`}
}

func (p *cloudProject) chosenOtherwise(t *testing.T) {
	p.settings["EXECUTE_MAX_INSTANCES"] = "20"
	p.changesOnly(t, "deploy.sh", redeployed("onbehalf-execute")...)

	write(t, p.path("policy.yaml"), "domains: [example.com]\nactions: [gmail.users.messages.insert, gmail.users.labels.*]\n")
	write(t, p.path("schedules"), "watches | 30 */6 * * * | Etc/UTC | docs/batches/watches.yaml\n")
	p.settings["ALERT_EMAIL"] = "others@example.com"
	p.bash(t, "gcloud secrets versions disable 1 --secret=onbehalf-rules --project="+p.id) // which cannot be read then
	p.changesOnly(t, "setup.sh", `/secrets/onbehalf-policy:addVersion$`, `/secrets/onbehalf-rules:addVersion$`, `^PATCH \S+/jobs/onbehalf-batch-watches$`, `^DELETE \S+/jobs/onbehalf-batch-signatures$`, `^PATCH \S+/notificationChannels/`)
	p.changesOnly(t, "deploy.sh", slices.Concat(redeployed("onbehalf-dead-letter"), redeployed("onbehalf-execute"), redeployed("onbehalf-fanout"), redeployed("onbehalf-sweep"))...)
	if got := part(part(p.Resource(p.function("onbehalf-execute")), "serviceConfig"), "environmentVariables")["ONBEHALF_POLICY"]; got != "sm://"+p.id+"/onbehalf-policy/2" {
		t.Errorf("the policy that is deployed is %v; want the second version", got)
	}
}

func (p *cloudProject) putRight(t *testing.T) {
	name, _ := p.subscription(t, "onbehalf-execute")["name"].(string)
	sweep, _ := p.subscription(t, "onbehalf-sweep")["name"].(string)
	somebody := p.bash(t, "set -e; gcloud run services add-iam-policy-binding onbehalf-sweep --region=europe-west1 --project="+p.id+" --member=allUsers --role=roles/run.invoker; "+
		"gcloud run services add-iam-policy-binding onbehalf-fanout --region=europe-west1 --project="+p.id+" --member=allUsers --role=roles/run.invoker --condition=expression=true,title=always; "+
		"gcloud pubsub subscriptions update "+name+" --project="+p.id+" --clear-dead-letter-policy; "+
		"gcloud pubsub subscriptions update "+sweep+" --project="+p.id+" --dead-letter-topic=onbehalf-dead-letters --max-delivery-attempts=100; "+
		"gcloud functions deploy onbehalf-fanout --gen2 --region=europe-west1 --project="+p.id+" --source=. --update-env-vars=ONBEHALF_ADMIN=eve@example.com; "+
		"gcloud iam roles update onbehalfSigner --project="+p.id+" --quiet --permissions=iam.serviceAccounts.signJwt,iam.serviceAccounts.signBlob; "+
		"gcloud pubsub subscriptions update onbehalf-results --project="+p.id+" --message-retention-duration=1d; "+
		"gcloud pubsub subscriptions update onbehalf-results-bigquery --project="+p.id+" --bigquery-table="+p.id+".onbehalf.results; "+
		"gcloud logging metrics update onbehalf-jobs --project="+p.id+" --description=mine; "+
		"gcloud alpha monitoring policies create --project="+p.id+" --policy-from-file=deploy/monitoring/alerts/cost-per-day.yaml --user-labels=onbehalf=gone,digest=0; "+
		"gcloud alpha monitoring policies update $(gcloud alpha monitoring policies list --project="+p.id+" --filter='userLabels.onbehalf=dead-letters' --format='value(name)') --project="+p.id+" --update-user-labels=digest=0; "+
		"board=$(gcloud monitoring dashboards list --project="+p.id+" --format='value(name)'); "+
		"gcloud monitoring dashboards update $board --project="+p.id+" --config=\"$(gcloud monitoring dashboards describe $board --project="+p.id+" --format=json | sed 's/\"onbehalf\": \"[0-9a-f]*\"/\"onbehalf\": \"0000000000000000\"/')\"")
	if somebody.status != 0 {
		t.Fatal(somebody.stderr)
	}
	p.changesOnly(t, "setup.sh", `^PATCH \S+/roles/onbehalfSigner$`, `^PATCH \S+/subscriptions/onbehalf-results$`, `^PUT \S+/metrics/onbehalf-jobs$`, `^PUT \S+/metrics/onbehalf-jobs$`,
		`^PATCH \S+/alertPolicies/`, `^DELETE \S+/alertPolicies/`, `^PATCH \S+/dashboards/`, `^PATCH \S+/subscriptions/onbehalf-results-bigquery$`)
	p.changesOnly(t, "deploy.sh", append([]string{`^PATCH \S+/` + name + `$`}, append(redeployed("onbehalf-fanout"), `services/onbehalf-fanout:setIamPolicy$`, `services/onbehalf-sweep:setIamPolicy$`, `^PATCH \S+/`+sweep+`$`)...)...)
	if dead := part(p.subscription(t, "onbehalf-sweep"), "deadLetterPolicy"); len(dead) > 0 {
		t.Errorf("Sweep's subscription still has dead letters: %v", dead)
	}
	p.hasRights(t)
}

// answers builds the function from the archive that arrived, and serves it with the environment that it
// was deployed with, the policy that was uploaded, and the scopes of the administrator's link.
func (p *cloudProject) answers(t *testing.T) {
	source := filepath.Join(t.TempDir(), sourceDir)
	files := unzip(t, p.Archive(p.function("onbehalf-execute")), source)
	if want := upload(t); !slices.Equal(files, want) {
		t.Errorf("what arrived is %q; want %q", files, want)
	}
	binary := filepath.Join(t.TempDir(), "main")
	buildSource(t, source, binary)

	world := sandbox.DefaultWorld()
	environment := p.environmentOf("onbehalf-execute")
	world.Project, world.ProjectNumber, world.Runtime = p.id, "123456789012", "onbehalf-runtime@"+p.id+".iam.gserviceaccount.com"
	world.ServiceAccounts = []sandbox.ServiceAccount{
		{Email: world.Runtime},
		{Email: environment["ONBEHALF_SERVICE_ACCOUNT"], Signers: []string{world.Runtime}, DelegatedScopes: p.scopes},
	}
	secret := strings.Split(strings.TrimPrefix(environment["ONBEHALF_POLICY"], "sm://"), "/")
	world.Secrets = map[string][]byte{"projects/" + secret[0] + "/secrets/" + secret[1] + "/versions/" + secret[2]: p.payload(t, secret[1])}
	google, err := sandbox.New(world, sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(google)
	t.Cleanup(server.Close)
	firestore, err := emulator.Firestore().Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(firestore.Wait)
	results := resultsOf(t, p.id, environment["ONBEHALF_RESULTS_TOPIC"])
	env := []string{
		"FUNCTION_TARGET=Execute", "CLOUD_RUN_TIMEOUT_SECONDS=300", "PUBSUB_EMULATOR_HOST=" + pubsubEmulator(t), "FIRESTORE_EMULATOR_HOST=" + firestore.Address,
		"ONBEHALF_SANDBOX=" + server.URL, "GCE_METADATA_HOST=" + strings.TrimPrefix(server.URL, "http://"),
	}
	for name, value := range environment {
		env = append(env, name+"="+value)
	}
	f := serveBinary(t, binary, env...)
	for range 2 { // what is delivered again is not done again
		if status := post(t, f.URL, "1", map[string]any{
			"id": "deployed/ada", "user": "ada@example.com", "action": "gmail.users.messages.insert",
			"message": map[string]any{"compose": map[string]any{"to": []string{"ada@example.com"}, "subject": "Deployed", "text": "No key was used."}},
		}); status != http.StatusOK {
			t.Fatalf("HTTP %d\n%s", status, f.logs())
		}
	}
	if letters := google.Letters("ada@example.com"); len(letters) != 1 {
		t.Errorf("%d letters; want one", len(letters))
	}
	if r := receive(t, results, 1)[0]; r.Attributes["status"] != "succeeded" || r.Attributes["job"] != "deployed/ada" {
		t.Errorf("result %s", r.Data)
	}
}

// environmentOf is a function's environment as Cloud Run would give it.
func (p *cloudProject) environmentOf(name string) map[string]string {
	environment := map[string]string{}
	for variable, value := range part(part(p.Resource(p.function(name)), "serviceConfig"), "environmentVariables") {
		environment[variable], _ = value.(string)
	}
	return environment
}

// payload is what was last uploaded to a secret.
func (p *cloudProject) payload(t *testing.T, secret string) (data []byte) {
	t.Helper()
	for _, r := range p.Requests() {
		if strings.HasSuffix(r.Path, "/secrets/"+secret+":addVersion") {
			var version struct{ Payload struct{ Data []byte } }
			if err := json.Unmarshal(r.Body, &version); err != nil {
				t.Fatal(err)
			}
			data = version.Payload.Data
		}
	}
	return data
}

// unzip writes an archive's files into dir, and names them.
func unzip(t *testing.T, archive []byte, dir string) (names []string) {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, z); err != nil {
		t.Fatal(err)
	}
	for _, file := range z.File {
		if !file.FileInfo().IsDir() {
			names = append(names, file.Name)
		}
	}
	slices.Sort(names)
	return names
}

// kept is what teardown.sh leaves, and says that it leaves: what is on, the ledger's database, the dataset
// of results without its table, and whatever Google keeps by itself of what was deleted or uploaded.
var kept = regexp.MustCompile(`^//(serviceusage|firestore|storage|artifactregistry|cloudbuild)\.googleapis\.com/|/datasets/onbehalf$|/roles/onbehalfSigner$`)

func (p *cloudProject) leavesNothing(t *testing.T, fresh, before []string) {
	t.Helper()
	for _, name := range p.Names() {
		if !slices.Contains(fresh, name) && !kept.MatchString(name) {
			t.Errorf("teardown.sh leaves %s", name)
		}
	}
	for _, name := range before {
		if kept.MatchString(name) && p.Resource(name) == nil {
			t.Errorf("teardown.sh deletes %s; it says that it does not", name)
		}
	}
	for _, binding := range p.given() {
		t.Errorf("teardown.sh leaves the right %s", binding)
	}
}

// What fails says what to do, nothing is done after it, and the same command goes on from there.
func goesOnWhereItFailed(t *testing.T) {
	p := newCloudProject(t)
	for _, option := range []string{"ONBEHALF_ADMIN", "ONBEHALF_RULES", "SCHEDULES", "ALERT_EMAIL", "BIGQUERY_DATASET", "BIGQUERY_LOCATION", "DEPLOYER"} {
		delete(p.settings, option)
	}
	done := false // by setup.sh
	for _, c := range []struct {
		script, method, path string
		status               int
		message, advice      string
	}{
		{"setup.sh", http.MethodGet, `^cloudresourcemanager\.\S+/projects/example-project$`, 401, "Request had invalid authentication credentials. UNAUTHENTICATED", "gcloud auth login"},
		{"setup.sh", http.MethodPost, `services:batchEnable$`, 400, "Billing account for project '123456789012' is not found.", "console.cloud.google.com/billing/linkedaccount?project=example-project"},
		{"setup.sh", http.MethodPost, `/serviceAccounts$`, 403, "Permission 'iam.serviceAccounts.create' denied on resource", "an owner of the project"},
		{"setup.sh", http.MethodPost, `/databases$`, 403, "Operation denied by org policy: constraints/gcp.resourceLocations", "organization policy"},
		{"setup.sh", http.MethodPost, `/secrets/onbehalf-policy:addVersion$`, 403, "Secret Manager API has not been used in project 123456789012 before or it is disabled.", "wait a minute"},
		{"setup.sh", http.MethodPost, `/topics/onbehalf-mail:setIamPolicy$`, 400, "The request is wrong.", "mend what Google says"},
		{"deploy.sh", http.MethodPost, `/functions$`, 400, "Build failed with status: FAILURE", "roles/cloudbuild.builds.builder"},
		{"deploy.sh", http.MethodGet, `^eventarc\.`, 403, "Permission 'eventarc.triggers.get' denied", "an owner of the project"},
	} {
		body, err := json.Marshal(map[string]any{"error": map[string]any{"code": c.status, "message": c.message}})
		if err != nil {
			t.Fatal(err)
		}
		times := 1
		if c.status == http.StatusUnauthorized {
			times = 2 // gcloud asks once more with a new token
		}
		p.Fail(cloud.Fault{Method: c.method, Path: regexp.MustCompile(c.path), Times: times, Status: c.status, Body: string(body)})
		if c.script == "deploy.sh" && !done {
			p.isRefusedGmail(t)
			done = true
		}
		r := p.script(t, c.script)
		if r.status != 1 || !strings.Contains(r.stderr, "This failed:\n  gcloud ") || !strings.Contains(r.stderr, "What to do: ") || !strings.Contains(r.stderr, c.advice) {
			t.Errorf("%s %s: exit status %d; want 1, the command, and to hear of %q:\n%s", c.method, c.path, r.status, c.advice, r.stderr)
		}
		last := r.asked[len(r.asked)-1] // but the other functions are deployed side by side
		if c.path != `/functions$` && (last.Method != c.method || !regexp.MustCompile(c.path).MatchString(last.Host+last.Path)) {
			t.Errorf("after %s %s something else was asked for: %s", c.method, c.path, last)
		}
	}
	p.must(t, "deploy.sh")
	p.changesOnly(t, "setup.sh", `/topics/onbehalf-mail:setIamPolicy$`)
	p.changesOnly(t, "deploy.sh")
	for name, number := range map[string]int{`POST \S+/serviceAccounts$`: 3, `PUT \S+/topics/\S+$`: 6, `POST \S+/databases$`: 1, `POST \S+/functions$`: 4} {
		times := 0
		for _, r := range p.Requests() {
			if r.Status == http.StatusOK && regexp.MustCompile(name).MatchString(r.Method+" "+r.Host+r.Path) {
				times++
			}
		}
		if times != number {
			t.Errorf("%s: was done %d times; want %d", name, times, number)
		}
	}
	t.Run("as the guide goes on", p.takesTheGuidesCommands)
}

// isRefusedGmail: a new organization refuses the right of Google's account. All else is made, and the link shown.
func (p *cloudProject) isRefusedGmail(t *testing.T) {
	t.Helper()
	p.Fail(cloud.Fault{
		Method: http.MethodPost, Path: regexp.MustCompile(`/topics/onbehalf-mail:setIamPolicy$`), Times: 1, Status: http.StatusBadRequest,
		Body: `{"error": {"code": 400, "status": "FAILED_PRECONDITION", "message": "One or more users named in the policy do not belong to a permitted customer."}}`,
	})
	r := p.script(t, "setup.sh")
	for _, want := range []string{"organization policy", "clientIdToAdd=", "\n3. Before Gmail"} {
		if r.status != 1 || !strings.Contains(r.stderr, want) {
			t.Errorf("where Gmail's right is refused: exit status %d; want 1, and %q:\n%s", r.status, want, r.stderr)
		}
	}
	p.quotesSetup(t, r.stderr)
}

// What a dry run prints does, pasted into a shell, what the script does.
func dryRunsCanBePasted(t *testing.T) {
	p := newCloudProject(t)
	fresh := p.Names()
	paste := func(script string) {
		t.Helper()
		dry := p.must(t, script+" --dry-run")
		if len(dry.asked) > 0 {
			t.Errorf("%s --dry-run asks Google for %s", script, dry.asked[0])
		}
		for line := range strings.Lines(dry.stdout) {
			words, err := shellWords(strings.TrimSuffix(line, "\n"))
			if err != nil || words[0] != "gcloud" && words[0] != "bq" {
				t.Errorf("%s --dry-run prints %q, which is no command of gcloud's: %v", script, line, err)
			}
		}
		if r := p.bash(t, "set -e\n"+dry.stdout); r.status != 0 {
			t.Fatalf("what %s --dry-run prints fails:\n%s", script, r.stderr)
		}
	}
	paste("setup.sh")
	p.changesOnly(t, "setup.sh")
	paste("deploy.sh")
	p.changesOnly(t, "deploy.sh")
	p.hasRights(t)
	p.isDeployed(t)
	before := p.Names()
	// Of the schedules a dry run knows Sweep's alone: others are whatever is there.
	p.bash(t, "for name in signatures watches; do gcloud scheduler jobs delete onbehalf-batch-$name --location=europe-west1 --project="+p.id+" --quiet; done")
	paste("teardown.sh --delete-ledger --delete-results")
	p.leavesNothing(t, fresh, before)
}

// Who has a role under a condition only does not have it; and an address is the same in capitals.
func TestRightsUnderConditions(t *testing.T) {
	t.Parallel()
	p := newCloudProject(t)
	p.settings["DEPLOYER"] = "user:Deployer@Example.com"
	p.script(t, "setup.sh --dry-run") // writes the configuration
	r := p.bash(t, `set -euo pipefail
. deploy/lib/config.sh
. deploy/lib/gcloud.sh
config=`+p.path("config.env")+`
begin
gcloud projects add-iam-policy-binding "$project" --member="${DEPLOYER,,}" --role=roles/eventarc.admin --condition='expression=request.time < timestamp("2020-01-01T00:00:00Z"),title=over'
bind "" roles/eventarc.admin "$DEPLOYER" "$project" projects
bind "" roles/eventarc.admin "$DEPLOYER" "$project" projects`)
	if got := r.changes(); r.status != 0 || len(got) != 2 || !slices.Contains(p.given(), "//cloudresourcemanager.googleapis.com/projects/"+p.id+" roles/eventarc.admin user:deployer@example.com") {
		t.Errorf("exit status %d, changes %q; want two, the second by the first bind, and none by the last\n%s", r.status, got, r.stderr)
	}
}

// A wrong setting stops a script before its first command, and is named with its value and what is accepted.
func wrongSettingsStopIt(t *testing.T) {
	p := newCloudProject(t)
	good := p.settings
	for _, c := range []struct {
		name, value string
		want        []string
	}{
		{"GOOGLE_CLOUD_PROJECT", "", []string{"GOOGLE_CLOUD_PROJECT: is missing", "my-project-1"}},
		{"GOOGLE_CLOUD_PROJECT", "My Project", []string{`GOOGLE_CLOUD_PROJECT: "My Project" is not accepted`, "my-project-1"}},
		{"REGION", "", []string{"REGION: is missing", "europe-west1"}},
		{"REGION", "europe", []string{`REGION: "europe" is not accepted`, "europe-west1"}},
		{"ONBEHALF_POLICY", "", []string{"ONBEHALF_POLICY: is missing"}},
		{"ONBEHALF_POLICY", "no/such.yaml", []string{`ONBEHALF_POLICY: "no/such.yaml" is not accepted`, "no such file"}},
		{"ONBEHALF_POLICY", "sm://other/policy/latest", []string{"ONBEHALF_POLICY: ", "the number of a version"}},
		{"ONBEHALF_LEDGER", "memory", []string{`ONBEHALF_LEDGER: "memory" is not accepted`, "firestore:DATABASE"}},
		{"ONBEHALF_ADMIN", "admin", []string{`ONBEHALF_ADMIN: "admin" is not accepted`, "admin@example.com"}},
		{"ONBEHALF_SERVICE_ACCOUNT", "robot@example.com", []string{`ONBEHALF_SERVICE_ACCOUNT: "robot@example.com" is not accepted`}},
		{"ONBEHALF_RESULTS_TOPIC", "projects/p/topics/results", []string{"ONBEHALF_RESULTS_TOPIC: ", "not its path"}},
		{"ONBEHALF_RESULTS_TOPIC", "onbehalf-jobs", []string{`ONBEHALF_RESULTS_TOPIC: "onbehalf-jobs" is not accepted; that is ONBEHALF_JOBS_TOPIC`}},
		{"ONBEHALF_BATCHES_TOPIC", "onbehalf-mail", []string{"that is the topic that Gmail publishes to"}},
		{"ONBEHALF_GMAIL_UNITS_PER_USER", "many", []string{`ONBEHALF_GMAIL_UNITS_PER_USER: "many" is not accepted`}},
		{"DEPLOYER", "allUsers", []string{`DEPLOYER: "allUsers" is not accepted`, "serviceAccount:ADDRESS"}},
		{"BUILD_SERVICE_ACCOUNT", "me", []string{`BUILD_SERVICE_ACCOUNT: "me" is not accepted`}},
		{"ALERT_EMAIL", "me", []string{`ALERT_EMAIL: "me" is not accepted`}},
		{"BIGQUERY_DATASET", "on-behalf", []string{`BIGQUERY_DATASET: "on-behalf" is not accepted`}},
		{"EXECUTE_CONCURRENCY", "1001", []string{`EXECUTE_CONCURRENCY: "1001" is not accepted`, "from 1 to 1000"}},
		{"EXECUTE_CPU", "0.5", []string{`EXECUTE_CPU: "0.5" is not accepted`}},
		{"FANOUT_TIMEOUT", "600", []string{`FANOUT_TIMEOUT: "600" is not accepted`, "540"}},
		{"SWEEP_MEMORY", "1G", []string{`SWEEP_MEMORY: "1G" is not accepted`, "512Mi"}},
		{"DEADLETTER_MIN_INSTANCES", "2", []string{`DEADLETTER_MIN_INSTANCES: "2" is not accepted; it is more than DEADLETTER_MAX_INSTANCES, which is 1`}},
		{"ONBEHALF_ADMIM", "admin@example.com", []string{"ONBEHALF_ADMIM: there is no such setting", "deploy/config.env.example"}},
	} {
		p.settings = maps.Clone(good)
		p.settings[c.name] = c.value
		p.refused(t, c.want...)
	}
	p.settings = good
	for text, want := range map[string]string{
		"REGION = europe-west1\n":                            "line 1: REGION …: is not accepted; NAME=VALUE is",
		"REGION=$(touch " + p.path("executed") + ")\n":       "line 1: REGION…: is not accepted",
		"REGION=europe-west1\nREGION=europe-west2\n":         "REGION: is given twice, the second time in line 2",
		"\xef\xbb\xbfREGION=europe-west1\n":                  "is not accepted; NAME=VALUE is",
		"GOOGLE_CLOUD_PROJECT=a-project REGION=europe-west1": "line 1: GOOGLE_CLOUD_PROJECT…: is not accepted",
	} {
		write(t, p.path("config.env"), text)
		for _, script := range []string{"setup.sh", "deploy.sh", "teardown.sh", "check.sh --user=ada@example.com"} {
			if r := p.bash(t, "deploy/"+script+" --config="+p.path("config.env")); r.status != 2 || !strings.Contains(r.stderr, want) || len(r.asked) > 0 {
				t.Errorf("%s with %q: exit status %d, %d requests:\n%s\nwant 2, none, and %q", script, text, r.status, len(r.asked), r.stderr, want)
			}
		}
	}
	if _, err := os.Stat(p.path("executed")); err == nil {
		t.Error("the configuration is executed")
	}
	for args, want := range map[string]string{"--config=no/such.env": "no/such.env: there is no such file", "--config": "a file is needed", "--frob": "--frob: there is no such option"} {
		if r := p.bash(t, "deploy/setup.sh "+args); r.status != 2 || !strings.Contains(r.stderr, want) || len(r.asked) > 0 {
			t.Errorf("setup.sh %s: exit status %d:\n%s\nwant 2, and %q", args, r.status, r.stderr, want)
		}
	}
	odd := p.path("a|b&c.env")
	write(t, odd, "REGION=europe\n")
	if r := p.bash(t, "deploy/setup.sh --config='"+odd+"'"); r.status != 2 || !strings.Contains(r.stderr, odd+": REGION: \"europe\" is not accepted") {
		t.Errorf("setup.sh --config='%s': exit status %d:\n%s", odd, r.status, r.stderr)
	}
	if r := p.script(t, "teardown.sh"); r.status != 2 || !strings.Contains(r.stderr, "--yes: is needed") || len(r.changes()) > 0 {
		t.Errorf("teardown.sh does not ask: exit status %d\n%s", r.status, r.stderr)
	}
}

// What files that the configuration names have wrong in them stops setup.sh as well.
func wrongFilesStopSetup(t *testing.T) {
	p := newCloudProject(t)
	for text, want := range map[string]string{
		"domains: [example.com]\nactoins: [gmail.users.messages.insert]\n": "actoins",
		"actions: [gmail.users.messages.insert":                            "policy.yaml",
	} {
		write(t, p.path("policy.yaml"), text)
		if r := p.script(t, "setup.sh"); r.status != 2 || !strings.Contains(r.stderr, want) || !strings.Contains(r.stderr, "ONBEHALF_POLICY: ") || len(r.changes()) > 0 {
			t.Errorf("policy %q: exit status %d, changes %q:\n%s\nwant 2, none, and %q", text, r.status, r.changes(), r.stderr, want)
		}
	}
	write(t, p.path("policy.yaml"), policyText)
	write(t, p.path("$(id).yaml"), "{}") // what a dry run printed of it would be run
	for line, want := range map[string]string{
		"signatures | 0 3 * * * | Europe/Paris | " + p.path("$(id).yaml"):      "$(id).yaml\" is not accepted",
		"signatures | 0 3 * * * | Europe/Paris | docs/batches":                 `the batch "docs/batches" is not accepted`,
		"Signatures | 0 3 * * * | Europe/Paris | docs/batches/signatures.yaml": `the name "Signatures" is not accepted`,
		"signatures | 0 3 * * | Europe/Paris | docs/batches/signatures.yaml":   `the schedule "0 3 * *" is not accepted`,
		"signatures | 0 3 * * * |  | docs/batches/signatures.yaml":             `the time zone "" is not accepted`,
		"signatures | 0 3 * * * | Europe/Paris | docs/batches/none.yaml":       `the batch "docs/batches/none.yaml" is not accepted`,
		"signatures 0 3 * * * Europe/Paris":                                    `line 1: the name "signatures 0 3 * * * Europe/Paris" is not accepted`,
	} {
		write(t, p.path("schedules"), line+"\n")
		if r := p.script(t, "setup.sh"); r.status != 2 || !strings.Contains(r.stderr, want) || len(r.changes()) > 0 {
			t.Errorf("schedule %q: exit status %d, changes %q:\n%s\nwant 2, none, and %q", line, r.status, r.changes(), r.stderr, want)
		}
	}
}

// restIsAccepted has the real gcloud take what no other test comes to: the build's file, what check.sh does,
// and what is only shown to people.
func restIsAccepted(t *testing.T) {
	p := newCloudProject(t)
	p.Enable("cloudfunctions.googleapis.com", "pubsub.googleapis.com", "secretmanager.googleapis.com", "cloudbuild.googleapis.com", "iam.googleapis.com")
	check := p.script(t, "check.sh --user=ada@example.com --dry-run")
	_, commands, _ := strings.Cut(check.stdout, "\n") // the first is the doctor, who has tests of his own
	for _, line := range []string{
		"gcloud pubsub topics create onbehalf-jobs onbehalf-results --project=" + p.id,
		"gcloud iam service-accounts create build-account --project=" + p.id,
		commands,
		"gcloud builds submit --no-source --async --config=cloudbuild.yaml --region=europe-west1 --project=" + p.id +
			" --service-account=projects/" + p.id + "/serviceAccounts/build-account@" + p.id + ".iam.gserviceaccount.com --substitutions=_CHECK_USER=ada@example.com",
		"gcloud secrets create policy --project=" + p.id + " --data-file=" + p.path("policy.yaml"),
		"gcloud secrets versions access 1 --secret=policy --project=" + p.id,
		"gcloud functions logs read onbehalf-execute --gen2 --region=europe-west1 --limit=50 --project=" + p.id,
	} {
		if r := p.bash(t, "set -e\n"+line); r.status != 0 {
			t.Errorf("%s: exit status %d\n%s", line, r.status, r.stderr)
		}
	}
}

// refused sees that every script refuses the settings before it asks Google for anything.
func (p *cloudProject) refused(t *testing.T, want ...string) {
	t.Helper()
	for _, script := range []string{"setup.sh", "setup.sh --dry-run", "deploy.sh", "teardown.sh --yes"} {
		r := p.script(t, script)
		if r.status != 2 || len(r.asked) > 0 || r.stdout != "" {
			t.Errorf("%s: exit status %d, %d requests, %q; want 2 and neither", script, r.status, len(r.asked), r.stdout)
		}
		for _, text := range want {
			if !strings.Contains(r.stderr, text) {
				t.Errorf("%s does not say %q:\n%s", script, text, r.stderr)
			}
		}
	}
}
