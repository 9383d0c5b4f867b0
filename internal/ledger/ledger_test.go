package ledger_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

func TestMemory(t *testing.T) {
	contract(t, func(*testing.T) ledger.Ledger { return ledger.NewMemory(0) })
}

// soon is when the attempts of these tests are over.
func soon() ledger.Terms { return ledger.Terms{Until: time.Now().Add(time.Minute)} }

// What is remembered is bounded by the bytes that it takes; what is held is not
// forgotten.
func TestMemoryIsBounded(t *testing.T) {
	l, ctx := ledger.NewMemory(10_000), t.Context()
	held, err := l.Claim(ctx, "held", soon())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		c, err := l.Claim(ctx, fmt.Sprint(i), soon())
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			err = l.Settle(ctx, c, jobs.Result{Labels: map[string]string{"l": strings.Repeat("x", 400)}})
		} else {
			err = l.Release(ctx, c, ledger.PutOff{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var known []int
	for i := 99; i >= 0; i-- { // what is known stays so, for claims of it take no room
		if c, err := l.Claim(ctx, fmt.Sprint(i), soon()); err != nil || c.Result != nil || c.Attempt > 1 {
			known = append(known, i)
		}
	}
	if len(known) < 8 || len(known) > 16 || known[len(known)-1] != 100-len(known) {
		t.Errorf("remembered are %v; want the newest dozen", known)
	}
	if err := l.Settle(ctx, held, jobs.Result{}); err != nil {
		t.Errorf("a job that is held was forgotten: %v", err)
	}
}

// What nobody ever ends, for its attempt panicked or nobody came to look what it did,
// is forgotten once it has expired, and not before.
func TestMemoryForgets(t *testing.T) {
	l, ctx, now := ledger.NewMemory(0), t.Context(), time.Now()
	ledger.SetClock(l, func() time.Time { return now })
	claim := func(id string) ledger.Claim {
		t.Helper()
		c, err := l.Claim(ctx, id, ledger.Terms{Until: now.Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	inDoubt := func(c ledger.Claim) {
		t.Helper()
		if err := l.Release(ctx, c, ledger.PutOff{Doubt: now}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		claim(fmt.Sprint("held ", i))
		inDoubt(claim(fmt.Sprint("in doubt ", i)))
	}
	noted, released := claim("noted"), claim("released")
	now = now.Add(time.Hour) // what is touched again is kept for longer
	claim("held 7")
	inDoubt(claim("in doubt 7"))
	inDoubt(released)
	if _, err := l.Note(ctx, noted, "n"); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		pass time.Duration
		want int // with the one that is claimed then
	}{{ledger.Keep - time.Hour - time.Second, 203}, {time.Second, 6}, {time.Hour, 3}} {
		now = now.Add(step.pass)
		claim(fmt.Sprint("new ", step.pass))
		if n := l.Entries(); n != step.want {
			t.Errorf("%d entries; want %d", n, step.want)
		}
	}
}

// What is known of batches is not bounded by the jobs that are remembered, and is forgotten
// once it has expired.
func TestMemoryKeepsBatches(t *testing.T) {
	l := ledger.NewMemory(10_000)
	s := &subject{Ledger: l, t: t, began: time.Now()}
	ledger.SetClock(l, s.now)
	for i := range 100 {
		s.settle(s.inBatch(fmt.Sprint(i)), failed(fmt.Sprint(i), jobs.FaultUser))
		s.save(ledger.Part{Batch: "b", Name: fmt.Sprint("page/", i), Data: make([]byte, 1000)})
		s.pass(time.Second)
	}
	s.counts(map[string]int{"failed/user": 100})
	for i := range 100 {
		if p := s.load(fmt.Sprint("page/", i)); len(p.Data) != 1000 {
			t.Errorf("page %d has %d bytes", i, len(p.Data))
		}
	}
	got := s.failures(5)
	if len(got) < 8 || len(got) > 16 || got[0] != "99" || got[len(got)-1] != fmt.Sprint(100-len(got)) {
		t.Errorf("failures of %q; want those of the newest dozen", got)
	}
	if err := s.Supersede(t.Context(), "0", "0~1"); err == nil {
		t.Error("what is not remembered was superseded")
	}
	s.pass(ledger.Keep)
	s.settle(s.claimOn("c's", s.ofBatch("c")), done("c's"))
	s.save(ledger.Part{Batch: "c", Name: "control"})
	if n := l.Batches(); n != 2 {
		t.Errorf("%d parts and counts; want those of the new batch", n)
	}
}
