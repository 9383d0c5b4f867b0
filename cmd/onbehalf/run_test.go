package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/quota"
)

// fake does jobs, each known by its line.
type fake func(job string) functions.Outcome

func (f fake) Execute(_ context.Context, msg pubsubio.Message) functions.Outcome {
	o := f(string(msg.Data))
	o.Result.Job, o.Result.Attempts = string(msg.Data), msg.Delivery
	o.Result.FinishedAt = time.Now()
	return o
}

func succeeded() functions.Outcome {
	return functions.Outcome{Result: jobs.Result{Status: jobs.Succeeded}}
}

// putOff is why a job is put off, and until when; nil is that nobody knows.
func putOff(answer functions.Answer, fault jobs.Fault, left time.Duration) functions.Outcome {
	o := functions.Outcome{Answer: answer, Result: jobs.Result{Error: &jobs.Error{Stage: jobs.StageCall, Fault: fault, Message: "It is too soon.", Fix: "Wait."}}}
	if left != 0 {
		o.NotBefore = time.Now().Add(left)
	}
	return o
}

// runOf is one run in a bubble of testing/synctest.
type runOf struct {
	runner
	out bytes.Buffer
	err error
}

// runLines does the jobs, one a line, some at a time.
func runLines(ctx context.Context, x executor, in io.Reader, concurrency int) *runOf {
	r := &runOf{}
	r.runner = runner{x: x, begun: time.Now(), out: &r.out, progress: newProgress(io.Discard, 0), keeps: keeping{lasts: true}}
	defer r.progress.end()
	r.err = r.run(ctx, &input{ReadCloser: io.NopCloser(in), name: "jobs"}, concurrency)
	return r
}

// order are the jobs in the order of their results.
func (r *runOf) order() string {
	var list []string
	for line := range strings.Lines(r.out.String()) {
		_, rest, _ := strings.Cut(line, `"job":"`)
		job, _, _ := strings.Cut(rest, `"`)
		list = append(list, job)
	}
	return strings.Join(list, " ")
}

// A time that Google names is waited for, if it is not too far away; before it
// nothing is tried again.
func TestRunWaitsUntilGooglesTime(t *testing.T) {
	for name, c := range map[string]struct {
		fault jobs.Fault
		left  time.Duration
		tries int
		took  time.Duration
		says  string
	}{
		"soon":            {jobs.FaultQuota, 4 * time.Minute, 2, 4 * time.Minute, `"succeeded"`},
		"at once":         {jobs.FaultQuota, time.Millisecond, 2, firstWait, `"succeeded"`},
		"just soon":       {jobs.FaultQuota, patience, 2, patience, `"succeeded"`},
		"just later":      {jobs.FaultQuota, patience + 1, 1, 0, "Run it again after 2000-01-01T00:05:00Z"},
		"later":           {jobs.FaultQuota, 6 * time.Minute, 1, 0, "Run it again after 2000-01-01T00:06:00Z"},
		"later, Google's": {jobs.FaultGoogle, 6 * time.Minute, 1, 0, "Run it again after 2000-01-01T00:06:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now().UTC() // midnight of 2000 in a bubble
				until, tries := begun.Add(c.left), 0
				r := runLines(t.Context(), fake(func(string) functions.Outcome {
					if tries++; time.Now().Before(until) {
						return putOff(functions.Later, c.fault, time.Until(until))
					}
					return succeeded()
				}), strings.NewReader("a"), 1)
				if took := time.Since(begun); r.err != nil || tries != c.tries || took != c.took || !strings.Contains(r.out.String(), c.says) {
					t.Errorf("%v after %d tries and %v: %s", r.err, tries, took, r.out.String())
				}
			})
		})
	}
}

// What waits for our own quota alone is waited for however long it takes, and comes at
// its time, whatever it was tried for before.
func TestRunWaitsForOurOwnQuota(t *testing.T) {
	for name, left := range map[string]time.Duration{
		"at once": time.Millisecond, "just soon": patience, "just later": patience + 1, "for days": 10 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const rounds = 5
				var tries int
				var due, came time.Time
				r := runLines(t.Context(), fake(func(string) functions.Outcome {
					tries++
					switch o := putOff(functions.Later, jobs.FaultQuota, left); {
					case tries < maxTries:
						return putOff(functions.Again, jobs.FaultGoogle, 0)
					case tries < maxTries+rounds:
						o.Waits, due = true, o.NotBefore
						return o
					}
					came = time.Now()
					return succeeded()
				}), strings.NewReader("a"), 1)
				if r.err != nil || tries != maxTries+rounds || !came.Equal(due) || r.summary() != "1 jobs: 1 succeeded" {
					t.Errorf("%v after %d tries, %v late: %s", r.err, tries, came.Sub(due), r.summary())
				}
			})
		})
	}
}

// underQuota does jobs of one user, each of 25 of the 6000 units that are there in any
// minute.
func underQuota(ctx context.Context) fake {
	budget := quota.NewBudget(quota.Limits{PerUser: 6000}, 5*time.Second)
	return func(string) functions.Outcome {
		done, err := budget.Take(ctx, quota.Spend{User: "ada@example.com", Units: 25, Alone: true})
		var wait *quota.WaitError
		if errors.As(err, &wait) {
			o := putOff(functions.Later, jobs.FaultQuota, time.Until(wait.Until))
			o.Waits = true
			return o
		}
		defer done()
		return succeeded()
	}
}

// More jobs of one user than there is quota for in ten minutes all succeed, at the pace
// that it allows.
func TestRunHasMuchForOneUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		r := runLines(t.Context(), underQuota(t.Context()), strings.NewReader(strings.Repeat("a\n", 2400)), 16)
		// Of its ten minutes' quota the first is there at once.
		if took := time.Since(begun); r.err != nil || r.summary() != "2400 jobs: 2400 succeeded" || took < 9*time.Minute || took > 9*time.Minute*6/5 {
			t.Errorf("%v after %v: %s", r.err, took, r.summary())
		}
	})
}

// Who interrupts a run that waits for the quota is told that, and until when.
func TestRunIsInterruptedWhileItWaitsForTheQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r := runLines(ctx, underQuota(t.Context()), strings.NewReader(strings.Repeat("a\n", 2400)), 16)
		if want := regexp.MustCompile(`^2\d\d jobs: 2\d\d succeeded; 21\d\d were begun and have no result; 21\d\d wait for the quota until about 2000-01-01T00:(09|10):`); !want.MatchString(r.summary()) {
			t.Error(r.summary())
		}
	})
}

// A job that is put off holds no worker, and goes before what is read later once its
// time has come.
func TestRunGoesOnWhileAJobWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		r := runLines(t.Context(), fake(func(job string) functions.Outcome {
			if job == "a" && time.Since(begun) < time.Minute {
				return putOff(functions.Later, jobs.FaultQuota, time.Minute)
			}
			time.Sleep(25 * time.Second)
			return succeeded()
		}), strings.NewReader("a\nb\n\nc\nd\ne\nf\ng"), 1)
		if r.err != nil || r.order() != "b c d e a f g" { // e was read before
			t.Errorf("%v, %s", r.err, r.order())
		}
	})
}

// What does not pass is tried six times, at growing intervals, and is then given up
// for this run, which the result says. Waiting for one's turn is no try.
func TestRunGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		outcome func(n int) functions.Outcome
		tries   int
		took    time.Duration
		status  jobs.Status
	}{
		"Google is down":   {func(int) functions.Outcome { return putOff(functions.Again, jobs.FaultGoogle, 0) }, 6, 31 * time.Second, jobs.Failed},
		"quota, untimed":   {func(int) functions.Outcome { return putOff(functions.Later, jobs.FaultQuota, 0) }, 6, 31 * time.Second, jobs.Failed},
		"quota, with time": {until(100, putOffUntil(jobs.FaultQuota)), 101, 100 * time.Minute, jobs.Succeeded},
		"held": {until(100, func() functions.Outcome {
			return functions.Outcome{Answer: functions.Later, Held: true, Result: jobs.Result{Error: &jobs.Error{}}}
		}), 101, 100 * firstWait, jobs.Succeeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun, tries := time.Now(), 0
				r := runLines(t.Context(), fake(func(string) functions.Outcome {
					tries++
					return c.outcome(tries)
				}), strings.NewReader("a"), 1)
				if took := time.Since(begun); r.err != nil || tries != c.tries || took != c.took || strings.Count(r.out.String(), fmt.Sprintf(`"status":%q`, c.status)) != 1 {
					t.Errorf("%v after %d tries and %v: %s", r.err, tries, took, r.out.String())
				}
				gave := c.status == jobs.Failed
				if strings.Contains(r.out.String(), "the same command tries it again") != gave || strings.Contains(r.summary(), "1 were given up for now") != gave {
					t.Errorf("%s\n%s", r.out.String(), r.summary())
				}
			})
		})
	}
}

func until(n int, before func() functions.Outcome) func(int) functions.Outcome {
	return func(try int) functions.Outcome {
		if try > n {
			return succeeded()
		}
		return before()
	}
}

func putOffUntil(fault jobs.Fault) func() functions.Outcome {
	return func() functions.Outcome { return putOff(functions.Later, fault, time.Minute) }
}

// A run stops where it would only go on waiting for a person: the job has no
// result, and can be run again.
func TestRunStopsWithoutAResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, tries := time.Now(), 0
		r := runLines(t.Context(), fake(func(string) functions.Outcome {
			tries++
			o := putOff(functions.Later, jobs.FaultAdmin, 30*time.Second)
			o.Stops, o.Result.Error.Message, o.Result.Error.Fix = true, "Nobody is authorized.", "Authorize."
			return o
		}), strings.NewReader("a\nb"), 1)
		err := r.exit(t.Context(), r.err)
		var exit *exitError
		if !errors.As(err, &exit) || exit.status != exitStopped || !strings.Contains(err.Error(), "Nobody is authorized.\nAuthorize.\nThe same command goes on") {
			t.Errorf("%v", err)
		}
		if r.out.Len() != 0 || tries != 1 || time.Since(begun) != 0 || !strings.Contains(r.summary(), "1 were begun and have no result") {
			t.Errorf("%q after %d tries and %s; %s", r.out.String(), tries, time.Since(begun), r.summary())
		}
	})
}

// An interruption does not wait for what is put off, but for what is in hand.
func TestRunIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := runLines(ctx, fake(func(job string) functions.Outcome {
			if job == "a" {
				return putOff(functions.Later, jobs.FaultQuota, 4*time.Minute)
			}
			time.Sleep(10 * time.Second)
			return succeeded()
		}), strings.NewReader("a\nb\nc"), 1)
		err := r.exit(ctx, r.err)
		var exit *exitError
		if !errors.As(err, &exit) || exit.status != exitInterrupted || !strings.Contains(err.Error(), "interrupted\nThe same command goes on where it stopped.") {
			t.Errorf("%v", err)
		}
		if time.Since(begun) != 10*time.Second || r.order() != "b" || !strings.Contains(r.summary(), "1 jobs: 1 succeeded; 1 were begun") {
			t.Errorf("after %v: %s; %s", time.Since(begun), r.order(), r.summary())
		}
	})
}

// What is broken off by an interruption is not given up, though it was the last try.
func TestRunIsInterruptedInTheLastTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		ctx, interrupt := context.WithCancel(t.Context())
		r := runLines(ctx, fake(func(string) functions.Outcome {
			if tries++; tries == maxTries {
				interrupt()
			}
			return putOff(functions.Again, jobs.FaultGoogle, 0)
		}), strings.NewReader("a"), 1)
		if r.out.Len() != 0 || tries != maxTries || !strings.Contains(r.summary(), "0 jobs; 1 were begun") {
			t.Errorf("after %d tries %s; %s", tries, r.out.String(), r.summary())
		}
	})
}

// counted counts the lines that are read of a file of equal ones.
type counted struct {
	io.Reader
	lines atomic.Int64
}

func newCounted(length, lines int) *counted {
	line := strings.Repeat("x", length-1) + "\n"
	c := &counted{}
	var parts []io.Reader
	for range lines {
		parts = append(parts, strings.NewReader(line))
	}
	c.Reader = io.MultiReader(parts...)
	return c
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.lines.Add(int64(bytes.Count(p[:n], []byte("\n"))))
	return n, err
}

// However many jobs are put off, no more are held in memory than fit: reading waits.
func TestRunHoldsNoMoreThanFits(t *testing.T) {
	for name, c := range map[string]struct{ length, of, most int }{
		"many":  {10, maxOpen + 20_000, maxOpen},
		"large": {1 << 20, 40, maxOpenBytes >> 20},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := newCounted(c.length, c.of)
				begun, done := time.Now(), make(chan *runOf)
				go func() {
					done <- runLines(t.Context(), fake(func(string) functions.Outcome {
						if time.Since(begun) < time.Minute {
							return putOff(functions.Later, jobs.FaultQuota, time.Minute-time.Since(begun))
						}
						return succeeded()
					}), in, 4)
				}()
				synctest.Wait()
				// Of what was read one is in the reader's hand, and its buffer may hold some.
				if read := int(in.lines.Load()); read < c.most || read > c.most+64<<10/c.length+2 {
					t.Errorf("%d were read; want %d", read, c.most)
				}
				if r := <-done; r.err != nil || r.progress.done() != c.of {
					t.Errorf("%v: %s", r.err, r.summary())
				}
			})
		})
	}
}

// What is given up while its call may have taken effect has not failed.
func TestRunGivesUpInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runLines(t.Context(), fake(func(string) functions.Outcome {
			o := putOff(functions.Later, jobs.FaultQuota, time.Hour)
			o.InDoubt = true
			return o
		}), strings.NewReader("a"), 1)
		if r.err != nil || !strings.Contains(r.out.String(), `"status":"uncertain"`) || !strings.Contains(r.summary(), "1 were given up for now") {
			t.Errorf("%v: %s; %s", r.err, r.out.String(), r.summary())
		}
	})
}

// What is tried again after a try that may have taken effect is not called failed where
// the later tries do not get as far as to look.
func TestRunGivesUpWhatWasInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		r := runLines(t.Context(), fake(func(string) functions.Outcome {
			tries++
			o := putOff(functions.Again, jobs.FaultGoogle, 0)
			o.InDoubt = tries == 1
			return o
		}), strings.NewReader("a"), 1)
		if r.err != nil || tries != maxTries || !strings.Contains(r.out.String(), `"status":"uncertain"`) {
			t.Errorf("%v after %d tries: %s", r.err, tries, r.out.String())
		}
	})
}

// A result that could not be kept is not written, whatever it is: the job has none, and
// one sees why.
func TestRunGivesUpWhatCannotBeKept(t *testing.T) {
	for name, c := range map[string]struct{ settled, of int }{
		"each time": {maxTries, maxTries}, "the first time, then it cannot be claimed": {1, maxTries}, "but at last": {maxTries - 1, maxTries - 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				r := runLines(t.Context(), fake(func(job string) functions.Outcome {
					if job == "b" {
						return succeeded()
					}
					if tries++; tries > c.of {
						return succeeded()
					}
					o := putOff(functions.Again, jobs.FaultGoogle, 0)
					if tries <= c.settled {
						o.Result.Status = jobs.Succeeded
					}
					return o
				}), strings.NewReader("a\nb"), 1)
				err := r.exit(t.Context(), r.err)
				if c.of < maxTries {
					if err != nil || r.order() != "b a" || r.summary() != "2 jobs: 2 succeeded" {
						t.Errorf("%v: %s; %s", err, r.order(), r.summary())
					}
					return
				}
				var exit *exitError
				if !errors.As(err, &exit) || exit.status != exitSomeFailed || err.Error() != "what came of job a could not be kept: It is too soon.\nWait.\nThe same command goes on where it stopped." {
					t.Errorf("%v", err)
				}
				if tries != maxTries || r.order() != "b" || r.summary() != "1 jobs: 1 succeeded; 1 were begun and have no result" {
					t.Errorf("after %d tries: %s; %s", tries, r.out.String(), r.summary())
				}
			})
		})
	}
}

// Calls in hand have five seconds after an interruption.
func TestCallsAreBrokenOffAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		breakOff, cancel := after(ctx, breakOffAfter)
		defer cancel()
		time.Sleep(time.Hour)
		interrupt()
		begun := time.Now()
		<-breakOff.Done()
		if took := time.Since(begun); took != breakOffAfter {
			t.Errorf("after %v", took)
		}
	})
}

// What had its result before this run is told from what got it meanwhile, and only the
// former is done again.
func TestRunRetriesWhatFailedBefore(t *testing.T) {
	begun := time.Now()
	r := &runner{begun: begun}
	var again []string
	for _, status := range []jobs.Status{jobs.Succeeded, jobs.Failed, jobs.Refused, jobs.Expired, jobs.Cancelled, jobs.Previewed, jobs.Uncertain} {
		if r.again(jobs.Result{Status: status, FinishedAt: begun.Add(-time.Second)}) {
			again = append(again, string(status))
		}
		if r.again(jobs.Result{Status: status, FinishedAt: begun.Add(time.Second)}) {
			t.Errorf("%s in this run: is done again", status)
		}
	}
	if want := []string{"failed", "refused", "expired"}; !slices.Equal(again, want) {
		t.Errorf("again are done %v; want %v", again, want)
	}
}

// Where there is no terminal a line is written every ten seconds, with the rate of
// late, and the time that is left by it.
func TestProgressWithoutATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w bytes.Buffer
		p := newProgress(&w, 1000)
		for range 400 { // what had its result before
			p.add(jobs.Succeeded)
		}
		time.Sleep(time.Second / 8) // so that nothing happens just when a line is written
		for range 45 * 4 {
			time.Sleep(time.Second / 4)
			p.add(jobs.Failed)
		}
		var o putOffs
		for i := range 9 {
			o.add(&task{waits: i > 6, due: time.Now().Add(time.Duration(i) * time.Minute)})
		}
		p.wait(o)
		time.Sleep(10 * time.Second)
		p.end()
		want := []string{
			"439 of 1000 jobs: 44/s, 13s left, 400 succeeded, 39 failed",
			"479 of 1000 jobs: 24/s, 22s left, 400 succeeded, 79 failed",
		}
		got := strings.Split(strings.TrimSpace(w.String()), "\n")
		if len(got) != 5 || !slices.Equal(got[:2], want) || !strings.HasPrefix(got[3], "559 of 1000 jobs: 4/s, 1m") || !strings.HasSuffix(got[4], ", 7 put off, 2 wait for the quota until about 2000-01-01T00:08:45Z") || !strings.Contains(got[4], " 7m55s left, ") {
			t.Errorf("%s", w.String())
		}
	})
}
