package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"cloud.google.com/go/auth"
	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/doctor"
)

type doctorFlags struct {
	sandbox bool
	world   string
	policy  string
	user    string
	actions []string
	json    bool
}

func newDoctor() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor --user USER",
		Short: "Find what is wrong in a set-up, and who mends it how",
		Long: `Looks at the whole set-up for a user and some actions, step by step: whose
identity this is, whether it may sign for the delegated service account, what the
Workspace has authorized, what the user has, and where results go. Settings come
from the same environment variables as the function's, so run it as the function's
service account where you can, or with your own sign-in.

It changes nothing: it signs, takes tokens, and makes one read of each API as the
user, if the policy allows the user. What fails is followed by who must act and by
the command or link; the last line is the one thing to do next.`,
		Example: `  onbehalf doctor --user ada@example.com
  onbehalf doctor --user ada@example.com --action gmail.users.messages.insert --action calendar.events.insert
  onbehalf doctor --sandbox --user ada@example.com --action gmail.users.messages.insert`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("doctor: %q is not accepted; name the user with --user, and what is to be done with --action", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd, f) },
	}
	cmd.Flags().StringVar(&f.user, "user", "", "the user to act as, by the primary e-mail address")
	cmd.Flags().StringArrayVar(&f.actions, "action", nil, "a method that is to be called (may be given again; default: what the policy lists)")
	cmd.Flags().StringVar(&f.policy, "policy", "", "policy file (default: ONBEHALF_POLICY; with --sandbox, everything in its domains)")
	cmd.Flags().BoolVar(&f.sandbox, "sandbox", false, "look at an embedded Workspace")
	cmd.Flags().StringVar(&f.world, "world", "", "with --sandbox: YAML file of users, service accounts and objects (default: a small example.com)")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

func runDoctor(cmd *cobra.Command, f doctorFlags) error {
	if f.user == "" {
		return errors.New("--user: is not given; the primary e-mail address of an account such as ada@example.com is needed")
	}
	o, end, err := f.options()
	if err != nil {
		return err
	}
	defer end()
	o.Tell = func(text string) { fmt.Fprintln(cmd.ErrOrStderr(), text) }
	report, err := doctor.Examine(cmd.Context(), o)
	switch {
	case errors.Is(err, context.Canceled):
		return &exitError{exitInterrupted, errors.New("interrupted")}
	case err != nil:
		return err
	}
	if err := show(cmd.OutOrStdout(), report, f.json, showReport); err != nil {
		return err
	}
	if report.Failed() {
		return &exitError{exitStopped, nil}
	}
	return nil
}

// options are those of the real set-up, or of an embedded one.
func (f doctorFlags) options() (o doctor.Options, end func(), err error) {
	o = doctor.Options{Environ: os.Environ(), User: f.user, Actions: f.actions, From: f.policy, Run: "onbehalf run jobs.jsonl", Patience: doctor.Patience}
	if f.policy != "" {
		o.Run = "onbehalf run --policy " + f.policy + " jobs.jsonl"
		if o.Policy, err = readPolicy(f.policy); err != nil {
			return o, nil, err
		}
	}
	if !f.sandbox {
		if f.world != "" {
			return o, nil, errors.New("--world: is for --sandbox, which is not given")
		}
		return o, func() {}, nil
	}
	world, err := loadWorld(f.world)
	if err != nil {
		return o, nil, fmt.Errorf("--world: %w", err)
	}
	if o.Policy == nil {
		o.From = "the sandbox's own policy"
		if o.Policy, err = everythingIn(world); err != nil {
			return o, nil, err
		}
	}
	o.Run = strings.Replace(o.Run, "run", "run --sandbox", 1)
	w, err := startWorkspace(world)
	if err != nil {
		return o, nil, err
	}
	o.Environ = w.settings(o.Policy)
	o.Access = access.Options{Caller: world.Runtime, Credentials: func() (*auth.Credentials, error) { return w.Credentials(world.Runtime), nil }}
	return o, func() { _ = w.close() }, nil
}

// marks begin the lines of checks.
var marks = map[doctor.Status]string{doctor.Passed: "✓", doctor.Failed: "✗", doctor.NotReached: "·"}

// showReport prints a line for each check, and below a failed one what mends it.
func showReport(w io.Writer, r *doctor.Report) error {
	said := ""
	for _, c := range r.Checks {
		fmt.Fprintf(w, "%s %s: %s\n", marks[c.Status], c.ID(), c.Says)
		if c.Status != doctor.Failed {
			continue
		}
		fix := c.Fix
		if fix == said {
			fix = "as above"
		}
		said = c.Fix
		fmt.Fprintf(w, "    who: %s\n    fix: %s\n", actors[c.Fault], fix)
	}
	_, err := fmt.Fprintf(w, "\nNext: %s\n", r.Next)
	return err
}
