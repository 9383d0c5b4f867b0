package test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"cloud.google.com/go/auth"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// methodJobs are jobs for methods of many APIs, one each, in an order in which all
// of them can be done. The command does them in its own test, and those of
// internal/actions hold their requests against Google's generated clients.
func methodJobs(t *testing.T) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(read(t, "internal/actions/examples/runnable.jsonl")) {
		var job map[string]any
		if err := json.Unmarshal([]byte(line), &job); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, job)
	}
	return all
}

// What is wrong in a job for any method is found before anything is asked of
// Google, and the result names its place.
func TestWrongJobsForManyMethodsMakeNoCall(t *testing.T) {
	google, do := executor(t)
	table := discovery.New()
	methods, apis, tried := map[string]bool{}, map[string]bool{}, map[string]int{}
	for _, job := range methodJobs(t) {
		id, _ := job["action"].(string)
		m, ok := table.Method(id)
		if !ok {
			t.Fatalf("%s: is no method", id)
		}
		methods[id], apis[m.Root+strings.Split(id, ".")[0]] = true, true
		for _, mutate := range mutations {
			wrong := clone(t, job)
			path := mutate.change(m, wrong)
			if path == "" {
				continue
			}
			tried[mutate.name]++
			result := do(t, wrong)
			if result.Status != jobs.Failed || result.Error == nil || result.Error.Stage != jobs.StageDecode || !strings.HasPrefix(result.Error.Message, path+": ") {
				t.Errorf("%s, %s: got %s %+v; want a failure that names %s", id, mutate.name, result.Status, result.Error, path)
			}
		}
	}
	if calls := google.Calls(); sum(calls) != 0 {
		t.Errorf("calls were made: %v", calls)
	}
	if len(methods) < 40 || len(apis) < 12 {
		t.Errorf("%d methods of %d APIs; want 40 of 12 at least", len(methods), len(apis))
	}
	t.Logf("%d methods of %d APIs; wrong jobs of each kind: %v", len(methods), len(apis), tried)
}

// The page that people come by first says what can be called, and how much that is.
func TestReadmeListsEveryAPI(t *testing.T) {
	all, want := actions.NewMethods().List(), map[string]int{}
	for _, m := range all {
		name, _, _ := strings.Cut(m.ID, ".")
		want[name]++
	}
	got, row := map[string]int{}, regexp.MustCompile(`(?m)^\| ((?:`+"`[A-Za-z]+\\.` ?"+`)+)\|[^|]+\| ([0-9 ·]+) \|$`)
	readme := read(t, "README.md")
	for _, m := range row.FindAllStringSubmatch(readme, -1) {
		counts := strings.Split(m[2], " · ")
		for i, name := range strings.Fields(m[1]) {
			got[strings.Trim(name, "`.")], _ = strconv.Atoi(counts[min(i, len(counts)-1)])
		}
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("README.md: the table of APIs (-what there is +what it says):\n%s", d)
	}
	if total := fmt.Sprintf("%d,%03d methods", len(all)/1000, len(all)%1000); !strings.Contains(readme, total) {
		t.Errorf("README.md: does not say that there are %s", total)
	}
}

// mutation makes a job wrong in one place, and names it; where the method has no
// such place the name is empty.
type mutation struct {
	name   string
	change func(*discovery.Method, map[string]any) string
}

var mutations = []mutation{
	{"unknown parameter", func(_ *discovery.Method, job map[string]any) string {
		part(job, "params")["noSuchParameter"] = "x"
		return "params.noSuchParameter"
	}},
	{"parameter of another value", func(m *discovery.Method, job map[string]any) string {
		for _, p := range m.Params {
			if p.Type.Enum != nil {
				part(job, "params")[p.Name] = listed(p.Repeated, "NO_SUCH_VALUE")
				return "params." + p.Name + index(p.Repeated)
			}
		}
		return ""
	}},
	{"parameter of another type", func(m *discovery.Method, job map[string]any) string {
		for _, p := range m.Params {
			if p.Name != "userId" {
				part(job, "params")[p.Name] = listed(p.Repeated, map[string]any{})
				return "params." + p.Name + index(p.Repeated)
			}
		}
		return ""
	}},
	{"required parameter missing", func(m *discovery.Method, job map[string]any) string {
		for _, p := range m.Params {
			if p.Required && p.Name != "userId" {
				delete(part(job, "params"), p.Name)
				return "params." + p.Name
			}
		}
		return ""
	}},
	{"another's userId", func(m *discovery.Method, job map[string]any) string {
		if _, ok := m.Param("userId"); !ok {
			return ""
		}
		part(job, "params")["userId"] = "grace@example.com"
		return "params.userId"
	}},
	{"unknown field of the body", func(m *discovery.Method, job map[string]any) string {
		if m.Request == nil {
			job["body"] = map[string]any{}
			return "body"
		}
		part(job, "body")["noSuchField"] = "x"
		return "body.noSuchField"
	}},
	{"field of another type", func(m *discovery.Method, job map[string]any) string {
		return field(m, job, func(f discovery.Field) (any, bool) {
			return []any{[]any{}}, f.Type.Kind != discovery.Any && f.Type.Kind != discovery.Array
		})
	}},
	{"field of another value", func(m *discovery.Method, job map[string]any) string {
		return field(m, job, func(f discovery.Field) (any, bool) { return "NO_SUCH_VALUE", f.Type.Enum != nil })
	}},
	{"unknown field deep in the body", func(m *discovery.Method, job map[string]any) string {
		path := field(m, job, func(f discovery.Field) (any, bool) {
			return map[string]any{"noSuchField": 1}, f.Type.Kind == discovery.Object && f.Type.Schema.Extra == nil
		})
		if path == "" {
			return ""
		}
		return path + ".noSuchField"
	}},
}

// field sets the first field of the body for which there is a value.
func field(m *discovery.Method, job map[string]any, value func(discovery.Field) (any, bool)) string {
	if m.Request == nil {
		return ""
	}
	for _, f := range m.Request.Fields {
		if v, ok := value(f); ok {
			part(job, "body")[f.Name] = v
			return "body." + f.Name
		}
	}
	return ""
}

func part(job map[string]any, name string) map[string]any {
	object, ok := job[name].(map[string]any)
	if !ok {
		object = map[string]any{}
		job[name] = object
	}
	return object
}

func listed(repeated bool, v any) any {
	if repeated {
		return []any{v}
	}
	return v
}

func index(repeated bool) string {
	if repeated {
		return "[0]"
	}
	return ""
}

func clone(t *testing.T, job map[string]any) (out map[string]any) {
	t.Helper()
	data, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func sum(counts map[string]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

// Letters of all kinds get into the mailbox as they are, from the job and from Cloud
// Storage, whichever method takes them in.
func TestLettersOfAllKindsStayAsTheyAre(t *testing.T) {
	files, err := filepath.Glob("../cmd/onbehalf/testdata/letters/*.eml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d letters, %v", len(files), err)
	}
	letters := map[string][]byte{}
	for _, file := range files {
		if letters[filepath.Base(file)], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	google, do := executorIn(t, letters)
	for _, c := range []struct{ method, user, other string }{
		{"messages.import", "alan@example.com", "edsger@example.com"}, // first: it takes a letter that is there for the same
		{"messages.insert", "ada@example.com", "grace@example.com"},
		{"drafts.create", "ada@example.com", "grace@example.com"},
		{"messages.send", "ada@example.com", "grace@example.com"},
	} {
		for name, letter := range letters {
			raw := base64.URLEncoding.EncodeToString(letter)
			for user, message := range map[string]map[string]any{c.user: {"raw": raw}, c.other: {"uri": "gs://letters/" + name}} {
				result := do(t, map[string]any{"user": user, "action": "gmail.users." + c.method, "message": message})
				if result.Status != jobs.Succeeded {
					t.Errorf("%s, %s: %+v", c.method, name, result.Error)
					continue
				}
				stored := letterOf(t, google, user, result)
				if header, same := bytes.CutSuffix(stored, letter); !same || (len(header) > 0) != (name == "no-message-id.eml") {
					t.Errorf("%s, %s, %v: was stored as %q", c.method, name, message["uri"], stored)
				}
			}
		}
	}
}

// letterOf is the letter that a result tells of.
func letterOf(t *testing.T, google *sandbox.Server, user string, result jobs.Result) []byte {
	t.Helper()
	var made struct {
		ID      string
		Message struct{ ID string }
	}
	if err := json.Unmarshal(result.Response, &made); err != nil {
		t.Fatal(err)
	}
	for _, l := range google.Letters(user) {
		if l.ID == cmp.Or(made.Message.ID, made.ID) {
			return l.Raw
		}
	}
	t.Errorf("there is no letter %s", result.Response)
	return nil
}

// executor is the path, in a sandbox in which everything is allowed. do gives the
// result that a job has.
func executor(t *testing.T) (google *sandbox.Server, do func(*testing.T, map[string]any) jobs.Result) {
	t.Helper()
	return executorIn(t, nil)
}

// executorIn is an executor with letters in Cloud Storage.
func executorIn(t *testing.T, letters map[string][]byte) (*sandbox.Server, func(*testing.T, map[string]any) jobs.Result) {
	t.Helper()
	world := sandbox.DefaultWorld()
	world.Objects = map[string][]byte{}
	for name, letter := range letters {
		world.Objects["letters/"+name] = letter
	}
	google, err := sandbox.New(world, sandbox.Options{KeyBits: 1024})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(google)
	t.Cleanup(server.Close)
	cfg, err := config.Load([]string{"GOOGLE_CLOUD_PROJECT=" + world.Project, "ONBEHALF_SERVICE_ACCOUNT=" + world.Runtime, "ONBEHALF_SANDBOX=" + server.URL})
	if err != nil {
		t.Fatal(err)
	}
	results, delivered := &collected{}, 0
	x, err := functions.New(t.Context(), cfg, functions.Options{
		Credentials: func() (*auth.Credentials, error) { return google.Credentials(world.Runtime), nil },
		Policy:      &policy.Policy{Domains: []string{"example.com"}, Actions: []string{"*"}, ServiceAccountActions: []string{"*"}},
		Results:     results,
	})
	if err != nil {
		t.Fatal(err)
	}
	google.ResetCalls()
	return google, func(t *testing.T, job map[string]any) jobs.Result {
		t.Helper()
		delete(job, "id")
		data, err := json.Marshal(job)
		if err != nil {
			t.Fatal(err)
		}
		results.all = nil
		delivered++
		x.Execute(t.Context(), pubsubio.Message{ID: strconv.Itoa(delivered), Data: data})
		if len(results.all) != 1 {
			t.Fatalf("%s: has %d results", data, len(results.all))
		}
		return results.all[0]
	}
}

type collected struct {
	functions.Results // of which no batch is told
	all               []jobs.Result
}

func (c *collected) Publish(_ context.Context, r jobs.Result) error {
	c.all = append(c.all, r)
	return nil
}
