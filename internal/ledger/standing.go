package ledger

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// PutOffCount is what Tally counts the jobs under that were released without a final
// result, and that nobody holds.
const PutOffCount = "putOff"

// standing is where a job stands in its batch. It follows from the entry alone, so
// that whoever writes one knows what that changes of the counts, and a ledger changes
// both at once.
type standing struct {
	batch, kind string // what it counts as; empty: as nothing
	failure     string // its key among the failures; empty: it is none
}

// standing is the entry's. What has expired counts as nothing, like what is not there
// any more: the counts keep what they had of it.
func (e *entry) standing(now time.Time) standing {
	s := standing{failure: e.failure()}
	if kind := e.kind(); kind != "" && now.Before(e.Expires) {
		s.batch, s.kind = e.Batch, kind
	}
	return s
}

func (e *entry) kind() string {
	switch {
	case e.Batch == "" || e.By != "" || e.Holder != "":
		return ""
	case e.Result == nil:
		return PutOffCount
	case e.Result.Status == jobs.Failed && e.Result.Error != nil:
		return string(jobs.Failed) + "/" + string(e.Result.Error.Fault)
	default:
		return string(e.Result.Status)
	}
}

// failure is the entry's key among its batch's failures, which it orders from the last
// that was kept to the first.
func (e *entry) failure() string {
	if e.Batch == "" || e.By != "" || e.Result == nil || e.Result.Status.Good() || e.Result.Status == jobs.Cancelled {
		return ""
	}
	kept := e.Expires.Add(-Keep)
	return fmt.Sprintf("%s%016x%x", failuresOf(e.Batch), math.MaxInt64-kept.UnixNano(), key(e.ID))
}

// failuresOf is what the keys of a batch's failures begin with.
func failuresOf(batch string) string { return hex.EncodeToString(key(batch)) }

// The parts of a failure's key, in hexadecimal.
const (
	batchDigits   = 2 * keyBytes
	failureDigits = batchDigits + 2*timeBytes + 2*keyBytes
)

// failuresFrom is the least key that a batch's failures after the given one can have.
func failuresFrom(batch, after string) (string, error) {
	if after == "" {
		return failuresOf(batch), nil
	}
	if _, err := hex.DecodeString(after); err != nil || len(after) != failureDigits-batchDigits {
		return "", errors.New("ledger: there are no failures after " + jobs.Quote(after) + ", only after what the call before has given as the next")
	}
	return failuresOf(batch) + after + "\x00", nil
}

// pageOf cuts what was found, of which there is one more than the limit where there are
// more, and says after what to go on.
func pageOf(found []*entry, limit int) (results []jobs.Result, next string) {
	if len(found) > limit {
		found = found[:limit]
		next = found[limit-1].failure()[batchDigits:]
	}
	for _, e := range found {
		results = append(results, *e.Result)
	}
	return results, next
}

// moved is what a change of an entry changes of the counts of its batch; nil: nothing.
func moved(from, to standing) (batch string, by map[string]int) {
	if from.batch == to.batch && from.kind == to.kind {
		return "", nil
	}
	by = make(map[string]int)
	if from.kind != "" {
		by[from.kind]--
	}
	if to.kind != "" {
		by[to.kind]++
	}
	return cmp.Or(to.batch, from.batch), by
}

// add adds to counts.
func add(to, by map[string]int) {
	for kind, n := range by {
		to[kind] += n
	}
}

// shown are the counts that are told: those of which there are any.
func shown(counts map[string]int) map[string]int {
	counts = maps.Clone(counts)
	maps.DeleteFunc(counts, func(_ string, n int) bool { return n <= 0 })
	return counts
}
