// Package policy decides who may be acted for, and with what. Google's scopes
// limit what a delegated service account may do, never as whom: this is the
// only guard between a message and the whole domain, so it denies by default.
package policy

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Policy is what a policy file allows. A nil policy allows nothing.
type Policy struct {
	// Domains are those whose users may be acted for. A subdomain is not its
	// parent's: it must be listed.
	Domains []string `yaml:"domains"`
	// Actions are globs over method ids, in which * stands for any characters,
	// dots included.
	Actions []string `yaml:"actions"`
	// DenyUsers are never acted for.
	DenyUsers []string `yaml:"denyUsers"`
	// ServiceAccountActions are globs over the method ids that may be called as the
	// service account itself, for which the three above say nothing.
	ServiceAccountActions []string `yaml:"serviceAccountActions"`

	when *condition // nil: none
}

// file is a policy as it stands in a file: with the limit that this version
// cannot keep. A limit that is not kept must not look as if it were.
type file struct {
	Policy        `yaml:",inline"`
	ProtectAdmins bool      `yaml:"protectAdmins"`
	When          yaml.Node `yaml:"when"`
}

var (
	domainPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)
	// unknownField is how the library says that there is no such field.
	unknownField  = regexp.MustCompile(`field (\S+) not found in type \S+`)
	actionPattern = regexp.MustCompile(`^[A-Za-z0-9._*-]+$`)
)

// Parse reads a policy in YAML. An error names the field, the value and what
// is accepted.
func Parse(data []byte) (*Policy, error) {
	var f file
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&f); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("not a policy: %s", unknownField.ReplaceAllString(err.Error(), "$1: is not a known field; accepted are domains, actions, denyUsers, serviceAccountActions, protectAdmins, when"))
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("not a policy: there is more than one YAML document; give one")
	}
	if err := f.check(); err != nil {
		return nil, err
	}
	if !f.When.IsZero() {
		var err error
		if f.when, err = newCondition(&f.When); err != nil {
			return nil, err
		}
	}
	return &f.Policy, nil
}

func (f *file) check() error {
	if f.ProtectAdmins {
		return errors.New("protectAdmins: true: this version cannot tell who is an administrator; list them in denyUsers")
	}
	for i, domain := range f.Domains {
		f.Domains[i] = strings.ToLower(domain)
		if !domainPattern.MatchString(f.Domains[i]) {
			return fmt.Errorf("domains[%d]: %s is no domain; one such as example.com is expected (a subdomain is listed by itself)", i, jobs.Quote(domain))
		}
	}
	if err := checkGlobs("actions", f.Actions); err != nil {
		return err
	}
	if err := checkGlobs("serviceAccountActions", f.ServiceAccountActions); err != nil {
		return err
	}
	for i, user := range f.DenyUsers {
		f.DenyUsers[i] = strings.ToLower(strings.TrimSpace(user))
		if name, domain, ok := strings.Cut(f.DenyUsers[i], "@"); !ok || name == "" || !domainPattern.MatchString(domain) {
			return fmt.Errorf("denyUsers[%d]: %s is no address; one such as ceo@example.com is expected", i, jobs.Quote(user))
		}
	}
	return nil
}

func checkGlobs(field string, globs []string) error {
	for i, glob := range globs {
		if !actionPattern.MatchString(glob) {
			return fmt.Errorf("%s[%d]: %s is no glob over method ids; letters, digits, dots and * are accepted, as in gmail.users.messages.*", field, i, jobs.Quote(glob))
		}
	}
	return nil
}

// Refusal is why the policy does not allow a job, and who changes that how.
type Refusal struct{ Reason, Message, Fix string }

func (r *Refusal) Error() string { return r.Message }

// Allow gives a [*Refusal], or nil where the job may be done.
func (p *Policy) Allow(job jobs.Job) error {
	if p == nil {
		return noPolicy(job)
	}
	if err := p.listed(job); err != nil {
		return err
	}
	return p.meets(job)
}

// listed holds the job against the lists.
func (p *Policy) listed(job jobs.Job) error {
	switch {
	case job.As == jobs.AsServiceAccount:
		return allowed(p.ServiceAccountActions, "serviceAccountActions", job.Action)
	case !slices.Contains(p.Domains, job.Domain()):
		return &Refusal{
			"domainNotAllowed", "The policy does not list the domain " + job.Domain() + ".",
			"If " + job.User + " may be acted for, add the domain to domains in the policy.",
		}
	case slices.Contains(p.DenyUsers, job.User):
		return &Refusal{
			"userDenied", "The policy denies acting as " + job.User + ".",
			"If that is no longer wanted, take the user out of denyUsers in the policy.",
		}
	}
	return allowed(p.Actions, "actions", job.Action)
}

func noPolicy(job jobs.Job) *Refusal {
	example := "domains: [" + job.Domain() + "], actions: [" + job.Action + "]"
	if job.As == jobs.AsServiceAccount {
		example = "serviceAccountActions: [" + job.Action + "]"
	}
	return &Refusal{
		"noPolicy", "No policy is set, so every job is refused.",
		"Set ONBEHALF_POLICY to a YAML file (a path, or sm://PROJECT/SECRET/VERSION) that lists what may be done, for example: " + example + ".",
	}
}

// allowed looks for the action in the globs of that field.
func allowed(globs []string, field, action string) error {
	for _, glob := range globs {
		if ok, _ := path.Match(glob, action); ok { // checked in Parse
			return nil
		}
	}
	return &Refusal{
		"actionNotAllowed", "The policy does not allow " + action + ".",
		"If it may be called, add it to " + field + " in the policy.",
	}
}

// meets holds the job against the condition.
func (p *Policy) meets(job jobs.Job) error {
	if p.when == nil {
		return nil
	}
	switch holds, err := p.when.holds(job); {
	case err != nil:
		return &Refusal{
			"whenFailed", "The policy's condition, when, could not be evaluated: " + err.Error() + ".",
			"Give the job what the condition asks for, or have the condition first test with has(…) what a job may lack.",
		}
	case !holds:
		return &Refusal{
			"whenNotMet", "The policy's condition, when, is not true of this job.",
			"If the job may be done, change when in the policy.",
		}
	}
	return nil
}

// Schema is the JSON Schema (draft 2020-12) of a policy file.
//
//go:embed policy.schema.json
var Schema []byte
