package ledger

import (
	"cmp"
	"crypto/rand"
	"errors"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// entry is what every ledger keeps of a job, and all that a claim can do to it: a
// ledger only has to read, change and write one as if alone.
type entry struct {
	ID       string       `json:"id"`
	Attempts int          `json:"attempts"`
	Holder   string       `json:"holder,omitzero"` // of the claim; empty: nobody's
	Until    time.Time    `json:"until,omitzero"`  // when its time is up
	Doubt    time.Time    `json:"doubt,omitzero"`
	PutOff   time.Time    `json:"putOff,omitzero"` // not before
	Waits    bool         `json:"waits,omitzero"`
	Why      *jobs.Error  `json:"why,omitzero"`
	Note     string       `json:"note,omitzero"`
	Result   *jobs.Result `json:"result,omitzero"`
	Expires  time.Time    `json:"expires"`
	Batch    string       `json:"batch,omitzero"` // in whose counts it is
	By       string       `json:"by,omitzero"`    // who takes its place there
}

func newHolder() string { return rand.Text() }

// claim claims the job for the holder, or says why it cannot be.
func (e *entry) claim(id, holder string, now time.Time, t Terms) (Claim, error) {
	if e.ID != "" && !now.Before(e.Expires) {
		*e = entry{}
	}
	if e.Result != nil && t.Again != nil && t.Again(*e.Result) {
		*e = entry{ID: id, Attempts: e.Attempts, Batch: e.Batch, By: e.By}
	}
	switch {
	case e.Result != nil:
		e.adopt(now, t.Batch)
		return Claim{ID: id, Attempt: e.Attempts, Result: e.Result}, nil
	case e.Holder == holder: // the store tried again what it had done
		return e.held(), nil
	case e.Holder != "" && now.Before(e.Until):
		return Claim{}, ErrHeld
	case e.Holder == "" && now.Before(e.PutOff) && !t.Early:
		return Claim{}, &PutOffError{e.putOff()}
	case e.Holder != "": // who held it has gone, nobody knows how far it came
		e.Doubt = e.Until
	}
	e.ID, e.Holder, e.Until, e.PutOff, e.Waits = id, holder, t.Until, time.Time{}, false
	e.Attempts++
	e.Expires = now.Add(Keep)
	e.Batch = cmp.Or(e.Batch, t.Batch)
	return e.held(), nil
}

// adopt has a job that ended outside a batch count in this one.
func (e *entry) adopt(now time.Time, batch string) {
	if e.Batch == "" && batch != "" {
		e.Batch, e.Expires = batch, now.Add(Keep)
	}
}

// held is the claim that holds the entry.
func (e *entry) held() Claim {
	return Claim{ID: e.ID, Attempt: e.Attempts, Doubt: e.Doubt, Why: e.Why, Note: e.Note, holder: e.Holder, until: e.Until, batch: e.Batch, by: e.By}
}

// entry is what the claim holds, as it was left in the ledger.
func (c Claim) entry() *entry {
	return &entry{ID: c.ID, Attempts: c.Attempt, Holder: c.holder, Until: c.until, Doubt: c.Doubt, Why: c.Why, Note: c.Note, Batch: c.batch, By: c.by}
}

// note keeps a word under the claim.
func (e *entry) note(c Claim, now time.Time, note string) error {
	if e.Holder == "" || e.Holder != c.holder {
		return ErrLost
	}
	e.Note, e.Expires = note, now.Add(Keep)
	return nil
}

// end ends the claim. Where r is nil the job is put off.
func (e *entry) end(c Claim, now time.Time, r *jobs.Result, p PutOff) error {
	if e.Holder == "" || e.Holder != c.holder {
		return ErrLost
	}
	*e = entry{ID: e.ID, Attempts: e.Attempts, Result: r, Expires: now.Add(Keep), Note: e.Note, PutOff: p.NotBefore, Waits: p.Waits, Doubt: p.Doubt, Why: p.Why, Batch: e.Batch, By: e.By}
	if r != nil {
		e.Note = ""
	}
	return nil
}

// deferral is until when nobody is to spend something, and when that was set.
type deferral struct{ until, set time.Time }

// state is what Find tells.
func (e *entry) state(now time.Time) State {
	if !now.Before(e.Expires) {
		return State{}
	}
	return State{
		Attempts: e.Attempts, Held: e.Holder != "" && now.Before(e.Until), Result: e.Result,
		PutOff: e.putOff(), By: e.By,
	}
}

// inShort is what States tells.
func (e *entry) inShort(now time.Time) State {
	s := e.state(now)
	if s.Result != nil {
		short := *s.Result
		short.Response = nil
		s.Result = &short
	}
	return s
}

// supersede has by take the job's place, and says whether that is new.
func (e *entry) supersede(id, by string, now time.Time) (bool, error) {
	switch there := now.Before(e.Expires); {
	case by == "":
		return false, errors.New("ledger: the job that takes the place of " + jobs.Quote(id) + " has no id")
	case there && e.By == by:
		return false, nil
	case there && e.By != "":
		return false, errors.New("ledger: in the place of the job " + jobs.Quote(id) + " is another already, " + jobs.Quote(e.By))
	case !there || e.Result == nil || e.Result.Status.Good():
		return false, errors.New("ledger: the job " + jobs.Quote(id) + " has no final result in whose place another could come")
	}
	e.By, e.Expires = by, now.Add(Keep)
	return true, nil
}

// putOff is what the attempt before has left.
func (e *entry) putOff() PutOff {
	return PutOff{NotBefore: e.PutOff, Waits: e.Waits, Doubt: e.Doubt, Why: e.Why}
}

// asItCame has a response kept as Google sent it: a result that is given again
// must be the same, and one that is odd must not be lost for that.
func asItCame() json.Options {
	return json.JoinOptions(jsontext.PreserveRawStrings(true), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

func (e *entry) encode() ([]byte, error) {
	return json.Marshal(e, json.Deterministic(true), asItCame())
}

// errUnreadable is of what no ledger has written.
var errUnreadable = errors.New("ledger: not an entry")

// decode reads what encode wrote, of the job with this id.
func decode(data []byte, id string) (*entry, error) {
	e, err := decodeAny(data)
	if err != nil || e.ID != id {
		return nil, errUnreadable
	}
	return e, nil
}

// decodeAny reads what encode wrote, of any job.
func decodeAny(data []byte) (*entry, error) {
	var e entry
	if err := json.Unmarshal(data, &e, asItCame()); err != nil {
		return nil, errUnreadable // err may quote what is in it
	}
	return &e, nil
}
