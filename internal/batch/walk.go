package batch

import (
	"context"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// walk goes through one more page of what was published: when a batch goes on, what has
// no result is published again, for its messages may have been given back.
func (w *worker) walk(ctx context.Context, c *control) error {
	if w.at.Walking != c.Round { // which may have come in the middle of another's
		w.at.Walking, w.at.Walked, w.walked = c.Round, 0, nil
	}
	if w.walked == nil {
		if err := w.look(ctx, c); err != nil {
			return err
		}
	}
	if left := w.walked.left; len(left) > 0 {
		messages, err := w.messages(Place{w.batch, c.Round, w.at.Walked}, min(len(left), w.pace(c)), func(i int) ([]byte, error) {
			return w.job(w.walked.targets[left[i].target], left[i].id, nil)
		})
		if err != nil {
			return err
		}
		w.walked.left = left[len(messages):]
		return w.send(ctx, c, messages)
	}
	return w.walkedPage(ctx, c)
}

// walked is a page that is gone through once more, and what of it is left to publish.
type walked struct {
	targets []Target
	left    []another
	last    bool
}

// another is the job that is published for a target once more.
type another struct {
	target int
	id     string
}

// look finds out what is to be published of the next page.
func (w *worker) look(ctx context.Context, c *control) error {
	n := w.at.Walked
	p, _, err := w.load(ctx, n)
	if err != nil {
		return err
	}
	last, targets := n >= w.at.Page, p.Targets
	if last {
		targets = targets[:min(w.at.Index, len(targets))]
	}
	left, err := w.again(ctx, c, targets)
	if err != nil {
		return err
	}
	w.walked = &walked{targets, left, last}
	return nil
}

// walkedPage notes that the page is done. Until then it counts as not begun, so that
// nobody is left out who is published when rate lets it.
func (w *worker) walkedPage(ctx context.Context, c *control) error {
	if err := w.land(ctx, 0); err != nil {
		return err
	}
	w.at.Walked++
	if w.walked.last {
		if err := w.b.retried(ctx, c); err != nil {
			return err
		}
		w.at.Round, w.at.Walking, w.at.Walked = c.Round, 0, 0
	}
	w.walked = nil
	return w.safe(ctx, w.at)
}

// retried notes that all that had failed was started again, which counts no more then.
func (b *Batches) retried(ctx context.Context, in *control) error {
	if in.Retry == 0 {
		return nil
	}
	_, err := b.change(ctx, in.ID, func(c *control) (bool, error) {
		if c.Retry == 0 || c.Round != in.Round {
			return false, nil
		}
		c.Retry, c.Uncertain, c.Accepted = 0, false, c.Spared
		return true, nil
	})
	return err
}

// again tells which jobs of a page are to be published again.
func (w *worker) again(ctx context.Context, c *control, targets []Target) ([]another, error) {
	ids, states, err := w.current(ctx, targets)
	if err != nil {
		return nil, err
	}
	var left []another
	for i, t := range targets {
		id := ids[i]
		switch known, anew := states[i], jobID(w.batch, t.User, c.Retry); {
		case known.Status == "" && c.Stalled && time.Now().Before(known.NotBefore):
			continue
		case known.Status == "":
		case c.retries(known.Status) && id != anew: // which has failed again
			if err := w.b.cfg.Store.Supersede(ctx, id, anew); err != nil {
				return nil, err
			}
			id = anew
		default:
			continue
		}
		left = append(left, another{i, id})
	}
	return left, nil
}

// retries tells whether a job with such a result is started again.
func (c *control) retries(status jobs.Status) bool {
	switch status {
	case jobs.Failed, jobs.Refused:
		return c.Retry > 0
	case jobs.Expired:
		return c.Retry > 0 && !past(c.NotAfter)
	case jobs.Uncertain:
		return c.Retry > 0 && c.Uncertain
	case jobs.Succeeded, jobs.Previewed, jobs.Cancelled:
	}
	return false
}

// current gives each target's job as it is now: the first, or the one that was started in
// its place the last time.
func (w *worker) current(ctx context.Context, targets []Target) (ids []string, states []JobState, err error) {
	var which []int
	for i, t := range targets {
		ids = append(ids, jobID(w.batch, t.User, 0))
		which = append(which, i)
	}
	states = make([]JobState, len(ids))
	for len(which) > 0 {
		var asked []string
		for _, i := range which {
			asked = append(asked, ids[i])
		}
		found, err := w.b.cfg.Store.States(ctx, asked)
		if err != nil {
			return nil, nil, err
		}
		var further []int
		for k, i := range which {
			if states[i] = found[k]; found[k].By != "" {
				ids[i] = found[k].By
				further = append(further, i)
			}
		}
		which = further
	}
	return ids, states, nil
}
