package actions_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Whoever copies the example of any method has a job that can be made.
func TestEveryExamplePassesEveryCheck(t *testing.T) {
	a := newActions(t, &google{})
	methods := a.List()
	if len(methods) < 2000 {
		t.Fatalf("%d methods are listed", len(methods))
	}
	for _, m := range methods {
		d, err := a.Describe(m.ID)
		if err != nil {
			t.Errorf("%s: %v", m.ID, err)
			continue
		}
		job, err := jobs.Decode(d.Example, "1")
		if err != nil {
			t.Errorf("%s: %s: %v", m.ID, d.Example, err)
			continue
		}
		call, err := a.Prepare(t.Context(), job)
		if err != nil {
			t.Errorf("%s: %s: %v", m.ID, d.Example, err)
			continue
		}
		if len(call.Scopes) == 0 || call.Service == "" {
			t.Errorf("%s: has the scopes %q and the service %q", m.ID, call.Scopes, call.Service)
		}
		if job.As == "" {
			wantsNoMore(t, a, job.Action, call)
		}
	}
}

func TestList(t *testing.T) {
	list := newActions(t, &google{}).List()
	if !slices.IsSortedFunc(list, func(a, b actions.Summary) int { return strings.Compare(a.ID, b.ID) }) {
		t.Error("the list is not sorted")
	}
	for i, m := range list {
		switch {
		case i > 0 && m.ID == list[i-1].ID:
			t.Errorf("%s is listed twice", m.ID)
		case strings.ContainsAny(m.Summary, "\n\t") || len(m.Summary) > 400:
			t.Errorf("%s: %q is no line", m.ID, m.Summary)
		case actions.SecretAnswer(m.ID):
			t.Errorf("%s is listed, and cannot be called", m.ID)
		}
	}
}

// What is told of a method is what its jobs are checked by.
func TestDescribe(t *testing.T) {
	a := newActions(t, &google{})
	got, err := a.Describe("gmail.users.messages.insert")
	if err != nil {
		t.Fatal(err)
	}
	got.Body, got.Summary = nil, ""
	for i := range got.Params {
		got.Params[i].Summary = ""
	}
	want := &actions.Description{
		ID: "gmail.users.messages.insert", Address: "POST https://gmail.googleapis.com/gmail/v1/users/{userId}/messages",
		Params: []actions.Input{{Name: "userId", Accepts: "me, or the job's own user"}, {Name: "deleted", Accepts: "true or false"}, {Name: "internalDateSource", Accepts: "one of receivedTime, dateHeader"}},
		Takes:  "message", Accepts: []string{"message/*"}, MaxSize: 150 << 20, Scopes: []actions.ScopeChoice{{Scopes: []string{auth + "gmail.insert"}}},
		Service: "gmail.googleapis.com",
		Units:   25, Class: actions.Once, Kept: true,
		Lookup: actions.ByMessageID, LookupIf: "params.deleted is not true", LookupScopes: []string{auth + "gmail.readonly"},
		Example: []byte(`{"user":"ada@example.com","action":"gmail.users.messages.insert","params":{"internalDateSource":"dateHeader"},"body":{"labelIds":["INBOX","UNREAD"]},"message":{"compose":{"from":"People Team <people@example.com>","to":["ada@example.com"],"subject":"Willkommen","text":"Guten Tag, Ada!"}}}`),
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for id, is := range map[string]func(*actions.Description) bool{
		"drive.files.get": func(d *actions.Description) bool {
			return d.Output && !d.Pages && len(d.Scopes) == 2 && d.Scopes[1].If == ""
		},
		"drive.files.create": func(d *actions.Description) bool {
			return d.Takes == "media" && d.MaxSize > 1<<40 && d.Lookup == actions.ByID
		},
		"directory.users.list": func(d *actions.Description) bool { return d.Pages && d.Class == actions.Read && d.Body == nil },
		"directory.users.photos.update": func(d *actions.Description) bool {
			return d.Takes == "media" && !slices.ContainsFunc(d.Body, func(in actions.Input) bool { return in.Name == "photoData" })
		},
		"calendar.events.insert": func(d *actions.Description) bool {
			return slices.ContainsFunc(d.Body, func(in actions.Input) bool { return in.Name == "end" && in.Required }) && d.Params[0].Required
		},
		"sql.instances.list": func(d *actions.Description) bool {
			return strings.HasPrefix(string(d.Example), `{"as":"serviceAccount"`)
		},
		"gmail.users.messages.list": func(d *actions.Description) bool {
			return slices.Contains(accepts(d), "an array, each of its items a string")
		},
		"chat.spaces.members.list": func(d *actions.Description) bool {
			return len(d.Scopes) == 3 && d.Scopes[2].If == "" // one for each condition, and the rest
		},
	} {
		d, err := a.Describe(id)
		if err != nil || !is(d) {
			t.Errorf("%s: %+v, %v", id, d, err)
		}
	}
	for _, id := range []string{"", "gmail", "gmail.users", "drive.files.generateCseToken", "\x00"} {
		if d, err := a.Describe(id); err == nil {
			t.Errorf("%q: %+v", id, d)
		}
	}
}

func accepts(d *actions.Description) []string {
	var all []string
	for _, in := range d.Params {
		all = append(all, in.Accepts)
	}
	return all
}

// The texts that are made up for Google's patterns match them.
func TestMatching(t *testing.T) {
	patterns := map[string]bool{"^[a-v0-9]{5,100}$": true, "a|b": true, "(ab)?c*": true, "[^a-z]": true, "^customers/[^/]+/policySchemas/.*$": true}
	for _, m := range methods() {
		for _, p := range m.Params {
			if p.Type.Pattern != "" {
				patterns[p.Type.Pattern] = true
			}
		}
	}
	for pattern := range patterns {
		if text := actions.Matching(pattern); !regexp.MustCompile("^(?:"+pattern+")$").MatchString(text) || strings.Contains(text, "//") {
			t.Errorf("%s: %q", pattern, text)
		}
	}
	if text := actions.Matching("("); text != "" {
		t.Errorf("no pattern: %q", text)
	}
}

// Each glob that fits something may stand in a policy, and none that fits nothing.
func TestFits(t *testing.T) {
	ms := actions.NewMethods()
	for glob, says := range map[string]string{
		"*": "", "gmail.*": "", "gmail.users.messages.*": "", "*.users.messages.insert": "", "gm*.insert": "", "gmail.users.messages.insert": "", "*insert": "",
		"gmail.users.message.insert": "did you mean gmail.users.messages.insert?",
		"gmail.users.message.*":      "fits no method that may be called",
		"nothing.*":                  "fits no method that may be called",
		"*.nothing":                  "fits no method that may be called",
		"iam.projects.serviceAccounts.keys.create": "answers with a secret",
		"script.scripts.*":                         "fits no method that may be called",
		"":                                         "is no method",
	} {
		if err := ms.Fits(glob); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", glob, err)
		}
	}
}
