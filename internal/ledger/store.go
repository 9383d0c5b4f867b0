package ledger

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

const (
	// mostAtOnce is how many operations are done while the file is open: all that they
	// touch of it counts as this process's memory, some 80 KB each.
	mostAtOnce = 32
	// longestBurst is for how long the file is open at most, where the disk is slow, and
	// longestRun for how long it is no more than closed for a moment in between.
	longestBurst = 25 * time.Millisecond
	longestRun   = 50 * time.Millisecond
	// knock is about how often who waits for the file tries to open it, and turn for
	// how long it is left alone at times, so that who knocks finds it free.
	knock = 500 * time.Microsecond
	turn  = 2 * time.Millisecond
)

// store does operations on a file that other processes use, too. It is open for
// short bursts: some operation's caller opens it, does all that have come together in
// one transaction, and goes on while more come. So nothing is open, locked or
// running when there is nothing to do.
type store struct {
	path string
	lead chan struct{} // takes the one whose burst it is
	// shut is since when the file was not open, and rested until when it last was not
	// for a turn; of whose burst it is.
	shut, rested time.Time
	there        bool // the file was, and must not be made anew

	mu      sync.Mutex
	queue   []*operation
	closed  bool
	damaged error // by which the file was found to be no ledger that can be read
}

// operation may be done again, where another one that it is kept together with panics.
type operation struct {
	do       func(*tables) error
	err      error
	panicked any
	done     chan struct{}
}

// try does the operation. A panic of its own is for who asked for it; one that is due to
// the file goes on.
func (o *operation) try(t *tables) {
	defer func() {
		switch panicked := recover(); {
		case panicked == nil:
		case t.touching || isFault(panicked):
			panic(panicked)
		default:
			o.panicked = panicked
		}
	}()
	o.err = o.do(t)
}

// isFault tells whether a panic is from reading a file that is shorter than it says,
// which what bbolt has given out does, too.
func isFault(panicked any) bool {
	_, is := panicked.(interface{ Addr() uintptr })
	return is
}

// outcome is what came of the operation, once it is done.
func (o *operation) outcome() error {
	<-o.done
	if o.panicked != nil {
		panic(o.panicked)
	}
	return o.err
}

func newStore(path string) *store { return &store{path: path, lead: make(chan struct{}, 1)} }

// run does an operation. Where ctx ends before the operation has begun, it is not done.
func (s *store) run(ctx context.Context, do func(*tables) error) error {
	return s.enqueue(ctx, do, false)
}

// last does an operation after which there are no more.
func (s *store) last(ctx context.Context, do func(*tables) error) error {
	return s.enqueue(ctx, do, true)
}

var errClosed = errors.New("ledger: is closed")

func (s *store) enqueue(ctx context.Context, do func(*tables) error, last bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := patiently(ctx)
	defer cancel()
	o := &operation{do: do, done: make(chan struct{})}
	s.mu.Lock()
	if err := s.damaged; err != nil || s.closed {
		s.mu.Unlock()
		return cmp.Or(err, errClosed)
	}
	s.queue, s.closed = append(s.queue, o), last
	s.mu.Unlock()
	for {
		select {
		case <-o.done:
			return o.outcome()
		case s.lead <- struct{}{}:
			err := s.burst(ctx)
			<-s.lead
			if err != nil {
				return s.withdraw(o, err)
			}
		case <-ctx.Done():
			return s.withdraw(o, ctx.Err())
		}
	}
}

// withdraw gives an operation up, unless it is being done.
func (s *store) withdraw(o *operation, why error) error {
	s.mu.Lock()
	i := slices.Index(s.queue, o)
	if i >= 0 {
		s.queue = slices.Delete(s.queue, i, i+1)
	}
	s.mu.Unlock()
	if i >= 0 {
		return s.problem(why)
	}
	return o.outcome()
}

// take takes the next operations that are to be done together.
func (s *store) take(most int) []*operation {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.queue), most)
	taken := slices.Clone(s.queue[:n])
	s.queue = slices.Delete(s.queue, 0, n)
	return taken
}

// burst opens the file and does what there is to do. An error is that it cannot be
// opened; then nothing was done.
func (s *store) burst(ctx context.Context) error {
	if idle, err := s.idle(); idle || err != nil {
		return err
	}
	if time.Since(s.shut) >= turn {
		s.rested = time.Now()
	}
	o, waited, err := s.open(ctx)
	if err != nil {
		return err
	}
	until := time.Now().Add(longestBurst)
	for left := mostAtOnce; left > 0 && time.Now().Before(until); {
		todo := s.take(left)
		if len(todo) == 0 {
			break
		}
		left -= len(todo)
		if !s.together(o, todo) {
			break
		}
	}
	o.close()
	if waited || time.Since(s.rested) > longestRun {
		pause(ctx, turn)
		s.rested = time.Now()
	}
	s.shut = time.Now()
	return nil
}

// idle tells whether there is nothing to do, or why nothing can be done any more.
func (s *store) idle() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) == 0, s.damaged
}

// opened is the file while it is open.
type opened struct {
	db   *bbolt.DB
	file *os.File
	bad  bool // the database may not be touched any more
}

func (o *opened) close() {
	if o.bad { // it would wait for a transaction that does not end
		_ = o.file.Close()
		return
	}
	_ = o.db.Close() // all that was written has been synced
}

// open opens the file, once no other process has it open; waited says that one had.
func (s *store) open(ctx context.Context) (o *opened, waited bool, err error) {
	for {
		o, err = s.tryOpen()
		if !errors.Is(err, bbolterrors.ErrTimeout) {
			return o, waited, err
		}
		waited = true
		if !pause(ctx, knock/2+rand.N(knock)) { //nolint:gosec // nobody gains by guessing it
			return nil, waited, errLocked
		}
	}
}

func (s *store) tryOpen() (o *opened, err error) {
	o = &opened{}
	defer func() {
		if s.damage(recover()) {
			_ = o.file.Close()
			o, err = nil, s.damaged
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // of a file that is shorter than it says
	o.db, err = bbolt.Open(s.path, 0o600, &bbolt.Options{
		Timeout: 1, FreelistType: bbolt.FreelistMapType, NoStatistics: true,
		OpenFile: func(path string, flag int, mode os.FileMode) (_ *os.File, err error) {
			if s.there {
				flag &^= os.O_CREATE
			}
			o.file, err = os.OpenFile(path, flag, mode)
			if s.there && errors.Is(err, fs.ErrNotExist) {
				err = errGone
			}
			return o.file, err
		},
	})
	s.there = s.there || err == nil
	return o, err
}

// damage notes that the file is damaged: which bbolt says by a panic, or the fault of a
// page that is not there.
func (s *store) damage(panicked any) bool {
	if panicked == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.damaged = s.problem(errDamaged)
	return true
}

// together does operations in one transaction; false: there can be no further one.
func (s *store) together(o *opened, todo []*operation) bool {
	err := s.transact(o, todo)
	for _, one := range todo {
		one.err = cmp.Or(one.err, err)
		close(one.done)
	}
	return !o.bad
}

// transact says why nothing was kept.
func (s *store) transact(o *opened, todo []*operation) (err error) {
	defer func() {
		if s.damage(recover()) {
			o.bad, err = true, s.damaged
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	tx, err := o.db.Begin(true)
	if err != nil {
		return s.problem(err)
	}
	all := &tables{tx: tx}
	if err := all.make(); err != nil {
		return s.problem(errors.Join(err, tx.Rollback()))
	}
	for i, one := range todo {
		one.try(all)
		if one.panicked != nil { // what it has written is not whole
			others := slices.Delete(slices.Clone(todo), i, i+1)
			return cmp.Or(tx.Rollback(), s.transact(o, others))
		}
	}
	if !all.wrote {
		return tx.Rollback()
	}
	if err := tx.Commit(); err != nil {
		return s.problem(err)
	}
	for _, do := range all.then {
		do()
	}
	return nil
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

var (
	errGone     = errors.New("gone")
	errLocked   = errors.New("locked")
	errDamaged  = errors.New("damaged")
	errNoLedger = errors.New("no ledger")
)

// problems are what can be wrong with the file, the first that fits.
var problems = []struct {
	of                   []error
	reason, message, fix string // {file} and {folder} are put in
}{
	{[]error{errGone}, "gone", "{file} is not there any more.", "Put it back, or begin again: without it nobody knows what is done already"},
	{[]error{errUnreadable}, "unreadable", "{file} holds what no ledger has written.", "Restore {file} from a copy, or name another file: then what is done already is not known any more"},
	{[]error{errLocked}, "locked", "Another program has held {file} locked all the time.", "Find out which, and end it: lsof {file}"},
	{[]error{errDamaged, bbolterrors.ErrChecksum}, "damaged", "{file} is damaged, or not all of it is there.", "Restore {file} from a copy, or put it aside and have another one made: then what is done already is not known any more"},
	{[]error{errNoLedger, bbolterrors.ErrInvalid, bbolterrors.ErrVersionMismatch}, "noLedger", "{file} is something else than a ledger.", "Name another file, or one that does not exist yet"},
	{[]error{syscall.EISDIR}, "noFile", "{file} is a folder.", "Name a file in it, such as {file}/ledger"},
	{[]error{fs.ErrNotExist, syscall.ENOTDIR}, "noFolder", "There is no folder {folder}.", "Make it (mkdir -p {folder}), or name a file elsewhere"},
	{[]error{syscall.EROFS, fs.ErrPermission}, "notWritable", "{file}, or the folder that it is in, may not be written.", "Make both writable for this process, or name a file elsewhere: ls -ld {folder} {file}"},
	{[]error{syscall.ENOSPC, syscall.EDQUOT}, "full", "There is no room for {file} to grow.", "Make room on its disk: df {folder}"},
}

// problem says who must do what about it.
func (s *store) problem(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	for _, p := range problems {
		if slices.ContainsFunc(p.of, func(one error) bool { return errors.Is(err, one) }) {
			names := strings.NewReplacer("{file}", s.path, "{folder}", filepath.Dir(s.path))
			return &Error{Fault: jobs.FaultOperator, Reason: p.reason, Message: names.Replace(p.message), Fix: names.Replace(p.fix), err: err}
		}
	}
	return &Error{Fault: jobs.FaultOperator, Reason: "unusable", Message: s.path + " cannot be used: " + err.Error() + ".", Fix: "Mend that, or name another file", err: err}
}
