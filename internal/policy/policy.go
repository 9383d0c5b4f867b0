// Package policy decides who may be acted for, and with what. Google's scopes
// limit what a delegated service account may do, never as whom: this is the
// only guard between a message and the whole domain, so it denies by default.
package policy

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
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
	// ProtectAdmins is whether administrators are never acted for; nil is where
	// [Policy.With] gives the means to tell.
	ProtectAdmins *bool `yaml:"protectAdmins"`

	when   *condition     // nil: none
	lines  map[string]int // of fields and items in the file: domains, domains[0]
	admins Admins         // nil: nobody can tell
}

// Admins tells who is an administrator.
type Admins interface {
	// IsAdmin tells it of a user, and fails where it cannot be found out.
	IsAdmin(ctx context.Context, user string) (bool, error)
}

// file is a policy as it stands in a file.
type file struct {
	Policy `yaml:",inline"`
	When   yaml.Node `yaml:"when"`
}

var (
	domainPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)
	// unknownField is how the library says that there is no such field.
	unknownField  = regexp.MustCompile(`field (\S+) not found in type \S+`)
	actionPattern = regexp.MustCompile(`^[A-Za-z0-9._*-]+$`)
)

// HasCondition tells whether anything but who does what is judged.
func (p *Policy) HasCondition() bool { return p != nil && p.when != nil }

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
	f.lines = linesOf(data)
	return &f.Policy, nil
}

// linesOf gives the lines of the fields in a policy that was read, and of the
// items in their lists.
func linesOf(data []byte) map[string]int {
	lines := make(map[string]int)
	var document yaml.Node
	if yaml.Unmarshal(data, &document) != nil || len(document.Content) == 0 {
		return lines // it is empty
	}
	fields := document.Content[0].Content
	for i := 0; i+1 < len(fields); i += 2 {
		name, value := fields[i], fields[i+1]
		lines[name.Value] = name.Line
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		for j, item := range value.Content {
			lines[itemOf(name.Value, j)] = item.Line
		}
	}
	return lines
}

func itemOf(field string, i int) string { return field + "[" + strconv.Itoa(i) + "]" }

func (f *file) check() error {
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

// CheckActions refuses a glob that fits no method: it allows nothing, and so is a
// slip. fits says what is wrong with one, as [Parse] does of a field.
func (p *Policy) CheckActions(fits func(glob string) error) error {
	if p == nil {
		return nil
	}
	for _, list := range []struct {
		field string
		globs []string
	}{{"actions", p.Actions}, {"serviceAccountActions", p.ServiceAccountActions}} {
		for i, glob := range list.globs {
			if err := fits(glob); err != nil {
				item := itemOf(list.field, i)
				return fmt.Errorf("%s, line %d: %w", item, p.lines[item], err)
			}
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

// Schema is the JSON Schema (draft 2020-12) of a policy file.
//
//go:embed policy.schema.json
var Schema []byte
