package batch_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

// invocation is how long one works on a batch.
const invocation = 9 * time.Minute

// byTheMinute has the batch worked on as where it is deployed: for some minutes, and again
// when its own message or Sweep says so, until it has ended.
func (b *bench) byTheMinute() batch.Status {
	b.t.Helper()
	work := func() {
		ctx, cancel := context.WithTimeout(b.t.Context(), invocation)
		defer cancel()
		b.must(b.fanOut(ctx))
	}
	for work(); ; {
		b.deliver(-1)
		b.continues = 0
		b.must(b.Sweep(b.t.Context()))
		switch s, err := b.Status(b.t.Context(), "letter"); {
		case err != nil:
			b.t.Fatal(err)
		case s.Ended():
			return s
		case time.Since(published()) > 24*time.Hour:
			b.t.Fatalf("it does not end: %+v", s)
		}
		if b.continues > 0 {
			work()
		} else {
			pass(time.Minute)
		}
	}
}

// wantRate wants that in no time more was published than rate lets be; a second's may
// come at once.
func (b *bench) wantRate(rate float64) {
	b.t.Helper()
	for i, from := range b.at {
		for j, to := range b.at[i:] {
			if most := rate*to.Sub(from).Seconds() + max(1, rate); float64(j+1) > most+1e-6 {
				b.t.Fatalf("from job %d on, %d jobs are published within %v", i, j+1, to.Sub(from))
			}
		}
	}
}

// Jobs are published no faster than rate says, and not much slower, whoever goes on with
// the batch.
func TestRate(t *testing.T) {
	for _, rate := range []float64{200, 10, 2.5, 1, 0.2, 0.02, 0.004} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(published()))
				b := newBench(t, int(max(60, 3*rate)), fmt.Sprintf("%srate: %v\n", letter, rate))
				if rate < 0.01 {
					b.users = b.users[:6]
				}
				b.pageSize = 7
				b.wantCounts(b.byTheMinute())
				b.wantOnce()
				b.wantRate(rate)
				took, least := b.at[len(b.at)-1].Sub(b.at[0]), time.Duration(float64(len(b.users)-int(max(1, rate)))/rate*float64(time.Second))
				slack := time.Second
				if rate < 0.05 {
					slack = time.Duration(len(b.users)) * time.Minute // that Sweep is late
				}
				if took < least-time.Second || took > least+slack {
					t.Errorf("it took %v for %v", took, least)
				}
			})
		})
	}
}

// What is published again when a batch goes on comes no faster either.
func TestRateWhenItGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(published()))
		b := newBench(t, 90, letter+"rate: 2\nnotAfter: 2026-11-22T12:00:00Z\n")
		b.pageSize = 500
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			_ = b.fanOut(ctx)
			cancel()
			b.must(b.Pause(t.Context(), "letter"))
			time.Sleep(time.Minute)
			b.deliver(-1)
			b.must(b.Resume(t.Context(), "letter"))
		}
		if len(b.effects) != 0 {
			t.Fatalf("done although paused: %v", b.effects)
		}
		b.wantCounts(b.byTheMinute())
		b.wantOnce()
		b.wantRate(2)
	})
}

// Somebody who pauses a batch that waits for its rate is heard within seconds, and what is
// to be cancelled, or has lost its point, does not wait.
func TestRateDoesNotKeepOthersWaiting(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(b *bench) error
		state batch.State
	}{
		"paused":     {func(b *bench) error { return b.Pause(b.t.Context(), "letter") }, batch.Paused},
		"cancelled":  {func(b *bench) error { return b.Cancel(b.t.Context(), "letter") }, batch.Cancelled},
		"time is up": {func(*bench) error { pass(time.Until(published().Add(5 * time.Minute))); return nil }, batch.Expired},
		"told to stop": {func(b *bench) error {
			_, err := b.Stop(b.t.Context(), "letter", time.Now(), jobs.Error{Reason: "x"})
			return err
		}, batch.Stopped},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(published()))
				b := newBench(t, 70, letter+"rate: 0.1\nnotAfter: 2026-11-22T07:25:49Z\n")
				b.pageSize = 500
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					if err := b.fanOut(t.Context()); err != nil {
						t.Error(err)
					}
				}()
				time.Sleep(25 * time.Second)
				b.must(c.do(b))
				begun := time.Now()
				<-ended
				if took := time.Since(begun); took > 10*time.Second {
					t.Errorf("it took %v", took)
				}
				b.deliver(-1)
				b.must(b.Sweep(t.Context()))
				if b.state() != c.state {
					t.Errorf("it is %s", b.state())
				}
			})
		})
	}
}

// A message that is lost is made up for when nothing has come of any job for long; what is
// put off meanwhile keeps its time.
func TestAMessageIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 7, letter)
		b.must(b.fanOut(t.Context()))
		b.queue = b.queue[3:] // two of these are lost, and one is put off
		claim, err := b.ledger.Claim(t.Context(), "letter/u2@example.com", ledger.Terms{Until: time.Now().Add(time.Minute), Batch: "letter"})
		b.must(err)
		b.must(b.ledger.Release(t.Context(), claim, ledger.PutOff{NotBefore: time.Now().Add(50 * time.Minute)}))
		b.deliver(-1)
		for range 29 {
			b.must(b.Sweep(t.Context()))
			time.Sleep(time.Minute)
		}
		if b.continues != 0 {
			t.Fatal("it is not waited for long")
		}
		for range 3 {
			b.must(b.Sweep(t.Context()))
			time.Sleep(time.Minute)
		}
		b.must(b.fanOut(t.Context()))
		b.deliver(-1)
		if b.published["u0@example.com"] != 2 || b.published["u1@example.com"] != 2 || b.published["u2@example.com"] != 1 || b.published["u3@example.com"] != 1 {
			t.Errorf("%v", b.published)
		}
		if s, err := b.Status(t.Context(), "letter"); err != nil || s.Counts.Succeeded != 6 || s.Counts.PutOff != 1 || s.Remaining != 1 || s.State != string(batch.Running) {
			t.Errorf("%+v %v", s.Summary, err)
		}
		time.Sleep(20 * time.Minute)
		for range 40 {
			b.must(b.Sweep(t.Context()))
			time.Sleep(time.Minute)
		}
		b.wantCounts(b.toTheEnd())
		b.wantOnce()
	})
}

// What nobody knows of is done again only where that is asked for.
func TestRetryOfWhatIsUncertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 7, letter+"stopAfter: {failures: 3}\n")
		b.fails["u1@example.com"], b.fails["u2@example.com"] = jobs.Uncertain, jobs.Failed
		b.toTheEnd()
		clear(b.fails)
		b.must(b.Retry(t.Context(), "letter", false))
		if s := b.toTheEnd(); s.Counts.Uncertain != 1 || s.Counts.Succeeded != 6 {
			t.Errorf("%+v", s.Counts)
		}
		b.must(b.Retry(t.Context(), "letter", true))
		b.wantCounts(b.toTheEnd())
		b.wantOnce()
		b.wantOneSummary("")
		if b.published["u1@example.com"] != 2 || b.published["u2@example.com"] != 2 || b.published["u3@example.com"] != 1 {
			t.Errorf("%v", b.published)
		}
	})
}

// Failures that were accepted, or are done again, do not count for stopAfter; those that
// come then do.
func TestStopAfterCountsWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 40, letter+"stopAfter: {failures: 3}\n")
		for _, user := range b.users[:20] {
			b.fails[user] = jobs.Failed
		}
		b.must(b.fanOut(t.Context()))
		failed := 0
		for range 3 { // three more each time
			b.deliver(-1)
			s, err := b.Status(t.Context(), "letter")
			if b.must(err); s.State != string(batch.Stopped) || s.Counts.Bad() != failed+3 {
				t.Fatalf("%+v", s.Summary)
			}
			failed = s.Counts.Bad()
			b.must(b.Sweep(t.Context()))
			b.must(b.Resume(t.Context(), "letter"))
			b.must(b.fanOut(t.Context()))
		}
		b.must(b.Pause(t.Context(), "letter"))
		b.deliver(-1)
		// Of nine two stay bad, which is as much as may be.
		clear(b.fails)
		for i, user := range b.users[18:] {
			if i < 2 {
				b.fails[user] = jobs.Failed
			}
		}
		b.must(b.Retry(t.Context(), "letter", false))
		if s := b.toTheEnd(); s.State != string(batch.Completed) || s.Counts.Bad() != 2 || s.Counts.Succeeded != 38 {
			t.Errorf("%+v", s.Summary)
		}
	})
}

// Where the caller's time is up, there is more to do, and the next one does it.
func TestWorkEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 3000, letter+"rate: 5\n")
		b.pageSize = 500
		id, err := b.Start(t.Context(), []byte(b.file), published())
		b.must(err)
		ctx, cancel := context.WithTimeout(t.Context(), invocation)
		defer cancel()
		begun := time.Now()
		more, err := b.Work(ctx, id)
		if took := time.Since(begun); err != nil || !more || took > invocation-20*time.Second || took < invocation-time.Minute {
			t.Errorf("more %v after %v: %v", more, took, err)
		}
		if s, err := b.Status(t.Context(), id); err != nil || s.Published != len(b.at) {
			t.Errorf("%d are published: %+v %v", len(b.at), s.Summary, err)
		}
	})
}
