package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
)

// batchFile is a batch as its author wrote it.
type batchFile struct {
	name string // of the file, as it was given
	data []byte
	spec *jobs.Batch
}

// readBatch reads a batch, and finds what is wrong with it that can be found without
// Google. An error says where in the file.
func readBatch(name string, from io.Reader) (*batchFile, error) {
	data, err := io.ReadAll(io.LimitReader(from, jobs.MaxData+1))
	if err != nil {
		return nil, err
	}
	f := &batchFile{name: name, data: data}
	if f.spec, err = jobs.DecodeBatch(data); err != nil {
		return nil, f.problem(err)
	}
	if _, err := batch.NewTemplate(f.spec); err != nil {
		return nil, f.problem(err)
	}
	if _, err := actions.NewMethods().Describe(f.action()); err != nil {
		return nil, f.problem(f.spec.At("job", err))
	}
	return f, nil
}

// action is that of the batch's job.
func (f *batchFile) action() string {
	var job struct {
		Action string `json:"action"`
	}
	_ = json.Unmarshal(f.spec.Job, &job) // DecodeBatch has read it
	return job.Action
}

// openBatch reads a batch from a file, or standard input.
func openBatch(cmd *cobra.Command, name string) (*batchFile, error) {
	in, err := open(cmd, name)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return readBatch(name, in)
}

// checkPolicy refuses what a policy refuses whatever the templates make: users, and the
// action.
func (f *batchFile) checkPolicy(p *policy.Policy) error {
	for i, user := range f.spec.Targets.Users {
		if err := p.AllowWhom(user); err != nil {
			return f.problem(f.spec.At("targets.users["+strconv.Itoa(i)+"]", fmt.Errorf("is %s: %w", user, err)))
		}
	}
	anybody := jobs.Job{User: "anybody@example.com", Action: f.action()}
	if len(p.Domains) > 0 {
		anybody.User = "anybody@" + p.Domains[0]
	}
	if r := p.Decide(anybody).Refusal; r != nil && r.OfAll() {
		return f.problem(f.spec.At("job.action", fmt.Errorf("is refused by the policy: %s %s", r.Message, r.Fix)))
	}
	return nil
}

// problem says where in the file it stands what is wrong: FILE:LINE: FIELD: PROBLEM. An
// error that is not for the file's author stays as it is.
func (f *batchFile) problem(err error) error {
	var wrong *jobs.BatchError
	if !errors.As(err, &wrong) {
		return err
	}
	// What is published may not be the file as it is: then its lines are others.
	if line := wrong.Line; f.spec != nil {
		wrong = f.spec.At(wrong.Path, errors.New(wrong.Problem))
		if wrong.Line == 0 {
			wrong.Line = line
		}
	}
	where := f.name
	if wrong.Line > 0 {
		where += ":" + strconv.Itoa(wrong.Line)
	}
	return fmt.Errorf("%s: %w", where, &jobs.BatchError{Path: wrong.Path, Problem: wrong.Problem})
}

// as is the batch with another id, and perhaps as a dry run. Where that can be, it is the
// file's text with the id added, so that what is then said of a line is of the file's.
func (f *batchFile) as(id string, dryRun bool) ([]byte, error) {
	changed := *f.spec
	changed.ID, changed.DryRun = id, changed.DryRun || dryRun
	if changed.ID == f.spec.ID && changed.DryRun == f.spec.DryRun {
		return f.data, nil
	}
	text := strings.TrimRight(string(f.data), " \t\r\n")
	rewritten, err := json.Marshal(&changed, json.Deterministic(true))
	for _, data := range []string{
		fmt.Sprintf("%s\nid: %s\n", text, id),
		strings.Replace(text, "{", fmt.Sprintf("{\"id\": %q, ", id), 1),
	} {
		if b, err := jobs.DecodeBatch([]byte(data)); err == nil && b.ID == id && b.Digest() == changed.Digest() {
			return []byte(data), nil
		}
	}
	return rewritten, err
}

// idAt is the id that the batch gets when it is published without one.
func (f *batchFile) idAt(t time.Time) string {
	anonymous := jobs.Batch{ID: f.spec.ID, Name: f.spec.Name}
	return anonymous.NameAt(t)
}

// filePolicy reads the policy that ONBEHALF_POLICY names where it is a file that is
// there; nil where it is not.
func filePolicy(name string) (*policy.Policy, error) {
	if name == "" || strings.HasPrefix(name, "sm://") {
		return nil, nil //nolint:nilnil // there is none to hold against here
	}
	data, err := os.ReadFile(name)
	if err == nil {
		var p *policy.Policy
		if p, err = policyOf(data); err == nil {
			return p, nil
		}
	}
	return nil, fmt.Errorf("ONBEHALF_POLICY: %s: %w", name, err)
}

// completeBatchFile has a shell offer the files of batches, and those that end so.
func completeBatchFile(extra ...string) func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return slices.Concat([]cobra.Completion{"yaml", "yml", "json"}, extra), cobra.ShellCompDirectiveFilterFileExt
	}
}
