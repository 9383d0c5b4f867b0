package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/directory"
	"github.com/onbehalf-dev/onbehalf/internal/explain"
)

// tokenTimeout bounds the command: longer than it tries again.
const tokenTimeout = time.Minute

type tokenFlags struct {
	user           string
	serviceAccount bool
	idToken        string
	scopes         []string
	actions        []string
	lifetime       time.Duration
	policy         string
}

func newToken() *cobra.Command {
	var f tokenFlags
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Get an access token of a user or of the service account, or an ID token",
		Long: `Prints a token to standard output, and nothing else there; until when it lives
goes to standard error. Settings come from the same environment variables as the
function's.

A user's token (--user) is for scopes, or for what actions need. A token of the
service account itself is asked for with --service-account, and an OpenID Connect
token for an audience with --id-token.

The policy is asked for all three, and without one there is no token. Scopes are not
held against the policy's actions: who asks for them answers for what is done with
the token. Of the service account itself there is one, and an ID token, only where
serviceAccountActions lists something.

Exit status: 2 wrong use or configuration · 3 a fault that an operator or
administrator must mend · 1 no token for another reason.`,
		Example: `  onbehalf token --user ada@example.com --action gmail.users.messages.list
  onbehalf token --user ada@example.com --scope https://www.googleapis.com/auth/gmail.labels
  onbehalf token --service-account --action sql.instances.list --lifetime 12h
  curl -H "Authorization: Bearer $(onbehalf token --id-token https://service.run.app)" https://service.run.app`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cmd.Flags().StringVar(&f.user, "user", "", "the user to act as")
	cmd.Flags().BoolVar(&f.serviceAccount, "service-account", false, "the service account itself, in place of a user")
	cmd.Flags().StringVar(&f.idToken, "id-token", "", "an ID token of the service account for this audience")
	cmd.Flags().StringArrayVar(&f.scopes, "scope", nil, "a scope (may be given again)")
	cmd.Flags().StringArrayVar(&f.actions, "action", nil, "a method's id, for the scopes that it needs (may be given again)")
	cmd.Flags().DurationVar(&f.lifetime, "lifetime", time.Hour, "with --service-account: how long it is to live; above 1h where the organisation allows it, up to 12h")
	cmd.Flags().StringVar(&f.policy, "policy", "", "policy file (default: ONBEHALF_POLICY)")
	return cmd
}

// check refuses flags that do not go together.
func (f *tokenFlags) check(lifetimeGiven bool) error {
	kinds := 0
	for _, given := range []bool{f.user != "", f.serviceAccount, f.idToken != ""} {
		if given {
			kinds++
		}
	}
	switch asked := len(f.scopes) + len(f.actions); {
	case kinds != 1:
		return errors.New("token: exactly one of --user, --service-account and --id-token is needed")
	case f.idToken != "" && asked > 0:
		return errors.New("--id-token: goes without --scope and --action; an ID token has an audience in their place")
	case f.idToken == "" && asked == 0:
		return errors.New("token: at least one --scope or --action is needed")
	case lifetimeGiven && !f.serviceAccount:
		return errors.New("--lifetime: is for --service-account alone; a user's token and an ID token live for an hour")
	case f.lifetime < time.Second || f.lifetime > 12*time.Hour:
		return fmt.Errorf("--lifetime: %s is not accepted; 1s to 12h are", f.lifetime)
	case slices.ContainsFunc(f.scopes, func(s string) bool { return !isScope(s) }):
		return fmt.Errorf("--scope: %q is not accepted; one such as https://www.googleapis.com/auth/gmail.labels is, and several are given one by one", f.scopes)
	}
	var err error
	f.user, err = parseUser(f.user)
	return err
}

func (f *tokenFlags) run(cmd *cobra.Command) error {
	if err := f.check(cmd.Flags().Changed("lifetime")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), tokenTimeout)
	defer cancel()
	cfg, err := config.Load(os.Environ())
	if err != nil {
		return err
	}
	a, err := access.Open(ctx, cfg, access.Options{})
	if err != nil {
		return err
	}
	scopes, err := f.allowed(ctx, a, cfg)
	var unanswered *delegation.Error // of the look-up for the policy
	switch {
	case errors.As(err, &unanswered):
		return tokenError(ctx, a, explain.Names{User: cfg.Admin, Scopes: []string{directory.Scope}}, err)
	case err != nil:
		return err
	}
	token, err := f.get(ctx, a.Minter, scopes)
	if err != nil {
		return tokenError(ctx, a, explain.Names{User: f.user, Scopes: scopes}, err)
	}
	return printToken(cmd.OutOrStdout(), cmd.ErrOrStderr(), token)
}

func (f *tokenFlags) get(ctx context.Context, m *delegation.Minter, scopes []string) (delegation.Token, error) {
	switch {
	case f.idToken != "":
		return m.IDToken(ctx, f.idToken)
	case f.serviceAccount:
		return m.ServiceAccountToken(ctx, f.lifetime, scopes...)
	}
	return m.Token(ctx, f.user, scopes...)
}

func printToken(out, people io.Writer, token delegation.Token) error {
	if _, err := fmt.Fprintln(out, token.Reveal()); err != nil {
		return err
	}
	left := time.Until(token.Expires()).Round(time.Second)
	_, err := fmt.Fprintf(people, "expires %s, in %s\n", token.Expires().UTC().Format(time.RFC3339), left)
	return err
}

// tokenError says who must act, and how.
func tokenError(ctx context.Context, a *access.Access, n explain.Names, err error) error {
	var refusal *delegation.Error
	if !errors.As(err, &refusal) {
		return err
	}
	return meant(ctx, a, access.Explain(refusal), n, refusal)
}

// meant tells what an answer of Google's means, and ends the command accordingly.
func meant(ctx context.Context, a *access.Access, m explain.Meaning, n explain.Names, err error) error {
	m = m.For(a.Names(context.WithoutCancel(ctx), m, n))
	status := exitSomeFailed
	if m.Lasts() {
		status = exitStopped
	}
	return &exitError{status, fmt.Errorf("%w: %s\n%s", err, m.Message, m.Fix)}
}
