package ledger

import (
	"context"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Error says why a ledger cannot be used, and who must act. Its text holds
// nothing that came from outside but names that the settings have.
type Error struct {
	Fault jobs.Fault
	// Reason is a word for it in lower camel case.
	Reason  string
	Message string
	Fix     string // empty where nobody can do anything

	err error
}

func (e *Error) Error() string { return "ledger: " + e.Message }

// Unwrap gives the context's or the operating system's error, where there was one.
func (e *Error) Unwrap() error { return e.err }

// patience bounds an operation whose context does not: no caller waits for good.
const patience = 10 * time.Second

// patiently is ctx, ended when the patience is.
func patiently(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, bounded := ctx.Deadline(); bounded {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, patience)
}
