package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
)

const (
	// lookEvery is how often a batch is looked at.
	lookEvery = time.Second
	// mostDrawn is how many causes are drawn below the bar.
	mostDrawn = 5
)

// batchView shows a batch while it goes on: a bar with the latest causes of failure below
// it on a terminal, elsewhere a plain line now and then, and where the state changes.
type batchView struct {
	w    io.Writer
	bars *mpb.Progress
	bar  *mpb.Bar // nil: plain lines

	here  func(string) string // has the commands in a text be those for the ledger
	facts func() []string     // more to say; nil: there is none

	mu      sync.Mutex
	s       shown
	known   bool // that it is a batch that is there
	pace    pace
	written time.Time // the last plain line
	state   string    // that it said
}

func newBatchView(w io.Writer, here func(string) string, facts func() []string) *batchView {
	v := &batchView{w: w, here: here, facts: facts}
	if onTerminal(w) {
		v.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40))
		v.bar = v.bars.AddBar(0,
			mpb.PrependDecorators(decor.CountersNoUnit("%d / %d jobs ")),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return v.text() })),
			mpb.BarExtender(mpb.BarFillerFunc(v.draw), false))
	}
	return v
}

// show shows how the batch is now.
func (v *batchView) show(s shown) {
	v.mu.Lock()
	done, now := s.Counts.Done(), time.Now()
	known := max(done, s.Published) // what is published is known a little later
	if !v.known {
		v.known, v.pace = true, newPace(now, done)
	}
	v.s = s
	v.pace.note(now, done)
	said := v.bar == nil && (s.State != v.state || now.Sub(v.written) >= plainEvery)
	if said {
		v.written, v.state = now, s.State
	}
	v.mu.Unlock() // drawing the bar asks for the facts
	switch {
	case said:
		fmt.Fprintf(v.w, "%d of %d jobs: %s\n", done, known, v.text())
	case v.bar != nil:
		v.bar.SetTotal(int64(known), false)
		v.bar.SetCurrent(int64(done))
	}
}

// end leaves the display.
func (v *batchView) end() {
	if v.bar != nil {
		v.bar.SetTotal(-1, true)
		v.bars.Wait()
	}
}

// text is the state, the rate, the time that is left, and the counts.
func (v *batchView) text() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, now := &v.s, time.Now()
	if !v.known {
		return "is not begun"
	}
	rate := v.pace.rate(now, s.Counts.Done())
	parts := []string{s.State}
	if state := batch.State(s.State); state == batch.Running || state == batch.Cancelling {
		parts = append(parts, fmt.Sprintf("%.0f/s", rate))
		if left := timeLeft(s.Remaining, rate); left > 0 && !s.Publishing {
			parts = append(parts, left.Round(time.Second).String()+" left")
		}
		if s.Publishing && s.Canary > 0 {
			parts = append(parts, fmt.Sprintf("a canary of %d goes first", s.Canary))
		}
	}
	parts = append(parts, outcomes(s.Counts)...)
	if n := s.Counts.PutOff; n > 0 {
		parts = append(parts, fmt.Sprintf("%d put off", n))
	}
	if batch.State(s.State) == batch.Paused {
		parts = append(parts, v.here("onbehalf batch resume "+s.Batch)+" has it go on")
	}
	if v.facts != nil {
		parts = append(parts, v.facts()...)
	}
	return strings.Join(parts, ", ")
}

// draw draws the causes below the bar. A line that is broken by the terminal would be left
// there when it is drawn again. Of what has ended there is more to be read below.
func (v *batchView) draw(w io.Writer, stat decor.Statistics) error {
	if stat.Completed {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	var lines []string
	for _, c := range v.s.causes[:min(mostDrawn, len(v.s.causes))] {
		lines = append(lines, c.title(), "      "+c.examples())
		for _, text := range []string{c.Message, v.here(doneAgain(c.Fix, v.s.Batch))} {
			if first, _, _ := strings.Cut(printable(text), "\n"); first != "" {
				lines = append(lines, "      "+first)
			}
		}
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, cut(line, stat.AvailableWidth-1)); err != nil {
			return err
		}
	}
	return nil
}

// cut is the beginning of a text that is longer than so many characters.
func cut(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:max(0, most-1)]) + "…"
}
