package batch

import (
	"context"
	"maps"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Status is how a batch is. It is read with a handful of reads and one of the counts,
// however large the batch is.
type Status struct {
	jobs.Summary
	// Canary is how many are done first; 0 where there is none, or it has succeeded.
	Canary int `json:"canary,omitzero"`
	// Publishing tells whether not all jobs are published.
	Publishing bool `json:"publishing,omitzero"`

	control  control
	progress progress
	tally    Tally
}

// awaitsCanary tells whether nothing is to be done before the canary has ended.
func (s *Status) awaitsCanary() bool {
	return s.control.State == Running && s.Canary > 0 && s.progress.Published >= s.Canary && s.progress.Round == s.control.Round
}

// Ended tells whether the batch has, and its summary is out.
func (s *Status) Ended() bool { return s.control.State.Ended() && s.control.Told }

// Status tells how a batch is.
func (b *Batches) Status(ctx context.Context, id string) (s Status, err error) {
	if s.control, _, err = b.load(ctx, id); err != nil {
		return s, err
	}
	// What is counted is published: so it is read first, and what is left never too little.
	if s.tally, err = b.cfg.Store.Tally(ctx, id); err != nil {
		return s, err
	}
	p, err := b.cfg.Store.Load(ctx, id, progressPart)
	if err != nil {
		return s, err
	}
	if p.Version != "" { // a batch that was refused has none
		if err := decode(p, &s.progress); err != nil {
			return s, err
		}
	}
	c, at := &s.control, &s.progress
	s.Summary = jobs.Summary{
		Batch: c.ID, Name: c.Name, State: string(c.State), Round: c.Round, Counts: jobs.CountsOf(s.tally), Error: c.Error,
		Enumerated: at.Enumerated, Published: at.Published, PassedOver: maps.Clone(at.PassedOver), StartedAt: c.StartedAt, FinishedAt: c.FinishedAt,
	}
	s.Publishing = !at.finished(c) && !c.State.Ended()
	if s.Publishing { // whose worker keeps now and then how far it is
		s.Published = max(s.Published, s.Counts.Done()+s.Counts.PutOff)
	}
	s.Remaining = max(0, s.Published-s.Counts.Done())
	if !c.CanaryPassed {
		s.Canary = c.Canary
	}
	return s, nil
}

// Listed is a batch in a list.
type Listed struct {
	ID         string      `json:"batch"`
	Name       string      `json:"name"`
	State      State       `json:"state"`
	Digest     string      `json:"digest"` // [jobs.Batch.Digest]
	Error      *jobs.Error `json:"error,omitzero"`
	StartedAt  time.Time   `json:"startedAt"`
	FinishedAt time.Time   `json:"finishedAt,omitzero"`
}

// List gives the batches that have not ended, and after them those that have, of each
// the latest first.
func (b *Batches) List(ctx context.Context, limit int) ([]Listed, error) {
	var list []Listed
	for _, under := range []string{openKey, endedKey} {
		parts, err := b.cfg.Store.List(ctx, under, limit-len(list))
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			var c control
			if err := decode(p, &c); err != nil {
				return nil, err
			}
			list = append(list, Listed{c.ID, c.Name, c.State, c.Digest, c.Error, c.StartedAt, c.FinishedAt})
		}
	}
	return list, nil
}

// Failures are results of the batch's jobs that did not succeed, the latest first, from
// after on.
func (b *Batches) Failures(ctx context.Context, id, after string, limit int) ([]jobs.Result, string, error) {
	return b.cfg.Store.Failures(ctx, id, after, limit)
}

// PassedOver gives those that the batch passed over, page by page, until do says that it
// is enough.
func (b *Batches) PassedOver(ctx context.Context, id string, do func(PassedOver) (more bool)) error {
	c, _, err := b.load(ctx, id)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		p, ok, err := b.loadPage(ctx, id, c.Digest, n)
		if err != nil || !ok {
			return err
		}
		for _, passed := range p.PassedOver {
			if !do(passed) {
				return nil
			}
		}
	}
}

// Page gives the targets of a page, and when the Directory told of them; zero: it was not
// asked.
func (b *Batches) Page(ctx context.Context, id string, n int) ([]Target, time.Time, error) {
	c, err := b.control(ctx, id)
	if err != nil {
		return nil, time.Time{}, err
	}
	p, _, err := b.loadPage(ctx, id, c.Digest, n)
	return p.Targets, p.ListedAt, err
}
