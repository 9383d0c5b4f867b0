package main

import (
	"container/heap"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

const (
	// maxOpen and maxOpenBytes bound the jobs that were read and have no result yet:
	// where they are reached no line is read until one is done, so that memory stays
	// flat however long the file is and however many must wait.
	maxOpen, maxOpenBytes = 100_000, 32 << 20
	// taskBytes is about what a job takes beside its line.
	taskBytes = 320
)

// task is a job that was read and is not done.
type task struct {
	msg pubsubio.Message
	// due is when it is to be tried, and wait how long it is put off when it next
	// fails.
	due  time.Time
	wait time.Duration
	// tries counts those that did not only find that its turn has not come.
	tries int
	begun bool
	waits bool // for our own quota alone
	turn  int  // in which it was read
	// unkept says that it had its result in an earlier try, which could not be kept, and
	// inDoubt that its call may have taken effect: a try that does not get as far as to
	// look it up changes neither.
	unkept, inDoubt bool
}

// note notes what a try has left.
func (t *task) note(o functions.Outcome) {
	t.unkept = t.unkept || o.Result.Status != ""
	t.inDoubt = t.inDoubt || o.InDoubt
}

func (t *task) bytes() int { return len(t.msg.Data) + taskBytes }

// schedule gives jobs to workers, each when it is due. What is put off holds no
// worker. All but do and show belongs to the goroutine of run.
type schedule struct {
	// do tries a job once; unless it is done, its due is when to try again.
	do func(ctx context.Context, t *task) (done bool)
	// show is told which jobs are put off.
	show func(putOffs)

	waiting byDue // all that no worker has, the earliest first
	inHand  int
	putOff  putOffs // of those waiting
	read    int
	open    int // jobs that were read and are not done
	bytes   int // that those take
}

// putOffs are the jobs that are put off.
type putOffs struct {
	n int
	// waits are those of them that wait for our own quota alone, and until is when the
	// last of those has its turn, about.
	waits int
	until time.Time
}

// add notes one more.
func (p *putOffs) add(t *task) {
	p.n++
	if t.waits {
		p.waits++
		if t.due.After(p.until) {
			p.until = t.due
		}
	}
}

// remove notes one less.
func (p *putOffs) remove(waits bool) {
	p.n--
	if waits {
		p.waits--
	}
	if p.waits == 0 {
		p.until = time.Time{}
	}
}

// waiting says how many jobs wait for our own quota and until when, so that nobody
// thinks that the run hangs; "" where none does.
func (p *putOffs) waiting() string {
	if p.waits == 0 {
		return ""
	}
	return fmt.Sprintf("%d wait for the quota until about %s", p.waits, p.until.UTC().Format(time.RFC3339))
}

// back is a job that comes back from a worker.
type back struct {
	*task
	done bool
}

// run does the jobs that come from lines, until that is closed and all are done, or
// ctx ends: then it waits for what is in hand. It returns how many were begun and are
// not done.
func (s *schedule) run(ctx context.Context, lines <-chan pubsubio.Message, workers int) (unfinished int) {
	ready, backs := make(chan *task), make(chan back)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for t := range ready {
				backs <- back{t, s.do(ctx, t)}
			}
		})
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil && (lines != nil || s.open > 0) {
		lines = s.step(ctx, lines, ready, backs, timer)
	}
	for ; s.inHand > 0; s.inHand-- {
		s.take(<-backs)
	}
	close(ready)
	group.Wait()
	return s.putOff.n
}

// step waits for the next thing that happens. It returns lines, or nil once that is
// closed.
func (s *schedule) step(ctx context.Context, lines <-chan pubsubio.Message, ready chan<- *task, backs <-chan back, timer *time.Timer) <-chan pubsubio.Message {
	var (
		give  chan<- *task
		next  *task
		waits bool // next, for our own quota; read before a worker has it
		due   <-chan time.Time
		read  <-chan pubsubio.Message
	)
	switch {
	case len(s.waiting) > 0 && !time.Now().Before(s.waiting[0].due):
		next, give = s.waiting[0], ready
		waits = next.waits
	case len(s.waiting) > 0:
		timer.Reset(time.Until(s.waiting[0].due))
		due = timer.C
	}
	if next == nil && s.open < maxOpen && s.bytes < maxOpenBytes {
		read = lines
	}
	select {
	case <-ctx.Done():
	case <-due:
	case give <- next:
		s.give(waits)
	case b := <-backs:
		s.inHand--
		s.take(b)
	case msg, more := <-read:
		if !more {
			return nil
		}
		s.add(msg)
	}
	return lines
}

// add takes a line in, due at once.
func (s *schedule) add(msg pubsubio.Message) {
	s.read++
	t := &task{msg: msg, due: time.Now(), wait: firstWait, turn: s.read}
	s.open++
	s.bytes += t.bytes()
	heap.Push(&s.waiting, t)
}

// give notes that a worker has the next, which is the worker's from then on but for
// begun. Waits is whether it has waited for our own quota.
func (s *schedule) give(waits bool) {
	t, _ := heap.Pop(&s.waiting).(*task)
	if t.begun {
		s.putOff.remove(waits)
		s.show(s.putOff)
	}
	t.begun = true
	s.inHand++
}

// take takes a job back from a worker.
func (s *schedule) take(b back) {
	if b.done {
		s.open--
		s.bytes -= b.bytes()
		return
	}
	heap.Push(&s.waiting, b.task)
	s.putOff.add(b.task)
	s.show(s.putOff)
}

// byDue is a heap of jobs: the earliest due first, and of those the first read.
type byDue []*task

func (h byDue) Len() int { return len(h) }

func (h byDue) Less(i, j int) bool {
	if c := h[i].due.Compare(h[j].due); c != 0 {
		return c < 0
	}
	return h[i].turn < h[j].turn
}

func (h byDue) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements [heap.Interface].
func (h *byDue) Push(x any) {
	if t, ok := x.(*task); ok {
		*h = append(*h, t)
	}
}

// Pop implements [heap.Interface].
func (h *byDue) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return t
}
