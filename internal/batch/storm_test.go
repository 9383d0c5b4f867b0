package batch_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

// storm is a bench at which three instances work at once, any operation of which takes a
// while, or fails before or after it was done.
type storm struct {
	*bench
	instances []*batch.Batches

	mu   sync.Mutex
	dice *rand.Rand
	calm bool
}

func newStorm(t *testing.T, seed uint64, file string) *storm {
	t.Helper()
	s := &storm{bench: newBench(t, 9, file), dice: rand.New(rand.NewPCG(seed, 1))} //nolint:gosec // repeatable on purpose
	for range 3 {
		s.another()
		s.instances = append(s.instances, s.Batches)
	}
	s.breaks = func(string) error {
		if s.roll(30) == 0 && !s.isCalm() {
			return errBroken
		}
		return nil
	}
	s.meanwhile = func(string) {
		if s.isCalm() {
			return
		}
		switch s.roll(12) {
		case 0:
			pass(time.Duration(s.roll(200)) * time.Second)
		case 1, 2, 3:
			pass(time.Duration(s.roll(1000)) * time.Millisecond)
		}
	}
	return s
}

func (s *storm) roll(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dice.IntN(n)
}

func (s *storm) isCalm() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calm
}

func (s *storm) any() *batch.Batches { return s.instances[s.roll(len(s.instances))] }

// act does something that a function or somebody does.
func (s *storm) act() {
	ctx, x := s.t.Context(), s.any()
	switch s.roll(16) {
	case 0, 1, 2:
		if id, err := x.Start(ctx, []byte(s.file), published()); err == nil {
			_, _ = x.Work(ctx, id)
		}
	case 3, 4:
		_, _ = x.Sweep(ctx)
	case 5:
		_ = x.Pause(ctx, "letter")
	case 6, 7:
		_ = x.Resume(ctx, "letter")
	case 8:
		_ = x.Retry(ctx, "letter", false)
	case 9:
		if s.roll(6) == 0 {
			_ = x.Cancel(ctx, "letter")
		}
	case 10:
		_, _ = x.Stop(ctx, "letter", time.Now(), jobs.Error{Reason: "stop"})
	default:
		for range s.roll(5) {
			if m, ok := s.next(); ok {
				s.doBy(x, m)
				if s.roll(4) == 0 {
					s.doBy(s.any(), m)
				}
			}
		}
	}
}

// doBy has an instance do a job, or keep its message.
func (s *storm) doBy(x *batch.Batches, m batch.Message) {
	ctx := s.t.Context()
	job, _ := jobs.Decode(m.Data, "")
	back := func() {
		s.bench.mu.Lock()
		defer s.bench.mu.Unlock()
		s.queue = append(s.queue, m)
	}
	verdict, err := x.Gate(ctx, m.Batch, m.Round)
	if err != nil {
		back()
		return
	}
	if verdict == batch.Park {
		return
	}
	pass(time.Duration(s.roll(3000)) * time.Millisecond)
	claim, err := s.ledger.Claim(ctx, job.ID, ledger.Terms{Until: time.Now().Add(time.Minute), Batch: m.Batch})
	if err != nil {
		back()
		return
	}
	if claim.Result != nil {
		return
	}
	if s.roll(8) == 0 && !s.isCalm() {
		_ = s.ledger.Release(ctx, claim, ledger.PutOff{NotBefore: time.Now().Add(time.Duration(s.roll(60)) * time.Second)})
		back()
		return
	}
	pass(time.Duration(s.roll(5000)) * time.Millisecond)
	r := jobs.NewResult(job)
	if s.roll(6) == 0 && !s.isCalm() && verdict == batch.GoAhead {
		r.Status = jobs.Failed
	} else {
		r.Status = s.effect(job, verdict)
	}
	r.Error = &jobs.Error{Fault: jobs.FaultUser}
	if err := s.ledger.Settle(ctx, claim, r); err != nil {
		s.t.Error(err)
	}
	if !r.Status.Good() {
		_ = x.Failed(ctx, m.Batch)
	}
}

// Whatever fails, stalls and is asked for at once: everybody is served once at most, the
// counts are exact, and the batch ends and says so as it did.
func TestStorm(t *testing.T) {
	files := []string{letter, letter + "canary: 3\n", letter + "rate: 1\n", letter + "stopAfter: {failures: 2}\n"}
	for seed := range uint64(400) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(published()))
				s := newStorm(t, seed, files[seed%4])
				var all sync.WaitGroup
				for range 4 {
					all.Go(func() {
						for range 25 {
							s.act()
							time.Sleep(time.Duration(s.roll(4000)) * time.Millisecond)
						}
					})
				}
				all.Wait()
				s.wantInOrder(s.settle())
			})
		})
	}
}

// wantInOrder wants that all is as it should be.
func (s *storm) wantInOrder(at batch.Status) {
	s.t.Helper()
	s.wantCounts(at)
	for user, n := range s.effects {
		if n > 1 {
			s.t.Errorf("%s was written to %d times", user, n)
		}
	}
	if at.State == string(batch.Completed) && at.Published != len(s.users) {
		s.t.Errorf("%+v", at.Summary)
	}
	for _, told := range s.summaries {
		if !batch.State(told.State).Ended() || told.Counts.Done() != told.Published || told.Remaining != 0 {
			s.t.Errorf("told: %+v", told)
		}
	}
	if last := s.summaries[len(s.summaries)-1]; last.Round != at.Round || last.State != at.State {
		s.t.Errorf("told: %+v, and it is %+v", last, at.Summary)
	}
}

// settle has the batch go on to its end.
func (s *storm) settle() batch.Status {
	ctx := s.t.Context()
	s.mu.Lock()
	s.calm = true
	s.mu.Unlock()
	for range 300 {
		x := s.any()
		_ = s.fanOut(ctx)
		_ = x.Resume(ctx, "letter")
		for range len(s.queue) {
			if m, ok := s.next(); ok {
				s.doBy(s.any(), m)
			}
		}
		_, _ = x.Sweep(ctx)
		if st, err := x.Status(ctx, "letter"); err == nil && st.Ended() {
			return st
		}
		pass(time.Minute)
	}
	st, err := s.Status(ctx, "letter")
	s.t.Fatalf("it does not end: %+v %v, %d in the queue", st, err, len(s.queue))
	return st
}
