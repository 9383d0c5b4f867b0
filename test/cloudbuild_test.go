package test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"go.yaml.in/yaml/v3"
	"google.golang.org/api/cloudbuild/v1"
)

const buildFile = "cloudbuild.yaml"

// readBuild decodes a build as Cloud Build does: a field that it does not know is
// refused there, after the push.
func readBuild(text string) (*cloudbuild.Build, error) {
	var loose any
	if err := yaml.Unmarshal([]byte(text), &loose); err != nil {
		return nil, err
	}
	data, err := json.Marshal(loose)
	if err != nil {
		return nil, err
	}
	b := new(cloudbuild.Build)
	return b, json.Unmarshal(data, b, json.RejectUnknownMembers(true))
}

func theBuild(t *testing.T) *cloudbuild.Build {
	t.Helper()
	b, err := readBuild(read(t, buildFile))
	if err != nil {
		t.Fatalf("%s: %v", buildFile, err)
	}
	return b
}

func TestTheBuildIsWhatCloudBuildTakes(t *testing.T) {
	for _, why := range wrongs(theBuild(t)) {
		t.Errorf("%s: %s", buildFile, why)
	}
}

// The checks find what they look for: each change of the file breaks one rule.
func TestWrongBuildsAreFound(t *testing.T) {
	text := read(t, buildFile)
	for _, c := range []struct{ old, replacement, want string }{
		{"    entrypoint: cp\n", "    entryPoint: cp\n", `unknown object member name "entryPoint"`},
		{"id: lint\n", "id: build\n", "step build: is there twice"},
		{"waitFor: [go]", "waitFor: [deploy-to-staging]", "step test: waits for deploy-to-staging, which does not come before it"},
		{"name: golang:1.26-bookworm", "name: golang:latest", "the image golang:latest"},
		{"name: golang:1.26-bookworm", "name: golang", "the image golang "},
		{"args: [.ci/run, build]", "args: [.ci/run, built]", "built is no step of .ci/run"},
		{"args: [.ci/run, tree]", "args: [.ci/rum, tree]", ".ci/rum is not there"},
		{"deploy/deploy.sh, --config, $_PRODUCTION_CONFIG", "deploy/roll.sh, --config, $_PRODUCTION_CONFIG", "deploy/roll.sh is not there"},
		{"--config \"$STAGING\"", "--config \"$STAGNIG\"", "STAGNIG is no variable"},
		{"--config \"$STAGING\"", "--config \"$_STAGING_CONFIG\"", "_STAGING_CONFIG is no variable"},
		{"$_PRODUCTION_CONFIG]", "$_PRODUCTION]", "$_PRODUCTION is no substitution"},
		{"$_PRODUCTION_CONFIG]", "$$_PRODUCTION_CONFIG]", "$$_PRODUCTION_CONFIG: a $ that is no substitution"},
		{"  _CHECK_ACTION: ''", "  _CHECK_ACTION: ''\n  _MORE: x", "_MORE is not used"},
		{"  _CHECK_ACTION: ''", "  check_action: ''", "check_action: a substitution's name begins with _"},
		{"path: /volume/go}", "path: /workspace/go}", "/workspace/go is in /workspace"},
		{"{name: go, path: /volume/go}", "{name: gone, path: /volume/go}", "the volume gone is used by one step"},
		{"logging: CLOUD_LOGGING_ONLY", "logging: CLOUD_LOGGING", "logging: CLOUD_LOGGING"},
		{"machineType: E2_HIGHCPU_8", "machineType: E2_HIGHCPU_9", "machineType: E2_HIGHCPU_9"},
		{"timeout: 5400s", "timeout: 90000s", "timeout: 90000s"},
		{"waitFor: [lint, vulnerabilities, build, test]", "waitFor: [lint, build, test]", "step deploy-to-staging: does not wait for vulnerabilities"},
		{"waitFor: [check-staging]", "waitFor: [tree]", "step deploy-to-production: does not wait for check-staging"},
		{"    - CI=true\n", "    - CI=true\n    - API_TOKEN=abc\n", "API_TOKEN"},
		{"    - CI=true\n", "", "CI=true is not set"},
	} {
		t.Run(c.want, func(t *testing.T) {
			if !strings.Contains(text, c.old) {
				t.Fatalf("%s has no %q", buildFile, c.old)
			}
			var found []string
			if b, err := readBuild(strings.Replace(text, c.old, c.replacement, 1)); err != nil {
				found = append(found, err.Error())
			} else {
				found = wrongs(b)
			}
			if !strings.Contains(strings.Join(found, "\n"), c.want) {
				t.Errorf("%q: found %q; want %q", c.replacement, found, c.want)
			}
		})
	}
}

// wrongs is all that is wrong with a build.
func wrongs(b *cloudbuild.Build) (all []string) {
	note := func(why ...string) { all = append(all, why...) }
	for i, s := range b.Steps {
		note(wrongStep(b, i)...)
		for _, why := range wrongWords(b, s) {
			note("step " + s.Id + ": " + why)
		}
	}
	note(wrongOrder(b)...)
	note(wrongVolumes(b)...)
	note(wrongSubstitutions(b)...)
	return append(all, wrongOptions(b)...)
}

// taggedImage is an image whose tag begins with a version's number.
var taggedImage = regexp.MustCompile(`^[a-z0-9./-]+:[0-9]+\.[0-9]+[a-zA-Z0-9._-]*$`)

// wrongStep is what is wrong with a step by itself, and with what it waits for.
func wrongStep(b *cloudbuild.Build, i int) (all []string) {
	s := b.Steps[i]
	before := b.Steps[:i]
	name := "step " + s.Id + ": "
	if s.Id == "" || slices.ContainsFunc(before, func(o *cloudbuild.BuildStep) bool { return o.Id == s.Id }) {
		all = append(all, name+"is there twice, or has no id")
	}
	if !taggedImage.MatchString(s.Name) {
		all = append(all, name+"the image "+s.Name+" has no tag with a version's number")
	}
	if len(s.WaitFor) == 0 {
		all = append(all, name+"waits for all that is above it; waitFor says for what")
	}
	for _, other := range s.WaitFor {
		if other != "-" && !slices.ContainsFunc(before, func(o *cloudbuild.BuildStep) bool { return o.Id == other }) {
			all = append(all, name+"waits for "+other+", which does not come before it")
		}
	}
	switch hasScript, hasArgs := s.Script != "", s.Entrypoint != "" && len(s.Args) > 0; {
	case hasScript == hasArgs, hasScript && (s.Entrypoint != "" || len(s.Args) > 0):
		all = append(all, name+"has neither a script nor entrypoint and args, or both")
	case hasScript && !strings.HasPrefix(s.Script, "#!/usr/bin/env bash\nset -euo pipefail\n"):
		all = append(all, name+"its script does not begin with #!/usr/bin/env bash and set -euo pipefail")
	}
	return all
}

// ours finds the commands of this project in a script or its arguments, with their words.
var ours = regexp.MustCompile(`(?m)(\.ci/[a-z]+|deploy/[a-z/-]+\.sh)((?: [a-z-]+\b)*)`)

// wrongWords is what a step names that is not there.
func wrongWords(b *cloudbuild.Build, s *cloudbuild.BuildStep) (all []string) {
	text := s.Script + strings.Join(s.Args, " ")
	for _, m := range ours.FindAllStringSubmatch(text, -1) {
		info, err := os.Stat(filepath.Join(root, m[1]))
		if err != nil || info.Mode()&0o111 == 0 {
			all = append(all, m[1]+" is not there, or cannot be run")
			continue
		}
		if m[1] != ".ci/run" {
			continue
		}
		source, err := os.ReadFile(filepath.Join(root, m[1]))
		for name := range strings.FieldsSeq(m[2]) {
			if err != nil || !strings.Contains(string(source), "\nrun_"+name+"() {") {
				all = append(all, name+" is no step of .ci/run")
			}
		}
	}
	// A script is not substituted in: its variables are the step's own.
	variables := append(slices.Clone(s.Env), b.Options.Env...)
	for _, m := range regexp.MustCompile(`\$\{?([A-Za-z_]+)`).FindAllStringSubmatch(s.Script, -1) {
		if m[1] != "PATH" && !slices.ContainsFunc(variables, func(v string) bool { return strings.HasPrefix(v, m[1]+"=") }) {
			all = append(all, m[1]+" is no variable of the script")
		}
	}
	return all
}

// wrongOrder sees that nothing is deployed before all the rest is well, and that what
// needs no other is not held up by it.
func wrongOrder(b *cloudbuild.Build) (all []string) {
	after := map[string]map[string]bool{} // all that a step waits for, at however many removes
	for _, s := range b.Steps {
		after[s.Id] = map[string]bool{}
		for _, other := range s.WaitFor {
			after[s.Id][other] = true
			for more := range after[other] {
				after[s.Id][more] = true
			}
		}
	}
	deploying := false
	for i, s := range b.Steps {
		deploying = deploying || strings.HasPrefix(s.Id, "deploy-")
		for _, other := range b.Steps[:i] {
			if deploying && !after[s.Id][other.Id] {
				all = append(all, "step "+s.Id+": does not wait for "+other.Id)
			}
		}
	}
	if after["test"]["lint"] || after["lint"]["test"] {
		all = append(all, "lint and test do not run side by side")
	}
	return all
}

// wrongVolumes holds the volumes against Cloud Build's rules.
func wrongVolumes(b *cloudbuild.Build) (all []string) {
	used := map[string]int{}
	for _, s := range b.Steps {
		for _, v := range s.Volumes {
			used[v.Name]++
			if !strings.HasPrefix(v.Path, "/") || strings.HasPrefix(v.Path+"/", "/workspace/") {
				all = append(all, "the path "+v.Path+" is in /workspace, or no path")
			}
		}
	}
	for name, n := range used {
		if n < 2 {
			all = append(all, "the volume "+name+" is used by one step alone, which is refused")
		}
	}
	return all
}

// substitution is one in its place, or a dollar that is none.
var substitution = regexp.MustCompile(`\$\{?([A-Za-z_0-9]*)\}?`)

// wrongSubstitutions sees that each substitution is used, as Cloud Build asks for, and
// that each that is used is there.
func wrongSubstitutions(b *cloudbuild.Build) (all []string) {
	used := map[string]bool{}
	var texts []string
	for _, s := range b.Steps {
		texts = append(append(append(texts, s.Name, s.Entrypoint), s.Args...), s.Env...)
	}
	for _, text := range texts {
		for _, m := range substitution.FindAllStringSubmatch(text, -1) {
			_, known := b.Substitutions[m[1]]
			used[m[1]] = true
			switch {
			case m[1] == "":
				all = append(all, text+": a $ that is no substitution")
			case !known:
				all = append(all, m[0]+" is no substitution")
			}
		}
	}
	for name := range b.Substitutions {
		if !regexp.MustCompile(`^_[A-Z0-9_]+$`).MatchString(name) {
			all = append(all, name+": a substitution's name begins with _, and has capitals, digits and _ alone")
		}
		if !used[name] {
			all = append(all, name+" is not used, and so refused")
		}
	}
	return all
}

// wrongOptions looks at what is for the whole build.
func wrongOptions(b *cloudbuild.Build) (all []string) {
	if d, err := time.ParseDuration(b.Timeout); err != nil || d < 30*time.Minute || d > 24*time.Hour {
		all = append(all, "timeout: "+b.Timeout+" is too short for the tests, or longer than Cloud Build's 24 hours")
	}
	if b.Options.Logging != "CLOUD_LOGGING_ONLY" {
		all = append(all, "logging: "+b.Options.Logging+" is refused for a build with an account of its own")
	}
	if !slices.Contains([]string{"UNSPECIFIED", "N1_HIGHCPU_8", "N1_HIGHCPU_32", "E2_HIGHCPU_8", "E2_HIGHCPU_32", "E2_MEDIUM"}, b.Options.MachineType) {
		all = append(all, "machineType: "+b.Options.MachineType+" is none")
	}
	if !slices.Contains(b.Options.Env, "CI=true") {
		all = append(all, "CI=true is not set: tests would pass over what is missing")
	}
	if b.AvailableSecrets != nil || len(b.Secrets) > 0 || len(b.Options.SecretEnv) > 0 {
		all = append(all, "has secrets; none is needed")
	}
	secret := regexp.MustCompile(`(?i)(token|secret|password|credential|private|api_?key)[a-z_]*=`)
	for _, s := range append(b.Steps, &cloudbuild.BuildStep{Env: b.Options.Env}) {
		for _, v := range s.Env {
			if secret.MatchString(v) || len(s.SecretEnv) > 0 {
				all = append(all, v+" looks like a secret")
			}
		}
	}
	return all
}

func TestEachSubstitutionIsDescribed(t *testing.T) {
	text := read(t, buildFile)
	head, _, _ := strings.Cut(text, "\nsteps:")
	described := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#   (_[A-Z_]+) +\S`).FindAllStringSubmatch(head, -1) {
		described[m[1]] = true
	}
	for name := range theBuild(t).Substitutions {
		if !described[name] {
			t.Errorf("%s: the comment at its head does not say what %s is", buildFile, name)
		}
		delete(described, name)
	}
	for name := range described {
		t.Errorf("%s: the comment at its head describes %s, which is no substitution", buildFile, name)
	}
}

// The scripts in the file are scripts as others are.
func TestTheBuildsScriptsPassShellcheck(t *testing.T) {
	shellcheck, err := exec.LookPath("shellcheck")
	switch {
	case err != nil && os.Getenv("CI") != "true":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	for _, s := range theBuild(t).Steps {
		if s.Script == "" {
			continue
		}
		cmd := command(t, root, shellcheck, "--shell=bash", "-")
		cmd.Stdin = strings.NewReader(s.Script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("step %s: %v\n%s", s.Id, err, out)
		}
	}
}

// What is wrong in a configuration stops the build in its first step, which says so.
func TestTheBuildsFirstStepHoldsTheConfigurations(t *testing.T) {
	step := theBuild(t).Steps[0]
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, policy, "domains: [example.com]\nactions: [gmail.users.labels.list]\n")
	good := filepath.Join(t.TempDir(), "good.env")
	write(t, good, "GOOGLE_CLOUD_PROJECT=my-project-1\nREGION=europe-west1\nONBEHALF_POLICY="+policy+"\n")
	bad := filepath.Join(t.TempDir(), "bad.env")
	write(t, bad, "GOOGLE_CLOUD_PROJECT=my-project-1\nREGION=Europe\nONBEHALF_POLICY="+policy+"\n")
	for _, c := range []struct{ name, staging, production, user, says string }{
		{"good", good, good, "ada@example.com", ""},
		{"staging", bad, good, "ada@example.com", `REGION: "Europe" is not accepted`},
		{"production", good, bad, "ada@example.com", `REGION: "Europe" is not accepted`},
		{"no file", good, "deploy/none.env", "ada@example.com", "deploy/none.env: there is no such file"},
		{"nobody", good, good, "", `--user: "" is not accepted`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cmd := command(t, root, "bash", "-c", step.Script)
			cmd.Env = append(os.Environ(), "STAGING="+c.staging, "PRODUCTION="+c.production, "CHECKED="+c.user, "ACTION=")
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			switch {
			case c.says == "" && err != nil:
				t.Errorf("%v\n%s", err, out)
			case c.says != "" && (!errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), c.says)):
				t.Errorf("%v; want exit status 2 and %q\n%s", err, c.says, out)
			}
		})
	}
}
