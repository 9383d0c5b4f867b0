package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

// mostShown is how many dead letters are shown at most: all are held in memory.
const mostShown = 10000

// deadLetterFlags are those of list and redrive.
type deadLetterFlags struct {
	subscription string
	wait         time.Duration
	json         bool
	// list's
	limit int
	// redrive's
	all, uncertain, dryRun bool
}

func newDeadLetter() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deadletter",
		Short: "Show the jobs that Pub/Sub gave up, and publish them once more",
		Args: func(_ *cobra.Command, args []string) error {
			return fmt.Errorf("deadletter: %q is not accepted; list and redrive are", args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newDeadLetterList(), newDeadLetterRedrive())
	return cmd
}

func newDeadLetterList() *cobra.Command {
	var f deadLetterFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the jobs that Pub/Sub gave up, and what became of them",
		Long: `Shows what is in a pull subscription of the jobs' dead-letter topic, and leaves it
there. What became of each job is looked up in the ledger that ONBEHALF_LEDGER
names: it must be that of the functions. Settings come from the same environment
variables as the functions'.`,
		Example: `  onbehalf deadletter list
  onbehalf deadletter list --json | jq -r 'select(.reason == "givenUp") | .job'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.list(cmd) },
	}
	f.common(cmd)
	cmd.Flags().IntVar(&f.limit, "limit", 100, "how many to show at most")
	return cmd
}

func newDeadLetterRedrive() *cobra.Command {
	var f deadLetterFlags
	cmd := &cobra.Command{
		Use:   "redrive ID... | --all",
		Short: "Publish jobs once more that Pub/Sub gave up",
		Long: `Publishes dead letters to the topic of jobs once more, and takes them from the
subscription. The ledger that ONBEHALF_LEDGER names tells what became of each, and so
what is done:

  it has no result yet             published as it is: it is done once
  failed, refused, expired         published under a new id, ID~N
  succeeded                        not published, but taken away
  uncertain                        left there, unless --uncertain is given: then it is
                                   published under a new id, and may be done twice
  it has no id, or is no job       left there
  failed in a batch                left there: onbehalf batch retry does it again

N depends on the result alone: whoever interrupts this, and does it again, has no
job done twice, nor does who finds two dead letters of one job.

Exit status: 1 where one was left there, or an ID was not found.`,
		Example: `  onbehalf deadletter redrive --all --dry-run
  onbehalf deadletter redrive welcome/ada@example.com
  onbehalf deadletter list --json | jq -r 'select(.reason == "givenUp") | .job' | xargs onbehalf deadletter redrive`,
		Args: func(_ *cobra.Command, args []string) error {
			if (len(args) > 0) == f.all {
				return errors.New("redrive: either ids of jobs are needed, or --all")
			}
			return nil
		},
		RunE: f.redrive,
	}
	f.common(cmd)
	cmd.Flags().BoolVar(&f.all, "all", false, "all that are there now")
	cmd.Flags().BoolVar(&f.uncertain, "uncertain", false, "also those of which nobody knows whether they took effect: look first whether it is there")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what would be done, and do nothing")
	return cmd
}

func (f *deadLetterFlags) common(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.subscription, "subscription", "onbehalf-dead-letters", "pull subscription of the dead-letter topic")
	cmd.Flags().DurationVar(&f.wait, "wait", 5*time.Second, "how long to wait for one more before none is there")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON, one object a line")
}

var subscriptionPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`)

func (f *deadLetterFlags) check() error {
	switch {
	case !subscriptionPattern.MatchString(f.subscription):
		return fmt.Errorf("--subscription: %q is not accepted; a subscription's id such as onbehalf-dead-letters is, not its path", f.subscription)
	case f.wait < time.Millisecond || f.wait > time.Minute:
		return fmt.Errorf("--wait: %s is not accepted; 1ms to 1m are", f.wait)
	}
	return nil
}

func (f *deadLetterFlags) list(cmd *cobra.Command) error {
	if f.limit < 1 || f.limit > mostShown {
		return fmt.Errorf("--limit: %d is not accepted; 1 to %d are", f.limit, mostShown)
	}
	d, err := f.open(cmd.Context())
	if err != nil {
		return err
	}
	defer d.close()
	if d.ledger == nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "ONBEHALF_LEDGER is memory, of which nothing is seen from here: what became of the jobs is not shown.")
	}
	ctx := cmd.Context()
	var rows []deadLetter
	err = d.letters.Each(ctx, f.limit, func(m pubsubio.DeadLetter) (bool, error) {
		row, err := d.look(ctx, m)
		rows = append(rows, row)
		return false, err
	})
	if err != nil {
		return d.problem(err)
	}
	slices.SortFunc(rows, func(a, b deadLetter) int { return a.PublishedAt.Compare(b.PublishedAt) })
	if len(rows) == f.limit {
		fmt.Fprintf(cmd.ErrOrStderr(), "These are %d; there may be more (--limit).\n", len(rows))
	}
	if f.json {
		return eachAsJSON(cmd.OutOrStdout(), rows)
	}
	return listDeadLetters(cmd.OutOrStdout(), rows)
}

func listDeadLetters(w io.Writer, rows []deadLetter) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(rows) > 0 {
		fmt.Fprintln(t, "JOB\tUSER\tACTION\tDELIVERED\tPUBLISHED\tRESULT")
	}
	for _, row := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\n", row.name(), row.User, row.Action, row.Deliveries, row.PublishedAt.UTC().Format(time.RFC3339), row.outcome())
	}
	return t.Flush()
}

func eachAsJSON(w io.Writer, rows []deadLetter) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, row := range rows {
		if err := e.Encode(row); err != nil {
			return err
		}
	}
	return nil
}

// deadLetters is what the commands work on.
type deadLetters struct {
	project, subscription, topic string
	letters                      *pubsubio.DeadLetters
	ledger                       ledger.Ledger // nil where it cannot be seen from here
}

// open connects to what the settings name.
func (f *deadLetterFlags) open(ctx context.Context) (*deadLetters, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	cfg, err := config.Load(os.Environ())
	if err != nil {
		return nil, err
	}
	google, err := identity(ctx, cfg, true)
	if err != nil {
		return nil, err
	}
	d := &deadLetters{subscription: f.subscription, topic: cfg.JobsTopic}
	if d.project, err = google.FindProject(ctx, cfg); err != nil {
		return nil, err
	}
	opts, err := google.ClientOptions(cfg, "PUBSUB_EMULATOR_HOST", "Pub/Sub", "dead letters")
	if err != nil {
		return nil, err
	}
	if kind, _ := cfg.LedgerAt(); kind != "memory" {
		if d.ledger, err = functions.OpenLedger(ctx, cfg, google); err != nil {
			return nil, err
		}
	}
	if d.letters, err = pubsubio.NewDeadLetters(ctx, d.project, f.subscription, cfg.JobsTopic, f.wait, opts...); err != nil {
		return nil, errors.Join(err, d.closeLedger())
	}
	return d, nil
}

// identity finds whose this is, where that matters: emulators and files do not ask.
// Pubsub is whether that is used beside the ledger.
func identity(ctx context.Context, cfg config.Config, pubsub bool) (*access.Access, error) {
	kind, _ := cfg.LedgerAt()
	local := (!pubsub || os.Getenv("PUBSUB_EMULATOR_HOST") != "") && (kind != "firestore" || os.Getenv("FIRESTORE_EMULATOR_HOST") != "")
	if local && (cfg.Project != "" || !pubsub && kind != "firestore") {
		return &access.Access{}, nil
	}
	return access.Connect(ctx, cfg, access.Options{})
}

func (d *deadLetters) close() {
	_ = d.letters.Close()
	_ = d.closeLedger()
}

func (d *deadLetters) closeLedger() error {
	if d.ledger == nil {
		return nil
	}
	return d.ledger.Close()
}
