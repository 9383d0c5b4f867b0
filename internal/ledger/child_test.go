package ledger_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"go.uber.org/goleak"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

// work has this binary do a piece of work on a ledger in place of tests: as another
// process, that can be killed.
const work = "LEDGER_TEST_WORK"

func TestMain(m *testing.M) {
	if do := works[os.Getenv(work)]; do != nil {
		if err := inFile(os.Args[1], do); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// That one is of a library of Google's and never ends.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

// works are what children do, told by their arguments. What they write are lines, at
// once: who is killed has said all that it did.
var works = map[string]func(l *ledger.File, args []string) error{"hold": hold, "settle": settleForEver, "share": share, "fill": fill, "batch": batchForEver}

// batchForEver has jobs of a batch end in all ways, and names each that has ended.
func batchForEver(l *ledger.File, args []string) error {
	failed := make(chan error)
	for worker := range 8 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s/%d/%d", args[0], worker, i)
				if err := inBatchOf(l, id, i); err != nil {
					failed <- err
					return
				}
				say(id)
			}
		}()
	}
	return <-failed
}

// inBatchOf puts a job off, and has it end in the i-th way.
func inBatchOf(l ledger.Ledger, id string, i int) error {
	ctx := context.Background()
	terms := ledger.Terms{Until: time.Now().Add(time.Minute), Batch: "b"}
	c, err := l.Claim(ctx, id, terms)
	if err == nil {
		err = l.Release(ctx, c, ledger.PutOff{Waits: true})
	}
	if err == nil {
		c, err = l.Claim(ctx, id, terms)
	}
	if err != nil {
		return err
	}
	switch i % 3 {
	case 0:
		return l.Settle(ctx, c, done(id))
	case 1:
		return l.Settle(ctx, c, failed(id, jobs.FaultUser))
	}
	if err := l.Settle(ctx, c, failed(id, jobs.FaultAdmin)); err != nil {
		return err
	}
	return l.Supersede(ctx, id, id+"~1")
}

func inFile(path string, do func(*ledger.File, []string) error) error {
	l, err := ledger.OpenFile(path)
	if err != nil {
		return err
	}
	if err := do(l, os.Args[2:]); err != nil {
		return err
	}
	return l.Close()
}

func say(words ...any) { fmt.Fprintln(os.Stdout, words...) }

// hold claims these jobs for an hour, says so, and waits to be told to end.
func hold(l *ledger.File, ids []string) error {
	for _, id := range ids {
		if _, err := l.Claim(context.Background(), id, ledger.Terms{Until: time.Now().Add(time.Hour)}); err != nil {
			return err
		}
	}
	say("held")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// settleForEver settles one job after another, and names each that is settled.
func settleForEver(l *ledger.File, args []string) error {
	failed := make(chan error)
	for worker := range 8 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s/%d/%d", args[0], worker, i)
				if err := settle(l, id); err != nil {
					failed <- err
					return
				}
				say(id)
			}
		}()
	}
	return <-failed
}

// share does jobs that another process does, too, until it is told to end, and names
// those that it did.
func share(l *ledger.File, _ []string) error {
	told := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(told)
	}()
	failed := make(chan error, 8)
	for worker := range cap(failed) {
		go func() { failed <- shareOf(l, worker, cap(failed), told) }()
	}
	var err error
	for range cap(failed) {
		err = errors.Join(err, <-failed)
	}
	return err
}

func shareOf(l *ledger.File, first, step int, told <-chan struct{}) error {
	for i := first; ; {
		select {
		case <-told:
			return nil
		default:
		}
		id := fmt.Sprint("job ", i)
		switch err := settle(l, id); {
		case err == nil:
			say(id)
			i += step
		case errors.Is(err, errSettled):
			i += step
		case !errors.Is(err, ledger.ErrHeld): // which will be settled, for nobody is killed here
			return err
		}
	}
}

var errSettled = errors.New("it is settled already")

// settle does a job that nobody has done.
func settle(l ledger.Ledger, id string) error { return settleIn(l, "", id) }

// settleIn does a job of a batch that nobody has done.
func settleIn(l ledger.Ledger, batch, id string) error {
	ctx := context.Background()
	c, err := l.Claim(ctx, id, ledger.Terms{Until: time.Now().Add(time.Minute), Batch: batch})
	if err != nil {
		return err
	}
	if c.Result != nil {
		return errSettled
	}
	now := time.Now()
	return l.Settle(ctx, c, jobs.Result{
		Job: id, User: "ada@example.com", Action: "gmail.users.messages.insert", Status: jobs.Succeeded,
		Response: jsontext.Value(`{"id":"18c0000000000000","threadId":"18c0000000000000","labelIds":["INBOX","UNREAD"]}`), Attempts: 1, StartedAt: now, FinishedAt: now,
		Labels: map[string]string{"campaign": "welcome"},
	})
}

// fill JOBS WORKERS BATCH settles jobs of a batch, or of none, and says how many a second,
// at what peak of memory.
func fill(l *ledger.File, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	workers, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	begun := time.Now()
	ids, failed := make(chan int), make(chan error, workers)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := range ids {
				if err := settleIn(l, args[2], fmt.Sprintf("campaign-2026-11/user-%d@example.com", i)); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for i := range n {
		select {
		case ids <- i:
		case err := <-failed:
			return err
		}
	}
	close(ids)
	group.Wait()
	say(float64(n)/time.Since(begun).Seconds(), peak())
	return nil
}

// peak is the most memory that this process has had, in MB; 0 where that is not told.
func peak() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kilobytes, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	n, _ := strconv.ParseFloat(kilobytes, 64)
	return n / 1000
}

// process is a child, and what it says.
type process struct {
	*exec.Cmd
	in    io.Closer
	lines *bufio.Scanner
}

// start starts this binary to do work on the ledger.
func start(tb testing.TB, what, path string, args ...string) *process {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	p := &process{Cmd: exec.CommandContext(tb.Context(), self, append([]string{path}, args...)...)}
	p.Env, p.Stderr = append(os.Environ(), work+"="+what), os.Stderr
	if p.in, err = p.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	out, err := p.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	p.lines = bufio.NewScanner(out)
	if err := p.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Process.Kill() })
	return p
}

// says waits for the next line.
func (p *process) says(tb testing.TB) string {
	tb.Helper()
	if !p.lines.Scan() {
		tb.Fatalf("%s has ended: %v", p, errors.Join(p.lines.Err(), p.Wait()))
	}
	return p.lines.Text()
}

// rest is all that it has said and says until it ends.
func (p *process) rest() (lines []string) {
	for p.lines.Scan() {
		lines = append(lines, p.lines.Text())
	}
	return lines
}

// kill ends it as the kernel does when there is no memory left.
func (p *process) kill(tb testing.TB) (said []string) {
	tb.Helper()
	if err := p.Process.Kill(); err != nil {
		tb.Fatal(err)
	}
	said = p.rest()
	_ = p.Wait() // it was killed
	return said
}
