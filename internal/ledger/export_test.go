package ledger

import (
	"context"
	"time"
)

// SetClock has a ledger take the time from now.
func SetClock(l Ledger, now func() time.Time) {
	switch l := l.(type) {
	case *Memory:
		l.now = now
	case *File:
		l.now = now
	case *Firestore:
		l.now = now
	}
}

// SetLongest has claims and notes take longer.
func (f *Firestore) SetLongest(d time.Duration) { f.longest = d }

// Entries counts what is in memory.
func (m *Memory) Entries() int { return len(m.entries) }

// Entries counts what is in the file.
func (f *File) Entries() (n int, err error) {
	err = f.run(context.Background(), func(t *tables) error {
		for range t.each(jobsTable, nil) {
			n++
		}
		return nil
	})
	return n, err
}

// HasGone is hasGone.
func (f *File) HasGone(name string) (gone bool, err error) {
	err = f.run(context.Background(), func(t *tables) error {
		gone = f.hasGone(t, name)
		return nil
	})
	return gone, err
}

// Overwrite puts something into the place of a job's entry.
func (f *File) Overwrite(id string, value []byte) error {
	return f.run(context.Background(), func(t *tables) error { return t.put(jobsTable, key(id), value) })
}

// PanicAfter panics in the middle of an operation that has written something.
func (f *File) PanicAfter(id string, value []byte) error {
	return f.run(context.Background(), func(t *tables) error {
		if err := t.put(jobsTable, key(id), value); err != nil {
			return err
		}
		panic(value)
	})
}
