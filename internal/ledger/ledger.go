// Package ledger remembers what came of each job, so that a job that is
// delivered again is answered with its first result and takes effect once.
package ledger

import (
	"context"
	"errors"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// ErrHeld says that another attempt is at this job now.
var ErrHeld = errors.New("ledger: another attempt is at this job now")

// Ledger keeps one entry for each job id. An attempt claims the job, and then
// either settles it with its final result or releases it for a later attempt.
type Ledger interface {
	// Claim takes the job for one attempt. Where the job has its final result
	// already, the claim brings it and holds nothing. ErrHeld where another
	// attempt has the job.
	Claim(ctx context.Context, id string) (Claim, error)
	// Settle keeps the job's final result and ends the claim.
	Settle(ctx context.Context, c Claim, r jobs.Result) error
	// Release ends the claim of an attempt that did nothing that counts.
	Release(ctx context.Context, c Claim) error
}

// Claim is one attempt's hold on a job.
type Claim struct {
	ID string
	// Attempt counts the claims of this job, this one included, from 1.
	Attempt int
	// Result is the job's final result, if it has one.
	Result *jobs.Result
}
