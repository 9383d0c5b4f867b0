package functions

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/telemetry"
)

const (
	// attemptTimeout bounds an attempt; CLOUD_RUN_TIMEOUT_SECONDS may do so
	// sooner. Pub/Sub waits 600 s for an answer.
	attemptTimeout = 5 * time.Minute
	// settleReserve is kept of the attempt's time to settle in, or a third of it
	// where that is less: the call ends by then.
	settleReserve = 20 * time.Second
	// leastSettle is taken to settle in any case, even past the deadline: a
	// result that is not kept is worse than an answer that comes too late.
	leastSettle = 2 * time.Second
	// unpublishedPause is how long after a result could not be published no new
	// call is begun; a result that waits is tried with each delivery.
	unpublishedPause = 30 * time.Second
	// callTimeout bounds the one call, which goes on when the caller hangs up.
	callTimeout = 2 * time.Minute
	// leastCall, or a third of the attempt's time where that is less, must be left
	// for a call to be begun.
	leastCall = 10 * time.Second
)

// ServeHTTP answers one delivery of a job, as Pub/Sub makes it.
func (x *Executor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := telemetry.WithTrace(r.Context(), r.Header, x.google.Project)
	msg, err := pubsubio.Receive(w, r)
	if err != nil {
		// Without a message id there is nothing to publish a result for; Pub/Sub
		// keeps what is not acked, and its dead-letter topic shows it to people.
		x.log.ErrorContext(ctx, "not a Pub/Sub message", "error", err.Error())
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	outcome := x.Execute(ctx, msg)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(outcome.Answer.status())
}

// Execute does one delivery of a job, from the message to the result.
func (x *Executor) Execute(ctx context.Context, msg pubsubio.Message) (outcome Outcome) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	a := &attempt{msg: msg, startedAt: time.Now(), executionID: funcframework.ExecutionIDFromContext(ctx)}
	// Nothing of ours should panic. Whatever does is settled all the same, and
	// answered Again: first here, where the job is known, then around the
	// settling itself.
	defer func() { x.audit(ctx, a, outcome) }()
	defer x.recover(ctx, a, func() {
		outcome = Outcome{Answer: Again, Result: jobs.NewResult(a.job)}
		outcome.unsettled(jobs.Error{Stage: jobs.StageSettle, Fault: jobs.FaultGoogle, Reason: "panic", Message: errPanic.Error()})
		if !a.called { // otherwise better held for good than done again
			x.release(ctx, a)
		}
	})
	func() {
		defer x.recover(ctx, a, func() { a.err = errPanic })
		a.answer, a.err = x.attempt(ctx, a)
	}()
	outcome = x.settle(ctx, a)
	if errors.Is(a.err, errPanic) {
		outcome.Answer = Again
	}
	return outcome
}

// attempt is the record of one delivery. It is begun before anything is done
// and settled on every way out, so that no way out can skip it.
type attempt struct {
	msg         pubsubio.Message
	startedAt   time.Time
	executionID string

	job     jobs.Job
	claim   *ledger.Claim // nil until the job is ours
	service string        // the API's
	scopes  []string
	token   delegation.Token
	called  bool // the call was begun

	answer actions.Answer
	err    error
}

// attempt is the path.
func (x *Executor) attempt(ctx context.Context, a *attempt) (none actions.Answer, err error) {
	// Decode: what cannot be right must cost nothing and reach nobody.
	job, wrong := jobs.Decode(a.msg.Data, a.msg.ID)
	a.job = job

	// Claim: a job that is delivered again gets its first result, not a second
	// call. A dry run does nothing that could be done twice.
	if !job.DryRun {
		claim, err := x.ledger.Claim(ctx, job.ID)
		if err != nil {
			return none, err
		}
		a.claim = &claim
		if claim.Result != nil {
			return none, errSettled
		}
	}

	// Now that the failure is this job's own to keep, it may fail.
	if wrong != nil {
		return none, wrong
	}
	if job.Expired(a.startedAt) {
		return none, &expiredError{job.NotAfter}
	}
	call, err := x.actions.Prepare(ctx, job)
	if err != nil {
		return none, err
	}
	a.scopes, a.service = call.Scopes, call.Service

	// Allow: scopes limit what is done, never as whom. Only the policy does.
	if err := x.policy.Allow(ctx, job); err != nil {
		return none, err
	}

	// No call while its result could not be published: then the event comes again,
	// perhaps to an instance that does not know of the call.
	if last := x.unpublished.Load(); last != nil && !job.DryRun && time.Since(last.at) < unpublishedPause {
		return none, last
	}

	// Become the user: for just this call's scopes, without any key.
	if a.token, err = x.become(ctx, job, call.Scopes); err != nil {
		return none, err
	}
	// Load: a letter elsewhere is found first, so that its absence is no doubt
	// about the call.
	if err := call.Load(ctx); err != nil {
		return none, err
	}
	if job.DryRun {
		return none, nil
	}

	// Call: once begun it is not broken off, for then nobody could say whether it took
	// effect; so it is not begun for a caller who has gone, nor without the time.
	return x.call(ctx, a, call)
}

// become gives the token of whom the job names: a user, or the service account
// itself, and never the one in place of the other.
func (x *Executor) become(ctx context.Context, job jobs.Job, scopes []string) (delegation.Token, error) {
	if job.As == jobs.AsServiceAccount {
		return x.google.Minter.ServiceAccountToken(ctx, 0, scopes...)
	}
	return x.google.Minter.Token(ctx, job.User, scopes...)
}

// call makes the call; and once more with another token where an API has refused
// the first, and so has done nothing.
func (x *Executor) call(ctx context.Context, a *attempt, call *actions.Call) (none actions.Answer, err error) {
	answer, err := x.do(ctx, a, call)
	if !ended(err) {
		return answer, err
	}
	a.called = false
	x.google.Minter.Drop(a.token)
	if a.token, err = x.become(ctx, a.job, call.Scopes); err != nil {
		return none, err
	}
	return x.do(ctx, a, call)
}

// do begins the call if there is the time for it.
func (x *Executor) do(ctx context.Context, a *attempt, call *actions.Call) (none actions.Answer, err error) {
	ctx, cancel, err := uninterrupted(ctx, a.startedAt)
	if err != nil {
		return none, err
	}
	defer cancel()
	a.called = true
	return call.Do(ctx, a.token.Authorize)
}

// ended tells whether an API has refused the user's token.
func ended(err error) bool {
	var refused *actions.Error
	return errors.As(err, &refused) && refused.Status == http.StatusUnauthorized && refused.Object == "" && !refused.Doubtful
}

// uninterrupted is ctx without its caller's hanging up, for the time of a call.
func uninterrupted(ctx context.Context, startedAt time.Time) (context.Context, context.CancelFunc, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	deadline, _ := ctx.Deadline() // Execute has set one
	left, all := time.Until(deadline), deadline.Sub(startedAt)
	patience := min(callTimeout, left-min(settleReserve, all/3))
	if patience < min(leastCall, all/3) {
		return nil, nil, errNoTime
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	return ctx, cancel, nil
}

// settle ends the attempt: it keeps the final result, publishes it, and says
// what Pub/Sub is to be answered.
func (x *Executor) settle(ctx context.Context, a *attempt) Outcome {
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), max(leastSettle, min(settleReserve, time.Until(deadline))))
	defer cancel()
	outcome := x.judge(ctx, a)
	if outcome.dropToken {
		x.google.Minter.Drop(a.token)
	}
	if outcome.renewOwn {
		x.google.Own.Renew()
	}
	if outcome.Answer != Done {
		x.release(ctx, a)
		return outcome
	}
	if a.claim != nil && a.claim.Result == nil {
		if err := x.ledger.Settle(ctx, *a.claim, outcome.Result); err != nil {
			outcome.unsettled(jobs.Error{Stage: jobs.StageSettle, Fault: jobs.FaultGoogle, Reason: "notKept", Message: err.Error()})
			return outcome
		}
	}
	// The result is kept before it is published: where this fails, the event is
	// delivered again and the same result goes out, with no second call.
	if err := x.results.Publish(ctx, outcome.Result); err != nil {
		problem := notPublished(err)
		if topicAway(err) {
			x.unpublished.Store(&unpublishedError{problem, time.Now()})
		}
		if status.Code(err) == codes.Unauthenticated {
			x.google.Own.Renew()
		}
		outcome.unsettled(problem)
		return outcome
	}
	x.unpublished.Store(nil)
	return outcome
}

// topicAway tells whether no result could be published now, and not just this one.
func topicAway(err error) bool {
	switch status.Code(err) {
	case codes.NotFound, codes.PermissionDenied, codes.Unauthenticated, codes.Unavailable, codes.DeadlineExceeded:
		return true
	default:
		return errors.Is(err, context.DeadlineExceeded)
	}
}

// notPublished says who must act where a result cannot be published.
func notPublished(err error) jobs.Error {
	e := jobs.Error{Stage: jobs.StageSettle, Fault: jobs.FaultGoogle, Reason: "notPublished", Message: err.Error()}
	if code := status.Code(err); code == codes.NotFound || code == codes.PermissionDenied {
		e.Fault = jobs.FaultOperator
		e.Fix = "Create the topic that ONBEHALF_RESULTS_TOPIC names, and grant the runtime service account roles/pubsub.publisher on it."
	}
	return e
}

// release gives the job back to a later attempt, if it is still held.
func (x *Executor) release(ctx context.Context, a *attempt) {
	if a.claim == nil || a.claim.Result != nil {
		return
	}
	if err := x.ledger.Release(ctx, *a.claim); err != nil {
		x.log.WarnContext(ctx, "cannot release the job", "job", a.job.ID, "error", err.Error())
	}
}

// recover counts a panic and logs where it was, but not its value: that may
// hold anything, a letter or a token included.
func (x *Executor) recover(ctx context.Context, a *attempt, then func()) {
	if value := recover(); value != nil {
		x.log.Log(ctx, telemetry.LevelCritical, "panic", "panics", x.panics.Add(1), "job", a.job.ID, "messageId", a.msg.ID, "type", fmt.Sprintf("%T", value), "stack", string(debug.Stack()))
		then()
	}
}

var (
	errPanic   = errors.New("panic")
	errSettled = errors.New("the job has its result already")
	errNoTime  = errors.New("the call is not begun with so little time left")
)

// unpublishedError says that a call is not begun because results cannot be
// published.
type unpublishedError struct {
	problem jobs.Error
	at      time.Time
}

func (e *unpublishedError) Error() string { return e.problem.Message }

// expiredError says that a job has lost its point.
type expiredError struct{ notAfter time.Time }

func (e *expiredError) Error() string {
	return "notAfter: is " + e.notAfter.Format(time.RFC3339) + ", which has passed"
}
