package directory

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// memory is how long it is remembered whether a user is an administrator.
	memory = time.Hour
	// maxKnown is of how many users it is remembered, about 150 bytes each.
	maxKnown = 50_000
)

// Admins tells who is an administrator, and remembers it for an hour. It is
// safe for concurrent use, and leaves nothing running when its method has returned.
type Admins struct {
	directory *Directory

	mu      sync.Mutex
	flights map[string]*flight // by user: under way, or ended and still to be told
	oldest  []learned          // in the order in which they end
}

// learned is when the flight of a user has been told long enough.
type learned struct {
	user   string
	flight *flight
	ends   time.Time
}

// flight is one look-up, which all who ask meanwhile share.
type flight struct {
	done chan struct{} // closed when the rest is set
	is   bool
	err  error
	// void says that the one who looked gave up, which says nothing to the others.
	void bool
	ends time.Time // until when it is told; zero while it is under way
}

// NewAdmins makes an Admins. It makes no call.
func NewAdmins(d *Directory) *Admins {
	return &Admins{directory: d, flights: make(map[string]*flight)}
}

// IsAdmin tells whether the user is an administrator of any kind. Errors are those of
// [Directory.User], and are not remembered. [NotFound] is one of them: another
// organisation may know the user, and as an administrator.
func (a *Admins) IsAdmin(ctx context.Context, user string) (bool, error) {
	for {
		f, mine := a.look(user)
		if mine {
			return a.lead(ctx, user, f)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return false, ctx.Err()
		}
		if !f.void {
			return f.is, f.err
		}
	}
}

// look gives the flight that tells, and whether it is for this caller to make.
func (a *Admins) look(user string) (f *flight, mine bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget()
	if f = a.flights[user]; f == nil {
		f, mine = &flight{done: make(chan struct{}), void: true}, true
		a.flights[user] = f
	}
	return f, mine
}

// lead looks for everyone who waits on f.
func (a *Admins) lead(ctx context.Context, user string, f *flight) (bool, error) {
	defer func() { // also where the look-up panics
		a.mu.Lock()
		defer a.mu.Unlock()
		if f.void || f.err != nil {
			delete(a.flights, user)
		} else {
			a.keep(user, f, time.Now().Add(memory))
		}
		close(f.done)
	}()
	found, err := a.directory.User(ctx, user)
	f.is, f.err = found.IsAdmin || found.IsDelegatedAdmin, err
	f.void = err != nil && ctx.Err() != nil
	return f.is, f.err
}

// Learn is told what a listing has said of a user, by the primary address, at that
// time, so that nobody asks for it again within an hour of it.
func (a *Admins) Learn(user string, admin bool, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ends := at.Add(memory)
	known := a.flights[user]
	if known != nil && (known.ends.IsZero() || known.ends.After(ends)) || !time.Now().Before(ends) {
		return // newer word of it is there or coming, or this is too old
	}
	f := &flight{done: make(chan struct{}), is: admin}
	close(f.done)
	a.flights[user] = f
	a.keep(user, f, ends)
}

// keep has what was learned end at a time.
func (a *Admins) keep(user string, f *flight, ends time.Time) {
	f.ends = ends
	i, _ := slices.BinarySearchFunc(a.oldest, ends, func(l learned, t time.Time) int {
		if l.ends.After(t) {
			return 1
		}
		return -1
	})
	a.oldest = slices.Insert(a.oldest, i, learned{user, f, ends})
	a.forget()
}

// forget lets go of what was learned an hour ago, and of the oldest where there
// is too much. Of a user of whom more was learned since, that is kept.
func (a *Admins) forget() {
	now := time.Now()
	for len(a.oldest) > maxKnown || len(a.oldest) > 0 && !now.Before(a.oldest[0].ends) {
		if old := a.oldest[0]; a.flights[old.user] == old.flight {
			delete(a.flights, old.user)
		}
		a.oldest[0] = learned{}
		a.oldest = a.oldest[1:]
	}
}
