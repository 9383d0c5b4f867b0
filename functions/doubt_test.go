package functions_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// searchLag is how long Gmail's search may lag behind.
const searchLag = time.Minute

// nobodySees makes a calendar: twice makes two, and they have no name of ours.
const nobodySees = `{"id":"j","user":"ada@example.com","action":"calendar.calendars.insert","body":{"summary":"Mine"}}`

// died leaves the job as an attempt does that has begun its call and gone without a
// word; its time was up at until.
func (b *book) died(t *testing.T, id string, until time.Time) {
	t.Helper()
	if _, err := b.Ledger.Note(t.Context(), b.diedSooner(t, id, until), "begun"); err != nil {
		t.Fatal(err)
	}
}

// diedSooner leaves it as one does that has not come as far as the call.
func (b *book) diedSooner(t *testing.T, id string, until time.Time) ledger.Claim {
	t.Helper()
	claim, err := b.Ledger.Claim(t.Context(), id, ledger.Terms{Until: until, Early: true})
	if err != nil {
		t.Fatal(err)
	}
	return claim
}

// age makes what is known of the call of job j an hour older, so that its time has come.
func (b *book) age(t *testing.T) {
	t.Helper()
	claim, err := b.Ledger.Claim(t.Context(), "j", ledger.Terms{Until: time.Now().Add(time.Minute), Early: true})
	if err != nil {
		t.Fatal(err)
	}
	p := ledger.PutOff{Why: claim.Why}
	if !claim.Doubt.IsZero() {
		p.Doubt = claim.Doubt.Add(-time.Hour)
	}
	if err := b.Ledger.Release(t.Context(), claim, p); err != nil {
		t.Fatal(err)
	}
}

// sameJSON compares two answers, however they are written.
func sameJSON(t *testing.T, want, got []byte) {
	t.Helper()
	var values [2]any
	for i, text := range [][]byte{want, got} {
		if err := json.Unmarshal(text, &values[i]); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	if diff := cmp.Diff(values[0], values[1]); diff != "" {
		t.Error(diff)
	}
}

// onlyCalls fails the test where Google was asked for anything else than this since
// the last time.
func (r *rig) onlyCalls(t *testing.T, want map[string]int) {
	t.Helper()
	got := r.google.Calls()
	for name := range got {
		if !strings.Contains(name, ".users.") && !strings.HasPrefix(name, "calendar.") || strings.HasSuffix(name, ".chunk") {
			delete(got, name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("calls: " + diff)
	}
	r.google.ResetCalls()
}

// Who claimed a job and has gone without a word may have made the call: the mailbox
// tells, and the letter is there once.
func TestAJobThatSomebodyDiedOver(t *testing.T) {
	t.Run("with the letter there", func(t *testing.T) {
		b := newBook()
		r := setup(t, keeping(b))
		job := insert("j", "ada@example.com", plainLetter, "body", map[string]any{"labelIds": []string{"INBOX"}})
		r.deliver(t, "1", job)
		first := r.last(t)
		b.Ledger = ledger.NewMemory(0) // who died has settled nothing
		b.died(t, "j", time.Now().Add(-time.Hour))
		r.google.ResetCalls()
		if status := r.deliver(t, "1", job); status != http.StatusOK {
			t.Fatalf("HTTP %d\n%s", status, r.logs)
		}
		got := r.last(t)
		if got.Status != jobs.Succeeded || got.Attempts != 2 || len(r.google.Letters("ada@example.com")) != 1 {
			t.Errorf("%+v %+v", got, got.Error)
		}
		sameJSON(t, first.Response, got.Response)
		r.onlyCalls(t, map[string]int{"gmail.users.messages.list": 1, "gmail.users.messages.get": 1})
		if line := r.logs.attempts(t)[1]; line["called"] != false || !strings.Contains(fmt.Sprint(line["scopes"]), "gmail.readonly") {
			t.Errorf("%v", line)
		}
	})
	t.Run("with no letter there", func(t *testing.T) {
		b := newBook()
		r := setup(t, keeping(b))
		b.died(t, "j", time.Now().Add(-time.Hour))
		for range 2 {
			if status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != http.StatusOK || r.last(t).Status != jobs.Succeeded {
				t.Fatalf("HTTP %d\n%s", status, r.logs)
			}
		}
		if n := len(r.google.Letters("ada@example.com")); n != 1 {
			t.Errorf("%d letters", n)
		}
		r.onlyCalls(t, map[string]int{"gmail.users.messages.list": 1, "gmail.users.messages.insert": 1})
	})
	t.Run("too short a time ago", func(t *testing.T) {
		b := newBook()
		r := setup(t, keeping(b))
		until := time.Now().Add(-searchLag / 2)
		b.died(t, "j", until)
		for i := range 3 {
			if status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != http.StatusTooManyRequests {
				t.Errorf("HTTP %d", status)
			}
			line := r.logs.attempts(t)[i]
			at, err := time.Parse(time.RFC3339, fmt.Sprint(line["notBefore"]))
			if err != nil || at.Sub(until.Add(searchLag)).Abs() > time.Second || line["reason"] != "inDoubt" {
				t.Errorf("%v %v", line, err)
			}
		}
		r.wantCalls(t, 0, 0, 0)
	})
	t.Run("that nobody can look up", func(t *testing.T) {
		b := newBook()
		r := setup(t, keeping(b))
		b.died(t, "j", time.Now().Add(-time.Hour))
		for range 2 {
			if status := r.deliver(t, "1", nobodySees); status != http.StatusOK {
				t.Fatalf("HTTP %d", status)
			}
		}
		if got := r.last(t); got.Status != jobs.Uncertain || got.Error.Reason != "inDoubt" || got.Error.Fix == "" || len(r.results.all()) != 2 {
			t.Errorf("%+v %+v", got, got.Error)
		}
		r.onlyCalls(t, map[string]int{})
	})
	t.Run("that nobody can look up, and nobody has begun", func(t *testing.T) {
		b := newBook()
		r := setup(t, keeping(b))
		b.diedSooner(t, "j", time.Now().Add(-time.Hour))
		for range 2 {
			if status := r.deliver(t, "1", nobodySees); status != http.StatusOK || r.last(t).Status != jobs.Succeeded {
				t.Fatalf("HTTP %d %+v", status, r.last(t))
			}
		}
		r.onlyCalls(t, map[string]int{"calendar.calendars.insert": 1})
	})
	t.Run("that reads", func(t *testing.T) {
		b := newBook()
		r := setup(t, keeping(b))
		b.died(t, "b/ada@example.com", time.Now().Add(-time.Hour))
		r.deliver(t, "1", `{"id":"b/ada@example.com","user":"ada@example.com","action":"gmail.users.labels.list"}`)
		if got := r.last(t); got.Status != jobs.Succeeded {
			t.Errorf("%+v %+v", got, got.Error)
		}
	})
}

// failsAfter has the first insert take effect, and be answered with 500.
func failsAfter(t *testing.T) func(*config.Config, *functions.Options) {
	t.Helper()
	return func(cfg *config.Config, _ *functions.Options) {
		var inserts atomic.Int32
		between(t, cfg, func(http.ResponseWriter, *http.Request) bool { return false }, func(res *http.Response) error {
			if !strings.HasSuffix(res.Request.URL.Path, "/messages") || res.Request.Method != http.MethodPost || inserts.Add(1) > 1 {
				return nil
			}
			const body = `{"error": {"code": 500, "message": "Backend Error", "errors": [{"reason": "backendError"}]}}`
			res.StatusCode, res.ContentLength, res.Body = http.StatusInternalServerError, int64(len(body)), io.NopCloser(strings.NewReader(body))
			res.Header.Set("Content-Length", fmt.Sprint(len(body)))
			return nil
		})
	}
}

// A call whose answer is lost is not made again before it is known that it took no
// effect; until it can be known, who asks is told so at once.
func TestALostAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		fault sandbox.Fault
		calls map[string]int // after the doubt
	}{
		"cut off after the effect":  {sandbox.Fault{Kind: "lost"}, map[string]int{"gmail.users.messages.list": 1, "gmail.users.messages.get": 1}},
		"too late":                  {sandbox.Fault{Kind: "late", Delay: time.Hour}, map[string]int{"gmail.users.messages.list": 1, "gmail.users.messages.get": 1}},
		"cut off before the effect": {sandbox.Fault{Kind: "cut"}, map[string]int{"gmail.users.messages.list": 1, "gmail.users.messages.insert": 1}},
		"503 before the effect":     {sandbox.Fault{Kind: "5xx"}, map[string]int{"gmail.users.messages.list": 1, "gmail.users.messages.insert": 1}},
		"500 after the effect":      {sandbox.Fault{}, map[string]int{"gmail.users.messages.list": 1, "gmail.users.messages.get": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBook()
			change := []func(*config.Config, *functions.Options){keeping(b)}
			if c.fault.Kind == "" {
				change = append(change, failsAfter(t))
			}
			r := setup(t, change...)
			if c.fault.Kind != "" {
				c.fault.Call, c.fault.Times = "gmail.users.messages.insert", 1
				if err := r.google.Order(c.fault); err != nil {
					t.Fatal(err)
				}
			}
			if c.fault.Kind == "late" {
				r.patience = 2 * time.Second
			}
			job, begun := insert("j", "ada@example.com", plainLetter), time.Now()
			if status := r.deliver(t, "1", job); status != http.StatusServiceUnavailable || len(r.results.all()) != 0 {
				t.Fatalf("HTTP %d, %d results\n%s", status, len(r.results.all()), r.logs)
			}
			r.patience = 0
			state := b.state(t)
			if state.Doubt.Before(begun) || state.Doubt.After(time.Now()) || !state.NotBefore.Equal(state.Doubt.Add(searchLag)) || state.Held || state.Result != nil {
				t.Errorf("the ledger has %+v", state)
			}
			r.google.ResetCalls()
			for range 3 {
				if status := r.deliver(t, "1", job); status != http.StatusTooManyRequests {
					t.Errorf("meanwhile HTTP %d", status)
				}
			}
			if calls := r.google.Calls(); len(calls) != 0 {
				t.Errorf("meanwhile Google was called: %v", calls)
			}
			b.age(t)
			for range 2 {
				if status := r.deliver(t, "1", job); status != http.StatusOK || r.last(t).Status != jobs.Succeeded {
					t.Fatalf("then HTTP %d\n%s", status, r.logs)
				}
			}
			r.onlyCalls(t, c.calls)
			letters := r.google.Letters("ada@example.com")
			var response struct{ ID string }
			if err := json.Unmarshal(r.last(t).Response, &response); err != nil || len(letters) != 1 || response.ID != letters[0].ID {
				t.Errorf("%d letters, response %s", len(letters), r.last(t).Response)
			}
			if results := r.results.all(); !cmp.Equal(results[0], results[1]) {
				t.Errorf("two results: %+v", results)
			}
		})
	}
}

// Where nobody can look the call up, it ends at once, and is not made again.
func TestALostAnswerThatNobodyCanLookUp(t *testing.T) {
	r := setup(t, keeping(newBook()))
	if err := orderOnce(r, "lost", "calendar.calendars.insert"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if status := r.deliver(t, "1", nobodySees); status != http.StatusOK {
			t.Fatalf("HTTP %d\n%s", status, r.logs)
		}
	}
	got := r.last(t)
	if got.Status != jobs.Uncertain || got.Error.Stage != jobs.StageCall || !strings.Contains(got.Error.Fix, "new id") {
		t.Errorf("%+v %+v", got, got.Error)
	}
	r.onlyCalls(t, map[string]int{"calendar.calendars.insert": 1})
}

// A deletion is made again: that there is nothing left to delete then says that it was
// done. Otherwise it says that there was nothing.
func TestALostDeletion(t *testing.T) {
	b := newBook()
	r := setup(t, keeping(b))
	r.deliver(t, "1", `{"id":"make","user":"ada@example.com","action":"gmail.users.labels.create","body":{"name":"Bills"}}`)
	var label struct{ ID string }
	if err := json.Unmarshal(r.last(t).Response, &label); err != nil || label.ID == "" {
		t.Fatalf("%+v %v", r.last(t), err)
	}
	if err := orderOnce(r, "lost", "gmail.users.labels.delete"); err != nil {
		t.Fatal(err)
	}
	job := fmt.Sprintf(`"user":"ada@example.com","action":"gmail.users.labels.delete","params":{"id":%q}}`, label.ID)
	if status := r.deliver(t, "2", `{"id":"j",`+job); status != http.StatusServiceUnavailable || b.state(t).Doubt.IsZero() {
		t.Fatalf("HTTP %d, the ledger has %+v", status, b.state(t))
	}
	for range 2 {
		if status := r.deliver(t, "2", `{"id":"j",`+job); status != http.StatusOK || r.last(t).Status != jobs.Succeeded {
			t.Fatalf("HTTP %d %+v %+v", status, r.last(t), r.last(t).Error)
		}
	}
	if status := r.deliver(t, "3", `{"id":"k",`+job); status != http.StatusOK || r.last(t).Status != jobs.Failed || r.last(t).Error.Code != http.StatusNotFound {
		t.Errorf("another deletion: HTTP %d %+v", status, r.last(t))
	}
	r.onlyCalls(t, map[string]int{"gmail.users.labels.create": 1, "gmail.users.labels.delete": 3})
}

// What is the same twice is made again at once, whether it is kept or not.
func TestALostIdempotentCall(t *testing.T) {
	for _, id := range []string{"j", "b/ada@example.com"} {
		r := setup(t, keeping(newBook()))
		if err := orderOnce(r, "lost", "gmail.users.settings.updateVacation"); err != nil {
			t.Fatal(err)
		}
		job := fmt.Sprintf(`{"id":%q,"user":"ada@example.com","action":"gmail.users.settings.updateVacation","body":{"enableAutoReply":false}}`, id)
		for _, want := range []int{http.StatusServiceUnavailable, http.StatusOK} {
			if status := r.deliver(t, "1", job); status != want {
				t.Errorf("%s: HTTP %d, want %d\n%s", id, status, want, r.logs)
			}
		}
		if got := r.last(t); got.Status != jobs.Succeeded {
			t.Errorf("%s: %+v %+v", id, got, got.Error)
		}
		r.onlyCalls(t, map[string]int{"gmail.users.settings.updateVacation": 2})
	}
}

// What keeps a call from being looked up leaves it uncertain, and never failed,
// refused or expired; who can mend that for the jobs to come is told.
func TestWhatKeepsFromLookingUp(t *testing.T) {
	letter := insert("j", "ada@example.com", plainLetter)
	past := insert("j", "ada@example.com", plainLetter, "notAfter", time.Now().Add(-time.Minute).UTC().Format(time.RFC3339))
	const onlyInsert = "https://www.googleapis.com/auth/gmail.insert"
	nothing := func(_ *config.Config, o *functions.Options) { o.Policy = &policy.Policy{} }
	for name, c := range map[string]struct {
		scopes []string // in the entry of the delegation; nil is all
		change func(*config.Config, *functions.Options)
		job    string
		fault  jobs.Fault
		says   []string
	}{
		"no scope to search with": {[]string{onlyInsert}, nil, letter, jobs.FaultAdmin, []string{"Workspace administrator of example.com", "auth%2Fgmail.readonly"}},
		"another policy":          {nil, nothing, letter, jobs.FaultOperator, []string{"domains"}},
		"no policy":               {nil, func(_ *config.Config, o *functions.Options) { o.Policy = nil }, letter, jobs.FaultOperator, []string{"ONBEHALF_POLICY"}},
		"another user, suspended": {nil, nil, strings.Replace(letter, "ada@", "sam.suspended@", 1), jobs.FaultGoogle, nil},
		"another job, all wrong":  {nil, nil, strings.Replace(letter, "insert", "nsert", 1), jobs.FaultGoogle, nil},
		"past its time":           {nil, nil, strings.Replace(nobodySees, `"user"`, `"notAfter":"2020-01-01T00:00:00Z","user"`, 1), jobs.FaultGoogle, nil},
		"past its time, and none": {[]string{onlyInsert}, nil, past, jobs.FaultAdmin, []string{"gmail.readonly"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, world := newBook(), sandbox.DefaultWorld()
			if c.scopes != nil {
				world.ServiceAccounts[0].DelegatedScopes = c.scopes
			}
			change := []func(*config.Config, *functions.Options){keeping(b)}
			if c.change != nil {
				change = append(change, c.change)
			}
			r := setupIn(t, world, change...)
			b.died(t, "j", time.Now().Add(-time.Hour))
			for range 2 {
				if status := r.deliver(t, "1", c.job); status != http.StatusOK {
					t.Fatalf("HTTP %d\n%s", status, r.logs)
				}
			}
			got := r.last(t)
			if got.Status != jobs.Uncertain || got.Error.Fault != c.fault || !strings.Contains(got.Error.Fix, "Look whether the effect is there") || strings.Contains(got.Error.Fix, "Then publish") {
				t.Errorf("%+v %+v", got, got.Error)
			}
			for _, want := range c.says {
				if !strings.Contains(got.Error.Fix, want) {
					t.Errorf("the fix does not say %q: %s", want, got.Error.Fix)
				}
			}
			r.onlyCalls(t, map[string]int{})
		})
	}
}

// What passes while it is looked up is waited for: the doubt stays until it is known.
func TestLookingUpFailsForNow(t *testing.T) {
	for kind, want := range map[string]int{"5xx": 503, "429": 429, "cut": 503, "lost": 503} {
		t.Run(kind, func(t *testing.T) {
			b := newBook()
			r := setup(t, keeping(b))
			b.died(t, "j", time.Now().Add(-time.Hour))
			if err := r.google.Order(sandbox.Fault{Kind: kind, Call: "gmail.users.messages.list"}); err != nil {
				t.Fatal(err)
			}
			r.patience = 4 * time.Second
			job := insert("j", "ada@example.com", plainLetter)
			if status := r.deliver(t, "1", job); status != want || b.state(t).Doubt.IsZero() {
				t.Errorf("HTTP %d, the ledger has %+v", status, b.state(t))
			}
			r.google.ClearFaults()
			b.age(t)
			if status := r.deliver(t, "1", job); status != http.StatusOK || r.last(t).Status != jobs.Succeeded || len(r.google.Letters("ada@example.com")) != 1 {
				t.Errorf("then HTTP %d\n%s", status, r.logs)
			}
		})
	}
}

// A job that lost its point while its call was in doubt succeeded, where the letter is
// there, and has expired where it is not.
func TestAJobExpiresInDoubt(t *testing.T) {
	for _, want := range []jobs.Status{jobs.Succeeded, jobs.Expired} {
		b := newBook()
		r := setup(t, keeping(b))
		if want == jobs.Succeeded {
			r.deliver(t, "1", insert("j", "ada@example.com", plainLetter))
			b.Ledger = ledger.NewMemory(0)
		}
		b.died(t, "j", time.Now().Add(-time.Hour))
		r.google.ResetCalls()
		r.deliver(t, "1", insert("j", "ada@example.com", plainLetter, "notAfter", time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)))
		if got := r.last(t); got.Status != want {
			t.Errorf("%+v %+v, want %s", got, got.Error, want)
		}
		if _, _, inserts := r.calls(); inserts != 0 {
			t.Errorf("%d inserts", inserts)
		}
	}
}

// A result that the ledger did not take is not lost: the claim's time goes by, and the
// next attempt finds the letter.
func TestTheLedgerIsAwayAtTheSettling(t *testing.T) {
	b := newBook()
	b.lapse = true
	r := setup(t, keeping(b))
	b.fail("settle", io.ErrUnexpectedEOF)
	job := insert("j", "ada@example.com", plainLetter)
	if status := r.deliver(t, "1", job); status != http.StatusServiceUnavailable || len(r.results.all()) != 0 {
		t.Fatalf("HTTP %d, %d results", status, len(r.results.all()))
	}
	if line := r.logs.attempts(t)[0]; line["reason"] != "notKept" || line["status"] != "succeeded" {
		t.Errorf("%v", line)
	}
	if status := r.deliver(t, "1", job); status != http.StatusOK || r.last(t).Status != jobs.Succeeded || r.last(t).Attempts != 2 {
		t.Errorf("then HTTP %d %+v\n%s", status, r.last(t), r.logs)
	}
	r.onlyCalls(t, map[string]int{"gmail.users.messages.insert": 1, "gmail.users.messages.list": 1, "gmail.users.messages.get": 1})
}

// What Pub/Sub gave up in doubt is looked up as any other, and not done where it was
// not.
func TestAJobInDoubtIsGivenUp(t *testing.T) {
	letter := insert("j", "ada@example.com", plainLetter)
	for name, c := range map[string]struct {
		job    string
		stored bool
		status jobs.Status
		says   string
		calls  map[string]int
	}{
		"with the letter there":    {letter, true, jobs.Succeeded, "", map[string]int{"gmail.users.messages.list": 1, "gmail.users.messages.get": 1}},
		"with no letter there":     {letter, false, jobs.Failed, "given it up", map[string]int{"gmail.users.messages.list": 1}},
		"that nobody can look up":  {nobodySees, false, jobs.Uncertain, "may or may not", map[string]int{}},
		"that the policy denies":   {strings.Replace(letter, "example.com", "example.org", 1), false, jobs.Uncertain, "may or may not", map[string]int{}},
		"that is the same twice":   {`{"id":"j","user":"ada@example.com","action":"gmail.users.settings.updateVacation","body":{}}`, false, jobs.Uncertain, "is not known", map[string]int{}},
		"with a letter, and wrong": {strings.Replace(letter, "insert", "nsert", 1), true, jobs.Uncertain, "may or may not", map[string]int{}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook()
			r := setup(t, keeping(b))
			if c.stored {
				r.deliver(t, "1", letter)
				b.Ledger = ledger.NewMemory(0)
			}
			b.died(t, "j", time.Now().Add(-time.Hour))
			r.google.ResetCalls()
			for range 2 {
				if status := r.giveUp(t, c.job); status != http.StatusOK {
					t.Fatalf("HTTP %d\n%s", status, r.logs)
				}
			}
			got := r.last(t)
			if got.Status != c.status || c.says != "" && !strings.Contains(got.Error.Message, c.says) {
				t.Errorf("%+v %+v", got, got.Error)
			}
			r.onlyCalls(t, c.calls)
		})
	}
	t.Run("too short a time ago", func(t *testing.T) {
		b := newBook()
		r := setup(t, keeping(b))
		b.died(t, "j", time.Now())
		if status := r.giveUp(t, letter); status != http.StatusTooManyRequests || len(r.results.all()) != 0 {
			t.Errorf("HTTP %d, %d results", status, len(r.results.all()))
		}
		r.wantCalls(t, 0, 0, 0)
	})
}
