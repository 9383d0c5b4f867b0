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
	tripped func(context.Context, Trip) // nil: nobody is told

	mu sync.Mutex
	of map[gateKey]*gate
}

// Trip says that all users of a domain get the same refusal for a while, and nobody is
// asked: a breaker that is open.
type Trip struct {
	Domain string // empty: the service account itself
	Scopes string // with blanks between; empty for ID tokens
	// Refusal is what all get, until Refusal.Until. Where Refusal.Shared is [Perhaps], it
	// is a guess.
	Refusal *Error
}

// gateKey is what one grant is for. Audiences and lifetimes are apart, for what
// is refused of one says nothing of another.
type gateKey struct {
	domain, scopes, audience string
	lifetime                 time.Duration
}

// gate lets one mint go ahead where nothing is known yet, and all of them when
// that one has come to something.
type gate struct {
	free    bool            // the first one has come back, and not with a fault of all
	worked  time.Time       // when a user last got a token
	doubted map[string]bool // users in a row who did not, perhaps for a reason that all have
	guesses int             // how often in a row that was taken for one that all have
	probe   chan struct{}   // closed when the one that goes ahead is back; nil where none is out
	refusal *Error          // what all get
	until   time.Time       // then
}

// end is what a mint came to: a token, or a refusal and whom it concerns; or its
// caller gave it up.
type end struct {
	user    string
	begun   time.Time
	gone    bool
	refusal *Error
	breadth Breadth
}

// enter waits until a mint may be begun. It gives the fault that stops all of
// them, where there is one; otherwise leave must be called.
func (g *gates) enter(ctx context.Context, k gateKey) (leave func(context.Context, end), err error) {
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
func (g *gates) look(k gateKey) (wait <-chan struct{}, leave func(context.Context, end), err error) {
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
		return nil, func(ctx context.Context, e end) { g.leave(ctx, k, t, e) }, nil
	case t.probe != nil:
		return t.probe, nil, nil
	}
	probe := make(chan struct{})
	t.probe = probe
	return nil, func(ctx context.Context, e end) {
		g.leave(ctx, k, t, e)
		g.mu.Lock()
		defer g.mu.Unlock()
		t.probe = nil
		close(probe)
	}, nil
}

// leave counts what a mint came to, and tells where that trips the gate.
func (g *gates) leave(ctx context.Context, k gateKey, t *gate, e end) {
	g.mu.Lock()
	open := time.Now().Before(t.until)
	t.count(e)
	refusal, trips := t.refusal, !open && time.Now().Before(t.until)
	g.mu.Unlock()
	if trips && g.tripped != nil {
		g.tripped(ctx, Trip{k.domain, k.scopes, refusal})
	}
}

// count counts what a mint came to. One that its caller gave up says nothing.
func (t *gate) count(e end) {
	switch {
	case e.gone:
	case e.refusal == nil:
		t.free, t.worked, t.doubted, t.guesses, t.until = true, time.Now(), nil, 0, time.Time{}
	case e.breadth == EveryUser && t.worked.After(e.begun): // others have shown since that it is not all
	case e.breadth == EveryUser:
		t.trip(e)
	case time.Now().Before(t.until): // it was under way when the others were stopped
	case e.breadth == OneUser:
		t.free, t.doubted, t.guesses = true, nil, 0
	case t.worked.IsZero():
		t.doubt(e)
	}
}

// doubt counts the users who may have met what all would meet.
func (t *gate) doubt(e end) {
	if t.doubted == nil {
		t.doubted = make(map[string]bool)
	}
	t.doubted[e.user] = true
	if len(t.doubted) >= doubts {
		t.guesses++
		t.trip(e)
	}
}

// trip has all get the refusal for a while. Then one goes ahead again.
func (t *gate) trip(e end) {
	shared := *e.refusal
	t.until = time.Now().Add(tripped)
	shared.Shared, shared.Until, shared.Repeated = e.breadth, t.until, t.guesses > 1
	t.refusal, t.free, t.doubted = &shared, false, nil
}
