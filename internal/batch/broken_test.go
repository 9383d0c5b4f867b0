package batch_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

var errBroken = errors.New("broken off")

// breakAt has the n-th thing that leaves the engine break off, before or after it was
// done; dies: and all that follows, until it is revived. Reached is set when it came to that.
func (b *bench) breakAt(n int, dies bool) (reached *string) {
	reached = new(string)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.breaks = func(what string) error {
		n--
		if n == 0 {
			*reached = what
		}
		if n == 0 || n < 0 && dies {
			return errBroken
		}
		return nil
	}
	return reached
}

// revive has another instance begin, in which nothing breaks.
func (b *bench) revive() {
	b.mu.Lock()
	b.breaks = nil
	b.mu.Unlock()
	b.another()
}

// must does what somebody asks for.
func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// A batch that breaks off anywhere is gone on with: everybody is served once, and what is
// counted is what was done.
func TestABatchThatBreaksOffAnywhere(t *testing.T) {
	const id = "letter"
	for name, c := range map[string]struct {
		file   string
		before func(b *bench) // what there is when it breaks off
		then   func(b *bench) // what somebody does then
		state  batch.State
		once   bool // everybody is served
	}{
		"and nobody does anything": {letter, func(*bench) {}, func(*bench) {}, batch.Completed, true},
		"at a rate":                {letter + "rate: 1\n", func(*bench) {}, func(*bench) {}, batch.Completed, true},
		"with a canary":            {letter + "canary: 3\n", func(*bench) {}, func(*bench) {}, batch.Completed, true},
		"and is paused and resumed": {letter, func(*bench) {}, func(b *bench) {
			b.must(b.Pause(b.t.Context(), id))
			b.deliver(-1)
			b.must(b.Resume(b.t.Context(), id))
		}, batch.Completed, true},
		"with a canary, and is paused and resumed": {letter + "canary: 3\n", func(*bench) {}, func(b *bench) {
			b.must(b.Pause(b.t.Context(), id))
			b.deliver(-1)
			b.must(b.Resume(b.t.Context(), id))
		}, batch.Completed, true},
		"and is cancelled": {letter, func(*bench) {}, func(b *bench) { b.must(b.Cancel(b.t.Context(), id)) }, batch.Cancelled, false},
		"and is paused and cancelled": {letter, func(*bench) {}, func(b *bench) {
			b.must(b.Pause(b.t.Context(), id))
			b.deliver(-1)
			b.must(b.Cancel(b.t.Context(), id))
		}, batch.Cancelled, false},
		"when it goes on": {letter, func(b *bench) {
			b.must(b.fanOut(b.t.Context()))
			b.deliver(3)
			b.must(b.Pause(b.t.Context(), id))
			b.deliver(-1)
			b.must(b.Resume(b.t.Context(), id))
		}, func(*bench) {}, batch.Completed, true},
		"when what has failed is done again": {letter, func(b *bench) {
			b.fails["u1@example.com"], b.fails["u4@example.com"] = jobs.Failed, jobs.Refused
			b.toTheEnd()
			clear(b.fails)
			b.must(b.Retry(b.t.Context(), id, false))
		}, func(*bench) {}, batch.Completed, true},
		"when that is paused and goes on": {letter, func(b *bench) {
			b.fails["u1@example.com"], b.fails["u4@example.com"] = jobs.Failed, jobs.Refused
			b.toTheEnd()
			clear(b.fails)
			b.must(b.Retry(b.t.Context(), id, false))
		}, func(b *bench) {
			b.must(b.Pause(b.t.Context(), id))
			b.deliver(-1)
			b.must(b.Resume(b.t.Context(), id))
		}, batch.Completed, true},
		"when what has failed fails again": {letter, func(b *bench) {
			b.fails["u1@example.com"], b.fails["u4@example.com"] = jobs.Failed, jobs.Refused
			b.toTheEnd()
			b.must(b.Retry(b.t.Context(), id, false))
		}, func(b *bench) { b.deliver(-1) }, batch.Completed, false},
		"and its time is up": {letter + "notAfter: 2026-11-30T00:00:00Z\n", func(*bench) {}, func(*bench) {
			pass(time.Until(time.Date(2026, 11, 30, 0, 0, 1, 0, time.UTC)))
		}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			for n, more := 1, true; more; n++ {
				for _, dies := range []bool{false, true} {
					synctest.Test(t, func(t *testing.T) {
						time.Sleep(time.Until(published())) // the bubble's clock begins long before
						b := newBench(t, 7, c.file)
						b.most = 3
						c.before(b)
						reached := b.breakAt(n, dies)
						_ = b.fanOut(b.t.Context())
						b.deliver(2)
						_ = b.Sweep(b.t.Context())
						where := fmt.Sprintf("%d, %s, dies %v", n, *reached, dies)
						b.revive()
						more = *reached != ""
						if _, err := b.Status(t.Context(), id); errors.Is(err, batch.ErrUnknown) || !more {
							b.must(b.fanOut(b.t.Context())) // it has not come to that
						}
						if s, err := b.Status(t.Context(), id); err == nil && s.State == string(batch.Running) {
							c.then(b)
						}
						s := b.toTheEnd()
						if c.once {
							b.wantOnce()
						}
						b.wantCounts(s)
						b.wantOneSummary(*reached)
						if c.state != "" && s.State != string(c.state) {
							t.Errorf("it is %s", s.State)
						}
						if t.Failed() {
							t.Fatalf("broken off at %s", where)
						}
					})
				}
			}
		})
	}
}

// wantOneSummary wants one for each end. One that was published, but of which that could not
// be noted, may come again, and is the same.
func (b *bench) wantOneSummary(reached string) {
	b.t.Helper()
	byRound := make(map[int][]jobs.Summary)
	for _, s := range b.summaries {
		byRound[s.Round] = append(byRound[s.Round], s)
	}
	for round, all := range byRound {
		again := len(all) == 2 && (strings.HasSuffix(reached, "tell") || strings.HasSuffix(reached, "save") || strings.HasSuffix(reached, "load"))
		if len(all) != 1 && !again {
			b.t.Errorf("%d summaries of round %d", len(all), round)
		}
	}
	s, err := b.Status(b.t.Context(), "letter")
	if err != nil || len(byRound[s.Round]) == 0 || byRound[s.Round][0].State != s.State {
		b.t.Errorf("%+v %v; summaries %+v", s.Summary, err, b.summaries)
	}
}
