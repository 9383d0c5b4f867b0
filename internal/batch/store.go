package batch

import (
	"context"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Part is one document of a batch in the store.
type Part struct {
	Batch, Name string
	Data        []byte
	// Key is what the part is listed by; empty: it is not.
	Key string
	// Version is that of what was read; empty where there is none yet.
	Version string
}

// Store keeps batches beside the jobs, so that what comes of a job and the counts of
// its batch change together or not at all. A ledger is one.
type Store interface {
	// Load reads a part; one without a Version where there is none.
	Load(ctx context.Context, batch, name string) (Part, error)
	// Save keeps a part and gives its new version; changed: the part that is kept is not
	// of p.Version any more, and nothing was done.
	Save(ctx context.Context, p Part) (version string, changed bool, err error)
	// List reads the parts whose keys begin so, the greatest key first.
	List(ctx context.Context, prefix string, limit int) ([]Part, error)
	// States tells what is known of jobs, in the order of their ids.
	States(ctx context.Context, ids []string) ([]JobState, error)
	// Supersede has the final result of a job, which is not Good, count for its batch no
	// more, for the job with the id by takes its place. Done twice it does nothing twice.
	Supersede(ctx context.Context, id, by string) error
	// Tally counts the jobs of a batch.
	Tally(ctx context.Context, batch string) (Tally, error)
	// Failures are final results of a batch's jobs that are not Good and were not
	// superseded, the latest first: limit of them from after on, which is empty at first.
	// Next is empty where there are no more.
	Failures(ctx context.Context, batch, after string, limit int) (results []jobs.Result, next string, err error)
}

// JobState is what is known of a job.
type JobState struct {
	// Status is that of its final result; empty while there is none.
	Status jobs.Status
	// By is the id of the job that was started in its place.
	By string
	// NotBefore is until when it is put off.
	NotBefore time.Time
}

// Tally counts jobs by what came of them: "succeeded" and the other statuses,
// "failed/admin" for each fault, and "putOff" of those that wait to be tried again.
type Tally map[string]int
