package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// concurrency is how many jobs the command does at a time.
	concurrency = "64"
	// orderlyTime is how long the command may take to settle when it is told to end.
	orderlyTime = 20 * time.Second
	// maxRuns is how often the command may give jobs up, beside those that are killed.
	maxRuns = 100
)

// Exit statuses of the command.
const (
	exitOK   = 0
	exitSome = 1 // it has given jobs up for this run
)

// command tries onbehalf run: it is killed again and again, and the same command goes
// on, until it says that all is done.
func (t *trial) command(ctx context.Context) error {
	defer t.close()
	binary, err := build(ctx, t.dir, "cmd/onbehalf")
	if err != nil {
		return err
	}
	if err := t.startGoogle(ctx); err != nil {
		return err
	}
	policy, err := t.policy()
	if err != nil {
		return err
	}
	file, err := t.file()
	if err != nil {
		return err
	}
	t.begun = time.Now()
	c := &commands{trial: t, args: []string{binary, "run", "--policy", policy, "--concurrency", concurrency, "--verbose", file}}
	for more := true; more; {
		if more, err = c.next(ctx); err != nil {
			return err
		}
	}
	return nil
}

// file writes the jobs, those that are there twice included: half of them line by line,
// half of them at the end.
func (t *trial) file() (string, error) {
	var lines, late bytes.Buffer
	for n := range t.jobs {
		j := t.job(n)
		fmt.Fprintf(&lines, "%s\n", j.data)
		switch j.twice {
		case atOnce:
			fmt.Fprintf(&lines, "%s\n", j.data)
		case afterwards:
			fmt.Fprintf(&late, "%s\n", j.data)
		case not:
		}
	}
	name := filepath.Join(t.dir, "jobs.jsonl")
	return name, os.WriteFile(name, append(lines.Bytes(), late.Bytes()...), 0o600)
}

// commands are the runs of one command.
type commands struct {
	*trial
	args []string
	runs int
	left []end
}

// next runs the command once more, and tells whether it must be run again.
func (c *commands) next(ctx context.Context) (more bool, err error) {
	if c.runs == 0 {
		c.left = c.ends()
	}
	if c.runs++; c.runs > c.plan.kills*2+maxRuns {
		return false, fmt.Errorf("the command has not done all jobs after %d runs", c.runs)
	}
	out := filepath.Join(c.dir, fmt.Sprintf("results-%04d.jsonl", c.runs))
	status, ended, err := c.once(ctx, out)
	if err != nil {
		return false, err
	}
	if ended {
		c.left = c.left[1:]
	}
	last := status == exitOK && len(c.left) == 0
	if err := c.read(out, last); err != nil {
		return false, err
	}
	switch {
	case status == exitOK, status == exitSome, ended:
		return !last, nil
	default:
		return false, fmt.Errorf("the command has ended with exit status %d; see command-%04d.log", status, c.runs)
	}
}

// once runs the command until it ends by itself or is ended.
func (c *commands) once(ctx context.Context, out string) (status int, ended bool, err error) {
	results, err := os.Create(out)
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = results.Close() }()
	log, err := os.Create(filepath.Join(c.dir, fmt.Sprintf("command-%04d.log", c.runs)))
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...) //nolint:gosec // which build has made
	cmd.Env = environment(c.dir, "GOOGLE_CLOUD_PROJECT="+c.google.world.Project, "ONBEHALF_SERVICE_ACCOUNT="+c.google.world.Runtime,
		"ONBEHALF_SANDBOX=http://"+c.google.host, "GCE_METADATA_HOST="+c.google.host)
	cmd.Stdout, cmd.Stderr = results, log
	if err := cmd.Start(); err != nil {
		return 0, false, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended is in ProcessState
	}()
	ended, err = c.endInTime(ctx, cmd, results, done)
	<-done
	return cmd.ProcessState.ExitCode(), ended, err
}

// endInTime ends the command when it is time to, unless it has ended before.
func (c *commands) endInTime(ctx context.Context, cmd *exec.Cmd, results *os.File, done <-chan struct{}) (ended bool, err error) {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		<-done
		stop()
	}()
	if len(c.left) == 0 {
		return false, c.watchLast(waiting, results)
	}
	e := c.left[0]
	if err := c.reached(waiting, e, c.made); err != nil {
		return false, ctx.Err() // or the command has ended
	}
	if err := cmd.Process.Signal(e.signal); errors.Is(err, os.ErrProcessDone) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	c.ended(e.signal)
	c.show(c.made(), "calls were made")
	if e.signal == syscall.SIGKILL {
		return true, nil
	}
	t := time.NewTimer(orderlyTime)
	defer t.Stop()
	select {
	case <-done:
		return true, nil
	case <-t.C:
		_ = cmd.Process.Kill()
		return true, fmt.Errorf("the command goes on %v after SIGTERM", orderlyTime)
	}
}

// watchLast waits until the command has ended, and says how far it is. Nothing goes wrong
// any more when most jobs have their result.
func (c *commands) watchLast(ctx context.Context, results *os.File) error {
	shown, written := time.Now(), 0
	chunk := make([]byte, 1<<20)
	for offset := int64(0); ; {
		n, err := results.ReadAt(chunk, offset)
		if err != nil && err != io.EOF {
			return err
		}
		offset += int64(n)
		if written += bytes.Count(chunk[:n], []byte("\n")); written >= int(calmAt*float64(c.jobs)) {
			c.calm()
		}
		if time.Since(shown) >= progressEvery {
			shown = time.Now()
			c.show(written, "results are written")
		}
		if n < len(chunk) && !pause(ctx, time.Second) {
			return nil
		}
	}
}

// made is how many calls were made for the jobs themselves.
func (c *commands) made() int {
	n := 0
	for _, d := range deeds {
		n += c.google.Calls()[d.action]
	}
	return n
}

// read takes the results that a run has written. Those of the last one must be complete; before,
// what was given up for that run has no final result, and the last line may be torn.
func (c *commands) read(file string, last bool) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(data[:bytes.LastIndexByte(data, '\n')+1]))
	lines.Buffer(nil, maxLine)
	seen := map[string]int{}
	for lines.Scan() {
		r := readResult(lines.Bytes())
		if last || r.Status == succeeded {
			c.tally.result(lines.Bytes())
		}
		seen[r.Job]++
	}
	if last {
		c.miscounted(seen)
	}
	return lines.Err()
}

// miscounted finds the jobs of which the last run has not written one line for each line
// of the file.
func (c *commands) miscounted(seen map[string]int) {
	for n := range c.jobs {
		j := c.job(n)
		want := 1
		if j.twice != not {
			want = 2
		}
		if got := seen[j.id]; got != want {
			c.missing = append(c.missing, j.id)
		}
	}
}
