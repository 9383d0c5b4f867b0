package batch_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// A message that is lost keeps no batch from its end, the canary's neither.
func TestLostMessages(t *testing.T) {
	for name, file := range map[string]string{"of a batch": letter, "of the canary": letter + "canary: 3\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(published()))
				b := newBench(t, 7, file)
				b.must(b.fanOut(t.Context()))
				b.deliver(1)
				b.queue = nil
				s := b.toTheEnd()
				b.wantOnce()
				b.wantCounts(s)
				if s.State != string(batch.Completed) || len(b.summaries) != 1 {
					t.Errorf("%+v", b.summaries)
				}
			})
		})
	}
}

// Long jobs are published a few at a time, the first time and when they are published again:
// no instance has room for a page of them.
func TestLongJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(published()))
		const long = 400 << 10
		b := newBench(t, 150, strings.TrimSpace(letter[:len(letter)-2])+", body: {raw: "+strings.Repeat("a", long)+"}}\n")
		b.pageSize = 500
		b.must(b.fanOut(t.Context()))
		if first := b.together; first > 20 || len(b.queue) != 150 {
			t.Errorf("%d of %d jobs are published together", first, len(b.queue))
		}
		b.must(b.Pause(t.Context(), "letter"))
		b.queue, b.together = nil, 0
		b.must(b.Resume(t.Context(), "letter"))
		b.must(b.fanOut(t.Context()))
		if b.together > 20 || len(b.queue) != 150 {
			t.Errorf("%d of %d jobs are published together once more", b.together, len(b.queue))
		}
		b.toTheEnd()
		b.wantOnce()
	})
}

// Somebody may do anything at any moment while Sweep ends a batch: what is told is how it
// ended, and it ends.
func TestSomebodyActsWhileABatchEnds(t *testing.T) {
	for n, more := 1, true; more; n++ {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(published()))
			b := newBench(t, 5, letter)
			b.fails["u1@example.com"] = jobs.Failed
			b.must(b.fanOut(t.Context()))
			b.deliver(-1)
			clear(b.fails)
			left := n
			b.meanwhile = func(string) {
				if left--; left == 0 {
					b.meanwhile = nil
					b.must(b.Retry(t.Context(), "letter", false))
				}
			}
			b.must(b.Sweep(t.Context()))
			b.meanwhile = nil
			if more = left <= 0; !more {
				b.must(b.Retry(t.Context(), "letter", false))
			}
			s := b.toTheEnd()
			b.wantOnce()
			b.wantCounts(s)
			for _, told := range b.summaries {
				if !batch.State(told.State).Ended() || told.Counts.Done() != told.Published {
					t.Errorf("told at %d: %+v", n, told)
				}
			}
		})
	}
}

// A delivery that finds something wrong with a batch which another delivery of the same
// has begun says nothing of it: the batch runs. Of another file with its id it does.
func TestABatchIsRefusedThatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(published()))
		b := newBench(t, 3, letter)
		b.must(b.fanOut(t.Context()))
		b.must(b.Refuse(t.Context(), []byte(letter), published(), jobs.Error{Reason: "badBatch"}))
		if len(b.summaries) != 0 {
			t.Errorf("%+v", b.summaries)
		}
		b.must(b.Refuse(t.Context(), []byte(letter+"canary: 1\n"), published(), jobs.Error{Reason: "badBatch"}))
		if len(b.summaries) != 1 || b.summaries[0].State != string(batch.Refused) {
			t.Errorf("%+v", b.summaries)
		}
		if s := b.toTheEnd(); s.State != string(batch.Completed) {
			t.Errorf("%+v", s.Summary)
		}
		b.wantOnce()
	})
}

// A worker that hears nothing from the Directory for longer than it counts as there publishes
// nothing more when another has wound up the batch meanwhile.
func TestAWorkerThatWasTakenForGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(published()))
		b := newBench(t, 6, letter)
		lists := 0
		b.meanwhile = func(what string) {
			if what != "list" {
				return
			}
			if lists++; lists == 2 {
				time.Sleep(90 * time.Second)
			}
		}
		slow := make(chan error)
		go func(old *batch.Batches) {
			_, err := old.Start(t.Context(), []byte(letter), published())
			if err == nil {
				_, err = old.Work(t.Context(), "letter")
			}
			slow <- err
		}(b.Batches)
		time.Sleep(70 * time.Second)
		b.another()
		b.must(b.Cancel(t.Context(), "letter"))
		b.must(b.fanOut(t.Context()))
		b.must(<-slow)
		s := b.toTheEnd()
		b.wantCounts(s)
		b.wantOnce(b.users...)
		if s.State != string(batch.Cancelled) || s.Published != 2 {
			t.Errorf("%+v", s.Summary)
		}
	})
}

// What had failed, and was to be done again when the batch was cancelled, stays failed.
func TestARetryIsCancelled(t *testing.T) {
	for name, before := range map[string]func(b *bench){"": func(*bench) {}, "when it is paused": func(b *bench) { b.must(b.Pause(b.t.Context(), "letter")) }} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(published()))
				b := newBench(t, 5, letter)
				b.fails["u1@example.com"] = jobs.Failed
				b.toTheEnd()
				b.must(b.Retry(t.Context(), "letter", false))
				before(b)
				b.must(b.Cancel(t.Context(), "letter"))
				if s := b.toTheEnd(); s.State != string(batch.Cancelled) || s.Counts.Bad() != 1 || s.Counts.Cancelled != 0 {
					t.Errorf("%+v", s.Summary)
				}
			})
		})
	}
}

// A batch of which nothing failed is not set going by a retry: it would end once more.
func TestNothingToRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(published()))
		b := newBench(t, 3, letter)
		b.toTheEnd()
		for _, uncertain := range []bool{false, true} {
			if err := b.Retry(t.Context(), "letter", uncertain); !errors.Is(err, batch.ErrNothingFailed) {
				t.Errorf("uncertain %t: %v", uncertain, err)
			}
		}
		if s := b.toTheEnd(); s.State != string(batch.Completed) || len(b.summaries) != 1 {
			t.Errorf("%+v, %d summaries", s.Summary, len(b.summaries))
		}
		b.wantOnce()
	})
}
