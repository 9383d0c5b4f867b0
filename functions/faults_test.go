package functions_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// faults says, for each of Google's known answers, who must act and what
// Pub/Sub is answered. 200 is a final failure; 429 and 503 bring the job again.
var faults = map[string]struct {
	fault  jobs.Fault
	answer int
}{
	"T1": {jobs.FaultAdmin, 200}, "T2": {jobs.FaultAdmin, 200}, "T3": {jobs.FaultAdmin, 200}, "T4": {jobs.FaultAdmin, 200},
	"T5": {jobs.FaultUser, 200}, "T6": {jobs.FaultUser, 200}, "T7": {jobs.FaultJob, 200}, "T8": {jobs.FaultUser, 200},
	"T9": {jobs.FaultOperator, 200}, "T10": {jobs.FaultOperator, 200}, "T11": {jobs.FaultOperator, 200}, "T12": {jobs.FaultOperator, 200},
	"T13": {jobs.FaultOperator, 200}, "T14": {jobs.FaultOperator, 200}, "T15": {jobs.FaultOperator, 200}, "T16": {jobs.FaultOperator, 200},
	"T17": {jobs.FaultOperator, 200}, "T18": {jobs.FaultUser, 200}, "T19": {jobs.FaultOperator, 200}, "T20": {jobs.FaultAdmin, 200},
	"T21": {jobs.FaultOperator, 200}, "T22": {jobs.FaultOperator, 200}, "T23": {jobs.FaultOperator, 200}, "T24": {jobs.FaultOperator, 200},
	"T25": {jobs.FaultGoogle, 503}, "T26": {jobs.FaultOperator, 200}, "T27": {jobs.FaultUser, 200},
	"S1": {jobs.FaultOperator, 200}, "S2": {jobs.FaultOperator, 200}, "S3": {jobs.FaultOperator, 200}, "S4": {jobs.FaultOperator, 200},
	"S5": {jobs.FaultOperator, 200}, "S6": {jobs.FaultOperator, 200}, "S7": {jobs.FaultQuota, 429}, "S7b": {jobs.FaultGoogle, 503},
	"S7c": {jobs.FaultGoogle, 503}, "S8": {jobs.FaultOperator, 200},
	"A1": {jobs.FaultUser, 200}, "A2": {jobs.FaultUser, 200}, "A3": {jobs.FaultJob, 200}, "A4": {jobs.FaultJob, 200},
	"A5": {jobs.FaultGoogle, 503}, "A6": {jobs.FaultUser, 200}, "A7": {jobs.FaultJob, 200}, "A8": {jobs.FaultOperator, 200},
	"A9": {jobs.FaultAdmin, 200}, "A10": {jobs.FaultOperator, 200}, "A11": {jobs.FaultQuota, 429}, "A12": {jobs.FaultQuota, 429},
	"A13": {jobs.FaultQuota, 429}, "A14": {jobs.FaultJob, 200}, "A15": {jobs.FaultUser, 200}, "A16": {jobs.FaultJob, 200},
	// A 5xx of an insert leaves it open what has happened: uncertain, not again.
	"A17": {jobs.FaultGoogle, 200}, "A18": {jobs.FaultUser, 200}, "A19": {jobs.FaultOperator, 200},
}

// Every answer that Google is known to give comes to the right people.
func TestEveryKnownAnswer(t *testing.T) {
	server, err := sandbox.New(sandbox.DefaultWorld(), sandbox.Options{KeyBits: 1024})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, row := range server.Rows() {
		want, known := faults[row.ID]
		if !known {
			want, known = faults[strings.TrimRight(row.ID, "bcdefgh")]
		}
		if !known {
			t.Errorf("nobody has said what %s means", row.ID)
			continue
		}
		seen[strings.TrimRight(row.ID, "bcdefgh")] = true
		t.Run(row.ID, func(t *testing.T) {
			t.Parallel()
			r := setup(t)
			r.patience = 4 * time.Second
			if err := r.google.Order(sandbox.Fault{Row: row.ID}); err != nil { // until the end
				t.Fatal(err)
			}
			status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter))
			line := r.logs.attempts(t)[0]
			if status != want.answer || line["fault"] != string(want.fault) {
				t.Errorf("HTTP %d, fault %v; want %d, %s\n%v", status, line["fault"], want.answer, want.fault, line)
			}
			if line["stage"] != row.Stage || line["code"] != float64(row.Status) {
				t.Errorf("stage %v, code %v; want %s, %d", line["stage"], line["code"], row.Stage, row.Status)
			}
			results := r.results.all()
			if want.answer == http.StatusOK {
				checkFailure(t, results)
			} else if len(results) != 0 {
				t.Errorf("a result before its time: %+v", results)
			}
		})
	}
	for id := range faults {
		if !seen[strings.TrimRight(id, "bcdefgh")] {
			t.Errorf("the sandbox cannot produce %s", id)
		}
	}
}

// checkFailure wants one failed result that tells a person what to do, with
// every name filled in.
func checkFailure(t *testing.T, results []jobs.Result) {
	t.Helper()
	if len(results) != 1 {
		t.Fatalf("%d results", len(results))
	}
	e := results[0].Error
	if e == nil || e.Message == "" || strings.Contains(e.Message, "not known here") || strings.ContainsAny(e.Message+e.Fix, "{}") || e.Reason == "" {
		t.Errorf("%+v", e)
	}
	if results[0].Status == jobs.Failed && e.Fix == "" {
		t.Errorf("no fix: %+v", e)
	}
}

// What passes soon is not even seen in the result: another try is made at once.
func TestPassingFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault                  sandbox.Fault
		signs, tokens, inserts int
	}{
		"signature 503":   {sandbox.Fault{Kind: "5xx", Call: "signJwt"}, 2, 1, 1},
		"signature 429":   {sandbox.Fault{Kind: "429", Call: "signJwt"}, 2, 1, 1},
		"signature cut":   {sandbox.Fault{Kind: "cut", Call: "signJwt"}, 2, 1, 1},
		"grant to come":   {sandbox.Fault{Row: "S1"}, 2, 1, 1},
		"exchange 503":    {sandbox.Fault{Kind: "5xx", Call: "token"}, 1, 2, 1},
		"exchange lost":   {sandbox.Fault{Kind: "lost", Call: "token"}, 1, 2, 1},
		"token not valid": {sandbox.Fault{Kind: "expireTokens", Call: "gmail.*"}, 2, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t)
			c.fault.Times = 1
			if err := r.google.Order(c.fault); err != nil {
				t.Fatal(err)
			}
			if status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != http.StatusOK {
				t.Fatalf("HTTP %d\n%s", status, r.logs)
			}
			got := r.last(t)
			if got.Status != jobs.Succeeded || got.Attempts != 1 || len(r.google.Letters("ada@example.com")) != 1 {
				t.Errorf("%+v", got)
			}
			r.wantCalls(t, c.signs, c.tokens, c.inserts)
		})
	}
}

// What passes later is over at the next delivery, and the job is done once.
func TestLongerFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault   sandbox.Fault
		answer  int
		inserts int
	}{
		"signature 503":    {sandbox.Fault{Kind: "5xx", Call: "signJwt"}, 503, 1},
		"signature 429":    {sandbox.Fault{Kind: "429", Call: "signJwt"}, 429, 1},
		"exchange 503":     {sandbox.Fault{Kind: "5xx", Call: "token"}, 503, 1},
		"call 429":         {sandbox.Fault{Kind: "429", Call: "gmail.*"}, 429, 2},
		"no token is good": {sandbox.Fault{Kind: "expireTokens", Call: "gmail.*"}, 503, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t)
			r.patience = 4 * time.Second
			if err := r.google.Order(c.fault); err != nil {
				t.Fatal(err)
			}
			job := insert("j", "ada@example.com", plainLetter)
			if status := r.deliver(t, "1", job); status != c.answer {
				t.Fatalf("HTTP %d, want %d\n%s", status, c.answer, r.logs)
			}
			r.google.ClearFaults()
			if status := r.deliver(t, "1", job); status != http.StatusOK {
				t.Fatalf("then HTTP %d\n%s", status, r.logs)
			}
			got := r.last(t)
			if got.Status != jobs.Succeeded || got.Attempts != 2 || len(r.google.Letters("ada@example.com")) != 1 {
				t.Errorf("%+v", got)
			}
			if _, _, inserts := r.calls(); inserts != c.inserts {
				t.Errorf("%d inserts", inserts)
			}
		})
	}
}

// A call whose answer is lost may have taken effect: it is not made again.
func TestDoubtfulCallIsNotRepeated(t *testing.T) {
	for kind, stored := range map[string]int{"lost": 1, "cut": 0, "5xx": 0} {
		t.Run(kind, func(t *testing.T) {
			r := setup(t)
			if err := r.google.Order(sandbox.Fault{Kind: kind, Call: "gmail.*", Times: 1}); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != http.StatusOK {
					t.Fatalf("HTTP %d", status)
				}
			}
			for _, got := range r.results.all() {
				if got.Status != jobs.Uncertain || got.Error.Stage != jobs.StageCall || got.Error.Fix == "" {
					t.Errorf("%+v %+v", got, got.Error)
				}
			}
			if n := len(r.google.Letters("ada@example.com")); n != stored {
				t.Errorf("%d letters, want %d", n, stored)
			}
			r.wantCalls(t, 1, 1, 1)
		})
	}
}

// A dead user is asked about once, however many jobs come for them.
func TestRefusalsAreRemembered(t *testing.T) {
	r := setup(t)
	for _, id := range []string{"a", "b", "c", "d"} {
		r.deliver(t, id, insert(id, "sam.suspended@example.com", plainLetter))
	}
	statuses := make([]jobs.Status, 0, 4)
	for _, result := range r.results.all() {
		statuses = append(statuses, result.Status)
	}
	if len(slices.Compact(statuses)) != 1 || statuses[0] != jobs.Failed {
		t.Errorf("%v", statuses)
	}
	r.wantCalls(t, 1, 1, 0)
}

// A token of the runtime's own that Google does not accept any more is no
// job's fault: the job comes again, and a new token is shown.
func TestTheRuntimesOwnTokenHasEnded(t *testing.T) {
	for call, fields := range map[string][]any{
		"storage.objects.get": {"message", map[string]any{"uri": "gs://letters/welcome.eml"}},
	} {
		t.Run(call, func(t *testing.T) {
			r := setup(t)
			if err := r.google.Order(sandbox.Fault{Kind: "expireTokens", Call: call, Times: 1}); err != nil {
				t.Fatal(err)
			}
			job := insert("j", "ada@example.com", plainLetter, fields...)
			if status := r.deliver(t, "1", job); status != http.StatusServiceUnavailable {
				t.Errorf("HTTP %d\n%s", status, r.logs)
			}
			if status := r.deliver(t, "1", job); status != http.StatusOK || r.last(t).Status != jobs.Succeeded {
				t.Errorf("then HTTP %d\n%s", status, r.logs)
			}
		})
	}
}

// Of a value that Google refuses only Google says which it is.
func TestGooglesWordsForTheAuthor(t *testing.T) {
	r := setup(t)
	r.deliver(t, "1", insert("j", "ada@example.com", plainLetter, "body", map[string]any{"labelIds": []string{"NOPE"}}))
	if e := r.last(t).Error; e == nil || e.Fault != jobs.FaultJob || !strings.Contains(e.Message, `Google says: "Invalid label: NOPE"`) {
		t.Errorf("%+v", e)
	}
	if strings.Contains(r.last(t).Error.Message, "not known here") {
		t.Errorf("%+v", r.last(t).Error)
	}
}

// noTopic is a topic that is not there.
type noTopic struct {
	published
	there bool
}

func (n *noTopic) Publish(ctx context.Context, r jobs.Result) error {
	if !n.there {
		return status.Error(codes.NotFound, "Resource not found (resource=onbehalf-results).")
	}
	return n.published.Publish(ctx, r)
}

// While no result can be published no further call is begun: its event would
// come again, perhaps to an instance that does not know of it.
func TestNoCallWithoutATopic(t *testing.T) {
	topic := &noTopic{}
	r := setup(t, func(_ *config.Config, o *functions.Options) { o.Results = topic })
	for i, id := range []string{"a", "b", "c"} {
		if status := r.deliver(t, id, insert(id, "ada@example.com", plainLetter)); status != http.StatusServiceUnavailable {
			t.Errorf("HTTP %d", status)
		}
		line := r.logs.attempts(t)[i]
		if id != "a" && (line["fault"] != "operator" || line["called"] != false) {
			t.Errorf("%v", line)
		}
		if id == "a" && (line["severity"] != "ERROR" || line["fault"] != "operator" || line["status"] != "succeeded" || !strings.Contains(fmt.Sprint(line["fix"]), "Create the topic")) {
			t.Errorf("%v", line)
		}
	}
	r.wantCalls(t, 1, 1, 1)
	topic.there = true
	for _, id := range []string{"a", "b", "c"} { // the first one's result shows that it works again
		if status := r.deliver(t, id, insert(id, "ada@example.com", plainLetter)); status != http.StatusOK {
			t.Errorf("then HTTP %d", status)
		}
	}
	if n := len(r.google.Letters("ada@example.com")); n != 3 || len(topic.all()) != 3 {
		t.Errorf("%d letters, %d results", n, len(topic.all()))
	}
}
