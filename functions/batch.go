package functions

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

// errParked says that the job's batch stands still. The message is acked all the same:
// when the batch goes on, FanOut publishes whatever has no result.
var errParked = errors.New("the job's batch stands still")

// gate holds a batch's job against the state of the batch.
func (x *Executor) gate(ctx context.Context, a *attempt) error {
	if a.place == nil {
		return nil
	}
	verdict, err := x.batches.Gate(ctx, a.place.Batch, a.place.Round)
	switch {
	case errors.Is(err, batch.ErrUnknown):
		return &againError{why: jobs.Error{
			Stage: jobs.StageDecode, Fault: jobs.FaultOperator, Reason: "noBatch", Message: "The ledger does not know the batch " + jobs.Quote(a.place.Batch) + ", which published this job.",
			Fix: "Set ONBEHALF_LEDGER of this function to that of FanOut.",
		}}
	case err != nil:
		return &againError{why: notKept(err)}
	case verdict == batch.Park:
		return x.park(ctx, a)
	}
	if a.cancelled = verdict == batch.Cancel; !a.cancelled {
		x.learn(ctx, a)
	}
	return nil
}

// park gives a job back to its batch, but for one that has its result: nobody would
// publish that again, and it may not be out yet.
func (x *Executor) park(ctx context.Context, a *attempt) error {
	known, err := x.ledger.Find(ctx, a.job.ID)
	switch {
	case err != nil:
		return &againError{why: notKept(err)}
	case known.Result == nil || x.again != nil && x.again(*known.Result):
		return errParked
	}
	a.claim = &ledger.Claim{ID: a.job.ID, Attempt: known.Attempts, Result: known.Result}
	return errSettled
}

// cancelled ends a job whose batch was cancelled.
func cancelled(a *attempt) error {
	return &finalError{jobs.Cancelled, jobs.Error{
		Stage: jobs.StageDecode, Fault: jobs.FaultJob, Reason: "cancelled", Message: "The batch " + a.place.Batch + " was cancelled before this job was done.",
		Fix: "If it is still wanted, start the batch under a new id.",
	}}
}

// standStill stops a batch at a fault that all of its jobs would meet, and gives the job
// back to it, in place of the final failure that it would be on its own.
func (x *Executor) standStill(ctx context.Context, a *attempt, o *Outcome) {
	if a.place == nil || !o.Stops {
		return
	}
	why := thenResume(*o.Result.Error, a.place.Batch)
	stands, err := x.batches.Stop(ctx, a.place.Batch, o.metAt(a), why)
	if err != nil {
		x.log.WarnContext(ctx, "cannot stop the batch", "batch", a.place.Batch, "error", err.Error())
	}
	if !stands {
		o.put(Again, why)
		o.Stops = err != nil // or it goes on since: then this attempt has met what may be mended
		return
	}
	o.put(Done, why)
	o.Parked = true
}

// judgeBatch holds the batch against its own rules where one of its jobs did not succeed.
func (x *Executor) judgeBatch(ctx context.Context, a *attempt, o Outcome) {
	if a.place == nil || o.Result.Status.Good() {
		return
	}
	if err := x.batches.Failed(ctx, a.place.Batch); err != nil { // Sweep does it within a minute
		x.log.WarnContext(ctx, "cannot hold the batch against its rules", "batch", a.place.Batch, "error", err.Error())
	}
}

// batchChanged leaves a line for each change of a batch's state that is made here. What
// somebody has asked for by the command line is not: nobody here has done it.
func (x *Executor) batchChanged(ctx context.Context, c batch.Change) {
	attrs := []slog.Attr{slog.String("batch", c.Batch), slog.String("name", c.Name), slog.String("from", string(c.From)), slog.String("state", string(c.To))}
	if e := c.Error; e != nil {
		attrs = append(attrs, slog.String("stage", string(e.Stage)), slog.String("fault", string(e.Fault)),
			slog.Int("code", e.Code), slog.String("reason", e.Reason), slog.String("error", e.Message), slog.String("fix", e.Fix))
	}
	if n := c.Counts; n != nil {
		attrs = append(attrs, slog.Int("succeeded", n.Succeeded), slog.Int("previewed", n.Previewed), slog.Int("bad", n.Bad()),
			slog.Int("expired", n.Expired), slog.Int("cancelled", n.Cancelled), slog.Int("putOff", n.PutOff))
	}
	level := slog.LevelInfo
	if c.To == batch.Stopped || c.To == batch.Refused {
		level = slog.LevelError
	}
	x.log.LogAttrs(ctx, level, "batch", attrs...)
}

// Batches are those of the Executor's ledger.
func (x *Executor) Batches() *batch.Batches { return x.batches }

const (
	// mostLearned is how many pages of batches it is remembered of that they were learned.
	mostLearned = 10_000
	// learnTime bounds the reading of a page.
	learnTime = 5 * time.Second
)

// learner has the listing of a batch tell who is an administrator, so that the
// Directory is not asked about each of its users once more.
type learner struct {
	mu    sync.Mutex
	pages map[string]map[int]*sync.Once // by batch and page
	n     int
}

// once gives what is to be done once for a page.
func (l *learner) once(batch string, page int) *sync.Once {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.n >= mostLearned || l.pages == nil {
		l.pages, l.n = make(map[string]map[int]*sync.Once), 0
	}
	pages := l.pages[batch]
	if pages == nil {
		pages = make(map[int]*sync.Once)
		l.pages[batch] = pages
	}
	if pages[page] == nil {
		pages[page] = new(sync.Once)
		l.n++
	}
	return pages[page]
}

// learn learns who of the job's page is an administrator. Where that fails, the Directory is
// asked about the job's user, as about any other's.
func (x *Executor) learn(ctx context.Context, a *attempt) {
	if a.place == nil || x.admins == nil || !x.policy.ProtectsAdmins() {
		return
	}
	x.learner.once(a.place.Batch, a.place.Page).Do(func() {
		ctx, cancel := context.WithTimeout(ctx, learnTime)
		defer cancel()
		targets, listed, err := x.batches.Page(ctx, a.place.Batch, a.place.Page)
		if err != nil {
			x.log.WarnContext(ctx, "cannot read a page of the batch; the Directory is asked about each of its users", "batch", a.place.Batch, "page", a.place.Page, "error", err.Error())
			return
		}
		for _, t := range targets { // of which nothing is learned where nobody was asked
			x.admins.Learn(t.User, t.Admin, listed)
		}
	})
}
