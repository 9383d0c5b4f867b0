package functions

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// What may have been done already is looked for here, and nowhere is it guessed. A
// call is in doubt when it was begun and no clear answer came, and when who had
// claimed the job has gone without a word.

// look finds out whether an earlier attempt has made the call, where it may have. Done
// says that it has, and then answer is what it was answered. Where nobody
// can find out, the job ends so.
func (x *Executor) look(ctx context.Context, a *attempt) (answer actions.Answer, done bool, err error) {
	switch {
	case a.doubt.IsZero() || a.call.Class != actions.Once: // then the call may as well be made again
		return answer, false, nil
	case a.noted() && a.claim.Note == "": // without which nobody has begun it
		a.doubt = time.Time{}
		return answer, false, nil
	case a.call.NeedsID():
		if err := a.call.UseID(a.claim.Note); err != nil { // somebody has changed what the ledger keeps
			return answer, false, nobodyKnows(a)
		}
	}
	look := a.call.Look()
	if look == nil {
		return answer, false, nobodyKnows(a)
	}
	if until := a.doubt.Add(look.Wait); time.Now().Before(until) {
		return answer, false, inDoubt(until, jobs.Error{Reason: "inDoubt"})
	}
	answer, sight, err := x.see(ctx, a, look)
	switch {
	case err != nil:
		return answer, false, err
	case sight == actions.Unclear:
		return answer, false, nobodyKnows(a)
	case sight == actions.Another: // the call may be made; where it is refused, the doubt stays
		return answer, false, nil
	}
	a.doubt = time.Time{}
	return answer, sight == actions.Present, nil
}

// noted tells whether the ledger gets a note before the call is begun.
func (a *attempt) noted() bool {
	return a.call.NeedsID() || a.call.Class == actions.Once && !a.call.Traceable()
}

// begun is noted before a call that nobody can look up: without it an attempt that
// ended without a word has not begun the call.
const begun = "begun"

// see looks once, as whom the job names.
func (x *Executor) see(ctx context.Context, a *attempt, look *actions.Look) (none actions.Answer, sight actions.Sight, err error) {
	a.looking = true
	defer func() { a.looking = err != nil }()
	if err := x.become(ctx, a, look.Scopes); err != nil {
		return none, sight, err
	}
	done, err := x.turn(ctx, a, look.Units, false)
	if err != nil {
		return none, sight, err
	}
	defer done()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return look.Do(ctx, a.token.Authorize)
}

// note keeps what a later attempt must know before this one begins the call: the id
// that Google has given to what the call makes, by which it is found; or, where
// nobody could find it, that it was begun.
func (x *Executor) note(ctx context.Context, a *attempt) (err error) {
	if !a.noted() {
		return nil
	}
	needsID, id := a.call.NeedsID(), a.claim.Note
	if id == "" {
		if id = begun; needsID {
			if id, err = a.call.NewID(ctx, a.token.Authorize); err != nil {
				return err
			}
		}
		claim, err := x.ledger.Note(ctx, *a.claim, id)
		if err != nil {
			return notClaimed(err)
		}
		a.claim = &claim
	}
	if !needsID {
		return nil
	}
	if err := a.call.UseID(id); err != nil {
		return &finalError{jobs.Failed, jobs.Error{Stage: jobs.StageSettle, Fault: jobs.FaultOperator, Reason: "badNote", Message: "What an earlier attempt has kept in the ledger was changed: " + err.Error() + ".", Fix: "Look who can write to the ledger; then publish the job under a new id."}}
	}
	return nil
}

// once reads the call's answer with what is known of earlier attempts: a refusal may
// say that one of them has done it. Here, too, a doubt begins.
func (x *Executor) once(ctx context.Context, a *attempt, answer actions.Answer, err error) (actions.Answer, error) {
	var refused *actions.Error
	switch {
	case err == nil:
		a.doubt = time.Time{}
		return answer, nil
	case !errors.As(err, &refused):
		return answer, err
	case refused.Doubtful:
		a.doubt = time.Now()
		return answer, err
	case !a.call.DoneBefore(refused, !a.doubt.IsZero()):
		return answer, err
	}
	a.doubt = time.Time{}
	if look := a.call.Look(); look != nil { // for the answer
		if made, sight, err := x.see(ctx, a, look); err == nil && sight == actions.Present {
			answer = made
		}
	}
	return answer, nil
}

// nobodyKnows ends a job whose call may have been made.
func nobodyKnows(a *attempt) error {
	return &finalError{jobs.Uncertain, uncertain(a, jobs.Error{Reason: "inDoubt"}, "")}
}

// inDoubt puts a job off until it can be looked up whether its call took effect.
func inDoubt(until time.Time, e jobs.Error) *laterError {
	e.Stage, e.Fault = jobs.StageCall, jobs.FaultGoogle
	e.Message = "The call was begun, but no clear answer came: whether it took effect is looked up."
	return &laterError{until: until, why: e}
}

// doubtful says how a call ended that may or may not have taken effect: it is looked
// up, or else nobody can say, and to make it again could do it twice.
func (o *Outcome) doubtful(a *attempt, e jobs.Error) {
	look := a.call.Look()
	switch {
	case a.call.Class != actions.Once:
		e.Stage, e.Fault, e.Message = jobs.StageCall, jobs.FaultGoogle, "The call was begun, but no clear answer came. It is made again, for twice is as once."
		o.put(Again, e)
	case look == nil:
		o.fail(jobs.Uncertain, uncertain(a, e, ""))
	default:
		if a.doubt.IsZero() { // a panic
			a.doubt = time.Now()
		}
		later := inDoubt(a.doubt.Add(look.Wait), e)
		o.put(Again, later.why)
		o.NotBefore = later.until
	}
}

// uncertain says that nobody can say whether the call took effect: to make it again
// could do it twice. Because is what kept it from being looked up.
func uncertain(a *attempt, e jobs.Error, because string) jobs.Error {
	e.Stage, e.Fault = jobs.StageCall, cmp.Or(e.Fault, jobs.FaultGoogle)
	e.Message = "An earlier attempt ended without a clear answer to the call, or without a word: it may or may not have taken effect."
	if a.called {
		e.Message = "The call was begun, but no clear answer came: it may or may not have taken effect."
	}
	if because != "" {
		e.Message += " It could not be looked up: " + because
	}
	e.Fix = "Look whether the effect is there; if it is not, publish the job under a new id."
	return e
}

// stillInDoubt makes a failure uncertain where it came before anybody knew whether an
// earlier attempt's call took effect.
func (o *Outcome) stillInDoubt(a *attempt) {
	why := o.Result.Error
	if o.Answer != Done || why == nil || a.doubt.IsZero() || o.Result.Status == jobs.Uncertain || a.call != nil && a.call.Class == actions.Read {
		return
	}
	e := jobs.Error{Code: why.Code, Reason: why.Reason}
	lasts := why.Fault == jobs.FaultAdmin || why.Fault == jobs.FaultOperator
	if lasts {
		e.Fault = why.Fault
	}
	if a.looking { // others need not be looked up
		o.Stops = false
	}
	e = uncertain(a, e, why.Message)
	if lasts && why.Fix != "" {
		e.Fix += " So that the next such job can be looked up: " + strings.TrimSuffix(why.Fix, underANewID)
	}
	o.fail(jobs.Uncertain, e)
}
