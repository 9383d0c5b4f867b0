package functions_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// A batch that is paused does nothing any more, here at once and elsewhere within
// seconds; and when it goes on, everybody is served once, however late a message comes.
func TestPauseAndResume(t *testing.T) {
	f := newFleet(t, many)
	f.jobs.copies = 3
	elsewhere := f.join()
	f.start(letters)
	f.deliver(700)
	late := f.jobs.take(500)
	f.must(f.Batches().Pause(t.Context(), "letter"))
	paused := time.Now()
	for parked := false; !parked; {
		begun, next := time.Now(), f.jobs.take(1)
		parked = elsewhere.Execute(t.Context(), next[0]).Parked
		if f.jobs.put(next...); !parked && begun.Sub(paused) > 3*time.Second {
			t.Fatal("an instance goes on for more than 3 s")
		}
	}
	f.quiet(func() { f.deliver(-1) })
	f.sweep()
	f.goOn()
	s := f.wantState(batch.Paused)
	if done := len(f.written()); s.Published != len(f.users) || s.Remaining != len(f.users)-done || done < 200 {
		t.Errorf("%d are done; %+v", done, s.Summary)
	}
	f.wantSummaries(0)

	published := len(f.jobs.at)
	f.must(f.Batches().Resume(t.Context(), "letter"))
	f.goOn()
	if n := len(f.jobs.at) - published; n != s.Remaining {
		t.Errorf("%d jobs are published again, and %d have no result", n, s.Remaining)
	}
	f.jobs.put(late[:250]...)
	f.end(batch.Completed)
	f.jobs.put(late[250:]...)
	f.quiet(func() { f.deliver(-1) })
	f.sweep()
	f.wantState(batch.Completed)
	f.wantOnce()
	f.wantCounts(jobs.Counts{Succeeded: len(f.users)})
	f.wantSummaries(1)
}

// What was not done when a batch is cancelled ends so, whether it ran or was paused, and
// also where nobody knows how much of it was published.
func TestCancel(t *testing.T) {
	for name, c := range map[string]struct {
		users  int
		paused bool
		breaks func(int) (bool, error)
	}{
		"while it runs":                {many, false, nil},
		"while it is paused":           {many, true, nil},
		"where more is out":            {some, false, brokenFrom(2, true)},
		"where less is out":            {some, false, brokenFrom(2, false)},
		"where that is so, and paused": {some, true, brokenFrom(2, true)},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, c.users)
			f.jobs.copies, f.jobs.breaks = 3, c.breaks
			if o := f.fanOut(letters); (o.Answer == functions.Done) != (c.breaks == nil) {
				t.Fatalf("%+v", o)
			}
			f.jobs.breaks = nil
			f.deliver(600)
			late := f.jobs.take(100)
			if c.paused {
				f.must(f.Batches().Pause(t.Context(), "letter"))
				f.quiet(func() { f.deliver(-1) })
			} else { // what is on its way is not published again
				f.jobs.put(late...)
			}
			done := len(f.written())
			f.must(f.Batches().Cancel(t.Context(), "letter"))
			var s batch.Status
			f.quiet(func() { s = f.end(batch.Cancelled) })
			f.jobs.put(late...)
			f.quiet(func() { f.deliver(-1) })
			f.wantCounts(jobs.Counts{Succeeded: done, Cancelled: s.Published - done})
			if f.byStatus(jobs.Cancelled) != s.Published-done || done == 0 || s.Published <= done {
				t.Errorf("%d done, %d cancelled results; %+v", done, f.byStatus(jobs.Cancelled), s.Summary)
			}
			if c.breaks == nil && s.Published != len(f.users) {
				t.Errorf("%+v", s.Summary)
			}
			f.wantAtMostOnce()
			f.wantSummaries(1)
			if err := f.Batches().Resume(t.Context(), "letter"); err == nil || !strings.Contains(err.Error(), "is cancelled") {
				t.Errorf("resumed: %v", err)
			}
		})
	}
}

// brokenFrom has the n-th publish and all that follow fail; out: though the messages are out.
func brokenFrom(n int, out bool) func(int) (bool, error) {
	return func(int) (bool, error) {
		if n--; n > 0 {
			return true, nil
		}
		return out, errors.New("the topic is away")
	}
}

// Too many failures stop a batch, whoever they are; who has it go on accepts them, and
// retry does them again, each user under another id.
func TestStopAfterFailures(t *testing.T) {
	f := newFleet(t, many)
	bad := f.users[100:170]
	f.gmail(false, bad...)
	f.start(letters + "stopAfter: {failures: 50}\n")
	f.deliver(-1)
	s := f.wantState(batch.Stopped)
	if n := s.Counts.Bad(); n < 50 || n >= 50+atOnce {
		t.Errorf("%d have failed", n)
	}
	if e := s.Error; e == nil || e.Reason != "stopAfter" || e.Fault != jobs.FaultUser || !strings.Contains(e.Message, "the batch allows fewer than 50") || !strings.Contains(e.Fix, "onbehalf batch retry letter") || !strings.Contains(e.Fix, "onbehalf batch resume letter") {
		t.Errorf("%+v", e)
	}
	f.sweep()
	f.goOn()
	f.quiet(func() { f.deliver(-1) })
	f.wantSummaries(0)

	f.must(f.Batches().Resume(t.Context(), "letter"))
	f.end(batch.Completed)
	f.wantFailures(bad)
	f.wantOnce(bad...)
	f.wantCounts(jobs.Counts{Succeeded: len(f.users) - len(bad), Failed: map[jobs.Fault]int{jobs.FaultUser: len(bad)}})
	f.wantSummaries(1)

	// They fail again, and are stopped by that; half of them mended, by the others not.
	f.must(f.Batches().Retry(t.Context(), "letter", false))
	f.goOn()
	f.deliver(-1)
	f.wantState(batch.Stopped)
	f.gmail(true, bad[:35]...)
	f.must(f.Batches().Retry(t.Context(), "letter", false))
	f.end(batch.Completed)
	f.wantFailures(bad[35:])
	f.wantOnce(bad[35:]...)
	f.wantCounts(jobs.Counts{Succeeded: len(f.users) - 35, Failed: map[jobs.Fault]int{jobs.FaultUser: 35}})
	f.wantSummaries(2)
	f.gmail(true, bad...)
	f.must(f.Batches().Retry(t.Context(), "letter", false))
	f.end(batch.Completed)
	f.wantOnce()
	f.wantCounts(jobs.Counts{Succeeded: len(f.users)})
	f.wantFailures(nil)
	f.wantSummaries(3)
	if last := "letter/" + bad[69] + "~5"; f.jobs.count[last] != 1 {
		t.Errorf("%s was published %d times", last, f.jobs.count[last])
	}
}

// wantFailures wants that the batch's failures are those of these users, each once.
func (f *fleet) wantFailures(users []string) {
	f.t.Helper()
	var found []string
	for after, more := "", true; more; more = after != "" {
		results, next, err := f.Batches().Failures(f.t.Context(), "letter", after, 30)
		f.must(err)
		for _, r := range results {
			found = append(found, r.User)
		}
		after = next
	}
	slices.Sort(found)
	if !slices.Equal(found, users) {
		f.t.Errorf("the failures are those of %v, want %v", found, users)
	}
}

func TestStopAfterPercent(t *testing.T) {
	f := newFleet(t, many)
	var bad []string
	for i := 3; i < len(f.users); i += 10 {
		bad = append(bad, f.users[i])
	}
	f.gmail(false, bad...)
	f.start(letters + "stopAfter: {percent: 5}\n")
	f.deliver(-1)
	s := f.wantState(batch.Stopped)
	if done := s.Counts.Done(); done < 100 || done > 500 || s.Counts.Bad()*20 <= done {
		t.Errorf("%+v", s.Counts)
	}
	if e := s.Error; e.Reason != "stopAfter" || !strings.Contains(e.Message, "the batch allows 5 %") {
		t.Errorf("%+v", e)
	}
	f.gmail(true, bad...)
	f.must(f.Batches().Retry(t.Context(), "letter", false))
	f.end(batch.Completed)
	f.wantOnce()
	f.wantCounts(jobs.Counts{Succeeded: len(f.users)})
	f.wantSummaries(1)
}

// alongside has a batch begun, or gone on with, while its jobs are done.
func (f *fleet) alongside(do func()) {
	f.t.Helper()
	var worker sync.WaitGroup
	defer worker.Wait()
	ended := make(chan struct{})
	defer close(ended)
	worker.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-f.jobs.news:
				f.deliver(-1)
			}
		}
	})
	do()
}

// The first few go first. If one of them fails, nothing else is done.
func TestCanary(t *testing.T) {
	f := newFleet(t, many)
	f.gmail(false, "ada@example.com")
	f.alongside(func() { f.start(letters + "canary: 10\n") })
	f.deliver(-1)
	s := f.wantState(batch.Stopped)
	if n := len(f.written()); n > 9 || s.Published != 10 || s.Error.Reason != "canary" || !strings.Contains(s.Error.Message, "1 of the first 10") {
		t.Errorf("%d letters, %+v %+v", n, s.Summary, s.Error)
	}
	f.gmail(true, "ada@example.com")
	f.must(f.Batches().Retry(t.Context(), "letter", false))
	f.sweep() // which must not take the failure that is to be mended for one, nor for a success
	f.alongside(f.goOn)
	f.end(batch.Completed)
	f.wantOnce()
	f.wantCounts(jobs.Counts{Succeeded: len(f.users)})
	f.wantSummaries(1)
}

// Who goes on without the canary that has failed gets the others done.
func TestACanaryIsAccepted(t *testing.T) {
	f := newFleet(t, 0)
	f.gmail(false, "ada@example.com")
	f.alongside(func() { f.start(letters + "canary: 2\n") })
	f.deliver(-1)
	f.wantState(batch.Stopped)
	f.must(f.Batches().Resume(t.Context(), "letter"))
	f.alongside(f.goOn)
	f.end(batch.Completed)
	f.wantOnce("ada@example.com")
	f.wantCounts(jobs.Counts{Succeeded: len(f.users) - 1, Failed: map[jobs.Fault]int{jobs.FaultUser: 1}})
	f.wantSummaries(1)
}

func TestCanaryLargerThanTheBatch(t *testing.T) {
	f := newFleet(t, 0)
	f.start(letters + "canary: 50\n")
	f.end(batch.Completed)
	f.wantOnce()
	f.wantSummaries(1)
}

func TestRate(t *testing.T) {
	const rate = 800
	f := newFleet(t, many)
	f.alongside(func() { f.start(letters + fmt.Sprintf("rate: %d\n", rate)) })
	f.end(batch.Completed)
	f.wantOnce()
	f.wantCounts(jobs.Counts{Succeeded: len(f.users)})
	f.wantSummaries(1)
	for i, at := range f.jobs.at {
		if seconds := at.Sub(f.jobs.at[0]).Seconds(); float64(i) > rate*(seconds+1) {
			t.Fatalf("%d jobs are published after %v s", i+1, seconds)
		}
	}
}

// What has lost its point is not done, and of whom no job was published none is.
func TestNotAfter(t *testing.T) {
	f := newFleet(t, many)
	f.jobs.breaks = brokenFrom(2, false)
	until := time.Now().Add(8 * time.Second)
	if o := f.fanOut(letters + "notAfter: " + until.UTC().Format(time.RFC3339Nano) + "\n"); o.Answer != functions.Again {
		t.Fatalf("%+v", o)
	}
	f.jobs.breaks = nil
	f.must(f.google.Order(sandbox.Fault{Kind: "late", Call: "gmail.users.messages.insert", Times: 1, Delay: time.Until(until) + time.Millisecond}))
	f.deliver(300) // of which one is not answered before the time is up
	s := f.end(batch.Expired)
	f.wantAtMostOnce()
	done := len(f.written())
	f.wantCounts(jobs.Counts{Succeeded: done, Expired: s.Published - done})
	if done < 100 || s.Published < 1000 || s.Published > 1500 || f.byStatus(jobs.Expired) != s.Published-done {
		t.Errorf("%d done; %+v", done, s.Summary)
	}
	f.wantSummaries(1)
}

// A right that is taken away while a batch runs stops it after a handful of calls. It
// says what to do, and no job has failed: given back, everybody is served once.
func TestAnAdministratorsFault(t *testing.T) {
	f := newFleet(t, many)
	f.start(letters)
	f.deliver(1000)
	f.delegated(`["https://www.googleapis.com/auth/admin.directory.user.readonly"]`)
	done, before := len(f.written()), f.google.Calls()
	f.deliver(-1)
	after := f.google.Calls()
	if n := after["token"] - before["token"]; n < 1 || n > 2*atOnce || after["gmail.users.messages.insert"] != before["gmail.users.messages.insert"] {
		t.Errorf("%d exchanges and %d calls after the right was taken away", n, after["gmail.users.messages.insert"]-before["gmail.users.messages.insert"])
	}
	s := f.wantState(batch.Stopped)
	if e := s.Error; s.Counts.Bad() != 0 || s.Counts.Done() != done || e == nil || e.Fault != jobs.FaultAdmin || !strings.Contains(e.Fix, "domainwidedelegation") || !strings.Contains(e.Fix, "onbehalf batch resume letter") || strings.Contains(e.Fix, "under a new id") {
		t.Errorf("%+v %+v", s.Summary, e)
	}
	f.sweep()
	f.goOn()
	f.quiet(func() { f.deliver(-1) })
	if i := slices.IndexFunc(f.results.all(), func(r jobs.Result) bool { return r.Status != jobs.Succeeded }); i >= 0 {
		t.Errorf("%+v", f.results.all()[i])
	}
	f.delegated(`["https://www.googleapis.com/auth/admin.directory.user.readonly", "https://www.googleapis.com/auth/gmail.insert"]`)
	f.must(f.Batches().Resume(t.Context(), "letter"))
	f.goOn()
	f.quiet(func() { f.deliver(100) }) // by an instance that remembers what Google has said before
	f.wantState(batch.Running)
	f.rig = f.join()
	f.others = nil
	f.end(batch.Completed)
	f.wantOnce()
	f.wantCounts(jobs.Counts{Succeeded: len(f.users)})
	f.wantSummaries(1)
}
