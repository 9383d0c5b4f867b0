package ledger

import (
	"context"
	"strings"
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

// Entries counts what is in memory of jobs.
func (m *Memory) Entries() int { return len(m.entries) }

// Batches counts what is in memory of batches.
func (m *Memory) Batches() int { return len(m.counts) + len(m.parts) }

// Rows counts what is in each of the file's tables.
func (f *File) Rows() (n map[string]int, err error) {
	err = f.run(context.Background(), func(t *tables) error {
		n = make(map[string]int)
		for _, in := range []table{jobsTable, countsTable, failuresTable, partsTable, listedTable} {
			for range t.each(in, nil) {
				n[strings.TrimPrefix(string(in), "onbehalf-")]++
			}
		}
		return nil
	})
	return n, err
}

// Older has the file be one of the version that knew no batches.
func (f *File) Older() error {
	return f.run(context.Background(), func(t *tables) error {
		t.wrote = true
		for _, name := range []table{countsTable, failuresTable, partsTable, listedTable} {
			if err := t.tx.DeleteBucket([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
}

// OverwritePart puts something into the place of a part.
func (f *File) OverwritePart(batch, name string, value []byte) error {
	return f.run(context.Background(), func(t *tables) error { return t.put(partsTable, key(partID(batch, name)), value) })
}

// OverwriteCounts puts something into the place of a batch's counts.
func (f *File) OverwriteCounts(batch string, value []byte) error {
	return f.run(context.Background(), func(t *tables) error { return t.put(countsTable, key(batch), value) })
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
