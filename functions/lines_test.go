package functions_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

// Each change of a batch's state leaves one line, whoever makes it and however many notice
// at once what is to change it.
func TestEachChangeOfABatchLeavesALine(t *testing.T) {
	const some = 150
	for name, c := range map[string]struct {
		file string
		// before is what happens before jobs are delivered, and after when that is over.
		before, after func(*fleet)
		want          []string
		error         string // of the last change, its beginning
	}{
		"to its end":        {"", nil, nil, []string{">running", "running>completed"}, ""},
		"too many failures": {"stopAfter: {failures: 20}\n", func(f *fleet) { f.gmail(false, f.users[10:60]...) }, nil, []string{">running", "running>stopped stopAfter user"}, "stopAfter: failures:"},
		"a canary":          {"canary: 500\n", func(f *fleet) { f.gmail(false, f.users...) }, func(f *fleet) { f.goOn() }, []string{">running", "running>stopped canary user"}, "canary:"},
		"a fault of all":    {"", func(f *fleet) { f.delegated(`[]`) }, nil, []string{">running", "running>stopped unauthorized_client admin"}, "The Workspace administrator"},
		"somebody's pause":  {"", func(f *fleet) { f.must(f.Batches().Pause(f.t.Context(), "letter")) }, func(f *fleet) { f.must(f.Batches().Resume(f.t.Context(), "letter")) }, []string{">running", "running>paused", "paused>running", "running>completed"}, ""},
		"somebody cancels":  {"", func(f *fleet) { f.must(f.Batches().Cancel(f.t.Context(), "letter")) }, nil, []string{">running", "running>cancelling", "cancelling>cancelled"}, ""},
		"refused":           {"notAfter: 2026-01-01T00:00:00Z\n", nil, nil, []string{">refused badBatch job"}, "line 8: notAfter:"},
		"refused again": {"notAfter: 2026-01-01T00:00:00Z\n", nil, func(f *fleet) {
			f.fanOut(letters + "notAfter: 2026-01-02T00:00:00Z\n")
			f.fanOut(letters)
		}, []string{">refused badBatch job", "refused>refused badBatch job", "refused>running", "running>completed"}, ""},
		"and done once more": {"", nil, func(f *fleet) { f.fanOut(letters) }, []string{">running", "running>completed"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, some)
			f.jobs.copies = 3
			other := f.join()
			f.fanOut(letters + c.file)
			if c.before != nil {
				c.before(f)
			}
			f.deliver(-1)
			if c.after != nil {
				c.after(f)
			}
			for range 5 {
				f.goOn()
				f.deliver(-1)
				f.sweep()
			}
			var got []string
			lines := append(f.logs.lines(t, "batch"), other.logs.lines(t, "batch")...)
			for _, line := range lines {
				change := fmt.Sprint(line["from"], ">", line["state"])
				if line["reason"] != nil {
					change += fmt.Sprint(" ", line["reason"], " ", line["fault"])
				}
				got = append(got, change)
				if line["batch"] != "letter" || line["name"] != "letter" || (line["state"] != "refused") != (line["succeeded"] != nil && line["bad"] != nil) {
					t.Errorf("a line says %v", line)
				}
				if bad := line["state"] == "stopped" || line["state"] == "refused"; bad != (line["severity"] == "ERROR") || bad && line["fix"] == nil {
					t.Errorf("a line says %v", line)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s\n%s", diff, f.logs)
			}
			if last := lines[len(lines)-1]; c.error != "" && !strings.HasPrefix(fmt.Sprint(last["error"]), c.error) {
				t.Errorf("the last line says %v", last)
			}
		})
	}
}

// uncounted is a ledger whose counts cannot be read.
type uncounted struct{ ledger.Ledger }

func (uncounted) Tally(context.Context, string) (map[string]int, error) {
	return nil, errors.New("the ledger is away")
}

// A change that is kept is told also where nothing can be counted, and a refusal where there
// is not even an id.
func TestAChangeWithoutCounts(t *testing.T) {
	f := newFleet(t, 1)
	f.start(letters)
	x := f.another(t, func(_ *config.Config, o *functions.Options) { o.Ledger = uncounted{f.book} })
	stands, err := x.Batches().Stop(t.Context(), "letter", time.Now(), jobs.Error{Fault: jobs.FaultAdmin, Reason: "r"})
	if lines := x.logs.lines(t, "batch"); !stands || err != nil || len(lines) != 1 || lines[0]["state"] != "stopped" || lines[0]["reason"] != "r" || lines[0]["succeeded"] != nil {
		t.Errorf("%v %v %v", stands, err, lines)
	}
	f.fanOut("name: [")
	if lines := f.logs.lines(t, "batch"); len(lines) != 2 || lines[1]["state"] != "refused" || lines[1]["batch"] != "" {
		t.Errorf("%v", lines)
	}
}

// Sweep says how many batches stand and go, each minute anew.
func TestSweepCountsTheBatches(t *testing.T) {
	f := newFleet(t, 3)
	start := func(id string) {
		f.start(strings.ReplaceAll(letters, "letter\n", id+"\n"))
	}
	for _, id := range []string{"a", "b", "c", "d"} {
		start(id)
	}
	f.must(f.Batches().Pause(t.Context(), "a"))
	f.must(f.Batches().Cancel(t.Context(), "b"))
	f.sweep()
	f.jobs.take(-1)
	want := map[string]any{"running": 2., "paused": 1., "stopped": 0., "cancelling": 1.}
	lines := f.logs.lines(t, "looked after the batches")
	got := make(map[string]any)
	for state := range want {
		got[state] = lines[0][state]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	x := f.another(t, func(_ *config.Config, o *functions.Options) { o.Ledger = uncounted{f.book} })
	x.Sweep(t.Context(), pubsubio.Message{ID: "s"})
	if lines := x.logs.lines(t, "cannot look after all batches"); len(lines) != 1 || lines[0]["running"] != 0. || !strings.Contains(fmt.Sprint(lines[0]["error"]), "the ledger is away") {
		t.Errorf("%v", lines)
	}
}

// The first job that meets what all of its domain would meet leaves a line, and those that
// are told so from memory do not.
func TestTheBreakerLeavesALine(t *testing.T) {
	r := setup(t)
	w := httptest.NewRecorder()
	r.google.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPut, "/_sandbox/clients/"+r.world.ServiceAccounts[0].UniqueID+"/scopes", strings.NewReader(`[]`)))
	if w.Code >= http.StatusBadRequest {
		t.Fatal(w.Body)
	}
	for i, user := range []string{"ada@example.com", "grace@example.com", "ada@example.com"} {
		r.deliver(t, fmt.Sprint(i), insert(fmt.Sprint(i), user, plainLetter))
	}
	lines := r.logs.lines(t, "breaker open")
	if len(lines) != 1 {
		t.Fatalf("%d lines\n%s", len(lines), r.logs)
	}
	line := lines[0]
	if line["domain"] != "example.com" || line["stage"] != "exchange" || line["reason"] != "unauthorized_client" || line["code"] != 401. || line["guess"] != false ||
		line["severity"] != "ERROR" || line["until"] == nil || fmt.Sprint(line["scopes"]) != "[https://www.googleapis.com/auth/gmail.insert]" {
		t.Errorf("%v", line)
	}
}

// Of all the attempts at a job one says that it has settled it, however often it is delivered
// and whatever comes in between: who counts those lines counts jobs.
func TestOneLineSettlesAJob(t *testing.T) {
	const read = `{"id":"j","user":"ada@example.com","action":"gmail.users.messages.list"}`
	letter := insert("j", "ada@example.com", plainLetter)
	for name, c := range map[string]struct {
		job     string
		prepare func(*rig)
		givenUp bool
		want    []any // the statuses of the lines that settle
	}{
		"that succeeds":                {letter, nil, false, []any{"succeeded"}},
		"that is refused":              {insert("j", "admin@example.com", plainLetter), nil, false, []any{"refused"}},
		"that is wrong":                {`{"id":"j","usr":"ada@example.com"}`, nil, false, []any{"failed"}},
		"that has come too late":       {insert("j", "ada@example.com", plainLetter, "notAfter", "2026-01-01T00:00:00Z"), nil, false, []any{"expired"}},
		"whose result is not out":      {letter, func(r *rig) { r.results.fail = 1 }, false, []any{"succeeded"}},
		"that was put off":             {letter, func(r *rig) { _ = orderOnce(r, "429", "gmail.*") }, false, []any{"succeeded"}},
		"that was given up":            {letter, nil, true, []any{"uncertain"}},                          // for this ledger is an instance's own
		"that is not kept":             {read, nil, false, []any{"succeeded", "succeeded", "succeeded"}}, // for it is done so often
		"that is not kept and not out": {read, func(r *rig) { r.results.fail = 1 }, false, []any{"succeeded", "succeeded"}},
		"that is not done":             {insert("j", "ada@example.com", plainLetter, "dryRun", true), nil, false, []any{"previewed", "previewed", "previewed"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t)
			if c.prepare != nil {
				c.prepare(r)
			}
			for i := range 3 {
				if c.givenUp && i == 0 {
					r.GiveUp(t.Context(), pubsubio.Message{ID: "d", Data: []byte(c.job), Delivery: 100, PublishTime: time.Now()})
					continue
				}
				r.deliver(t, fmt.Sprint(i), c.job)
			}
			lines := r.logs.attempts(t)
			var got []any
			for _, line := range lines {
				if line["settled"] == true {
					got = append(got, line["status"])
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" || len(lines) != 3 {
				t.Errorf("%s\n%s", diff, r.logs)
			}
		})
	}
}
