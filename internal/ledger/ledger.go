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
	// States is Find for many jobs, in the order of the ids. Their results come without
	// the responses, which could be many times as long as all else.
	States(ctx context.Context, ids []string) ([]State, error)
	// Supersede has the final result of a job, which is not Good, count for its batch no
	// more: the job with the id by was started in its place. The same again changes
	// nothing. An error for a job without such a result, or with another in its place.
	Supersede(ctx context.Context, id, by string) error
	// Tally counts the jobs of a batch ([Terms]) by what came of them: under the status
	// of their final result, "failed/FAULT" for those that failed, and under [PutOffCount].
	// What counts none is left out, and a job that was only ever claimed counts as nothing.
	Tally(ctx context.Context, batch string) (map[string]int, error)
	// Failures are final results of a batch's jobs, those that were kept last first: failed,
	// refused, expired or uncertain, and not superseded. There are limit of them, at least
	// one, after the ones before: next is for the call after this one, and empty
	// where there are no more; after is empty at first.
	Failures(ctx context.Context, batch, after string, limit int) (results []jobs.Result, next string, err error)
	// Load reads a part of a batch; one without a version where there is none.
	Load(ctx context.Context, batch, name string) (Part, error)
	// Save keeps a part, and gives its new version. ErrChanged where the part that is kept
	// is not of the version that p has; then nothing is kept. Data of more than [MaxPart]
	// is refused with an [Error].
	Save(ctx context.Context, p Part) (version string, err error)
	// List reads the parts whose keys begin with the prefix, limit of them, at least one,
	// the greatest key first.
	List(ctx context.Context, keyPrefix string, limit int) ([]Part, error)
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
	// Batch is the batch whose counts the job is in; empty: none. A job that has one
	// stays in it. One that ended without counts from this claim on.
	Batch string
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
	// The entry's, which an attempt does not change.
	batch, by string
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
	// By is the id of the job that was started in this one's place.
	By string
}
