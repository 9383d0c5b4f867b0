package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vbauerster/mpb/v8/decor"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// fakeLooker tells how a batch is at a time since it was begun.
type fakeLooker struct {
	begun    time.Time
	at       func(time.Duration) (batch.Status, error)
	failures int // how often those were asked for
}

func (f *fakeLooker) Status(context.Context, string) (batch.Status, error) {
	return f.at(time.Since(f.begun))
}

func (f *fakeLooker) Failures(context.Context, string, string, int) ([]jobs.Result, string, error) {
	f.failures++
	return []jobs.Result{failure("ada@example.com", jobs.Error{Fault: jobs.FaultUser, Message: "m"})}, "", nil
}

// of is a batch of which some jobs are done.
func of(state batch.State, published, done, failed int) batch.Status {
	s := batch.Status{Summary: jobs.Summary{Batch: "b", State: string(state), Published: published, Remaining: published - done - failed, Counts: jobs.Counts{Succeeded: done}}}
	if failed > 0 {
		s.Counts.Failed = map[jobs.Fault]int{jobs.FaultUser: failed}
	}
	return s
}

// here leaves a text as it is.
func here(text string) string { return text }

// Elsewhere than on a terminal there is a line each ten seconds, and where the state
// changes: with the rate and the time that is left.
func TestBatchIsWatchedInPlainLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		v := newBatchView(&out, here, nil)
		l := &fakeLooker{begun: time.Now(), at: func(at time.Duration) (batch.Status, error) {
			switch n := int(at.Seconds()); {
			case n < 2:
				return batch.Status{}, batch.ErrUnknown
			case n < 7:
				s := of(batch.Running, 500, 0, 0)
				s.Publishing, s.Canary = true, 10
				return s, nil
			case n < 32:
				return of(batch.Running, 1000, (n-7)*20, 3), nil
			case n < 45:
				return of(batch.Paused, 1000, 500, 3), nil
			case n < 47:
				return batch.Status{}, errors.New("not there for now")
			default:
				return of(batch.Completed, 1000, 997, 3), nil
			}
		}}
		s, err := follow(t.Context(), l, "b", func(s shown) error { v.show(s); return nil })
		v.end()
		const want = `0 of 500 jobs: running, 0/s, a canary of 10 goes first
103 of 1000 jobs: running, 10/s, 1m27s left, 100 succeeded, 3 failed (3 user)
303 of 1000 jobs: running, 15/s, 46s left, 300 succeeded, 3 failed (3 user)
503 of 1000 jobs: paused, 500 succeeded, 3 failed (3 user), onbehalf batch resume b has it go on
503 of 1000 jobs: paused, 500 succeeded, 3 failed (3 user), onbehalf batch resume b has it go on
1000 of 1000 jobs: completed, 997 succeeded, 3 failed (3 user)
`
		if err != nil || s.State != "completed" || out.String() != want {
			t.Errorf("%v, %s:\n%s", err, s.State, &out)
		}
		if took := time.Since(l.begun); took != 47*time.Second {
			t.Errorf("it is over after %v", took)
		}
	})
}

// Watching ends with what is watched: not at a pause, but where somebody must act, and
// where nothing can be seen any more.
func TestWatchingEnds(t *testing.T) {
	broken := errors.New("nothing to be seen")
	for name, c := range map[string]struct {
		at   func(time.Duration) (batch.Status, error)
		want time.Duration
		err  error
	}{
		"stopped":   {func(time.Duration) (batch.Status, error) { return of(batch.Stopped, 9, 1, 1), nil }, 0, nil},
		"refused":   {func(time.Duration) (batch.Status, error) { return of(batch.Refused, 0, 0, 0), nil }, 0, nil},
		"cancelled": {func(time.Duration) (batch.Status, error) { return of(batch.Cancelled, 0, 0, 0), nil }, 0, nil},
		"broken":    {func(time.Duration) (batch.Status, error) { return batch.Status{}, broken }, (mostMissed - 1) * lookEvery, broken},
		"paused":    {func(time.Duration) (batch.Status, error) { return of(batch.Paused, 9, 1, 1), nil }, time.Hour, context.DeadlineExceeded},
		"unknown":   {func(time.Duration) (batch.Status, error) { return batch.Status{}, batch.ErrUnknown }, time.Hour, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				l := &fakeLooker{begun: time.Now(), at: c.at}
				_, err := follow(ctx, l, "b", func(shown) error { return nil })
				if took := time.Since(l.begun); !errors.Is(err, c.err) || took != c.want {
					t.Errorf("%v after %v; want %v after %v", err, took, c.err, c.want)
				}
			})
		})
	}
}

// In JSON there is a line for each change, and none where nothing changes.
func TestChangesAreTold(t *testing.T) {
	var told []string
	each := changes(func(s shown) error { told = append(told, s.State); return nil })
	for _, state := range []batch.State{batch.Running, batch.Running, batch.Paused, batch.Running, batch.Running, batch.Completed} {
		if err := each(shown{Status: of(state, 1, 1, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	if strings.Join(told, " ") != "running paused running completed" {
		t.Error(told)
	}
}

// On a terminal the causes stand below the bar, no line of them longer than that is wide,
// and nothing in them moves the cursor.
func TestCausesBelowTheBar(t *testing.T) {
	v := newBatchView(&bytes.Buffer{}, func(text string) string { return text + "!" }, nil)
	var results []jobs.Result
	for i := range 2 * mostDrawn {
		results = append(results, failure("ada@example.com", jobs.Error{
			Fault: jobs.FaultUser, Reason: fmt.Sprint("r", strings.Repeat("x", i)), Message: "An \x1b[2J ümläut, " + strings.Repeat("long ", 30), Fix: "Mend it.\nThen publish the job under a new id.",
		}))
	}
	v.show(shown{of(batch.Running, 10, 0, 10), causes(results)})
	var out strings.Builder
	if err := v.draw(&out, decor.Statistics{AvailableWidth: 40}); err != nil {
		t.Fatal(err)
	}
	const want = `   1  failed · user · r
      ada@example.com
      An �[2J ümläut, long long long l…
      Mend it.
`
	if !strings.HasPrefix(out.String(), want) || strings.Count(out.String(), "\n") != 4*mostDrawn {
		t.Error(out.String())
	}
}

// What is left is given up only where nothing is in hand, and taken up again only where
// nothing has come of it for long.
func TestRunOfABatchKnowsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newBatchRun(nil, nil)
		running := of(batch.Running, 10, 9, 0)
		if r.leftOver(running) {
			t.Error("what nobody has given up is left over")
		}
		r.givenUp = 1
		if !r.leftOver(running) || r.leftOver(of(batch.Running, 10, 10, 0)) || r.leftOver(of(batch.Paused, 10, 9, 0)) {
			t.Error("what was given up is not what is left over")
		}
		var still stillness
		after := func(d time.Duration, idle bool, s batch.Status) bool {
			time.Sleep(d)
			return still.over(idle, s)
		}
		for i, c := range []struct {
			after time.Duration
			idle  bool
			s     batch.Status
			want  bool
		}{
			{0, true, running, false},
			{stillFor - 1, true, running, false},
			{1, true, running, true},
			{time.Second, true, running, false}, // from here on once more
			{stillFor / 2, false, running, false},
			{stillFor - 1, true, running, false},
			{stillFor, true, of(batch.Running, 20, 10, 0), false},
			{stillFor, true, of(batch.Paused, 20, 10, 0), false},
			{stillFor, true, of(batch.Cancelling, 20, 10, 0), true},
		} {
			if got := after(c.after, c.idle, c.s); got != c.want {
				t.Errorf("%d: %t", i, got)
			}
		}
	})
}
