// Package ledger remembers what came of each job, so that a job takes effect
// once however often it is delivered, and whoever dies over it.
package ledger

import (
	"context"
	"errors"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Keep is how long a job is remembered after it was last touched: as long as
// Pub/Sub can keep a message that it might deliver again
// (https://cloud.google.com/pubsub/docs/topic-message-retention-overview).
// What is older is as if it had never been, in code as well as by the store's own
// expiry, which may lag.
const Keep = 31 * 24 * time.Hour

// ErrHeld says that another attempt is at this job now.
var ErrHeld = errors.New("ledger: another attempt is at this job now")

// ErrLost says that a claim does not hold its job any more: its time was up, and
// another attempt has taken the job, or ended it.
var ErrLost = errors.New("ledger: the claim was lost to another attempt")

// PutOffError says that the job is not to be tried before its time.
type PutOffError struct{ PutOff }

func (e *PutOffError) Error() string {
	return "ledger: the job is put off until " + e.NotBefore.Format(time.RFC3339)
}

// Ledger keeps one entry for each job id. An attempt claims the job, and then
// either settles it with its final result or releases it for a later attempt. An
// attempt that does neither loses the job when its time is up. One ledger serves
// many attempts at once, and but for [Memory] many processes.
type Ledger interface {
	// Claim takes the job for one attempt. Where the job has its final result
	// already, the claim brings it and holds nothing. ErrHeld where another
	// attempt has the job, *PutOffError where its time has not come.
	Claim(ctx context.Context, id string, t Terms) (Claim, error)
	// Note keeps a word for the attempts to come, before anything is done that they
	// must know of, and gives the claim that holds from then on.
	Note(ctx context.Context, c Claim, note string) (Claim, error)
	// Settle keeps the job's final result and ends the claim. ErrLost where the
	// claim holds the job no more; then nothing is kept.
	Settle(ctx context.Context, c Claim, r jobs.Result) error
	// Release ends the claim of an attempt without a final result. ErrLost as above.
	Release(ctx context.Context, c Claim, p PutOff) error
	// Find tells what is known of a job, without claiming it; the zero State is
	// nothing.
	Find(ctx context.Context, id string) (State, error)
	// Defer has nobody spend what key names, such as a user's quota, until then. An
	// earlier time than the one that is kept changes nothing.
	Defer(ctx context.Context, key string, until time.Time) error
	// Deferred are the keys whose time has not come, each with its time: those that were
	// deferred since then, by the clocks of who did; of zero, all. There may be others
	// among them, and of very many there are those that were deferred last. Where ctx
	// ends before all are read, there are some beside the error.
	Deferred(ctx context.Context, since time.Time) (map[string]time.Time, error)
	// Close ends what the ledger has open. What is held stays so, until its time
	// is up; but a [File] gives it free.
	Close() error
}

// Terms are how a job is claimed.
type Terms struct {
	// Until is when the attempt is over at the latest, its call included: from then
	// on another may take the job over.
	Until time.Time
	// Early claims also a job that is put off.
	Early bool
	// Again tells of a final result that it does not count; nil is never.
	Again func(jobs.Result) bool
}

// Claim is one attempt's hold on a job.
type Claim struct {
	ID string
	// Attempt counts the claims of this job, this one included, from 1.
	Attempt int
	// Result is the job's final result, if it has one.
	Result *jobs.Result
	// Doubt is by when an earlier attempt may have made the call, whose answer nobody
	// knows; zero where none has.
	Doubt time.Time
	// Why is what the attempt before was put off for; nil where it did not say.
	Why *jobs.Error
	// Note is what an earlier attempt has noted.
	Note string

	holder  string    // unlike any other claim's
	until   time.Time // when its time is up
	version time.Time // of the document, in Firestore
}

// PutOff is what an attempt leaves to the next one.
type PutOff struct {
	// NotBefore is when to try again; zero is at once.
	NotBefore time.Time
	// Waits says that nothing is in the way but a budget of our own: no refusal of
	// Google's.
	Waits bool
	// Doubt is as in [Claim].
	Doubt time.Time
	// Why is shown to who asks until then, and to the next attempt.
	Why *jobs.Error
}

// State is what is known of a job.
type State struct {
	Attempts int
	Held     bool // by an attempt whose time is not up
	PutOff
	Result *jobs.Result // final; nil where there is none yet
}
