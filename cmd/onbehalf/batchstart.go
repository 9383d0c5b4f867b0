package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/internal/config"
)

// startFlags are those of start.
type startFlags struct {
	batchFlags
	watch  bool
	dryRun bool
}

func newBatchStart() *cobra.Command {
	var f startFlags
	cmd := &cobra.Command{
		Use:   "start FILE",
		Short: "Publish a batch, for the function FanOut to begin it",
		Long: `Publishes the batch in FILE ("-" is standard input) to the topic that
ONBEHALF_BATCHES_TOPIC names, and prints its id: that in the file, or its name and the
time. What is wrong with the file is said with its line; what only Google or the
function's own settings can tell, such as that a group is not there, refuses the batch
there, and "onbehalf batch status ID" shows it.

With --dry-run nothing is published: the batch is gone through here, with the settings
and the policy of this machine, all the way but for the calls.`,
		Example: `  onbehalf batch start signatures.yaml
  onbehalf batch start signatures.yaml --watch
  onbehalf batch start signatures.yaml --dry-run
  id=$(onbehalf batch start signatures.yaml) && onbehalf batch status "$id"`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("batch start: one FILE is needed, or - for standard input")
			}
			return nil
		},
		ValidArgsFunction: completeBatchFile(),
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	cmd.Flags().BoolVar(&f.watch, "watch", false, "show it until it has ended or stopped")
	cmd.Flags().BoolVar(&f.json, "json", false, "with --watch: print JSON, a line for each change, after the id")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "publish nothing, and say what would be done to whom")
	return cmd
}

func (f *startFlags) run(cmd *cobra.Command, name string) error {
	if f.dryRun && f.watch {
		return errors.New("--watch: is given beside --dry-run, which publishes nothing to watch")
	}
	file, err := openBatch(cmd, name)
	if err != nil {
		return err
	}
	if file.spec.Targets.Local() {
		return file.problem(file.spec.At("targets.csv", fmt.Errorf("is %s, a file of this machine, which the functions cannot read; put it into Cloud Storage and give gs://BUCKET/OBJECT, or do the batch here: onbehalf run %s", file.spec.Targets.CSV, name)))
	}
	if f.dryRun {
		return runFlags{dryRun: true, concurrency: defaultConcurrency}.doBatch(cmd, file, nil)
	}
	return f.publish(cmd, file)
}

// publish publishes the batch and says which it is.
func (f *startFlags) publish(cmd *cobra.Command, file *batchFile) error {
	if err := f.hold(file); err != nil {
		return err
	}
	b, err := f.open(cmd.Context(), true)
	if err != nil {
		return err
	}
	defer b.close()
	given := file.idAt(time.Now())
	data, err := file.as(given, false)
	if err != nil {
		return err
	}
	if err := b.Publish(cmd.Context(), data); err != nil {
		return fmt.Errorf("the batch is not published: %w", err)
	}
	dry := *file.spec
	dry.ID = given
	id := dry.NameAt(time.Time{})
	if _, err := fmt.Fprintln(cmd.OutOrStdout(), id); err != nil || !f.watch {
		return err
	}
	return b.watch(cmd, id, f.json)
}

// hold holds the batch against the policy of this machine's settings, if that is a file.
func (f *startFlags) hold(file *batchFile) error {
	cfg, err := config.Load(os.Environ())
	if err != nil {
		return err
	}
	p, err := filePolicy(cfg.Policy)
	if err != nil || p == nil {
		return err
	}
	return file.checkPolicy(p)
}
