// Command estimate says how long a million inserts by a batch take at Google's quotas, and
// what they cost at Google's published prices.
//
// It has a small batch done, with FanOut, Execute and Sweep in this process, Google's
// Firestore emulator as their ledger, and the sandbox as Google. It counts what that asks of
// whom, and multiplies. Nothing in the table is guessed but what its last lines say.
//
//	go run ./test/estimate
//	go run ./test/estimate --jobs 5000 --latency 200ms
package main

import (
	"context"
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
	case err != nil:
		fmt.Fprintln(os.Stderr, "estimate:", err)
		os.Exit(2)
	}
}

// settings are what is measured.
type settings struct {
	jobs    int           // that are done
	atOnce  int           // deliveries, as many as Cloud Run gives to an instance
	latency time.Duration // of each answer of Google's
}

func run(ctx context.Context, args []string, out, problems io.Writer) error {
	if len(args) > 0 && args[0] == googleRole { // this program, as [startGoogle] starts it
		return serveGoogle(ctx, args[1:], out)
	}
	var s settings
	flags := flag.NewFlagSet("estimate", flag.ContinueOnError)
	flags.SetOutput(problems)
	flags.IntVar(&s.jobs, "jobs", 1000, "how many `jobs` are done to count what one takes")
	flags.IntVar(&s.atOnce, "at-once", 80, "how many jobs an instance does at once")
	flags.DurationVar(&s.latency, "latency", 100*time.Millisecond, "how long each answer of Google's takes")
	if err := flags.Parse(args); err != nil {
		return errors.Join(flag.ErrHelp, nil)
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q: no arguments are taken, but flags", flags.Args())
	case s.jobs < 1 || s.atOnce < 1 || s.latency < 0:
		return errors.New("--jobs, --at-once, --latency: must be positive, and only --latency may be 0")
	}
	m, err := s.measure(ctx)
	if err != nil {
		return err
	}
	m.print(out)
	return nil
}
