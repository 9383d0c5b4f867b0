// Command chaos breaks everything at once, and counts what came of it.
//
// It serves the function as Google's buildpack builds it, in several processes
// behind push subscriptions of Google's Pub/Sub emulator, with the Firestore
// emulator as their ledger and the sandbox as Google. Then it publishes jobs, and
// meanwhile
//
//   - the sandbox loses answers, cuts connections, is late, refuses with 429 and 503,
//     and ends tokens before their time;
//   - processes are killed with SIGKILL, or told to end, in the middle of whatever
//     they do, and others start;
//   - Firestore's and Pub/Sub's answers get lost on their way to the function, and some
//     requests are not carried out;
//   - messages are delivered twice at once, again after they were acked, and again
//     because the answer got lost; some jobs are published twice.
//
// When every job has its result and every message is acked, the mailboxes and the
// topic of results tell whether a letter was lost or doubled, and whether a job has
// no result, or two that differ. All these counts must be 0, or the exit status is 1
// and the report says what the functions' logs say of such jobs.
//
//	go run ./test/chaos                              # 2,000 jobs, 10 kills
//	go run ./test/chaos --jobs 100000 --kills 100
//	go run ./test/chaos --run                        # onbehalf run and its file ledger
//	go run ./test/chaos --batch --users 20000 --kills 40 --share 0.0334
//
// With --run it is the command that does the jobs of a file, is killed again and
// again, and goes on, until it says that it has done them all.
//
// With --batch it is one batch for all users, of whom some are to be passed over. FanOut
// and Sweep are killed as well as Execute, and the Directory fails as all of Google
// does. In the end, there must be one letter in the mailbox of each user to whom the
// batch applies, and the batch's own counts, in its status and in its one summary, must
// be what the mailboxes and the Directory say.
//
// What goes wrong is drawn from a seed, which the report names: with the same seed the
// same jobs are published, the same share of calls fails in the same order, the same
// deliveries are doubled, and the kills come after the same numbers of results. What
// each of them hits depends on what runs beside what, and so differs each time.
package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errBroken):
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(2)
	}
}

// errBroken says that a promise was broken: the report has said which.
var errBroken = errors.New("a promise was broken")

// settings are how much goes wrong.
type settings struct {
	plan
	command    bool          // onbehalf run in place of the functions
	batch      bool          // a batch in place of jobs
	rate       float64       // at which it publishes jobs, a second
	processes  int           // of the function, at a time
	waiting    int           // jobs that are published and have no result, at most
	share      float64       // of the calls to Google, for each kind of fault
	storeShare float64       // of Firestore's and Pub/Sub's answers, for each kind of fault
	within     time.Duration // for all of it
	logs       string        // folder; empty is one that is removed if all is well
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	s := settings{}
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(progress)
	flags.IntVar(&s.jobs, "jobs", 2000, "how many `jobs`; with --batch --users says")
	flags.IntVar(&s.kills, "kills", 10, "how many processes are killed with SIGKILL; a quarter as many, and one more, are told to end with SIGTERM")
	flags.IntVar(&s.users, "users", 0, "whose mailboxes the jobs are for; 0 is one for 200 jobs, but at least 20, and with --batch one for each job")
	flags.IntVar(&s.processes, "processes", 4, "of the function, at a time")
	flags.IntVar(&s.waiting, "waiting", 2000, "how many jobs may be published and have no result yet")
	flags.Float64Var(&s.share, "share", 0.10, "of the calls to Google, for each kind of fault")
	flags.Float64Var(&s.storeShare, "store-share", 0.01, "of the answers of Firestore and Pub/Sub, for each kind of fault")
	flags.Uint64Var(&s.seed, "seed", 0, "of all that is drawn; 0 draws one")
	flags.DurationVar(&s.within, "within", 2*time.Hour, "for all of it")
	flags.StringVar(&s.logs, "logs", "", "`folder` for the logs, which is kept")
	flags.BoolVar(&s.command, "run", false, "onbehalf run with the file ledger, in place of the functions")
	flags.BoolVar(&s.batch, "batch", false, "a batch for all users in place of jobs, with FanOut and Sweep beside Execute")
	flags.Float64Var(&s.rate, "rate", 0, "at which the batch publishes `jobs` a second; 0 takes 100 s for all, but is at least 50")
	if err := flags.Parse(args); err != nil {
		return errors.Join(flag.ErrHelp, nil)
	}
	if err := s.check(flags.Args()); err != nil {
		return err
	}
	return s.chaos(ctx, out, progress)
}

// check fills what was left out, and refuses what cannot be.
func (s *settings) check(args []string) error {
	s.fill()
	switch {
	case len(args) > 0:
		return fmt.Errorf("%q: no arguments are taken, but flags", args)
	case s.batch && s.command:
		return errors.New("--batch, --run: only one of the two")
	case s.jobs < 1 || s.users < 1 || s.kills < 0 || s.processes < 1 || s.waiting < 1:
		return errors.New("--jobs, --users, --kills, --processes, --waiting: must be positive, and only --kills may be 0")
	case !(s.rate >= 1 && s.rate <= mostRate):
		return fmt.Errorf("--rate: %v is not within 1..%d", s.rate, mostRate)
	case !(s.share >= 0 && s.share <= maxShare):
		return fmt.Errorf("--share: %v is not within 0..%v, for several kinds share the calls", s.share, maxShare)
	case !(s.storeShare >= 0 && s.storeShare <= maxShare):
		return fmt.Errorf("--store-share: %v is not within 0..%v", s.storeShare, maxShare)
	}
	return nil
}

func (s *settings) fill() {
	if s.seed == 0 {
		s.seed = newSeed()
	}
	switch {
	case s.users == 0 && s.batch:
		s.users = s.jobs
	case s.users == 0:
		s.users = max(20, s.jobs/200)
	}
	if s.batch {
		s.forBatch()
	}
	if s.rate == 0 {
		s.rate = max(leastRate, float64(s.jobs)/100)
	}
}

// leastRate and mostRate bound how many jobs a batch publishes a second: at more than this
// machine does, FanOut has ended before it could be killed.
const leastRate, mostRate = 50, 10_000

// maxShare leaves some of the calls without any fault.
const maxShare = 0.15

func newSeed() uint64 {
	var seed [8]byte
	_, _ = rand.Read(seed[:]) // never fails
	return binary.LittleEndian.Uint64(seed[:])>>32 + 1
}

// chaos does it, and reports.
func (s settings) chaos(ctx context.Context, out, progress io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.within, fmt.Errorf("--within: %v have passed", s.within))
	defer cancel()
	dir, err := os.MkdirTemp(s.logs, "onbehalf-chaos-")
	if err != nil {
		return err
	}
	t := newTrial(s, dir, progress)
	mode := t.functions
	switch {
	case s.command:
		mode = t.command
	case s.batch:
		mode = t.wholeBatch
	}
	err = mode(ctx)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	t.report(out)
	switch {
	case errors.Is(err, context.Canceled):
		err = errors.New("interrupted")
	case t.google == nil: // it did not come so far
	case t.verdict(out) && err == nil:
		err = errBroken
	}
	if err == nil && s.logs == "" {
		return os.RemoveAll(dir)
	}
	fmt.Fprintln(out, "logs are in", dir)
	return err
}
