package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/cwriter"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

const (
	// plainEvery is how often a plain line is written.
	plainEvery = 10 * time.Second
	// rateOver is over how long the rate is taken, or up to twice that: jobs that had
	// their result before go by much faster than those that are done.
	rateOver = 15 * time.Second
)

// progress shows how far the jobs are: a bar on a terminal, elsewhere a plain
// line now and then.
type progress struct {
	w     io.Writer
	total int // 0 where it is not known
	bars  *mpb.Progress
	bar   *mpb.Bar
	stop  chan struct{} // of the plain lines; nil where there is a bar
	lines sync.WaitGroup

	mu     sync.Mutex
	count  map[jobs.Status]int
	n      int
	putOff putOffs
	pace   pace
}

// pace is how fast jobs are done.
type pace struct{ marks [2]mark } // the earlier first

// mark is how many jobs were done at a time.
type mark struct {
	at time.Time
	n  int
}

func newPace(at time.Time, n int) pace { return pace{[2]mark{{at, n}, {at, n}}} }

// note goes on to the next mark when it is time.
func (p *pace) note(now time.Time, n int) {
	if now.Sub(p.marks[1].at) >= rateOver {
		p.marks = [2]mark{p.marks[1], {now, n}}
	}
}

// rate is how many are done a second.
func (p *pace) rate(now time.Time, n int) float64 {
	return float64(n-p.marks[0].n) / max(now.Sub(p.marks[0].at).Seconds(), 1e-3)
}

// timeLeft is how long so many take at that rate; 0 is not known.
func timeLeft(n int, rate float64) time.Duration {
	if n <= 0 || rate <= 0 {
		return 0
	}
	return time.Duration(float64(n) / rate * float64(time.Second))
}

func newProgress(w io.Writer, total int) *progress {
	p := &progress{w: w, total: total, count: make(map[jobs.Status]int), pace: newPace(time.Now(), 0)}
	if onTerminal(w) {
		p.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
		p.bar = p.bars.AddBar(int64(total),
			mpb.PrependDecorators(decor.CountersNoUnit("%d / %d jobs ")),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return p.facts() })))
		return p
	}
	p.stop = make(chan struct{})
	p.lines.Go(p.write)
	return p
}

// noProgress counts, and shows nothing.
func noProgress() *progress {
	return &progress{w: io.Discard, count: make(map[jobs.Status]int), pace: newPace(time.Now(), 0)}
}

// onTerminal tells whether what is written can be drawn over.
func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && cwriter.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// write writes the plain lines.
func (p *progress) write() {
	tick := time.NewTicker(plainEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			of := ""
			if p.total > 0 {
				of = fmt.Sprintf(" of %d", p.total)
			}
			fmt.Fprintf(p.w, "%d%s jobs: %s\n", p.done(), of, p.facts())
		}
	}
}

// add counts a job that has its result.
func (p *progress) add(status jobs.Status) {
	p.mu.Lock()
	p.count[status]++
	p.n++
	n := p.n
	p.pace.note(time.Now(), p.n)
	p.mu.Unlock() // drawing the bar asks for the counts
	if p.bar == nil {
		return
	}
	if p.total == 0 {
		p.bar.SetTotal(int64(n)+1, false)
	}
	p.bar.Increment()
}

// wait is told which jobs are put off.
func (p *progress) wait(putOff putOffs) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.putOff = putOff
}

// end leaves the display.
func (p *progress) end() {
	if p.bar == nil {
		close(p.stop)
		p.lines.Wait()
		return
	}
	p.bar.SetTotal(-1, true)
	p.bars.Wait()
}

func (p *progress) done() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// facts are the rate, the time that is left, and how many jobs have which status.
func (p *progress) facts() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.pace.note(now, p.n)
	rate := p.pace.rate(now, p.n)
	parts := []string{fmt.Sprintf("%.0f/s", rate)}
	if left := timeLeft(p.total-p.n, rate); left > 0 {
		left = max(left, p.putOff.until.Sub(now)) // at first many have room
		parts = append(parts, left.Round(time.Second).String()+" left")
	}
	parts = append(parts, p.statuses()...)
	if n := p.putOff.n - p.putOff.waits; n > 0 {
		parts = append(parts, fmt.Sprintf("%d put off", n))
	}
	if waits := p.putOff.waiting(); waits != "" {
		parts = append(parts, waits)
	}
	return strings.Join(parts, ", ")
}

// waits says how many jobs wait for our own quota, and until when; "" where none does.
func (p *progress) waits() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.putOff.waiting()
}

// counts says how many jobs have which status.
func (p *progress) counts() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.statuses(), ", ")
}

func (p *progress) statuses() (parts []string) {
	for _, status := range []jobs.Status{jobs.Succeeded, jobs.Previewed, jobs.Failed, jobs.Refused, jobs.Expired, jobs.Uncertain} {
		if n := p.count[status]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, status))
		}
	}
	return parts
}
