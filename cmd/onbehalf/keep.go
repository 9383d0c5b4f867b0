package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

// keeping is where a run keeps what comes of its jobs.
type keeping struct {
	ledger ledger.Ledger // nil: the one that ONBEHALF_LEDGER names
	// lasts tells that the same command finds it again.
	lasts bool
}

// keep opens the ledger of a run: the file that --ledger names, or what
// ONBEHALF_LEDGER does, or a file beside that of the jobs. Where there is nothing that
// the same command would find again, it is memory.
func (f runFlags) keep(file string, in *input) (keeping, error) {
	k, err := f.openKeeping(file, in)
	if err == nil && f.retryFailed && !k.lasts {
		err = errors.New("--retry-failed: nothing was kept of an earlier run; --ledger PATH names where to keep it")
	}
	return k, err
}

func (f runFlags) openKeeping(file string, in *input) (keeping, error) {
	named := os.Getenv("ONBEHALF_LEDGER")
	switch {
	case f.ledger != "":
		if f.ledger == "memory" || strings.HasPrefix(f.ledger, "file:") || strings.HasPrefix(f.ledger, "firestore:") {
			return keeping{}, fmt.Errorf("--ledger: %s is not accepted; a path is, and ONBEHALF_LEDGER takes the others", f.ledger)
		}
		return openLedger(f.ledger)
	case named != "" && !f.sandbox: // whose settings are its own
		return keeping{lasts: named != "memory"}, nil
	case in.file && !f.sandbox: // which forgets
		return openLedger(file + ".ledger")
	}
	return keeping{ledger: ledger.NewMemory(0)}, nil
}

// openLedger opens the ledger in the file.
func openLedger(path string) (keeping, error) {
	l, err := ledger.OpenFile(path)
	var problem *ledger.Error
	if errors.As(err, &problem) {
		err = fmt.Errorf("%s\n%s", problem.Message, problem.Fix)
	}
	if err != nil {
		return keeping{}, fmt.Errorf("run: no ledger, to keep what comes of each job: %w\n--ledger PATH names another place for it", err)
	}
	return keeping{l, true}, nil
}

func (k keeping) close() error {
	if k.ledger == nil {
		return nil
	}
	return k.ledger.Close()
}
