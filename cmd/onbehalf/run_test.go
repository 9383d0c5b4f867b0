package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

// limited does jobs, but none before its time.
type limited struct {
	until time.Time
	times []time.Time
}

func (l *limited) Execute(_ context.Context, msg pubsubio.Message) functions.Outcome {
	l.times = append(l.times, time.Now())
	o := functions.Outcome{Result: jobs.Result{Job: "j", Attempts: msg.Delivery}}
	if time.Now().Before(l.until) {
		o.Answer, o.NotBefore = functions.Later, l.until
		o.Result.Error = &jobs.Error{Stage: jobs.StageCall, Fault: jobs.FaultQuota, Message: "It is too soon.", Fix: "Wait."}
		return o
	}
	o.Result.Status = jobs.Succeeded
	return o
}

// A time that Google names is waited for, if it is not too far away; before it
// nothing is tried again.
func TestRunWaitsUntilGooglesTime(t *testing.T) {
	for name, c := range map[string]struct {
		left  time.Duration
		tries int
		took  time.Duration
		says  string
	}{
		"soon":    {4 * time.Minute, 2, 4 * time.Minute, `"succeeded"`},
		"at once": {time.Millisecond, 2, firstWait, `"succeeded"`},
		"later":   {6 * time.Minute, 1, 0, "Run it again after 2000-01-01T00:06:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now().UTC() // midnight of 2000 in a bubble
				x := &limited{until: begun.Add(c.left)}
				var out bytes.Buffer
				r := &runner{x: x, out: &out, progress: newProgress(io.Discard, 0)}
				defer r.progress.end()
				if err := r.do(t.Context(), pubsubio.Message{ID: "1"}); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begun); len(x.times) != c.tries || took != c.took || !strings.Contains(out.String(), c.says) {
					t.Errorf("tried at %v, ended after %v with %s", x.times, took, out.String())
				}
			})
		})
	}
}

// stuck puts each job off at a fault that every job would meet.
type stuck struct{ calls int }

func (s *stuck) Execute(_ context.Context, _ pubsubio.Message) functions.Outcome {
	s.calls++
	o := functions.Outcome{Answer: functions.Later, Stops: true, NotBefore: time.Now().Add(30 * time.Second), Result: jobs.Result{Job: "j"}}
	o.Result.Error = &jobs.Error{Stage: jobs.StageExchange, Fault: jobs.FaultAdmin, Message: "Nobody is authorized.", Fix: "Authorize."}
	return o
}

// A run stops where it would only go on waiting for a person: the job has no
// result, and can be run again.
func TestRunStopsWithoutAResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, begun := &stuck{}, time.Now()
		var out bytes.Buffer
		r := &runner{x: x, out: &out, progress: newProgress(io.Discard, 0)}
		defer r.progress.end()
		err := r.exit(t.Context(), r.do(t.Context(), pubsubio.Message{ID: "1"}))
		var exit *exitError
		if !errors.As(err, &exit) || exit.status != exitStopped || !strings.Contains(err.Error(), "Nobody is authorized.\nAuthorize.") {
			t.Errorf("%v", err)
		}
		if out.Len() != 0 || x.calls != 1 || time.Since(begun) != 0 || !strings.Contains(r.summary(), "1 were begun and have no result") {
			t.Errorf("%q after %d tries and %s; %s", out.String(), x.calls, time.Since(begun), r.summary())
		}
	})
}
