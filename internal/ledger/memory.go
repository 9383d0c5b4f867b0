package ledger

import (
	"container/list"
	"context"
	"fmt"
	"sync"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// DefaultMaxEntries is how many jobs a [Memory] remembers, about 1 KB each.
const DefaultMaxEntries = 100_000

// Memory is a ledger in this process's memory. It forgets when the process
// ends, and does not know of other instances: for trying things out, and for
// one instance whose jobs can bear being done again after a restart.
type Memory struct {
	maxEntries int

	mu      sync.Mutex
	entries map[string]*entry
	idle    *list.List // ids of the entries that nobody holds, oldest first
}

type entry struct {
	attempts int
	result   *jobs.Result
	idle     *list.Element // nil while an attempt holds the job
}

var _ Ledger = (*Memory)(nil)

// NewMemory makes an empty ledger that remembers the newest maxEntries jobs;
// 0 is [DefaultMaxEntries].
func NewMemory(maxEntries int) *Memory {
	if maxEntries <= 0 {
		maxEntries = DefaultMaxEntries
	}
	return &Memory{maxEntries: maxEntries, entries: make(map[string]*entry), idle: list.New()}
}

// Claim implements [Ledger].
func (m *Memory) Claim(_ context.Context, id string) (Claim, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[id]
	switch {
	case e == nil:
		e = &entry{}
		m.entries[id] = e
	case e.result != nil:
		return Claim{ID: id, Attempt: e.attempts, Result: e.result}, nil
	case e.idle == nil:
		return Claim{}, ErrHeld
	default:
		m.idle.Remove(e.idle)
		e.idle = nil
	}
	e.attempts++
	return Claim{ID: id, Attempt: e.attempts}, nil
}

// Settle implements [Ledger].
func (m *Memory) Settle(_ context.Context, c Claim, r jobs.Result) error {
	return m.end(c, &r)
}

// Release implements [Ledger].
func (m *Memory) Release(_ context.Context, c Claim) error {
	return m.end(c, nil)
}

// end ends the claim, if it is the one that holds the job.
func (m *Memory) end(c Claim, result *jobs.Result) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[c.ID]
	if e == nil || e.idle != nil || e.attempts != c.Attempt {
		return fmt.Errorf("ledger: attempt %d does not hold job %q", c.Attempt, c.ID)
	}
	e.result = result
	e.idle = m.idle.PushBack(c.ID)
	if m.idle.Len() > m.maxEntries {
		if oldest, ok := m.idle.Remove(m.idle.Front()).(string); ok {
			delete(m.entries, oldest)
		}
	}
	return nil
}
