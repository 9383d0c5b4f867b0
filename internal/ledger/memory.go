package ledger

import (
	"container/list"
	"context"
	"fmt"
	"sync"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// DefaultMaxBytes is how much a [Memory] remembers: about 50,000 usual jobs.
const DefaultMaxBytes = 48 << 20

// overhead is about what an entry takes beside the texts of its result, in bytes.
const overhead = 600

// Memory is a ledger in this process's memory. It forgets when the process
// ends, and does not know of other instances: for trying things out, and for
// one instance whose jobs can bear being done again after a restart.
type Memory struct {
	maxBytes int

	mu      sync.Mutex
	entries map[string]*entry
	idle    *list.List // ids of the entries that nobody holds, oldest first
	bytes   int        // that those take, about
}

type entry struct {
	attempts int
	result   *jobs.Result
	idle     *list.Element // nil while an attempt holds the job
	bytes    int
}

var _ Ledger = (*Memory)(nil)

// NewMemory makes an empty ledger that remembers the newest jobs, in about
// maxBytes; 0 is [DefaultMaxBytes].
func NewMemory(maxBytes int) *Memory {
	if maxBytes <= 0 {
		maxBytes = DefaultMaxBytes
	}
	return &Memory{maxBytes: maxBytes, entries: make(map[string]*entry), idle: list.New()}
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
		m.bytes -= e.bytes
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
	e.bytes = size(c.ID, result)
	m.bytes += e.bytes
	for m.bytes > m.maxBytes {
		oldest, _ := m.idle.Remove(m.idle.Front()).(string)
		m.bytes -= m.entries[oldest].bytes
		delete(m.entries, oldest)
	}
	return nil
}

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
