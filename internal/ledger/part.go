package ledger

import (
	"errors"
	"fmt"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Part is something that a batch has to remember, under its name. Like a job it is
// kept for [Keep] after it was last saved.
type Part struct {
	Batch, Name string // the name holds no U+0000
	Data        []byte
	// Key is what the part is listed by; empty: it is not.
	Key string
	// Version is that of the part that is kept; empty where there is none yet.
	Version string
}

// MaxPart is how much data a part can have, in bytes: a document of Firestore holds
// 1 MiB with all that is beside it (https://cloud.google.com/firestore/quotas#limits).
const MaxPart = 900 << 10

// ErrChanged says that a part is not any more as it was when it was read.
var ErrChanged = errors.New("ledger: the part of the batch was changed by another")

// check refuses what no ledger keeps.
func (p *Part) check() error {
	if len(p.Data) <= MaxPart {
		return nil
	}
	return &Error{
		Fault: jobs.FaultJob, Reason: "tooLong",
		Message: fmt.Sprintf("The part %s of the batch is %d bytes long; at most %d are kept.", jobs.Quote(p.Name), len(p.Data), MaxPart),
		Fix:     "Make the batch smaller: shorter texts in its file, or fewer and shorter columns in its table",
	}
}

// id is the part's among all.
func (p *Part) id() string { return partID(p.Batch, p.Name) }

func partID(batch, name string) string { return batch + "\x00" + name }
