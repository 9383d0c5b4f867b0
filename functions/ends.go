package functions

import (
	"errors"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

// An attempt that does not succeed ends in one of three ways, each an error of its
// own. Errors of other packages are sorted into these where they are judged.

// finalError ends the job.
type finalError struct {
	status jobs.Status
	why    jobs.Error
}

func (e *finalError) Error() string { return e.why.Message }

// laterError puts the job off until a time that is known here.
type laterError struct {
	until time.Time
	waits bool // for a budget of our own alone
	why   jobs.Error
}

func (e *laterError) Error() string { return e.why.Message }

// againError has the job tried again: what was in the way will pass.
type againError struct {
	why jobs.Error
	met time.Time // where that was before the attempt
}

func (e *againError) Error() string { return e.why.Message }

var (
	errPanic   = errors.New("panic")
	errSettled = errors.New("the job has its result already")
	errNoTime  = errors.New("the call is not begun with so little time left")
)

// outOfTime ends a job that has lost its point, or whose batch was cancelled.
func outOfTime(a *attempt) error {
	switch {
	case a.cancelled:
		return cancelled(a)
	case !a.job.Expired(a.startedAt):
		return nil
	}
	return &finalError{jobs.Expired, jobs.Error{
		Stage: jobs.StageDecode, Fault: jobs.FaultJob, Reason: "expired",
		Message: "notAfter: is " + a.job.NotAfter.Format(time.RFC3339) + ", which has passed",
		Fix:     "If it is still wanted, publish it under a new id with a later notAfter.",
	}}
}

// notClaimed says what becomes of a job that this attempt may not have.
func notClaimed(err error) error {
	var putOff *ledger.PutOffError
	switch {
	case errors.Is(err, ledger.ErrHeld):
		return err
	case !errors.As(err, &putOff):
		return &againError{why: notKept(err)}
	case putOff.Why == nil:
		return &laterError{until: putOff.NotBefore, why: jobs.Error{Reason: "putOff", Message: "The job is put off."}}
	}
	return &laterError{putOff.NotBefore, putOff.Waits, *putOff.Why}
}

// doubtOf is what the ledger says of earlier attempts at a job whose time has not come.
func doubtOf(err error) time.Time {
	var putOff *ledger.PutOffError
	if errors.As(err, &putOff) {
		return putOff.Doubt
	}
	return time.Time{}
}

// notKept says who must act where the ledger does not keep what it is told.
func notKept(err error) jobs.Error {
	e := jobs.Error{Stage: jobs.StageSettle, Fault: jobs.FaultGoogle, Reason: "notKept", Message: err.Error()}
	var known *ledger.Error
	if errors.As(err, &known) {
		e.Fault, e.Reason, e.Message, e.Fix = known.Fault, known.Reason, known.Message, known.Fix
	}
	return e
}
