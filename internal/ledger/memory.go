package ledger

import (
	"container/list"
	"context"
	"maps"
	"sync"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// DefaultMaxBytes is how much a [Memory] remembers: about 50,000 usual jobs.
const DefaultMaxBytes = 48 << 20

// overhead is about what an entry takes beside the texts of its result, in bytes.
const overhead = 800

// Memory is a ledger in this process's memory. It forgets when the process
// ends, and does not know of other instances: for trying things out, and for
// one instance whose jobs can bear being done again after a restart. The counts and
// the parts of batches it keeps beside the bound, until they expire.
type Memory struct {
	maxBytes int
	now      func() time.Time

	mu       sync.Mutex
	entries  map[string]*remembered
	idle     *list.List // ids of the entries that may be forgotten, oldest first
	bytes    int        // that those take, about
	kept     *list.List // ids of the others, in the order in which they expire
	deferred map[string]deferral
	batches
}

type remembered struct {
	entry
	place *list.Element // in one of the lists: in kept while an attempt holds the job, or its call is in doubt
	idle  bool
	bytes int
}

var _ Ledger = (*Memory)(nil)

// NewMemory makes an empty ledger that remembers the newest jobs, in about
// maxBytes; 0 is [DefaultMaxBytes].
func NewMemory(maxBytes int) *Memory {
	if maxBytes <= 0 {
		maxBytes = DefaultMaxBytes
	}
	return &Memory{maxBytes: maxBytes, now: time.Now, entries: make(map[string]*remembered), idle: list.New(), kept: list.New(), deferred: make(map[string]deferral), batches: newBatches()}
}

// Claim implements [Ledger].
func (m *Memory) Claim(_ context.Context, id string, t Terms) (Claim, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forget()
	e := m.entries[id]
	if e == nil {
		e = &remembered{}
	}
	now := m.now()
	before := e.standing(now)
	c, err := e.claim(id, newHolder(), now, t)
	if err != nil {
		return c, err
	}
	m.count(before, e.standing(now), now)
	if c.Result != nil {
		return c, nil
	}
	m.entries[id] = e
	m.keep(e)
	return c, nil
}

// forget drops what has expired of that which is kept: whose attempt has not ended it,
// for it panicked, or whose doubt nobody has come to end.
func (m *Memory) forget() {
	for now, first := m.now(), m.kept.Front(); first != nil; first = m.kept.Front() {
		id, _ := first.Value.(string)
		if now.Before(m.entries[id].Expires) {
			return
		}
		m.kept.Remove(first)
		delete(m.entries, id)
	}
}

// keep has an entry that was just changed kept until it expires: as the last.
func (m *Memory) keep(e *remembered) {
	switch {
	case e.idle:
		m.idle.Remove(e.place)
		m.bytes -= e.bytes
	case e.place != nil:
		m.kept.Remove(e.place)
	}
	e.place, e.idle = m.kept.PushBack(e.ID), false
}

// Note implements [Ledger].
func (m *Memory) Note(_ context.Context, c Claim, note string) (Claim, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[c.ID]
	if e == nil {
		return c, ErrLost
	}
	if err := e.note(c, m.now(), note); err != nil {
		return c, err
	}
	m.keep(e)
	return e.held(), nil
}

// Settle implements [Ledger].
func (m *Memory) Settle(_ context.Context, c Claim, r jobs.Result) error {
	return m.end(c, &r, PutOff{})
}

// Release implements [Ledger].
func (m *Memory) Release(_ context.Context, c Claim, p PutOff) error {
	return m.end(c, nil, p)
}

func (m *Memory) end(c Claim, result *jobs.Result, p PutOff) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[c.ID]
	if e == nil {
		return ErrLost
	}
	now := m.now()
	before := e.standing(now)
	if err := e.end(c, now, result, p); err != nil {
		return err
	}
	m.count(before, e.standing(now), now)
	if result == nil && !p.Doubt.IsZero() {
		m.keep(e) // what may have been done must not be forgotten
		return nil
	}
	m.kept.Remove(e.place)
	e.place, e.idle = m.idle.PushBack(c.ID), true
	e.bytes = size(c.ID, result)
	m.bytes += e.bytes
	for m.bytes > m.maxBytes {
		oldest, _ := m.idle.Remove(m.idle.Front()).(string)
		m.bytes -= m.entries[oldest].bytes
		delete(m.entries, oldest)
	}
	return nil
}

// Find implements [Ledger].
func (m *Memory) Find(_ context.Context, id string) (State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[id]; e != nil {
		return e.state(m.now()), nil
	}
	return State{}, nil
}

// States implements [Ledger].
func (m *Memory) States(_ context.Context, ids []string) ([]State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	states := make([]State, len(ids))
	for i, id := range ids {
		if e := m.entries[id]; e != nil {
			states[i] = e.inShort(m.now())
		}
	}
	return states, nil
}

// Defer implements [Ledger].
func (m *Memory) Defer(_ context.Context, key string, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if until.After(m.deferred[key].until) {
		m.deferred[key] = deferral{until: until, set: m.now()}
	}
	return nil
}

// Deferred implements [Ledger].
func (m *Memory) Deferred(_ context.Context, since time.Time) (map[string]time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	maps.DeleteFunc(m.deferred, func(_ string, d deferral) bool { return !now.Before(d.until) })
	deferred := make(map[string]time.Time)
	for key, d := range m.deferred {
		if !d.set.Before(since) {
			deferred[key] = d.until
		}
	}
	return deferred, nil
}

// Close implements [Ledger].
func (m *Memory) Close() error { return nil }

// size is about how many bytes of memory an entry takes.
func size(id string, r *jobs.Result) int {
	n := overhead + len(id)
	if r == nil {
		return n
	}
	n += len(r.Response)
	for name, value := range r.Labels {
		n += 2*16 + len(name) + len(value)
	}
	if r.Error != nil {
		n += len(r.Error.Message) + len(r.Error.Fix)
	}
	return n
}
