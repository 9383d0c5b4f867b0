package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/telemetry"
)

const (
	// firstWait and lastWait bound the pause before a job is tried again.
	firstWait, lastWait = time.Second, time.Minute
	// patience is how far off a time that Google names may be to be waited for.
	patience = 5 * time.Minute
	// maxTries is how often a job is tried before it is given up.
	maxTries = 6
	// maxLine is the longest line that is read, in bytes: a job that is too long
	// gets its failed result, up to here.
	maxLine = 16 << 20
)

type runFlags struct {
	sandbox     bool
	world       string
	policy      string
	concurrency int
	verbose     bool
}

func newRun() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Do jobs here and now",
		Long: `Does the jobs of a file, one JSON object a line ("-" is standard input), by the
same path as the deployed function, and writes their results to standard output,
one a line. Settings come from the same environment variables. A job without an
id is known by its file, line and content.

It stops early at a fault that an operator or administrator must mend, and says
how.`,
		Example: `  onbehalf run --sandbox jobs.jsonl
  onbehalf run --policy policy.yaml jobs.jsonl > results.jsonl
  jq -c '.dryRun = true' jobs.jsonl | onbehalf run --policy policy.yaml -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("run: one FILE is needed, or - for standard input")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runJobs(cmd, args[0], f) },
	}
	cmd.Flags().BoolVar(&f.sandbox, "sandbox", false, "do them in an embedded Workspace")
	cmd.Flags().StringVar(&f.world, "world", "", "with --sandbox: YAML file of users, service accounts and objects (default: a small example.com)")
	cmd.Flags().StringVar(&f.policy, "policy", "", "policy file (default: ONBEHALF_POLICY; with --sandbox, everything in its domains)")
	cmd.Flags().IntVar(&f.concurrency, "concurrency", 16, "how many jobs at a time")
	cmd.Flags().BoolVar(&f.verbose, "verbose", false, "log each attempt to standard error")
	return cmd
}

func runJobs(cmd *cobra.Command, file string, f runFlags) error {
	if f.concurrency < 1 || f.concurrency > 1000 {
		return fmt.Errorf("--concurrency: %d is not accepted; 1 to 1000 are", f.concurrency)
	}
	in, err := open(cmd, file)
	if err != nil {
		return err
	}
	defer in.Close()
	ctx := cmd.Context()
	x, end, err := f.executor(ctx, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer end()

	show := cmd.ErrOrStderr()
	if f.verbose {
		show = io.Discard // a bar among the log's lines would wipe some of them
	}
	r := &runner{x: x, out: cmd.OutOrStdout(), progress: newProgress(show, 0)}
	err = r.run(ctx, in, filepath.Base(file), f.concurrency)
	r.progress.end()
	fmt.Fprintln(cmd.ErrOrStderr(), r.summary())
	return r.exit(ctx, err)
}

func open(cmd *cobra.Command, file string) (io.ReadCloser, error) {
	if file == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	return os.Open(file)
}

// executor makes the Executor, for the sandbox or for the real thing.
func (f runFlags) executor(ctx context.Context, stderr io.Writer) (*functions.Executor, func(), error) {
	o := functions.Options{Results: kept{}}
	if f.verbose {
		o.Logger = telemetry.NewLogger(stderr, slog.LevelInfo)
	}
	if f.policy != "" {
		var err error
		if o.Policy, err = readPolicy(f.policy); err != nil {
			return nil, nil, err
		}
	}
	if f.sandbox {
		return f.embedded(ctx, o)
	}
	if f.world != "" {
		return nil, nil, errors.New("--world: is for --sandbox, which is not given")
	}
	cfg, err := config.Load(os.Environ())
	if err != nil {
		return nil, nil, err
	}
	if o.Policy == nil && cfg.Policy == "" {
		return nil, nil, errors.New("--policy: is not given, and ONBEHALF_POLICY is not set; without a policy every job is refused")
	}
	x, err := functions.New(ctx, cfg, o)
	if err != nil {
		return nil, nil, err
	}
	return x, func() { _ = x.Close() }, nil
}

// readPolicy reads the policy that --policy names.
func readPolicy(file string) (*policy.Policy, error) {
	data, err := readPolicyFile(file)
	if err != nil {
		return nil, fmt.Errorf("--policy: %w", err)
	}
	p, err := policyOf(data)
	if err != nil {
		return nil, fmt.Errorf("--policy: %s: %w", file, err)
	}
	return p, nil
}

// policyOf reads a policy of which every entry fits some method.
func policyOf(data []byte) (*policy.Policy, error) {
	p, err := policy.Parse(data)
	if err != nil {
		return nil, err
	}
	return p, p.CheckActions(actions.NewMethods().Fits)
}

// readPolicyFile refuses a secret in words of its own: it is read by the function's
// settings, and with the identity that they give.
func readPolicyFile(file string) ([]byte, error) {
	if strings.HasPrefix(file, "sm://") {
		return nil, fmt.Errorf("%s is no file; name a policy in Secret Manager by ONBEHALF_POLICY, and leave --policy out", file)
	}
	return os.ReadFile(file)
}

func (f runFlags) embedded(ctx context.Context, o functions.Options) (*functions.Executor, func(), error) {
	world, err := loadWorld(f.world)
	if err != nil {
		return nil, nil, fmt.Errorf("--world: %w", err)
	}
	if o.Policy == nil {
		if o.Policy, err = everythingIn(world); err != nil {
			return nil, nil, err
		}
	}
	w, err := startWorkspace(world)
	if err != nil {
		return nil, nil, err
	}
	x, err := w.executor(ctx, o)
	if err != nil {
		_ = w.close()
		return nil, nil, err
	}
	return x, func() { _, _ = x.Close(), w.close() }, nil
}

// kept takes results that the runner writes itself: a job's result is out when
// its line is.
type kept struct{}

func (kept) Publish(context.Context, jobs.Result) error { return nil }

// executor does one delivery of a job.
type executor interface {
	Execute(ctx context.Context, msg pubsubio.Message) functions.Outcome
}

// runner does the jobs of one file.
type runner struct {
	x        executor
	progress *progress

	mu         sync.Mutex
	out        io.Writer
	failed     int
	repeated   int          // jobs whose id had its result already
	unfinished int          // jobs that were begun and have no result
	stopped    *jobs.Result // the result at whose fault the run stopped
}

// run does the jobs in, concurrency at a time, until they end, or ctx does, or
// a fault stops them. A call that was begun is finished.
func (r *runner) run(ctx context.Context, in io.Reader, name string, concurrency int) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	messages := make(chan pubsubio.Message)
	var unreadable error // set before messages is closed
	go func() {          // which a terminal or a pipe may hold up for good
		defer close(messages)
		unreadable = scan(ctx, in, name, messages)
	}()
	var group sync.WaitGroup
	for range concurrency {
		group.Go(func() {
			if err := r.work(ctx, messages); err != nil {
				stop(err)
			}
		})
	}
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return unreadable // for without a cause the workers saw messages closed
}

// work does one job after another, until there is none or ctx ends.
func (r *runner) work(ctx context.Context, messages <-chan pubsubio.Message) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg, more := <-messages:
			if !more {
				return nil
			}
			if err := r.do(ctx, msg); err != nil {
				return err
			}
		}
	}
}

// scan sends a message for each line that is not blank.
func scan(ctx context.Context, in io.Reader, name string, messages chan<- pubsubio.Message) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	n := 0
	for lines.Scan() {
		n++
		line := bytes.TrimSpace(bytes.TrimPrefix(lines.Bytes(), []byte("\ufeff"))) // as some editors begin a file
		if len(line) == 0 {
			continue
		}
		// The content is in the id, so that another file of that name has other jobs.
		sum := sha256.Sum256(line)
		msg := pubsubio.Message{ID: fmt.Sprintf("%s:%d:%x", name, n, sum[:6]), Data: bytes.Clone(line), PublishTime: time.Now()}
		select {
		case messages <- msg:
		case <-ctx.Done():
			return nil
		}
	}
	err := lines.Err()
	if errors.Is(err, bufio.ErrTooLong) {
		err = fmt.Errorf("is longer than %d bytes", maxLine)
	}
	if err != nil {
		return fmt.Errorf("%s: line %d: %w", name, n+1, err)
	}
	return nil
}

// do tries one job until it has its result, and writes that.
func (r *runner) do(ctx context.Context, msg pubsubio.Message) error {
	wait := firstWait
	for try := 1; ; try++ {
		msg.Delivery = try
		outcome := r.x.Execute(ctx, msg)
		pause := max(wait, time.Until(outcome.NotBefore)) // sooner is in vain
		switch {
		case outcome.Answer == functions.Done:
			return r.write(outcome)
		case outcome.Held: // by another line with the same id
			try--
			wait, pause = firstWait, firstWait
		case outcome.Stops:
			return r.stop(outcome)
		case try >= maxTries || pause > patience:
			return r.write(givenUp(outcome, try))
		}
		select {
		case <-ctx.Done():
			r.mu.Lock()
			defer r.mu.Unlock()
			r.unfinished++
			return nil
		case <-time.After(pause):
			wait = min(2*wait, lastWait)
		}
	}
}

// givenUp makes a failed result of why a job was put off to the last.
func givenUp(o functions.Outcome, tries int) functions.Outcome {
	if o.Result.Status != "" || o.Result.Error == nil { // it has its result; only that was not out yet
		return o
	}
	o.Result.Status = jobs.Failed
	e := *o.Result.Error
	e.Stage, e.Fault = cmp.Or(e.Stage, jobs.StageSettle), cmp.Or(e.Fault, jobs.FaultGoogle)
	after := ""
	if !o.NotBefore.IsZero() {
		after = " after " + o.NotBefore.Format(time.RFC3339)
	}
	e.Fix = strings.TrimSpace(e.Fix + fmt.Sprintf("\nTimes it was tried: %d. Run it again%s.", tries, after)) // below, for a command may stand at the end
	o.Result.Error = &e
	return o
}

// errStopped ends a run at a fault that every further job would meet.
var errStopped = errors.New("stopped")

// stop ends the run at a job that has no result.
func (r *runner) stop(o functions.Outcome) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unfinished++
	r.stopped = &o.Result
	return errStopped
}

func (r *runner) write(o functions.Outcome) error {
	result := o.Result
	data, err := result.Encode()
	if err != nil {
		return err
	}
	r.progress.add(result.Status)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !result.Status.Good() {
		r.failed++
	}
	if o.Replayed {
		r.repeated++
	}
	if _, err := r.out.Write(append(data, '\n')); err != nil {
		return err
	}
	if o.Stops {
		r.stopped = &result
		return errStopped
	}
	return nil
}

// summary is the last line for people.
func (r *runner) summary() string {
	s := fmt.Sprintf("%d jobs", r.progress.done())
	if counts := r.progress.counts(); counts != "" {
		s += ": " + counts
	}
	if r.repeated > 0 {
		s += fmt.Sprintf(" (%d had the id of an earlier job, and that one's result)", r.repeated)
	}
	if r.unfinished > 0 {
		s += fmt.Sprintf("; %d were begun and have no result", r.unfinished)
	}
	return s
}

// exit turns how the run ended into the command's exit status.
func (r *runner) exit(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errStopped):
		e := r.stopped.Error
		return &exitError{exitStopped, fmt.Errorf("stopped at job %s: %s\n%s", r.stopped.Job, e.Message, e.Fix)}
	case ctx.Err() != nil:
		return &exitError{exitInterrupted, errors.New("interrupted")}
	case err != nil:
		return err
	case r.failed > 0:
		return &exitError{exitSomeFailed, nil}
	}
	return nil
}
