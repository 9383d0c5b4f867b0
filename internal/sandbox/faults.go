package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Kinds of faults beside the rows of the table.
const (
	kindLate         = "late"
	kindLost         = "lost"
	kindCut          = "cut"
	kind429          = "429"
	kind5xx          = "5xx"
	kindExpireTokens = "expireTokens"
	kindCutUpload    = "cutUpload"
	kindCutDownload  = "cutDownload"
)

// ErrFault is what Order fails with when a fault cannot be.
var ErrFault = errors.New("sandbox: fault refused")

// A Fault is something that shall go wrong. It has a Row or a Kind:
//
//	late          the effect takes place, the answer comes after Delay
//	lost          the effect takes place, then the connection is cut
//	cut           the connection is cut before any effect
//	429           too many requests, without effect
//	5xx           503, without effect
//	expireTokens  the access token that the call shows ends there and then
//	cutUpload     a resumable upload's connection is cut behind After bytes of a
//	              request that has more, and what came before is kept
//	cutDownload   a download's connection is cut behind After bytes of the answer
//
// Of several that fit a call, the first ordered one strikes, alone.
type Fault struct {
	Row        string        `json:"row,omitempty"`        // "T1"; see Rows
	Kind       string        `json:"kind,omitempty"`       // in place of Row
	Call       string        `json:"call,omitempty"`       // glob over the names of calls; empty is "*", all that fit
	User       string        `json:"user,omitempty"`       // only where the call concerns this user; empty is any
	Times      int           `json:"times,omitempty"`      // how often it strikes; 0 is until it is cleared
	Share      float64       `json:"share,omitempty"`      // of the calls that fit, drawn with the seed; 0 and 1 are all
	Delay      time.Duration `json:"-"`                    // of "late"; in JSON a string like "2s"
	After      int64         `json:"after,omitempty"`      // bytes, of "cutUpload" and "cutDownload"
	RetryAfter string        `json:"retryAfter,omitempty"` // header of "429", "5xx" and of a row
}

// faultJSON has Fault's fields and not its methods.
type faultJSON Fault

// MarshalJSON writes Delay as text.
func (f Fault) MarshalJSON() ([]byte, error) {
	var delay string
	if f.Delay != 0 {
		delay = f.Delay.String()
	}
	return json.Marshal(struct {
		faultJSON
		Delay string `json:"delay,omitempty"`
	}{faultJSON(f), delay})
}

// UnmarshalJSON refuses unknown fields: a typing error must not order a
// fault other than the one that was meant.
func (f *Fault) UnmarshalJSON(data []byte) error {
	var in struct {
		faultJSON
		Delay string `json:"delay"`
	}
	if err := strictJSON(data, &in); err != nil {
		return err
	}
	*f = Fault(in.faultJSON)
	if in.Delay == "" {
		return nil
	}
	var err error
	f.Delay, err = time.ParseDuration(in.Delay)
	return err
}

// ordered is a fault in force.
type ordered struct {
	Fault
	left int
	rng  *rand.Rand
}

// faults are those in force. With none, a call costs one atomic load.
type faults struct {
	rows   *rowTable
	names  []string          // of calls, sorted
	stages map[string]string // of each
	seed   uint64
	any    atomic.Bool
	mu     sync.Mutex
	count  uint64 // ever ordered; gives each its own sequence of shares
	list   []*ordered
	struck map[string]int // how often, by kind or row
}

func newFaults(seed uint64, rows *rowTable, stages map[string]string) *faults {
	return &faults{rows: rows, names: slices.Sorted(maps.Keys(stages)), stages: stages, seed: seed, struck: map[string]int{}}
}

// Order puts a fault in force, behind those that are. The error is ErrFault
// and says what is wrong with it.
func (s *Server) Order(f Fault) error {
	if f.Call == "" {
		f.Call = "*"
	}
	if err := s.checkFault(f); err != nil {
		return fmt.Errorf("%w: %w", ErrFault, err)
	}
	s.faults.add(f)
	return nil
}

// ClearFaults ends all faults.
func (s *Server) ClearFaults() {
	f := s.faults
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = nil
	f.any.Store(false)
}

// Struck tells how often each kind and each row of fault has struck.
func (s *Server) Struck() map[string]int {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	return maps.Clone(s.faults.struck)
}

func (s *Server) checkFault(f Fault) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.Row != "" {
		return s.checkRow(f)
	}
	names, err := s.matching(f.Call)
	if err == nil && f.Kind == kindCutUpload && !slices.ContainsFunc(names, isChunk) {
		return fmt.Errorf("kind %q is of calls that end in %s, and %q fits none", f.Kind, chunkSuffix, f.Call)
	}
	return err
}

// chunkSuffix stands behind the method in the name of the call that brings a
// part of a resumable upload, so that one letter counts as one insert.
const chunkSuffix = ".chunk"

func isChunk(name string) bool { return strings.HasSuffix(name, chunkSuffix) }

// check looks at the fault alone.
func (f *Fault) check() error {
	switch {
	case f.Row == "" && f.Kind == "":
		return errors.New("neither row nor kind")
	case f.Row != "" && f.Kind != "":
		return fmt.Errorf("row %q and kind %q: only one of the two", f.Row, f.Kind)
	case f.Kind != "" && !slices.Contains(kinds(), f.Kind):
		return fmt.Errorf("kind %q is none of %s", f.Kind, strings.Join(kinds(), ", "))
	case !(f.Share >= 0 && f.Share <= 1): // so that NaN is refused too
		return fmt.Errorf("share %v is not within 0..1", f.Share)
	case f.Times < 0:
		return fmt.Errorf("times %d is negative", f.Times)
	}
	return f.checkOptions()
}

func (f *Fault) cutsBody() bool { return f.Kind == kindCutUpload || f.Kind == kindCutDownload }

func kinds() []string {
	return []string{kindLate, kindLost, kindCut, kind429, kind5xx, kindExpireTokens, kindCutUpload, kindCutDownload}
}

// checkOptions refuses what would be ignored.
func (f *Fault) checkOptions() error {
	switch {
	case f.Delay < 0:
		return fmt.Errorf("delay %v is negative", f.Delay)
	case f.Delay > 0 && f.Kind != kindLate:
		return errors.New(`delay goes with kind "late" only`)
	case f.Delay == 0 && f.Kind == kindLate:
		return errors.New(`kind "late" wants a delay`)
	case f.After < 0:
		return fmt.Errorf("after %d is negative", f.After)
	case f.After > 0 && !f.cutsBody():
		return errors.New(`after goes with kinds "cutUpload" and "cutDownload" only`)
	case f.After == 0 && f.cutsBody():
		return fmt.Errorf("kind %q wants after, a number of bytes", f.Kind)
	case f.RetryAfter != "" && f.Row == "" && f.Kind != kind429 && f.Kind != kind5xx:
		return errors.New(`retryAfter goes with a row or kind "429" or "5xx" only`)
	}
	return nil
}

func (s *Server) checkRow(f Fault) error {
	i, ok := s.rows.byID[f.Row]
	if !ok {
		return fmt.Errorf("row %q is not in the table", f.Row)
	}
	names, err := s.matching(f.Call)
	if err != nil {
		return err
	}
	stage := s.rows.list[i].Stage
	if slices.ContainsFunc(names, func(name string) bool { return s.faults.stages[name] == stage }) {
		return nil
	}
	return fmt.Errorf("row %s is of stage %q, and no call that fits %q is", f.Row, stage, f.Call)
}

// matching are the calls that a glob names; a glob that names none is refused.
func (s *Server) matching(glob string) ([]string, error) {
	var out []string
	for _, name := range s.faults.names {
		ok, err := path.Match(glob, name)
		if err != nil {
			return nil, fmt.Errorf("call %q: %w", glob, err)
		}
		if ok {
			out = append(out, name)
		}
	}
	if out == nil {
		return nil, fmt.Errorf("call %q fits none of the calls", glob)
	}
	return out, nil
}

func (f *faults) add(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	f.list = append(f.list, &ordered{
		Fault: fault, left: fault.Times,
		rng: rand.New(rand.NewPCG(f.seed, f.count)), //nolint:gosec // repeatable on purpose
	})
	f.any.Store(true)
}
