package batch

import (
	"context"
	"crypto/rand"
	"errors"
	"time"
)

// progress is how far a batch was worked on. One worker at a time writes it.
type progress struct {
	// Round is the one whose walk is done, Walking the one that is being walked, and Walked
	// how many of its pages are.
	Round   int `json:"round"`
	Walking int `json:"walking,omitzero"`
	Walked  int `json:"walked,omitzero"`
	// Page is the page that is being published, and Index how many of its targets are.
	Page  int `json:"page"`
	Index int `json:"index"`
	// Enumerated counts the users on the pages up to Page, Published the jobs that were
	// published, and PassedOver the users that were passed over, by reason.
	Enumerated int            `json:"enumerated"`
	Published  int            `json:"published"`
	PassedOver map[string]int `json:"passedOver,omitzero"`
	// Due is when rate lets the next job be published.
	Due time.Time `json:"due,omitzero"`
	// Done: there is nothing more to publish. Short: for notAfter or the end by cancelling
	// came first.
	Done  bool `json:"done,omitzero"`
	Short bool `json:"short,omitzero"`
	// Holder is who works on it, until Until.
	Holder string    `json:"holder,omitzero"`
	Until  time.Time `json:"until,omitzero"`
}

// finished tells whether nothing is left to publish.
func (p *progress) finished(c *control) bool { return p.Done && p.Round == c.Round }

// free tells whether nobody works on it.
func (p *progress) free(now time.Time) bool { return p.Holder == "" || now.After(p.Until) }

// page is some of a batch's users, as they are kept.
type page struct {
	Page
	// More says that the page after it was made with it.
	More bool `json:"more,omitzero"`
	// ListedAt is when the Directory was read; zero: it was not.
	ListedAt time.Time `json:"listedAt,omitzero"`
}

// last tells whether no page follows.
func (p *page) last() bool { return p.Next == "" && !p.More }

const (
	// leaseTime is for how long a worker that has said nothing counts as there.
	leaseTime = 60 * time.Second
	// renewAfter is how long a worker says nothing.
	renewAfter = 10 * time.Second
)

// errLost says that another worker has taken the batch over.
var errLost = errors.New("batch: another worker has taken it over")

// lease is a worker's hold on a batch's progress.
type lease struct {
	progress
	batch, version string
	saved          time.Time
	ends           time.Time // when the worker is gone at the latest; zero is not known
}

// take takes hold of a batch's progress; nil where another has it.
func (b *Batches) take(ctx context.Context, id string) (*lease, error) {
	l := &lease{batch: id}
	if deadline, bounded := ctx.Deadline(); bounded {
		l.ends = deadline.Add(leaveTime)
	}
	part, err := b.cfg.Store.Load(ctx, id, progressPart)
	if err != nil {
		return nil, err
	}
	if part.Version == "" {
		return nil, ErrUnknown
	}
	if err := decode(part, &l.progress); err != nil {
		return nil, err
	}
	if !l.free(time.Now()) {
		return nil, nil //nolint:nilnil // there is none
	}
	l.version, l.Holder = part.Version, rand.Text()
	if err := b.keep(ctx, l); err != nil {
		if errors.Is(err, errLost) {
			return nil, nil //nolint:nilnil // another was quicker
		}
		return nil, err
	}
	return l, nil
}

// keep saves the progress.
func (b *Batches) keep(ctx context.Context, l *lease) error {
	now := time.Now()
	if l.Holder != "" {
		l.Until = now.Add(leaseTime).UTC()
		if !l.ends.IsZero() && l.ends.Before(l.Until) {
			l.Until = l.ends.UTC()
		}
	}
	p, err := encode(l.batch, progressPart, &l.progress)
	if err != nil {
		return err
	}
	p.Version = l.version
	version, changed, err := b.cfg.Store.Save(ctx, p)
	switch {
	case err != nil:
		return err
	case changed:
		return errLost
	}
	l.version, l.saved = version, now
	return nil
}

// release ends the hold.
func (b *Batches) release(ctx context.Context, l *lease) error {
	l.Holder, l.Until = "", time.Time{}
	return b.keep(ctx, l)
}

// takeAway ends whatever hold there is.
func (b *Batches) takeAway(ctx context.Context, id string) error {
	for range mostRaces {
		part, err := b.cfg.Store.Load(ctx, id, progressPart)
		if err != nil || part.Version == "" {
			return err
		}
		l := &lease{batch: id, version: part.Version}
		if err := decode(part, &l.progress); err != nil || l.Holder == "" {
			return err
		}
		if err := b.release(ctx, l); !errors.Is(err, errLost) { // who has it has kept something
			return err
		}
	}
	return errBusy
}
