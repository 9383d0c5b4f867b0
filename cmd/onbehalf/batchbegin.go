package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// begin finds the batch of the run's file, or starts it. It tells whether there is anything
// to do then; where there is not, it has said why.
func (f runFlags) begin(ctx context.Context, r *batchRun, w io.Writer) (work bool, err error) {
	known, err := r.find(ctx, w)
	switch {
	case err != nil:
		return false, err
	case known == nil:
		return true, r.start(ctx, w)
	case f.anew && !known.State.Ended():
		return false, fmt.Errorf("--new: batch %s of this file is %s, and has not ended; onbehalf batch cancel ends it", known.ID, known.State)
	case f.anew && r.file.spec.ID != "":
		return false, r.file.problem(r.file.spec.At("id", fmt.Errorf("is %s, of which there is a batch that has ended; give another id, or none", jobs.Quote(r.file.spec.ID))))
	case f.anew:
		return true, r.start(ctx, w)
	}
	r.id = known.ID
	act := f.takeUp(known)
	if act == nil {
		return false, r.standsAlready(ctx, w, known)
	}
	err = act(ctx, r.x.Batches(), r.id)
	if errors.Is(err, batch.ErrNothingFailed) {
		return false, r.standsAlready(ctx, w, known)
	}
	if err == nil {
		fmt.Fprintf(w, "Batch %s is %s, and is gone on with.\n", r.id, known.State)
	}
	return true, err
}

// find is the batch of the same name and content, and one that has not ended rather than
// one that has; nil where there is none. It tells of those that the file was before.
func (r *batchRun) find(ctx context.Context, w io.Writer) (*batch.Listed, error) {
	listed, err := r.x.Batches().List(ctx, mostListed)
	if err != nil {
		return nil, err
	}
	for _, l := range listed {
		switch {
		case l.Name != r.file.spec.Name || l.State == batch.Refused:
		case l.Digest == r.file.spec.Digest():
			return &l, nil
		case !l.State.Ended():
			fmt.Fprintf(w, "Batch %s has this name and another content. It is %s, and left alone.\n", l.ID, l.State)
		}
	}
	return nil, nil //nolint:nilnil // there is none
}

// takeUp is what is to be done of a batch that is there, for it to go on; nil: nothing.
func (f runFlags) takeUp(known *batch.Listed) func(ctx context.Context, b *batch.Batches, id string) error {
	switch state := known.State; {
	case f.retryFailed:
		return func(ctx context.Context, b *batch.Batches, id string) error { return b.Retry(ctx, id, false) }
	case state == batch.Stopped && (f.acceptFailures || !ruledOut(known.Error)):
		return func(ctx context.Context, b *batch.Batches, id string) error { return b.Resume(ctx, id) }
	case state == batch.Running, state == batch.Cancelling:
		return func(ctx context.Context, b *batch.Batches, id string) error { return b.Recover(ctx, id) }
	case state == batch.Paused: // whoever has paused it resumes it
		return func(context.Context, *batch.Batches, string) error { return nil }
	}
	return nil
}

// standsAlready shows a batch with which this command does not go on.
func (r *batchRun) standsAlready(ctx context.Context, w io.Writer, known *batch.Listed) (err error) {
	if r.last, err = look(ctx, r.x.Batches(), r.id); err != nil {
		return err
	}
	err = r.report(ctx, w, nil)
	if known.State.Ended() {
		fmt.Fprintln(w, "\nIt has ended, and nothing was done; --new begins it once more.")
	}
	return err
}

// start starts the batch.
func (r *batchRun) start(ctx context.Context, w io.Writer) error {
	data, err := r.file.as(r.file.spec.ID, r.dry != nil)
	if err != nil {
		return err
	}
	r.id, err = r.x.Batches().Start(ctx, data, time.Now())
	var wrong *jobs.BatchError
	switch {
	case err == nil:
		fmt.Fprintf(w, "Batch %s is begun.\n", r.id)
		return r.goOn(ctx, r.id)
	case ctx.Err() != nil:
		return &exitError{exitInterrupted, nil}
	case errors.As(err, &wrong):
		return r.file.problem(err)
	}
	return notBegun(r.x.BlameBatch(ctx, err))
}

// notBegun is why a batch cannot be begun, for who must act.
func notBegun(o functions.Outcome) error {
	e := o.Result.Error
	exit := &exitError{exitSomeFailed, errors.New(strings.TrimSpace("the batch cannot be begun: " + e.Message + "\n" + e.Fix))}
	if e.Fault == jobs.FaultAdmin || e.Fault == jobs.FaultOperator {
		exit.status = exitStopped
	}
	return exit
}
