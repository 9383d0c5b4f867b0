package batch

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Sweep looks after every batch that has not ended: it has those worked on that nobody
// works on, ends those that are done, and publishes the summary of each. What is wrong
// with one batch does not keep it from the others. States counts those that have not
// ended then and could be looked at.
func (b *Batches) Sweep(ctx context.Context) (states map[State]int, err error) {
	open, err := b.cfg.Store.List(ctx, openKey, mostOpen)
	if err != nil {
		return nil, err
	}
	states = make(map[State]int)
	var problems []error
	for _, p := range open {
		if err := ctx.Err(); err != nil {
			return states, errors.Join(append(problems, err)...)
		}
		switch s, err := b.Look(ctx, p.Batch); {
		case err != nil:
			problems = append(problems, fmt.Errorf("batch %s: %w", p.Batch, err))
		case !State(s.State).Ended():
			states[State(s.State)]++
		}
	}
	return states, errors.Join(problems...)
}

// Look looks after one batch, and tells how it is then.
func (b *Batches) Look(ctx context.Context, id string) (Status, error) {
	if _, err := b.judge(ctx, id); err != nil {
		return Status{}, err
	}
	s, err := b.Status(ctx, id)
	if err != nil {
		return s, err
	}
	switch {
	case s.control.active() && s.progress.finished(&s.control) && s.Remaining == 0:
		return b.end(ctx, &s)
	case s.control.active() && (s.progress.finished(&s.control) || s.awaitsCanary()):
		return s, b.watch(ctx, &s)
	case s.control.active():
		if now := time.Now(); s.progress.free(now) && now.After(s.progress.Due) {
			return s, b.cfg.Continue(ctx, id)
		}
	case s.control.State.Ended() && !s.control.Told:
		return s, b.tell(ctx, id)
	}
	return s, nil
}

// end ends a batch whose jobs all have their results.
func (b *Batches) end(ctx context.Context, s *Status) (Status, error) {
	id := s.control.ID
	_, err := b.change(ctx, id, func(c *control) (bool, error) {
		if !c.active() || c.Round != s.progress.Round {
			return false, nil
		}
		switch {
		case c.State == Cancelling:
			c.State = Cancelled
		case s.progress.Short:
			c.State = Expired
		default:
			c.State = Completed
		}
		c.FinishedAt = time.Now().UTC()
		return true, nil
	})
	if err == nil {
		err = b.tell(ctx, id)
	}
	if err != nil {
		return *s, err
	}
	return b.Status(ctx, id)
}

// tell publishes a batch's summary, unless somebody else is at that or has done it.
func (b *Batches) tell(ctx context.Context, id string) error {
	// It is read first: what was read then is how the batch ended, if it has not gone on since.
	s, err := b.Status(ctx, id)
	if err != nil {
		return err
	}
	mine := false
	c, err := b.change(ctx, id, func(c *control) (bool, error) {
		now := time.Now()
		if mine = c.State.Ended() && c.Round == s.control.Round && c.State == s.control.State && !c.Told && now.After(c.Telling); mine {
			c.Telling = now.Add(tellTime).UTC()
		}
		return mine, nil
	})
	if err != nil || !mine {
		return err
	}
	if err := b.cfg.Tell(ctx, s.Summary); err != nil {
		return err
	}
	_, err = b.change(ctx, id, func(now *control) (bool, error) {
		now.Told = now.Told || now.Round == c.Round && now.State == c.State
		return now.Told, nil
	})
	return err
}

// watched is what a batch was like when something last came of its jobs.
type watched struct {
	Round int       `json:"round"`
	Tally Tally     `json:"tally"`
	Since time.Time `json:"since"`
}

// watch has what has no result published again, where nothing has come of any job for
// long: a message may have been lost.
func (b *Batches) watch(ctx context.Context, s *Status) error {
	id := s.control.ID
	p, err := b.cfg.Store.Load(ctx, id, watchPart)
	if err != nil {
		return err
	}
	var last watched
	if p.Version != "" {
		if err := decode(p, &last); err != nil {
			return err
		}
	}
	now := time.Now().UTC()
	if p.Version == "" || last.Round != s.control.Round || !last.Tally.equal(s.tally) {
		next, err := encode(id, watchPart, watched{s.control.Round, s.tally, now})
		if err != nil {
			return err
		}
		next.Version = p.Version
		_, _, err = b.cfg.Store.Save(ctx, next) // another Sweep's is as good
		return err
	}
	if now.Sub(last.Since) < stalledAfter {
		return nil
	}
	changed := false
	_, err = b.change(ctx, id, func(c *control) (bool, error) {
		if changed = c.active() && c.Round == s.control.Round; changed {
			c.again(now)
			c.Stalled = true
		}
		return changed, nil
	})
	if err != nil || !changed {
		return err
	}
	return b.cfg.Continue(ctx, id)
}

func (t Tally) equal(other Tally) bool {
	for key := range t {
		if t[key] != other[key] {
			return false
		}
	}
	return len(t) == len(other)
}
