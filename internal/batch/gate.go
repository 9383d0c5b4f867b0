package batch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// fresh is for how long an instance goes by what it has read of a batch's control: so
// long may a batch that was paused go on.
const fresh = 2 * time.Second

// mostGates bounds the batches that an instance remembers.
const mostGates = 1000

// Verdict is what becomes of a batch's job that was delivered.
type Verdict int

// What can become of it.
const (
	// GoAhead has it done.
	GoAhead Verdict = iota
	// Park has it given back: the batch stands still, and when it goes on, whatever has
	// no result is published again.
	Park
	// Cancel has it end as cancelled.
	Cancel
)

// Gate says what becomes of a job that was published in this round of its batch.
func (b *Batches) Gate(ctx context.Context, id string, round int) (Verdict, error) {
	c, err := b.control(ctx, id)
	for i := 0; err == nil && round > c.Round && i < mostReads; i++ { // what is known here is older than the job
		c, err = b.gates.read(ctx, id, b.load)
	}
	switch {
	case err != nil:
		return Park, err
	case round > c.Round: // whoever gave it back now, would give it back for good
		return Park, errBehind
	}
	switch c.State {
	case Paused, Stopped:
		return Park, nil
	case Cancelling, Cancelled:
		return Cancel, nil
	case Running, Completed, Expired: // whose last jobs may come once more, and have their results
		return GoAhead, nil
	case Refused:
	}
	return Park, fmt.Errorf("batch: a job of a batch that is %s", c.State)
}

// mostReads is how often it is read until it is as new as the job: who asks may be told
// what another has begun to read before.
const mostReads = 2

var errBehind = errors.New("batch: a job of a round that is not known here")

// control is a batch's control as it was within the last moments.
func (b *Batches) control(ctx context.Context, id string) (control, error) {
	if c, ok := b.gates.get(id); ok {
		return c, nil
	}
	return b.gates.read(ctx, id, b.load)
}

// gates are what an instance knows of the batches whose jobs it does.
type gates struct {
	reads singleflight.Group // for many jobs find at once that it is not fresh

	mu sync.Mutex
	of map[string]gate
}

type gate struct {
	control
	read time.Time
}

// readTime bounds one reading, for whoever waits for it.
const readTime = 10 * time.Second

// read reads a batch's control once for all who ask at the same time.
func (g *gates) read(ctx context.Context, id string, load func(context.Context, string) (control, string, error)) (control, error) {
	read := g.reads.DoChan(id, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTime)
		defer cancel()
		begun := time.Now()
		c, _, err := load(ctx, id)
		if err == nil {
			g.put(c, begun)
		}
		return c, err
	})
	select {
	case <-ctx.Done():
		return control{}, ctx.Err()
	case r := <-read:
		c, _ := r.Val.(control)
		return c, r.Err
	}
}

// get gives what is known of a batch, if that is fresh.
func (g *gates) get(id string) (control, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	known, ok := g.of[id]
	return known.control, ok && time.Since(known.read) < fresh
}

// put remembers a batch as it was at a time, unless a later change of it is known.
func (g *gates) put(c control, at time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if known, ok := g.of[c.ID]; ok && known.Changes > c.Changes {
		return
	}
	if len(g.of) >= mostGates {
		clear(g.of) // they are soon read again
	}
	g.of[c.ID] = gate{c, at}
}
