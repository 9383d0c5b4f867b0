package sandbox_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
)

// served are the methods that work.
func (b *bundle) served(t *testing.T) []*discovery.Method {
	t.Helper()
	var list struct{ Calls []string }
	if err := json.Unmarshal([]byte(b.must("GET", "/_sandbox/", nil).says(t, 200).body), &list); err != nil {
		t.Fatal(err)
	}
	table := discovery.New()
	var out []*discovery.Method
	for _, name := range list.Calls {
		if m, ok := table.Method(name); ok {
			out = append(out, m)
		}
	}
	if len(out) < 190 {
		t.Fatalf("%d methods are served", len(out))
	}
	return out
}

var (
	template = regexp.MustCompile(`\{\+?([A-Za-z0-9_]+)\}`)
	inName   = regexp.MustCompile(`\[\^/\]\+|\.\*`)
)

// sample is an address of the method with what it requires.
func sample(m *discovery.Method) (path string, query url.Values) {
	path = "/" + strings.TrimPrefix(m.Root, "https://") + template.ReplaceAllStringFunc(m.Path, func(s string) string {
		name := template.FindStringSubmatch(s)[1]
		p, _ := m.Param(name)
		switch {
		case name == "userId" && strings.HasPrefix(m.ID, "gmail."):
			return "me"
		case len(p.Type.Enum) > 0:
			return p.Type.Enum[0]
		case strings.HasPrefix(p.Type.Pattern, "^"):
			return inName.ReplaceAllString(strings.Trim(p.Type.Pattern, "^$"), "x1")
		}
		return "x1"
	})
	query = url.Values{}
	for _, p := range m.Params {
		if p.Required && p.In == "query" {
			query.Set(p.Name, "x")
		}
	}
	return path, query
}

// tokenFor opens every door of the method.
func (b *bundle) tokenFor(m *discovery.Method) string {
	b.t.Helper()
	var scopes []string
	for _, s := range m.Scopes {
		scopes = append(scopes, s.URL)
	}
	claims := b.claims(admin, scopes...)
	switch api, _, _ := strings.Cut(m.ID, "."); api {
	case "storage", "compute", "sql", "iam", "cloudresourcemanager":
		delete(claims, "sub")
	}
	return b.exchange(b.sign(claims)).says(b.t, 200).decode(b.t)["access_token"].(string)
}

// Every method that works refuses what Google would refuse: each wrong in one
// place, and otherwise as it should be.
func TestEveryMethodIsStrict(t *testing.T) {
	b := setup(t)
	narrow := b.as(ada, "gmail.settings.sharing")
	for _, m := range b.served(t) {
		path, query := sample(m)
		token := b.tokenFor(m)
		refused := func(what string, status int, token string, edit func(url.Values), body, words string) {
			t.Helper()
			q := url.Values{}
			for name := range query {
				q.Set(name, query.Get(name))
			}
			if edit != nil {
				edit(q)
			}
			var header []string
			if token != "" {
				header = bearer(token)
			}
			a := b.must(m.HTTPMethod, path+"?"+q.Encode(), body, header...)
			if a.status != status || !strings.Contains(a.body, words) {
				t.Errorf("%s: %s: %d %s; want %d %q", m.ID, what, a.status, a.body, status, words)
			}
		}
		refused("no token", 401, "", nil, "", "UNAUTHENTICATED")
		if !strings.Contains(m.ID, ".settings.") {
			refused("scope", 403, narrow, nil, "", "insufficientPermissions")
		}
		refused("unknown parameter", 400, token, func(q url.Values) { q.Set("nonsense", "1") }, "", `Unknown name \"nonsense\": Cannot bind query parameter.`)
		for _, p := range m.Params {
			if p.In != "query" {
				continue
			}
			set := func(q url.Values) { q.Set(p.Name, "nonsense") }
			switch {
			case len(p.Type.Enum) > 0:
				refused(p.Name, 400, token, set, "", "(TYPE_ENUM), \\\"nonsense\\\"")
			case p.Type.Kind == discovery.Boolean:
				refused(p.Name, 400, token, set, "", "(TYPE_BOOL), \\\"nonsense\\\"")
			case p.Type.Kind == discovery.Integer:
				refused(p.Name, 400, token, set, "", "(TYPE_")
			}
			if !p.Repeated {
				refused(p.Name+" twice", 400, token, func(q url.Values) { q[p.Name] = []string{"1", "2"} }, "", "not repeating")
			}
			if p.Required {
				refused("no "+p.Name, 400, token, func(q url.Values) { q.Del(p.Name) }, "", p.Name)
			}
		}
		if m.Response != nil {
			refused("mask", 400, token, func(q url.Values) { q.Set("fields", "nonsense") }, "", "Invalid field selection nonsense")
		}
		refused("unknown field", 400, token, nil, `{"nonsense": 1}`, `Unknown name \"nonsense\"`)
		if m.Request == nil {
			continue
		}
		refused("no JSON", 400, token, nil, `{`, "Invalid JSON payload received.")
		refused("a list", 400, token, nil, `[]`, "")
		for _, f := range m.Request.Fields {
			name, err := json.Marshal(f.Name)
			if err != nil {
				t.Fatal(err)
			}
			body := func(v string) string { return "{" + string(name) + ":" + v + "}" }
			switch {
			case f.Type.Kind == discovery.Object && f.Type.Schema.Extra == nil:
				refused(f.Name, 400, token, nil, body(`{"nonsense": 1}`), `Unknown name \"nonsense\"`)
			case f.Type.Kind == discovery.Array:
				refused(f.Name, 400, token, nil, body(`true`), "Invalid value at")
			case len(f.Type.Enum) > 0:
				refused(f.Name, 400, token, nil, body(`"nonsense"`), "(TYPE_ENUM)")
			case f.Type.Kind == discovery.Boolean:
				refused(f.Name, 400, token, nil, body(`"nonsense"`), "(TYPE_BOOL)")
			case f.Type.Kind == discovery.String && !strings.HasSuffix(f.Type.Format, "int64"):
				refused(f.Name, 400, token, nil, body(`5`), "Invalid value at")
			}
		}
	}
}

// value is one of a type, as full as it goes.
func value(t *discovery.Type, depth int) any {
	switch t.Kind {
	case discovery.Array:
		return []any{value(t.Elem, depth)}
	case discovery.Map:
		return map[string]any{"k": value(t.Elem, depth)}
	case discovery.Object:
		out := map[string]any{}
		for _, f := range t.Schema.Fields {
			if depth > 0 {
				out[f.Name] = value(f.Type, depth-1)
			}
		}
		return out
	case discovery.Boolean:
		return true
	case discovery.Integer, discovery.Number:
		if t.Min != "" {
			return json.Number(t.Min)
		}
		return 1
	default:
		return text(t)
	}
}

func text(t *discovery.Type) string {
	switch {
	case len(t.Enum) > 0:
		return t.Enum[len(t.Enum)-1]
	case t.Format == "date":
		return "2026-11-20"
	case strings.HasSuffix(t.Format, "-time") || strings.HasSuffix(t.Format, "datetime"):
		return "2026-11-20T12:00:00Z"
	case t.Format == "google-duration":
		return "1s"
	case t.Format != "" && t.Format != "google-fieldmask":
		return "1234"
	}
	return "x"
}

// Whatever is said in a body that is in order, the answer is one of Google's, and
// of the form that Discovery states.
func TestNoBodyBreaksAMethod(t *testing.T) {
	b := setup(t)
	for _, m := range b.served(t) {
		if m.Request == nil {
			continue
		}
		path, query := sample(m)
		token := bearer(b.tokenFor(m))
		whole := discovery.Type{Kind: discovery.Object, Schema: m.Request}
		nulls, lists := map[string]any{}, map[string]any{}
		for _, f := range m.Request.Fields {
			nulls[f.Name] = nil
			if f.Type.Kind == discovery.Array {
				lists[f.Name] = []any{nil}
			} else {
				lists[f.Name] = value(f.Type, 0)
			}
		}
		for _, body := range []any{nil, value(&whole, 1), value(&whole, 4), nulls, lists} {
			// In vain and then with what it may have made.
			for range 2 {
				a, err := b.do(m.HTTPMethod, path+"?"+query.Encode(), body, token...)
				if err != nil || a.status >= 500 && a.status != 501 {
					t.Errorf("%s: %v: %d %s %v", m.ID, body, a.status, a.body, err)
				}
				if strings.Contains(a.body, "Invalid value at") || strings.Contains(a.body, "Unknown name") {
					t.Errorf("%s: %s", m.ID, a.body)
				}
			}
		}
	}
}

// What is not implemented is checked too, and says its name.
func TestMethodsThatAreMissing(t *testing.T) {
	b := setup(t)
	table := discovery.New()
	served := map[string]bool{}
	for _, m := range b.served(t) {
		served[m.ID] = true
	}
	for _, id := range []string{
		"gmail.users.settings.cse.keypairs.list", "calendar.events.instances", "drive.files.export", "chat.spaces.members.create",
		"directory.users.makeAdmin", "datatransfer.applications.list", "admin.customers.chrome.printers.list", "compute.disks.list",
	} {
		m, ok := table.Method(id)
		if !ok || served[id] {
			t.Errorf("%s: in the table %v, served %v", id, ok, served[id])
			continue
		}
		path, query := sample(m)
		token := bearer(b.tokenFor(m))
		b.must(m.HTTPMethod, path+"?nonsense=1", nil, token...).says(t, 400, "Unknown name")
		b.must(m.HTTPMethod, path+"?"+query.Encode(), nil).says(t, 401)
		b.must(m.HTTPMethod, path+"?"+query.Encode(), nil, token...).says(t, 501, "sandbox: not implemented: "+id)
		if n := b.s.Calls()[id]; n != 3 {
			t.Errorf("%s was counted %d times", id, n)
		}
	}
}

// Whatever is sent, the checker answers it, and takes only JSON.
func FuzzCheck(f *testing.F) {
	b := setup(f)
	token := "Bearer " + b.as(ada, "calendar.events", "gmail.insert")
	for _, seed := range [][2]string{
		{"", `{"summary": "x", "start": {"date": "2026-01-01"}, "end": {"date": "2026-01-02"}}`},
		{"", `{"attendees": [{"email": "a"}, null], "extendedProperties": {"private": {"k": "v"}}}`},
		{"", `{"start": {"dateTime": 5}}`},
		{"", `{"attendees": {}}`},
		{"", `{"summary": [1]}`},
		{"", `{"id": "\ud800"}`},
		{"", `{"a`},
		{"", `{} {}`},
		{"", "null"},
		{"maxAttendees=9999999999999", "{}"},
		{"sendUpdates=x&conferenceDataVersion=2&supportsAttachments=maybe", "{}"},
		{"maxAttendees=1&maxAttendees=2", ""},
		{"fields=a(b", "{}"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, query, body string) {
		at := (&url.URL{Path: "/www.googleapis.com/calendar/v3/calendars/primary/events", RawQuery: query}).String()
		if _, err := url.Parse(at); err != nil {
			t.Skip()
		}
		w := b.answered(t, http.MethodPost, at, body, "Authorization", token)
		if w.Code >= 500 && w.Code != 501 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w.Code == 200 && !json.Valid([]byte(body)) {
			t.Errorf("was taken: %s", body)
		}
	})
}
