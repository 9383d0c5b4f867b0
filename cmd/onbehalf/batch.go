package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

const (
	// mostListed is how many batches are listed at most.
	mostListed = 1000
	// completeTime bounds what a shell waits for the ids of batches.
	completeTime = 2 * time.Second
)

// batchFlags are those of every command about batches.
type batchFlags struct {
	ledger string
	json   bool
}

func newBatch() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "batch",
		Short: "One job for each of many users: start batches, look at them, have them stop and go on",
		Long: `A batch is a file in YAML or JSON: a job, and the users whom it is for. It is
published to the topic of batches, where the function FanOut begins it, or done here
and now by "onbehalf run FILE".

Settings come from the same environment variables as the functions': batches are kept
in the ledger that ONBEHALF_LEDGER names. --ledger PATH names that of a run on this
machine in its place, FILE.ledger.`,
		Args: func(_ *cobra.Command, args []string) error {
			return fmt.Errorf("batch: %q is not accepted; start, list, status, pause, resume, cancel and retry are", args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBatchStart(), newBatchList(), newBatchStatus())
	for _, v := range batchVerbs {
		cmd.AddCommand(v.command())
	}
	return cmd
}

func (f *batchFlags) common(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.ledger, "ledger", "", "file that a run on this machine keeps the batch in (default: what ONBEHALF_LEDGER names)")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
}

// oneBatch takes the id of a batch.
func oneBatch(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("batch %s: one ID is needed; onbehalf batch list shows those that there are", what)
		}
		return nil
	}
}

// complete gives a shell the ids of the batches.
func (f *batchFlags) complete(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
	defer cancel()
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	b, err := f.open(ctx, false)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	defer b.close()
	listed, err := b.List(ctx, mostListed)
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var ids []cobra.Completion
	for _, l := range listed {
		ids = append(ids, cobra.CompletionWithDesc(l.ID, string(l.State)))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// batches are those that a command is about.
type batches struct {
	*functions.Steering
	ledger ledger.Ledger
	// ofRun is the path of a run's ledger; empty: the batches are the functions'.
	ofRun string
}

// open connects to what the settings name. Publishes tells whether something may be said to
// FanOut.
func (f *batchFlags) open(ctx context.Context, publishes bool) (*batches, error) {
	cfg, err := config.Load(os.Environ())
	if err != nil {
		return nil, err
	}
	if f.ledger != "" {
		return openOfRun(cfg, f.ledger)
	}
	kind, _ := cfg.LedgerAt()
	if kind == "memory" {
		return nil, errors.New("ONBEHALF_LEDGER: memory is not accepted here, for no other process sees it; set it to that of the functions, such as firestore:DATABASE, or name the file of a run by --ledger PATH")
	}
	google, err := identity(ctx, cfg, publishes)
	if err != nil {
		return nil, err
	}
	b := &batches{}
	if b.ledger, err = functions.OpenLedger(ctx, cfg, google); err != nil {
		return nil, err
	}
	if b.Steering, err = functions.NewSteering(cfg, google, b.ledger, nil); err != nil {
		return nil, errors.Join(err, b.ledger.Close())
	}
	return b, nil
}

// openOfRun opens the ledger of a run. A run looks after its batch itself: nobody else is
// told of anything.
func openOfRun(cfg config.Config, path string) (*batches, error) {
	if err := checkLedgerPath(path); err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) { // which would be made
		return nil, fmt.Errorf("--ledger: %s is not there; the ledger of a run is beside its file, FILE.ledger", path)
	}
	k, err := openLedger("batch", path)
	if err != nil {
		return nil, err
	}
	b := &batches{ledger: k.ledger, ofRun: path}
	b.Steering, err = functions.NewSteering(cfg, &access.Access{}, k.ledger, func(context.Context, string) error { return nil })
	if err != nil {
		return nil, errors.Join(err, k.close())
	}
	return b, nil
}

func (b *batches) close() {
	_ = b.Close()
	_ = b.ledger.Close()
}

// here has the commands in a text be those for this ledger.
func (b *batches) here(text, id string) string { return withLedger(text, id, b.ofRun) }

// withLedger names a run's ledger in the commands of a text that are about the batch.
func withLedger(text, id, path string) string {
	if path == "" {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if about(line, id) {
			lines[i] += " --ledger " + path
		}
	}
	return strings.Join(lines, "\n")
}

// about tells whether a line ends with a command that is about the batch.
func about(line, id string) bool {
	return strings.Contains(line, "onbehalf batch ") && strings.HasSuffix(line, " "+id)
}

// problem says of which batch an error is.
func problem(id string, err error) error {
	if errors.Is(err, batch.ErrUnknown) {
		return fmt.Errorf("batch %s: %w", id, err)
	}
	return err
}

// batchVerb is what people have a batch do.
type batchVerb struct {
	name, short, long string
	uncertain         bool // it has that flag
	// speaks: a batch that goes on is worked on by FanOut, which is told.
	speaks bool
	do     func(ctx context.Context, b *batch.Batches, id string, uncertain bool) error
}

// batchVerbs are all of them.
var batchVerbs = []batchVerb{
	{
		name: "pause", short: "Have a batch stand still until it is resumed",
		long: `No job of the batch is begun any more within seconds, also of those that are
published. What was begun is finished.`,
		do: func(ctx context.Context, b *batch.Batches, id string, _ bool) error { return b.Pause(ctx, id) },
	},
	{
		name: "resume", short: "Have a batch go on that is paused or has stopped", speaks: true,
		long: `The batch goes on with all that has no result. What has failed so far is accepted,
and stops it no more; retry does it again.`,
		do: func(ctx context.Context, b *batch.Batches, id string, _ bool) error { return b.Resume(ctx, id) },
	},
	{
		name: "cancel", short: "Have what has no result yet end as cancelled, for good", speaks: true,
		long: `No job of the batch is begun any more within seconds: what has no result yet gets
one that says cancelled. This cannot be taken back.`,
		do: func(ctx context.Context, b *batch.Batches, id string, _ bool) error { return b.Cancel(ctx, id) },
	},
	{
		name: "retry", short: "Do again what has failed or was refused, and go on", speaks: true, uncertain: true,
		long: `What has failed, was refused or has expired is done again under a new id, BATCH/USER~ROUND,
and the batch goes on with all that has no result. Of what is uncertain nobody knows
whether it took effect: with --uncertain it is done again as well, perhaps twice.`,
		do: func(ctx context.Context, b *batch.Batches, id string, uncertain bool) error {
			return b.Retry(ctx, id, uncertain)
		},
	},
}

func (v batchVerb) command() *cobra.Command {
	var f batchFlags
	uncertain := false
	cmd := &cobra.Command{
		Use:   v.name + " ID",
		Short: v.short,
		Long:  v.long,
		Example: fmt.Sprintf(`  onbehalf batch %[1]s signatures-20261122T072049.000Z
  onbehalf batch %[1]s signatures-20261122T072049.000Z --ledger signatures.yaml.ledger`, v.name),
		Args:              oneBatch(v.name),
		ValidArgsFunction: f.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := f.open(cmd.Context(), v.speaks)
			if err != nil {
				return err
			}
			defer b.close()
			untold := v.do(cmd.Context(), b.Batches, args[0], uncertain)
			if later := (*functions.UntoldError)(nil); untold != nil && !errors.As(untold, &later) {
				return problem(args[0], untold)
			}
			s, err := b.Status(cmd.Context(), args[0])
			if err != nil {
				return errors.Join(untold, problem(args[0], err))
			}
			if err := b.show(cmd.OutOrStdout(), shown{Status: s}, f.json); err != nil || untold == nil {
				return errors.Join(untold, err)
			}
			return fmt.Errorf("it is kept, and Sweep has the batch worked on within a minute, but FanOut could not be told: %w", untold)
		},
	}
	f.common(cmd)
	if v.uncertain {
		cmd.Flags().BoolVar(&uncertain, "uncertain", false, "also what may have taken effect: look first whether it is there")
	}
	return cmd
}

func newBatchList() *cobra.Command {
	var f batchFlags
	limit := 0
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show the batches, those that have not ended first",
		Long: `Shows the batches that have not ended, and after them those that have, the latest
first. A batch is remembered for 31 days.`,
		Example: `  onbehalf batch list
  onbehalf batch list --json | jq -r 'select(.state == "stopped") | .batch'
  onbehalf batch list --ledger signatures.yaml.ledger`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 || limit > mostListed {
				return fmt.Errorf("--limit: %d is not accepted; 1 to %d are", limit, mostListed)
			}
			b, err := f.open(cmd.Context(), false)
			if err != nil {
				return err
			}
			defer b.close()
			listed, err := b.List(cmd.Context(), limit)
			if err != nil {
				return err
			}
			if f.json {
				return writeJSONLines(cmd.OutOrStdout(), listed)
			}
			return listBatches(cmd.OutOrStdout(), listed)
		},
	}
	f.common(cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, "how many to show at most")
	return cmd
}

func listBatches(w io.Writer, listed []batch.Listed) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(listed) > 0 {
		fmt.Fprintln(t, "BATCH\tSTATE\tSTARTED\tFINISHED\tWHY")
	}
	for _, l := range listed {
		finished, why := "-", "-"
		if !l.FinishedAt.IsZero() {
			finished = l.FinishedAt.Format(time.RFC3339)
		}
		if l.Error != nil {
			why, _, _ = strings.Cut(printable(l.Error.Message), "\n")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", l.ID, l.State, l.StartedAt.Format(time.RFC3339), finished, why)
	}
	return t.Flush()
}

// writeJSONLines writes each of the values in a line of its own.
func writeJSONLines[T any](w io.Writer, values []T) error {
	for _, v := range values {
		line, err := json.Marshal(v, json.Deterministic(true))
		if err != nil {
			return err
		}
		if _, err := w.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return nil
}
