package ledger

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// batches are what a [Memory] keeps of batches.
type batches struct {
	counts map[string]*counted // by batch
	parts  map[string]*part    // by their ids
	saves  uint64              // of parts, so far
}

type counted struct {
	of      map[string]int
	expires time.Time
}

type part struct {
	Part
	expires time.Time
}

func newBatches() batches {
	return batches{counts: make(map[string]*counted), parts: make(map[string]*part)}
}

// count changes the counts as the change of an entry does.
func (b *batches) count(from, to standing, now time.Time) {
	batch, by := moved(from, to)
	if by == nil {
		return
	}
	c := b.countsOf(batch, now)
	if c == nil {
		maps.DeleteFunc(b.counts, func(_ string, c *counted) bool { return !now.Before(c.expires) })
		c = &counted{of: make(map[string]int)}
		b.counts[batch] = c
	}
	add(c.of, by)
	c.expires = now.Add(Keep)
}

// countsOf are the batch's; nil where there are none.
func (b *batches) countsOf(batch string, now time.Time) *counted {
	if c := b.counts[batch]; c != nil && now.Before(c.expires) {
		return c
	}
	return nil
}

// partOf is a part; nil where there is none.
func (b *batches) partOf(id string, now time.Time) *part {
	if p := b.parts[id]; p != nil && now.Before(p.expires) {
		return p
	}
	return nil
}

// Supersede implements [Ledger].
func (m *Memory) Supersede(_ context.Context, id, by string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[id]
	if e == nil {
		e = &remembered{}
	}
	now := m.now()
	before := e.standing(now)
	if _, err := e.supersede(id, by, now); err != nil {
		return err
	}
	m.count(before, e.standing(now), now)
	return nil
}

// Tally implements [Ledger].
func (m *Memory) Tally(_ context.Context, batch string) (map[string]int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.countsOf(batch, m.now()); c != nil {
		return shown(c.of), nil
	}
	return nil, nil
}

// Failures implements [Ledger].
func (m *Memory) Failures(_ context.Context, batch, after string, limit int) ([]jobs.Result, string, error) {
	limit = max(limit, 1)
	from, err := failuresFrom(batch, after)
	if err != nil {
		return nil, "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	found := make(map[string]*entry)
	for _, e := range m.entries {
		if e.Batch != batch || !now.Before(e.Expires) {
			continue
		}
		if at := e.failure(); at >= from {
			found[at] = &e.entry
		}
	}
	order := slices.Sorted(maps.Keys(found))
	var page []*entry
	for _, at := range order[:min(len(order), limit+1)] {
		page = append(page, found[at])
	}
	results, next := pageOf(page, limit)
	return results, next, nil
}

// Load implements [Ledger].
func (m *Memory) Load(_ context.Context, batch, name string) (Part, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.partOf(partID(batch, name), m.now()); p != nil {
		return p.copied(), nil
	}
	return Part{Batch: batch, Name: name}, nil
}

// Save implements [Ledger].
func (m *Memory) Save(_ context.Context, p Part) (string, error) {
	if err := p.check(); err != nil {
		return "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	kept := m.partOf(p.id(), now)
	if kept == nil && p.Version != "" || kept != nil && p.Version != kept.Version {
		return "", ErrChanged
	}
	if kept == nil {
		maps.DeleteFunc(m.parts, func(_ string, p *part) bool { return !now.Before(p.expires) })
	}
	m.saves++
	p.Data, p.Version = slices.Clone(p.Data), strconv.FormatUint(m.saves, 10)
	m.parts[p.id()] = &part{Part: p, expires: now.Add(Keep)}
	return p.Version, nil
}

// List implements [Ledger].
func (m *Memory) List(_ context.Context, keyPrefix string, limit int) ([]Part, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []*part
	for id := range m.parts {
		if p := m.partOf(id, m.now()); p != nil && p.Key != "" && strings.HasPrefix(p.Key, keyPrefix) {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, func(a, b *part) int { return cmp.Or(cmp.Compare(b.Key, a.Key), cmp.Compare(b.id(), a.id())) })
	var parts []Part
	for _, p := range found[:min(len(found), max(limit, 1))] {
		parts = append(parts, p.copied())
	}
	return parts, nil
}

// copied is the part for who may change its data.
func (p *part) copied() Part {
	c := p.Part
	c.Data = slices.Clone(c.Data)
	return c
}
