package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/directory"
	"github.com/onbehalf-dev/onbehalf/internal/explain"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
)

type scopesFlags struct {
	admin, batches bool
	clientID       string
	json           bool
}

func newPolicyScopes() *cobra.Command {
	var f scopesFlags
	cmd := &cobra.Command{
		Use:   "scopes FILE",
		Short: "List the scopes that a Workspace administrator has to authorize",
		Long: `Lists every OAuth scope that jobs which the policy in FILE ("-" is standard input)
allows may ask for as a user, one a line: the narrowest for each method and for each
way in which its jobs choose another, those with which a call is looked up whose
answer was lost, and the Directory's, which is read as the administrator. Nothing is
asked of Google.

Methods that the policy lists and no job may call are named on standard error.

Exit status: 0 the policy is in order · 2 wrong use, or a policy that is wrong.`,
		Example: `  onbehalf policy scopes policy.yaml
  onbehalf policy scopes policy.yaml --admin --batches    # ONBEHALF_ADMIN is set, and FanOut deployed
  onbehalf policy scopes policy.yaml --client-id 100000000000000000042 | tail -n 1    # the link for the administrator
  onbehalf policy scopes policy.yaml --json | jq .scopes`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("policy scopes: one FILE is needed, or - for standard input")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return showScopes(cmd, args[0], f) },
	}
	cmd.Flags().BoolVar(&f.admin, "admin", false, "ONBEHALF_ADMIN is set: count the Directory's users (protectAdmins: true in the policy does, too)")
	cmd.Flags().BoolVar(&f.batches, "batches", false, "batches are used: count the Directory's users and the members of groups")
	cmd.Flags().StringVar(&f.clientID, "client-id", "", "the delegated account's numeric client id: print the link to the Admin console, too, in the last line")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON: the methods that need each scope")
	return cmd
}

// clientIDPattern is a service account's uniqueId; Google's have 21 digits.
var clientIDPattern = regexp.MustCompile(`^[0-9]{1,32}$`)

func showScopes(cmd *cobra.Command, file string, f scopesFlags) error {
	if f.clientID != "" && !clientIDPattern.MatchString(f.clientID) {
		return fmt.Errorf("--client-id: is %s; the numeric one is expected, which gcloud iam service-accounts describe ACCOUNT --format='value(uniqueId)' prints", jobs.Quote(f.clientID))
	}
	p, err := readPolicyOf(cmd, file)
	if err != nil {
		return err
	}
	listed, not, err := f.scopes(p)
	if err != nil {
		return err
	}
	for _, err := range not {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: cannot be called: %s\n", file, problemOf(err))
	}
	switch {
	case len(p.Domains) == 0:
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: domains: nothing is listed, so that nobody may be acted for\n", file)
	case len(p.Actions) == 0:
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: actions: nothing is listed, so that nothing may be done as a user\n", file)
	}
	return show(cmd.OutOrStdout(), listed, f.json, writeScopes)
}

// problemOf is what is wrong with an action, without the field's name.
func problemOf(err error) string {
	var wrong *jobs.FieldError
	if !errors.As(err, &wrong) {
		return err.Error()
	}
	return strings.TrimPrefix(wrong.Problem, "is ")
}

// scopeList is what has to be authorized.
type scopeList struct {
	// Scopes are the methods that need each of them, sorted.
	Scopes map[string][]string `json:"scopes"`
	// Link is the page of the Admin console where a client id was given.
	Link string `json:"link,omitempty"`
}

// scopes are those for the policy's jobs; not says which methods that it lists cannot
// be called. As nobody may be acted for without a domain, there are none then.
func (f scopesFlags) scopes(p *policy.Policy) (all scopeList, not []error, err error) {
	all.Scopes = map[string][]string{}
	if len(p.Domains) == 0 || len(p.Actions) == 0 {
		return all, nil, nil
	}
	methods := actions.NewMethods()
	ids, not := methods.Listed(p.Lists)
	for _, id := range ids {
		scopes, err := methods.UserScopes(id)
		if err != nil {
			return all, nil, err
		}
		all.need(id, scopes...)
	}
	// What the program itself reads, as the administrator.
	if f.admin || f.batches || p.ProtectsAdmins() {
		all.need("directory.users.get", directory.Scope)
	}
	if f.batches {
		all.need("directory.users.list", directory.Scope)
		all.need("directory.members.list", directory.GroupScope)
	}
	if f.clientID != "" {
		all.Link = explain.DelegationLink(f.clientID, all.sorted())
	}
	return all, not, nil
}

// need notes that the method needs the scopes.
func (l scopeList) need(method string, scopes ...string) {
	for _, scope := range scopes {
		at, found := slices.BinarySearch(l.Scopes[scope], method)
		if !found {
			l.Scopes[scope] = slices.Insert(l.Scopes[scope], at, method)
		}
	}
}

func (l scopeList) sorted() []string { return slices.Sorted(maps.Keys(l.Scopes)) }

func writeScopes(w io.Writer, l scopeList) error {
	for _, scope := range l.sorted() {
		fmt.Fprintln(w, scope)
	}
	if l.Link != "" {
		fmt.Fprintf(w, "\n%s\n", l.Link)
	}
	return nil
}
