package functions_test

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// A job that is put off for hours is cancelled at once, and nobody is asked about it.
func TestCancelOfWhatIsPutOff(t *testing.T) {
	f := newFleet(t, 0)
	f.must(f.google.Order(sandbox.Fault{Kind: "429", Call: "gmail.users.messages.insert", Times: 2, RetryAfter: "7200"}))
	f.start(letters)
	f.deliver(-1)
	f.sweep()
	if s := f.wantState(batch.Running); s.Counts.PutOff != 2 || s.Remaining != 2 {
		t.Errorf("%+v", s.Summary)
	}
	f.must(f.Batches().Cancel(t.Context(), "letter"))
	f.quiet(func() { f.end(batch.Cancelled) })
	f.wantCounts(jobs.Counts{Succeeded: len(f.users) - 2, Cancelled: 2})
	f.wantSummaries(1)
}

// A job that somebody has died over is looked up before it counts as cancelled: it may be
// done.
func TestCancelOfWhatIsInDoubt(t *testing.T) {
	b := newBook()
	b.lapse = true
	f := newFleet(t, 0, func(_ *config.Config, o *functions.Options) { o.Ledger = b })
	f.start(letters)
	b.fail("settle", errors.New("the ledger is away"))
	one := f.jobs.take(1)
	if o := f.Execute(t.Context(), one[0]); o.Answer != functions.Again || len(f.written()) != 1 {
		t.Fatalf("%+v", o)
	}
	f.jobs.put(one...)
	f.must(f.Batches().Cancel(t.Context(), "letter"))
	f.end(batch.Cancelled)
	f.wantAtMostOnce()
	f.wantCounts(jobs.Counts{Succeeded: 1, Cancelled: len(f.users) - 1})
	f.wantSummaries(1)
}

// A topic that is missing, or on which nothing may be published, stops the batch.
func TestATopicThatIsMissing(t *testing.T) {
	for _, code := range []codes.Code{codes.NotFound, codes.PermissionDenied} {
		t.Run(code.String(), func(t *testing.T) {
			f := newFleet(t, 0)
			f.jobs.breaks = func(int) (bool, error) { return false, status.Error(code, "no such topic") }
			f.start(letters)
			s := f.wantState(batch.Stopped)
			if e := s.Error; e.Fault != jobs.FaultOperator || strings.Count(e.Message, "no such topic") != 1 || !strings.Contains(e.Fix, "roles/pubsub.publisher") || !strings.Contains(e.Fix, "onbehalf batch resume letter") {
				t.Errorf("%+v", e)
			}
			f.sweep()
			f.goOn()
			f.wantState(batch.Stopped)
			f.jobs.breaks = nil
			f.must(f.Batches().Resume(t.Context(), "letter"))
			f.end(batch.Completed)
			f.wantOnce()
			f.wantSummaries(1)
		})
	}
}

// A job of a batch that the ledger does not know is kept until it does: it is another's.
func TestAJobOfABatchThatIsNotKnown(t *testing.T) {
	f := newFleet(t, 0)
	f.start(letters)
	message := f.jobs.take(1)[0]
	elsewhere := newFleet(t, 0)
	o := elsewhere.Execute(t.Context(), message)
	if e := o.Result.Error; o.Answer != functions.Again || e.Fault != jobs.FaultOperator || !strings.Contains(e.Fix, "ONBEHALF_LEDGER") {
		t.Errorf("%+v %+v", o, e)
	}
	if n := len(elsewhere.google.Calls()); n != 0 {
		t.Errorf("%v", elsewhere.google.Calls())
	}
}
