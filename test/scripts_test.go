package test

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What test/cloud cannot say, or says too slowly, a gcloud of one's own says to the scripts.

// stubbed runs a line of bash in the root folder, where gcloud is the given script; it gives what
// was asked of that, one command a line.
func stubbed(t *testing.T, gcloud string, settings map[string]string, line string) (asked []string, stderr string, status int) {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{"GOOGLE_CLOUD_PROJECT": "my-project-1", "REGION": "europe-west1", "ONBEHALF_POLICY": "docs/batches/signatures.yaml"}
	maps.Copy(all, settings)
	var config strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		config.WriteString(name + "='" + all[name] + "'\n")
	}
	write(t, filepath.Join(dir, "config.env"), config.String())
	write(t, filepath.Join(dir, "gcloud"), "#!/usr/bin/env bash\nprintf '%s\\n' \"$*\" >>"+dir+"/asked\n"+gcloud)
	if err := os.Chmod(filepath.Join(dir, "gcloud"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, root, "bash", "-c", line)
	var errs strings.Builder
	cmd.Env, cmd.Stderr = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "CONFIG="+filepath.Join(dir, "config.env")), &errs
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "asked"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n"), errs.String(), cmd.ProcessState.ExitCode()
}

// What has a name of somebody's choice, or a label of somebody's, stays; so does the role, which others sign
// by where the delegated account is another project's.
func TestTeardownLeavesWhatIsOthers(t *testing.T) {
	t.Parallel()
	asked, stderr, status := stubbed(t, `case "$*" in
projects\ describe*) echo 123456789012 ;;
*\ describe\ *) echo "NOT_FOUND: Resource not found" >&2; exit 1 ;;
*topics\ list*) printf '%s\n' shared-jobs onbehalf-results onbehalf-mail ;;
*topics\ get-iam-policy\ shared-jobs*) echo "serviceAccount:onbehalf-runtime@my-project-1.iam.gserviceaccount.com " ;;
*alpha\ monitoring\ policies\ list*) printf '%s\n' 'policies/1|dead-letters|0123456789abcdef' 'policies/2|mine|' 'policies/3||' ;;
*beta\ monitoring\ channels\ list*) printf '%s\n' 'channels/1|alerts' 'channels/2|mine' 'channels/3|' ;;
*roles\ list*) echo onbehalfSigner ;;
*accounts\ list*) printf '%s\n' onbehalf-runtime@my-project-1.iam.gserviceaccount.com robot@my-project-1.iam.gserviceaccount.com ;;
esac`, map[string]string{"ONBEHALF_JOBS_TOPIC": "shared-jobs", "ONBEHALF_SERVICE_ACCOUNT": "robot@another-project.iam.gserviceaccount.com"},
		`deploy/teardown.sh --yes --config="$CONFIG"`)
	if status != 0 {
		t.Fatalf("exit status %d\n%s", status, stderr)
	}
	var changes []string
	for _, line := range asked {
		if strings.Contains(line, " delete ") || strings.Contains(line, " remove-") {
			changes = append(changes, line)
		}
	}
	const in = " --project=my-project-1"
	want := []string{
		"alpha monitoring policies delete policies/1" + in + " --quiet",
		"beta monitoring channels delete channels/1" + in + " --quiet",
		"pubsub topics delete onbehalf-results onbehalf-mail" + in,
		"pubsub topics remove-iam-policy-binding shared-jobs" + in + " --member=serviceAccount:onbehalf-runtime@my-project-1.iam.gserviceaccount.com --role=roles/pubsub.publisher",
		"iam service-accounts delete onbehalf-runtime@my-project-1.iam.gserviceaccount.com" + in + " --quiet",
	}
	if !slices.Equal(changes, want) {
		t.Errorf("teardown.sh asks for\n%s\nwant\n%s", strings.Join(changes, "\n"), strings.Join(want, "\n"))
	}
	for _, name := range []string{"shared-jobs", "robot@another-project.iam.gserviceaccount.com", "onbehalfSigner in another-project"} {
		if !strings.Contains(stderr, name) {
			t.Errorf("teardown.sh does not say that it keeps %s:\n%s", name, stderr)
		}
	}
}

// Each of these is what Google or gcloud says in a project that is new, or in an organization that is.
func TestAdvice(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"Billing account for project '123' is not found. Billing must be enabled for activation of service(s)":                                                                      "link a billing account",
		"Caller does not have required permission to use project p. Grant the caller the serviceusage.services.use permission\nIf you want, use `--billing-project`":                "an owner of the project",
		"Invalid resource state for \"\": Permission denied while using the Eventarc Service Agent. If you recently started to use Eventarc, it may take a few minutes":             "wait a few minutes",
		"ABORTED: Could not update Cloud Function. unable to queue the operation":                                                                                                   "wait a few minutes",
		"An operation on function onbehalf-execute in region europe-west1 in project p is already in progress. Please try again later.":                                             "wait a few minutes",
		"Constraint constraints/run.allowedVPCEgress violated for projects/p attempting to use another network":                                                                     "an administrator of the organization",
		"FAILED_PRECONDITION: One or more users named in the policy do not belong to a permitted customer.":                                                                         "an administrator of the organization",
		"Cloud Scheduler API has not been used in project 123 before or it is disabled. Enable it by visiting https://console.developers.google.com, then retry. PERMISSION_DENIED": "wait a minute",
	} {
		_, stderr, status := stubbed(t, "echo "+shellQuote(said)+" >&2\nexit 1", nil, `deploy/deploy.sh --config="$CONFIG"`)
		if _, advice, _ := strings.Cut(stderr, "What to do: "); status != 1 || !strings.HasPrefix(advice, want) {
			t.Errorf("%s:\nexit status %d, advice %q; want 1 and %q", said, status, advice, want)
		}
	}
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// begun is a script's beginning, with the libraries that setup.sh has.
const begun = `set -euo pipefail
for lib in config gcloud monitoring bigquery; do . deploy/lib/$lib.sh; done
config=$CONFIG
sleep() { :; }
`

// A database that was just made refuses a change for a moment while another is made.
func TestNewDatabaseIsWaitedFor(t *testing.T) {
	t.Parallel()
	asked, stderr, status := stubbed(t, `case $(grep -c ttls "${0%/*}/asked") in
1) echo "ABORTED: Please retry, underlying data changed" >&2; exit 1 ;;
esac`, nil, begun+"begin; run_patiently gcloud firestore fields ttls update expireAt")
	if status != 0 || len(asked) != 3 {
		t.Errorf("exit status %d, asked %q; want it twice\n%s", status, asked, stderr)
	}
	if !strings.Contains(read(t, "deploy/setup.sh"), "run_patiently gcloud firestore fields ttls update") {
		t.Error("setup.sh does not run that patiently")
	}
}

// Where there is no bq, "command not found" must not be taken for a table that is not there.
func TestBigQueryNeedsItsTool(t *testing.T) {
	t.Parallel()
	asked, stderr, status := stubbed(t, "", map[string]string{"BIGQUERY_DATASET": "onbehalf"}, begun+"type() { [ \"$2\" != bq ] && builtin type \"$@\"; }\nbegin")
	if status != 2 || !strings.Contains(stderr, "bq is not on PATH") || asked[0] != "" {
		t.Errorf("exit status %d, asked %q\n%s\nwant 2, nothing, and to hear of bq", status, asked, stderr)
	}
}
