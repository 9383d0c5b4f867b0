package policy

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Refusal is why the policy does not allow a job, and who changes that how.
type Refusal struct{ Reason, Message, Fix string }

func (r *Refusal) Error() string { return r.Message }

// The reasons for which the same call is refused for whichever user.
const (
	noPolicySet      = "noPolicy"
	actionNotAllowed = "actionNotAllowed"
)

// OfAll tells whether every job that calls the same is refused, for whichever user.
func (r *Refusal) OfAll() bool { return r.Reason == noPolicySet || r.Reason == actionNotAllowed }

// Line is where in a policy's file something stands.
type Line struct {
	// Field is the field, or an item of it: "denyUsers", "actions[1]".
	Field string `json:"field"`
	// Number is the line's; 0 where the file does not have the field.
	Number int `json:"line,omitempty"`
	// Text is what stands there, or what is missing.
	Text string `json:"text"`
}

func (l Line) String() string {
	if l.Number == 0 {
		return l.Field + ": " + l.Text
	}
	return fmt.Sprintf("%s, line %d: %s", l.Field, l.Number, l.Text)
}

// Decision is what a policy says of a job without asking anybody.
type Decision struct {
	// Refusal is why the job may not be done; nil where it may.
	Refusal *Refusal
	// By are the lines that allow the job, or the one that refuses it.
	By []Line
	// Unless is the line by which a job that is allowed is refused all the same
	// where its user is an administrator; nil where none does.
	Unless *Line
}

// Allow gives nil where the job may be done. An error is a [*Refusal], or an
// [*UnknownError] where it could not be found out.
func (p *Policy) Allow(ctx context.Context, job jobs.Job) error {
	d := p.Decide(job)
	switch {
	case d.Refusal != nil:
		return d.Refusal
	case d.Unless != nil: // last, for it may cost a call
		return p.Spare(ctx, job.User)
	}
	return nil
}

// AllowUser gives nil where the user may be acted for, whatever is then done: who
// asks for a token answers for that. Its errors are as those of Allow.
func (p *Policy) AllowUser(ctx context.Context, user string) error {
	job := jobs.Job{User: user}
	if p == nil {
		return noPolicy(job)
	}
	if err := p.AllowWhom(user); err != nil {
		return err
	}
	if err := p.AllowScopes(); err != nil {
		return err
	}
	return p.Spare(ctx, user)
}

// AllowWhom gives nil where no rule on users alone refuses this one. It asks nobody
// whether that is an administrator. An error is a [*Refusal].
func (p *Policy) AllowWhom(user string) error {
	job := jobs.Job{User: user}
	if p == nil {
		return noPolicy(job)
	}
	for _, rule := range []func(jobs.Job) (Line, *Refusal){p.domain, p.denied} {
		if _, refusal := rule(job); refusal != nil {
			return refusal
		}
	}
	return nil
}

// AllowServiceAccount gives nil where the service account may act as itself with
// something. An error is a [*Refusal].
func (p *Policy) AllowServiceAccount() error {
	switch {
	case p == nil:
		return noPolicy(jobs.Job{As: jobs.AsServiceAccount, Action: "sql.instances.list"})
	case len(p.ServiceAccountActions) == 0:
		return &Refusal{
			actionNotAllowed, "The policy does not allow the service account to act as itself.",
			"If it may, list what it may call in serviceAccountActions in the policy.",
		}
	}
	return nil
}

// AllowScopes gives nil where scopes may stand for actions: no condition has to be
// held against an action. An error is a [*Refusal].
func (p *Policy) AllowScopes() error {
	if p.HasCondition() {
		return &Refusal{
			"whenNotMet", "The policy has a condition, when, which can only be held against an action.",
			"Name the actions that it is for, in place of scopes.",
		}
	}
	return nil
}

// Decide holds the job against all that stands in the policy.
func (p *Policy) Decide(job jobs.Job) (d Decision) {
	if p == nil {
		return Decision{Refusal: noPolicy(job)}
	}
	rules := []func(jobs.Job) (Line, *Refusal){p.domain, p.denied, p.action, p.condition}
	if job.As == jobs.AsServiceAccount {
		rules = []func(jobs.Job) (Line, *Refusal){p.ownAction, p.condition}
	}
	for _, rule := range rules {
		line, refusal := rule(job)
		if refusal != nil {
			return Decision{Refusal: refusal, By: []Line{line}}
		}
		if line.Field != "" {
			d.By = append(d.By, line)
		}
	}
	if job.As == "" && p.ProtectsAdmins() {
		d.Unless = &Line{"protectAdmins", p.lines["protectAdmins"], "true"}
	}
	return d
}

func noPolicy(job jobs.Job) *Refusal {
	example := "domains: [" + job.Domain() + "]\nactions: [" + job.Action + "]"
	if job.As == jobs.AsServiceAccount {
		example = "serviceAccountActions: [" + job.Action + "]"
	}
	return &Refusal{
		noPolicySet, "No policy is set, so every job is refused.",
		"Set ONBEHALF_POLICY to a YAML file (a path, or sm://PROJECT/SECRET/VERSION) that lists what may be done, for example:\n" + example,
	}
}

func (p *Policy) domain(job jobs.Job) (Line, *Refusal) {
	if i := slices.Index(p.Domains, job.Domain()); i >= 0 {
		return p.item("domains", i, p.Domains), nil
	}
	return p.missing("domains", p.Domains), &Refusal{
		"domainNotAllowed", "The policy does not list the domain " + job.Domain() + ".",
		"If " + job.User + " may be acted for, add the domain to domains in the policy.",
	}
}

func (p *Policy) denied(job jobs.Job) (Line, *Refusal) {
	i := slices.Index(p.DenyUsers, job.User)
	if i < 0 {
		return Line{}, nil
	}
	return p.item("denyUsers", i, p.DenyUsers), &Refusal{
		"userDenied", "The policy denies acting as " + job.User + ".",
		"If that is no longer wanted, take the user out of denyUsers in the policy.",
	}
}

func (p *Policy) action(job jobs.Job) (Line, *Refusal) {
	return p.fits("actions", p.Actions, job.Action)
}

// Lists tells whether the policy lists the action for users, whatever else it asks of
// a job.
func (p *Policy) Lists(action string) bool {
	if p == nil {
		return false
	}
	_, refusal := p.action(jobs.Job{Action: action})
	return refusal == nil
}

func (p *Policy) ownAction(job jobs.Job) (Line, *Refusal) {
	return p.fits("serviceAccountActions", p.ServiceAccountActions, job.Action)
}

// fits looks for the action in the globs of that field.
func (p *Policy) fits(field string, globs []string, action string) (Line, *Refusal) {
	for i, glob := range globs {
		if ok, _ := path.Match(glob, action); ok { // checked in Parse
			return p.item(field, i, globs), nil
		}
	}
	return p.missing(field, globs), &Refusal{
		actionNotAllowed, "The policy does not allow " + action + ".",
		"If it may be called, add it to " + field + " in the policy.",
	}
}

// condition holds the job against the condition.
func (p *Policy) condition(job jobs.Job) (Line, *Refusal) {
	if p.when == nil {
		return Line{}, nil
	}
	line := Line{"when", p.lines["when"], p.when.text}
	switch holds, err := p.when.holds(job); {
	case err != nil:
		return line, &Refusal{
			"whenFailed", "The policy's condition, when, could not be evaluated: " + err.Error() + ".",
			"Give the job what the condition asks for, or have the condition first test with has(…) what a job may lack.",
		}
	case !holds:
		return line, &Refusal{
			"whenNotMet", "The policy's condition, when, is not true of this job.",
			"If the job may be done, change when in the policy.",
		}
	}
	return line, nil
}

func (p *Policy) item(field string, i int, list []string) Line {
	name := itemOf(field, i)
	return Line{name, p.lines[name], list[i]}
}

// missing is the line of a list in which nothing allows the job.
func (p *Policy) missing(field string, list []string) Line {
	text := "nothing is listed"
	if len(list) > 0 {
		text = "none fits of " + strings.Join(list, ", ")
	}
	return Line{field, p.lines[field], text}
}

// With gives the policy with the means to tell who is an administrator; nil
// where there are none, which is an error where the policy needs them.
func (p *Policy) With(admins Admins) (*Policy, error) {
	switch {
	case p == nil:
		return nil, nil //nolint:nilnil // no policy, which allows nothing, is one
	case admins == nil && p.ProtectsAdmins():
		return nil, errors.New("protectAdmins: is true, but nobody can tell who is an administrator; set ONBEHALF_ADMIN to the e-mail address of an administrator, as whom the Directory is read, or take protectAdmins out and list the administrators in denyUsers")
	}
	able := *p
	able.admins = admins
	return &able, nil
}

// ProtectsAdmins tells whether administrators are never acted for.
func (p *Policy) ProtectsAdmins() bool {
	switch {
	case p == nil:
		return false // nobody is acted for
	case p.ProtectAdmins != nil:
		return *p.ProtectAdmins
	}
	return p.admins != nil
}

// UnknownError says that it could not be found out whether a user is an
// administrator, and why.
type UnknownError struct {
	User string
	err  error
}

func (e *UnknownError) Error() string {
	return "whether " + e.User + " is an administrator could not be found out: " + e.err.Error()
}

func (e *UnknownError) Unwrap() error { return e.err }

// NotInDirectory says so of the user, and what can be done, where that is why: another
// organisation's Directory may well know them, and as an administrator.
func (e *UnknownError) NotInDirectory(admin string) (message, fix string) {
	domain := jobs.Job{User: e.User}.Domain()
	return "The Directory of the organisation of " + admin + ", whom ONBEHALF_ADMIN names, does not know " + e.User + ", so nobody can say whether this is an administrator.",
		"Name the user's primary address. If " + domain + " is a domain of another organisation, its users cannot be looked up: take it out of domains in the policy, or say protectAdmins: false there."
}

// Spare refuses to act as an administrator, where the policy protects them, and looks
// at nothing else. Its errors are as those of Allow.
func (p *Policy) Spare(ctx context.Context, user string) error {
	if !p.ProtectsAdmins() {
		return nil
	}
	if p.admins == nil {
		return &UnknownError{user, errors.New("there is nobody to ask")}
	}
	switch is, err := p.admins.IsAdmin(ctx, user); {
	case err != nil:
		return &UnknownError{user, err}
	case is:
		return &Refusal{
			"adminProtected", user + " is an administrator, and the policy protects administrators.",
			"Have the job act as somebody else. If administrators may be acted for, say protectAdmins: false in the policy. Who has just ceased to be one is taken for one for up to an hour.",
		}
	}
	return nil
}
