package functions_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

// A result that could not be published goes out although the batch stands still: when it
// goes on, nobody publishes the job again.
func TestAResultThatIsNotOutWhenTheBatchIsPaused(t *testing.T) {
	f := newFleet(t, 0)
	f.start(letters)
	f.results.fail = 1
	first := f.jobs.take(1)
	if o := f.Execute(t.Context(), first[0]); o.Answer != functions.Again {
		t.Fatalf("%+v", o)
	}
	f.must(f.Batches().Pause(t.Context(), "letter"))
	f.jobs.put(first...)
	f.quiet(func() { f.deliver(-1) })
	if n := f.byStatus(jobs.Succeeded); n != 1 {
		t.Errorf("%d results are out", n)
	}
	f.must(f.Batches().Resume(t.Context(), "letter"))
	f.end(batch.Completed)
	f.wantOnce()
	if n := f.byStatus(jobs.Succeeded); n != len(f.users) {
		t.Errorf("%d results of %d jobs", n, len(f.users))
	}
}

// A topic of results that is missing stops a batch. Made, and the batch gone on with, it does
// not stop it once more, though for a while nobody tries whether it is there.
func TestATopicThatIsThereAgain(t *testing.T) {
	results := &noTopic{}
	f := newFleet(t, 0, func(_ *config.Config, o *functions.Options) { o.Results = results })
	f.start(letters)
	two := f.jobs.take(2)
	f.Execute(t.Context(), two[0])
	if o := f.Execute(t.Context(), two[1]); !o.Parked {
		t.Errorf("%+v", o)
	}
	f.wantState(batch.Stopped)
	results.there = true
	f.must(f.Batches().Resume(t.Context(), "letter"))
	if o := f.Execute(t.Context(), two[1]); o.Answer != functions.Again {
		t.Errorf("%+v", o)
	}
	f.wantState(batch.Running)
	f.jobs.put(two...)
	f.rig = f.join()
	f.end(batch.Completed)
	f.wantOnce()
}

// What Pub/Sub gives up while its batch stands still is given back to the batch, and what
// it gives up of one that was cancelled ends so.
func TestAJobThatIsGivenUpWhileItsBatchDoesNotRun(t *testing.T) {
	f := newFleet(t, 0)
	f.start(letters)
	dead := f.jobs.take(2)
	f.must(f.Batches().Pause(t.Context(), "letter"))
	if o := f.GiveUp(t.Context(), dead[0]); !o.Parked || o.Answer != functions.Done {
		t.Errorf("paused: %+v", o)
	}
	f.must(f.Batches().Cancel(t.Context(), "letter"))
	if o := f.GiveUp(t.Context(), dead[1]); o.Result.Status != jobs.Cancelled || o.Answer != functions.Done {
		t.Errorf("cancelled: %+v", o)
	}
	f.end(batch.Cancelled)
	f.wantCounts(jobs.Counts{Cancelled: len(f.users)})
	f.wantOnce(f.users...)
}

// What Pub/Sub gives up of a batch has its result for good and is counted, in a dry run as
// well; the batch does it again.
func TestAJobOfABatchThatIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct{ file, id string }{"": {letters, "letter"}, "in a dry run": {letters + "dryRun: true\n", "letter-dryrun"}} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, 0, func(_ *config.Config, o *functions.Options) { o.Ledger = struct{ ledger.Ledger }{o.Ledger} }) // that all instances share
			f.start(c.file)
			dead := f.jobs.take(1)[0]
			o := f.GiveUp(t.Context(), dead)
			if e := o.Result.Error; o.Result.Status != jobs.Failed || !strings.Contains(e.Fix, "onbehalf batch retry "+c.id) || strings.Contains(e.Fix, "redrive") {
				t.Fatalf("%+v %+v", o, e)
			}
			if o := f.Execute(t.Context(), dead); o.Result.Status != jobs.Failed || !o.Replayed {
				t.Errorf("once more: %+v", o)
			}
			f.deliver(-1)
			f.sweep()
			s, err := f.Batches().Status(t.Context(), c.id)
			if err != nil || !s.Ended() || s.Counts.Failed[jobs.FaultOperator] != 1 || s.Counts.Done() != len(f.users) {
				t.Errorf("%+v %v", s.Summary, err)
			}
		})
	}
}

// A policy that refuses whatever the batch does stops it, and no job is refused; one that
// refuses some users does not.
func TestAPolicyThatRefusesTheWholeBatch(t *testing.T) {
	f := newFleet(t, 0)
	f.start(letters)
	under := func(p *policy.Policy) *rig {
		return f.another(t, func(_ *config.Config, o *functions.Options) { o.Ledger, o.Policy, o.Results = f.book, p, f.results })
	}
	for name, p := range map[string]*policy.Policy{"none": nil, "of other actions": {Domains: []string{"example.com"}, Actions: []string{"calendar.*"}}} {
		job := f.jobs.take(1)[0]
		if o := under(p).Execute(t.Context(), job); !o.Parked {
			t.Errorf("%s: %+v", name, o)
		}
		if s := f.wantState(batch.Stopped); s.Error.Fault != jobs.FaultOperator || !strings.Contains(s.Error.Fix, "onbehalf batch resume letter") {
			t.Errorf("%s: %+v", name, s.Error)
		}
		f.must(f.Batches().Resume(t.Context(), "letter"))
	}
	denied := f.jobs.take(1)[0]
	if o := under(&policy.Policy{Domains: []string{"example.org"}, Actions: []string{"gmail.users.messages.*"}}).Execute(t.Context(), denied); o.Result.Status != jobs.Refused {
		t.Errorf("%+v", o)
	}
	f.end(batch.Completed)
	f.wantCounts(jobs.Counts{Succeeded: len(f.users) - 1, Refused: 1})
}

// endingLedger calls end at its n-th operation.
type endingLedger struct {
	ledger.Ledger
	left atomic.Int64
	end  func()
}

func (l *endingLedger) count() {
	if l.left.Add(-1) == 0 {
		l.end()
	}
}

func (l *endingLedger) Load(ctx context.Context, batchID, name string) (ledger.Part, error) {
	defer l.count()
	return l.Ledger.Load(ctx, batchID, name)
}

func (l *endingLedger) Save(ctx context.Context, p ledger.Part) (string, error) {
	defer l.count()
	return l.Ledger.Save(ctx, p)
}

// An instance that is told to end while it begins a batch, or works on one, refuses nothing
// and stops nothing: its message comes again, and the next one goes on at once.
func TestFanOutIsToldToEnd(t *testing.T) {
	for n, more := 1, true; more; n++ {
		f := newFleet(t, 0)
		ending, end := context.WithCancel(t.Context())
		l := &endingLedger{Ledger: f.book, end: end}
		l.left.Store(int64(n))
		old := f.another(t, func(cfg *config.Config, o *functions.Options) {
			cfg.Admin = "admin@example.com"
			o.Policy = &policy.Policy{Domains: []string{"example.com"}, Actions: []string{"gmail.users.messages.*"}}
			o.Ledger, o.Publish, o.Continue, o.Results, o.Ending = l, f.jobs.publish, f.jobs.goOn, f.results, ending
		})
		o := old.FanOut(t.Context(), pubsubio.Message{ID: "b", Data: []byte(letters), PublishTime: time.Date(2026, 11, 22, 7, 20, 49, 0, time.UTC)})
		if more = l.left.Load() <= 0; more && o.Answer == functions.Later || o.Answer == functions.Done && len(f.jobs.count) != len(f.users) {
			t.Fatalf("told at %d: %+v", n, o)
		}
		f.wantSummaries(0)
		f.start(letters)
		if s := f.wantState(batch.Running); s.Publishing || s.Published != len(f.users) {
			t.Fatalf("told at %d, it does not go on: %+v", n, s)
		}
		end()
	}
}

// A batch that was refused because the policy refuses all of its users is for them when it
// comes again under another policy: nothing is kept of who was passed over before.
func TestARefusedBatchComesAgainUnderAnotherPolicy(t *testing.T) {
	f := newFleet(t, 0)
	strict := f.another(t, func(cfg *config.Config, o *functions.Options) {
		cfg.Admin = "admin@example.com"
		o.Policy = &policy.Policy{Domains: []string{"example.com"}, Actions: []string{"calendar.*"}}
		o.Ledger, o.Publish, o.Continue, o.Results = f.book, f.jobs.publish, f.jobs.goOn, f.results
	})
	strict.FanOut(t.Context(), pubsubio.Message{ID: "a", Data: []byte(letters), PublishTime: time.Date(2026, 11, 22, 7, 20, 49, 0, time.UTC)})
	f.wantState(batch.Refused)
	f.start(letters)
	f.end(batch.Completed)
	f.wantOnce()
}
