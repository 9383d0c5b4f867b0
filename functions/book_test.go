package functions_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
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

// book is a ledger in memory that counts what is asked of it, fails when it is told
// to, and in which time is data: nobody waits for it.
type book struct {
	ledger.Ledger
	mu    sync.Mutex
	asked map[string]int
	fails map[string]error // what is asked, once
	// lapse has each claim's time be up at once, and long ago.
	lapse bool
}

func newBook() *book {
	return &book{Ledger: ledger.NewMemory(0), asked: map[string]int{}, fails: map[string]error{}}
}

// keeping gives the rig's function this ledger, and lets it do anything in example.com.
func keeping(b *book) func(*config.Config, *functions.Options) {
	return func(_ *config.Config, o *functions.Options) {
		o.Ledger = b
		o.Policy = &policy.Policy{Domains: []string{"example.com"}, Actions: []string{"*"}}
	}
}

// note counts one question, and tells how it fails.
func (b *book) note(what string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked[what]++
	err := b.fails[what]
	delete(b.fails, what)
	return err
}

// fail has what is asked next fail so.
func (b *book) fail(what string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fails[what] = err
}

// take is what was asked since it was last taken.
func (b *book) take() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	asked := maps.Clone(b.asked)
	clear(b.asked)
	return asked
}

func (b *book) Claim(ctx context.Context, id string, t ledger.Terms) (ledger.Claim, error) {
	if err := b.note("claim"); err != nil {
		return ledger.Claim{}, err
	}
	if b.lapse {
		t.Until = time.Now().Add(-time.Hour)
	}
	return b.Ledger.Claim(ctx, id, t)
}

func (b *book) Note(ctx context.Context, c ledger.Claim, note string) (ledger.Claim, error) {
	if err := b.note("note"); err != nil {
		return c, err
	}
	return b.Ledger.Note(ctx, c, note)
}

func (b *book) Settle(ctx context.Context, c ledger.Claim, r jobs.Result) error {
	if err := b.note("settle"); err != nil {
		return err
	}
	return b.Ledger.Settle(ctx, c, r)
}

func (b *book) Release(ctx context.Context, c ledger.Claim, p ledger.PutOff) error {
	if err := b.note("release"); err != nil {
		return err
	}
	return b.Ledger.Release(ctx, c, p)
}

// state is what the ledger knows of the job j.
func (b *book) state(t *testing.T) ledger.State {
	t.Helper()
	state, err := b.Find(t.Context(), "j")
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// What may as well be done again is not kept, which saves what keeping costs; but a
// batch counts on it.
func TestWhatIsKept(t *testing.T) {
	none, kept := map[string]int{}, map[string]int{"claim": 1, "settle": 1}
	for name, c := range map[string]struct {
		job  string
		want map[string]int
	}{
		"once":                   {insert("j", "ada@example.com", plainLetter), kept},
		"once, without an id":    {insert("", "ada@example.com", plainLetter, "id", nil), kept},
		"dry run":                {insert("j", "ada@example.com", plainLetter, "dryRun", true), none},
		"read":                   {`{"id":"j","user":"ada@example.com","action":"gmail.users.labels.list"}`, none},
		"read in a batch":        {`{"id":"b/ada@example.com","user":"ada@example.com","action":"gmail.users.labels.list"}`, kept},
		"idempotent":             {`{"id":"j","user":"ada@example.com","action":"gmail.users.settings.updateVacation","body":{"enableAutoReply":false}}`, none},
		"idempotent in a batch":  {`{"id":"b/ada@example.com","user":"ada@example.com","action":"gmail.users.settings.updateVacation","body":{"enableAutoReply":false}}`, kept},
		"deletion":               {`{"id":"j","user":"ada@example.com","action":"gmail.users.labels.delete","params":{"id":"Label_none"}}`, kept},
		"what cannot be right":   {`{"id":"j","user":"ada@example.com","action":"gmail.users.labels.lst"}`, kept},
		"what the policy denies": {insert("j", "ada@example.org", plainLetter), kept},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook()
			r := setup(t, keeping(b))
			if status := r.deliver(t, "1", c.job); status != http.StatusOK {
				t.Fatalf("HTTP %d\n%s", status, r.logs)
			}
			if diff := cmp.Diff(c.want, b.take()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Who runs jobs from a file has all of them kept.
func TestKeepAll(t *testing.T) {
	b := newBook()
	r := setup(t, keeping(b), func(_ *config.Config, o *functions.Options) { o.KeepAll = true })
	const read = `{"id":"j","user":"ada@example.com","action":"gmail.users.labels.list"}`
	for range 2 {
		r.deliver(t, "1", read)
	}
	if diff := cmp.Diff(map[string]int{"claim": 2, "settle": 1}, b.take()); diff != "" || r.google.Calls()["gmail.users.labels.list"] != 1 {
		t.Errorf("%s; calls %v", diff, r.google.Calls())
	}
}

// Without the ledger nobody knows whether the job was done: nothing is, and that is
// said.
func TestTheLedgerIsAwayAtTheClaim(t *testing.T) {
	b := newBook()
	r := setup(t, keeping(b))
	b.fail("claim", errors.New("the ledger is away"))
	job := insert("j", "ada@example.com", plainLetter)
	if status := r.deliver(t, "1", job); status != http.StatusServiceUnavailable {
		t.Errorf("HTTP %d", status)
	}
	if line := r.logs.attempts(t)[0]; line["reason"] != "notKept" || line["stage"] != "settle" || !strings.Contains(line["error"].(string), "the ledger is away") || line["called"] != false {
		t.Errorf("%v", line)
	}
	r.wantCalls(t, 0, 0, 0)
	if status := r.deliver(t, "1", job); status != http.StatusOK || r.last(t).Status != jobs.Succeeded || r.last(t).Attempts != 1 {
		t.Errorf("then HTTP %d %+v", status, r.last(t))
	}
}

// A release that fails loses nothing: the job is held until its time is up, and then
// taken over.
func TestTheLedgerIsAwayAtTheRelease(t *testing.T) {
	b := newBook()
	r := setup(t, keeping(b))
	if err := orderOnce(r, "429", "gmail.*"); err != nil {
		t.Fatal(err)
	}
	b.fail("release", errors.New("the ledger is away"))
	job := insert("j", "ada@example.com", plainLetter)
	if status := r.deliver(t, "1", job); status != http.StatusTooManyRequests || !strings.Contains(r.logs.String(), "cannot release the job") {
		t.Errorf("HTTP %d\n%s", status, r.logs)
	}
	if status := r.deliver(t, "1", job); status != http.StatusTooManyRequests || !b.state(t).Held {
		t.Errorf("then HTTP %d", status)
	}
	r.wantCalls(t, 1, 1, 1)
}

// A claim whose time was up before the attempt ended settles nothing: what was done
// is found out by who has the job now, and there is one result.
func TestTheClaimIsLost(t *testing.T) {
	b := newBook()
	r := setup(t, keeping(b))
	b.fail("settle", ledger.ErrLost)
	if status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != http.StatusServiceUnavailable || len(r.results.all()) != 0 {
		t.Errorf("HTTP %d, %d results", status, len(r.results.all()))
	}
	if line := r.logs.attempts(t)[0]; line["reason"] != "notKept" || line["status"] != "succeeded" || line["called"] != true {
		t.Errorf("%v", line)
	}
}

// orderOnce has the next call that fits go wrong so.
func orderOnce(r *rig, kind, call string) error {
	return r.google.Order(sandbox.Fault{Kind: kind, Call: call, Times: 1})
}
