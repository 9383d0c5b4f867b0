package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

// stillFor is how long nothing comes of a batch of which nothing is in hand here before
// what has no result is published again: whoever had it may be gone. It is longer than
// another's hold on the batch lasts.
const stillFor = 90 * time.Second

// runBatch does a batch: the same code as the functions', in this process.
func (f runFlags) runBatch(cmd *cobra.Command, name string, in *input) error {
	file, err := readBatch(name, in)
	if err != nil {
		return err
	}
	return f.doBatch(cmd, file, in)
}

// doBatch does what a file holds. In is where it comes from; a dry run need not know.
func (f runFlags) doBatch(cmd *cobra.Command, file *batchFile, in *input) error {
	ctx, stderr := cmd.Context(), cmd.ErrOrStderr()
	r := newBatchRun(file, cmd.OutOrStdout())
	end, err := f.prepareBatch(cmd, r, in)
	if err != nil {
		return err
	}
	defer end()
	again, err := f.begin(ctx, r, stderr)
	if err != nil || !again {
		return err
	}
	show := stderr
	if f.verbose {
		show = io.Discard
	}
	r.view = newBatchView(show, r.here, r.facts)
	err = r.run(ctx, f.concurrency)
	r.view.end()
	return r.report(ctx, stderr, err)
}

// batchRun does one batch.
type batchRun struct {
	runner
	x    *functions.Executor
	file *batchFile
	id   string
	dry  *samples // nil where it is in earnest

	lines chan pubsubio.Message
	wake  chan struct{} // FanOut is to go on
	// inHand counts the jobs that were handed over and are not done, and what FanOut is to do.
	inHand  atomic.Int64
	quiet   chan struct{}          // nothing is in hand any more
	trouble atomic.Pointer[string] // why FanOut cannot go on for now; nil: it can
	view    *batchView
	last    shown // that was seen of the batch
}

func newBatchRun(file *batchFile, out io.Writer) *batchRun {
	return &batchRun{
		runner: runner{begun: time.Now(), out: out, progress: noProgress(), ofBatch: true},
		file:   file, lines: make(chan pubsubio.Message), wake: make(chan struct{}, 1), quiet: make(chan struct{}, 1),
	}
}

// prepareBatch gives the run what it needs. End must be called after it.
func (f runFlags) prepareBatch(cmd *cobra.Command, r *batchRun, in *input) (end func(), err error) {
	o, cfg, err := f.options(cmd.ErrOrStderr())
	if err != nil {
		return nil, err
	}
	ctx := cmd.Context()
	if f.dryRun || r.file.spec.DryRun {
		r.dry = &samples{}
		r.keeps.ledger, err = f.rehearse(ctx, r.file.spec.Targets.FailuresOf)
	} else {
		r.keeps, err = f.keep(r.file.name, in)
	}
	if err != nil {
		return nil, err
	}
	breakOff, cancel := after(ctx, breakOffAfter)
	o.Results, o.Ledger, o.KeepAll, o.Ending, o.BreakOff = kept{}, r.keeps.ledger, true, ctx, breakOff
	o.Publish, o.Continue, o.LocalFiles = r.publish, r.goOn, true
	x, closeAll, err := f.executor(ctx, cfg, o)
	if err != nil {
		cancel()
		return nil, errors.Join(err, r.keeps.close())
	}
	r.x, r.runner.x = x, x
	return func() { cancel(); closeAll(); _ = r.keeps.close() }, nil
}

// publish implements [functions.Options]: it hands jobs over as fast as they are begun. What
// was handed over is lost with the process, and published again by [batch.Batches.Recover].
func (r *batchRun) publish(ctx context.Context, messages []batch.Message) func(context.Context) error {
	for _, m := range messages {
		if r.dry != nil {
			r.dry.add(m.Data)
		}
		r.inHand.Add(1)
		select {
		case r.lines <- pubsubio.Message{ID: "run", Data: m.Data, Attributes: m.Attributes(), PublishTime: time.Now()}:
		case <-ctx.Done():
			r.inHand.Add(-1)
			return func(context.Context) error { return ctx.Err() }
		}
	}
	return func(context.Context) error { return nil }
}

// goOn implements [functions.Options].
func (r *batchRun) goOn(context.Context, string) error {
	r.inHand.Add(1)
	select {
	case r.wake <- struct{}{}:
	default: // it is to go on already
		r.inHand.Add(-1)
	}
	return nil
}

// run does what there is to do, until the batch stands or ctx ends.
func (r *batchRun) run(ctx context.Context, concurrency int) error {
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var group sync.WaitGroup
	group.Go(func() {
		s := &schedule{show: r.progress.wait, do: func(ctx context.Context, t *task) bool {
			done, err := r.do(ctx, t)
			if done {
				r.putDown()
			}
			if err != nil {
				stop(err)
			}
			return done
		}}
		s.run(inner, r.lines, concurrency)
	})
	group.Go(func() { r.fanOut(inner) })
	stop(r.watch(inner))
	group.Wait()
	if err := context.Cause(inner); !errors.Is(err, errAtRest) {
		return err
	}
	return nil
}

// errAtRest ends a run of a batch that stands.
var errAtRest = errors.New("the batch is at rest")

// fanOut has FanOut go on whenever there is something for it to do.
func (r *batchRun) fanOut(ctx context.Context) {
	wait := firstWait
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		o := r.x.FanOut(ctx, functions.GoOn(r.id))
		r.note(o)
		if o.Answer == functions.Done {
			wait = firstWait
		} else if pause(ctx, wait) {
			wait = min(2*wait, lastWait)
			_ = r.goOn(ctx, r.id)
		}
		r.putDown()
	}
}

// putDown notes that something is not in hand any more.
func (r *batchRun) putDown() {
	if r.inHand.Add(-1) > 0 {
		return
	}
	select {
	case r.quiet <- struct{}{}:
	default:
	}
}

// rest waits until the batch is to be looked at again: for a second, or shorter where
// there may be nothing left to do. It says whether ctx let it.
func (r *batchRun) rest(ctx context.Context) bool {
	if !pause(ctx, lookEvery/10) {
		return false
	}
	timer := time.NewTimer(lookEvery * 9 / 10)
	defer timer.Stop()
	select {
	case <-r.quiet:
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// note notes why FanOut cannot go on, or that it can.
func (r *batchRun) note(o functions.Outcome) {
	if o.Answer == functions.Done || o.Result.Error == nil {
		r.trouble.Store(nil)
		return
	}
	r.trouble.Store(&o.Result.Error.Message)
}

// pause waits, and says whether ctx let it.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// watch looks after the batch until it stands: then it returns errAtRest.
func (r *batchRun) watch(ctx context.Context) error {
	var still stillness
	for missed := 0; ; missed++ {
		before := r.inHand.Load()
		s, err := r.lookAfter(ctx)
		idle := before == 0 && r.inHand.Load() == 0
		switch {
		case err != nil && (missed == mostMissed || ctx.Err() != nil):
			return err
		case err != nil:
		case atRest(s), idle && r.leftOver(s):
			return errAtRest
		default:
			missed = 0
			if err := r.recover(ctx, still.over(idle, s)); err != nil {
				return err
			}
		}
		if !r.rest(ctx) {
			return ctx.Err()
		}
	}
}

// recover has what has no result published again, where nobody is at it any more.
func (r *batchRun) recover(ctx context.Context, needed bool) error {
	if !needed {
		return nil
	}
	return r.x.Batches().Recover(ctx, r.id)
}

// lookAfter does what Sweep does, and shows how the batch is.
func (r *batchRun) lookAfter(ctx context.Context) (batch.Status, error) {
	status, err := r.x.Batches().Look(ctx, r.id)
	if err != nil {
		return status, err
	}
	s := shown{status, r.last.causes}
	if notGood(s.Counts) != notGood(r.last.Counts) {
		failures, _, err := r.x.Batches().Failures(ctx, r.id, "", mostCaused)
		if err != nil {
			return status, err
		}
		s.causes = causes(failures)
	}
	r.last = s
	r.view.show(s)
	return status, nil
}

// leftOver tells whether all that is left was given up for this run.
func (r *batchRun) leftOver(s batch.Status) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return goesOn(s) && s.Remaining > 0 && r.givenUp+r.unfinished > 0
}

// goesOn tells whether jobs of the batch are published.
func goesOn(s batch.Status) bool {
	state := batch.State(s.State)
	return state == batch.Running || state == batch.Cancelling
}

// stillness is for how long nothing has come of a batch of which nothing is in hand.
type stillness struct {
	since time.Time
	done  int
}

// over tells whether that was too long.
func (st *stillness) over(idle bool, s batch.Status) bool {
	done := s.Counts.Done()
	if !idle || !goesOn(s) || done != st.done || st.since.IsZero() {
		*st = stillness{time.Now(), done}
		return false
	}
	if time.Since(st.since) < stillFor {
		return false
	}
	*st = stillness{}
	return true
}

// facts are what the view says beside what is known of the batch.
func (r *batchRun) facts() []string {
	var parts []string
	if waits := r.progress.waits(); waits != "" {
		parts = append(parts, waits)
	}
	if trouble := r.trouble.Load(); trouble != nil {
		parts = append(parts, "cannot go on for now: "+printable(*trouble))
	}
	return parts
}

// here has the commands in a text be what goes on with this run; nothing does where none
// of it is kept.
func (r *batchRun) here(text string) string {
	if !r.keeps.lasts {
		lines := strings.Split(text, "\n")
		return strings.Join(slices.DeleteFunc(lines, func(line string) bool { return about(line, r.id) }), "\n")
	}
	resume := "the same command"
	if ruledOut(r.last.Error) {
		resume += " with --accept-failures"
	}
	if batch.State(r.last.State) != batch.Paused {
		text = strings.ReplaceAll(text, "onbehalf batch resume "+r.id, resume)
	}
	text = strings.ReplaceAll(text, "onbehalf batch retry "+r.id, "the same command with --retry-failed")
	return withLedger(text, r.id, r.keeps.path)
}

// report says how the run ended: to people, and as the command's exit status.
func (r *batchRun) report(ctx context.Context, w io.Writer, err error) error {
	if r.last.Batch != "" {
		if err := r.last.write(w, r.here); err != nil {
			return err
		}
	}
	if r.dry != nil && err == nil {
		r.dry.write(w)
	}
	switch exit := (*exitError)(nil); {
	case err != nil || r.unkept != nil:
		return r.exit(ctx, err)
	case goesOn(r.last.Status):
		return &exitError{exitSomeFailed, fmt.Errorf("%d jobs were given up for now\n%s", r.givenUp, r.goesOn())}
	case errors.As(statusExit(r.last.Status), &exit):
		if batch.State(r.last.State) == batch.Stopped && !r.keeps.lasts && r.dry == nil {
			exit.err = errors.New(r.goesOn())
		}
		return exit
	}
	return nil
}
