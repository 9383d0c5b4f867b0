package functions

import (
	"context"
	"fmt"
	"net/http"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

// ServeDeadLetter answers one delivery of a job that Pub/Sub gave up on.
func (x *Executor) ServeDeadLetter(w http.ResponseWriter, r *http.Request) {
	x.serve(w, r, x.GiveUp)
}

// GiveUp ends a job that Pub/Sub has delivered as often as it may: with the result
// that it has, or what can be found out of its call, or as failed. It makes no call
// but to look.
func (x *Executor) GiveUp(ctx context.Context, msg pubsubio.Message) Outcome {
	return x.deliver(ctx, msg, x.giveUp)
}

func (x *Executor) giveUp(ctx context.Context, a *attempt) (none actions.Answer, err error) {
	wrong := x.decode(ctx, a)
	kept := x.keeps(a)
	if !a.job.DryRun {
		if err := x.claim(ctx, a, ledger.Terms{Early: true}); err != nil {
			return none, err
		}
	}
	if wrong != nil {
		return none, wrong
	}
	if !a.doubt.IsZero() {
		if err := x.policy.Allow(ctx, a.job); err != nil {
			return none, err
		}
		if answer, done, err := x.look(ctx, a); done || err != nil {
			return answer, err
		}
	}
	// Pub/Sub gives a dead letter an id of its own, so what became of a job that was known
	// by its message's cannot be found; nor of one that the ledger does not keep.
	own := a.job.ID != a.msg.ID
	return none, &givenUpError{deliveries: a.msg.Delivery, why: a.whyPutOff(), unknown: a.call.Class != actions.Read && !(own && kept)}
}

// whyPutOff is what the last attempt was put off for; nil where it did not say.
func (a *attempt) whyPutOff() *jobs.Error {
	if a.claim == nil {
		return nil
	}
	return a.claim.Why
}

// givenUpError says that a job will not be tried again.
type givenUpError struct {
	deliveries int
	why        *jobs.Error
	unknown    bool // whether it was done
}

func (e *givenUpError) Error() string {
	times := "as often as its subscription allows"
	if e.deliveries > 0 {
		times = fmt.Sprintf("%d times", e.deliveries)
	}
	return "Pub/Sub has delivered the job " + times + ", and given it up."
}

// giveUp ends a job that is not tried again, with the reason for which it was put off
// to the last.
func (o *Outcome) giveUp(e *givenUpError) {
	result := jobs.Error{Stage: jobs.StageSettle, Fault: jobs.FaultOperator, Reason: "givenUp", Message: e.Error()}
	switch {
	case e.why != nil:
		result.Stage, result.Fault, result.Code = e.why.Stage, e.why.Fault, e.why.Code
		result.Message += " The last time: " + e.why.Message
		result.Fix = e.why.Fix
	default:
		result.Message += " No attempt has said why: the function could not be reached, or ended each time before it could say."
		result.Fix = "Look into the function's log."
	}
	if e.unknown {
		result.Message += " Whether an attempt took effect is not known, for the ledger does not keep such a job."
		o.fail(jobs.Uncertain, result)
		return
	}
	result.Fix += "\nThen publish it once more: onbehalf deadletter redrive"
	o.fail(jobs.Failed, result)
}
