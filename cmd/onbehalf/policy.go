package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
)

func newPolicy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Try a policy, and list the scopes that it needs",
		RunE: func(_ *cobra.Command, args []string) error {
			return fmt.Errorf("policy: %q is not accepted; check, example and scopes are", args)
		},
	}
	cmd.AddCommand(newPolicyCheck(), newPolicyExample(), newPolicyScopes())
	return cmd
}

type checkFlags struct {
	user, as, action string
	job              string
	json             bool
}

func newPolicyCheck() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say whether a policy allows a job, and by which lines",
		Long: `Says whether the policy in FILE ("-" is standard input) allows the job, and by
which lines of it. Nothing is asked of Google: whether the user is an
administrator, which protectAdmins is about, is left open. Whether the policy itself
is in order, without any job, onbehalf policy scopes says.

Exit status: 0 yes · 1 no · 2 wrong use, or a policy that is wrong.`,
		Example: `  onbehalf policy check policy.yaml --user ada@example.com --action gmail.users.messages.insert
  onbehalf policy check policy.yaml --as serviceAccount --action sql.instances.list
  onbehalf policy check policy.yaml --job job.json       # params and body, too, for when`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("policy check: one FILE is needed, or - for standard input")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return checkPolicy(cmd, args[0], f) },
	}
	cmd.Flags().StringVar(&f.user, "user", "", "whom to act as")
	cmd.Flags().StringVar(&f.as, "as", "", "serviceAccount, in place of a user")
	cmd.Flags().StringVar(&f.action, "action", "", "the method's id")
	cmd.Flags().StringVar(&f.job, "job", "", "file with a whole job, in place of the three")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

func checkPolicy(cmd *cobra.Command, file string, f checkFlags) error {
	p, err := readPolicyOf(cmd, file)
	if err != nil {
		return err
	}
	job, err := f.read(cmd, file)
	if err != nil {
		return err
	}
	if _, err := actions.NewMethods().Describe(job.Action); err != nil {
		return err
	}
	v := newVerdict(p, job)
	if err := show(cmd.OutOrStdout(), v, f.json, writeVerdict); err != nil {
		return err
	}
	if !v.Allowed {
		return &exitError{exitSomeFailed, nil}
	}
	return nil
}

// read gives the job that the flags describe, as the function would read it.
func (f checkFlags) read(cmd *cobra.Command, file string) (jobs.Job, error) {
	switch given := f.user != "" || f.as != "" || f.action != ""; {
	case f.job == "":
		data, err := json.Marshal(jobs.Job{User: f.user, As: f.as, Action: f.action})
		if err != nil {
			return jobs.Job{}, err
		}
		job, err := jobs.Decode(data, "")
		if err != nil {
			return job, fmt.Errorf("--%w", err)
		}
		return job, nil
	case given:
		return jobs.Job{}, errors.New("--job: is given beside --user, --as or --action; give the one or the others")
	case f.job == "-" && file == "-":
		return jobs.Job{}, errors.New("--job: standard input is the policy already; name a file")
	}
	data, err := readAll(cmd, f.job)
	if err != nil {
		return jobs.Job{}, err
	}
	job, err := jobs.Decode(data, "")
	if err != nil {
		return job, fmt.Errorf("--job: %s: %w", f.job, err)
	}
	return job, nil
}

// readPolicyOf reads the policy in a file, or in standard input.
func readPolicyOf(cmd *cobra.Command, file string) (*policy.Policy, error) {
	text, err := readAll(cmd, file)
	if err != nil {
		return nil, err
	}
	p, err := policyOf(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p, nil
}

// readAll reads a file, or standard input.
func readAll(cmd *cobra.Command, file string) ([]byte, error) {
	in, err := open(cmd, file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return io.ReadAll(in)
}

// verdict is what a policy says of a job.
type verdict struct {
	Allowed bool          `json:"allowed"`
	User    string        `json:"user,omitempty"`
	As      string        `json:"as,omitempty"`
	Action  string        `json:"action"`
	By      []policy.Line `json:"by"`
	// UnlessAdmin is set where only the Directory can tell whether the job is
	// allowed: the line that protects administrators. IfAdminSet says that it does so
	// only where ONBEHALF_ADMIN is set.
	UnlessAdmin *policy.Line `json:"unlessAdmin,omitempty"`
	IfAdminSet  bool         `json:"ifAdminSet,omitempty"`
	Reason      string       `json:"reason,omitempty"`
	Message     string       `json:"message,omitempty"`
	Fix         string       `json:"fix,omitempty"`
}

func newVerdict(p *policy.Policy, job jobs.Job) verdict {
	d := p.Decide(job)
	v := verdict{Allowed: d.Refusal == nil, User: job.User, As: job.As, Action: job.Action, By: d.By, UnlessAdmin: d.Unless}
	if d.Refusal != nil {
		v.Reason, v.Message, v.Fix = d.Refusal.Reason, d.Refusal.Message, d.Refusal.Fix
	}
	if v.Allowed && job.As == "" && p.ProtectAdmins == nil {
		v.UnlessAdmin, v.IfAdminSet = &policy.Line{Field: "protectAdmins", Text: "is not in the file"}, true
	}
	return v
}

func writeVerdict(w io.Writer, v verdict) error {
	switch {
	case !v.Allowed:
		fmt.Fprintf(w, "no: %s\n", v.Message)
	case v.As != "":
		fmt.Fprintf(w, "yes: the service account itself may call %s\n", v.Action)
	default:
		fmt.Fprintf(w, "yes: %s may be acted for with %s\n", v.User, v.Action)
	}
	for _, line := range v.By {
		fmt.Fprintf(w, "  %s\n", line)
	}
	switch {
	case !v.Allowed:
		fmt.Fprintf(w, "%s\n", v.Fix)
	case v.IfAdminSet:
		fmt.Fprintf(w, "unless %s is an administrator, where ONBEHALF_ADMIN is set (protectAdmins is not in the file, and on by default there)\n", v.User)
	case v.UnlessAdmin != nil:
		fmt.Fprintf(w, "unless %s is an administrator (protectAdmins, line %d)\n", v.User, v.UnlessAdmin.Number)
	}
	return nil
}
