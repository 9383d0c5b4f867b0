package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report says what was done.
func (t *trial) report(out io.Writer) {
	fmt.Fprintf(out, "chaos --seed %d: %d jobs, %d users, each kind of fault in %.3g %% of the calls\n", t.seed, t.jobs, t.users, 100*t.share)
	if t.google == nil {
		return
	}
	took := time.Since(t.begun)
	done, received := t.tally.progress()
	row(out, "jobs", "%d have a result, of %d results; %v, %.0f jobs/s", done, received, took.Round(time.Second), float64(done)/took.Seconds())
	row(out, "ended", "%d by SIGKILL, %d in an orderly way", t.kills.Load(), t.terms.Load())
	row(out, "faults", "%s", list(t.google.Struck(), 1))
	row(out, "calls a job", "%s", list(t.google.Calls(), float64(max(1, done))))
	if t.balancer != nil {
		for _, f := range t.fleets {
			row(out, "to "+f.target, "%s", list(t.balancer.figures(f), 1))
		}
	}
	for _, r := range t.relays() {
		counts, lost := r.counts()
		row(out, r.name+" a job", "%s; %d requests or answers lost", list(counts, float64(max(1, done))), lost)
	}
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

// verdict says which promises were broken, shows some of the jobs, and tells whether there
// are any.
func (t *trial) verdict(out io.Writer) (bad bool) {
	v := t.tally.judge(t.google.letters(t.tally.owner))
	v["not one line each"], v["miscounted"], v["panic or data race"] = t.missing, t.found, t.panics()
	for _, promise := range promises {
		row(out, promise, "%d", len(v[promise]))
		bad = bad || len(v[promise]) > 0
	}
	for _, promise := range promises {
		for _, job := range v[promise][:min(len(v[promise]), maxShown)] { // or a file
			fmt.Fprintf(out, "\n%s: %s\n", promise, job)
			t.tally.show(out, job)
			t.quote(out, job)
		}
	}
	return bad
}

const (
	maxShown = 5  // jobs of a broken promise
	maxLines = 40 // of the logs, for each, the latest
	maxLine  = 1 << 20
)

// quote shows what the logs say of a job, in the order of time.
func (t *trial) quote(out io.Writer, job string) {
	files, _ := filepath.Glob(filepath.Join(t.dir, "*.log")) // the pattern is good
	var said []string
	for _, file := range files {
		said = append(said, about(file, job)...)
	}
	slices.Sort(said) // each begins with its time
	for _, line := range said[max(0, len(said)-maxLines):] {
		fmt.Fprintln(out, " ", line)
	}
}

// panics are the logs in which somebody panics, or the race detector speaks.
func (t *trial) panics() (files []string) {
	all, _ := filepath.Glob(filepath.Join(t.dir, "*.log")) // the pattern is good
	for _, file := range all {
		data, err := os.ReadFile(file)
		if err != nil || bytes.Contains(data, []byte(`"message":"panic"`)) || bytes.Contains(data, []byte("\npanic: ")) || bytes.Contains(data, []byte("DATA RACE")) {
			files = append(files, file)
		}
	}
	return files
}

// about is what one log says of a job.
func about(file, job string) (said []string) {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var l struct {
			Time, Message, Job, Status, Stage, Reason string
			Attempt, Answer                           int
			Called, Replayed, InDoubt                 bool
		}
		if bytes.Contains(lines.Bytes(), []byte(job)) && json.Unmarshal(lines.Bytes(), &l) == nil && l.Job == job {
			said = append(said, fmt.Sprintf("%s %s: %s %d answered %d %s%s %s; called %t, replayed %t, in doubt %t",
				l.Time, filepath.Base(file), l.Message, l.Attempt, l.Answer, l.Status, l.Stage, l.Reason, l.Called, l.Replayed, l.InDoubt))
		}
	}
	return said
}
