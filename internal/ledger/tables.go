package ledger

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// timeBytes is how long a time is in the file, which is kept as its nanoseconds
// since 1970. An entry begins with when to forget it.
const timeBytes = 8

// table is the name of one.
type table string

// tables are what one operation reads and writes. It writes what is whole, or
// nothing: others' operations are kept together with it.
type tables struct {
	tx       *bbolt.Tx
	wrote    bool
	then     []func()
	touching bool // bbolt is at work, whose panics say that the file is damaged
}

// touch has bbolt do something for an operation.
func (t *tables) touch(do func()) {
	t.touching = true
	do()
	t.touching = false
}

// make makes the tables of a new file, and those that an older ledger does not have. A
// database that has only others is no ledger.
func (t *tables) make() error {
	if t.bucket(listedTable) != nil { // the last that is made
		return nil
	}
	if other, _ := t.tx.Cursor().First(); other != nil && t.bucket(goneTable) == nil {
		return errNoLedger
	}
	t.wrote = true
	for _, name := range []table{jobsTable, deferredTable, goneTable, countsTable, failuresTable, partsTable, listedTable} {
		if _, err := t.tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	return nil
}

func (t *tables) bucket(name table) *bbolt.Bucket { return t.tx.Bucket([]byte(name)) }

// after has what is to be done once all this is kept.
func (t *tables) after(do func()) { t.then = append(t.then, do) }

// get is what stands under the key, until the operation ends; nil is nothing.
func (t *tables) get(in table, key []byte) (value []byte) {
	t.touch(func() { value = t.bucket(in).Get(key) })
	return value
}

func (t *tables) put(in table, key, value []byte) (err error) {
	t.wrote = true
	t.touch(func() { err = t.bucket(in).Put(key, value) })
	return err
}

func (t *tables) delete(in table, key []byte) (err error) {
	t.wrote = true
	t.touch(func() { err = t.bucket(in).Delete(key) })
	return err
}

// next is a number that the table has not given before.
func (t *tables) next(in table) (n uint64, err error) {
	t.wrote = true
	t.touch(func() { n, err = t.bucket(in).NextSequence() })
	return n, err
}

func (t *tables) putTime(in table, key []byte, at time.Time) error {
	return t.put(in, key, appendTime(nil, at))
}

// times are all of a table of times.
func (t *tables) times(in table) map[string]time.Time {
	all := make(map[string]time.Time)
	for key, value := range t.each(in, nil) {
		all[string(key)] = readTime(value)
	}
	return all
}

// deferrals are all that there are.
func (t *tables) deferrals() map[string]deferral {
	all := make(map[string]deferral)
	for key, value := range t.each(deferredTable, nil) {
		all[string(key)] = deferral{until: readTime(value), set: readTime(value[min(timeBytes, len(value)):])}
	}
	return all
}

// each goes through a table, from the first key that is not before this one.
func (t *tables) each(in table, from []byte) func(yield func(key, value []byte) bool) {
	return func(yield func(key, value []byte) bool) {
		var c *bbolt.Cursor
		var key, value []byte
		t.touch(func() { c = t.bucket(in).Cursor(); key, value = c.Seek(from) })
		for key != nil && yield(key, value) {
			t.touch(func() { key, value = c.Next() })
		}
	}
}

// replace has another key stand in the place of one, in a table of which the keys are
// all; either may be empty.
func (t *tables) replace(in table, from, to string) (err error) {
	if to != "" {
		err = t.put(in, []byte(to), nil)
	}
	if err == nil && from != "" {
		err = t.delete(in, []byte(from))
	}
	return err
}

// entry is what is kept under a job's key; nil where nothing is.
func (t *tables) entry(at []byte) (*entry, error) {
	data := t.get(jobsTable, at)
	if data == nil {
		return nil, nil
	}
	if len(data) < timeBytes {
		return nil, errUnreadable
	}
	e, err := decodeAny(data[timeBytes:])
	if err != nil || !bytes.Equal(key(e.ID), at) {
		return nil, errUnreadable
	}
	return e, nil
}

func (t *tables) putEntry(e *entry) error {
	data, err := e.encode()
	if err != nil {
		return err
	}
	return t.put(jobsTable, key(e.ID), append(appendTime(nil, e.Expires), data...))
}

// swept is how many neighbours of a new entry are looked at.
const swept = 4

// forget drops what stands after key in a table and whose time is up: with each new entry
// some, so that the file stays within 4/3 of what is to be remembered, and nobody ever
// has to go through all of it.
func (t *tables) forget(in table, key []byte, now time.Time) error {
	var old [][]byte
	var listed []string
	seen := 0
	for neighbour, value := range t.each(in, key) {
		if !now.Before(readTime(value)) {
			old = append(old, slices.Clone(neighbour))
			listed = append(listed, listing(in, value))
		}
		if seen++; seen == swept {
			break
		}
	}
	for _, key := range old { // a table that changes is not gone through
		if err := t.delete(in, key); err != nil {
			return err
		}
	}
	for _, by := range listed {
		if err := t.replace(listings[in].in, by, ""); err != nil {
			return err
		}
	}
	return nil
}

// listings are the tables by which others are gone through in an order, and what a value
// of those is listed by, without its time; empty: it is not.
var listings = map[table]struct {
	in table
	by func(value []byte) string
}{
	jobsTable: {failuresTable, func(value []byte) string {
		e, err := decodeAny(value)
		if err != nil {
			return ""
		}
		return e.failure()
	}},
	partsTable: {listedTable, func(value []byte) string {
		p, err := decodePart(value)
		if err != nil {
			return ""
		}
		return p.listing()
	}},
}

// listing is what a value of a table is listed by; empty: it is not.
func listing(in table, value []byte) string {
	if by := listings[in].by; by != nil && len(value) >= timeBytes {
		return by(value[timeBytes:])
	}
	return ""
}

func appendTime(to []byte, at time.Time) []byte {
	return binary.BigEndian.AppendUint64(to, uint64(at.UnixNano()))
}

// readTime is the time that a value begins with; zero where there is none.
func readTime(value []byte) time.Time {
	if len(value) < timeBytes {
		return time.Time{}
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(value))) //nolint:gosec // which is what appendTime wrote
}
