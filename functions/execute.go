package functions

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/telemetry"
)

const (
	// attemptTimeout bounds an attempt where the caller sets no deadline of its
	// own: Pub/Sub gives an event function 540 s.
	attemptTimeout = 5 * time.Minute
	// settleReserve is kept of the deadline to settle in, or a third of what is
	// left where that is less: the call ends by then.
	settleReserve = 20 * time.Second
	// unpublishedPause is how long after a result could not be published no new
	// call is begun; a result that waits is tried with each delivery.
	unpublishedPause = 30 * time.Second
	// callTimeout bounds the one call, which goes on when the caller hangs up.
	callTimeout = 2 * time.Minute
)

// ServeHTTP answers one delivery of a job, as Pub/Sub makes it.
func (x *Executor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := telemetry.WithTrace(r.Context(), r.Header, x.project)
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
	defer x.recover(ctx, a, func() { outcome.Answer = Again })
	func() {
		defer x.recover(ctx, a, func() { a.err = errPanic })
		a.response, a.err = x.attempt(ctx, a)
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

	job    jobs.Job
	claim  *ledger.Claim // nil until the job is ours
	scopes []string
	token  delegation.Token
	called bool // the call has begun, and nothing says that it did not take effect

	response jsontext.Value
	err      error
}

// attempt is the path.
func (x *Executor) attempt(ctx context.Context, a *attempt) (jsontext.Value, error) {
	// Decode: what cannot be right must cost nothing and reach nobody.
	job, wrong := jobs.Decode(a.msg.Data, a.msg.ID)
	a.job = job

	// Claim: a job that is delivered again gets its first result, not a second
	// call. A dry run does nothing that could be done twice.
	if !job.DryRun {
		claim, err := x.ledger.Claim(ctx, job.ID)
		if err != nil {
			return nil, err
		}
		a.claim = &claim
		if claim.Result != nil {
			return nil, errSettled
		}
	}

	// Now that the failure is this job's own to keep, it may fail.
	if wrong != nil {
		return nil, wrong
	}
	if job.Expired(a.startedAt) {
		return nil, &expiredError{job.NotAfter}
	}
	call, err := x.actions.Prepare(job)
	if err != nil {
		return nil, err
	}
	a.scopes = call.Scopes

	// Allow: scopes limit what is done, never as whom. Only the policy does.
	if err := x.policy.Allow(job); err != nil {
		return nil, err
	}

	// Become the user: for just this call's scopes, without any key.
	a.token, err = x.minter.Token(ctx, job.User, call.Scopes...)
	if err != nil {
		return nil, err
	}
	if job.DryRun {
		return nil, call.Preview(ctx)
	}

	// Call: not while its result could not be published, for then the event comes
	// again, perhaps to an instance that does not know of the call.
	if last := x.unpublished.Load(); last != 0 && a.startedAt.Sub(time.Unix(0, last)) < unpublishedPause {
		return nil, errUnpublished
	}
	// Once begun it is not broken off, for then nobody could say whether
	// it took effect.
	ctx, cancel := uninterrupted(ctx)
	defer cancel()
	a.called = true
	return call.Do(ctx, a.token.Authorize)
}

// uninterrupted is ctx without its caller's hanging up, for the time of a call.
func uninterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	patience := callTimeout
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		patience = min(patience, left-min(settleReserve, left/3))
	}
	return context.WithTimeout(context.WithoutCancel(ctx), patience)
}

// settle ends the attempt: it keeps the final result, publishes it, and says
// what Pub/Sub is to be answered.
func (x *Executor) settle(ctx context.Context, a *attempt) Outcome {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleReserve)
	defer cancel()
	outcome := x.judge(a)
	defer func() { x.audit(ctx, a, outcome) }()

	if outcome.dropToken {
		x.minter.Drop(a.token)
	}
	if outcome.renewOwn {
		x.own.renew()
	}
	if outcome.Answer != Done {
		x.release(ctx, a)
		return outcome
	}
	if a.claim != nil && a.claim.Result == nil {
		if err := x.ledger.Settle(ctx, *a.claim, outcome.Result); err != nil {
			outcome.put(Again, jobs.Error{Stage: jobs.StageSettle, Fault: jobs.FaultGoogle, Reason: "notKept", Message: err.Error()})
			return outcome
		}
	}
	// The result is kept before it is published: where this fails, the event is
	// delivered again and the same result goes out, with no second call.
	if err := x.results.Publish(ctx, outcome.Result); err != nil {
		x.unpublished.Store(time.Now().UnixNano())
		outcome.put(Again, notPublished(err))
		return outcome
	}
	x.unpublished.Store(0)
	return outcome
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

// release gives the job back to a later attempt.
func (x *Executor) release(ctx context.Context, a *attempt) {
	if a.claim == nil {
		return
	}
	if err := x.ledger.Release(ctx, *a.claim); err != nil {
		x.log.ErrorContext(ctx, "cannot release the job", "job", a.job.ID, "error", err.Error())
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
	errPanic       = errors.New("panic")
	errSettled     = errors.New("the job has its result already")
	errUnpublished = errors.New("the call is not begun while results cannot be published")
)

// expiredError says that a job has lost its point.
type expiredError struct{ notAfter time.Time }

func (e *expiredError) Error() string {
	return "notAfter: is " + e.notAfter.Format(time.RFC3339) + ", which has passed"
}
