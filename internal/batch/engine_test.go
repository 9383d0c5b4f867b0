package batch_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// letter is a batch whose jobs write to everybody.
const letter = "name: letter\nid: letter\ntargets: {all: true}\njob: {action: gmail.users.messages.insert}\n"

// bench is a ledger, and what stands in for all that batches have to do with: in it
// Google is a table of how often each user was written to.
type bench struct {
	t      testing.TB
	ledger ledger.Ledger
	*batch.Batches
	file     string
	pageSize int
	users    []string
	random   *rand.Rand
	// most is how often a message is delivered at most.
	most int

	mu sync.Mutex
	// breaks, where set, is asked before anything leaves the engine and, as "done", when
	// it was done: an error is what the engine gets for it.
	breaks func(what string) error
	// meanwhile, where set, is called before that.
	meanwhile func(what string)
	fails     map[string]jobs.Status // by user
	queue     []batch.Message
	at        []time.Time // at which each message was published
	published map[string]int
	together  int // as many messages as were published at once at most
	continues int
	effects   map[string]int // by user
	summaries []jobs.Summary
}

// newBench is a bench with so many users.
func newBench(t testing.TB, users int, file string) *bench {
	t.Helper()
	b := &bench{
		t: t, ledger: ledger.NewMemory(0), file: file, pageSize: 2, random: rand.New(rand.NewPCG(1, 2)), //nolint:gosec // repeatable on purpose
		most: 1, fails: make(map[string]jobs.Status), published: make(map[string]int), effects: make(map[string]int),
	}
	for i := range users {
		b.users = append(b.users, fmt.Sprintf("u%d@example.com", i))
	}
	b.another()
	return b
}

// another has another instance go on.
func (b *bench) another() {
	b.t.Helper()
	b.Batches = b.instance(b.does)
}

// instance is one that does things so.
func (b *bench) instance(does func(what string, do func()) error) *batch.Batches {
	b.t.Helper()
	made, err := batch.New(batch.Config{
		Store: parts{b.ledger, does}, Directory: b,
		Check: func(context.Context, []byte) error { return nil }, AllowUser: func(string) error { return nil },
		Allow: func(batch.Target, []byte) (string, string) { return "", "" },
		Publish: func(_ context.Context, messages []batch.Message) func(context.Context) error {
			err := does("publish", func() { b.publish(messages) })
			return func(context.Context) error { return err }
		},
		Continue: func(context.Context, string) error {
			return does("continue", func() { b.continues++ })
		},
		Tell: func(_ context.Context, s jobs.Summary) error {
			return does("tell", func() { b.summaries = append(b.summaries, s) })
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return made
}

// Sweep is that of the instance that goes on.
func (b *bench) Sweep(ctx context.Context) error {
	_, err := b.Batches.Sweep(ctx)
	return err
}

// does has something done, unless it breaks before.
func (b *bench) does(what string, do func()) error {
	if b.meanwhile != nil {
		b.meanwhile(what)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.breaks == nil {
		do()
		return nil
	}
	if err := b.breaks(what); err != nil {
		return err
	}
	do()
	return b.breaks("done " + what)
}

func (b *bench) publish(messages []batch.Message) {
	b.together = max(b.together, len(messages))
	for _, m := range messages {
		b.queue, b.at = append(b.queue, m), append(b.at, time.Now())
		b.published[userOf(b.t, m)]++
	}
}

func userOf(t testing.TB, m batch.Message) string {
	t.Helper()
	job, err := jobs.Decode(m.Data, "")
	if err != nil {
		t.Fatalf("%s: %v", m.Data, err)
	}
	return job.User
}

// Users implements batch.Directory.
func (b *bench) Users(_ context.Context, _ map[string]string, _, token string) (users []jsontext.Value, next string, err error) {
	err = b.does("list", func() {
		n := 0
		if token != "" {
			_, err = fmt.Sscan(token, &n)
		}
		for _, user := range b.users[n:min(n+b.pageSize, len(b.users))] {
			users = append(users, jsontext.Value(fmt.Sprintf(`{"primaryEmail": %q, "suspended": %t}`, user, strings.HasPrefix(user, "suspended"))))
		}
		if n+b.pageSize < len(b.users) {
			next = fmt.Sprint(n + b.pageSize)
		}
	})
	return users, next, err
}

// Find implements batch.Directory.
func (*bench) Find(context.Context, string, string) (jsontext.Value, error) {
	return nil, errors.New("nobody is looked up here")
}

// Members implements batch.Directory.
func (*bench) Members(context.Context, string, string) ([]batch.Member, string, error) {
	return nil, "", errors.New("there are no groups here")
}

// parts is a ledger as batches see it.
type parts struct {
	ledger.Ledger
	does func(what string, do func()) error
}

func (p parts) Load(ctx context.Context, id, name string) (found batch.Part, err error) {
	broken := p.does("load", func() {
		var kept ledger.Part
		kept, err = p.Ledger.Load(ctx, id, name)
		found = batch.Part(kept)
	})
	return found, errors.Join(err, broken)
}

func (p parts) Save(ctx context.Context, part batch.Part) (version string, changed bool, err error) {
	broken := p.does("save", func() { version, err = p.Ledger.Save(ctx, ledger.Part(part)) })
	if errors.Is(err, ledger.ErrChanged) {
		return "", true, broken
	}
	return version, false, errors.Join(err, broken)
}

func (p parts) List(ctx context.Context, prefix string, limit int) (found []batch.Part, err error) {
	broken := p.does("find", func() {
		var kept []ledger.Part
		kept, err = p.Ledger.List(ctx, prefix, limit)
		for _, part := range kept {
			found = append(found, batch.Part(part))
		}
	})
	return found, errors.Join(err, broken)
}

func (p parts) States(ctx context.Context, ids []string) (states []batch.JobState, err error) {
	broken := p.does("states", func() {
		var known []ledger.State
		known, err = p.Ledger.States(ctx, ids)
		for _, s := range known {
			state := batch.JobState{By: s.By, NotBefore: s.NotBefore}
			if s.Result != nil {
				state.Status = s.Result.Status
			}
			states = append(states, state)
		}
	})
	return states, errors.Join(err, broken)
}

func (p parts) Supersede(ctx context.Context, id, by string) (err error) {
	broken := p.does("supersede", func() { err = p.Ledger.Supersede(ctx, id, by) })
	return errors.Join(err, broken)
}

func (p parts) Tally(ctx context.Context, id string) (tally batch.Tally, err error) {
	broken := p.does("tally", func() {
		var counts map[string]int
		counts, err = p.Ledger.Tally(ctx, id)
		tally = counts
	})
	return tally, errors.Join(err, broken)
}

func (p parts) Failures(ctx context.Context, id, after string, limit int) ([]jobs.Result, string, error) {
	return p.Ledger.Failures(ctx, id, after, limit)
}

// deliver delivers so many of the messages, in any order and as often as most says, as
// a function that does jobs takes them; negative: all that there are.
func (b *bench) deliver(n int) {
	for ; n != 0; n-- {
		m, ok := b.next()
		if !ok {
			return
		}
		for range 1 + b.random.IntN(b.most) {
			b.execute(m)
		}
	}
}

func (b *bench) next() (batch.Message, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		return batch.Message{}, false
	}
	i := b.random.IntN(len(b.queue))
	m := b.queue[i]
	b.queue = slices.Delete(b.queue, i, i+1)
	return m, true
}

// execute does a job, or keeps its message for later.
func (b *bench) execute(m batch.Message) {
	b.t.Helper()
	ctx := b.t.Context()
	place, ok := batch.PlaceOf(m.Attributes())
	if !ok {
		b.t.Fatalf("%v is no place", m.Attributes())
	}
	verdict, err := b.Gate(ctx, place.Batch, place.Round)
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.queue = append(b.queue, m)
		return
	}
	if verdict == batch.Park {
		return
	}
	b.do(ctx, m, place, verdict)
}

func (b *bench) do(ctx context.Context, m batch.Message, place batch.Place, verdict batch.Verdict) {
	b.t.Helper()
	job, err := jobs.Decode(m.Data, "")
	if err != nil {
		b.t.Fatalf("%s: %v", m.Data, err)
	}
	claim, err := b.ledger.Claim(ctx, job.ID, ledger.Terms{Until: time.Now().Add(time.Minute), Batch: place.Batch})
	if err != nil {
		b.t.Fatal(err) // nobody else has it
	}
	if claim.Result != nil {
		return
	}
	r := jobs.NewResult(job)
	r.Status, r.Error = b.effect(job, verdict), &jobs.Error{Fault: jobs.FaultUser}
	if err := b.ledger.Settle(ctx, claim, r); err != nil {
		b.t.Fatal(err)
	}
	if !r.Status.Good() {
		_ = b.Failed(ctx, place.Batch) // as it is where the ledger is away: then Sweep does it
	}
}

// effect is what the call comes to.
func (b *bench) effect(job jobs.Job, verdict batch.Verdict) jobs.Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case verdict == batch.Cancel:
		return jobs.Cancelled
	case job.Expired(time.Now()):
		return jobs.Expired
	case b.fails[job.User] != "":
		return b.fails[job.User]
	}
	b.effects[job.User]++
	return jobs.Succeeded
}

// published is when the batch was.
func published() time.Time { return time.Date(2026, 11, 22, 7, 20, 49, 0, time.UTC) }

// fanOut is one delivery of the batch's message, or one that has it gone on with.
func (b *bench) fanOut(ctx context.Context) error { return b.fanOutBy(ctx, b.Batches) }

func (b *bench) fanOutBy(ctx context.Context, by *batch.Batches) error {
	id, err := by.Start(ctx, []byte(b.file), published())
	if err != nil {
		return err
	}
	more, err := by.Work(ctx, id)
	if err == nil && more {
		err = by.Continue(ctx, id)
	}
	return err
}

// toTheEnd has everything done until the batch has ended and that is told: what breaks is
// done again, and nobody is missed who has died.
func (b *bench) toTheEnd() batch.Status {
	b.t.Helper()
	ctx := b.t.Context()
	for range 100 {
		_ = b.fanOut(ctx)
		b.deliver(-1)
		_ = b.Sweep(ctx)
		if s, err := b.Status(ctx, "letter"); err == nil && s.Ended() {
			return s
		}
		pass(time.Minute) // in a bubble: the scheduler comes each minute
	}
	s, err := b.Status(ctx, "letter")
	b.t.Fatalf("it does not end: %+v %v", s, err)
	return s
}

// wantOnce wants that each user was written to once, but for these, who never were.
func (b *bench) wantOnce(never ...string) {
	b.t.Helper()
	want := make(map[string]int)
	for _, user := range b.users {
		if !slices.Contains(never, user) && !strings.HasPrefix(user, "suspended") {
			want[user] = 1
		}
	}
	if diff := cmp.Diff(want, b.effects); diff != "" {
		b.t.Error(diff)
	}
}

// wantCounts wants that the counts of the batch fit each other and what was done.
func (b *bench) wantCounts(s batch.Status) {
	b.t.Helper()
	passed := 0
	for n := range maps.Values(s.PassedOver) {
		passed += n
	}
	if c := s.Counts; c.Succeeded != len(b.effects) || c.Done() != s.Published || s.Remaining != 0 || c.PutOff != 0 || s.Enumerated != s.Published+passed {
		b.t.Errorf("%d were written to; %+v", len(b.effects), s.Summary)
	}
}

func TestABatchIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 7, letter)
		b.users = append(b.users, "suspended@example.com")
		s := b.toTheEnd()
		b.wantOnce()
		b.wantCounts(s)
		if len(b.summaries) != 1 || s.State != string(batch.Completed) || s.PassedOver["suspended"] != 1 || s.Published != 7 {
			t.Errorf("%+v", b.summaries)
		}
	})
}

// pass lets time pass, in the bubble of the test that asks for it.
func pass(d time.Duration) { <-time.After(d) }
