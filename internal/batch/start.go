package batch

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Start takes a batch in, which was published at a time: it is checked, rendered for its
// first user, and kept, ready to be worked on. The same batch taken in again is the one
// that is there; of one that was refused nothing is. What is wrong with it is a
// [*jobs.BatchError].
func (b *Batches) Start(ctx context.Context, data []byte, published time.Time) (id string, err error) {
	spec, err := jobs.DecodeBatch(data)
	if err != nil {
		return "", err
	}
	id = spec.NameAt(published)
	there, was, err := b.known(ctx, id, spec)
	if err != nil || there {
		return id, err
	}
	w := &worker{b: b, lease: &lease{batch: id}, ctx: ctx, spec: spec, digest: spec.Digest()}
	if w.jobs, err = NewTemplate(spec); err != nil {
		return id, err
	}
	c := newControl(id, spec, published)
	c.Changes = was.changes
	w.info = infoOf(&c)
	if err := w.check(ctx); err != nil {
		return id, err
	}
	pages, err := w.checkFirst(ctx)
	if err != nil {
		return id, err
	}
	// A batch of that id that is forgotten may have left its counts: who asks for them has
	// them taken away.
	if _, err := b.cfg.Store.Tally(ctx, id); err != nil {
		return id, err
	}
	changed, err := b.admit(ctx, c, data, was.version)
	if err == nil && !changed {
		err = w.keepFirst(ctx, pages)
	}
	if err != nil || !changed {
		return id, err
	}
	// Another was quicker: this one's second delivery, or another batch of that id.
	if there, _, err = b.known(ctx, id, spec); err == nil && !there {
		err = errBusy
	}
	return id, err
}

// refused is what is kept of a batch that was refused, in whose place another may come:
// nothing was done of it.
type refused struct {
	changes int
	version string
}

// known tells whether the batch is there already. An error where another is.
func (b *Batches) known(ctx context.Context, id string, spec *jobs.Batch) (there bool, was refused, err error) {
	c, version, err := b.load(ctx, id)
	switch {
	case errors.Is(err, ErrUnknown):
		return false, refused{}, nil
	case err != nil:
		return false, refused{}, err
	case c.State == Refused:
		return false, refused{c.Changes, version}, nil
	case c.Digest != spec.Digest():
		return false, refused{}, spec.At("id", fmt.Errorf("%s is the id of another batch; give this one an id of its own", jobs.Quote(id)))
	}
	return true, refused{}, nil
}

func newControl(id string, spec *jobs.Batch, published time.Time) control {
	return control{
		ID: id, Name: spec.Name, State: Running, Round: 1, Canary: spec.Canary, StopAfter: spec.StopAfter, NotAfter: spec.NotAfter, Digest: spec.Digest(),
		StartedAt: published.UTC(), RunningSince: time.Now().UTC(),
	}
}

// check holds against the settings, and against what it names, what stands in the file.
func (w *worker) check(ctx context.Context) (err error) {
	if past(w.spec.NotAfter) {
		return w.spec.At("notAfter", fmt.Errorf("is %s, which has passed", w.spec.NotAfter.Format(time.RFC3339)))
	}
	for i, user := range w.spec.Targets.Users {
		if err := w.b.cfg.AllowUser(user); err != nil {
			return w.spec.At("targets.users["+strconv.Itoa(i)+"]", fmt.Errorf("is %s: %w", user, err))
		}
	}
	if w.source, err = w.newSource(); err != nil {
		return err
	}
	if w.jobs.UsesUser() && w.b.cfg.Directory == nil {
		return w.spec.At("job", errors.New("uses .User, which is read from the Directory, as an administrator: set ONBEHALF_ADMIN to one"))
	}
	if earlier := w.spec.Targets.FailuresOf; earlier != "" {
		if _, _, err := w.b.load(ctx, earlier); errors.Is(err, ErrUnknown) {
			return w.spec.At("targets.failuresOf", fmt.Errorf("is %s: %w", earlier, err))
		} else if err != nil {
			return err
		}
	}
	columns, err := w.source.Check(ctx)
	if err != nil {
		return err
	}
	return w.jobs.CheckRow(columns)
}

// mostFirst is how many pages are remembered that were listed before the batch is there.
const mostFirst = 20

// checkFirst lists pages until there is a first job, and holds that against the table of
// methods. It gives the pages, or the first of them: none is kept before the batch is
// there, for one that is refused may come again, when they are not true any more.
func (w *worker) checkFirst(ctx context.Context) (pages []*made, err error) {
	for cursor := ""; ; {
		m, err := w.list(ctx, cursor)
		if err != nil {
			return nil, err
		}
		if len(pages) < mostFirst {
			pages = append(pages, m)
		}
		if len(m.Targets) > 0 {
			job, err := w.job(m.Targets[0], jobID(w.batch, m.Targets[0].User, 0), m.job(0))
			if err != nil {
				return nil, err
			}
			return pages, w.wrong(w.b.cfg.Check(ctx, job), m.Targets[0].User)
		}
		if err := w.wrongForAll(ctx, m); err != nil || m.last() {
			return pages, err
		}
		cursor = m.Next
	}
}

// keepFirst keeps the pages that were listed for the check: what is not kept is listed
// once more.
func (w *worker) keepFirst(ctx context.Context, pages []*made) error {
	for n, m := range pages { // all but the last are without targets, and not split
		next := m.Next
		if kept, err := w.keepPage(ctx, n, m); err != nil || kept.Next != next { // or another worker goes on with its own
			return err
		}
	}
	return nil
}

// wrongForAll is what keeps a page without targets from having any, as it would each.
func (w *worker) wrongForAll(ctx context.Context, m *made) error {
	switch {
	case m.wrong != nil:
		return m.wrong
	case m.refused != nil:
		return w.wrong(w.b.cfg.Check(ctx, m.refused.job), m.refused.user)
	}
	return nil
}

// wrong says where in the file it stands what is wrong with a job.
func (w *worker) wrong(err error, user string) error {
	var field *jobs.FieldError
	if !errors.As(err, &field) {
		return err
	}
	return w.spec.At("job", jobs.Errorf(field.Path, "%s (as it is made for %s)", field.Problem, user))
}

// admit keeps a batch: its control last, for with that it is there. Changed: something
// else than that version is there.
func (b *Batches) admit(ctx context.Context, c control, data []byte, version string) (changed bool, err error) {
	at, err := encode(c.ID, progressPart, &progress{Round: c.Round})
	if err != nil {
		return false, err
	}
	// Those that are there are of a start that has not come to its end, and as good; or of
	// one that has, and may be worked on.
	for _, p := range []Part{{Batch: c.ID, Name: specPart(c.Digest), Data: data}, at} {
		if _, _, err := b.cfg.Store.Save(ctx, p); err != nil {
			return false, err
		}
	}
	if changed, err = b.save(ctx, c, version); err == nil && !changed {
		var was State
		if version != "" { // nothing else is there in whose place it may come
			was = Refused
		}
		b.changed(ctx, was, &c)
	}
	return changed, err
}

// Refuse keeps and tells why a batch was not begun. Of one whose id cannot be read
// nothing is kept.
func (b *Batches) Refuse(ctx context.Context, data []byte, published time.Time, why jobs.Error) error {
	spec, err := jobs.DecodeBatch(data)
	if err != nil {
		return b.tellRefused(ctx, control{State: Refused, Error: &why, StartedAt: published.UTC(), FinishedAt: time.Now().UTC()})
	}
	id := spec.NameAt(published)
	c := newControl(id, spec, published)
	c.State, c.Error, c.FinishedAt, c.Round = Refused, &why, time.Now().UTC(), 0
	changed, err := b.save(ctx, c, "")
	if err != nil {
		return err
	}
	if !changed {
		b.changed(ctx, "", &c)
		return b.tell(ctx, id)
	}
	another, anew := false, false
	if _, err := b.change(ctx, id, func(known *control) (bool, error) {
		another, anew = known.State != Refused && known.Digest != c.Digest, false
		// Otherwise another delivery of this one has begun it, or was refused likewise.
		if known.State != Refused || known.Digest == c.Digest && *known.Error == why {
			return false, nil
		}
		c.Changes = known.Changes
		*known, anew = c, true
		return true, nil
	}); err != nil {
		return err
	}
	switch {
	case another:
		return b.tellRefused(ctx, c)
	case anew: // and is in the state that it was in
		b.changed(ctx, Refused, &c)
	}
	return b.tell(ctx, id)
}

// tellRefused tells of a batch of which nothing is kept.
func (b *Batches) tellRefused(ctx context.Context, c control) error {
	err := b.cfg.Tell(ctx, jobs.Summary{Batch: c.ID, Name: c.Name, State: string(c.State), Error: c.Error, StartedAt: c.StartedAt, FinishedAt: c.FinishedAt})
	if err == nil {
		b.changed(ctx, "", &c)
	}
	return err
}

// source lists the users of the batch. Who is on the pages that are kept is read when it
// is asked for: another worker may have kept some of them meanwhile.
func (w *worker) newSource() (Source, error) {
	return NewSource(SourceConfig{
		Batch: w.spec, Fields: w.jobs.Fields(), Directory: w.b.cfg.Directory, Files: w.b.cfg.Files, Failures: w.b.cfg.Store.Failures,
		Earlier: func(ctx context.Context, each func(user string)) error {
			for n := 0; ; n++ {
				p, ok, err := w.load(ctx, n)
				if err != nil || !ok {
					return err
				}
				for _, t := range p.Targets {
					each(t.User)
				}
				for _, passed := range p.PassedOver {
					each(passed.User)
				}
			}
		},
	})
}
