package test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const (
	terraformDir     = "deploy/terraform"
	terraformProject = "my-project-1"
)

// A deployment's settings, as deploy/config.env has them. {} is the folder with the
// files of terraformFiles.
var deployments = map[string]map[string]string{
	"by its defaults": {
		"GOOGLE_CLOUD_PROJECT": terraformProject, "REGION": "europe-west1", "ONBEHALF_POLICY": "{}/policy.yaml",
	},
	"with secrets and an account of other projects": {
		"GOOGLE_CLOUD_PROJECT": terraformProject, "REGION": "us-central1", "ONBEHALF_POLICY": "sm://other-project/policy/3",
		"ONBEHALF_RULES": "sm://my-project-1/rules/12", "ONBEHALF_SERVICE_ACCOUNT": "robot@other-project.iam.gserviceaccount.com",
	},
	"with an account of the project": {
		"GOOGLE_CLOUD_PROJECT": terraformProject, "REGION": "europe-west1", "ONBEHALF_POLICY": "{}/policy.yaml",
		"ONBEHALF_SERVICE_ACCOUNT": "robot@my-project-1.iam.gserviceaccount.com",
	},
	"with all that can be chosen": {
		"GOOGLE_CLOUD_PROJECT": terraformProject, "REGION": "europe-west1", "ONBEHALF_POLICY": "{}/policy.yaml", "ONBEHALF_RULES": "{}/rules.yaml",
		"ONBEHALF_ADMIN":  "admin@example.com",
		"ONBEHALF_LEDGER": "firestore:jobs-2026", "FIRESTORE_LOCATION": "eur3",
		"ONBEHALF_JOBS_TOPIC": "jobs", "ONBEHALF_RESULTS_TOPIC": "results", "ONBEHALF_BATCHES_TOPIC": "batches",
		"ONBEHALF_GMAIL_UNITS_PER_USER": "15000", "ONBEHALF_GMAIL_UNITS_PER_PROJECT": "2000000",
		"BUILD_SERVICE_ACCOUNT": "builder@my-project-1.iam.gserviceaccount.com", "DEPLOYER": "user:deployer@example.com",
		"SCHEDULES": "{}/schedules", "ALERT_EMAIL": "oncall@example.com", "BIGQUERY_DATASET": "results", "BIGQUERY_LOCATION": "EU",
		"EXECUTE_CPU": "2", "EXECUTE_MEMORY": "2Gi", "EXECUTE_CONCURRENCY": "100", "EXECUTE_TIMEOUT": "60", "EXECUTE_MAX_INSTANCES": "20", "EXECUTE_MIN_INSTANCES": "1",
		"DEADLETTER_MEMORY": "512Mi", "FANOUT_TIMEOUT": "500", "SWEEP_MAX_INSTANCES": "2",
	},
}

// terraformFiles are what a deployment's settings name.
var terraformFiles = map[string]string{
	"policy.yaml": "domains: [example.com]\nactions: [gmail.users.messages.insert]\n",
	"rules.yaml":  "labels: [INBOX]\nrules: []\n",
	"schedules":   "signatures | 0 3 * * * | Europe/Paris | docs/batches/signatures.yaml\n",
}

// exception is a difference that is meant, and why.
type exception struct {
	difference *regexp.Regexp
	why        string
}

// otherwise is all that the two ways of deploying do not have in common. A row that
// fits nothing any more is wrong, too.
var otherwise = []exception{
	{regexp.MustCompile(`^API eventarc\.googleapis\.com: only the script `), "Terraform makes the subscriptions itself, so that it can give them back-off and dead letters, and no trigger"},
	{regexp.MustCompile(`^account robot: only the script `), "Terraform would delete what it made; one that is named is there"},
	{regexp.MustCompile(`^right of user:deployer@example\.com: \S+ on the (project|account) \S+: only the script `), "who applies Terraform makes all of this, and so has more than the right to deploy"},
	{regexp.MustCompile(`^(alert oldest-unacked|dashboard): \S+ is ".*eventarc-\.\*-onbehalf-\.\*.*" by the scripts, and ".*onbehalf-\(dead-letter\|execute\|fanout\|sweep\).*" by Terraform$`), "those subscriptions are named otherwise than Eventarc's"},
	{regexp.MustCompile(`^(alert oldest-unacked|dashboard): \S+ is ".*onbehalf-\(dead-letter\|execute\|fanout\|sweep\).*" by Terraform, and ".*eventarc-\.\*-onbehalf-\.\*.*" by the scripts$`), "the same, seen from the other side"},
	{regexp.MustCompile(`^(bucket|source) \S+: only Terraform `), "gcloud uploads the source to a bucket of Google's making; Terraform has to name one"},
}

// TestTerraformMakesWhatTheScriptsMake holds the two ways of deploying against each
// other: the same resources, settings and rights for the same choices.
func TestTerraformMakesWhatTheScriptsMake(t *testing.T) {
	found := make([]bool, len(otherwise))
	for name, config := range deployments {
		t.Run(name, func(t *testing.T) {
			d := deployment(t, config)
			scripts, err := dryRunFacts(d.commands)
			if err != nil {
				t.Error(err)
			}
			terraform, err := terraformFacts(d.plan.Resources)
			if err != nil {
				t.Error(err)
			}
			for _, difference := range differences(scripts, terraform) {
				if i := known(difference); i >= 0 {
					found[i] = true
					continue
				}
				t.Error(difference)
			}
		})
	}
	for i, ok := range found {
		if !ok {
			t.Errorf("otherwise: %s: fits nothing; take the row out", otherwise[i].difference)
		}
	}
}

// known is the row that says why something is otherwise, or -1.
func known(difference string) int {
	return slices.IndexFunc(otherwise, func(e exception) bool { return e.difference.MatchString(difference) })
}

// What the comparison overlooks it would overlook for good. So each line and each
// flag of the scripts, and each resource and each argument of Terraform's, is taken
// away in turn, and that must show.
func TestWhatEitherSideLosesShows(t *testing.T) {
	d := deployment(t, deployments["with all that can be chosen"])
	scripts, terraform := d.facts(t)
	before := differences(scripts, terraform)
	shows := func(t *testing.T, what string, scripts, terraform facts, err error) {
		t.Helper()
		if err == nil && slices.Equal(differences(scripts, terraform), before) {
			t.Errorf("%s: does not show when it is lost", what)
		}
	}
	for i, line := range d.commands {
		lost, err := dryRunFacts(slices.Delete(slices.Clone(d.commands), i, i+1))
		shows(t, line, lost, terraform, err)
		words, err := shellWords(line)
		if err != nil {
			t.Fatal(err)
		}
		for j, word := range words {
			name, _, _ := strings.Cut(strings.TrimPrefix(word, "--"), "=")
			if !strings.HasPrefix(word, "--") || said[name] != "" || name == "project" || name == "project_id" {
				continue
			}
			commands := slices.Clone(d.commands)
			commands[i] = shellLine(slices.Delete(slices.Clone(words), j, j+1))
			lost, err := dryRunFacts(commands)
			shows(t, line+": "+word, lost, terraform, err)
		}
	}
	for i, r := range d.plan.Resources {
		lost, err := terraformFacts(slices.Delete(slices.Clone(d.plan.Resources), i, i+1))
		shows(t, r.Address, scripts, lost, err)
		for name := range r.settings() {
			if unsaid[r.Type+"."+name] != "" || name == "project" {
				continue
			}
			resources := slices.Clone(d.plan.Resources)
			resources[i].lost = name
			lost, err := terraformFacts(resources)
			shows(t, r.Address+": "+name, scripts, lost, err)
		}
	}
}

// shellLine is a line that shellWords splits into those words.
func shellLine(words []string) string {
	var line []string
	for _, word := range words {
		line = append(line, "'"+strings.ReplaceAll(word, "'", `'\''`)+"'")
	}
	return strings.Join(line, " ")
}

// So does what either side gains.
func TestWhatEitherSideGainsShows(t *testing.T) {
	d := deployment(t, deployments["by its defaults"])
	scripts, terraform := d.facts(t)
	for _, line := range []string{
		"gcloud pubsub topics create another",
		"gcloud projects add-iam-policy-binding my-project-1 --condition=None --member=allUsers --role=roles/viewer",
		"gcloud pubsub lite-topics create another", "gcloud pubsub topics create another --labels=a=b", "gcloud pubsub topics create another --project=my-project-2",
		`gcloud pubsub topics create "$(date)"`,
	} {
		more, err := dryRunFacts(append(slices.Clone(d.commands), line))
		if err == nil && slices.Equal(differences(more, terraform), differences(scripts, terraform)) {
			t.Errorf("%s: does not show", line)
		}
	}
	for _, r := range []planned{
		{Address: "google_pubsub_topic.more", Type: "google_pubsub_topic", Values: json.RawMessage(`{"project": "my-project-1", "name": "another"}`)},
		{Address: "google_pubsub_topic.other", Type: "google_pubsub_topic", Values: json.RawMessage(`{"project": "my-project-2", "name": "onbehalf-jobs"}`)},
		{Address: "google_pubsub_topic.labelled", Type: "google_pubsub_topic", Values: json.RawMessage(`{"project": "my-project-1", "name": "onbehalf-jobs", "labels": {"a": "b"}}`)},
		{Address: "google_compute_instance.more", Type: "google_compute_instance", Values: json.RawMessage(`{"project": "my-project-1"}`)},
	} {
		more, err := terraformFacts(append(slices.Clone(d.plan.Resources), r))
		if err == nil && slices.Equal(differences(scripts, more), differences(scripts, terraform)) {
			t.Errorf("%s: does not show", r.Address)
		}
	}
}

func TestShellWordsAreAShells(t *testing.T) {
	for _, test := range []struct {
		line string
		want []string
	}{
		{`gcloud a  b`, []string{"gcloud", "a", "b"}},
		{`a '--x=it'\''s (one)' b`, []string{"a", "--x=it's (one)", "b"}},
		{`a "--x=$(b '--f=value(c)')@d" e`, []string{"a", "--x=$(b '--f=value(c)')@d", "e"}},
		{`a "$(b "$(c 'd)')" e)" f`, []string{"a", `$(b "$(c 'd)')" e)`, "f"}},
		{`a 'b`, nil},
		{`a "b`, nil},
		{`a "$(b"`, nil},
		{``, nil},
	} {
		got, err := shellWords(test.line)
		if !slices.Equal(got, test.want) || (err == nil) != (test.want != nil) {
			t.Errorf("shellWords(%s) = %q, %v; want %q", test.line, got, err, test.want)
		}
	}
}

func TestTerraformUploadsWhatGcloudUploads(t *testing.T) {
	d := deployment(t, deployments["by its defaults"])
	want := upload(t)
	slices.Sort(want)
	for _, r := range d.plan.Resources {
		if r.Type != "data.archive_file" {
			continue
		}
		var source struct{ Files []string }
		if err := json.Unmarshal(r.Values, &source); err != nil {
			t.Fatal(err)
		}
		// What git ignores in some folder of its own, such as a global excludes file,
		// is in neither list of a clean checkout.
		for _, name := range source.Files {
			if !slices.Contains(want, name) {
				t.Errorf("%s: Terraform would upload it, and gcloud would not", name)
			}
		}
		for _, name := range want {
			if !slices.Contains(source.Files, name) {
				t.Errorf("%s: gcloud would upload it, and Terraform would not", name)
			}
		}
		return
	}
	t.Fatal("Terraform uploads nothing")
}

// Each setting of the scripts is a variable of the module, and the other way round.
func TestTerraformHasTheScriptsSettings(t *testing.T) {
	var settings, variables []string
	for _, m := range regexp.MustCompile(`(?m)^#?([A-Z_]+)=`).FindAllStringSubmatch(read(t, "deploy/config.env.example"), -1) {
		if name := variableOf(m[1]); m[1] != "DEPLOYER" && !slices.Contains(settings, name) { // who applies it has the rights
			settings = append(settings, name)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^variable "(\w+)"`).FindAllStringSubmatch(read(t, terraformDir+"/variables.tf"), -1) {
		if m[1] != "scopes" { // deploy/setup.sh finds them itself
			variables = append(variables, m[1])
		}
	}
	slices.Sort(settings)
	slices.Sort(variables)
	if !slices.Equal(settings, variables) {
		t.Errorf("deploy/config.env.example has, as variables, %q, and %s/variables.tf %q; want the same", settings, terraformDir, variables)
	}
}

func TestTerraformRefuses(t *testing.T) {
	for _, test := range []struct {
		variable string
		value    any
	}{
		{"project", "My Project"},
		{"project", "projects/my-project-1"},
		{"region", "europe"},
		{"region", "europe-west1-b"},
		{"policy", "{}/missing.yaml"},
		{"policy", "sm://p/s/latest"},
		{"policy", ""},
		{"rules", "{}/missing.yaml"},
		{"rules", "sm://p/s"},
		{"service_account", "onbehalf-delegated"},
		{"admin", "admin"},
		{"ledger", "memory"},
		{"ledger", "firestore:A"},
		{"firestore_location", "europe"},
		{"jobs_topic", "projects/p/topics/t"},
		{"results_topic", "onbehalf-sweep"},
		{"batches_topic", "x"},
		{"jobs_topic", "onbehalf-results"},
		{"gmail_units_per_user", 0},
		{"gmail_units_per_user", 1.5},
		{"gmail_units_per_project", -1},
		{"schedules", map[string]any{"A": schedule("0 3 * * *", "Etc/UTC", "{}/policy.yaml")}},
		{"schedules", map[string]any{"a": schedule("0 3 * *", "Etc/UTC", "{}/policy.yaml")}},
		{"schedules", map[string]any{"a": schedule("0 3 * * *", "Paris!", "{}/policy.yaml")}},
		{"schedules", map[string]any{"a": schedule("0 3 * * *", "Etc/UTC", "{}/missing.yaml")}},
		{"build_service_account", "build"},
		{"alert_email", "oncall"},
		{"bigquery_dataset", "my-dataset"},
		{"bigquery_location", "eu"},
		{"scopes", []string{"gmail.insert"}},
		{"execute", map[string]any{"cpu": 3}},
		{"dead_letter", map[string]any{"memory": "256Mi"}},
		{"fanout", map[string]any{"timeout": 541}},
		{"sweep", map[string]any{"min_instances": 4}},
		{"execute", map[string]any{"concurrency": 0}},
		{"sweep", map[string]any{"max_instances": 0}},
	} {
		t.Run(test.variable, func(t *testing.T) {
			dir := settingsDir(t)
			variables := map[string]any{"project": terraformProject, "region": "europe-west1", "policy": filepath.Join(dir, "policy.yaml")}
			variables[test.variable] = test.value
			p, err := plan(t, terraformDir, in(t, variables, dir))
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Refused) != 1 || !strings.HasPrefix(p.Refused[0], test.variable) || !strings.Contains(p.Refused[0], "accepted") {
				t.Errorf("refused: %q; want that %s is, and what is accepted", p.Refused, test.variable)
			}
		})
	}
}

func schedule(schedule, zone, file string) map[string]any {
	return map[string]any{"schedule": schedule, "time_zone": zone, "batch": file}
}

// The examples are complete, and what they import is there.
func TestTerraformExamplesArePlans(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(root, terraformDir, "examples/*/main.tf"))
	if err != nil || len(names) < 3 {
		t.Fatalf("examples: %q, %v; want three at least", names, err)
	}
	for _, name := range names {
		dir := filepath.Join(terraformDir, "examples", filepath.Base(filepath.Dir(name)))
		t.Run(filepath.Base(dir), func(t *testing.T) {
			p, err := plan(t, dir, map[string]any{})
			if err != nil || len(p.Refused) > 0 {
				t.Fatalf("plan() = %v, refused %q", err, p.Refused)
			}
			for to := range p.Imports {
				if !slices.ContainsFunc(p.Resources, func(r planned) bool { return r.Address == to }) {
					t.Errorf("%s: is imported, and not in the plan", to)
				}
			}
		})
	}
}

// The scopes that an example names are those that its policy needs.
func TestTerraformExamplesNameTheirScopes(t *testing.T) {
	for name, flags := range map[string][]string{"minimal": nil, "complete": {"--admin", "--batches"}} {
		dir := filepath.Join(terraformDir, "examples", name)
		cmd := command(t, root, "go", "run", "./cmd/onbehalf", "policy", "scopes", filepath.Join(dir, "policy.yaml"))
		cmd.Args = append(cmd.Args, flags...)
		want := strings.Fields(output(t, cmd))
		got := regexp.MustCompile(`https://www\.googleapis\.com/auth/[a-z._]+`).FindAllString(read(t, filepath.Join(dir, "main.tf")), -1)
		if !slices.Equal(got, want) {
			t.Errorf("%s: names %q; want %q", dir, got, want)
		}
	}
}

// With terraform on PATH it says itself what it thinks of the module; where the
// providers are on this machine, too, which is where terraform looks by itself, all of it. What
// holds without is above.
func TestTerraformItselfAccepts(t *testing.T) {
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("terraform is not on PATH")
	}
	output(t, command(t, root, "terraform", "fmt", "-check", "-diff", "-recursive", terraformDir))
	tree := t.TempDir() // terraform writes beside what it reads
	for _, name := range treeFiles(t) {
		if dir, _, _ := strings.Cut(name, "/"); dir == "deploy" || dir == "docs" || !strings.Contains(name, "/") {
			write(t, filepath.Join(tree, name), read(t, name))
		}
	}
	dirs, err := filepath.Glob(filepath.Join(tree, terraformDir, "examples/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append(dirs, filepath.Join(tree, terraformDir)) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			terraform := func(args ...string) (string, error) {
				cmd := command(t, dir, "terraform", args...)
				cmd.Env = append(os.Environ(), "CHECKPOINT_DISABLE=1", "HTTPS_PROXY=http://127.0.0.1:1") // looks on this machine only
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			out, err := terraform("init", "-backend=false", "-no-color")
			if err != nil && strings.Contains(out, "Failed to query available provider packages") {
				t.Skipf("the providers are not on this machine: %s", out)
			}
			if err != nil {
				t.Fatalf("terraform init: %v\n%s", err, out)
			}
			if out, err := terraform("validate", "-no-color"); err != nil {
				t.Errorf("terraform validate: %v\n%s", err, out)
			}
		})
	}
}

// variableOf is the module's name for a setting of deploy/config.env.
func variableOf(setting string) string {
	switch prefix, _, _ := strings.Cut(setting, "_"); prefix {
	case "EXECUTE", "FANOUT", "SWEEP":
		return strings.ToLower(prefix)
	case "DEADLETTER":
		return "dead_letter"
	}
	if setting == "GOOGLE_CLOUD_PROJECT" {
		return "project"
	}
	return strings.ToLower(strings.TrimPrefix(setting, "ONBEHALF_"))
}

// variablesOf has the variables that say the same as a deployment's settings.
func variablesOf(config map[string]string) map[string]any {
	variables := map[string]any{}
	for setting, value := range config {
		name := variableOf(setting)
		switch prefix, what, _ := strings.Cut(setting, "_"); {
		case setting == "DEPLOYER":
		case setting == "SCHEDULES":
			variables[name] = map[string]any{"signatures": schedule("0 3 * * *", "Europe/Paris", "docs/batches/signatures.yaml")}
		case strings.HasPrefix(setting, "ONBEHALF_GMAIL_"):
			variables[name], _ = strconv.Atoi(value)
		case slices.Contains([]string{"EXECUTE", "DEADLETTER", "FANOUT", "SWEEP"}, prefix):
			of, ok := variables[name].(map[string]any)
			if !ok {
				of = map[string]any{}
				variables[name] = of
			}
			if number, err := strconv.Atoi(value); err == nil {
				of[strings.ToLower(what)] = number
			} else {
				of[strings.ToLower(what)] = value
			}
		default:
			variables[name] = value
		}
	}
	return variables
}

// deployed is what the scripts and Terraform make of the same settings.
type deployed struct {
	commands []string
	plan     *terraformPlan
}

func (d deployed) facts(t *testing.T) (scripts, terraform facts) {
	t.Helper()
	scripts, err := dryRunFacts(d.commands)
	if err != nil {
		t.Fatal(err)
	}
	if terraform, err = terraformFacts(d.plan.Resources); err != nil {
		t.Fatal(err)
	}
	return scripts, terraform
}

func deployment(t *testing.T, config map[string]string) deployed {
	t.Helper()
	dir := settingsDir(t)
	var text strings.Builder
	for name, value := range config {
		fmt.Fprintf(&text, "%s='%s'\n", name, strings.ReplaceAll(value, "{}", dir))
	}
	write(t, filepath.Join(dir, "config.env"), text.String())
	var d deployed
	for _, script := range []string{"deploy/setup.sh", "deploy/deploy.sh"} {
		printed := output(t, command(t, root, "bash", script, "--dry-run", "--config", filepath.Join(dir, "config.env")))
		d.commands = append(d.commands, strings.Split(strings.TrimSpace(printed), "\n")...)
	}
	var err error
	if d.plan, err = plan(t, terraformDir, in(t, variablesOf(config), dir)); err != nil || len(d.plan.Refused) > 0 {
		t.Fatalf("plan: %v, refused %q", err, d.plan.Refused)
	}
	return d
}

// settingsDir is a folder with the files that settings name.
func settingsDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range terraformFiles {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

// in puts a folder's name for {}.
func in(t *testing.T, variables map[string]any, dir string) map[string]any {
	t.Helper()
	text, err := json.Marshal(variables)
	if err != nil {
		t.Fatal(err)
	}
	var put map[string]any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(text), "{}", dir)), &put); err != nil {
		t.Fatal(err)
	}
	return put
}

// terraformPlan is what test/plan prints.
type terraformPlan struct {
	Refused   []string
	Resources []planned
	Outputs   map[string]json.RawMessage
	Imports   map[string]string
}

// planned is a resource of it.
type planned struct {
	Address, Type string
	Values        json.RawMessage
	lost          string // an argument that is taken away
}

// planner is the one build of test/plan.
var planner struct {
	once   sync.Once
	binary string
}

// plan has test/plan read a configuration, as terraform would read it from the root
// folder.
func plan(t *testing.T, dir string, variables map[string]any) (*terraformPlan, error) {
	t.Helper()
	planner.once.Do(func() {
		binary := filepath.Join(run.dir, "plan")
		output(t, command(t, filepath.Join(root, "test/plan"), "go", "build", "-o", binary, "."))
		planner.binary = binary
	})
	if planner.binary == "" {
		t.Fatal("test/plan does not build; the first test that needed it says why")
	}
	input, err := json.Marshal(variables)
	if err != nil {
		return nil, err
	}
	cmd := command(t, root, planner.binary, dir)
	cmd.Stdin = strings.NewReader(string(input))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	printed, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, &stderr)
	}
	var p terraformPlan
	return &p, json.Unmarshal(printed, &p)
}
