package directory

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

const (
	// patience is for how long what may pass is met with another try, at most: a
	// little more than the minute by which the Directory counts its quotas.
	patience = 75 * time.Second
	// firstPause and lastPause bound the pauses between tries.
	firstPause, lastPause = 500 * time.Millisecond, 16 * time.Second
)

// limits are the reasons of the answers, with whatever status, that say to come later
// (https://developers.google.com/workspace/admin/directory/v1/limits).
var limits = []string{"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"}

// Passes tells whether another try may go better.
func (e *Error) Passes() bool {
	switch {
	case e.Reason == TooLarge:
		return false
	case e.Reason == NoAnswer, e.Status >= 500, e.Status == http.StatusTooManyRequests, e.Status == http.StatusRequestTimeout:
		return true
	}
	return slices.Contains(limits, e.Reason)
}

// patiently asks until there is an answer, or asking again is of no use, or would
// outlast the caller's deadline: then the caller is told at once, while there is time
// to act on it.
func (d *Directory) patiently(ctx context.Context, q question, answer any) error {
	begun := time.Now()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := d.get(ctx, q, answer)
		var e *Error
		if !errors.As(err, &e) || !e.Passes() {
			return err
		}
		// Half of it at random: callers who failed together must not come back so.
		wait := max(pause/2+rand.N(pause/2+1), e.RetryAfter) //nolint:gosec // no secret depends on it
		deadline, limited := ctx.Deadline()
		if time.Since(begun)+wait > patience || limited && time.Until(deadline) <= wait {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}
