package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/cwriter"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// progress shows how far the jobs are: a bar on a terminal, elsewhere a plain
// line now and then.
type progress struct {
	w     io.Writer
	total int // 0 where it is not known
	bars  *mpb.Progress
	bar   *mpb.Bar

	mu    sync.Mutex
	count map[jobs.Status]int
	n     int
}

// plainEvery is how many jobs a plain line stands for.
const plainEvery = 1000

func newProgress(w io.Writer, total int) *progress {
	p := &progress{w: w, total: total, count: make(map[jobs.Status]int)}
	if f, ok := w.(*os.File); ok && cwriter.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		p.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
		p.bar = p.bars.AddBar(int64(total),
			mpb.PrependDecorators(decor.CountersNoUnit("%d / %d jobs ")),
			mpb.AppendDecorators(decor.AverageSpeed(0, "%.0f/s "), decor.Any(func(decor.Statistics) string { return p.counts() })))
	}
	return p
}

// add counts a job that has its result.
func (p *progress) add(status jobs.Status) {
	p.mu.Lock()
	p.count[status]++
	p.n++
	n := p.n
	p.mu.Unlock() // drawing the bar asks for the counts
	switch {
	case p.bar != nil:
		if p.total == 0 {
			p.bar.SetTotal(int64(n)+1, false)
		}
		p.bar.Increment()
	case n%plainEvery == 0:
		fmt.Fprintf(p.w, "%d jobs\n", n)
	}
}

// end leaves the display.
func (p *progress) end() {
	if p.bar == nil {
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

// counts says how many jobs have which status.
func (p *progress) counts() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var parts []string
	for _, status := range []jobs.Status{jobs.Succeeded, jobs.Previewed, jobs.Failed, jobs.Refused, jobs.Expired, jobs.Uncertain} {
		if n := p.count[status]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, status))
		}
	}
	return strings.Join(parts, ", ")
}
