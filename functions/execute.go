package functions

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
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
	// endingSettle is what settling may take once the instance is told to end: with
	// [breakOffAfter] it stays within the 10 s that Cloud Run waits.
	endingSettle = 3 * time.Second
	// clockSkew is how far the clocks of two instances may be apart. A claim is held
	// for so much longer than its attempt can last.
	clockSkew = 5 * time.Second
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
func (x *Executor) ServeHTTP(w http.ResponseWriter, r *http.Request) { x.serve(w, r, x.Execute) }

// serve answers one delivery of a message.
func (x *Executor) serve(w http.ResponseWriter, r *http.Request, do func(context.Context, pubsubio.Message) Outcome) {
	ctx := telemetry.WithTrace(r.Context(), r.Header, x.google.Project)
	msg, err := pubsubio.Receive(w, r)
	if err != nil {
		// Without a message id there is nothing to publish a result for; Pub/Sub
		// keeps what is not acked, and its dead-letter topic shows it to people.
		x.log.ErrorContext(ctx, "not a Pub/Sub message", "error", err.Error())
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	outcome := do(ctx, msg)
	if wait := time.Until(outcome.NotBefore); wait > 0 { // Pub/Sub has its own back-off; Cloud Tasks and others keep to it
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	}
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(outcome.Answer.status())
}

// Execute does one delivery of a job, from the message to the result.
func (x *Executor) Execute(ctx context.Context, msg pubsubio.Message) Outcome {
	return x.deliver(ctx, msg, x.attempt)
}

// deliver makes one attempt at a job, settles it whatever comes of it, and leaves a
// line for auditors.
func (x *Executor) deliver(ctx context.Context, msg pubsubio.Message, path func(context.Context, *attempt) (actions.Answer, error)) (outcome Outcome) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	defer context.AfterFunc(x.ending, cancel)() //nolint:contextcheck // it is the instance that ends, whoever calls
	a := &attempt{msg: msg, startedAt: time.Now(), executionID: funcframework.ExecutionIDFromContext(ctx)}
	// Nothing of ours should panic. Whatever does is settled all the same, and
	// answered Again: first here, where the job is known, then around the
	// settling itself.
	defer func() { x.audit(ctx, a, outcome) }()
	defer x.recover(ctx, a, func() {
		// The job stays held: when the claim's time is up it is looked at again.
		outcome = Outcome{Answer: Again, Result: jobs.NewResult(a.job)}
		outcome.unsettled(jobs.Error{Stage: jobs.StageSettle, Fault: jobs.FaultGoogle, Reason: "panic", Message: errPanic.Error()})
	})
	func() {
		defer x.recover(ctx, a, func() { a.err = errPanic })
		a.answer, a.err = path(ctx, a)
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

	job jobs.Job
	// place is where in a batch the job belongs, which has published it; nil: in none.
	place     *batch.Place
	cancelled bool          // the batch was
	call      *actions.Call // nil where the job asks for none that could be made
	claim     *ledger.Claim // nil until the job is ours, and where that does not matter
	service   string        // the API's
	scopes    []string
	token     delegation.Token
	called    bool // the call was begun
	looking   bool // a look is what did not succeed
	// doubt is by when the call may have been made, here or by an earlier attempt,
	// whose answer nobody knows; zero where it surely was not.
	doubt time.Time

	answer actions.Answer
	err    error
}

// attempt is the path.
func (x *Executor) attempt(ctx context.Context, a *attempt) (none actions.Answer, err error) {
	// Decode: what cannot be right must cost nothing and reach nobody.
	wrong := x.decode(ctx, a)

	// Gate: of a batch that was paused, or has stopped itself, nothing is begun.
	if err := x.gate(ctx, a); err != nil {
		return none, err
	}

	// Claim: a job that is delivered again gets its first result, not a second
	// call.
	if err := x.claimKept(ctx, a); err != nil {
		return none, err
	}

	// Now that the failure is this job's own to keep, it may fail.
	if wrong != nil {
		return none, wrong
	}

	// Allow: scopes limit what is done, never as whom. Only the policy does.
	if err := x.policy.Allow(ctx, a.job); err != nil {
		return none, err
	}

	// Put off: nobody asks Google before the time that it has named to anybody.
	if err := x.deferred(ctx, a); err != nil {
		return none, err
	}

	// Look: where an earlier attempt may have made the call, it is not made again
	// before that is known.
	if answer, done, err := x.look(ctx, a); done || err != nil {
		return answer, err
	}
	if err := outOfTime(a); err != nil {
		return none, err
	}

	// No call while its result could not be published: then the event comes again,
	// perhaps to an instance that does not know of the call.
	if last := x.unpublished.Load(); last != nil && !a.job.DryRun && time.Since(last.met) < unpublishedPause {
		return none, last
	}

	// Become the user: for just this call's scopes, without any key.
	if err := x.become(ctx, a, a.call.Scopes); err != nil {
		return none, err
	}
	// Load: a letter elsewhere is found first, so that its absence is no doubt
	// about the call.
	if err := a.call.Load(ctx); err != nil {
		return none, err
	}
	if a.job.DryRun {
		return none, nil
	}

	// Call: once begun it is not broken off, for then nobody could say whether it took
	// effect; so it is not begun for a caller who has gone, nor without the time.
	return x.makeCall(ctx, a)
}

// decode reads the job and what it asks for.
func (x *Executor) decode(ctx context.Context, a *attempt) (wrong error) {
	if a.job, wrong = jobs.Decode(a.msg.Data, a.msg.ID); wrong == nil {
		if a.call, wrong = x.actions.Prepare(ctx, a.job); wrong == nil {
			a.scopes, a.service = a.call.Scopes, a.call.Service
		}
	}
	if p, ok := batch.PlaceOf(a.msg.Attributes); ok && p.Batch == a.job.Batch() {
		a.place = &p
	}
	return wrong
}

// keeps tells whether the ledger keeps what comes of the job. A dry run does nothing;
// a read, and a write that is the same twice, may as well be made again, and saves
// that cost, unless its batch counts on it.
func (x *Executor) keeps(a *attempt) bool {
	switch {
	case a.place != nil:
		return true
	case a.job.DryRun:
		return false
	case a.call == nil: // the job fails, and under this id another may have been done
		return true
	}
	return x.keepAll || a.call.Kept() || a.job.Batch() != ""
}

// claimKept claims the job if what comes of it is kept. What was cancelled need not wait
// for its time.
func (x *Executor) claimKept(ctx context.Context, a *attempt) error {
	if !x.keeps(a) {
		return nil
	}
	err := x.claim(ctx, a, ledger.Terms{Again: x.again, Early: a.cancelled})
	if err == nil && a.cancelled && a.doubt.IsZero() {
		return cancelled(a)
	}
	return err
}

// claim takes the job for as long as this attempt can last.
func (x *Executor) claim(ctx context.Context, a *attempt, t ledger.Terms) error {
	deadline, _ := ctx.Deadline() // deliver has set one
	t.Until = deadline.Add(leastSettle + clockSkew)
	if a.place != nil {
		t.Batch = a.place.Batch
	}
	claim, err := x.ledger.Claim(ctx, a.job.ID, t)
	if err != nil {
		a.doubt = doubtOf(err)
		return notClaimed(err)
	}
	a.claim = &claim
	if claim.Result != nil {
		return errSettled
	}
	a.doubt = claim.Doubt
	return nil
}

// become gets the token of whom the job names: a user, or the service account
// itself, and never the one in place of the other.
func (x *Executor) become(ctx context.Context, a *attempt, scopes []string) (err error) {
	a.scopes = scopes
	if a.job.As == jobs.AsServiceAccount {
		a.token, err = x.google.Minter.ServiceAccountToken(ctx, 0, scopes...)
	} else {
		a.token, err = x.google.Minter.Token(ctx, a.job.User, scopes...)
	}
	return err
}

// makeCall makes the call; and once more with another token where an API has refused
// the first, and so has done nothing.
func (x *Executor) makeCall(ctx context.Context, a *attempt) (actions.Answer, error) {
	answer, err := x.do(ctx, a)
	if ended(err) {
		a.called = false
		x.google.Minter.Drop(a.token)
		if err := x.become(ctx, a, a.call.Scopes); err != nil {
			return actions.Answer{}, err
		}
		answer, err = x.do(ctx, a)
	}
	return x.once(ctx, a, answer, err)
}

// do begins the call if it is the user's turn and there is the time for it.
func (x *Executor) do(ctx context.Context, a *attempt) (none actions.Answer, err error) {
	done, err := x.turn(ctx, a, a.call.Units, a.call.Class != actions.Read)
	if err != nil {
		return none, err
	}
	defer done()
	if err := x.note(ctx, a); err != nil {
		return none, err
	}
	ctx, cancel, err := x.uninterrupted(ctx, a.startedAt)
	if err != nil {
		return none, err
	}
	defer cancel()
	a.called = true
	return a.call.Do(ctx, a.token.Authorize)
}

// ended tells whether an API has refused the user's token.
func ended(err error) bool {
	var refused *actions.Error
	return errors.As(err, &refused) && refused.Status == http.StatusUnauthorized && refused.Object == "" && !refused.Doubtful
}

// uninterrupted is ctx without its caller's hanging up, for the time of a call.
func (x *Executor) uninterrupted(ctx context.Context, startedAt time.Time) (context.Context, context.CancelFunc, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	deadline, _ := ctx.Deadline() // deliver has set one
	left, all := time.Until(deadline), deadline.Sub(startedAt)
	patience := min(callTimeout, left-min(settleReserve, all/3))
	if patience < min(leastCall, all/3) {
		return nil, nil, errNoTime
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	stop := context.AfterFunc(x.breakOff, cancel) // the instance ends
	return ctx, func() { stop(); cancel() }, nil
}

// settling is ctx for what must be done in any case.
func (x *Executor) settling(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, _ := ctx.Deadline()
	patience := max(leastSettle, min(settleReserve, time.Until(deadline)))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	stop := context.AfterFunc(x.ending, func() { time.AfterFunc(endingSettle, cancel) })
	return ctx, func() { stop(); cancel() }
}

// settle ends the attempt: it keeps the final result, publishes it, and says
// what Pub/Sub is to be answered.
func (x *Executor) settle(ctx context.Context, a *attempt) Outcome {
	ctx, cancel := x.settling(ctx)
	defer cancel()
	outcome := x.judge(ctx, a)
	if outcome.dropToken {
		x.google.Minter.Drop(a.token)
	}
	if outcome.renewOwn {
		x.google.Own.Renew()
	}
	if outcome.Parked {
		return outcome
	}
	if x.standStill(ctx, a, &outcome); outcome.Parked || outcome.Answer != Done {
		outcome.InDoubt = !a.doubt.IsZero()
		x.release(ctx, a, outcome)
		x.remember(ctx, a, outcome)
		return outcome
	}
	if a.claim != nil && a.claim.Result == nil {
		if err := x.ledger.Settle(ctx, *a.claim, outcome.Result); err != nil {
			outcome.unsettled(notKept(err))
			return outcome
		}
		outcome.settled = true
		x.judgeBatch(ctx, a, outcome)
	}
	// The result is kept before it is published: where this fails, the event is
	// delivered again and the same result goes out, with no second call.
	if err := x.results.Publish(ctx, outcome.Result); err != nil {
		problem := notPublished(err)
		if topicAway(err) {
			x.unpublished.Store(&againError{problem, time.Now()})
		}
		if status.Code(err) == codes.Unauthenticated {
			x.google.Own.Renew()
		}
		outcome.unsettled(problem)
		return outcome
	}
	x.unpublished.Store(nil)
	outcome.settled = outcome.settled || a.claim == nil
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

// release gives the job back to a later attempt, if it is still held, with what
// that must know.
func (x *Executor) release(ctx context.Context, a *attempt, o Outcome) {
	if a.claim == nil || a.claim.Result != nil {
		return
	}
	if err := x.ledger.Release(ctx, *a.claim, ledger.PutOff{NotBefore: o.NotBefore, Waits: o.Waits, Doubt: a.doubt, Why: o.Result.Error}); err != nil {
		x.log.WarnContext(ctx, "cannot release the job; it is held until its time is up", "job", a.job.ID, "error", err.Error())
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
