package actions_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// sentBody makes the call against a server that is content with anything, and gives
// the body that it sends.
func sentBody(t *testing.T, job string) (string, map[string]any) {
	t.Helper()
	g := &google{status: 200, body: "{}"}
	if _, err := do(t, newActions(t, g), "{"+job+"}"); err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(g.sent), &body); err != nil {
		t.Fatalf("%q: %v", g.sent, err)
	}
	return g.sent, body
}

// An event gets an id that says which job it is of: the same in each attempt, and no
// other job's.
func TestIDsOfEvents(t *testing.T) {
	const job = `"id":"1","user":"ada@example.com","action":"calendar.events.insert","params":{"calendarId":"primary"},"body":{ "summary":"é<", ` + tenToEleven + ` }`
	text, body := sentBody(t, job)
	id, _ := body["id"].(string)
	if !regexp.MustCompile(`^[a-v0-9]{52}$`).MatchString(id) {
		t.Errorf("the id is %q", id)
	}
	if want := `{"id":"` + id + `","summary":"é\u003c",` + tenToEleven + "}\n"; text != want {
		t.Errorf("sends %s; want %s", text, want)
	}
	if _, again := sentBody(t, job); again["id"] != id {
		t.Errorf("once more it is %q", again["id"])
	}
	seen := map[any]string{id: job}
	for _, change := range [][2]string{{`"id":"1"`, `"id":"2"`}, {"ada@", "grace@"}, {"primary", "c@example.com"}, {"é", "e"}} {
		other := strings.Replace(job, change[0], change[1], 1)
		_, body := sentBody(t, other)
		if was, ok := seen[body["id"]]; ok {
			t.Errorf("%s and %s have one id", was, other)
		}
		seen[body["id"]] = other
	}
	// The author's own stays.
	if _, body := sentBody(t, strings.Replace(job, `"summary"`, `"id":"hello2026","summary"`, 1)); body["id"] != "hello2026" {
		t.Errorf("the author's id became %v", body["id"])
	}
}

// A request that Google would know again has an id, by parameter or in the body, and
// may be made again.
func TestRequestIDs(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for job, ours := range map[string]bool{
		`"user":"ada@example.com","action":"chat.spaces.create","body":{"spaceType":"SPACE","displayName":"a"}`:                                true,
		`"user":"ada@example.com","action":"chat.spaces.messages.create","params":{"parent":"spaces/a"},"body":{"text":"x"}`:                   true,
		`"user":"ada@example.com","action":"chat.spaces.messages.create","params":{"parent":"spaces/a","requestId":"own"},"body":{"text":"x"}`: false,
		`"user":"ada@example.com","action":"chat.spaces.setup","body":{"space":{"spaceType":"SPACE","displayName":"a"}}`:                       true,
		`"user":"ada@example.com","action":"drive.drives.create","params":{"requestId":"own"},"body":{"name":"a"}`:                             false,
		`"as":"serviceAccount","action":"compute.instances.insert","params":{"project":"p","zone":"z"},"body":{"name":"a"}`:                    true,
		`"as":"serviceAccount","action":"compute.instances.insert","params":{"project":"p","zone":"z","requestId":"own"},"body":{"name":"a"}`:  false,
		`"as":"serviceAccount","action":"compute.disks.createSnapshot","params":{"project":"p","zone":"z","disk":"d"},"body":{"name":"a"}`:     true,
	} {
		g := &google{status: 200, body: "{}"}
		w := &workspace{Actions: newActions(t, g)}
		call := w.call(t, job)
		if call.Class != actions.Idempotent || !call.Kept() || call.Look() != nil {
			t.Errorf("%s: is %s, kept %v, look %v", job, call.Class, call.Kept(), call.Look())
		}
		if _, err := call.Do(t.Context(), func(*http.Request) {}); err != nil {
			t.Fatal(err)
		}
		id := g.request.URL.Query().Get("requestId")
		if id == "" {
			var body struct {
				RequestID string `json:"requestId"`
			}
			if err := json.Unmarshal([]byte(g.sent), &body); err != nil {
				t.Fatal(err)
			}
			id = body.RequestID
		}
		if ours != uuid.MatchString(id) || !ours && id != "own" {
			t.Errorf("%s: the request's id is %q", job, id)
		}
	}
	// These have none of ours: a message can be got by its author's id, and of the
	// others one request is as good as two.
	for _, job := range []string{
		`"user":"ada@example.com","action":"chat.spaces.messages.create","params":{"parent":"spaces/a","messageId":"client-1"},"body":{"text":"x"}`,
		`"as":"serviceAccount","action":"compute.instances.start","params":{"project":"p","zone":"z","instance":"i"}`,
		`"as":"serviceAccount","action":"compute.instances.list","params":{"project":"p","zone":"z"}`,
	} {
		g := &google{status: 200, body: "{}"}
		if _, err := do(t, newActions(t, g), "{"+job+"}"); err != nil || g.request.URL.Query().Has("requestId") {
			t.Errorf("%s: asks %s (%v)", job, g.request.URL, err)
		}
	}
}

// What is requested again under its id is there once, and answered alike.
func TestARequestThatIsMadeAgain(t *testing.T) {
	w := newWorkspace(t)
	job := `"user":"ada@example.com","action":"chat.spaces.create","body":{"spaceType":"SPACE","displayName":"Analytical Engine"}`
	w.fail(t, job, "", "lost")
	sameJSON(t, "the answer", w.must(t, job), w.lost)
	if got := w.count(t, `"action":"chat.spaces.list"`, "spaces"); got != 1 {
		t.Errorf("there are %d spaces", got)
	}
}

// Ids of files come from Drive, where the file can have one, for the space and type
// of what is made.
func TestIDsOfFiles(t *testing.T) {
	const editors = "application/vnd.google-apps."
	for job, want := range map[string]string{ // what Drive is asked; empty: there is no need
		`"drive.files.create","body":{"name":"a"}`:                                                              "count=1&fields=ids",
		`"drive.files.create","body":{"parents":["appDataFolder"]}`:                                             "count=1&fields=ids&space=appDataFolder",
		`"drive.files.create","body":{"mimeType":"` + editors + `folder"}`:                                      "count=1&fields=ids",
		`"drive.files.create","body":{"mimeType":"` + editors + `shortcut","shortcutDetails":{"targetId":"x"}}`: "count=1&fields=ids&type=shortcuts",
		`"drive.files.create","body":{"mimeType":"` + editors + `spreadsheet"}`:                                 "",
		`"drive.files.create","body":{"id":"1234567890"}`:                                                       "",
		`"drive.files.update","params":{"fileId":"1234567890"},"body":{"name":"a"}`:                             "",
		`"drive.permissions.create","params":{"fileId":"1"},"body":{"type":"anyone","role":"reader"}`:           "",
	} {
		g := &google{status: 200, body: `{"ids":["abcdefghij_-0123"]}`}
		w := &workspace{Actions: newActions(t, g)}
		call := w.call(t, `"user":"ada@example.com","action":`+job)
		if call.NeedsID() != (want != "") {
			t.Errorf("%s: needs an id: %v", job, call.NeedsID())
		}
		if want == "" {
			if call.UseID("abcdefghij_-0123") == nil {
				t.Errorf("%s: takes an id", job)
			}
			continue
		}
		id, err := call.NewID(t.Context(), func(*http.Request) {})
		query := g.request.URL.Query()
		query.Del("alt")
		query.Del("prettyPrint")
		if err != nil || id != "abcdefghij_-0123" || query.Encode() != want || g.request.URL.Path != "/drive/v3/files/generateIds" {
			t.Errorf("%s: %q from %s (%v)", job, id, g.request.URL, err)
		}
		if call.Look() != nil {
			t.Errorf("%s: can be looked up without an id", job)
		}
		if err := call.UseID(id); err != nil || call.NeedsID() || call.Look() == nil {
			t.Errorf("%s: does not take %q: %v", job, id, err)
		}
	}
}

// What is kept in a ledger may have been written by somebody else.
func TestIDsThatAreNone(t *testing.T) {
	w := &workspace{Actions: newActions(t, &google{status: 200, body: "{}"})}
	for _, id := range []string{"", "short", "with blank 0", "../../../drive", `"},"x":{"y":"`, "0123456789\n", "0123456789é", strings.Repeat("a", 129)} {
		call := w.call(t, `"user":"ada@example.com","action":"drive.files.create","body":{"name":"a"}`)
		if err := call.UseID(id); err == nil || !call.NeedsID() {
			t.Errorf("%q is taken", id)
		}
	}
	for _, answer := range []string{`{}`, `{"ids":[]}`, `{"ids":["0123456789","1123456789"]}`, `{"ids":["../.."]}`, `{"ids":"0123456789"}`, `[]`} {
		w := &workspace{Actions: newActions(t, &google{status: 200, body: answer})}
		id, err := w.call(t, `"user":"ada@example.com","action":"drive.files.create","body":{"name":"a"}`).NewID(t.Context(), func(*http.Request) {})
		var e *actions.Error
		if id != "" || !errors.As(err, &e) || e.Doubtful {
			t.Errorf("%s: %q, %#v", answer, id, err)
		}
	}
}

// A copy of what the editors keep can have no id of ours. That is kept like an id, so
// that whoever finds it knows that the copy may have been made.
func TestACopyThatCanHaveNoID(t *testing.T) {
	w := newWorkspace(t)
	job := `"user":"ada@example.com","action":"drive.files.copy","params":{"fileId":"{doc}"},"body":{"name":"b"}`
	w.setUp(t, &job)
	id := w.newID(t, job)
	if id == "" {
		t.Fatal("nothing is to be kept")
	}
	if _, err := w.do(t, job, id); err != nil {
		t.Errorf("the copy: %v", err)
	}
	call := w.call(t, job)
	use(t, call, id)
	if call.NeedsID() || call.Look() != nil {
		t.Errorf("it can be looked up: %v", call.Look())
	}
	// The original that is not there, or may not be seen.
	for row, status := range map[string]int{"A14": 404, "A8": 403} {
		if err := w.google.Order(sandbox.Fault{Row: row, Call: "drive.files.get", Times: 1}); err != nil {
			t.Fatal(err)
		}
		call := w.call(t, job)
		_, err := call.NewID(t.Context(), w.as(t, "ada@example.com", call.Scopes))
		var e *actions.Error
		if !errors.As(err, &e) || e.Status != status || e.Doubtful {
			t.Errorf("%s: %#v", row, err)
		}
	}
}

// Which refusals say that it was done before.
func TestDoneBefore(t *testing.T) {
	const (
		event = `"calendar.events.insert","params":{"calendarId":"c"},"body":{` + tenToEleven
		file  = `"drive.files.create","body":{"name":"a"}`
	)
	for _, c := range []struct {
		job          string
		id           string
		status       int
		plain, doubt bool // what it says without and with a doubt
	}{
		{event + `}`, "", 409, true, true},
		{event + `,"id":"hello2026"}`, "", 409, false, true},
		{event + `}`, "", 404, false, false},
		{event + `}`, "", 400, false, false},
		{file, "abcdefghij_-0123", 409, true, true},
		{file, "none", 409, false, false},
		{file, "", 409, false, false},
		{`"drive.files.create","body":{"id":"abcdefghij_-0123"}`, "", 409, false, true},
		{`"drive.drives.create","params":{"requestId":"1"},"body":{"name":"a"}`, "", 409, false, true},
		{`"chat.spaces.messages.create","params":{"parent":"spaces/a","messageId":"client-1"},"body":{"text":"x"}`, "", 409, false, true},
		{`"chat.spaces.create","body":{"spaceType":"SPACE","displayName":"a"}`, "", 409, false, false},
		{`"gmail.users.labels.create","body":{"name":"a"}`, "", 409, false, false}, // perhaps another's
		{`"gmail.users.messages.delete","params":{"id":"1"}`, "", 404, false, true},
		{`"calendar.events.delete","params":{"calendarId":"c","eventId":"e"}`, "", 410, false, true},
		{`"calendar.events.delete","params":{"calendarId":"c","eventId":"e"}`, "", 403, false, false},
		{`"calendar.events.delete","params":{"calendarId":"c","eventId":"e"}`, "", 409, false, false},
		{`"gmail.users.messages.get","params":{"id":"1"}`, "", 404, false, false},
		{`"calendar.events.patch","params":{"calendarId":"c","eventId":"e"},"body":{"summary":"x"}`, "", 404, false, false},
	} {
		w := &workspace{Actions: newActions(t, &google{})}
		call := w.call(t, `"user":"ada@example.com","action":`+c.job)
		use(t, call, c.id)
		e := &actions.Error{Status: c.status}
		if call.DoneBefore(e, false) != c.plain || call.DoneBefore(e, true) != c.doubt {
			t.Errorf("%s, HTTP %d: %v without and %v with a doubt", c.job, c.status, call.DoneBefore(e, false), call.DoneBefore(e, true))
		}
		if call.DoneBefore(&actions.Error{Status: c.status, Object: "message.uri"}, true) {
			t.Errorf("%s: is taken for done because of an object in Cloud Storage", c.job)
		}
	}
}
