package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

// keeping is where a run keeps what comes of its jobs.
type keeping struct {
	ledger ledger.Ledger // nil: the one that ONBEHALF_LEDGER names
	// lasts tells that the same command finds it again.
	lasts bool
	path  string // of a file that the command names; empty: there is none
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
		if err := checkLedgerPath(f.ledger); err != nil {
			return keeping{}, err
		}
		return openLedger("run", f.ledger)
	case named != "" && !f.sandbox: // whose settings are its own
		return keeping{lasts: named != "memory"}, nil
	case in.file && !f.sandbox: // which forgets
		return openLedger("run", file+".ledger")
	}
	return keeping{ledger: ledger.NewMemory(0)}, nil
}

// checkLedgerPath refuses what is for ONBEHALF_LEDGER.
func checkLedgerPath(path string) error {
	if path == "memory" || strings.HasPrefix(path, "file:") || strings.HasPrefix(path, "firestore:") {
		return fmt.Errorf("--ledger: %s is not accepted; a path is, and ONBEHALF_LEDGER takes the others", path)
	}
	return nil
}

// openLedger opens the ledger in the file, for a command.
func openLedger(command, path string) (keeping, error) {
	l, err := ledger.OpenFile(path)
	var problem *ledger.Error
	if errors.As(err, &problem) {
		err = fmt.Errorf("%s\n%s", problem.Message, problem.Fix)
	}
	if err != nil {
		return keeping{}, fmt.Errorf("%s: no ledger, to keep what comes of each job: %w\n--ledger PATH names another place for it", command, err)
	}
	return keeping{l, true, path}, nil
}

// rehearse gives the ledger of a dry run, of which nothing is worth keeping. Failures are
// those of the earlier batch that it is for; empty: there is none.
func (f runFlags) rehearse(ctx context.Context, failures string) (ledger.Ledger, error) {
	memory := ledger.NewMemory(0)
	if failures == "" || f.sandbox && f.ledger == "" { // whose settings are its own
		return memory, nil
	}
	b, err := (&batchFlags{ledger: f.ledger}).open(ctx, false)
	if err != nil {
		return nil, fmt.Errorf("targets.failuresOf: the earlier batch cannot be read: %w", err)
	}
	return &rehearsal{memory, b, failures}, nil
}

// rehearsal is a ledger that forgets, with what another knows of an earlier batch.
type rehearsal struct {
	ledger.Ledger
	known   *batches
	earlier string
}

// Load implements [ledger.Ledger].
func (r *rehearsal) Load(ctx context.Context, batch, name string) (ledger.Part, error) {
	if batch == r.earlier {
		return r.known.ledger.Load(ctx, batch, name)
	}
	return r.Ledger.Load(ctx, batch, name)
}

// Failures implements [ledger.Ledger].
func (r *rehearsal) Failures(ctx context.Context, batch, after string, limit int) ([]jobs.Result, string, error) {
	if batch == r.earlier {
		return r.known.ledger.Failures(ctx, batch, after, limit)
	}
	return r.Ledger.Failures(ctx, batch, after, limit)
}

// Close implements [ledger.Ledger].
func (r *rehearsal) Close() error {
	r.known.close()
	return r.Ledger.Close()
}

func (k keeping) close() error {
	if k.ledger == nil {
		return nil
	}
	return k.ledger.Close()
}
