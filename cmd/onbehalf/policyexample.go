package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
)

type exampleFlags struct{ user, action, id string }

func newPolicyExample() *cobra.Command {
	var f exampleFlags
	cmd := &cobra.Command{
		Use:   "example FILE --user USER",
		Short: "Print a dry-run job that the policy allows",
		Long: `Prints a job, in one line, that the policy in FILE ("-" is standard input) allows and
that changes nothing: a dry run of the example that onbehalf actions has of the method.
Published, it goes all the way, up to a token of the user's, and its result is
"previewed": so it shows that a deployment works.

Without --action it is the first method that the policy lists, one that only reads if
there is any, and none that needs an object in Cloud Storage.

Exit status: 0 yes · 1 the policy allows no such job · 2 wrong use, or a policy that is
wrong.`,
		Example: `  onbehalf policy example policy.yaml --user ada@example.com
  gcloud pubsub topics publish onbehalf-jobs --message="$(onbehalf policy example policy.yaml --user ada@example.com)"`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("policy example: one FILE is needed, or - for standard input")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return showExample(cmd, args[0], f) },
	}
	cmd.Flags().StringVar(&f.user, "user", "", "whom to act as")
	cmd.Flags().StringVar(&f.action, "action", "", "the method's id (default: the first that suits)")
	cmd.Flags().StringVar(&f.id, "id", "", "the job's id (default: none, so that Pub/Sub's serves)")
	return cmd
}

func showExample(cmd *cobra.Command, file string, f exampleFlags) error {
	if f.user == "" {
		return errors.New("--user: is not given; the primary e-mail address of an account such as ada@example.com is needed")
	}
	user, err := parseUser(f.user)
	if err != nil {
		return err
	}
	f.user = user
	p, err := readPolicyOf(cmd, file)
	if err != nil {
		return err
	}
	job, err := f.example(p)
	if err != nil {
		return err
	}
	data, err := json.Marshal(job)
	if err != nil {
		return err
	}
	if _, err := jobs.Decode(data, "x"); err != nil { // its id is the caller's
		return fmt.Errorf("--%w", err)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", data)
	return err
}

// example is of the action that is named, or of the first that suits.
func (f exampleFlags) example(p *policy.Policy) (job jobs.Job, err error) {
	methods := actions.NewMethods()
	if f.action == "" {
		return f.first(p, methods)
	}
	d, err := methods.Describe(f.action)
	if err != nil {
		return job, fmt.Errorf("--%w", err)
	}
	if job, err = f.dryRun(d); err != nil {
		return job, err
	}
	if refusal := p.Decide(job).Refusal; refusal != nil {
		return job, &exitError{exitSomeFailed, fmt.Errorf("%s\n%s", refusal.Message, refusal.Fix)}
	}
	return job, nil
}

// first is of the first action that only reads, or else of the first.
func (f exampleFlags) first(p *policy.Policy, methods *actions.Methods) (other jobs.Job, err error) {
	if err := p.AllowWhom(f.user); err != nil {
		return other, &exitError{exitSomeFailed, err}
	}
	ids, _ := methods.Listed(p.Lists)
	for _, id := range ids {
		d, err := methods.Describe(id)
		if err != nil {
			return other, err
		}
		job, err := f.dryRun(d)
		switch {
		case err != nil:
			return other, err
		case !selfContained(job) || p.Decide(job).Refusal != nil:
		case d.Class == actions.Read:
			return job, nil
		case other.Action == "":
			other = job
		}
	}
	if other.Action == "" {
		return other, &exitError{exitSomeFailed, errors.New("the policy lists no method whose example it allows; name one with --action, and see onbehalf policy check FILE --job JOB")}
	}
	return other, nil
}

// dryRun is the method's example as a dry run of the user's.
func (f exampleFlags) dryRun(d *actions.Description) (jobs.Job, error) {
	job, err := jobs.Decode(d.Example, "x")
	if err != nil {
		return job, err
	}
	job.ID, job.User, job.As, job.DryRun = f.id, f.user, "", true
	return job, nil
}

// selfContained tells whether the job needs nothing from Cloud Storage, which a dry
// run looks for, too.
func selfContained(job jobs.Job) bool {
	data, err := json.Marshal(job)
	return err == nil && !strings.Contains(string(data), "gs://")
}
