package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// statusFlags are those of status.
type statusFlags struct {
	batchFlags
	watch, passedOver bool
}

func newBatchStatus() *cobra.Command {
	var f statusFlags
	cmd := &cobra.Command{
		Use:   "status ID",
		Short: "Show how a batch is: counts, and what failed, with the remedy",
		Long: `Shows the state of a batch and the reason for it, its counts, and the latest 100 jobs
that did not succeed, grouped by their cause, each with what mends it.

With --watch it is shown until the batch has ended or stopped by itself. With --json it
is one line of JSON, and with both a line for each change.

Exit status: 0 it goes well, or went so · 1 some jobs did not succeed · 2 wrong use or
configuration · 3 it was stopped by a fault that an operator or administrator must mend.`,
		Example: `  onbehalf batch status signatures-20261122T072049.000Z
  onbehalf batch status signatures-20261122T072049.000Z --watch
  onbehalf batch status signatures-20261122T072049.000Z --json | jq .counts
  onbehalf batch status signatures-20261122T072049.000Z --passed-over
  onbehalf batch status signatures-20261122T072049.000Z --ledger signatures.yaml.ledger`,
		Args:              oneBatch("status"),
		ValidArgsFunction: f.complete,
		RunE:              func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.common(cmd)
	cmd.Flags().BoolVar(&f.watch, "watch", false, "show it until it has ended or stopped")
	cmd.Flags().BoolVar(&f.passedOver, "passed-over", false, "list the users who are passed over, and why")
	return cmd
}

func (f *statusFlags) run(cmd *cobra.Command, id string) error {
	if f.watch && f.passedOver {
		return errors.New("--passed-over: is given beside --watch; give the one or the other")
	}
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	b, err := f.open(ctx, false)
	if err != nil {
		return err
	}
	defer b.close()
	s, err := look(ctx, b, id)
	switch {
	case err != nil:
		return problem(id, err)
	case f.passedOver:
		return f.listPassedOver(ctx, out, b, id)
	case f.watch:
		return b.watch(cmd, id, f.json)
	}
	if err := b.show(out, s, f.json); err != nil {
		return err
	}
	return statusExit(s.Status)
}

// shown is what is shown of a batch.
type shown struct {
	batch.Status
	causes []cause
}

// looker tells how batches are.
type looker interface {
	Status(ctx context.Context, id string) (batch.Status, error)
	Failures(ctx context.Context, id, after string, limit int) ([]jobs.Result, string, error)
}

// look reads what is shown of a batch.
func look(ctx context.Context, b looker, id string) (s shown, err error) {
	if s.Status, err = b.Status(ctx, id); err != nil || notGood(s.Counts) == 0 {
		return s, err
	}
	failures, _, err := b.Failures(ctx, id, "", mostCaused)
	s.causes = causes(failures)
	return s, err
}

// notGood counts the jobs that did not do what they were asked to, but those that were
// cancelled, of which there is no more to say.
func notGood(c jobs.Counts) int { return c.Bad() + c.Expired }

// ruledOut tells whether a batch has stopped by its own rules, and not at a fault that
// all of its jobs would meet.
func ruledOut(e *jobs.Error) bool {
	return e != nil && (e.Reason == "canary" || e.Reason == "stopAfter")
}

// statusExit turns how a batch is into a command's exit status.
func statusExit(s batch.Status) error {
	switch state := batch.State(s.State); {
	case state == batch.Stopped && !ruledOut(s.Error), state == batch.Refused && s.Error != nil && s.Error.Fault != jobs.FaultJob:
		return &exitError{exitStopped, nil}
	case state == batch.Refused, state == batch.Expired, state == batch.Stopped, notGood(s.Counts)+s.Counts.Cancelled > 0:
		return &exitError{exitSomeFailed, nil}
	}
	return nil
}

// show writes how a batch is.
func (b *batches) show(w io.Writer, s shown, asJSON bool) error {
	if asJSON {
		return writeJSONLines(w, []batch.Status{s.Status})
	}
	return s.write(w, func(text string) string { return b.here(text, s.Batch) })
}

// write writes it for people; here has the commands in a text be those for its ledger.
func (s *shown) write(w io.Writer, here func(string) string) error {
	fmt.Fprintf(w, "%s is %s.\n", s.Batch, s.State)
	if s.Error != nil {
		writeIndented(w, "  ", s.Error.Message)
		writeIndented(w, "  ", here(s.Error.Fix))
	}
	if batch.State(s.State) == batch.Paused {
		writeIndented(w, "  ", here("Have it go on: onbehalf batch resume "+s.Batch))
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range s.rows() {
		if row.text != "" {
			fmt.Fprintf(t, "%s\t%s\n", row.name, row.text)
		}
	}
	if err := t.Flush(); err != nil || len(s.causes) == 0 {
		return err
	}
	what := "Those that did not succeed, by cause:"
	if n := notGood(s.Counts); n > mostCaused {
		what = fmt.Sprintf("The latest %d of %d that did not succeed, by cause:", mostCaused, n)
	}
	fmt.Fprintf(w, "\n%s\n", what)
	for _, c := range s.causes {
		c.Fix = here(doneAgain(c.Fix, s.Batch))
		c.write(w)
	}
	return nil
}

// doneAgain has what mends a job say how that is then done again where it is a batch's.
func doneAgain(fix, id string) string {
	return strings.Replace(fix, "Then publish the job under a new id.", "Then do it again: onbehalf batch retry "+id, 1)
}

type row struct{ name, text string }

// rows are the counts of a batch. One without a text is left out.
func (s *shown) rows() []row {
	rows := []row{
		{"started", s.StartedAt.Format(time.RFC3339)},
		{"users", s.users()},
		{"jobs", s.jobs()},
		{"remaining", s.remaining()},
	}
	if !s.FinishedAt.IsZero() {
		rows = slices.Insert(rows, 1, row{"finished", s.FinishedAt.Format(time.RFC3339)})
	}
	if s.Canary > 0 && !batch.State(s.State).Ended() {
		rows = append(rows, row{"canary", fmt.Sprintf("the first %d have yet to succeed before others begin", s.Canary)})
	}
	if s.Round > 1 {
		rows = append(rows, row{"round", fmt.Sprintf("%d: it was resumed, retried or taken up again", s.Round)})
	}
	return rows
}

func (s *shown) users() string {
	text := fmt.Sprintf("%d listed", s.Enumerated)
	over := 0
	for _, n := range s.PassedOver {
		over += n
	}
	if over > 0 {
		text += fmt.Sprintf(", %d passed over (%s)", over, byCount(s.PassedOver))
	}
	if s.Publishing {
		text += ", and more may come"
	}
	return text
}

func (s *shown) jobs() string {
	return strings.Join(append([]string{fmt.Sprintf("%d published", s.Published)}, outcomes(s.Counts)...), ", ")
}

func (s *shown) remaining() string {
	if s.Remaining == 0 {
		return ""
	}
	text := fmt.Sprint(s.Remaining)
	if n := s.Counts.PutOff; n > 0 {
		text += fmt.Sprintf(", %d of them put off", n)
	}
	return text
}

// outcomes say how many jobs came to what.
func outcomes(c jobs.Counts) (parts []string) {
	failed := 0
	faults := make(map[string]int, len(c.Failed))
	for fault, n := range c.Failed {
		failed += n
		faults[string(fault)] = n
	}
	for _, part := range []struct {
		n    int
		text string
	}{
		{c.Succeeded, "succeeded"},
		{c.Previewed, "previewed"},
		{failed, "failed (" + byCount(faults) + ")"},
		{c.Refused, "refused"},
		{c.Expired, "expired"},
		{c.Cancelled, "cancelled"},
		{c.Uncertain, "uncertain"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.text))
		}
	}
	return parts
}

// byCount lists names with their counts, the most frequent first.
func byCount(counts map[string]int) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", counts[name], name)
	}
	return strings.Join(names, ", ")
}

// listPassedOver lists whom the batch passes over, page by page.
func (f *statusFlags) listPassedOver(ctx context.Context, w io.Writer, b *batches, id string) error {
	var problem error
	err := b.PassedOver(ctx, id, func(p batch.PassedOver) bool {
		if f.json {
			problem = writeJSONLines(w, []batch.PassedOver{p})
			return problem == nil
		}
		fields := []string{p.User, p.Reason, p.Message}
		for i, field := range fields {
			fields[i] = strings.ReplaceAll(printable(field), "\n", " ")
		}
		_, problem = fmt.Fprintln(w, strings.TrimRight(strings.Join(fields, "\t"), "\t"))
		return problem == nil
	})
	return cmp.Or(err, problem)
}
