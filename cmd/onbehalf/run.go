package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
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
	// defaultConcurrency is how many jobs are done at a time.
	defaultConcurrency = 16
	// breakOffAfter is how long calls in hand may go on after an interruption.
	breakOffAfter = 5 * time.Second
)

type runFlags struct {
	sandbox     bool
	world       string
	policy      string
	ledger      string
	retryFailed bool
	concurrency int
	verbose     bool
	// a batch's
	acceptFailures, anew, dryRun bool
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

What comes of each job is kept in a ledger, FILE.ledger unless ONBEHALF_LEDGER or
--ledger says otherwise. Interrupted, killed or stopped, the same command goes on
where it stopped: a job that has its result is not done again, and its line is
written again, so that the output of the last run is complete. Each is kept for 31
days. Of standard input, and with --sandbox, nothing is kept without --ledger.

The first Ctrl-C settles what is in hand, a second one ends at once. The run stops
early at a fault that an operator or administrator must mend, and says how.

FILE may be a batch, which is one job for each of many users: YAML, or JSON with
targets. ONBEHALF_ADMIN is as whom they are read. The same command goes on with the
batch of the same content that has not ended; what it writes are the results of this
run. One that has stopped at failures goes on with --retry-failed or --accept-failures,
and one that has ended is not begun again without --new. From elsewhere "onbehalf batch
status", pause, resume and cancel, with --ledger FILE.ledger, are for it.`,
		Example: `  onbehalf run --sandbox jobs.jsonl
  onbehalf run --policy policy.yaml jobs.jsonl > results.jsonl
  onbehalf run --policy policy.yaml --retry-failed jobs.jsonl > results.jsonl
  jq -c '.dryRun = true' jobs.jsonl | onbehalf run --policy policy.yaml -
  onbehalf run --sandbox batch.yaml
  onbehalf run --policy policy.yaml --dry-run batch.yaml
  onbehalf run --policy policy.yaml batch.yaml >> results.jsonl`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("run: one FILE is needed, or - for standard input")
			}
			return nil
		},
		ValidArgsFunction: completeBatchFile("jsonl"),
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	cmd.Flags().BoolVar(&f.sandbox, "sandbox", false, "do them in an embedded Workspace")
	cmd.Flags().StringVar(&f.world, "world", "", "with --sandbox: YAML file of users, service accounts and objects (default: a small example.com)")
	cmd.Flags().StringVar(&f.policy, "policy", "", "policy file (default: ONBEHALF_POLICY; with --sandbox, everything in its domains)")
	cmd.Flags().StringVar(&f.ledger, "ledger", "", "file that keeps the results, whole letters among them, for its owner only (default: ONBEHALF_LEDGER, or FILE.ledger)")
	cmd.Flags().BoolVar(&f.retryFailed, "retry-failed", false, "do jobs again whose result of an earlier run is failed, refused or expired")
	cmd.Flags().BoolVar(&f.acceptFailures, "accept-failures", false, "of a batch that has stopped at failures: go on without those")
	cmd.Flags().BoolVar(&f.anew, "new", false, "of a batch that has ended: begin it once more")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "of a batch: go all the way but for the calls, and say what would be done to whom")
	cmd.Flags().IntVar(&f.concurrency, "concurrency", defaultConcurrency, "how many jobs at a time")
	cmd.Flags().BoolVar(&f.verbose, "verbose", false, "log each attempt to standard error")
	return cmd
}

func (f runFlags) run(cmd *cobra.Command, file string) error {
	if f.concurrency < 1 || f.concurrency > 1000 {
		return fmt.Errorf("--concurrency: %d is not accepted; 1 to 1000 are", f.concurrency)
	}
	in, err := openInput(cmd, file)
	if err != nil {
		return err
	}
	defer in.Close()
	switch only := f.batchOnly(); {
	case in.batch:
		return f.runBatch(cmd, file, in)
	case only != "":
		return fmt.Errorf("--%s: is for a batch, and %s holds jobs", only, in.name)
	}
	r := &runner{begun: time.Now(), out: cmd.OutOrStdout()}
	end, err := f.prepare(cmd, r, file, in)
	if err != nil {
		return err
	}
	defer end()
	ctx := cmd.Context()
	err = r.run(ctx, in, f.concurrency)
	r.progress.end()
	fmt.Fprintln(cmd.ErrOrStderr(), r.summary())
	return r.exit(ctx, err)
}

// batchOnly names a flag that is given and only for batches.
func (f runFlags) batchOnly() string {
	switch {
	case f.acceptFailures:
		return "accept-failures"
	case f.anew:
		return "new"
	case f.dryRun:
		return "dry-run"
	}
	return ""
}

// prepare gives the runner what it needs. End must be called after it.
func (f runFlags) prepare(cmd *cobra.Command, r *runner, file string, in *input) (end func(), err error) {
	o, cfg, err := f.options(cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	if r.keeps, err = f.keep(file, in); err != nil {
		return nil, err
	}
	ctx := cmd.Context()
	breakOff, cancel := after(ctx, breakOffAfter)
	o.Results, o.Ledger, o.KeepAll, o.Ending, o.BreakOff = kept{}, r.keeps.ledger, true, ctx, breakOff
	if f.retryFailed {
		o.Again = r.again
	}
	x, closeAll, err := f.executor(ctx, cfg, o)
	if err != nil {
		cancel()
		return nil, errors.Join(err, r.keeps.close())
	}
	show := cmd.ErrOrStderr()
	if f.verbose {
		show = io.Discard // a bar among the log's lines would wipe some of them
	}
	r.x, r.progress = x, newProgress(show, in.total)
	return func() { cancel(); closeAll(); _ = r.keeps.close() }, nil
}

// after gives a context that is over a while after ctx is.
func after(ctx context.Context, while time.Duration) (context.Context, context.CancelFunc) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(while, cancel) })
	return later, cancel
}

// options are what the flags say of the Executor, and cfg what the environment does,
// but for the sandbox.
func (f runFlags) options(stderr io.Writer) (o functions.Options, cfg config.Config, err error) {
	if f.verbose {
		o.Logger = telemetry.NewLogger(stderr, slog.LevelInfo)
	}
	if f.policy != "" {
		if o.Policy, err = readPolicy(f.policy); err != nil {
			return o, cfg, err
		}
	}
	if f.sandbox {
		return o, cfg, nil
	}
	if f.world != "" {
		return o, cfg, errors.New("--world: is for --sandbox, which is not given")
	}
	cfg, err = config.Load(os.Environ())
	if err == nil && o.Policy == nil && cfg.Policy == "" {
		err = errors.New("--policy: is not given, and ONBEHALF_POLICY is not set; without a policy every job is refused")
	}
	return o, cfg, err
}

// executor makes the Executor, for the sandbox or for the real thing.
func (f runFlags) executor(ctx context.Context, cfg config.Config, o functions.Options) (*functions.Executor, func(), error) {
	if f.sandbox {
		return f.embedded(ctx, o)
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
	w.lists = o.Publish != nil
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

func (kept) Tell(context.Context, jobs.Summary) error { return nil }

// executor does one delivery of a job.
type executor interface {
	Execute(ctx context.Context, msg pubsubio.Message) functions.Outcome
}

// runner does the jobs of one file.
type runner struct {
	x        executor
	keeps    keeping
	progress *progress
	begun    time.Time
	ofBatch  bool // the jobs are a batch's, and published again when it goes on

	mu         sync.Mutex
	out        io.Writer
	failed     int
	retriable  int          // of those failed, by --retry-failed
	givenUp    int          // of those failed, for this run
	before     int          // jobs that had their result from an earlier run
	repeated   int          // jobs that got theirs by another line or process
	unfinished int          // jobs that were begun and have no result
	unkept     *jobs.Result // of the last of those that had one, which could not be kept
	stopped    *jobs.Result // the result at whose fault the run stopped
}

// again tells whether --retry-failed does a job again: what this run has done it does
// not do twice.
func (r *runner) again(result jobs.Result) bool {
	return mayDoAgain(result.Status) && result.FinishedAt.Before(r.begun)
}

// mayDoAgain tells whether a job has had no effect that would be had twice.
func mayDoAgain(status jobs.Status) bool {
	return status == jobs.Failed || status == jobs.Refused || status == jobs.Expired
}

// run does the jobs in, concurrency at a time, until they end, or ctx does, or
// a fault stops them. A call that was begun is finished.
func (r *runner) run(ctx context.Context, in *input, concurrency int) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	lines := make(chan pubsubio.Message)
	var unreadable error // set before lines is closed
	go func() {          // which a terminal or a pipe may hold up for good
		defer close(lines)
		unreadable = in.send(ctx, lines)
	}()
	s := &schedule{show: r.progress.wait, do: func(ctx context.Context, t *task) bool {
		done, err := r.do(ctx, t)
		if err != nil {
			stop(err)
		}
		return done
	}}
	putOff := s.run(ctx, lines, concurrency)
	r.unfinished += putOff // when no worker adds to it any more
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return unreadable // for without a cause lines were closed
}

// do tries a job once, and writes its result if there is one. Otherwise it says when
// to try again.
func (r *runner) do(ctx context.Context, t *task) (done bool, err error) {
	t.msg.Delivery = t.tries + 1
	o := r.x.Execute(ctx, t.msg)
	written := r.ofBatch && o.Replayed && !t.unkept // by another task, for the batch went on
	t.note(o)
	wait := max(t.wait, time.Until(o.NotBefore)) // sooner is in vain
	switch {
	case o.Parked, written: // what is parked comes again when its batch goes on
		return true, nil
	case o.Answer == functions.Done:
		return true, r.write(o)
	case o.Stops:
		r.stop(o)
		return false, errStopped
	case o.Held: // by another line with the same id, or by another process
		wait = firstWait
	case o.Waits: // and is to come in time: its place in line is kept for a second
		wait = time.Until(o.NotBefore)
	case googlesQuota(o) && wait <= patience:
	default:
		t.tries++
		if ctx.Err() == nil && (t.tries >= maxTries || wait > patience) { // an interruption is no reason
			return true, r.giveUp(o, t)
		}
		t.wait = min(2*t.wait, lastWait)
	}
	t.due, t.waits = time.Now().Add(wait), o.Waits
	return false, nil
}

// googlesQuota tells whether Google has named a time at which there will be quota for
// the job. However often that is, it is no reason to give the job up.
func googlesQuota(o functions.Outcome) bool {
	return o.Answer == functions.Later && !o.NotBefore.IsZero() && o.Result.Error != nil && o.Result.Error.Fault == jobs.FaultQuota
}

// giveUp writes a result of why a job was put off to the last: failed, or uncertain where
// its call may have taken effect. The ledger does not keep it: the next run tries again.
// Where the job had its result, and only that could not be kept, nothing is written: the
// next run finds out what came of it.
func (r *runner) giveUp(o functions.Outcome, t *task) error {
	r.mu.Lock()
	if t.unkept {
		defer r.mu.Unlock()
		r.unfinished++
		r.unkept = &o.Result
		return nil
	}
	r.givenUp++
	r.mu.Unlock()
	o.Result.Status = jobs.Failed
	if t.inDoubt {
		o.Result.Status = jobs.Uncertain
	}
	e := *o.Result.Error
	e.Stage, e.Fault = cmp.Or(e.Stage, jobs.StageSettle), cmp.Or(e.Fault, jobs.FaultGoogle)
	after := ""
	if !o.NotBefore.IsZero() {
		after = " after " + o.NotBefore.Format(time.RFC3339)
	}
	e.Fix = strings.TrimSpace(e.Fix + fmt.Sprintf("\nTimes it was tried: %d. Run it again%s: the same command tries it again, for this result is not kept.", t.tries, after)) // below, for a command may stand at the end
	o.Result.Error = &e
	return r.write(o)
}

// errStopped ends a run at a fault that every further job would meet.
var errStopped = errors.New("stopped")

// stop ends the run at a result, or at a job that has none.
func (r *runner) stop(o functions.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = &o.Result
}

func (r *runner) write(o functions.Outcome) error {
	data, err := o.Result.Encode()
	if err != nil {
		return err
	}
	r.progress.add(o.Result.Status)
	if err := r.count(o, append(data, '\n')); err != nil {
		return fmt.Errorf("a result cannot be written: %w", err)
	}
	if o.Stops {
		r.stop(o)
		return errStopped
	}
	return nil
}

// count writes a result's line and counts it.
func (r *runner) count(o functions.Outcome, line []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case o.Replayed && o.Result.FinishedAt.Before(r.begun):
		r.before++
	case o.Replayed:
		r.repeated++
	}
	if !o.Result.Status.Good() {
		r.failed++
	}
	if mayDoAgain(o.Result.Status) && o.Answer == functions.Done { // and so kept
		r.retriable++
	}
	_, err := r.out.Write(line)
	return err
}

// summary is the last line for people.
func (r *runner) summary() string {
	s := fmt.Sprintf("%d jobs", r.progress.done())
	if counts := r.progress.counts(); counts != "" {
		s += ": " + counts
	}
	for _, part := range []struct {
		n    int
		text string
	}{
		{r.before, " (%d had their result from before)"},
		{r.repeated, " (%d had that of another job or run with the same id)"},
		{r.givenUp, "; %d were given up for now, and the same command tries them again"},
		{r.unfinished, "; %d were begun and have no result"},
	} {
		if part.n > 0 {
			s += fmt.Sprintf(part.text, part.n)
		}
	}
	if waits := r.progress.waits(); waits != "" { // after an interruption
		s += "; " + waits
	}
	if r.retriable > 0 && r.keeps.lasts {
		s += fmt.Sprintf("; --retry-failed does %d again", r.retriable)
	}
	return s
}

// exit turns how the run ended into the command's exit status.
func (r *runner) exit(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errStopped):
		e := r.stopped.Error
		return &exitError{exitStopped, fmt.Errorf("stopped at job %s: %s\n%s\n%s", r.stopped.Job, e.Message, e.Fix, r.goesOn())}
	case err != nil && ctx.Err() != nil:
		return &exitError{exitInterrupted, errors.New("interrupted\n" + r.goesOn())}
	case err != nil:
		return fmt.Errorf("%w\n%s", err, r.goesOn())
	case r.unkept != nil:
		e := r.unkept.Error
		fix := strings.TrimPrefix(e.Fix+"\n", "\n")
		return &exitError{exitSomeFailed, fmt.Errorf("what came of job %s could not be kept: %s\n%s%s", r.unkept.Job, e.Message, fix, r.goesOn())}
	case r.failed > 0:
		return &exitError{exitSomeFailed, nil}
	}
	return nil
}

// goesOn says how to go on after a run that ended early.
func (r *runner) goesOn() string {
	switch {
	case !r.keeps.lasts:
		return "Nothing is kept of this run, and the same command begins anew; --ledger PATH keeps it."
	case r.retriable > 0:
		return "The same command goes on where it stopped, and with --retry-failed does again what has failed."
	}
	return "The same command goes on where it stopped."
}
