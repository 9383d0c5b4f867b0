package batch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

const (
	// workReserve is kept of a worker's time to leave things in order, or a third of it
	// where that is less.
	workReserve = 30 * time.Second
	// leaveTime bounds that.
	leaveTime = 10 * time.Second
	// canaryPatience is how long a worker waits for the canary; then Sweep does.
	canaryPatience = 20 * time.Second
	// canaryEvery is how often it looks.
	canaryEvery = time.Second
	// mostWait is how long a worker waits until rate lets it publish; for longer, it ends, and
	// Sweep has another go on.
	mostWait = 20 * time.Second
	// bideTime is for how long a worker that waits for rate does not look at the batch.
	bideTime = 5 * time.Second
	// lookEvery is how often a worker looks whether its batch was paused; who does the
	// jobs goes by what is no older than four times that.
	lookEvery = 500 * time.Millisecond
	// keepEvery is how often it is kept how far the batch is: so much is published once
	// more, which does nothing, when a worker ends without a word.
	keepEvery = time.Second
	// mostFlying is how many publishes are under way at once, each of a page at most.
	mostFlying = 2
)

// worker works on one batch. What it has begun to publish is ahead of what is safe, and
// only the latter is kept: what is published again does nothing twice.
type worker struct {
	b *Batches
	*lease
	ctx    context.Context //nolint:containedctx // of what is made ahead; it ends with the worker
	spec   *jobs.Batch
	digest string // the spec's
	jobs   *Template
	info   Info
	source Source

	control control // as it was last looked at
	looked  time.Time

	at     progress // ahead of the lease's
	flying []flight
	page   *made // that at is on
	ahead  *ahead
	walked *walked
	// eager has users be listed while those before them are seen to; of no use where
	// publishing has to wait, and a call to the Directory more where the worker ends then.
	eager   bool
	listing *listing
}

// flight is what is being published, and how far the batch is once that is safe.
type flight struct {
	wait func(context.Context) error
	then progress
}

// Work goes on with a batch, until there is nothing to do for now or ctx is about to end:
// more tells that there is. Another worker's batch is left to that.
func (b *Batches) Work(ctx context.Context, id string) (more bool, err error) {
	begun := time.Now()
	c, _, err := b.load(ctx, id)
	if err != nil || !c.active() {
		return false, err
	}
	l, err := b.take(ctx, id)
	if err != nil || l == nil {
		return false, err
	}
	inner, cancel := context.WithCancel(ctx)
	w := &worker{b: b, lease: l, ctx: inner, at: l.progress}
	defer func() {
		cancel()
		err = w.leave(ctx, err)
		if errors.Is(err, errLost) {
			more, err = false, nil
		}
	}()
	if err := w.open(ctx, &c); err != nil {
		return false, err
	}
	until := time.Time{}
	if deadline, bounded := ctx.Deadline(); bounded {
		until = deadline.Add(-min(workReserve, deadline.Sub(begun)/3))
	}
	return w.run(ctx, until)
}

// open reads what the batch is.
func (w *worker) open(ctx context.Context, c *control) error {
	spec, err := w.b.cfg.Store.Load(ctx, w.batch, specPart(c.Digest))
	if err != nil {
		return err
	}
	if w.spec, err = jobs.DecodeBatch(spec.Data); err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if w.jobs, err = NewTemplate(w.spec); err != nil {
		return err
	}
	w.digest, w.info = c.Digest, infoOf(c)
	w.eager = w.spec.Rate == 0 && (c.Canary == 0 || c.CanaryPassed)
	return nil
}

func infoOf(c *control) Info { return Info{ID: c.ID, Name: c.Name, Time: c.StartedAt} }

// leave keeps what is safe, and ends the hold.
func (w *worker) leave(ctx context.Context, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	if w.ahead != nil {
		<-w.ahead.done
	}
	if w.listing != nil {
		<-w.listing.done
	}
	if errors.Is(err, errLost) {
		return err
	}
	err = errors.Join(err, w.land(ctx, 0))
	if err == nil { // nothing was begun that is not safe
		w.advance(w.at)
	}
	return errors.Join(err, w.b.release(ctx, w.lease))
}

// run takes one step after the other.
func (w *worker) run(ctx context.Context, until time.Time) (more bool, err error) {
	for {
		isNew, err := w.refresh(ctx)
		if err != nil || !w.control.active() {
			return false, err
		}
		if past(until) {
			return true, nil
		}
		idle, err := w.step(ctx, &w.control)
		switch {
		case err != nil, idle && isNew:
			return false, err
		case idle: // by what may have changed: who has it go on then relies on this worker
			w.looked = time.Time{}
		}
		if err := w.renew(ctx); err != nil {
			return false, err
		}
	}
}

// refresh reads the batch's control, which somebody may have changed, unless that was just
// done.
func (w *worker) refresh(ctx context.Context) (isNew bool, err error) {
	begun := time.Now()
	if begun.Sub(w.looked) < lookEvery {
		return false, nil
	}
	if w.control, _, err = w.b.load(ctx, w.batch); err != nil {
		return false, err
	}
	w.looked = begun
	w.b.gates.put(w.control, begun)
	return true, nil
}

// renew says that the worker is there, where nothing was kept for a while.
func (w *worker) renew(ctx context.Context) error {
	if len(w.flying) > 0 || w.walked != nil || time.Since(w.saved) < renewAfter { // what is begun is kept when it is done
		return nil
	}
	return w.safe(ctx, w.at)
}

// step does the next thing that there is to do; idle: there is none now.
func (w *worker) step(ctx context.Context, c *control) (idle bool, err error) {
	switch wait := time.Until(w.at.Due); {
	case wait > mostWait && w.paced(c):
		return true, nil
	case wait > 0 && w.paced(c):
		return false, w.bide(ctx, wait)
	}
	if w.at.Round < c.Round {
		return false, w.walk(ctx, c)
	}
	if w.at.Done {
		return true, nil
	}
	if w.page == nil {
		return false, w.turn(ctx, c, w.at.Page, "")
	}
	left := len(w.page.Targets) - w.at.Index
	switch {
	case left > 0 && w.canaryIsOut(c):
		return w.awaitCanary(ctx)
	case left > 0:
		return false, w.publish(ctx, c, min(left, w.chunk(c)))
	case w.page.last():
		return false, w.finish(ctx, false)
	case c.windsUp():
		return false, w.windUp(ctx)
	}
	return false, w.turn(ctx, c, w.at.Page+1, w.page.Next)
}

// windUp goes on to the next page only where there is one already: jobs of its users may
// have been published, by a worker that has ended without a word.
func (w *worker) windUp(ctx context.Context) error {
	if w.ahead != nil {
		<-w.ahead.done
		w.ahead = nil
	}
	n := w.at.Page + 1
	p, there, err := w.load(ctx, n)
	switch {
	case err != nil:
		return err
	case !there:
		return w.finish(ctx, true)
	}
	w.enter(n, &made{page: p})
	return nil
}

func past(t time.Time) bool { return !t.IsZero() && time.Now().After(t) }

// finish notes that all is published that will be.
func (w *worker) finish(ctx context.Context, short bool) error {
	if err := w.land(ctx, 0); err != nil {
		return err
	}
	w.at.Done, w.at.Short = true, w.at.Short || short
	return w.safe(ctx, w.at)
}

// canaryIsOut tells whether those that go first are published, and it is not known
// yet whether they succeed.
func (w *worker) canaryIsOut(c *control) bool {
	return c.State == Running && c.Canary > 0 && !c.CanaryPassed && w.at.Published >= c.Canary
}

// awaitCanary waits for a while until it is known; idle: it still is not.
func (w *worker) awaitCanary(ctx context.Context) (idle bool, err error) {
	if err := w.land(ctx, 0); err != nil {
		return false, err
	}
	if err := w.safe(ctx, w.at); err != nil { // for people see how many are out
		return false, err
	}
	w.looked = time.Time{} // for what is found out now changes it
	for until := time.Now().Add(canaryPatience); time.Now().Before(until); {
		c, err := w.b.judge(ctx, w.batch)
		if err != nil || c.State != Running || c.CanaryPassed {
			return false, err
		}
		if !pause(ctx, canaryEvery) {
			return false, ctx.Err()
		}
	}
	return true, nil
}

// chunk is how many jobs are published before the batch is looked at again.
func (w *worker) chunk(c *control) int {
	n := math.MaxInt
	if c.State == Running && c.Canary > 0 && !c.CanaryPassed {
		n = c.Canary - w.at.Published
	}
	return min(n, w.pace(c))
}

// paced tells whether rate bounds what is published: not what has nothing done any more.
func (w *worker) paced(c *control) bool { return w.spec.Rate > 0 && !c.windsUp() }

// pace is how many jobs rate lets be published at once.
func (w *worker) pace(c *control) int {
	if !w.paced(c) {
		return math.MaxInt
	}
	return max(1, int(w.spec.Rate))
}

// bide waits until rate lets the next job be published, or for a while: somebody may
// have paused the batch, and who says nothing for long is taken for gone.
func (w *worker) bide(ctx context.Context, wait time.Duration) error {
	if err := w.land(ctx, 0); err != nil {
		return err
	}
	if !pause(ctx, min(wait, bideTime)) {
		return ctx.Err()
	}
	if time.Since(w.saved) < renewAfter {
		return nil
	}
	return w.b.keep(ctx, w.lease)
}

// publish begins to publish the next n jobs of the page, or fewer where they are long.
func (w *worker) publish(ctx context.Context, c *control, n int) error {
	messages, err := w.messages(Place{w.batch, c.Round, w.at.Page}, n, func(i int) ([]byte, error) {
		i += w.at.Index
		return w.job(w.page.Targets[i], jobID(w.batch, w.page.Targets[i].User, 0), w.page.job(i))
	})
	if err != nil {
		return err
	}
	w.at.Short = w.at.Short || past(c.NotAfter) // of which nothing is done any more
	w.at.Index += len(messages)
	w.at.Published += len(messages)
	return w.send(ctx, c, messages)
}

// messages makes so many, or fewer where they are long: there may not be room for all.
func (w *worker) messages(place Place, n int, job func(i int) ([]byte, error)) ([]Message, error) {
	var messages []Message
	for size := 0; len(messages) < n && size < mostMade; {
		data, err := job(len(messages))
		if err != nil {
			return nil, err
		}
		messages, size = append(messages, Message{data, place}), size+len(data)
	}
	return messages, nil
}

// job is that of a target, made ahead or made now.
func (w *worker) job(t Target, id string, made []byte) ([]byte, error) {
	if made != nil {
		return made, nil
	}
	info := w.info
	info.JobID = id
	job, err := w.jobs.Render(t, info)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err) // for it could be when its page was made
	}
	return job, nil
}

// send begins to publish what rate lets be published now.
func (w *worker) send(ctx context.Context, c *control, messages []Message) error {
	if time.Since(w.saved) > leaseTime/2 { // another may have taken the batch over, and have wound it up
		if err := w.b.keep(ctx, w.lease); err != nil {
			return err
		}
	}
	if w.paced(c) {
		if now := time.Now().UTC(); w.at.Due.Before(now) {
			w.at.Due = now
		}
		w.at.Due = w.at.Due.Add(time.Duration(float64(len(messages)) / w.spec.Rate * float64(time.Second)))
	}
	w.flying = append(w.flying, flight{w.b.cfg.Publish(ctx, messages), w.at})
	return w.land(ctx, mostFlying-1)
}

// land waits until no more than so many publishes are under way, and keeps how far
// the batch is.
func (w *worker) land(ctx context.Context, most int) error {
	for len(w.flying) > most {
		first := w.flying[0]
		w.flying = w.flying[1:]
		if err := first.wait(ctx); err != nil {
			for _, next := range w.flying { // none may be left on its way, but none is safe before the first is
				err = errors.Join(err, next.wait(ctx))
			}
			w.flying = nil
			return fmt.Errorf("jobs could not be published: %w", err)
		}
		w.advance(first.then)
		if time.Since(w.saved) > keepEvery {
			if err := w.b.keep(ctx, w.lease); err != nil {
				return err
			}
		}
	}
	return nil
}

// advance notes how far the batch is.
func (w *worker) advance(to progress) {
	to.Holder, to.Until = w.Holder, w.Until
	w.progress = to
}

// safe keeps how far the batch is, when nothing is under way.
func (w *worker) safe(ctx context.Context, to progress) error {
	w.advance(to)
	return w.b.keep(ctx, w.lease)
}

// turn goes on to a page, and has the one after it made while this one is published.
func (w *worker) turn(ctx context.Context, c *control, n int, cursor string) error {
	p, err := w.get(ctx, n, cursor)
	if err != nil {
		return err
	}
	w.enter(n, p)
	if !p.last() && !c.windsUp() {
		w.prepare(n+1, p.Next)
	}
	return nil
}

// enter begins a page, and counts who is on it unless that was done.
func (w *worker) enter(n int, p *made) {
	if n > w.at.Page || w.page == nil && w.at.Index == 0 && w.at.Enumerated == 0 {
		w.at.Page, w.at.Index = n, 0
		w.at.Enumerated += len(p.Targets) + len(p.PassedOver)
		w.at.PassedOver = maps.Clone(w.at.PassedOver) // which flights still have
		for _, passed := range p.PassedOver {
			if w.at.PassedOver == nil {
				w.at.PassedOver = make(map[string]int)
			}
			w.at.PassedOver[passed.Reason]++
		}
	}
	w.page = p
}

// ahead is a page that is being made.
type ahead struct {
	n    int
	done chan struct{}
	page *made
	err  error
}

// prepare has a page made.
func (w *worker) prepare(n int, cursor string) {
	a := &ahead{n: n, done: make(chan struct{})}
	w.ahead = a
	known := w.page.More || w.page.found
	go func() {
		defer close(a.done)
		a.page, a.err = w.make(w.ctx, n, cursor, known)
	}()
}

// get is a page that was prepared, or is made now.
func (w *worker) get(ctx context.Context, n int, cursor string) (*made, error) {
	if a := w.ahead; a != nil && a.n == n {
		w.ahead = nil
		<-a.done
		return a.page, a.err
	}
	return w.make(ctx, n, cursor, true) // another worker may have made it
}
