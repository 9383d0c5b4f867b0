// Package batch makes jobs out of users: it lists whom a batch is for, publishes a job
// for each, and stops, goes on and ends the batch. All that it knows is in the store,
// so that any instance goes on where another has ended.
package batch

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Config is what [Batches] need. What starts and works on batches needs all of it, what
// only does their jobs the Store.
type Config struct {
	Store Store
	// Directory is read for whom there is; nil: there is no administrator for that.
	Directory Directory
	Files     Files
	// Check says what is wrong with a job: a *[jobs.FieldError] where it can name the field.
	Check func(ctx context.Context, job []byte) error
	// AllowUser says why the policy does not have this user acted for, whatever is done.
	AllowUser func(user string) error
	// Allow gives the reason for which the policy refuses a target's job; "" where it allows it.
	Allow func(t Target, job []byte) (reason, message string)
	// Publish begins to publish jobs; wait tells whether all are safe.
	Publish func(ctx context.Context, messages []Message) (wait func(context.Context) error)
	// Continue has a batch be worked on.
	Continue func(ctx context.Context, id string) error
	// Tell publishes the summary of a batch that has ended.
	Tell func(ctx context.Context, s jobs.Summary) error
	// Changed is told of each change of a batch's state, once, and of each batch that is
	// refused; nil: nobody is.
	Changed func(ctx context.Context, c Change)
}

// Change is one of a batch's state.
type Change struct {
	Batch, Name string
	// From is empty where the batch was not there before.
	From, To State
	// Error is why it was stopped or refused.
	Error *jobs.Error
	// Counts are the jobs by what came of them by then; nil where it was refused, or they
	// could not be read.
	Counts *jobs.Counts
}

// Message is a job as it is published.
type Message struct {
	Data []byte
	Place
}

// Place is where in a batch a job belongs.
type Place struct {
	Batch string
	Round int // in which it was published
	Page  int // that its user is on
}

// The attributes of a job's message by which it is known to be a batch's.
const (
	batchAttribute = "batch"
	roundAttribute = "round"
	pageAttribute  = "page"
)

// Attributes are those of the job's message.
func (p Place) Attributes() map[string]string {
	return map[string]string{batchAttribute: p.Batch, roundAttribute: strconv.Itoa(p.Round), pageAttribute: strconv.Itoa(p.Page)}
}

// PlaceOf reads the attributes of a job's message; false: they are of none that a batch
// has published.
func PlaceOf(attributes map[string]string) (Place, bool) {
	round, err := strconv.Atoi(attributes[roundAttribute])
	page, err2 := strconv.Atoi(attributes[pageAttribute])
	p := Place{attributes[batchAttribute], round, page}
	return p, p.Batch != "" && err == nil && err2 == nil && round > 0 && page >= 0
}

// Batches are those of one store. They are safe for concurrent use.
type Batches struct {
	cfg   Config
	gates gates
}

// New makes Batches.
func New(cfg Config) (*Batches, error) {
	if cfg.Store == nil {
		return nil, errors.New("batch: a Store is needed")
	}
	return &Batches{cfg: cfg, gates: gates{of: make(map[string]gate)}}, nil
}

// Continue has a batch be worked on.
func (b *Batches) Continue(ctx context.Context, id string) error { return b.cfg.Continue(ctx, id) }

// jobID is the id of a user's job; anew is the round that started it again, or 0.
func jobID(batch, user string, anew int) string {
	id := batch + "/" + user
	if anew > 0 {
		id += "~" + strconv.Itoa(anew)
	}
	return id
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
