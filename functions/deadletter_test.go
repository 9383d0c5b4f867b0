package functions_test

import (
	"bytes"
	"encoding/json"
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
)

// giveUp posts a message as the dead-letter topic brings it, after seven deliveries, and
// gives the HTTP status.
func (r *rig) giveUp(t *testing.T, data string) int {
	t.Helper()
	body, err := json.Marshal(map[string]any{"message": map[string]any{
		"data": []byte(data), "messageId": "900", "publishTime": "2026-11-21T12:00:00Z",
		"attributes": map[string]string{
			"CloudPubSubDeadLetterSourceDeliveryCount": "7", "CloudPubSubDeadLetterSourceSubscription": "eventarc-jobs",
			"CloudPubSubDeadLetterSourceSubscriptionProject": "p", "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-11-21T11:00:00.000+00:00",
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r.ServeDeadLetter(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body)))
	return w.Code
}

// What Pub/Sub gave up ends: as failed where it surely was not done, as uncertain where
// nobody knows. No call is made, and the result is the job's for good.
func TestAJobThatWasGivenUp(t *testing.T) {
	const vacation = `"user":"ada@example.com","action":"gmail.users.settings.updateVacation","body":{"enableAutoReply":false}}`
	for name, c := range map[string]struct {
		job    string
		status jobs.Status
		says   string
		fix    string
	}{
		"that nobody has begun":     {insert("j", "ada@example.com", plainLetter), jobs.Failed, "7 times, and given it up. No attempt has said why", "Look into the function's log.\nThen publish it once more: onbehalf deadletter redrive"},
		"that cannot be right":      {`{"id":"j","user":"ada@example.com","action":"gmail.users.messages.nsert"}`, jobs.Failed, "no method that is known", "Correct the job"},
		"that is none":              {"hello", jobs.Failed, "not valid JSON", "Correct the job"},
		"without an id of its own":  {insert("", "ada@example.com", plainLetter, "id", nil), jobs.Uncertain, "Whether an attempt took effect is not known", "Look into the function's log.\nThen look whether the effect is there"},
		"that reads":                {`{"id":"j","user":"ada@example.com","action":"gmail.users.labels.list"}`, jobs.Failed, "given it up", "redrive"},
		"that reads, without an id": {`{"user":"ada@example.com","action":"gmail.users.labels.list"}`, jobs.Failed, "given it up", "redrive"},
		"that is not kept":          {`{"id":"j",` + vacation, jobs.Uncertain, "the ledger does not keep such a job", "Look into the function's log.\nThen look whether the effect is there"},
		"of a batch":                {`{"id":"b/ada@example.com",` + vacation, jobs.Failed, "given it up", "redrive"},
		"that is a dry run":         {insert("j", "ada@example.com", plainLetter, "dryRun", true), jobs.Failed, "given it up", "redrive"},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t, keeping(newBook()))
			for range 2 {
				if status := r.giveUp(t, c.job); status != http.StatusOK {
					t.Fatalf("HTTP %d\n%s", status, r.logs)
				}
			}
			got := r.last(t)
			if got.Status != c.status || got.Error == nil || !strings.Contains(got.Error.Message, c.says) || !strings.Contains(got.Error.Fix, c.fix) {
				t.Errorf("%+v %+v", got, got.Error)
			}
			if results := r.results.all(); len(results) != 2 || name != "that is a dry run" && !cmp.Equal(results[0], results[1]) {
				t.Errorf("two deliveries have the results %+v", results)
			}
			r.wantCalls(t, 0, 0, 0)
		})
	}
}

// A job that was given up is not done by a delivery that comes late.
func TestALateDeliveryOfAJobThatWasGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		with   func(*config.Config, *functions.Options)
		status jobs.Status
	}{
		"and all instances know": {keeping(newBook()), jobs.Failed},
		"and each knows its own": {func(*config.Config, *functions.Options) {}, jobs.Uncertain}, // another may have done it
	} {
		r := setup(t, c.with)
		job := insert("j", "ada@example.com", plainLetter)
		r.giveUp(t, job)
		if status := r.deliver(t, "1", job); status != http.StatusOK || r.last(t).Status != c.status {
			t.Errorf("%s: HTTP %d %+v", name, status, r.last(t))
		}
		r.wantCalls(t, 0, 0, 0)
	}
}

// The result that a job has goes out once more: it may be for want of a topic that
// its deliveries failed.
func TestAJobWithItsResultIsGivenUp(t *testing.T) {
	r := setup(t)
	r.results.fail = 1
	job := insert("j", "ada@example.com", plainLetter)
	if status := r.deliver(t, "1", job); status != http.StatusServiceUnavailable {
		t.Fatalf("HTTP %d", status)
	}
	r.results.fail = 1
	for _, want := range []int{http.StatusServiceUnavailable, http.StatusOK} { // until it is out
		if status := r.giveUp(t, job); status != want {
			t.Errorf("HTTP %d, want %d", status, want)
		}
	}
	if got := r.last(t); got.Status != jobs.Succeeded || len(r.results.all()) != 1 {
		t.Errorf("%+v %+v", got, got.Error)
	}
	r.wantCalls(t, 1, 1, 1)
}

// What an attempt is at now is not ended over its head.
func TestAHeldJobIsGivenUpLater(t *testing.T) {
	r, g := gated(t)
	job := insert("j", "ada@example.com", plainLetter)
	done := make(chan int)
	go func() { done <- r.deliver(t, "1", job) }()
	<-g.arrived
	if status := r.giveUp(t, job); status != http.StatusTooManyRequests || len(r.results.all()) != 0 {
		t.Errorf("meanwhile HTTP %d", status)
	}
	close(g.open)
	<-done
	if status := r.giveUp(t, job); status != http.StatusOK || r.last(t).Status != jobs.Succeeded {
		t.Errorf("then HTTP %d %+v", status, r.last(t))
	}
}

// What was put off to the last fails for the reason of its last attempt, before its
// time.
func TestAJobThatWasPutOffIsGivenUp(t *testing.T) {
	b := newBook()
	r := setup(t, keeping(b))
	why := jobs.Error{Stage: jobs.StageCall, Fault: jobs.FaultQuota, Code: 429, Reason: "rateLimitExceeded", Message: "Gmail sends no more for now.", Fix: "Wait."}
	claim, err := b.Ledger.Claim(t.Context(), "j", ledger.Terms{Until: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Ledger.Release(t.Context(), claim, ledger.PutOff{NotBefore: time.Now().Add(time.Hour), Why: &why}); err != nil {
		t.Fatal(err)
	}
	job := insert("j", "ada@example.com", plainLetter)
	if status := r.giveUp(t, job); status != http.StatusOK {
		t.Fatalf("HTTP %d\n%s", status, r.logs)
	}
	want := &jobs.Error{
		Stage: jobs.StageCall, Fault: jobs.FaultQuota, Code: 429, Reason: "givenUp",
		Message: "Pub/Sub has delivered the job 7 times, and given it up. The last time: Gmail sends no more for now.",
		Fix:     "Wait.\nThen publish it once more: onbehalf deadletter redrive",
	}
	got := r.last(t)
	if diff := cmp.Diff(want, got.Error); diff != "" || got.Status != jobs.Failed || got.Attempts != 2 {
		t.Errorf("%+v: %s", got, diff)
	}
	if state := b.state(t); state.Result == nil || state.Result.Status != jobs.Failed {
		t.Errorf("the ledger has %+v", state)
	}
	r.wantCalls(t, 0, 0, 0)
}

// Without the ledger nobody knows what became of the job: that is not guessed.
func TestTheLedgerIsAwayAtTheEnd(t *testing.T) {
	b := newBook()
	r := setup(t, keeping(b))
	for _, at := range []string{"claim", "settle"} {
		b.fail(at, ledger.ErrLost)
		if status := r.giveUp(t, insert(at, "ada@example.com", plainLetter)); status != http.StatusServiceUnavailable || len(r.results.all()) != 0 {
			t.Errorf("%s: HTTP %d, %d results", at, status, len(r.results.all()))
		}
	}
}

func TestADeadLetterThatIsNoMessage(t *testing.T) {
	r := setup(t)
	w := httptest.NewRecorder()
	r.ServeDeadLetter(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("hello")))
	if w.Code != http.StatusBadRequest || len(r.results.all()) != 0 {
		t.Errorf("HTTP %d", w.Code)
	}
}
