package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/onbehalf-dev/onbehalf/test/process"
)

// timeout is how long Cloud Run gives the function for an attempt. It is short, so
// that what a killed process has held is soon free.
const timeout = 12 * time.Second

// termTime is how long Cloud Run waits for a process that it has told to end.
const termTime = 10 * time.Second

// build builds a main package of this module and gives the path of the binary. Where this
// program looks for data races, so does it.
func build(ctx context.Context, dir, pkg string) (string, error) {
	binary := filepath.Join(dir, filepath.Base(pkg))
	args := []string{"build", "-o", binary}
	if info, _ := debug.ReadBuildInfo(); info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		args = append(args, "-race")
	}
	out, err := exec.CommandContext(ctx, "go", append(args, "github.com/onbehalf-dev/onbehalf/"+pkg)...).CombinedOutput() //nolint:gosec // a package of our own
	if err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, out)
	}
	return binary, nil
}

// instance is a process of the function.
type instance struct {
	url   string
	cmd   *exec.Cmd
	ended chan struct{}
}

// fleet are the processes of one function.
type fleet struct {
	target string          // the function's name
	size   int             // how many run at a time
	until  context.Context //nolint:containedctx // with which they end, whoever starts them
	binary string
	dir    string // of their logs
	env    []string

	mu      sync.Mutex
	live    []*instance // those that are sent something
	started int
	failed  error          // of one that ended by itself
	ending  sync.WaitGroup // of the processes, which end with the context
}

// The functions.
const execute, fanOut, sweep = "Execute", "FanOut", "Sweep"

// start starts one more process, and waits until it listens.
func (f *fleet) start() error {
	p, err := f.run(f.until)
	for range 2 { // a connection may have taken the port in between
		if errors.Is(err, errNotStarted) {
			p, err = f.run(f.until)
		}
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live = append(f.live, p)
	return nil
}

var errNotStarted = errors.New("the function does not start")

func (f *fleet) run(ctx context.Context) (*instance, error) {
	address, err := process.FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.started++
	name := fmt.Sprintf("%s-%04d.log", f.target, f.started)
	f.mu.Unlock()
	log, err := os.Create(filepath.Join(f.dir, name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	p := &instance{url: "http://" + address, cmd: exec.CommandContext(ctx, f.binary), ended: make(chan struct{})} //nolint:gosec // which build has made
	p.cmd.Env = append(slices.Clone(f.env), "FUNCTION_TARGET="+f.target, "PORT="+port)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	f.ending.Go(func() {
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.ended)
	})
	if err := process.Listening(ctx, address, p.ended); err != nil {
		return nil, fmt.Errorf("%w: %w; see %s", errNotStarted, err, log.Name())
	}
	return p, nil
}

// pick is one of those that run; nil where none does.
func (f *fleet) pick(d *rand.Rand) *instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.live) == 0 {
		return nil
	}
	return f.live[d.IntN(len(f.live))]
}

// end ends one of those that run, which at is of them, and starts another. A process that
// is told to end, and does not, is killed.
func (f *fleet) end(signal syscall.Signal, at float64) error {
	f.mu.Lock()
	i := int(at * float64(len(f.live)))
	p := f.live[i]
	f.live = slices.Delete(f.live, i, i+1)
	f.mu.Unlock()
	select {
	case <-p.ended:
		return fmt.Errorf("a process of %s has ended by itself: %s", f.target, p.cmd.ProcessState)
	default:
	}
	if err := p.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if signal == syscall.SIGTERM {
		f.ending.Go(func() { f.endOrKill(p) })
	}
	return f.start()
}

func (f *fleet) endOrKill(p *instance) {
	t := time.NewTimer(termTime)
	defer t.Stop()
	select {
	case <-p.ended:
	case <-t.C:
		f.mu.Lock()
		f.failed = fmt.Errorf("a process of %s goes on %v after SIGTERM", f.target, termTime)
		f.mu.Unlock()
		_ = p.cmd.Process.Kill()
	}
}

// check tells whether a process did what none may do.
func (f *fleet) check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.live {
		select {
		case <-p.ended:
			return fmt.Errorf("a process of %s has ended by itself: %s", f.target, p.cmd.ProcessState)
		default:
		}
	}
	return f.failed
}

// environment is what a process has of this one's: none of a developer's settings.
func environment(home string, more ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "CLOUD_RUN_TIMEOUT_SECONDS=" + strconv.Itoa(int(timeout/time.Second))}, more...)
}
