package policy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
)

const usual = `
domains: [Example.com, sales.example.org]
actions: ["gmail.users.messages.*", "calendar.events.insert"]
denyUsers: [CEO@example.com]
serviceAccountActions: ["sql.instances.*"]
`

func TestAllow(t *testing.T) {
	p, err := policy.Parse([]byte(usual))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ user, action, reason string }{
		{"ada@example.com", "gmail.users.messages.insert", ""},
		{"ada@example.com", "gmail.users.messages.attachments.get", ""},
		{"ada@sales.example.org", "calendar.events.insert", ""},
		{"ada@example.org", "calendar.events.insert", "domainNotAllowed"},
		{"ada@eu.example.com", "calendar.events.insert", "domainNotAllowed"},
		{"ada@example.com.evil.net", "calendar.events.insert", "domainNotAllowed"},
		{"ada@evilexample.com", "calendar.events.insert", "domainNotAllowed"},
		{"ceo@example.com", "calendar.events.insert", "userDenied"},
		{"ada@example.com", "calendar.events.delete", "actionNotAllowed"},
		{"ada@example.com", "xgmail.users.messages.insert", "actionNotAllowed"},
		{"ada@example.com", "gmail.users.messages", "actionNotAllowed"},
	} {
		err := p.Allow(t.Context(), jobs.Job{User: c.user, Action: c.action})
		var refusal *policy.Refusal
		switch {
		case c.reason == "" && err != nil:
			t.Errorf("%s %s: %v", c.user, c.action, err)
		case c.reason != "" && (!errors.As(err, &refusal) || refusal.Reason != c.reason || refusal.Fix == ""):
			t.Errorf("%s %s: got %#v, want %s", c.user, c.action, err, c.reason)
		}
	}
}

// What a user may be acted for with, and what the service account may do, are
// two lists.
func TestAllowAsTheServiceAccount(t *testing.T) {
	p, err := policy.Parse([]byte(usual))
	if err != nil {
		t.Fatal(err)
	}
	var none *policy.Policy
	for _, c := range []struct {
		p              *policy.Policy
		action, reason string
	}{
		{p, "sql.instances.list", ""},
		{p, "sql.backupRuns.delete", "actionNotAllowed"},
		{p, "calendar.events.insert", "actionNotAllowed"},
		{&policy.Policy{Domains: []string{""}, Actions: []string{"*"}}, "sql.instances.list", "actionNotAllowed"},
		{none, "sql.instances.list", "noPolicy"},
	} {
		err := c.p.Allow(t.Context(), jobs.Job{As: jobs.AsServiceAccount, Action: c.action})
		var refusal *policy.Refusal
		switch {
		case c.reason == "" && err != nil:
			t.Errorf("%s: %v", c.action, err)
		case c.reason != "" && (!errors.As(err, &refusal) || refusal.Reason != c.reason || !strings.Contains(refusal.Fix, "serviceAccountActions")):
			t.Errorf("%s: got %#v, want %s", c.action, err, c.reason)
		}
	}
	if p.Allow(t.Context(), jobs.Job{User: "ada@example.com", Action: "sql.instances.list"}) == nil {
		t.Error("what the service account may do, it may do as a user, too")
	}
}

// Nothing set, nothing listed, nothing allowed.
func TestDenyByDefault(t *testing.T) {
	job := jobs.Job{User: "ada@example.com", Action: "gmail.users.messages.insert"}
	var none *policy.Policy
	var refusal *policy.Refusal
	if err := none.Allow(t.Context(), job); !errors.As(err, &refusal) || refusal.Reason != "noPolicy" || !strings.Contains(refusal.Fix, "ONBEHALF_POLICY") {
		t.Errorf("no policy: %#v", refusal)
	}
	for _, text := range []string{"", "# nothing\n", "{}", "domains: [example.com]", "actions: ['*']", "domains: []\nactions: []"} {
		p, err := policy.Parse([]byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if p.Allow(t.Context(), job) == nil {
			t.Errorf("%q allows a job", text)
		}
	}
}

var wrong = []struct{ text, says string }{
	{"domain: [example.com]", "line 1: domain: is not a known field; accepted are domains,"},
	{"domains: example.com", "cannot unmarshal"},
	{"domains: ['*.example.com']", `domains[0]: "*.example.com" is no domain`},
	{"domains: [example.com, 'ada@example.com']", `domains[1]: "ada@example.com" is no domain`},
	{"domains: [com]", `domains[0]: "com" is no domain`},
	{"actions: ['gmail.[a-z']", `actions[0]: "gmail.[a-z" is no glob`},
	{"serviceAccountActions: ['sql instances']", `serviceAccountActions[0]: "sql instances" is no glob`},
	{"denyUsers: [ceo]", `denyUsers[0]: "ceo" is no address`},
	{"protectAdmins: 5", "into bool"},
	{"when: job.usr != ''", "when: line 1: undefined field 'usr'"},
	{"domains: [a.bc]\n---\nactions: ['*']", "more than one YAML document"},
	{"domains: [a.bc]\ndomains: [d.ef]", "already defined"},
	{"[", "not a policy"},
}

func TestParseRefuses(t *testing.T) {
	for _, c := range wrong {
		if _, err := policy.Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: got %v, want … %s …", c.text, err, c.says)
		}
	}
}

func TestSchemaAgreesWithParser(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(policy.Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("policy.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("policy.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{usual, "{}", "protectAdmins: false", "protectAdmins: true", "serviceAccountActions: [sql.instances.list]", wrong[0].text, wrong[2].text, wrong[4].text, wrong[5].text, wrong[6].text, wrong[7].text, wrong[8].text, "when: job.user != ''", "when: ''", "when: true"} {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if v, err = jsonschema.UnmarshalJSON(bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		_, parseErr := policy.Parse([]byte(text))
		if schemaErr := s.Validate(v); (schemaErr == nil) != (parseErr == nil) {
			t.Errorf("%q\nparser: %v\nschema: %v", text, parseErr, schemaErr)
		}
	}
}

// A decision names the lines of the file by which it was made.
func TestDecide(t *testing.T) {
	p, err := policy.Parse([]byte(`domains: &ours
  - example.com

  - example.org
actions: ["gmail.users.messages.*",
          "calendar.*"]
denyUsers:
  # who must not be disturbed
  - ceo@example.com
protectAdmins: true
serviceAccountActions: [sql.instances.list]
when: |
  job.action != "gmail.users.messages.send"
    || has(job.params.ok)
`))
	if err != nil {
		t.Fatal(err)
	}
	const condition = `job.action != "gmail.users.messages.send" || has(job.params.ok)`
	for _, c := range []struct {
		user, action string
		reason       string
		by           []string
	}{
		{"ada@example.org", "calendar.events.insert", "", []string{"domains[1], line 4: example.org", "actions[1], line 6: calendar.*", "when, line 12: " + condition}},
		{"ada@example.net", "calendar.events.insert", "domainNotAllowed", []string{"domains, line 1: none fits of example.com, example.org"}},
		{"ceo@example.com", "calendar.events.insert", "userDenied", []string{"denyUsers[0], line 9: ceo@example.com"}},
		{"ada@example.com", "drive.files.list", "actionNotAllowed", []string{"actions, line 5: none fits of gmail.users.messages.*, calendar.*"}},
		{"ada@example.com", "gmail.users.messages.send", "whenNotMet", []string{"when, line 12: " + condition}},
		{"", "sql.instances.list", "", []string{"serviceAccountActions[0], line 11: sql.instances.list", "when, line 12: " + condition}},
		{"", "sql.instances.delete", "actionNotAllowed", []string{"serviceAccountActions, line 11: none fits of sql.instances.list"}},
	} {
		job := jobs.Job{User: c.user, Action: c.action}
		if c.user == "" {
			job.As = jobs.AsServiceAccount
		}
		d := p.Decide(job)
		var by []string
		for _, line := range d.By {
			by = append(by, line.String())
		}
		if diff := cmp.Diff(c.by, by); diff != "" {
			t.Errorf("%s %s: %s", c.user, c.action, diff)
		}
		if (d.Refusal == nil) != (c.reason == "") || d.Refusal != nil && d.Refusal.Reason != c.reason {
			t.Errorf("%s %s: %+v, want %s", c.user, c.action, d.Refusal, c.reason)
		}
		asks := d.Unless != nil && d.Unless.String() == "protectAdmins, line 10: true"
		if want := c.reason == "" && c.user != ""; asks != want {
			t.Errorf("%s %s: unless %v", c.user, c.action, d.Unless)
		}
	}
	empty, err := policy.Parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := empty.Decide(jobs.Job{User: "ada@example.com", Action: "a.b"}); len(d.By) != 1 || d.By[0].String() != "domains: nothing is listed" || d.Unless != nil {
		t.Errorf("%+v", d)
	}
}

// admins knows some administrators, and counts how often it was asked.
type admins struct {
	asked int
	known map[string]bool
}

func (a *admins) IsAdmin(_ context.Context, user string) (bool, error) {
	a.asked++
	is, ok := a.known[user]
	if !ok {
		return false, errors.New("the Directory is away")
	}
	return is, nil
}

// Administrators are protected wherever it can be told who is one, unless the
// policy says otherwise; and where it says that they are, only there.
func TestProtectAdmins(t *testing.T) {
	parse := func(text string) *policy.Policy {
		t.Helper()
		p, err := policy.Parse([]byte(open + "denyUsers: [ceo@example.com]\n" + text))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	known := map[string]bool{"ada@example.com": false, "admin@example.com": true, "ceo@example.com": true}
	ada, admin, ceo := jobs.Job{User: "ada@example.com", Action: "a.b"}, jobs.Job{User: "admin@example.com", Action: "a.b"}, jobs.Job{User: "ceo@example.com", Action: "a.b"}
	eve, own := jobs.Job{User: "eve@example.com", Action: "a.b"}, jobs.Job{As: jobs.AsServiceAccount, Action: "a.b"}
	for _, c := range []struct {
		text string
		able bool
		job  jobs.Job
		says string // empty: allowed
		asks int
	}{
		{"", true, ada, "", 1},
		{"", true, admin, "admin@example.com is an administrator, and the policy protects administrators.", 1},
		{"", true, eve, "whether eve@example.com is an administrator could not be found out: the Directory is away", 1},
		{"", true, own, "", 0},
		{"", true, ceo, "denies acting as", 0},
		{"when: 1 == 2", true, admin, "is not true", 0},
		{"", false, admin, "", 0},
		{"protectAdmins: true", true, ada, "", 1},
		{"protectAdmins: true", true, admin, "is an administrator", 1},
		{"protectAdmins: false", true, admin, "", 0},
		{"protectAdmins: false", false, admin, "", 0},
	} {
		a := &admins{known: known}
		var asked policy.Admins
		if c.able {
			asked = a
		}
		p, err := parse(c.text).With(asked)
		if err != nil {
			t.Fatal(err)
		}
		err = p.Allow(t.Context(), c.job)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q, %t, %s: %v, want %q", c.text, c.able, c.job.User, err, c.says)
		}
		if a.asked != c.asks {
			t.Errorf("%q, %t, %s: asked %d times, want %d", c.text, c.able, c.job.User, a.asked, c.asks)
		}
	}
	must := parse("protectAdmins: true")
	if _, err := must.With(nil); err == nil || !strings.Contains(err.Error(), "set ONBEHALF_ADMIN") {
		t.Errorf("protectAdmins without the means: %v", err)
	}
	// Even then nobody is acted for unasked.
	var unknown *policy.UnknownError
	if err := must.Allow(t.Context(), ada); !errors.As(err, &unknown) {
		t.Errorf("nobody was asked: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(usual, "ada@example.com", "gmail.users.messages.insert")
	for _, c := range wrong {
		f.Add(c.text, "ada@example.com", "gmail.users.messages.insert")
	}
	f.Fuzz(func(t *testing.T, text, user, action string) {
		p, err := policy.Parse([]byte(text))
		if err != nil {
			return
		}
		job := jobs.Job{User: strings.ToLower(user), Action: action}
		if p.Allow(t.Context(), job) != nil {
			return
		}
		// What is allowed has its domain listed, to the letter.
		_, domain, _ := strings.Cut(job.User, "@")
		for _, listed := range p.Domains {
			if listed == domain {
				return
			}
		}
		t.Errorf("%q allows %q", text, user)
	})
}
