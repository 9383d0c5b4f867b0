package delegation

import (
	"context"
	"sync"
	"time"
)

const (
	// tripped is for how long a fault that concerns a whole domain is repeated
	// from memory, as is a refusal of one user.
	tripped = refusalMemory
	// doubts is after how many users in a row an answer that may concern each alone
	// is taken to concern all of the domain, if none there ever got a token.
	doubts = 5
)

// gates hold the mints of each domain and set of scopes, since that is what an
// administrator grants, or forgets. A fault of the operator's or the
// administrator's meets every user of the domain: a thousand jobs must then make
// a handful of calls and not a thousand. There are as many as the policy has
// domains and Discovery sets of scopes.
type gates struct {
	mu sync.Mutex
	of map[gateKey]*gate
}

type gateKey struct{ domain, scopes string }

// gate lets one mint go ahead where nothing is known yet, and all of them when
// that one has come to something.
type gate struct {
	free    bool          // the first one has come back, and not with a fault of all
	worked  bool          // some user got a token
	doubts  int           // users in a row who did not, perhaps for a reason that all have
	probe   chan struct{} // closed when the one that goes ahead is back; nil where none is out
	refusal *Error        // what all get until then
	until   time.Time
}

// end is what a mint came to: a token, or a refusal and whom it concerns; or its
// caller gave it up.
type end struct {
	gone    bool
	refusal *Error
	breadth Breadth
}

// enter waits until a mint may be begun. It gives the fault that stops all of
// them, where there is one; otherwise leave must be called.
func (g *gates) enter(ctx context.Context, k gateKey) (leave func(end), err error) {
	for {
		probe, leave, err := g.look(k)
		if probe == nil {
			return leave, err
		}
		select {
		case <-probe:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// look gives what there is to wait for, or else how to leave, or the fault.
func (g *gates) look(k gateKey) (wait <-chan struct{}, leave func(end), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.of[k]
	if t == nil {
		t = &gate{}
		g.of[k] = t
	}
	switch {
	case time.Now().Before(t.until):
		return nil, nil, t.refusal
	case t.free:
		return nil, func(e end) { g.leave(t, e) }, nil
	case t.probe != nil:
		return t.probe, nil, nil
	}
	probe := make(chan struct{})
	t.probe = probe
	return nil, func(e end) {
		g.leave(t, e)
		g.mu.Lock()
		defer g.mu.Unlock()
		t.probe = nil
		close(probe)
	}, nil
}

// leave counts what a mint came to. One that its caller gave up says nothing.
func (g *gates) leave(t *gate, e end) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case e.gone:
		return
	case e.refusal == nil:
		t.free, t.worked, t.doubts, t.until = true, true, 0, time.Time{}
		return
	case e.breadth == OneUser:
		t.free, t.doubts = true, 0
		return
	case e.breadth == Perhaps:
		t.doubts++
		if t.worked || t.doubts < doubts {
			return
		}
	}
	shared := *e.refusal
	shared.Shared = true
	*t = gate{probe: t.probe, refusal: &shared, until: time.Now().Add(tripped)}
}
