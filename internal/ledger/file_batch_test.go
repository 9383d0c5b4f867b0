package ledger_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

// A ledger of the version that knew no batches is taken on as it is.
func TestFileOfAnOlderVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := openFile(t, path)
	if err := errors.Join(settle(l, "a"), l.Older(), l.Close()); err != nil {
		t.Fatal(err)
	}
	s := &subject{Ledger: openFile(t, path), t: t, began: time.Now()}
	if r := s.find("a").Result; r == nil || r.Job != "a" {
		t.Errorf("%+v", r)
	}
	if c, err := s.Claim(t.Context(), "a", s.ofBatch("b")); err != nil || c.Result == nil {
		t.Errorf("%+v, %v", c, err)
	}
	s.settle(s.inBatch("bad"), failed("bad", jobs.FaultUser))
	s.counts(map[string]int{"succeeded": 1, "failed/user": 1})
	s.save(ledger.Part{Batch: "b", Name: "control", Key: "k"})
	if got := s.names("k", 1); !slices.Equal(got, []string{"b/control"}) {
		t.Errorf("%q", got)
	}
}

// A process that has jobs of a batch end is killed again and again. The counts are those of
// the entries, to the last one.
func TestFileCountsUnderKills(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	var ids []string
	for round := range 10 {
		p := start(t, "batch", path, fmt.Sprint("round ", round))
		for range 10 * round {
			p.says(t)
		}
		p.kill(t)
		for worker := range 8 { // also those that it did not come to name
			for i := range 100 {
				ids = append(ids, fmt.Sprintf("round %d/%d/%d", round, worker, i))
			}
		}
	}
	s := &subject{Ledger: openFile(t, path), t: t, began: time.Now()}
	states, err := s.States(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	want, failures := make(map[string]int), 0
	for _, state := range states {
		switch r := state.Result; {
		case state.By != "":
		case r == nil && state.Waits:
			want["putOff"]++
		case r == nil: // it never was, or was held by who was killed
		case r.Status == jobs.Succeeded:
			want["succeeded"]++
		default:
			want["failed/"+string(r.Error.Fault)]++
			failures++
		}
	}
	s.counts(want)
	if got := s.failures(17); len(got) != failures {
		t.Errorf("%d failures; want %d", len(got), failures)
	}
	t.Logf("%v of %d jobs at most", want, len(ids))
}

// What is old of batches makes room for what is new.
func TestFileForgetsBatches(t *testing.T) {
	s := &subject{Ledger: openFile(t, filepath.Join(t.TempDir(), "ledger")), t: t, began: time.Now()}
	ledger.SetClock(s.Ledger, s.now)
	for _, generation := range []string{"old", "new"} {
		for i := range 200 {
			id := fmt.Sprint(generation, i)
			s.settle(s.claimOn(id, s.ofBatch(id)), failed(id, jobs.FaultUser))
			s.save(ledger.Part{Batch: id, Name: "control", Key: id})
		}
		s.pass(ledger.Keep + time.Hour)
	}
	rows, err := s.Ledger.(*ledger.File).Rows()
	if err != nil || len(rows) != 5 {
		t.Fatal(rows, err)
	}
	for table, n := range rows {
		if n > 250 {
			t.Errorf("%d %s of 200 that count", n, table)
		}
	}
	if rows["jobs"] != rows["failures"] || rows["parts"] != rows["listed"] {
		t.Errorf("%v; want each listed once", rows)
	}
}

// What stands in the place of a part or of counts is not taken for them.
func TestFileHoldsSomethingElseOfABatch(t *testing.T) {
	l := openFile(t, filepath.Join(t.TempDir(), "ledger"))
	s := &subject{Ledger: l, t: t, began: time.Now()}
	unreadable := func(what, value string, err error) {
		t.Helper()
		var is *ledger.Error
		if !errors.As(err, &is) || is.Reason != "unreadable" {
			t.Errorf("%s of %q: %v", what, value, err)
		}
	}
	s.save(ledger.Part{Batch: "b", Name: "control", Key: "k"})
	in2100 := "\x38" + strings.Repeat("\x00", 7)
	for _, value := range []string{"", "short", in2100, in2100 + "\x00", in2100 + "\xff\xff\xff\xff{}", in2100 + "\x00\x00\x00\x02{}", in2100 + "\x00\x00\x00\x01{}", in2100 + "\x00\x00\x00\x04null"} {
		if err := l.OverwritePart("b", "control", []byte(value)); err != nil {
			t.Fatal(err)
		}
		_, err := l.Load(t.Context(), "b", "control")
		unreadable("Load", value, err)
		_, err = l.List(t.Context(), "k", 1)
		unreadable("List", value, err)
		_, err = l.Save(t.Context(), ledger.Part{Batch: "b", Name: "control"})
		unreadable("Save", value, err)
	}
	c := s.inBatch("a")
	for _, value := range []string{in2100, in2100 + "{", in2100 + "[]", in2100 + `{"succeeded":"1"}`} {
		if err := l.OverwriteCounts("b", []byte(value)); err != nil {
			t.Fatal(err)
		}
		_, err := l.Tally(t.Context(), "b")
		unreadable("Tally", value, err)
		unreadable("Settle", value, l.Settle(t.Context(), c, done("a")))
	}
	if !s.find("a").Held {
		t.Error("a result was kept that was not counted")
	}
}
