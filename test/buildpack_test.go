package test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is known of the functions buildpack is from its source, in
// https://github.com/GoogleCloudPlatform/buildpacks/tree/main/cmd/go/functions_framework.
const (
	// sourceDir is where the buildpack moves what was uploaded.
	sourceDir = "serverless_function_source_code"
	// mainDir is where it puts the main that it writes, below that.
	mainDir = "functions.local/app"
	// framework is the package that the root package must import itself, or the
	// main will look there for a function of the entry point's name.
	framework = "github.com/GoogleCloudPlatform/functions-framework-go/functions"
	// mainFile is its main for functions that register themselves.
	mainFile = `package main

import (
	"log"
	"net/http"
	"os"

	_ "` + module + `"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
)

func main() {
	http.HandleFunc("/robots.txt", http.NotFound)
	http.HandleFunc("/favicon.ico", http.NotFound)

	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	if err := funcframework.Start(port); err != nil {
		log.Fatalf("Function failed to start: %v\n", err)
	}
}
`
)

func TestTheBuildpackAcceptsTheRootFolder(t *testing.T) {
	if err := acceptable(root); err != nil {
		t.Error(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(root, "function.go"); len(files) != 1 || files[0] != want {
		t.Errorf("the root folder has %q; want function.go alone: it is the buildpack's, everything else has a folder", files)
	}
}

func TestTheBuildpackRefuses(t *testing.T) {
	good := "package f\n\nimport _ \"" + framework + "\"\n"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"no Go file", map[string]string{"README.md": ""}, "unable to find Go package"},
		{"a test of another package", map[string]string{"f.go": good, "f_test.go": "package f_test\n"}, "multiple packages"},
		{"a main behind a build tag", map[string]string{"f.go": good, "gen.go": "//go:build ignore\n\npackage main\n"}, "multiple packages"},
		{"no framework", map[string]string{"f.go": "package f\n"}, "does not import"},
		{"nothing of this", map[string]string{"f.go": good}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range test.files {
				write(t, filepath.Join(dir, name), text)
			}
			err := acceptable(dir)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("acceptable() = %v; want %q", err, test.want)
			}
		})
	}
}

func TestTheUploadIsWhatTheFunctionNeeds(t *testing.T) {
	files := upload(t)
	for _, name := range []string{"go.mod", "go.sum", "function.go", "functions/execute.go"} {
		if !slices.Contains(files, name) {
			t.Errorf("%s: is not uploaded, see .gcloudignore; the function needs it", name)
		}
	}
	for _, name := range files {
		for _, part := range []string{"_test.go", "testdata/", "test/", "cmd/", "docs/", "deploy/", ".ci/", ".git", ".md", ".sh", "cloudbuild.yaml"} {
			if strings.HasPrefix(name, part) || strings.HasSuffix(name, part) || strings.Contains(name, "/"+part) {
				t.Errorf("%s: is uploaded, see .gcloudignore; the function does not need it", name)
			}
		}
	}
}

// What git takes the patterns for, gcloud takes them for, too; and what commands have
// made beside the tree is not uploaded.
func TestGcloudUploadsWhatGitSays(t *testing.T) {
	gcloud, err := exec.LookPath("gcloud")
	switch {
	case err != nil && os.Getenv("CI") != "true":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range treeFiles(t) {
		write(t, filepath.Join(dir, name), read(t, name))
	}
	for _, made := range []string{
		"functions.test", "functions/functions.test", "cpu.prof", "internal/actions/mem.prof", "onbehalf", ".onbehalf/ledger", ".ci/bin/golangci-lint",
		"deploy/config.env", "deploy/policy.yaml", "deploy/schedules", ".git/config", "internal/jobs/testdata/new.json", "functions/new_test.go",
	} {
		write(t, filepath.Join(dir, made), "made")
	}
	cmd := command(t, dir, gcloud, "meta", "list-files-for-upload", ".")
	cmd.Env = append(os.Environ(), "CLOUDSDK_CONFIG="+t.TempDir(), "CLOUDSDK_CORE_DISABLE_PROMPTS=1")
	got := strings.Fields(output(t, cmd))
	want := upload(t)
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("gcloud uploads other files than git takes .gcloudignore to mean (-git +gcloud):\n%s", d)
	}
}

// maxUpload is the longest archive that is uploaded, compressed as gcloud does it. Each
// function's deployment uploads, stores and unpacks it, four times for all of them. It
// was 0.8 MB in November 2026, half of it the facts about Google's methods, and the
// whole tree 1.8 MB: what takes it over this is more than the function needs.
const maxUpload = 1 << 20

func TestTheUploadIsSmall(t *testing.T) {
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	for _, name := range upload(t) {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, read(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if archive.Len() > maxUpload {
		t.Errorf("what is uploaded has %d bytes as an archive, of at most %d; see what need not be there, and name it in .gcloudignore", archive.Len(), maxUpload)
	}
}

// acceptable says why the buildpack would refuse a root folder. It looks at
// every file there, tests and those behind build tags included.
func acceptable(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return err
	}
	packages, imports := map[string]bool{}, map[string]bool{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		packages[f.Name.Name] = true
		for _, spec := range f.Imports {
			imports[strings.Trim(spec.Path.Value, `"`)] = true
		}
	}
	switch {
	case len(packages) == 0:
		return errors.New("unable to find Go package: the root folder must have one")
	case len(packages) > 1:
		return fmt.Errorf("multiple packages in user code directory: %q; the root folder must have one, tests and files behind build tags included", slices.Sorted(maps.Keys(packages)))
	case !imports[framework]:
		return fmt.Errorf("the root package does not import %s itself: the main that the buildpack writes would not start it", framework)
	}
	return nil
}

// upload names the files that gcloud would upload: the tree's without those
// that .gcloudignore leaves out. Its patterns are .gitignore's, so git applies
// them.
func upload(t *testing.T) []string {
	t.Helper()
	patterns, err := filepath.Abs(filepath.Join(root, ".gcloudignore"))
	if err != nil {
		t.Fatal(err)
	}
	files := treeFiles(t)
	git := command(t, root, "git", "-c", "core.excludesFile="+patterns, "check-ignore", "--no-index", "-z", "--stdin")
	git.Stdin = strings.NewReader(strings.Join(files, "\x00"))
	ignored := strings.Split(output(t, git), "\x00")
	return slices.DeleteFunc(files, func(name string) bool { return slices.Contains(ignored, name) })
}

// built is the one build of a run of the tests.
var built struct {
	once   sync.Once
	binary string
}

// servedBinary is the path of the function as it is deployed: built once, from
// what would be uploaded, as Google's buildpack builds it. Where the tests look
// for data races, so does it.
func servedBinary(t *testing.T) string {
	t.Helper()
	built.once.Do(func() { built.binary = build(t) })
	if built.binary == "" {
		t.Fatal("the function does not build; the first test that needed it says why")
	}
	return built.binary
}

// build builds what would be uploaded.
func build(t *testing.T) string {
	t.Helper()
	source, binary := filepath.Join(run.dir, sourceDir), filepath.Join(run.dir, "main")
	for _, name := range upload(t) {
		write(t, filepath.Join(source, name), read(t, name))
	}
	buildSource(t, source, binary)
	return binary
}

// buildSource builds a source as the buildpack does. It leaves out one step: go mod tidy,
// which wants modules that only tests of our dependencies import, and so a network. That go.mod
// is tidy is a step of .ci/run.
func buildSource(t *testing.T, source, binary string) {
	t.Helper()
	if err := acceptable(source); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(source, mainDir, "main.go"), mainFile)
	cmd := command(t, source, "go", "build", "-mod=mod", "-o", binary)
	if raceDetected() {
		cmd.Args = append(cmd.Args, "-race")
	}
	cmd.Args = append(cmd.Args, "./"+mainDir)
	cmd.Env = append(os.Environ(), "GOWORK=off") // the buildpack knows no workspace
	output(t, cmd)
}

// raceDetected says whether these tests run with go test -race.
func raceDetected() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// write writes a file, and the folders that it is in.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
