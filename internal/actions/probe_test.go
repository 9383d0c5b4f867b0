package actions_test

import (
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
)

const scopes = "https://www.googleapis.com/auth/"

// Whoever looks whether an API takes a token reads what the token permits.
func TestProbe(t *testing.T) {
	for _, c := range []struct {
		action, scope string
		want          string // empty: none
		permitted     bool
	}{
		{"gmail.users.messages.list", "gmail.metadata", "gmail.users.getProfile", true},
		{"gmail.users.labels.create", "gmail.labels", "gmail.users.labels.list", true},
		{"gmail.users.settings.updateVacation", "gmail.settings.basic", "gmail.users.settings.getVacation", true},
		{"gmail.users.messages.insert", "gmail.insert", "gmail.users.getProfile", false},
		{"calendar.events.insert", "calendar.events", "calendar.events.list", true},
		{"directory.users.list", "admin.directory.user.readonly", "directory.users.get", true},
		{"drive.files.create", "drive.file", "drive.about.get", true},
		{"people.people.connections.list", "contacts.readonly", "people.people.get", true},
		{"tasks.tasks.list", "tasks.readonly", "tasks.tasklists.list", true},
		{"chat.spaces.messages.create", "chat.messages.create", "chat.spaces.list", false},
		{"classroom.courses.list", "classroom.courses.readonly", "classroom.courses.list", true},
		{"sheets.spreadsheets.get", "spreadsheets.readonly", "", false},
		{"nothing.at.all", "gmail.insert", "", false},
	} {
		got, ok := actions.NewMethods().Probe(c.action, "ada@example.com", []string{scopes + c.scope})
		if ok != (c.want != "") || got.Job.Action != c.want || got.Permitted != c.permitted {
			t.Errorf("%s with %s: %s, permitted %v; want %q, %v", c.action, c.scope, got.Job.Action, got.Permitted, c.want, c.permitted)
		}
	}
}

// A probe only reads, and can be made for each method that there is.
func TestEveryProbeCanBeMade(t *testing.T) {
	a := newActions(t, &google{})
	seen := make(map[string]bool)
	for _, m := range a.List() {
		d, err := a.Describe(m.ID)
		if err != nil {
			t.Fatal(err)
		}
		p, ok := a.Probe(m.ID, "ada@example.com", d.Scopes[len(d.Scopes)-1].Scopes)
		if !ok || seen[p.Job.Action] {
			continue
		}
		seen[p.Job.Action] = true
		call, err := a.Prepare(t.Context(), p.Job)
		if err != nil || call.Class != actions.Read {
			t.Errorf("%s for %s: %v, %+v", p.Job.Action, m.ID, err, call)
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d probes", len(seen))
	}
}
