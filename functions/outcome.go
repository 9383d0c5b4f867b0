package functions

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/directory"
	"github.com/onbehalf-dev/onbehalf/internal/explain"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/telemetry"
)

// Answer is what is said to who delivered a job.
type Answer int

// What can be said.
const (
	Done  Answer = iota // the final result is out: never again
	Later               // put off; it does not help to hurry
	Again               // a passing fault: try again
)

// status is the answer in HTTP: Pub/Sub acks a 2xx and delivers again, with
// back-off, what is answered with anything else.
func (a Answer) status() int {
	switch a {
	case Done:
		return http.StatusOK
	case Later:
		return http.StatusTooManyRequests
	case Again:
	}
	return http.StatusServiceUnavailable
}

// Outcome is what came of one delivery of a job.
type Outcome struct {
	Answer Answer
	// Result is the job's final result where Answer is [Done]. Otherwise the
	// job has none yet, and Result.Error says why.
	Result jobs.Result
	// Replayed says that the result is that of an earlier delivery, and Held that
	// another delivery is at the job now.
	Replayed, Held bool
	// Parked says that the job's batch stands still and has taken the job back: it has no
	// result, Answer is [Done], and when the batch goes on it is published again.
	Parked bool
	// NotBefore is the time until which to try again is in vain: Google named it, or
	// nobody is asked before; zero where it is not known, or Answer is [Done].
	NotBefore time.Time
	// Waits says that its turn comes by itself, about at NotBefore: the quota that we
	// keep to ourselves has no room before, and Google has refused nothing. However
	// often or long that is, it is no reason to give the job up.
	Waits bool
	// InDoubt says that the call may have taken effect, which a later attempt finds
	// out; never where Answer is [Done].
	InDoubt bool
	// Stops says that an operator or administrator must act before any job like
	// this one can succeed, for whichever user of the domain.
	Stops bool

	// settled says that this attempt has given the job its result: of all that are made
	// at a job, one is. What the ledger does not keep is settled each time that it is done.
	settled   bool
	met       time.Time     // when it was met, where that was before the attempt
	limit     explain.Limit // of Google's, which holds until NotBefore
	kept      *jobs.Error   // the result's own, where Result.Error says why it is not out
	dropToken bool          // the user's
	renewOwn  bool          // the runtime's own token
}

// mostPutOff is how far ahead a job is put off: a time that is read from a text may be
// mistaken, and Google's daily limits end by then.
const mostPutOff = 24 * time.Hour

// judge is the one switch from what came of an attempt to its outcome.
//
//nolint:gocyclo // one flat switch, a case for each way to end
func (x *Executor) judge(ctx context.Context, a *attempt) Outcome {
	switch {
	case errors.Is(a.err, errParked):
		return Outcome{Answer: Done, Result: jobs.NewResult(a.job), Parked: true}
	case errors.Is(a.err, errSettled):
		return Outcome{Answer: Done, Result: *a.claim.Result, Replayed: true}
	}
	o := a.outcome()

	var (
		final   *finalError
		later   *laterError
		again   *againError
		wrong   *jobs.FieldError
		refusal *policy.Refusal
		unknown *policy.UnknownError
		mint    *delegation.Error
		call    *actions.Error
	)
	switch {
	case a.err == nil && a.job.DryRun:
		o.Result.Status = jobs.Previewed
	case a.err == nil:
		o.Result.Status, o.Result.Response, o.Result.ResponseCut = jobs.Succeeded, a.answer.Response, a.answer.Cut
	case errors.As(a.err, &final):
		o.fail(final.status, final.why)
	case errors.As(a.err, &later):
		o.put(Later, later.why)
		o.NotBefore, o.Waits = later.until, later.waits
	case errors.As(a.err, &again):
		o.put(Again, again.why)
		o.Stops, o.met = again.why.Fault == jobs.FaultOperator, again.met
	case errors.Is(a.err, ledger.ErrHeld):
		o.put(Later, jobs.Error{Reason: "held", Message: "Another delivery is at this job now."})
		o.Held = true
	case errors.As(a.err, &wrong):
		o.fail(jobs.Failed, jobs.Error{Stage: jobs.StageDecode, Fault: jobs.FaultJob, Reason: "badJob", Message: wrong.Error(), Fix: "Correct the job and publish it under a new id."})
	case errors.As(a.err, &refusal):
		o.fail(jobs.Refused, jobs.Error{Stage: jobs.StagePolicy, Fault: jobs.FaultOperator, Reason: refusal.Reason, Message: refusal.Message, Fix: refusal.Fix})
		o.Stops = a.place != nil && a.doubt.IsZero() && refusal.OfAll() // jobs by themselves may ask for other calls
	case errors.As(a.err, &unknown):
		x.blameLookUp(ctx, &o, a, unknown)
	case errors.As(a.err, &mint):
		x.blameMint(ctx, &o, a, mint)
	case errors.As(a.err, &call) && call.Doubtful && a.call.Class == actions.Once:
		o.doubtful(a, jobs.Error{Code: call.Status, Reason: call.Reason})
	case errors.As(a.err, &call):
		x.blame(ctx, &o, a, callAnswer(call, a.job.As == jobs.AsServiceAccount, time.Since(a.msg.PublishTime)))
		// A token that an API refuses is of no use to the next job either.
		refused := call.Status == http.StatusUnauthorized
		o.renewOwn, o.dropToken = refused && call.Object != "", refused && call.Object == ""
	case a.called: // a panic, or an answer that we could not write down
		o.doubtful(a, jobs.Error{Reason: "unclear"})
	default:
		// The caller gave up, or we panicked: nothing was done.
		o.put(Again, jobs.Error{Reason: "interrupted", Message: a.err.Error()})
	}
	o.stillInDoubt(a)
	if most := time.Now().Add(mostPutOff); o.NotBefore.After(most) {
		o.NotBefore = most
	}
	return o
}

// outcome is that of an attempt, before it is known what came of it.
func (a *attempt) outcome() Outcome {
	o := Outcome{Result: jobs.NewResult(a.job)}
	o.Result.Attempts = max(1, a.msg.Delivery)
	if a.claim != nil {
		o.Result.Attempts = a.claim.Attempt
	}
	o.Result.StartedAt, o.Result.FinishedAt = a.startedAt.UTC(), time.Now().UTC()
	return o
}

// metAt is when what stops a batch was met: it may be mended since.
func (o *Outcome) metAt(a *attempt) time.Time {
	if o.met.IsZero() {
		return a.startedAt
	}
	return o.met
}

// fail ends the job without success.
func (o *Outcome) fail(status jobs.Status, e jobs.Error) {
	o.Answer, o.Result.Status, o.Result.Error = Done, status, &e
}

// put puts the job off.
func (o *Outcome) put(answer Answer, e jobs.Error) {
	o.Answer, o.Result.Status, o.Result.Error = answer, "", &e
}

// unsettled has the event come again because the result is not out. What the
// result is stays, for the audit.
func (o *Outcome) unsettled(e jobs.Error) {
	o.Answer, o.Result.Error, o.kept = Again, &e, o.Result.Error
	o.Stops = e.Fault == jobs.FaultOperator
}

// underANewID ends what mends a job that has failed.
const underANewID = "\nThen publish the job under a new id."

// blame says who must act on an answer of Google's, and whether to try again.
func (x *Executor) blame(ctx context.Context, o *Outcome, at *attempt, a answer) {
	m := explain.Of(a.Answer)
	m = m.For(x.names(ctx, at, m))
	e := jobs.Error{Stage: a.Stage, Fault: m.Fault, Code: a.Status, Reason: a.Code, Message: m.Message, Fix: m.Fix}
	o.Stops = m.Lasts() && !m.OneUser && !a.unfinished && a.Object == "" // which only some jobs have
	if reply := a.reply(m); reply != Done {
		o.put(reply, e)
		if o.NotBefore = m.NotBefore; a.retryAfter > 0 {
			o.NotBefore = time.Now().Add(a.retryAfter)
		}
		if at.call != nil && reply == Later && a.Stage == jobs.StageCall && a.Object == "" {
			o.limit = m.Limit
		}
		return
	}
	// Only Google says which value of the job, what about the account, or which
	// right it is.
	if a.words != "" && (m.Fault == jobs.FaultJob || m.Fault == jobs.FaultUser || a.Self) {
		e.Message += " Google says: " + a.words
	}
	e.Fix += underANewID // below, for a command may stand at the end
	o.fail(jobs.Failed, e)
}

// blameMint says who must act where there is no token.
func (x *Executor) blameMint(ctx context.Context, o *Outcome, at *attempt, e *delegation.Error) {
	x.blame(ctx, o, at, mintAnswer(e, at.job.As == jobs.AsServiceAccount))
	o.met = e.Since
	switch {
	case e.Shared == delegation.Perhaps:
		o.NotBefore, o.Stops = e.Until, e.Repeated
	case o.Answer != Done && e.RetryAfter > 0:
		o.NotBefore = time.Now().Add(e.RetryAfter)
	}
}

// blameLookUp says who must act where it could not be found out whether the
// user is an administrator. What went wrong did so for the administrator as whom
// the Directory is read, whom the operator has chosen: it is no fault of the job's
// nor of its user.
func (x *Executor) blameLookUp(ctx context.Context, o *Outcome, at *attempt, e *policy.UnknownError) {
	look := &attempt{msg: at.msg, job: jobs.Job{User: x.admin}, scopes: []string{directory.Scope}, service: directory.Service}
	var mint *delegation.Error
	var read *directory.Error
	switch {
	case directory.NotFound(e): // of this user alone
		message, fix := e.NotInDirectory(x.admin)
		o.fail(jobs.Failed, jobs.Error{Stage: jobs.StagePolicy, Fault: jobs.FaultUser, Code: http.StatusNotFound, Reason: "notFound", Message: message, Fix: fix + underANewID})
		return
	case errors.As(e, &mint):
		x.blameMint(ctx, o, look, mint)
	case errors.As(e, &read):
		x.blame(ctx, o, look, lookUpAnswer(read, time.Since(at.msg.PublishTime)))
	default: // the caller gave up
		o.put(Again, jobs.Error{Reason: "interrupted", Message: e.Error()})
		return
	}
	problem := o.Result.Error
	problem.Stage = jobs.StagePolicy
	if ofUser := read != nil && problem.Fault == jobs.FaultJob; !ofUser { // but of the administrator, whom every job needs
		o.Stops = o.Stops || o.Answer == Done
		if problem.Fault == jobs.FaultJob || problem.Fault == jobs.FaultUser {
			problem.Fault = jobs.FaultOperator
		}
	}
	problem.Message = "Whether " + e.User + " is an administrator could not be found out in the Directory as " + x.admin + ", whom ONBEHALF_ADMIN names: " + problem.Message
}

// audit writes the one line for each attempt that an auditor can rely on: who,
// as whom, what, with which scopes, and what came of it.
func (x *Executor) audit(ctx context.Context, a *attempt, o Outcome) {
	r := o.Result
	attrs := []slog.Attr{
		slog.String("job", r.Job),
		slog.String("serviceAccount", x.google.Minter.ServiceAccount()),
		slog.String("user", r.User),
		slog.String("as", r.As),
		slog.String("action", r.Action),
		slog.Int("answer", o.Answer.status()),
		slog.Int("attempt", r.Attempts),
		slog.Bool("called", a.called),
		slog.Float64("seconds", time.Since(a.startedAt).Seconds()),
		slog.String("messageId", a.msg.ID),
		slog.Int("deliveryAttempt", a.msg.Delivery),
	}
	if r.Batch != "" {
		attrs = append(attrs, slog.String("batch", r.Batch))
	}
	if a.scopes != nil {
		attrs = append(attrs, slog.Any("scopes", a.scopes), slog.Any("token", a.token))
	}
	if !a.doubt.IsZero() {
		attrs = append(attrs, slog.Bool("inDoubt", true))
	}
	if o.Parked {
		attrs = append(attrs, slog.Bool("parked", true))
	}
	if o.Replayed {
		attrs = append(attrs, slog.Bool("replayed", true))
	}
	if o.settled {
		attrs = append(attrs, slog.Bool("settled", true))
	}
	if r.Status != "" {
		attrs = append(attrs, slog.String("status", string(r.Status)))
	}
	if e := r.Error; e != nil {
		attrs = append(attrs, slog.String("stage", string(e.Stage)), slog.String("fault", string(e.Fault)),
			slog.Int("code", e.Code), slog.String("reason", e.Reason), slog.String("error", e.Message), slog.String("fix", e.Fix))
	}
	if !o.NotBefore.IsZero() {
		attrs = append(attrs, slog.Time("notBefore", o.NotBefore))
	}
	if o.kept != nil {
		attrs = append(attrs, slog.Group("result", slog.String("stage", string(o.kept.Stage)), slog.String("fault", string(o.kept.Fault)), slog.String("reason", o.kept.Reason)))
	}
	if a.executionID != "" {
		attrs = append(attrs, slog.Group("logging.googleapis.com/labels", slog.String("execution_id", a.executionID)))
	}
	x.log.LogAttrs(ctx, level(o), "attempt", attrs...)
}

func level(o Outcome) slog.Level {
	switch {
	case o.Answer != Done && o.Result.Error != nil && o.Result.Error.Fault == jobs.FaultOperator:
		return slog.LevelError
	case o.Answer != Done:
		return slog.LevelWarn
	case o.Parked && o.Result.Error == nil:
		return slog.LevelInfo
	case o.Result.Status.Good():
		return slog.LevelInfo
	case o.Result.Status == jobs.Refused || o.Result.Status == jobs.Expired:
		return telemetry.LevelNotice
	}
	return slog.LevelError
}
