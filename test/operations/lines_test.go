package operations

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/auth"
	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
	"github.com/onbehalf-dev/onbehalf/internal/telemetry"
)

// deployment is the four functions as they are deployed, with a Workspace behind them and
// their logs at hand.
type deployment struct {
	t      *testing.T
	google *sandbox.Server
	world  sandbox.World
	ledger ledger.Ledger
	of     map[string]*functions.Executor // by service

	mu       sync.Mutex
	logs     map[string]*bytes.Buffer
	messages []pubsubio.Message // on the topic of jobs
	// refuse and panics are what is done with the next result.
	refuse, panics bool
}

func deploy(t *testing.T) *deployment {
	t.Helper()
	world := sandbox.DefaultWorld()
	google, err := sandbox.New(world, sandbox.Options{KeyBits: 1024})
	if err != nil {
		t.Fatal(err)
	}
	workspace := httptest.NewServer(google)
	t.Cleanup(workspace.Close)
	d := &deployment{t: t, google: google, world: world, ledger: ledger.NewMemory(0), of: make(map[string]*functions.Executor), logs: make(map[string]*bytes.Buffer)}
	for _, service := range []string{"onbehalf-execute", "onbehalf-dead-letter", "onbehalf-fanout", "onbehalf-sweep"} {
		d.of[service] = d.function(service, workspace.URL)
	}
	return d
}

// function makes one of them.
func (d *deployment) function(service, workspace string) *functions.Executor {
	d.t.Helper()
	cfg, err := config.Load([]string{
		"GOOGLE_CLOUD_PROJECT=" + d.world.Project, "ONBEHALF_SERVICE_ACCOUNT=" + d.world.Runtime, "ONBEHALF_SANDBOX=" + workspace, "ONBEHALF_ADMIN=admin@example.com",
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.logs[service] = &bytes.Buffer{}
	x, err := functions.New(d.t.Context(), cfg, functions.Options{
		Logger:      telemetry.NewLogger(writer{d, service}, slog.LevelInfo),
		Credentials: func() (*auth.Credentials, error) { return d.google.Credentials(d.world.Runtime), nil }, Caller: d.world.Runtime,
		Policy: &policy.Policy{Domains: []string{"example.com"}, Actions: []string{"gmail.users.messages.*", "gmail.users.watch"}, DenyUsers: []string{"alan@example.com"}},
		Ledger: d.ledger, Results: d, Publish: d.publish, Continue: func(context.Context, string) error { return nil },
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if err := x.Close(); err != nil {
			d.t.Error(err)
		}
	})
	return x
}

// writer is a service's standard error.
type writer struct {
	d       *deployment
	service string
}

func (w writer) Write(p []byte) (int, error) {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	return w.d.logs[w.service].Write(p)
}

// Publish implements functions.Results.
func (d *deployment) Publish(context.Context, jobs.Result) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	refuse, panics := d.refuse, d.panics
	d.refuse, d.panics = false, false
	switch {
	case panics:
		panic("nobody is to read this")
	case refuse:
		return io.ErrUnexpectedEOF
	}
	return nil
}

// Tell implements functions.Results.
func (d *deployment) Tell(context.Context, jobs.Summary) error { return nil }

func (d *deployment) publish(_ context.Context, messages []batch.Message) func(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range messages {
		d.messages = append(d.messages, pubsubio.Message{ID: fmt.Sprint("b", len(d.messages)), Data: m.Data, Attributes: m.Attributes(), PublishTime: time.Now()})
	}
	return func(context.Context) error { return nil }
}

// job delivers a job to Execute so many times.
func (d *deployment) job(id, user, action string, times int, more ...any) {
	d.t.Helper()
	for range times {
		d.of["onbehalf-execute"].Execute(d.t.Context(), d.message(id, user, action, more...))
	}
}

func (d *deployment) message(id, user, action string, more ...any) pubsubio.Message {
	d.t.Helper()
	job := map[string]any{"id": id, "user": user + "@example.com", "action": action}
	for i := 0; i < len(more); i += 2 {
		job[more[i].(string)] = more[i+1]
	}
	data, err := json.Marshal(job)
	if err != nil {
		d.t.Fatal(err)
	}
	return pubsubio.Message{ID: id, Data: data, PublishTime: time.Now()}
}

// What the jobs call.
const (
	insert = "gmail.users.messages.insert"
	trash  = "gmail.users.messages.trash"
	list   = "gmail.users.messages.list"
	watch  = "gmail.users.watch"
)

func letter() []any {
	return []any{"message", map[string]any{"compose": map[string]any{"from": "it@example.com", "to": []string{"ada@example.com"}, "subject": "Hello", "text": "Hello."}}}
}

func (d *deployment) order(f sandbox.Fault) {
	d.t.Helper()
	if err := d.google.Order(f); err != nil {
		d.t.Fatal(err)
	}
}

// trust sets for which scopes the administrator trusts the account.
func (d *deployment) trust(scopes ...string) {
	d.t.Helper()
	body, err := json.Marshal(scopes)
	if err != nil {
		d.t.Fatal(err)
	}
	w := httptest.NewRecorder()
	d.google.ServeHTTP(w, httptest.NewRequestWithContext(d.t.Context(), http.MethodPut, "/_sandbox/clients/"+d.world.ServiceAccounts[0].UniqueID+"/scopes", bytes.NewReader(body)))
	if w.Code >= http.StatusBadRequest {
		d.t.Fatalf("HTTP %d %s", w.Code, w.Body)
	}
}

// doJobs has one job by itself after the other come to something.
func (d *deployment) doJobs() {
	d.job("done", "ada", insert, 3, letter()...) // twice for nothing
	d.order(sandbox.Fault{Kind: "429", Call: insert, Times: 1, RetryAfter: "3600"})
	d.job("limited", "grace", insert, 2, letter()...) // the second time nobody asks
	d.job("limited, too", "grace", insert, 1, letter()...)
	d.order(sandbox.Fault{Kind: "5xx", Call: insert, Times: 100})
	d.job("trouble", "barbara", insert, 1, letter()...)
	d.google.ClearFaults()
	d.refuse = true
	d.job("not out", "edsger", insert, 2, letter()...) // the second time it is replayed
	d.job("refused", "alan", insert, 2, letter()...)
	d.job("wrong", "ada", trash, 1, "colour", "red")
	d.job("looked at", "ada", insert, 1, append(letter(), "dryRun", true)...)
	d.job("watched", "ada", watch, 1, "body", map[string]any{"topicName": "projects/onbehalf-sandbox/topics/onbehalf-mail"})
	d.job("not watched", "ada", watch, 1, "body", map[string]any{"topicName": "none"})
	give := func(id string) {
		m := d.message(id, "ada", insert, letter()...)
		m.Delivery = 100
		d.of["onbehalf-dead-letter"].GiveUp(d.t.Context(), m)
	}
	give("given up")
	give("done") // which has its result
}

// doBatch has a batch begin, stop, and come to its end; and another that is refused.
func (d *deployment) doBatch() {
	start := func(file string) {
		d.of["onbehalf-fanout"].FanOut(d.t.Context(), pubsubio.Message{ID: "b", Data: []byte(file), PublishTime: time.Now()})
	}
	deliver := func() {
		messages := d.messages
		d.messages = nil
		for _, m := range messages {
			d.of["onbehalf-execute"].Execute(d.t.Context(), m)
		}
	}
	sweep := func() { d.of["onbehalf-sweep"].Sweep(d.t.Context(), pubsubio.Message{ID: "s"}) }
	start("name: [")
	start("name: signatures\nid: signatures\ntargets: {users: [edsger@example.com, barbara@example.com]}\njob: {action: " + list + "}\n")
	d.trust("https://www.googleapis.com/auth/admin.directory.user.readonly")
	deliver()
	sweep()
	sweep() // a minute later
	d.trust("https://www.googleapis.com/auth/admin.directory.user.readonly", "https://www.googleapis.com/auth/gmail.insert")
	steering := d.of["onbehalf-fanout"].Batches()
	if err := steering.Cancel(d.t.Context(), "signatures"); err != nil {
		d.t.Fatal(err)
	}
	d.of["onbehalf-fanout"].FanOut(d.t.Context(), pubsubio.Message{ID: "c", Attributes: map[string]string{"continue": "signatures"}})
	deliver()
	sweep()
}

// breakDown has a function panic, and one that cannot start.
func (d *deployment) breakDown() {
	d.t.Helper()
	d.panics = true
	d.job("panics", "margaret", insert, 1, letter()...)
	d.t.Setenv("ONBEHALF_LEDGER", "nowhere")
	read, write, err := os.Pipe()
	if err != nil {
		d.t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = write
	w := httptest.NewRecorder()
	functions.EntryPoints()["Sweep"](w, httptest.NewRequestWithContext(d.t.Context(), http.MethodPost, "/", http.NoBody))
	os.Stderr = stderr
	write.Close()
	said, err := io.ReadAll(read)
	if err != nil || w.Code != http.StatusServiceUnavailable {
		d.t.Fatalf("HTTP %d, %v", w.Code, err)
	}
	d.logs["onbehalf-sweep"].Write(said)
}

// entries are all lines that were written.
func (d *deployment) entries() (all []entry) {
	for service, log := range d.logs {
		for line := range strings.Lines(log.String()) {
			all = append(all, newEntry(d.t, service, line))
		}
	}
	return all
}

// Each metric counts what it says, and nothing twice; and each field that it names is there
// in what the functions write.
func TestMetricsCountWhatFunctionsWrite(t *testing.T) {
	d := deploy(t)
	d.doJobs()
	d.doBatch()
	d.breakDown()
	entries := d.entries()
	want := map[string]map[string]int{ // by metric, and its labels
		"onbehalf-jobs": {
			"succeeded " + insert + " ":         1,
			"succeeded " + insert + " google":   1, // whose result was not out at first
			"previewed " + insert + " ":         1,
			"refused " + insert + " operator":   1,
			"uncertain " + insert + " operator": 1,
			"failed " + trash + " job":          1,
			"succeeded " + watch + " ":          1,
			"failed " + watch + " job":          1,
			"cancelled " + list + " job":        2,
		},
		"onbehalf-quota-put-offs":  {"rateLimitExceeded " + insert: 2, "deferred " + insert: 1},
		"onbehalf-retries":         {"google backendError": 1, "google notPublished": 1, "google panic": 1},
		"onbehalf-breaker-open":    {"example.com unauthorized_client": 1},
		"onbehalf-batches":         {"running ": 1, "stopped unauthorized_client": 1, "cancelling ": 1, "cancelled ": 1, "refused badBatch": 1},
		"onbehalf-batches-stopped": {"": 2},
		"onbehalf-dead-letters":    {"succeeded ": 1, "uncertain operator": 1},
		"onbehalf-watches":         {"succeeded ": 1, "failed job": 1},
		"onbehalf-crashes":         {"cannot start": 1, "panic": 1},
	}
	for name, m := range metrics(t) {
		f, err := parse(m.Filter)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, found := make(map[string]int), make(map[string]bool)
		for _, e := range entries {
			if !f.matches(e) {
				continue
			}
			var of []string
			for _, label := range labels(m) {
				path := extracts.FindStringSubmatch(m.LabelExtractors[label])
				if path == nil {
					t.Fatalf("%s: %s is extracted by %q", name, label, m.LabelExtractors[label])
				}
				value, ok := e.field(path[1])
				if found[label] = found[label] || ok; !ok {
					value = ""
				}
				of = append(of, fmt.Sprint(value))
			}
			got[strings.Join(of, " ")]++
		}
		if diff := cmp.Diff(want[name], got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		for _, label := range labels(m) {
			if !found[label] {
				t.Errorf("%s: no line that it counts has %s", name, m.LabelExtractors[label])
			}
		}
	}
}
