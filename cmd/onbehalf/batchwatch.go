package main

import (
	"context"
	"errors"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
)

// mostMissed is how often in a row a batch may not be seen before watching ends.
const mostMissed = 5

// watch shows a batch until it has ended or stopped, and at the end as a whole.
func (b *batches) watch(cmd *cobra.Command, id string, asJSON bool) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	each, end := changes(func(s shown) error { return b.show(out, s, true) }), func() {}
	if !asJSON {
		view := newBatchView(cmd.ErrOrStderr(), func(text string) string { return b.here(text, id) }, nil)
		each, end = func(s shown) error { view.show(s); return nil }, view.end
	}
	s, err := follow(ctx, b, id, each)
	end()
	switch {
	case ctx.Err() != nil:
		return &exitError{exitInterrupted, nil}
	case err != nil:
		return problem(id, err)
	case asJSON:
		return statusExit(s.Status)
	}
	return errors.Join(b.show(out, s, false), statusExit(s.Status))
}

// follow looks at a batch now and then, until it stands for good or ctx ends.
func follow(ctx context.Context, b looker, id string, each func(shown) error) (s shown, err error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for missed := 0; ; {
		next, err := look(ctx, b, id)
		switch {
		case err == nil:
			s, missed = next, 0
			if err := each(s); err != nil || atRest(s.Status) {
				return s, err
			}
		case errors.Is(err, batch.ErrUnknown): // FanOut has yet to begin it
		default:
			if missed++; missed == mostMissed {
				return s, err
			}
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-tick.C:
		}
	}
}

// atRest tells whether nothing comes of a batch any more by itself. One that somebody has
// paused goes on.
func atRest(s batch.Status) bool {
	state := batch.State(s.State)
	return state == batch.Stopped || state.Ended()
}

// changes passes on what is not as it was before.
func changes(each func(shown) error) func(shown) error {
	last := ""
	return func(s shown) error {
		now, err := json.Marshal(s.Status, json.Deterministic(true))
		if err != nil || string(now) == last {
			return err
		}
		last = string(now)
		return each(s)
	}
}
