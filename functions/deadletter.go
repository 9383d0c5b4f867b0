package functions

import (
	"context"
	"errors"
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
	// Of a batch that stands still nothing is ended. One that nobody knows keeps nobody from it.
	if err := x.gate(ctx, a); errors.Is(err, errParked) || errors.Is(err, errSettled) {
		return none, err
	}
	kept := x.keeps(a)
	if kept || !a.job.DryRun {
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
	// A memory of this instance alone does not know what others did.
	_, alone := x.ledger.(*ledger.Memory)
	return none, givenUp(a, kept && (!alone || a.claim.Attempt > 1))
}

// givenUp ends a job that is not tried again, with the reason for which it was put off
// to the last.
func givenUp(a *attempt, kept bool) error {
	if a.cancelled {
		return cancelled(a)
	}
	why := jobs.Error{Stage: jobs.StageSettle, Fault: jobs.FaultOperator, Reason: "givenUp", Message: "Pub/Sub has delivered the job as often as its subscription allows, and given it up."}
	if n := a.msg.Delivery; n > 0 {
		why.Message = fmt.Sprintf("Pub/Sub has delivered the job %d times, and given it up.", n)
	}
	if a.claim != nil && a.claim.Why != nil {
		last := a.claim.Why
		why.Stage, why.Fault, why.Code, why.Fix = last.Stage, last.Fault, last.Code, last.Fix
		why.Message += " The last time: " + last.Message
	} else {
		why.Message += " No attempt has said why: the function could not be reached, or ended each time before it could say."
		why.Fix = "Look into the function's log."
	}
	// Pub/Sub gives a dead letter an id of its own, so what became of a job that was known
	// by its message's cannot be found; nor of one that the ledger does not keep, or knows nothing of.
	known := kept && a.job.ID != a.msg.ID || a.job.DryRun || a.call.Class == actions.Read
	if !known {
		why.Message += " Whether an attempt took effect is not known, for the ledger does not keep such a job."
		why.Fix += "\nThen look whether the effect is there; if it is not, publish the job under a new id."
		return &finalError{jobs.Uncertain, why}
	}
	if a.place != nil {
		why.Fix += "\nThen have its batch do it again: onbehalf batch retry " + a.place.Batch
	} else {
		why.Fix += "\nThen publish it once more: onbehalf deadletter redrive"
	}
	return &finalError{jobs.Failed, why}
}
