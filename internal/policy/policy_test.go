package policy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

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
		err := p.Allow(jobs.Job{User: c.user, Action: c.action})
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
		err := c.p.Allow(jobs.Job{As: jobs.AsServiceAccount, Action: c.action})
		var refusal *policy.Refusal
		switch {
		case c.reason == "" && err != nil:
			t.Errorf("%s: %v", c.action, err)
		case c.reason != "" && (!errors.As(err, &refusal) || refusal.Reason != c.reason || !strings.Contains(refusal.Fix, "serviceAccountActions")):
			t.Errorf("%s: got %#v, want %s", c.action, err, c.reason)
		}
	}
	if p.Allow(jobs.Job{User: "ada@example.com", Action: "sql.instances.list"}) == nil {
		t.Error("what the service account may do, it may do as a user, too")
	}
}

// Nothing set, nothing listed, nothing allowed.
func TestDenyByDefault(t *testing.T) {
	job := jobs.Job{User: "ada@example.com", Action: "gmail.users.messages.insert"}
	var none *policy.Policy
	var refusal *policy.Refusal
	if err := none.Allow(job); !errors.As(err, &refusal) || refusal.Reason != "noPolicy" || !strings.Contains(refusal.Fix, "ONBEHALF_POLICY") {
		t.Errorf("no policy: %#v", refusal)
	}
	for _, text := range []string{"", "# nothing\n", "{}", "domains: [example.com]", "actions: ['*']", "domains: []\nactions: []"} {
		p, err := policy.Parse([]byte(text))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if p.Allow(job) == nil {
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
	{"protectAdmins: true", "protectAdmins: true: this version cannot"},
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
	for _, text := range []string{usual, "{}", "protectAdmins: false", "serviceAccountActions: [sql.instances.list]", wrong[0].text, wrong[2].text, wrong[4].text, wrong[5].text, wrong[6].text, wrong[7].text, wrong[8].text, "when: job.user != ''", "when: ''", "when: true"} {
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
		if p.Allow(job) != nil {
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
