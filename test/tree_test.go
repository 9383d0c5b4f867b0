// Package test holds what is tested on the whole: the function as Google's
// buildpack makes it, its peers, and the rules of the tree itself.
package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/functions"
)

const (
	root   = ".." // tests run in their package's folder
	module = "github.com/onbehalf-dev/onbehalf"
)

// arrow says which packages of this module one package may import, as paths
// below the module's, and why no others.
type arrow struct {
	pkg string   // test/... is each package below test
	may []string // internal/* is everything in internal but the sandbox
	why string   // goes on from "it"
}

// arrows has a row for each package: whoever adds a package decides whom it may
// know. They bind what is shipped; tests may import what they like.
var arrows = []arrow{
	{".", []string{"functions"}, "is what the buildpack compiles: it registers the entry points and has nothing of its own"},
	{"functions", []string{"internal/*"}, "is the only package that knows everyone, but is deployed, so it must do without the sandbox"},
	{"cmd/onbehalf", []string{"functions", "internal/*", "internal/sandbox"}, "is thin: every command calls the packages below, and none of them knows of it"},

	{"internal/access", []string{"internal/config", "internal/delegation", "internal/directory", "internal/explain"}, "is the way to Google for whoever has settings; what is then asked for, and for whom, is not its business"},
	{"internal/actions", []string{"internal/actions/discovery", "internal/apierror", "internal/content", "internal/jobs", "internal/letter"}, "turns a job into one call; who makes the call, with which token, is not its business"},
	{"internal/actions/discovery", nil, "has the facts that Google states; what is made of them is others' business"},
	{"internal/actions/discovery/gen", nil, "writes the facts of the package above, and must run while those are broken"},
	{"internal/apierror", nil, "reads what Google says; what it means is others' business"},
	{"internal/batch", []string{"internal/jobs"}, "makes jobs out of users; it acts as nobody"},
	{"internal/doctor", []string{"internal/access", "internal/actions", "internal/config", "internal/delegation", "internal/directory", "internal/explain", "internal/jobs", "internal/ledger", "internal/policy", "internal/pubsubio"}, "looks at all that the functions use, as they use it; what it shows to whom is its caller's business"},
	{"internal/explain", []string{"internal/jobs"}, "knows what Google's answers mean, whoever asked and however"},
	{"internal/letter", []string{"internal/content", "internal/jobs"}, "makes letters of what jobs say; who reads attachments, and who stores the letter, is not its business"},
	{"internal/ledger", []string{"internal/jobs"}, "keeps jobs and results; it needs to know nothing of what they do"},
	{"internal/mailbox", []string{"internal/jobs"}, "makes jobs out of mail; it acts as nobody"},
	{"internal/policy", []string{"internal/jobs"}, "judges a job by what it says, before anybody holds a token"},
	{"internal/pubsubio", []string{"internal/jobs"}, "carries jobs and results, whatever is in them"},

	{"internal/config", nil, "reads the environment; the packages that are configured must not be pulled into every reader of a setting"},
	{"internal/content", nil, "reads bytes again and again, whatever they mean"},
	{"internal/delegation", nil, "makes tokens, and must never see a job: what it cannot see it cannot leak, log or depend on"},
	{"internal/directory", []string{"internal/apierror"}, "reads the Directory; for whose sake, and with whose token, is not its business"},
	{"internal/jobs", nil, "says what can be asked, and must never see a token: what holds no token cannot publish one"},
	{"internal/quota", nil, "counts units, whatever they are spent on"},
	{"internal/telemetry", nil, "logs what it is given; if it knew our types it would be tempted to log their insides"},
	{"internal/sandbox", []string{"internal/actions/discovery"}, "stands in for Google, and Google does not import us: what they shared would be wrong in both, and pass; but for the facts, which are Google's"},

	{"test/...", []string{".", "functions", "internal/*", "internal/sandbox", "test/cloud", "test/emulator", "test/meter", "test/process", "test/storm"}, "is tests and what they start; no command of ours is for others to import"},
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	for _, p := range packages(t) {
		i := slices.IndexFunc(arrows, func(a arrow) bool { return a.of(p.path()) })
		if i < 0 {
			t.Errorf("package %s: has no row in arrows; add one that says what it may import, and why", p.path())
			continue
		}
		for _, imported := range p.Imports {
			if path, ours := below(imported); ours && !arrows[i].allows(path) {
				t.Errorf("package %s: must not import %s: it %s", p.path(), path, arrows[i].why)
			}
		}
	}
}

// Tokens and jobs meet in functions alone. For packages the arrows see to
// that; a command that needs both keeps them in files of their own.
func TestTokensAndJobsMeetOnlyInFunctions(t *testing.T) {
	for _, f := range production(t) {
		delegation, jobs := f.imports(module+"/internal/delegation"), f.imports(module+"/internal/jobs")
		if delegation && jobs && f.dir() != "functions" {
			t.Errorf("%s: imports both internal/delegation and internal/jobs; only functions may, so that no token ends in a job's result", f.name)
		}
	}
}

// testOnly are packages that must not be compiled into what is deployed or
// installed: they are large, add flags, or switch safety off.
var testOnly = []string{
	"testing",
	"net/http/httptest",
	"github.com/google/go-cmp",
	"github.com/rogpeppe/go-internal",
	"github.com/stretchr/testify",
	"go.uber.org/goleak",
}

func TestProductionImportsNothingMadeForTests(t *testing.T) {
	within := func(path, module string) bool { return path == module || strings.HasPrefix(path, module+"/") }
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			if i := slices.IndexFunc(testOnly, func(m string) bool { return within(imported, m) }); i >= 0 {
				t.Errorf("package %s: must not import %s outside tests: %s is made for tests only", p.path(), imported, testOnly[i])
			}
		}
	}
	for _, dependency := range strings.Fields(output(t, command(t, root, "go", "list", "-deps", "."))) {
		if dependency == "testing" {
			t.Error("what is deployed must not link testing, and some dependency of the root package brings it; find it with: go list -deps -json . | jq -r 'select(.Imports | index(\"testing\")) | .ImportPath'")
		}
	}
}

func TestOnlyTheRootHasAnInit(t *testing.T) {
	for _, f := range production(t) {
		for _, decl := range f.syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" && f.name != "function.go" {
				t.Errorf("%s: an init runs in everybody who imports the package, asked or not; make it a function that its user calls", f.at(fn))
			}
		}
	}
}

// constantCalls are the functions whose results may stand in a package
// variable: what they return never changes.
var constantCalls = []string{
	"errors.New",             // a sentinel
	"regexp.MustCompile",     // a pattern, safe for everybody at once
	"json.JoinUnmarshalers",  // a table of functions
	"json.UnmarshalFromFunc", // a row of it
}

func TestPackageVariablesHoldNoState(t *testing.T) {
	for _, f := range production(t) {
		for _, decl := range f.syntax.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != token.VAR {
				continue
			}
			for _, spec := range group.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok && !constant(group, v) {
					t.Errorf("%s: package variable %s could hold state that all users share; only sentinels, literal tables, patterns, embedded files and interface assertions may be package variables: put it into a struct that is made by its user, or make it a const", f.at(v), v.Names[0])
				}
			}
		}
	}
}

// constant says whether a package variable is one that nobody will change.
func constant(group *ast.GenDecl, v *ast.ValueSpec) bool {
	if v.Names[0].Name == "_" { // asserts that a type implements an interface
		return true
	}
	for _, doc := range []*ast.CommentGroup{group.Doc, v.Doc} {
		if doc != nil && strings.HasPrefix(doc.List[len(doc.List)-1].Text, "//go:embed ") {
			return true
		}
	}
	return len(v.Values) > 0 && !slices.ContainsFunc(v.Values, func(value ast.Expr) bool {
		switch value := value.(type) {
		case *ast.CompositeLit:
			return false
		case *ast.CallExpr:
			return !slices.Contains(constantCalls, callee(value))
		}
		return true
	})
}

// callee is the name of what is called, such as errors.New.
func callee(call *ast.CallExpr) string {
	if selector, ok := call.Fun.(*ast.SelectorExpr); ok {
		if pkg, ok := selector.X.(*ast.Ident); ok {
			return pkg.Name + "." + selector.Sel.Name
		}
	}
	return ""
}

func TestNobodySleeps(t *testing.T) {
	for _, f := range goFiles(t) {
		ast.Inspect(f.syntax, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if ok && callee(call) == "time.Sleep" {
				t.Errorf("%s: a sleep is too long on one machine and too short on another; wait for what you need, or sleep in a bubble of testing/synctest, where it takes no time", f.at(call))
			}
			return !ok || callee(call) != "synctest.Test"
		})
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	described := map[string]bool{}
	for _, f := range goFiles(t) {
		described[f.dir()] = described[f.dir()] || f.syntax.Doc != nil
	}
	for dir, ok := range described {
		if !ok {
			t.Errorf("package in %s: has no package comment; one of its files begins with what the package is for", dir)
		}
	}
}

// headings are what the comment of each entry point answers, in this order.
var headings = []string{"Triggered by", "Does", "Retried", "Scopes", "IAM roles"}

func TestEveryEntryPointIsDescribedAlike(t *testing.T) {
	doc := read(t, "functions/doc.go")
	sections := map[string]string{}
	for _, section := range strings.Split(doc, "\n// # ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		sections[name] = text
	}
	paragraph := regexp.MustCompile(`(?m)^//\n// ([A-Z][A-Za-z ]+):`)
	for name := range functions.EntryPoints() {
		text, ok := sections[name]
		delete(sections, name)
		if !ok {
			t.Errorf("functions/doc.go: has no section %q; each entry point has one", "# "+name)
			continue
		}
		var got []string
		for _, m := range paragraph.FindAllStringSubmatch(text, -1) {
			got = append(got, m[1])
		}
		if !slices.Equal(got, headings) {
			t.Errorf("functions/doc.go: # %s: has paragraphs %q; want %q, so that who deploys finds each answer in the same place", name, got, headings)
		}
	}
	for name := range sections {
		t.Errorf("functions/doc.go: # %s: is no entry point; EntryPoints has %q", name, slices.Sorted(maps.Keys(functions.EntryPoints())))
	}
}

func TestTheProjectHasItsPapers(t *testing.T) {
	for name, says := range map[string]string{
		"README.md":       "go test -race ./...",
		"CHANGELOG.md":    "# ",
		"LICENSE":         "Apache License",
		"CONTRIBUTING.md": ".ci/run",
		"SECURITY.md":     "Report",
	} {
		t.Run(name, func(t *testing.T) {
			if text := read(t, name); !strings.Contains(text, says) {
				t.Errorf("%s: does not contain %q", name, says)
			}
		})
	}
}

// A file of the tree is text, and no longer than this.
const (
	maxFile = 2 << 20
	head    = 8 << 10 // in which a file that is no text has a NUL
)

// noText says why a file should not be in the tree, or is empty.
func noText(data string) string {
	switch {
	case strings.Contains(data[:min(len(data), head)], "\x00"):
		return "is no text"
	case len(data) > maxFile:
		return fmt.Sprintf("is %d bytes long, of at most %d", len(data), maxFile)
	}
	return ""
}

func TestTheTreeIsText(t *testing.T) {
	for _, name := range treeFiles(t) {
		if why := noText(read(t, name)); why != "" {
			t.Errorf("%s: %s, and who clones would carry it for good; if a command made it, take it out (git rm --cached) and name it in .gitignore; what tests need they make when they run", name, why)
		}
	}
}

func TestTheSearchForBinariesFindsThem(t *testing.T) {
	for _, data := range []string{"\x7fELF\x02\x01\x01\x00", strings.Repeat("a", head-1) + "\x00", strings.Repeat("a", maxFile+1)} {
		if noText(data) == "" {
			t.Errorf("noText(%.8q…) = none; want one", data)
		}
	}
	for _, data := range []string{"", "text", "naïve – 歓迎", strings.Repeat("a", maxFile)} {
		if why := noText(data); why != "" {
			t.Errorf("noText(%.8q…) = %s; want none", data, why)
		}
	}
}

// secrets are what Google's secrets look like. Each pattern asks for enough of
// a body that code and prose about them do not match.
var secrets = []struct {
	what    string
	pattern *regexp.Regexp
}{
	{"a private key", regexp.MustCompile(`PRIVATE KEY-----(?:\s|\\r|\\n|["'+])*[A-Za-z0-9+/=]{40}`)},
	{"an access token", regexp.MustCompile(`\bya29\.[A-Za-z0-9_.-]{20,}`)},
	{"a refresh token", regexp.MustCompile(`\b1//0[A-Za-z0-9_-]{30,}`)},
	{"a JSON Web Token", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`)},
	{"an API key", regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{35}`)},
	{"an OAuth client secret", regexp.MustCompile(`\bGOCSPX-[A-Za-z0-9_-]{28}`)},
}

// placeholder is a token that says itself that it is none: the sandbox's, one
// that is crossed out, or one of few different characters.
var placeholder = regexp.MustCompile(`(?i)sandbox|example|placeholder|redacted|x{8}|\.{3}`)

// leak names the first secret in text, or is empty.
func leak(text []byte) string {
	for _, s := range secrets {
		for _, found := range s.pattern.FindAll(text, -1) {
			if !placeholder.Match(found) {
				return s.what
			}
		}
	}
	return ""
}

func TestNoSecretIsInTheTree(t *testing.T) {
	for _, name := range treeFiles(t) {
		if what := leak([]byte(read(t, name))); what != "" {
			t.Errorf("%s: holds what looks like %s; if it is real, revoke it now: it is in the history for good. A test makes its own keys when it runs, and a placeholder says that it is one, as ya29.EXAMPLE", name, what)
		}
	}
}

func TestTheSearchForSecretsFindsThem(t *testing.T) {
	body := strings.Repeat("aZ0_-", 10)
	for _, text := range []string{ // in two parts, so that this file has no secret itself
		"-----BEGIN " + "PRIVATE KEY-----\n" + strings.Repeat("MIIEvQIBADAN", 5),
		`"private_key": "-----BEGIN RSA ` + `PRIVATE KEY-----\n` + strings.Repeat("MIIEvQIBADAN", 5),
		"Authorization: Bearer ya" + "29." + body,
		"refresh_token=1/" + "/0" + body,
		"assertion=ey" + "JhbGciOiJSUzI1NiJ9.ey" + "JzdWIiOiJhZGEifQ." + body,
		"key=AI" + "za" + body,
		"GOC" + "SPX-" + body,
	} {
		if leak([]byte(text)) == "" {
			t.Errorf("leak(%q) = none; want one", text)
		}
	}
	for _, text := range []string{
		"ya29.sandbox-0123456789abcdef01234567", "Bearer ya29.EXAMPLE", "ya29.xxxxxxxxxxxxxxxxxxxxxxxx", "ya29.…",
		`&pem.Block{Type: "PRIVATE KEY", Bytes: der}`, "-----BEGIN " + "PRIVATE KEY-----\n...\n", "eyJhbGciOiJSUzI1NiJ9",
	} {
		if what := leak([]byte(text)); what != "" {
			t.Errorf("leak(%q) = %s; want none", text, what)
		}
	}
}

// of says whether the row is a package's.
func (a arrow) of(path string) bool {
	above, all := strings.CutSuffix(a.pkg, "...")
	return path == a.pkg || all && strings.HasPrefix(path, above)
}

// allows says whether the arrow leads to a package.
func (a arrow) allows(path string) bool {
	if slices.Contains(a.may, path) {
		return true
	}
	return slices.Contains(a.may, "internal/*") && strings.HasPrefix(path, "internal/") && path != "internal/sandbox"
}

// below is the path of a package below the module's, and whether it is ours.
func below(importPath string) (path string, ours bool) {
	if importPath == module {
		return ".", true
	}
	return strings.CutPrefix(importPath, module+"/")
}

// pkg is a package that is shipped, as go list describes it.
type pkg struct {
	ImportPath string
	GoFiles    []string // without tests
	Imports    []string // without those of tests
}

func (p pkg) path() string {
	path, _ := below(p.ImportPath)
	return path
}

// packages are the packages of this module but those that are all tests.
func packages(t *testing.T) []pkg {
	t.Helper()
	list := output(t, command(t, root, "go", "list", "-json=ImportPath,GoFiles,Imports", "./..."))
	var shipped []pkg
	for d := json.NewDecoder(strings.NewReader(list)); ; {
		var p pkg
		switch err := d.Decode(&p); {
		case errors.Is(err, io.EOF):
			return shipped
		case err != nil:
			t.Fatal(err)
		case len(p.GoFiles) > 0:
			shipped = append(shipped, p)
		}
	}
}

// goFile is a parsed file of the tree.
type goFile struct {
	name   string // from the root folder
	set    *token.FileSet
	syntax *ast.File
}

func (f goFile) dir() string { return filepath.Dir(f.name) }
func (f goFile) at(node ast.Node) string {
	return fmt.Sprintf("%s:%d", f.name, f.set.Position(node.Pos()).Line)
}

func (f goFile) imports(path string) bool {
	return slices.ContainsFunc(f.syntax.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == strconv.Quote(path) })
}

// goFiles are the tree's Go files, whatever their build tags, tests included.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	var list []goFile
	for _, name := range treeFiles(t) {
		if filepath.Ext(name) != ".go" || strings.Contains(name, "testdata/") {
			continue
		}
		f := goFile{name: name, set: token.NewFileSet()}
		var err error
		if f.syntax, err = parser.ParseFile(f.set, filepath.Join(root, name), nil, parser.ParseComments); err != nil {
			t.Fatal(err)
		}
		list = append(list, f)
	}
	return list
}

// production are those of goFiles that are no tests.
func production(t *testing.T) []goFile {
	t.Helper()
	return slices.DeleteFunc(goFiles(t), func(f goFile) bool { return strings.HasSuffix(f.name, "_test.go") })
}

// treeFiles names the files of the checkout, from the root folder: those that
// are tracked, and those that could be, so that a mistake shows before it is
// committed.
func treeFiles(t *testing.T) []string {
	t.Helper()
	names := strings.Split(output(t, command(t, root, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")), "\x00")
	names = slices.DeleteFunc(names, func(name string) bool { // what is deleted but tracked, and the end
		info, err := os.Lstat(filepath.Join(root, name))
		return err != nil || !info.Mode().IsRegular()
	})
	for _, name := range names {
		// go test repeats a passed result until something changes that the test
		// itself looked at. A folder changes when a file is added to it.
		for dir := filepath.Dir(name); ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(root, dir)); err != nil {
				t.Fatal(err)
			}
			if dir == "." {
				break
			}
		}
	}
	return names
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// command is a command that runs in dir and ends with the test.
func command(t *testing.T, dir, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	return cmd
}

// output runs cmd and returns its standard output.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	return string(out)
}
