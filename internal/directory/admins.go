package directory

import (
	"context"
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
	oldest  []learned          // in the order in which they are forgotten
}

// learned is when the flight of a user has been told long enough.
type learned struct {
	user string
	ends time.Time
}

// flight is one look-up, which all who ask meanwhile share.
type flight struct {
	done chan struct{} // closed when the rest is set
	is   bool
	err  error
	// void says that the one who looked gave up, which says nothing to the others.
	void bool
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
			a.oldest = append(a.oldest, learned{user, time.Now().Add(memory)})
			a.forget()
		}
		close(f.done)
	}()
	found, err := a.directory.User(ctx, user)
	f.is, f.err = found.IsAdmin || found.IsDelegatedAdmin, err
	f.void = err != nil && ctx.Err() != nil
	return f.is, f.err
}

// forget lets go of what was learned an hour ago, and of the oldest where there
// is too much.
func (a *Admins) forget() {
	now := time.Now()
	for len(a.oldest) > maxKnown || len(a.oldest) > 0 && !now.Before(a.oldest[0].ends) {
		delete(a.flights, a.oldest[0].user)
		a.oldest = a.oldest[1:]
	}
}
