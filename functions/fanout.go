package functions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"google.golang.org/api/googleapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/content"
	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/directory"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

// batchTimeout bounds one invocation that works on a batch; CLOUD_RUN_TIMEOUT_SECONDS may do
// so sooner. What is left then is another's.
const batchTimeout = 9 * time.Minute

// continueAttribute is that of a message which has FanOut go on with a batch.
const continueAttribute = "continue"

// ServeFanOut answers one delivery of a batch, or of word to go on with one.
func (x *Executor) ServeFanOut(w http.ResponseWriter, r *http.Request) { x.serve(w, r, x.FanOut) }

// FanOut begins a batch, or goes on with one, for as long as there is time, and has the
// rest done by a message of its own.
func (x *Executor) FanOut(ctx context.Context, msg pubsubio.Message) (o Outcome) {
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	defer context.AfterFunc(x.ending, cancel)() //nolint:contextcheck // it is the instance that ends, whoever calls
	a := &attempt{msg: msg, startedAt: time.Now()}
	defer x.recover(ctx, a, func() { o = Outcome{Answer: Again} })
	id := msg.Attributes[continueAttribute]
	if id == "" {
		var err error
		if id, err = x.batches.Start(ctx, msg.Data, msg.PublishTime); err != nil {
			return x.refuse(ctx, a, id, err)
		}
	}
	a.startedAt = time.Now() // only now the batch has begun, which what is met may stop
	more, err := x.batches.Work(ctx, id)
	if err == nil && more {
		err = x.batches.Continue(ctx, id)
	}
	return x.worked(ctx, a, id, more, err)
}

// refuse ends a batch that cannot be begun, unless that may pass.
func (x *Executor) refuse(ctx context.Context, a *attempt, id string, err error) Outcome {
	o := x.blameBatch(ctx, a, err)
	if o.Answer == Done {
		ctx, cancel := x.settling(ctx)
		defer cancel()
		if fix, ends := strings.CutSuffix(o.Result.Error.Fix, underANewID); ends {
			o.Result.Error.Fix = fix + "\nThen start the batch anew."
		}
		if err := x.batches.Refuse(ctx, a.msg.Data, a.msg.PublishTime, *o.Result.Error); err != nil {
			x.log.ErrorContext(ctx, "cannot tell that a batch is refused", "batch", id, "error", err.Error())
			o.Answer = Again
		}
	}
	x.logBatch(ctx, a, id, o)
	return o
}

// worked says what came of working on a batch. A fault that does not pass by itself stops it.
func (x *Executor) worked(ctx context.Context, a *attempt, id string, more bool, err error) Outcome {
	if err == nil {
		x.log.InfoContext(ctx, "worked on a batch", "batch", id, "more", more, "seconds", time.Since(a.startedAt).Seconds(), "messageId", a.msg.ID)
		return Outcome{Answer: Done}
	}
	o := x.blameBatch(ctx, a, err)
	if o.Answer == Done {
		ctx, cancel := x.settling(ctx)
		defer cancel()
		stands, err := x.batches.Stop(ctx, id, o.metAt(a), thenResume(*o.Result.Error, id))
		if err != nil && !errors.Is(err, batch.ErrUnknown) || err == nil && !stands { // it may go on since
			o.Answer = Again
		}
	}
	x.logBatch(ctx, a, id, o)
	return o
}

// thenResume is why a batch stands still, with what mends it.
func thenResume(why jobs.Error, id string) jobs.Error {
	why.Fix = strings.TrimSuffix(why.Fix, underANewID) + "\nThen have the batch go on: onbehalf batch resume " + id
	return why
}

func (x *Executor) logBatch(ctx context.Context, a *attempt, id string, o Outcome) {
	e := o.Result.Error
	x.log.ErrorContext(ctx, "cannot work on a batch", "batch", id, "answer", o.Answer.status(), "messageId", a.msg.ID,
		"stage", string(e.Stage), "fault", string(e.Fault), "code", e.Code, "reason", e.Reason, "error", e.Message, "fix", e.Fix)
}

// BlameBatch says who must act where a batch cannot be begun, and whether that may pass.
func (x *Executor) BlameBatch(ctx context.Context, err error) Outcome {
	o := x.blameBatch(ctx, &attempt{msg: pubsubio.Message{PublishTime: time.Now()}, startedAt: time.Now()}, err)
	o.Result.Error.Fix = strings.TrimSuffix(o.Result.Error.Fix, underANewID)
	return o
}

// blameBatch says who must act where a batch cannot be worked on; Done: it does not pass
// by itself.
func (x *Executor) blameBatch(ctx context.Context, a *attempt, err error) (o Outcome) {
	var (
		wrong *jobs.BatchError
		mint  *delegation.Error
		read  *directory.Error
		file  *content.FileError
		kept  *ledger.Error
	)
	look := &attempt{msg: a.msg, startedAt: a.startedAt, job: jobs.Job{User: x.admin}, scopes: []string{directory.Scope}, service: directory.Service}
	switch {
	case errors.As(err, &wrong):
		o.fail(jobs.Failed, jobs.Error{Stage: jobs.StageDecode, Fault: jobs.FaultJob, Reason: "badBatch", Message: wrong.Error(), Fix: "Correct the batch and start it anew."})
		return o
	case errors.Is(err, batch.ErrUnknown):
		o.fail(jobs.Failed, jobs.Error{Stage: jobs.StageDecode, Fault: jobs.FaultJob, Reason: "noBatch", Message: err.Error(), Fix: "Start the batch anew."})
		return o
	case errors.As(err, &kept):
		o.put(Again, notKept(err))
		return o
	case errors.As(err, &mint):
		var token *directory.TokenError
		if errors.As(err, &token) {
			look.scopes = []string{token.Scope}
		}
		x.blameMint(ctx, &o, look, mint)
	case errors.As(err, &read):
		x.blame(ctx, &o, look, lookUpAnswer(read, time.Since(a.msg.PublishTime)))
	case errors.As(err, &file):
		o.blameFile(file)
		return o
	default:
		o.blameTopic(err)
		return o
	}
	e := o.Result.Error
	e.Stage = jobs.StageDecode
	if e.Fault == jobs.FaultJob || e.Fault == jobs.FaultUser { // of the administrator, whom the operator has chosen
		e.Fault = jobs.FaultOperator
	}
	e.Message = "The users of the batch could not be read in the Directory as " + x.admin + ", whom ONBEHALF_ADMIN names: " + e.Message
	return o
}

// blameTopic says who must act where the jobs of a batch cannot be published.
func (o *Outcome) blameTopic(err error) {
	if code := status.Code(err); code != codes.NotFound && code != codes.PermissionDenied {
		o.put(Again, jobs.Error{Stage: jobs.StageSettle, Fault: jobs.FaultGoogle, Reason: "interrupted", Message: err.Error()})
		return
	}
	o.fail(jobs.Failed, jobs.Error{
		Stage: jobs.StageSettle, Fault: jobs.FaultOperator, Reason: "notPublished", Message: err.Error(),
		Fix: "Create the topics that ONBEHALF_JOBS_TOPIC and ONBEHALF_BATCHES_TOPIC name, and grant the runtime service account roles/pubsub.publisher on them.",
	})
}

// blameFile says who must act where a batch's file cannot be read.
func (o *Outcome) blameFile(err *content.FileError) {
	var answer *googleapi.Error
	if !errors.As(err, &answer) || answer.Code != http.StatusUnauthorized && answer.Code != http.StatusForbidden {
		o.put(Again, jobs.Error{Stage: jobs.StageDecode, Fault: jobs.FaultGoogle, Reason: "noFile", Message: err.Error()})
		return
	}
	o.fail(jobs.Failed, jobs.Error{
		Stage: jobs.StageDecode, Fault: jobs.FaultOperator, Code: answer.Code, Reason: "noFile", Message: err.Error(),
		Fix: "Grant the runtime service account roles/storage.objectViewer on the bucket.",
	})
}

// newBatches are the batches of this ledger. What publishes is connected when it is first
// needed: who only does jobs need not be allowed to.
func (x *Executor) newBatches(cfg config.Config, o Options) (*batch.Batches, error) {
	b := batch.Config{
		Store: store{x.ledger}, Files: x.actions.Files(o.LocalFiles), Check: x.checkJob, AllowUser: x.policy.AllowWhom, Allow: x.allowTarget,
		Publish: o.Publish, Continue: o.Continue, Tell: x.results.Tell,
		Changed: x.batchChanged,
	}
	if x.directory != nil {
		b.Directory = x.directory
	}
	if b.Publish == nil {
		b.Publish = x.topicOf(cfg, "ONBEHALF_JOBS_TOPIC", cfg.JobsTopic).publish
	}
	if b.Continue == nil {
		b.Continue = x.topicOf(cfg, "ONBEHALF_BATCHES_TOPIC", cfg.BatchesTopic).goOn
	}
	return batch.New(b)
}

// checkJob holds a job against the table of methods, and against what the policy says
// whoever its user is.
func (x *Executor) checkJob(ctx context.Context, data []byte) error {
	job, err := jobs.Decode(data, "")
	if err != nil {
		return err
	}
	if r := x.policy.Decide(job).Refusal; r != nil && r.OfAll() {
		return jobs.Errorf("action", "is refused by the policy: %s %s", r.Message, r.Fix)
	}
	_, err = x.actions.Prepare(ctx, job)
	return err
}

// allowTarget holds a target against the policy. What its listing has said of it is
// not asked for again.
func (x *Executor) allowTarget(t batch.Target, data []byte) (reason, message string) {
	job, wrong := x.judged(t, data)
	if wrong != nil { // it fails where it is done, with its reason, and counts as what it is
		return "", ""
	}
	d := x.policy.Decide(job)
	switch {
	case d.Refusal != nil:
		return d.Refusal.Reason, d.Refusal.Message
	case d.Unless != nil && t.Admin:
		return "administrator", t.User + " is an administrator, and the policy protects those (" + d.Unless.String() + ")."
	}
	return "", ""
}

// judged reads what the policy judges of a target's job. To read all of it takes most of
// the time that making it does, and only a condition looks at more than who does what.
func (x *Executor) judged(t batch.Target, data []byte) (job jobs.Job, wrong error) {
	if x.policy.HasCondition() {
		return jobs.Decode(data, "")
	}
	var what struct {
		Action string `json:"action"`
	}
	wrong = jsonv2.Unmarshal(data, &what)
	return jobs.Job{User: t.User, Action: what.Action}, wrong
}

// topic publishes to a topic that is connected when it is first needed.
type topic struct {
	connect func() (*pubsubio.Publisher, error)
}

// publishDelay is how long a job waits for company in one request.
const publishDelay = 5 * time.Millisecond

// topicOf is a topic that is closed with the Executor.
func (x *Executor) topicOf(cfg config.Config, variable, id string) topic {
	return newTopic(x.google, cfg, variable, id, func(p *pubsubio.Publisher) { x.atEnd(p.Close) })
}

// newTopic is the topic that a variable names; opened is told once there is something to
// close.
func newTopic(google *access.Access, cfg config.Config, variable, id string, opened func(*pubsubio.Publisher)) topic {
	var mu sync.Mutex
	var connected *pubsubio.Publisher
	return topic{func() (*pubsubio.Publisher, error) {
		mu.Lock()
		defer mu.Unlock()
		if connected != nil {
			return connected, nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		project, err := google.FindProject(ctx, cfg)
		if err != nil { // which may pass
			return nil, err
		}
		opts, err := google.ClientOptions(cfg, "PUBSUB_EMULATOR_HOST", "Pub/Sub", "batches")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", variable, err)
		}
		if connected, err = pubsubio.NewPublisher(context.Background(), project, id, publishDelay, opts...); err == nil {
			opened(connected)
		}
		return connected, err
	}}
}

// publish implements batch.Config's Publish.
func (t topic) publish(ctx context.Context, messages []batch.Message) (wait func(context.Context) error) {
	to, err := t.connect()
	if err != nil {
		return func(context.Context) error { return err }
	}
	waits := make([]func(context.Context) error, len(messages))
	var attributes map[string]string // of a page, which its jobs share
	for i, m := range messages {
		if i == 0 || m.Place != messages[i-1].Place {
			attributes = m.Attributes()
		}
		waits[i] = to.Begin(ctx, m.Data, attributes)
	}
	return func(ctx context.Context) error {
		var first error              // of hundreds that say the same
		for _, wait := range waits { // each, for none may be left on its way
			first = cmp.Or(first, wait(ctx))
		}
		return first
	}
}

// goOn implements batch.Config's Continue.
func (t topic) goOn(ctx context.Context, id string) error {
	to, err := t.connect()
	if err != nil {
		return err
	}
	msg := GoOn(id)
	return to.Publish(ctx, msg.Data, msg.Attributes)
}

// GoOn is the message that has FanOut go on with a batch. Its data says the same, for people.
func GoOn(id string) pubsubio.Message {
	return pubsubio.Message{Data: fmt.Appendf(nil, "{%q:%q}", continueAttribute, id), Attributes: map[string]string{continueAttribute: id}}
}
