package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report says what was done and what came of it, and tells whether a promise was
// broken.
func (t *trial) report(out io.Writer) (bad bool) {
	fmt.Fprintf(out, "chaos --seed %d: %d jobs, %d users, each kind of fault in %.3g %% of the calls\n", t.seed, t.jobs, t.users, 100*t.share)
	if t.google == nil {
		return false // it did not come so far
	}
	took := time.Since(t.begun)
	done, received := t.tally.progress()
	row(out, "jobs", "%d have a result, of %d results; %v, %.0f jobs/s", done, received, took.Round(time.Second), float64(done)/took.Seconds())
	row(out, "ended", "%d by SIGKILL, %d in an orderly way", t.kills.Load(), t.terms.Load())
	row(out, "faults", "%s", list(t.google.Struck(), 1))
	row(out, "calls a job", "%s", list(t.google.Calls(), float64(max(1, done))))
	if t.balancer != nil {
		row(out, "deliveries", "%s", list(t.balancer.figures(), 1))
	}
	for name, r := range map[string]*relay{"Firestore a job": t.firestore, "Pub/Sub a job": t.pubsub} {
		if r != nil {
			counts, lost := r.counts()
			row(out, name, "%s; %d requests or answers lost", list(counts, float64(max(1, done))), lost)
		}
	}
	return t.verdict(out)
}

func row(out io.Writer, name, format string, args ...any) {
	fmt.Fprintf(out, "%-16s "+format+"\n", append([]any{name}, args...)...)
}

// list names counts, each divided by so many, the largest first.
func list(counts map[string]int, by float64) string {
	names := slices.Sorted(maps.Keys(counts))
	slices.SortStableFunc(names, func(a, b string) int { return counts[b] - counts[a] })
	var parts []string
	total := 0
	for _, name := range names {
		total += counts[name]
		parts = append(parts, fmt.Sprintf("%s %.4g", name, float64(counts[name])/by))
	}
	return fmt.Sprintf("%.4g: ", float64(total)/by) + strings.Join(parts, ", ")
}

// verdict says which promises were broken, and shows some of the jobs.
func (t *trial) verdict(out io.Writer) (bad bool) {
	v := t.tally.judge(t.google.letters())
	v["not one line each"] = t.missing
	for _, promise := range promises {
		row(out, promise, "%d", len(v[promise]))
		bad = bad || len(v[promise]) > 0
	}
	for _, promise := range promises {
		for _, job := range v[promise][:min(len(v[promise]), maxShown)] {
			fmt.Fprintf(out, "\n%s: %s\n", promise, job)
			t.tally.show(out, job)
			t.quote(out, job)
		}
	}
	return bad
}

const (
	maxShown = 5  // jobs of a broken promise
	maxLines = 30 // of the logs, for each
	maxLine  = 1 << 20
)

// quote shows what the logs say of a job.
func (t *trial) quote(out io.Writer, job string) {
	files, err := filepath.Glob(filepath.Join(t.dir, "*.log"))
	if err != nil {
		return
	}
	shown := 0
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, maxLine)
		for lines.Scan() && shown < maxLines {
			if bytes.Contains(lines.Bytes(), []byte(`"job":"`+job+`"`)) {
				fmt.Fprintf(out, "  %s: %s\n", filepath.Base(file), lines.Bytes())
				shown++
			}
		}
		_ = f.Close()
	}
}
