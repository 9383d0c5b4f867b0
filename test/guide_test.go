package test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// docs/deploy.md is followed word for word by people who know nothing of this source. So what it
// quotes is what the scripts print, its commands are run, and its table has each right that there is.

const guide = "docs/deploy.md"

// rights are what each row of the guide's table stands for, by its first three cells: the bindings
// with every option chosen. The project's accounts are without their domain.
var rights = map[string][]string{
	"onbehalf-runtime | onbehalfSigner, which is iam.serviceAccounts.signJwt alone | the delegated account": {
		"onbehalf-delegated roles/onbehalfSigner serviceAccount:onbehalf-runtime",
	},
	"onbehalf-runtime | pubsub.publisher | topic of results": {
		"onbehalf-results roles/pubsub.publisher serviceAccount:onbehalf-runtime",
	},
	"onbehalf-runtime | pubsub.publisher | topics of jobs, of batches": {
		"onbehalf-jobs roles/pubsub.publisher serviceAccount:onbehalf-runtime",
		"onbehalf-batches roles/pubsub.publisher serviceAccount:onbehalf-runtime",
	},
	"onbehalf-runtime | secretmanager.secretAccessor | the policy's secret, the rules'": {
		"onbehalf-policy roles/secretmanager.secretAccessor serviceAccount:onbehalf-runtime",
		"onbehalf-rules roles/secretmanager.secretAccessor serviceAccount:onbehalf-runtime",
	},
	"onbehalf-runtime | datastore.user | the project": {
		"example-project roles/datastore.user serviceAccount:onbehalf-runtime",
	},
	"onbehalf-trigger | run.invoker | each function's service": {
		"onbehalf-dead-letter roles/run.invoker serviceAccount:onbehalf-trigger",
		"onbehalf-execute roles/run.invoker serviceAccount:onbehalf-trigger",
		"onbehalf-fanout roles/run.invoker serviceAccount:onbehalf-trigger",
		"onbehalf-sweep roles/run.invoker serviceAccount:onbehalf-trigger",
	},
	"gmail-api-push@system… | pubsub.publisher | onbehalf-mail": {
		"onbehalf-mail roles/pubsub.publisher serviceAccount:gmail-api-push@system.gserviceaccount.com",
	},
	"Pub/Sub's agent | pubsub.publisher, pubsub.subscriber | onbehalf-dead-letters, Execute's subscription": {
		"onbehalf-dead-letters roles/pubsub.publisher serviceAccount:service-N@gcp-sa-pubsub.iam.gserviceaccount.com",
		"the subscription of onbehalf-execute roles/pubsub.subscriber serviceAccount:service-N@gcp-sa-pubsub.iam.gserviceaccount.com",
	},
	"Pub/Sub's agent | bigquery.dataEditor | the table of results": {
		"results roles/bigquery.dataEditor serviceAccount:service-N@gcp-sa-pubsub.iam.gserviceaccount.com",
	},
	"DEPLOYER | cloudfunctions.developer, eventarc.admin | the project": {
		"example-project roles/cloudfunctions.developer user:deployer@example.com",
		"example-project roles/eventarc.admin user:deployer@example.com",
	},
	"DEPLOYER | iam.serviceAccountUser | onbehalf-runtime, onbehalf-trigger": {
		"onbehalf-runtime roles/iam.serviceAccountUser user:deployer@example.com",
		"onbehalf-trigger roles/iam.serviceAccountUser user:deployer@example.com",
	},
	"onbehalf-delegated | none | ": nil,
}

func TestTheGuideHasTheTableOfRights(t *testing.T) {
	_, text, found := strings.Cut(read(t, guide), "\n| who | role | on | so that |\n|---|---|---|---|\n")
	if !found {
		t.Fatalf("%s has no table of rights", guide)
	}
	table, _, _ := strings.Cut(text, "\n\n")
	var rows []string
	who := ""
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.ReplaceAll(line, "`", ""), "|")
		if len(cells) != 6 {
			t.Fatalf("%s: the row %q has not four cells", guide, line)
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if cells[1] != "" {
			who = cells[1]
		}
		rows = append(rows, who+" | "+cells[2]+" | "+cells[3])
	}
	slices.Sort(rows)
	if want := slices.Sorted(maps.Keys(rights)); !slices.Equal(rows, want) {
		t.Errorf("%s: the table of rights is\n%s\nwant\n%s", guide, strings.Join(rows, "\n"), strings.Join(want, "\n"))
	}
}

// guideBlocks are the blocks of a kind, such as "sh", in the guide.
func guideBlocks(t *testing.T, kind string) (blocks []string) {
	t.Helper()
	for _, m := range regexp.MustCompile("(?ms)^```"+kind+"\n(.*?)^```$").FindAllStringSubmatch(read(t, guide), -1) {
		blocks = append(blocks, m[1])
	}
	return blocks
}

// quotes sees that the guide's block of text that begins so is what a script has printed: each of its
// lines, in their order, but for … and the client id, and for the file of this test's configuration.
func (p *cloudProject) quotes(t *testing.T, begin, printed string) {
	t.Helper()
	clientID := regexp.MustCompile(`\b1[0-9]{20}\b`)
	printed = "\n" + strings.ReplaceAll(clientID.ReplaceAllString(printed, "CLIENT-ID"), " --config "+p.path("config.env"), "")
	for _, block := range guideBlocks(t, "text") {
		if !strings.HasPrefix(block, begin) {
			continue
		}
		rest := printed
		for line := range strings.Lines(clientID.ReplaceAllString(block, "CLIENT-ID")) {
			if line == "…\n" {
				continue
			}
			var found bool
			if _, rest, found = strings.Cut(rest, "\n"+line); !found {
				t.Errorf("%s quotes %q, which is not printed there:\n%s", guide, line, printed)
				return
			}
			rest = "\n" + rest
		}
		return
	}
	t.Errorf("%s has no text that begins with %q", guide, begin)
}

// quotesSetup does so for setup.sh, run to its end after it failed before: in an empty project it makes as many
// changes as a dry run prints commands.
func (p *cloudProject) quotesSetup(t *testing.T, printed string) {
	t.Helper()
	all := fmt.Sprintf("%d changes.\n", strings.Count(p.must(t, "setup.sh --dry-run").stdout, "\n"))
	p.quotes(t, all, regexp.MustCompile(`(?m)^\d+ changes\.\n`).ReplaceAllString(printed, all))
}

// takesTheGuidesCommands runs all commands of the guide's in a copy of this source, in a project that is set up. What
// signs somebody in is left out, and the scripts print what they would do, from the configuration
// and the policy that the guide makes.
func (p *cloudProject) takesTheGuidesCommands(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"cmd", "deploy", "docs/batches", "functions", "internal"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(root, name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum", "function.go"} {
		write(t, filepath.Join(dir, name), read(t, name))
	}
	mine := strings.NewReplacer("my-project-1", p.id)
	write(t, filepath.Join(dir, "deploy", "config.env.example"), mine.Replace(read(t, "deploy/config.env.example")))
	const otherwise = `set -euo pipefail
git() { :; }
cd() { :; }
go() { :; }
gcloud() { [ "$1" = auth ] || command gcloud "$@"; }
`
	script := otherwise
	names, err := filepath.Glob(filepath.Join(root, "deploy", "*.sh"))
	if err != nil || len(names) == 0 {
		t.Fatal("deploy has no scripts", err)
	}
	for _, name := range names {
		script += fmt.Sprintf("deploy/%s() { bash deploy/%[1]s --dry-run \"$@\"; }\n", filepath.Base(name))
	}
	for _, block := range guideBlocks(t, "sh") {
		script += mine.Replace(block)
	}
	cmd := command(t, dir, "bash", "-c", script)
	cmd.Env = p.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: a command is not accepted: %v\n%s", guide, err, out)
	}
	if config := filepath.Join(dir, "deploy", "config.env"); !exists(config) {
		t.Errorf("the commands of %s make no %s", guide, config)
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// What Google says when something is missing becomes what somebody can do.
func TestAdviceFitsWhatGoogleSays(t *testing.T) {
	for says, want := range map[string]string{
		"ERROR: (gcloud.projects.describe) [admin@example.com] does not have permission to access projects instance [my-project] (or it may not exist)":                                                                   "GOOGLE_CLOUD_PROJECT in deploy/config.env is the project's id",
		"ERROR: (gcloud.projects.add-iam-policy-binding) INVALID_ARGUMENT: Service account build@my-project-1.iam.gserviceaccount.com does not exist.":                                                                    "make the account that Google names",
		"ERROR: (gcloud.functions.deploy) ResponseError: status=[400], Permission denied while using the Eventarc Service Agent. If you recently started to use Eventarc, it may take a few minutes before all necessary": "wait a few minutes",
		"ERROR: (gcloud.pubsub.topics.create) PERMISSION_DENIED: User not authorized to perform this action.":                                                                                                             "an owner of the project runs this",
		"ERROR: something else": "mend what Google says",
	} {
		log := filepath.Join(t.TempDir(), "log")
		write(t, log, says+"\n")
		got := output(t, command(t, root, "bash", "-c", `. deploy/lib/config.sh; . deploy/lib/gcloud.sh; log=$1 project=my-project-1; advice`, "bash", log))
		if !strings.Contains(got, want) {
			t.Errorf("of %q the advice is %q; want %q", says, got, want)
		}
	}
}

// What a script cannot do without is asked for before anything else. An older bash knows neither
// declare -A nor all of shopt.
func TestWhatIsMissingIsNamed(t *testing.T) {
	for line, want := range map[string]string{
		`old=(3 2 57); declare() { exit 9; }; shopt() { exit 9; }; . <(sed 's/BASH_VERSINFO/old/g' deploy/lib/config.sh); . deploy/lib/gcloud.sh`: "is too old; 4.4 or newer is needed",
		`. deploy/lib/config.sh; . deploy/lib/gcloud.sh; PATH=; need_go`:                                                                          "go is not on PATH; install it",
	} {
		cmd := command(t, root, "bash", "-c", line)
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), want) {
			t.Errorf("%s: exit status %d, %q; want 2, and %q", line, cmd.ProcessState.ExitCode(), out, want)
		}
	}
}
