package batch

import (
	"context"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	// mostPage bounds a page's part, in bytes.
	mostPage = 800 << 10
	// mostMade is how many bytes of a page's jobs are made ahead, and published together. A
	// page of long ones would be more than an instance has.
	mostMade = 4 << 20
)

// made is a page with its jobs.
type made struct {
	page
	jobs [][]byte // by target; nil where they are to be rendered when they are needed
	size int      // of all of them, made or not
	// found says that another worker has made it, and so perhaps the one after it.
	found bool
	// wrong is what the templates first failed for.
	wrong error
	// refused is the first job that the policy refuses.
	refused *refusedJob
}

// loadPage reads a page; false where there is none yet.
func (b *Batches) loadPage(ctx context.Context, id, digest string, n int) (page, bool, error) {
	p, err := b.cfg.Store.Load(ctx, id, pagePart(digest, n))
	if err != nil || p.Version == "" {
		return page{}, false, err
	}
	var pg page
	err = decode(p, &pg)
	return pg, true, err
}

// load reads a page; false where there is none yet.
func (w *worker) load(ctx context.Context, n int) (page, bool, error) {
	return w.b.loadPage(ctx, w.batch, w.digest, n)
}

// make makes a page of the users after a cursor, unless there is one: then known says
// that it may be there.
func (w *worker) make(ctx context.Context, n int, cursor string, known bool) (*made, error) {
	if known {
		if p, ok, err := w.load(ctx, n); err != nil || ok {
			return &made{page: p, found: true}, err
		}
	}
	m, err := w.list(ctx, cursor)
	if err != nil {
		return nil, err
	}
	return w.keepPage(ctx, n, m)
}

// list makes a page of the users after a cursor, and keeps nothing.
func (w *worker) list(ctx context.Context, cursor string) (*made, error) {
	if w.source == nil {
		var err error
		if w.source, err = w.newSource(); err != nil {
			return nil, err
		}
	}
	l := w.read(ctx, cursor)
	if l.err != nil {
		return nil, l.err
	}
	m := &made{page: page{Page: Page{PassedOver: l.page.PassedOver, Next: l.page.Next}}}
	if w.b.cfg.Directory != nil {
		m.ListedAt = l.begun.UTC()
	}
	for _, t := range l.page.Targets {
		w.choose(m, t)
	}
	return m, nil
}

// listing is some users that are being listed.
type listing struct {
	cursor string
	begun  time.Time
	done   chan struct{}
	page   Page
	err    error
}

// read lists the users after a cursor, unless that has begun.
func (w *worker) read(ctx context.Context, cursor string) *listing {
	l := w.listing
	if l != nil {
		<-l.done // for a source does one thing at a time
	}
	if l == nil || l.cursor != cursor {
		l = w.startList(ctx, cursor)
		<-l.done
	}
	w.listing = nil
	if w.eager && l.err == nil && l.page.Next != "" {
		w.listing = w.startList(w.ctx, l.page.Next) //nolint:contextcheck // it ends with the worker, whatever becomes of this page
	}
	return l
}

func (w *worker) startList(ctx context.Context, cursor string) *listing {
	l := &listing{cursor: cursor, begun: time.Now(), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.page, l.err = w.source.Page(ctx, cursor)
	}()
	return l
}

// choose puts a user among the page's targets, or among those that are passed over.
func (w *worker) choose(m *made, t Target) {
	info := w.info
	info.JobID = jobID(w.batch, t.User, 0)
	var job []byte
	applies, err := w.jobs.Applies(t, info)
	if err == nil && applies {
		job, err = w.jobs.Render(t, info)
	}
	if err != nil {
		if m.wrong == nil {
			m.wrong = err
		}
		m.pass(t, reasonTemplate, err.Error())
		return
	}
	if !applies {
		m.pass(t, reasonWhere, "")
		return
	}
	if reason, message := w.b.cfg.Allow(t, job); reason != "" {
		if m.refused == nil {
			m.refused = &refusedJob{t.User, job}
		}
		m.pass(t, reasonPolicy, reason+": "+message)
		return
	}
	if m.size += len(job); m.size > mostMade {
		job = nil
	}
	m.Targets, m.jobs = append(m.Targets, t), append(m.jobs, job)
}

type refusedJob struct {
	user string
	job  []byte
}

// job is that of a target, if it is made.
func (m *made) job(i int) []byte {
	if m.jobs == nil {
		return nil
	}
	return m.jobs[i]
}

func (m *made) pass(t Target, reason, message string) {
	m.PassedOver = append(m.PassedOver, PassedOver{t.User, reason, message})
}

// keepPage keeps a page, in several where it is too long for one, the last of them
// first: where there is one, there are those that follow.
func (w *worker) keepPage(ctx context.Context, n int, m *made) (*made, error) {
	p, err := encode(w.batch, pagePart(w.digest, n), &m.page)
	if err != nil {
		return nil, err
	}
	if len(p.Data) <= mostPage {
		return m, w.keepPiece(ctx, n, m, p)
	}
	pieces, err := m.split()
	if err != nil {
		return nil, err
	}
	for i, piece := range slices.Backward(pieces) {
		p, err := encode(w.batch, pagePart(w.digest, n+i), &piece.page)
		if err == nil {
			err = w.keepPiece(ctx, n+i, piece, p)
		}
		if err != nil {
			return nil, err
		}
	}
	return pieces[0], nil
}

// keepPiece keeps a page that is short enough for it. Another worker's counts, if it
// was quicker.
func (w *worker) keepPiece(ctx context.Context, n int, m *made, p Part) error {
	_, changed, err := w.b.cfg.Store.Save(ctx, p)
	if err != nil || !changed {
		return err
	}
	m.jobs, m.found = nil, true
	m.page, _, err = w.load(ctx, n)
	return err
}

// split makes pages of one that are short enough to be kept.
func (m *made) split() ([]*made, error) {
	pieces := []*made{{page: m.page, wrong: m.wrong, refused: m.refused}}
	pieces[0].Targets = nil
	size := 0
	for i, t := range m.Targets {
		data, err := json.Marshal(t)
		if err != nil {
			return nil, err
		}
		last := pieces[len(pieces)-1]
		if size += len(data) + 1; size > mostPage && len(last.Targets) > 0 {
			next := &made{page: page{Page: Page{Next: last.Next}, ListedAt: last.ListedAt}}
			last.Next, last.More = "", true
			pieces, last, size = append(pieces, next), next, len(data)
		}
		last.Targets, last.jobs = append(last.Targets, t), append(last.jobs, m.jobs[i])
	}
	return pieces, nil
}
