package ledger_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

// soon is when the attempts of these tests are over.
func soon() ledger.Terms { return ledger.Terms{Until: time.Now().Add(time.Minute)} }

// contract is what every ledger promises.
func contract(t *testing.T, open func(t *testing.T) ledger.Ledger) {
	t.Run("a settled job keeps its first result", func(t *testing.T) {
		l, ctx := open(t), t.Context()
		c, err := l.Claim(ctx, "a", soon())
		if err != nil || c.Attempt != 1 || c.Result != nil {
			t.Fatalf("%+v, %v", c, err)
		}
		if err := l.Settle(ctx, c, jobs.Result{Job: "a", Status: jobs.Succeeded}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			again, err := l.Claim(ctx, "a", soon())
			if err != nil || again.Result == nil || again.Result.Status != jobs.Succeeded || again.Attempt != 1 {
				t.Fatalf("%+v, %v", again, err)
			}
			if err := l.Settle(ctx, again, jobs.Result{Job: "a", Status: jobs.Failed}); err == nil {
				t.Error("a second result was taken")
			}
		}
	})
	t.Run("a job is held by one", func(t *testing.T) {
		l, ctx := open(t), t.Context()
		if _, err := l.Claim(ctx, "a", soon()); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Claim(ctx, "a", soon()); !errors.Is(err, ledger.ErrHeld) {
			t.Errorf("second claim: %v", err)
		}
		if _, err := l.Claim(ctx, "b", soon()); err != nil {
			t.Errorf("another job: %v", err)
		}
	})
	t.Run("a released job is claimed anew, and counted", func(t *testing.T) {
		l, ctx := open(t), t.Context()
		first, err := l.Claim(ctx, "a", soon())
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Release(ctx, first, ledger.PutOff{}); err != nil {
			t.Fatal(err)
		}
		second, err := l.Claim(ctx, "a", soon())
		if err != nil || second.Attempt != 2 {
			t.Fatalf("%+v, %v", second, err)
		}
		if l.Settle(ctx, first, jobs.Result{}) == nil || l.Release(ctx, first, ledger.PutOff{}) == nil {
			t.Error("a claim that was ended still counts")
		}
	})
	t.Run("of many at once one wins", func(t *testing.T) {
		l, ctx := open(t), t.Context()
		var group sync.WaitGroup
		var won atomic.Int32
		for range 100 {
			group.Go(func() {
				if _, err := l.Claim(ctx, "a", soon()); err == nil {
					won.Add(1)
				}
			})
		}
		group.Wait()
		if won.Load() != 1 {
			t.Errorf("%d won", won.Load())
		}
	})
}

func TestMemory(t *testing.T) {
	contract(t, func(*testing.T) ledger.Ledger { return ledger.NewMemory(0) })
}

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
