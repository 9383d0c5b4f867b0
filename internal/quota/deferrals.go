package quota

import (
	"context"
	"maps"
	"sync"
	"time"
)

const (
	// maxAhead bounds a time that Google names. What Gmail limits by the day is there
	// again within 24 hours (https://support.google.com/a/answer/166852), and a
	// text that is mistaken, or hostile, must not stop a user for longer: who is really
	// not let in then is told so again.
	maxAhead = 24 * time.Hour
	// askEvery is how old may be what is known of other instances' times: to run into a
	// limit some seconds more costs less than to ask before each call.
	askEvery = 10 * time.Second
	// askTimeout bounds how long a caller asks for the others, and for itself.
	askTimeout = 2 * time.Second
	// overlap is asked for twice, so that nobody's write is missed that was late, or
	// whose clock is.
	overlap = time.Minute
	// newsAfter is how much later than the one that is shared a time is to be shared, too.
	// Each answer to a limit of the project's names a later time, to each instance: all
	// would write the same document every second, more than Firestore likes
	// (https://cloud.google.com/firestore/docs/best-practices). Whoever knows the earlier
	// time asks again this soon anyway.
	newsAfter = askEvery
)

// Store keeps for all instances until when nobody is to spend what a key names.
type Store interface {
	// Defer keeps the time, unless a later one is kept for the key.
	Defer(ctx context.Context, key string, until time.Time) error
	// Deferred are the keys that were deferred since then, and whose time has not come;
	// where ctx ends before, those that are known by then.
	Deferred(ctx context.Context, since time.Time) (map[string]time.Time, error)
}

// Deferrals are the times that Google has named, before which nobody is to spend what
// a key names, such as a user's quota: those that were met here, and those that other
// instances have met. It is safe for concurrent use and leaves nothing running.
type Deferrals struct {
	store Store

	mu     sync.Mutex
	known  map[string]deferral
	next   time.Time // when the store is asked again
	told   time.Time // when the store was asked last, and answered
	asking bool
}

// deferral is until when nobody is to spend something.
type deferral struct {
	until time.Time
	// shared is the time that the store has, or is being told; zero where it is to be told.
	shared time.Time
}

// NewDeferrals makes a Deferrals. It does not ask the store yet.
func NewDeferrals(s Store) *Deferrals {
	return &Deferrals{store: s, known: make(map[string]deferral)}
}

// Until is the latest time of any of the keys; zero where all may be spent. It asks the
// store every 10 s for what is new: one caller does so, for 2 s at most, while the others
// use what is known, as does that one where the store does not answer.
func (d *Deferrals) Until(ctx context.Context, keys ...string) (until time.Time) {
	if since, due := d.due(); due {
		d.ask(ctx, since)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range keys {
		if t := d.known[key].until; t.After(until) {
			until = t
		}
	}
	if !until.After(time.Now()) {
		return time.Time{}
	}
	return until
}

// due tells whether it is for this caller to ask the store, and since when: first for
// all that can still count, for nothing is deferred for longer than maxAhead.
func (d *Deferrals) due() (since time.Time, due bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if d.asking || now.Before(d.next) {
		return time.Time{}, false
	}
	d.asking = true
	return latest(d.told, now.Add(-maxAhead)).Add(-overlap), true
}

// ask learns what other instances have met. Of more than can be told within its time it
// learns what was deferred last: to ask for the rest again and again would cost more
// than that whoever meets it is told by Google.
func (d *Deferrals) ask(ctx context.Context, since time.Time) {
	var told map[string]time.Time
	answered, now := false, time.Now()
	defer func() { // also where the store panics
		d.mu.Lock()
		defer d.mu.Unlock()
		d.asking = false
		d.learn(told)
		if ctx.Err() != nil { // one who gave up while it asked leaves that to the next
			return
		}
		d.next = time.Now().Add(askEvery)
		if answered {
			d.told = now
		}
	}()
	limited, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var err error
	told, err = d.store.Deferred(limited, since)
	answered = err == nil || limited.Err() != nil && len(told) > 0
}

// learn adds what others have met, and forgets what has passed. What the store has said
// already is not bounded anew, for then a time far ahead would never come; and therefore
// is kept for as long as the store may say it.
func (d *Deferrals) learn(told map[string]time.Time) {
	now := time.Now()
	for key, stored := range told {
		if known := d.known[key]; stored.After(known.shared) {
			d.known[key] = deferral{latest(bounded(stored, now), known.until), stored}
		}
	}
	maps.DeleteFunc(d.known, func(_ string, known deferral) bool { return !latest(known.until, known.shared).After(now) })
}

// Defer has nobody spend what the key names until then, at most 24 hours ahead. That is
// known here at once, and to the other instances by the store, whose error it gives. A
// time that is less than 10 s later than the one that the store has is not written:
// many calls meet the same limit at once, and one after the other.
func (d *Deferrals) Defer(ctx context.Context, until time.Time, key string) error {
	now := time.Now()
	until = bounded(until, now)
	if !until.After(now) {
		return nil
	}
	until, news := d.keep(key, until)
	if !news {
		return nil
	}
	err := d.store.Defer(ctx, key, until)
	if err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		if known := d.known[key]; known.shared.Equal(until) {
			d.known[key] = deferral{until: known.until} // whoever meets it next tries again
		}
	}
	return err
}

// keep notes the time here, and tells which one the store is to be told, if any.
func (d *Deferrals) keep(key string, until time.Time) (_ time.Time, news bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.known[key]
	known.until = latest(until, known.until)
	if news = !known.until.Before(known.shared.Add(newsAfter)); news {
		known.shared = known.until
	}
	d.known[key] = known
	return known.until, news
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// bounded is a time that can be believed, in whole seconds: times that are counted
// from several answers to one limit are the same then.
func bounded(until, now time.Time) time.Time {
	if most := now.Add(maxAhead); until.After(most) {
		until = most
	}
	if whole := until.Truncate(time.Second); !whole.Equal(until) {
		until = whole.Add(time.Second)
	}
	return until.UTC()
}
