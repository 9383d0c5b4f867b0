package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

// What the comment of [ledger.Firestore] says of what batches cost.
func testFirestoreBatchCosts(t *testing.T, l *ledger.Firestore, w *wire) {
	s := &subject{Ledger: l, t: t, began: time.Now()}
	ctx := t.Context()
	const write, read, search = "Commit", "BatchGetDocuments", "RunQuery"
	var part ledger.Part
	ids := make([]string, 500)
	for i := range ids {
		ids[i] = fmt.Sprint("job ", i)
	}
	for _, step := range []struct {
		what      string
		do        func()
		want      map[string]int
		documents int
	}{
		{"a job that is done at once", func() { s.settle(s.inBatch("a"), done("a")) }, map[string]int{write: 2}, 3},
		{"a further delivery", func() { _, _ = l.Claim(ctx, "a", s.ofBatch("b")) }, map[string]int{write: 1, read: 1}, 0},
		{"one that is put off", func() { s.release(s.inBatch("c"), ledger.PutOff{}) }, map[string]int{write: 2}, 3},
		{"one that is tried again", func() { s.settle(s.inBatch("c"), failed("c", jobs.FaultUser)) }, map[string]int{write: 3, read: 1}, 4},
		{"one that is superseded", func() { s.supersede("c", "c~1") }, map[string]int{write: 1, read: 1}, 2},
		{"and again", func() { s.supersede("c", "c~1") }, map[string]int{read: 1}, 0},
		{"a job on its own", func() { s.settle(s.claim("d"), done("d")) }, map[string]int{write: 2}, 2},
		{"counts", func() { s.counts(map[string]int{"succeeded": 1}) }, map[string]int{read: 1}, 0},
		{"failures", func() { s.failures(10) }, map[string]int{search: 1}, 0},
		{"a new part", func() { part = s.save(ledger.Part{Batch: "b", Name: "control", Key: "k"}) }, map[string]int{write: 1}, 1},
		{"a part anew", func() { part = s.save(part) }, map[string]int{write: 1}, 1},
		{"to look at a part", func() { s.load("control") }, map[string]int{read: 1}, 0},
		{"to list parts", func() { s.names("k", 1) }, map[string]int{search: 1}, 0},
		{"what is known of 500", func() { _, _ = l.States(ctx, ids) }, map[string]int{read: 5}, 0},
	} {
		w.costs()
		step.do()
		if n := w.documents(); n != step.documents {
			t.Errorf("%s: %d documents written; want %d", step.what, n, step.documents)
		}
		if diff := cmp.Diff(step.want, w.costs()); diff != "" {
			t.Errorf("%s: %s", step.what, diff)
		}
	}
}

// Writes are refused for others being at the same documents, and answers to writes that
// took effect are lost: no job is lost for that, and nothing counts twice.
func testFirestoreBatchIsContended(t *testing.T, l *ledger.Firestore, w *wire) {
	s := &subject{Ledger: l, t: t, began: time.Now()}
	for i, of := range []trouble{{lose: 1}, {abort: 1}, {lie: 1}, {abort: 2, lose: 1}, {lose: 2}, {abort: 1, lose: 1, lie: 1}} {
		next := func() { w.next(of) }
		id, part := fmt.Sprint("job ", i), ledger.Part{Batch: "b", Name: fmt.Sprint("part ", i)}
		next()
		c := s.inBatch(id)
		next()
		s.release(c, ledger.PutOff{Doubt: s.now()})
		s.counts(map[string]int{"succeeded": i, "putOff": 1})
		next()
		c = s.inBatch(id)
		s.counts(map[string]int{"succeeded": i})
		next()
		s.settle(c, failed(id, jobs.FaultAdmin))
		s.counts(map[string]int{"succeeded": i, "failed/admin": 1})
		if got := s.failures(9); !slices.Equal(got, []string{id}) {
			t.Errorf("%q", got)
		}
		next()
		s.supersede(id, id+"~1")
		s.counts(map[string]int{"succeeded": i})
		if got := s.failures(9); got != nil {
			t.Errorf("%q", got)
		}
		c = s.claim(id + "~1")
		s.settle(c, done(id+"~1"))
		next()
		if c, err := l.Claim(t.Context(), id+"~1", s.ofBatch("b")); err != nil || c.Result == nil { // from here on it counts
			t.Errorf("%+v, %v", c, err)
		}
		s.counts(map[string]int{"succeeded": i + 1})

		next()
		part = s.save(part)
		next()
		part = s.save(part)
		if got := s.load(part.Name); got.Version != part.Version {
			t.Errorf("%+v; want %+v", got, part)
		}
	}

	// Who is not let in in time is told so, and has done nothing.
	c := s.inBatch("late")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	w.next(trouble{abort: math.MaxInt})
	var is *ledger.Error
	if err := l.Settle(ctx, c, done("late")); !errors.As(err, &is) || is.Fault != jobs.FaultGoogle || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	w.next(trouble{})
	s.counts(map[string]int{"succeeded": 6})
	w.next(trouble{abort: 6}) // however often
	s.settle(c, done("late"))
	s.counts(map[string]int{"succeeded": 7})
}

// The counts of a batch are spread over documents, for one takes few writes a second; and
// those of a job are always in the same one.
func testFirestoreSpreadsCounts(t *testing.T, l *ledger.Firestore, w *wire) {
	s := &subject{Ledger: l, t: t, began: time.Now()}
	for i := range 128 {
		s.settle(s.inBatch(fmt.Sprint(i)), done(fmt.Sprint(i)))
	}
	if n := len(w.counts); n < 48 || n > 64 {
		t.Errorf("over %d; want nearly all of 64", n)
	}
	s.counts(map[string]int{"succeeded": 128})
	clear(w.counts)
	for range 10 {
		s.release(s.inBatch("a"), ledger.PutOff{})
	}
	if n := len(w.counts); n != 1 {
		t.Errorf("those of one job over %d", n)
	}
}
