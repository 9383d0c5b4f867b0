package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onbehalf-dev/onbehalf/internal/explain"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
)

// mostScopes is how many scopes are looked at where nobody has named the actions.
const mostScopes = 12

// checkUse reads whom and what is asked for.
func (e *exam) checkUse() (err error) {
	if e.o.User, err = jobs.ParseUser(e.o.User); err != nil {
		return fmt.Errorf("--%w", err)
	}
	e.wants, err = e.wanted(e.o.Actions)
	return err
}

// wanted are the actions and what they take. An error says which id is wrong.
func (e *exam) wanted(actions []string) ([]want, error) {
	var all []want
	for _, id := range actions {
		d, err := e.methods.Describe(id)
		if err != nil {
			return nil, fmt.Errorf("--action: %w", err)
		}
		// The last choice is what a job takes that says nothing special.
		all = append(all, want{id, d.Service, d.Scopes[len(d.Scopes)-1].Scopes})
	}
	return all, nil
}

// judge reads the policy, and asks it for each action.
func (e *exam) judge(ctx context.Context) {
	if err := e.readPolicy(ctx); err != nil {
		e.failReading("policy", e.cfg.Policy, err, "Correct the policy, or ONBEHALF_POLICY, which names it. What a policy may hold: onbehalf schema policy")
		return
	}
	if e.cfg.Admin == "" {
		if _, err := e.o.Policy.With(nil); err != nil { // who is an administrator cannot be told
			e.fail("policy", "", operators(e.o.From+": "+err.Error(), "export ONBEHALF_ADMIN=ADMIN@"+e.job(want{}).Domain()))
			return
		}
	}
	if e.o.Policy != nil && len(e.wants) == 0 {
		if e.misuse = e.listed(); e.misuse != nil {
			return
		}
	}
	switch {
	case len(e.wants) > 0:
		e.allow()
	case e.o.Policy == nil:
		d := e.o.Policy.Decide(e.job(want{action: "gmail.users.messages.insert"}))
		e.fail("policy", "", e.refused(d))
	default:
		e.fail("policy", "", operators("The policy lists no action.", "Add what may be called to actions in "+e.o.From))
	}
}

// readPolicy reads the one that the settings name, unless another was given.
func (e *exam) readPolicy(ctx context.Context) error {
	if e.o.Policy != nil || e.cfg.Policy == "" {
		return nil
	}
	e.o.From = e.cfg.Policy
	data, err := e.google.ReadSetting(ctx, e.o.From)
	if err == nil {
		e.o.Policy, err = policy.Parse(data)
	}
	if err == nil {
		err = e.o.Policy.CheckActions(e.methods.Fits)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.o.From, err)
	}
	return nil
}

// listed takes the actions that the policy lists.
func (e *exam) listed() (err error) {
	if p := e.o.Policy; len(p.Actions) == 0 && len(p.ServiceAccountActions) > 0 {
		return fmt.Errorf("%s: has nothing for users, but serviceAccountActions alone; the doctor examines acting as a user: name with --action what is to be done as one", e.o.From)
	}
	ids, _ := e.methods.Listed(e.o.Policy.Lists)
	if e.wants, err = e.wanted(ids); err != nil {
		return err
	}
	if n := len(e.allScopes()); n > mostScopes {
		return fmt.Errorf("--action: is needed: the policy allows %d methods, which take %d scopes; name those that are used, such as --action gmail.users.messages.insert", len(ids), n)
	}
	return nil
}

// ofActions are the reasons for which a policy refuses one action and may allow others.
var ofActions = []string{"actionNotAllowed", "whenNotMet"}

// allow keeps the actions that the policy allows, if need be for some jobs.
func (e *exam) allow() {
	var allowed []want
	for _, w := range e.wants {
		d := e.o.Policy.Decide(e.job(w))
		if d.Refusal == nil {
			allowed = append(allowed, w)
			e.pass("policy", w.action, e.o.From+" allows it by "+written(d.By))
			continue
		}
		if d.Refusal.Reason == "whenFailed" { // for what is held against it has no more than the user and the action
			allowed = append(allowed, w)
			e.miss("policy", w.action, "depends on the job ("+e.o.From+": "+written(d.By)+"); try: onbehalf policy check "+e.policyFile()+" --job FILE")
			continue
		}
		if !slices.Contains(ofActions, d.Refusal.Reason) {
			e.fail("policy", "", e.refused(d))
			break
		}
		e.fail("policy", w.action, e.refused(d))
	}
	if len(allowed) == 0 {
		e.broken["policy"] = e.firstFailed("policy")
	}
	e.wants = allowed
}

func (e *exam) job(w want) jobs.Job { return jobs.Job{User: e.o.User, Action: w.action} }

// policyFile is the policy's name for a command that reads files alone.
func (e *exam) policyFile() string {
	if strings.HasPrefix(e.o.From, "sm://") {
		return "POLICY"
	}
	return e.o.From
}

func (e *exam) refused(d policy.Decision) explain.Meaning {
	message := d.Refusal.Message
	if len(d.By) > 0 {
		message += " (" + e.o.From + ": " + written(d.By) + ")"
	}
	return operators(message, d.Refusal.Fix)
}

func written(lines []policy.Line) string {
	var all []string
	for _, line := range lines {
		all = append(all, line.String())
	}
	return strings.Join(all, " · ")
}

// spare sees whether the policy protects the user, of whom it is known now whether
// this is an administrator.
func (e *exam) spare(ctx context.Context, isAdmin bool) {
	p, err := e.o.Policy.With(told(isAdmin))
	if err != nil || len(e.wants) == 0 {
		return
	}
	var refusal *policy.Refusal
	if errors.As(p.Spare(ctx, e.o.User), &refusal) {
		e.fail("policy", "protectAdmins", operators(refusal.Message, refusal.Fix))
		e.broken["policy"] = "policy protectAdmins"
	}
}

// primary is the address that the Directory gives, if it has the form of one.
func primary(address string) string {
	address, err := jobs.ParseUser(address)
	if err != nil {
		return "another address"
	}
	return address
}

// told is whether the user is an administrator.
type told bool

var _ policy.Admins = told(false)

// IsAdmin implements [policy.Admins].
func (t told) IsAdmin(context.Context, string) (bool, error) { return bool(t), nil }
