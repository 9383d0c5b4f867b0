package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// State is that of a batch.
type State string

// The states of a batch. Of the last four it comes back from Completed alone, by a retry.
const (
	Running    State = "running"
	Paused     State = "paused"     // by somebody
	Stopped    State = "stopped"    // by itself, for a reason
	Cancelling State = "cancelling" // its jobs get their results
	Cancelled  State = "cancelled"
	Completed  State = "completed"
	Expired    State = "expired" // notAfter came before all jobs were published
	Refused    State = "refused" // no batch that could be begun
)

// Ended tells whether all of its jobs have their results.
func (s State) Ended() bool {
	return s == Cancelled || s == Completed || s == Expired || s == Refused
}

// The names of a batch's parts.
const (
	controlPart  = "control"
	progressPart = "progress"
	watchPart    = "watch"
)

// specPart is the batch's file: of two with one id, each its own.
func specPart(digest string) string { return "spec/" + digest }

// pagePart is a page of the batch's users, made by that file.
func pagePart(digest string, n int) string { return fmt.Sprintf("page/%s/%08d", digest, n) }

// Where a batch is listed, with the time at which it was started after it.
const (
	openKey  = "open/"
	endedKey = "ended/"
)

// control is what may be done of a batch now. It is small, for every instance that
// does jobs of the batch reads it all the time.
type control struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	State State  `json:"state"`
	// Round counts the times that all pages are gone through: 1 is when they are made, and
	// each time the batch goes on after its jobs were given back there is one more.
	Round int `json:"round"`
	// Retry is the round from which on what had failed is started again, and with Uncertain
	// what nobody knows of, too. It is 0 once all pages were gone through for that, which
	// may take a pause or two.
	Retry     int  `json:"retry,omitzero"`
	Uncertain bool `json:"uncertain,omitzero"`
	// Stalled has it leave alone what is put off.
	Stalled bool `json:"stalled,omitzero"`
	// Error is why it was stopped, or refused.
	Error *jobs.Error `json:"error,omitzero"`
	// Canary is how many are done first; CanaryPassed, that they have succeeded.
	Canary       int  `json:"canary,omitzero"`
	CanaryPassed bool `json:"canaryPassed,omitzero"`
	// Accepted is how many bad results there were when somebody had it go on, and Spared how
	// many of them are left when the others were started again.
	Accepted  int            `json:"accepted,omitzero"`
	Spared    int            `json:"spared,omitzero"`
	StopAfter jobs.StopAfter `json:"stopAfter,omitzero"`
	NotAfter  time.Time      `json:"notAfter,omitzero"`
	Digest    string         `json:"digest"`
	// Changes counts those of this part.
	Changes int `json:"changes"`

	StartedAt time.Time `json:"startedAt"`
	// RunningSince is when it last began to go on: what an attempt has met before may
	// be mended.
	RunningSince time.Time `json:"runningSince"`
	FinishedAt   time.Time `json:"finishedAt,omitzero"`
	// Telling is until when somebody is at publishing its summary, and Told, that it is out.
	Telling time.Time `json:"telling,omitzero"`
	Told    bool      `json:"told,omitzero"`
}

func (c *control) key() string {
	under := openKey
	if c.State.Ended() && c.Told {
		under = endedKey
	}
	return under + c.StartedAt.UTC().Format("2006-01-02T15:04:05.000000000Z") + "/" + c.ID
}

// active tells whether jobs of it are published.
func (c *control) active() bool { return c.State == Running || c.State == Cancelling }

// windsUp tells whether no job of a user who is not yet on a page is published any more.
func (c *control) windsUp() bool { return c.State == Cancelling || past(c.NotAfter) }

// goOn has jobs be published again, all that have no result among them.
func (c *control) goOn(to State, now time.Time) {
	c.State, c.Error, c.RunningSince = to, nil, now.UTC()
	c.Round++
	c.Retry, c.Uncertain, c.Stalled = 0, false, false
	c.FinishedAt, c.Telling, c.Told = time.Time{}, time.Time{}, false
}

// again has what has no result be published again, of a batch that otherwise goes on as it
// did.
func (c *control) again(now time.Time) {
	retry, uncertain, since := c.Retry, c.Uncertain, c.RunningSince
	c.goOn(c.State, now)
	c.Retry, c.Uncertain, c.RunningSince = retry, uncertain, since
}

// ErrUnknown says that there is no such batch.
var ErrUnknown = errors.New("there is no batch with that id; onbehalf batch list shows those that there are")

// ErrNothingFailed says that a batch has nothing that could be started again.
var ErrNothingFailed = errors.New("it is completed, and nothing of it failed that could be done again")

// errBusy says that others change the same thing all the time.
var errBusy = errors.New("batch: it is being changed all the time")

// mostRaces is how often a change is tried that others are quicker than.
const mostRaces = 10

// load reads a batch's control.
func (b *Batches) load(ctx context.Context, id string) (c control, version string, err error) {
	p, err := b.cfg.Store.Load(ctx, id, controlPart)
	if err != nil {
		return c, "", err
	}
	if p.Version == "" {
		return c, "", ErrUnknown
	}
	err = decode(p, &c)
	return c, p.Version, err
}

// save keeps a batch's control.
func (b *Batches) save(ctx context.Context, c control, version string) (changed bool, err error) {
	c.Changes++
	p, err := encode(c.ID, controlPart, &c)
	if err != nil {
		return false, err
	}
	p.Key, p.Version = c.key(), version
	if _, changed, err = b.cfg.Store.Save(ctx, p); err == nil && !changed {
		b.gates.put(c, time.Now())
	}
	return changed, err
}

// change changes a batch's control, unless do says that there is nothing to change.
func (b *Batches) change(ctx context.Context, id string, do func(*control) (bool, error)) (control, error) {
	for range mostRaces {
		c, version, err := b.load(ctx, id)
		if err != nil {
			return c, err
		}
		was := c.State
		if needed, err := do(&c); err != nil || !needed {
			return c, err
		}
		if raced, err := b.save(ctx, c, version); err != nil || !raced {
			if err == nil && c.State != was {
				b.changed(ctx, was, &c)
			}
			return c, err
		}
	}
	return control{}, errBusy
}

// changed tells of a change, also where its jobs cannot be counted. Of what was refused
// there are none: if its id has any, it is another batch's.
func (b *Batches) changed(ctx context.Context, was State, c *control) {
	if b.cfg.Changed == nil {
		return
	}
	change := Change{Batch: c.ID, Name: c.Name, From: was, To: c.State, Error: c.Error}
	if c.State != Refused {
		if tally, err := b.cfg.Store.Tally(ctx, c.ID); err == nil {
			counts := jobs.CountsOf(tally)
			change.Counts = &counts
		}
	}
	b.cfg.Changed(ctx, change)
}

// encode makes a document of a batch.
func encode(batch, name string, value any) (Part, error) {
	data, err := json.Marshal(value, json.Deterministic(true))
	return Part{Batch: batch, Name: name, Data: data}, err
}

// errUnreadable is of what this program has not written.
var errUnreadable = errors.New("batch: the ledger holds something else than a batch there")

func decode(p Part, into any) error {
	if json.Unmarshal(p.Data, into) != nil { // whose error may quote what is in it
		return errUnreadable
	}
	return nil
}

// Pause has no job of it begun any more, also of those that are published.
func (b *Batches) Pause(ctx context.Context, id string) error {
	return b.act(ctx, id, verb{done: "paused", in: []State{Paused}, from: []State{Running}, do: func(c *control, _ jobs.Counts) { c.State = Paused }})
}

// Resume has a batch go on that was paused or has stopped, with all that has no result.
// The failures so far are accepted: they stop it no more.
func (b *Batches) Resume(ctx context.Context, id string) error {
	return b.act(ctx, id, verb{done: "resumed", in: []State{Running}, from: []State{Paused, Stopped}, do: func(c *control, t jobs.Counts) {
		retry, uncertain := c.Retry, c.Uncertain
		c.goOn(Running, time.Now())
		c.Retry, c.Uncertain = retry, uncertain // there may be some left
		c.Accepted, c.Spared = t.Bad(), t.Bad()
	}})
}

// Cancel has what has no result yet end as cancelled, for good.
func (b *Batches) Cancel(ctx context.Context, id string) error {
	return b.act(ctx, id, verb{done: "cancelled", in: []State{Cancelling, Cancelled}, from: []State{Running, Paused, Stopped}, do: func(c *control, _ jobs.Counts) {
		if c.State == Running { // whose jobs are all on their way
			c.State, c.Retry, c.Uncertain = Cancelling, 0, false // what has failed has a result
			return
		}
		c.goOn(Cancelling, time.Now())
	}})
}

// Retry starts again what has failed or was refused, each user's under a new id, and
// goes on with what has no result. What is uncertain is started again only where that is
// asked for: it may be done twice.
func (b *Batches) Retry(ctx context.Context, id string, uncertain bool) error {
	return b.act(ctx, id, verb{done: "retried", from: []State{Running, Paused, Stopped, Completed}, needs: func(c *control, t jobs.Counts) error {
		failed := t.Bad()
		if !uncertain {
			failed -= t.Uncertain
		}
		if !past(c.NotAfter) {
			failed += t.Expired
		}
		if c.State == Completed && failed == 0 {
			return fmt.Errorf("batch %s: %w (%d are uncertain)", c.ID, ErrNothingFailed, t.Uncertain)
		}
		return nil
	}, do: func(c *control, t jobs.Counts) {
		c.goOn(Running, time.Now())
		c.Retry, c.Uncertain, c.Accepted, c.Spared = c.Round, uncertain, t.Bad(), 0
		if !uncertain {
			c.Spared = t.Uncertain
		}
	}})
}

// Recover has a batch that goes on publish again what has no result: whoever had the
// messages is gone, and they with it. A worker who is not loses the batch.
func (b *Batches) Recover(ctx context.Context, id string) error {
	if err := b.takeAway(ctx, id); err != nil {
		return err
	}
	return b.act(ctx, id, verb{done: "taken up again", from: []State{Running, Cancelling}, do: func(c *control, _ jobs.Counts) { c.again(time.Now()) }})
}

// verb is what somebody can have a batch do.
type verb struct {
	done string // its participle
	// in are the states in which there is nothing to do, and from those in which it can be
	// done.
	in, from []State
	// needs says what else is in the way; nil is nothing.
	needs func(*control, jobs.Counts) error
	do    func(*control, jobs.Counts)
}

// act has a batch do something, and be worked on where that is needed.
func (b *Batches) act(ctx context.Context, id string, v verb) error {
	tally, err := b.cfg.Store.Tally(ctx, id)
	if err != nil {
		return err
	}
	acted := false
	c, err := b.change(ctx, id, func(c *control) (bool, error) {
		acted = false
		switch {
		case slices.Contains(v.in, c.State):
			return false, nil
		case !slices.Contains(v.from, c.State):
			return false, fmt.Errorf("batch %s is %s, and cannot be %s; one that is %s can", c.ID, c.State, v.done, oneOf(v.from))
		}
		t := jobs.CountsOf(tally)
		if v.needs != nil {
			if err := v.needs(c, t); err != nil {
				return false, err
			}
		}
		v.do(c, t)
		acted = true
		return true, nil
	})
	if err != nil || !acted || !c.active() {
		return err
	}
	return b.cfg.Continue(ctx, id)
}

func oneOf(states []State) string {
	s := ""
	for i, state := range states {
		switch {
		case i > 0 && i == len(states)-1:
			s += " or "
		case i > 0:
			s += ", "
		}
		s += string(state)
	}
	return s
}

// Stop stops a batch by itself, if it runs and what an attempt has met was met since it
// last began to. It tells whether the batch stands still then.
func (b *Batches) Stop(ctx context.Context, id string, met time.Time, why jobs.Error) (stands bool, err error) {
	c, err := b.change(ctx, id, func(c *control) (bool, error) {
		if c.State != Running || met.Before(c.RunningSince) {
			return false, nil
		}
		c.State, c.Error = Stopped, &why
		return true, nil
	})
	return c.State == Stopped || c.State == Paused, err
}
