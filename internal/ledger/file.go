package ledger

import (
	"context"
	"crypto/sha256"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// File is a ledger in one file, for several processes of one machine at once,
// whichever of them is killed whenever. What was kept is kept when the call
// returns, also if the machine then loses its power.
//
// An attempt whose process has ended, killed or not, loses its job at once, and not
// only when its time is up: each File that is open holds the lock of an empty file
// beside the ledger, PATH.NAME.alive, which the operating system frees with the
// process. Where there are no such locks, but on Linux, macOS and the BSDs, only
// the time counts.
type File struct {
	*store
	now   func() time.Time
	alive *presence
}

var _ Ledger = (*File)(nil)

// The tables of the file. They are its format: another one takes other names.
const (
	jobsTable     table = "onbehalf-jobs"     // by the beginning of the id's SHA-256: when to forget it, and an entry
	deferredTable table = "onbehalf-deferred" // by key: until when, and since when that is known
	goneTable     table = "onbehalf-gone"     // by the name of a File that is open no more: since when
	countsTable   table = "onbehalf-counts"   // by the beginning of the batch's SHA-256: when to forget it, and counts
	failuresTable table = "onbehalf-failures" // by the failure's key: nothing
	partsTable    table = "onbehalf-parts"    // by the beginning of the part's SHA-256: when to forget it, and a part
	listedTable   table = "onbehalf-listed"   // by what a part is listed by: nothing
)

// keyBytes of a SHA-256 name a job: short keys make a small file, and two ids with
// the same ones will not be met.
const keyBytes = 16

// OpenFile opens the ledger in the file, and makes it where there is none. An error is
// an [Error].
func OpenFile(path string) (*File, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	f := &File{store: newStore(path), now: time.Now}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = f.run(ctx, func(t *tables) (err error) {
		if err = f.tidy(t); err == nil {
			f.alive, err = announce(path)
		}
		return f.problem(err)
	})
	if err == nil {
		return f, nil
	}
	if f.alive != nil {
		_ = f.alive.Close()
		bury(path, f.alive.name)
	}
	return nil, err
}

// tidy forgets those who have gone long ago, and notes those who have since.
func (f *File) tidy(t *tables) error {
	for name, since := range t.times(goneTable) {
		if f.now().Sub(since) <= Keep {
			continue
		}
		if err := t.delete(goneTable, []byte(name)); err != nil { // whose claims are forgotten, too
			return err
		}
	}
	for _, name := range leftOver(f.path) {
		f.hasGone(t, name)
	}
	return nil
}

// hasGone tells whether the File of that name is open no more. A name that nothing is
// known of may be that of another machine, and counts as there.
func (f *File) hasGone(t *tables, name string) bool {
	if t.get(goneTable, []byte(name)) != nil {
		return true
	}
	if !presenceName.MatchString(name) || !dead(f.path, name) {
		return false
	}
	if t.putTime(goneTable, []byte(name), f.now()) == nil {
		t.after(func() { bury(f.path, name) }) // not before it is known
	}
	return true
}

// Claim implements [Ledger].
func (f *File) Claim(ctx context.Context, id string, t Terms) (c Claim, err error) {
	holder := f.alive.name + "/" + newHolder()
	err = f.run(ctx, func(tables *tables) (err error) {
		e, err := f.entry(tables, id)
		if err != nil {
			return err
		}
		known, before := e.ID != "", e.standing(f.now())
		c, err = e.claim(id, holder, f.now(), t)
		if err != nil || c.Result != nil && e.standing(f.now()) == before {
			return err
		}
		if !known {
			if err := tables.forget(jobsTable, key(id), f.now()); err != nil {
				return err
			}
		}
		return f.putEntry(tables, e, before)
	})
	if err != nil {
		return Claim{}, err
	}
	return c, nil
}

// entry is what is known of the job; an empty one where nothing is.
func (f *File) entry(t *tables, id string) (*entry, error) {
	e, err := t.entry(key(id))
	switch {
	case err != nil:
		return nil, f.problem(err)
	case e == nil:
		return &entry{}, nil
	}
	if name, _, _ := strings.Cut(e.Holder, "/"); e.Holder != "" && name != f.alive.name && f.now().Before(e.Until) && f.hasGone(t, name) {
		e.Until = f.now()
	}
	return e, nil
}

// Note implements [Ledger].
func (f *File) Note(ctx context.Context, c Claim, note string) (Claim, error) {
	err := f.change(ctx, c, func(e *entry) error {
		err := e.note(c, f.now(), note)
		if err == nil {
			c = e.held()
		}
		return err
	})
	return c, err
}

// Settle implements [Ledger].
func (f *File) Settle(ctx context.Context, c Claim, r jobs.Result) error {
	return f.change(ctx, c, func(e *entry) error { return e.end(c, f.now(), &r, PutOff{}) })
}

// Release implements [Ledger].
func (f *File) Release(ctx context.Context, c Claim, p PutOff) error {
	return f.change(ctx, c, func(e *entry) error { return e.end(c, f.now(), nil, p) })
}

// change changes what the claim holds.
func (f *File) change(ctx context.Context, c Claim, how func(*entry) error) error {
	return f.run(ctx, func(t *tables) error {
		e, err := f.entry(t, c.ID)
		if err != nil {
			return err
		}
		before := e.standing(f.now())
		if err := how(e); err != nil {
			return err
		}
		return f.putEntry(t, e, before)
	})
}

// putEntry keeps an entry that stood so before, and what its change changes of its batch.
// What can fail comes before the first that is written.
func (f *File) putEntry(t *tables, e *entry, before standing) error {
	after := e.standing(f.now())
	batch, by := moved(before, after)
	counts, err := f.added(t, batch, by)
	if err == nil {
		err = t.putEntry(e)
	}
	if err == nil && by != nil {
		err = t.put(countsTable, key(batch), counts)
	}
	if err == nil && after.failure != before.failure {
		err = t.replace(failuresTable, before.failure, after.failure)
	}
	return err
}

// Find implements [Ledger].
func (f *File) Find(ctx context.Context, id string) (s State, err error) {
	err = f.run(ctx, func(t *tables) error {
		e, err := f.entry(t, id)
		if err == nil {
			s = e.state(f.now())
		}
		return err
	})
	return s, err
}

// statesAtOnce is how many entries are read while the file is open: each is on a page of
// its own, which is this process's memory until then.
const statesAtOnce = 50

// States implements [Ledger].
func (f *File) States(ctx context.Context, ids []string) ([]State, error) {
	states := make([]State, 0, len(ids))
	for some := range slices.Chunk(ids, statesAtOnce) {
		found := make([]State, len(some))
		err := f.run(ctx, func(t *tables) error {
			for i, id := range some {
				e, err := f.entry(t, id)
				if err != nil {
					return err
				}
				found[i] = e.inShort(f.now())
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		states = append(states, found...)
	}
	return states, nil
}

// Defer implements [Ledger].
func (f *File) Defer(ctx context.Context, key string, until time.Time) error {
	return f.run(ctx, func(t *tables) error {
		if !until.After(readTime(t.get(deferredTable, []byte(key)))) {
			return nil
		}
		return t.put(deferredTable, []byte(key), appendTime(appendTime(nil, until), f.now()))
	})
}

// Deferred implements [Ledger].
func (f *File) Deferred(ctx context.Context, since time.Time) (deferred map[string]time.Time, err error) {
	err = f.run(ctx, func(t *tables) error {
		deferred = make(map[string]time.Time)
		for key, d := range t.deferrals() {
			if !f.now().Before(d.until) {
				if err := t.delete(deferredTable, []byte(key)); err != nil {
					return err
				}
			} else if !d.set.Before(since) {
				deferred[key] = d.until
			}
		}
		return nil
	})
	return deferred, err
}

// Close implements [Ledger]. What is held can be taken over at once.
func (f *File) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := f.last(ctx, func(t *tables) error {
		t.after(func() { bury(f.path, f.alive.name) })
		return t.putTime(goneTable, []byte(f.alive.name), f.now())
	})
	return errors.Join(err, f.alive.Close())
}

// key is the job's in the file.
func key(id string) []byte {
	sum := sha256.Sum256([]byte(id))
	return sum[:keyBytes]
}
