package batch_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// during is an instance in whose n-th step somebody else does something; reached tells
// whether it has come to that.
func (b *bench) during(n int, do func()) (by *batch.Batches, reached *string) {
	b.t.Helper()
	reached = new(string)
	return b.instance(func(what string, then func()) error {
		b.mu.Lock()
		n--
		now := n == 0
		b.mu.Unlock()
		if now {
			*reached = what
			do()
		}
		return b.does(what, then)
	}), reached
}

// Whatever is done while a worker is at any of its steps: everybody is served once, and
// what is counted is what was done.
func TestWhatIsDoneMeanwhile(t *testing.T) {
	const id = "letter"
	failing := func(b *bench) {
		b.fails["u1@example.com"], b.fails["u4@example.com"], b.fails["u5@example.com"] = jobs.Failed, jobs.Refused, jobs.Failed
	}
	for name, c := range map[string]struct {
		file   string
		before func(b *bench)
		do     func(b *bench) error
		then   func(b *bench) error // when the worker has ended
		state  batch.State
	}{
		"the jobs are done": {letter, nil, func(b *bench) error { b.deliver(-1); return nil }, nil, batch.Completed},
		"another works":     {letter, nil, func(b *bench) error { return b.fanOut(b.t.Context()) }, nil, batch.Completed},
		"another begins to, who is late": {letter, nil, func(b *bench) error {
			pass(2 * time.Minute) // for which nobody hears of the first
			return b.fanOut(b.t.Context())
		}, nil, batch.Completed},
		"Sweep comes": {letter, nil, func(b *bench) error { return b.Sweep(b.t.Context()) }, nil, batch.Completed},
		"it is paused": {letter, nil, func(b *bench) error { return b.Pause(b.t.Context(), id) }, func(b *bench) error {
			b.deliver(-1)
			return b.Resume(b.t.Context(), id)
		}, batch.Completed},
		"it is paused and resumed": {letter, nil, func(b *bench) error {
			if err := b.Pause(b.t.Context(), id); err != nil {
				return err
			}
			b.deliver(3)
			return b.Resume(b.t.Context(), id)
		}, nil, batch.Completed},
		"it is cancelled":                {letter, nil, func(b *bench) error { return b.Cancel(b.t.Context(), id) }, nil, batch.Cancelled},
		"it is cancelled, with a canary": {letter + "canary: 3\n", nil, func(b *bench) error { return b.Cancel(b.t.Context(), id) }, nil, batch.Cancelled},
		"it is retried": {letter, failing, func(b *bench) error {
			b.deliver(-1)
			clear(b.fails)
			return b.Retry(b.t.Context(), id, false)
		}, nil, batch.Completed},
		"it goes on to be retried, and the jobs are done": {letter, func(b *bench) {
			failing(b)
			b.toTheEnd()
			clear(b.fails)
			b.must(b.Retry(b.t.Context(), id, false))
		}, func(b *bench) error { b.deliver(-1); return nil }, nil, batch.Completed},
		"it goes on to be retried, and Sweep comes": {letter + "stopAfter: {failures: 1}\n", func(b *bench) {
			failing(b)
			b.must(b.fanOut(b.t.Context()))
			b.deliver(-1)
			clear(b.fails)
			b.must(b.Retry(b.t.Context(), id, false))
		}, func(b *bench) error { return b.Sweep(b.t.Context()) }, nil, batch.Completed},
		"it goes on, and is retried": {letter, func(b *bench) {
			failing(b)
			b.must(b.fanOut(b.t.Context()))
			b.deliver(4)
			b.must(b.Pause(b.t.Context(), id))
			b.deliver(-1)
			b.must(b.Resume(b.t.Context(), id))
			clear(b.fails)
		}, func(b *bench) error { return b.Retry(b.t.Context(), id, false) }, nil, batch.Completed},
	} {
		t.Run(name, func(t *testing.T) {
			for n, more := 1, true; more; n++ {
				synctest.Test(t, func(t *testing.T) {
					time.Sleep(time.Until(published()))
					b := newBench(t, 7, c.file)
					b.most = 2
					if c.before != nil {
						c.before(b)
					}
					done := false
					by, reached := b.during(n, func() {
						switch err := c.do(b); {
						case errors.Is(err, batch.ErrUnknown): // it has not come to that
						case err != nil:
							t.Error(err)
						default:
							done = true
						}
					})
					if err := b.fanOutBy(t.Context(), by); err != nil {
						t.Error(err)
					}
					if c.then != nil && done {
						b.must(c.then(b))
					}
					s := b.toTheEnd()
					if more = *reached != ""; done && s.State != string(c.state) {
						t.Errorf("it is %s", s.State)
					}
					b.clean(&s)
					b.wantCounts(s)
					b.wantOneSummary("")
					if t.Failed() {
						t.Fatalf("done at step %d, %s", n, *reached)
					}
				})
			}
		})
	}
}

// clean has what is left of failures mended, and wants that everybody was served once, but
// for those of a batch that was cancelled.
func (b *bench) clean(s *batch.Status) {
	b.t.Helper()
	if s.State == string(batch.Cancelled) {
		for user, n := range b.effects {
			if n != 1 {
				b.t.Errorf("%s was written to %d times", user, n)
			}
		}
		return
	}
	if s.Counts.Bad() > 0 {
		clear(b.fails)
		b.must(b.Retry(b.t.Context(), s.Batch, true))
		*s = b.toTheEnd()
	}
	b.wantOnce()
	if s.Counts.Bad() > 0 {
		b.t.Errorf("%+v", s.Counts)
	}
}

// Whatever is done while Sweep is at any of its steps: the batch ends when it has, and
// that is told once for each end.
func TestWhatIsDoneWhileSweepLooks(t *testing.T) {
	const id = "letter"
	for name, c := range map[string]struct {
		do    func(b *bench) error
		state batch.State
		ends  int
	}{
		"Sweep comes":               {func(b *bench) error { return b.Sweep(b.t.Context()) }, batch.Completed, 1},
		"the batch is gone on with": {func(b *bench) error { return b.fanOut(b.t.Context()) }, batch.Completed, 1},
		"it is cancelled": {func(b *bench) error {
			if b.state() != batch.Running {
				return nil
			}
			return b.Cancel(b.t.Context(), id)
		}, "", 1},
		"it is paused": {func(b *bench) error {
			if b.state() != batch.Running {
				return nil
			}
			return errors.Join(b.Pause(b.t.Context(), id), b.Resume(b.t.Context(), id))
		}, batch.Completed, 1},
		"it is retried": {func(b *bench) error {
			clear(b.fails)
			return b.Retry(b.t.Context(), id, false)
		}, batch.Completed, 2},
		"it is retried, and that is done": {func(b *bench) error {
			clear(b.fails)
			if err := b.Retry(b.t.Context(), id, false); err != nil {
				return err
			}
			return b.fanOut(b.t.Context())
		}, batch.Completed, 2},
	} {
		t.Run(name, func(t *testing.T) {
			for n, more := 1, true; more; n++ {
				synctest.Test(t, func(t *testing.T) {
					b := newBench(t, 7, letter)
					b.fails["u1@example.com"] = jobs.Failed
					b.must(b.fanOut(t.Context()))
					b.deliver(-1)
					by, reached := b.during(n, func() { b.must(c.do(b)) })
					_, err := by.Sweep(t.Context())
					b.must(err)
					s := b.toTheEnd()
					more = *reached != ""
					if c.state != "" && s.State != string(c.state) {
						t.Errorf("it is %s", s.State)
					}
					if more && c.ends == 2 && s.Counts.Succeeded != 7 {
						t.Errorf("%+v", s.Counts)
					}
					b.wantCounts(s)
					b.wantOneSummary("")
					if len(b.summaries) > c.ends {
						t.Errorf("%d summaries", len(b.summaries))
					}
					if t.Failed() {
						t.Fatalf("done at step %d, %s", n, *reached)
					}
				})
			}
		})
	}
}

// state is that of the batch.
func (b *bench) state() batch.State {
	b.t.Helper()
	s, err := b.Status(b.t.Context(), "letter")
	if err != nil {
		b.t.Fatal(err)
	}
	return batch.State(s.State)
}

// A canary that has failed and is retried has not succeeded before it has: whenever Sweep
// looks, nothing but the canary is done.
func TestACanaryIsRetried(t *testing.T) {
	for n, more := 1, true; more; n++ {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, 7, letter+"canary: 3\n")
			b.fails["u1@example.com"] = jobs.Failed
			for range 2 {
				b.must(b.fanOut(t.Context()))
				b.deliver(-1)
				if b.state() != batch.Stopped || b.published["u3@example.com"] != 0 {
					t.Fatalf("it is %s, published are %v", b.state(), b.published)
				}
				b.must(b.Retry(t.Context(), "letter", false))
			}
			by, reached := b.during(n, func() { b.must(b.Sweep(t.Context())) })
			b.must(b.fanOutBy(t.Context(), by))
			b.must(b.Sweep(t.Context()))
			if more = *reached != ""; b.published["u3@example.com"] != 0 {
				t.Fatalf("Sweep came at step %d, %s, and more than the canary was published", n, *reached)
			}
			clear(b.fails)
			b.deliver(-1)
			b.clean(new(b.toTheEnd()))
			b.wantOneSummary("")
		})
	}
}

// An instance goes by what it has read for two seconds at most, and not for a moment where a
// job shows that it is old.
func TestHowOldMayBeWhatAnInstanceKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 7, letter)
		b.must(b.fanOut(t.Context()))
		elsewhere := b.instance(b.does)
		wants := func(round int, want batch.Verdict) {
			t.Helper()
			if got, err := elsewhere.Gate(t.Context(), "letter", round); err != nil || got != want {
				t.Errorf("of round %d: %v %v, want %v", round, got, err, want)
			}
		}
		wants(1, batch.GoAhead)
		b.must(b.Pause(t.Context(), "letter"))
		time.Sleep(2100 * time.Millisecond)
		wants(1, batch.Park)
		b.must(b.Resume(t.Context(), "letter"))
		wants(1, batch.Park) // which is published again
		wants(2, batch.GoAhead)
		wants(1, batch.GoAhead)
		b.must(b.Cancel(t.Context(), "letter"))
		time.Sleep(2100 * time.Millisecond)
		wants(2, batch.Cancel)
		if _, err := elsewhere.Gate(t.Context(), "letter", 3); err == nil {
			t.Error("a job of a round that is not yet goes ahead, or is given back for good")
		}
	})
}
