package discovery_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
)

func TestMethodHasWhatTheDocumentStates(t *testing.T) {
	m, ok := discovery.New().Method("gmail.users.messages.insert")
	if !ok {
		t.Fatal("there is no gmail.users.messages.insert")
	}
	if m.HTTPMethod != "POST" || m.Root+m.Path != "https://gmail.googleapis.com/gmail/v1/users/{userId}/messages" {
		t.Errorf("is %s %s%s", m.HTTPMethod, m.Root, m.Path)
	}
	const auth = "https://www.googleapis.com/auth/"
	if want := []string{"https://mail.google.com/", auth + "gmail.insert", auth + "gmail.modify"}; !slices.EqualFunc(m.Scopes, want, func(s discovery.Scope, url string) bool { return s.URL == url }) {
		t.Errorf("has the scopes %v; want %q", m.Scopes, want)
	}
	if all, insert := m.Scopes[0].Opens, m.Scopes[1].Opens; insert != 2 || all < 30 {
		t.Errorf("gmail.insert opens %d methods and all of Gmail %d; want 2 and far more", insert, all)
	}
	wantUpload := &discovery.Upload{
		Accept: []string{"message/*"}, MaxSize: 150 << 20,
		Simple: "upload/gmail/v1/users/{userId}/messages", Resumable: "resumable/upload/gmail/v1/users/{userId}/messages",
	}
	if d := cmp.Diff(wantUpload, m.Upload); d != "" {
		t.Errorf("upload (-want +got):\n%s", d)
	}
	source, ok := m.Param("internalDateSource")
	if !ok || source.In != "query" || source.Required || source.Default != "receivedTime" || !slices.Equal(source.Type.Enum, []string{"receivedTime", "dateHeader"}) {
		t.Errorf("internalDateSource is %+v", source)
	}
	if user := m.Params[0]; user.Name != "userId" || user.In != "path" || !user.Required {
		t.Errorf("the first parameter is %+v; want userId, of the path and required", user)
	}
}

func TestSchemasReachDown(t *testing.T) {
	m, _ := discovery.New().Method("gmail.users.messages.get")
	payload, ok := m.Response.Field("payload")
	if !ok {
		t.Fatal("a Message has no payload")
	}
	parts, ok := payload.Type.Schema.Field("parts")
	if !ok || parts.Type.Kind != discovery.Array || parts.Type.Elem.Schema != payload.Type.Schema {
		t.Errorf("the parts of a MessagePart are not MessageParts: %+v", parts)
	}
	if history, _ := m.Response.Field("historyId"); history.Type.Format != "uint64" {
		t.Errorf("historyId is of format %q; want uint64", history.Type.Format)
	}
	insert, _ := discovery.New().Method("calendar.events.insert")
	if end, _ := insert.Request.Field("end"); !slices.Contains(end.RequiredBy, insert.ID) {
		t.Errorf("end is required by %q; want %s among them", end.RequiredBy, insert.ID)
	}
	// An object without a name of its own, below a map.
	private, _ := insert.Request.Field("extendedProperties")
	if f, ok := private.Type.Schema.Field("private"); !ok || f.Type.Kind != discovery.Map || f.Type.Elem.Kind != discovery.String {
		t.Errorf("extendedProperties.private is %+v; want a map of strings", f)
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	table := discovery.New()
	for _, id := range []string{"", "gmail", "gmail.", "gmail.users.messages.insert.", "gmail.users.messages.Insert", "nothing.at.all", "../facts/gmail"} {
		if m, ok := table.Method(id); ok {
			t.Errorf("%q: found %s", id, m.ID)
		}
	}
}

// All that Google states must be in a form that the checks can work with.
func TestAllFactsAreOfKnownForms(t *testing.T) {
	table := discovery.New()
	formats := []string{"", "int32", "uint32", "int64", "uint64", "float", "double", "byte", "date", "date-time", "google-datetime", "google-duration", "google-fieldmask"}
	placeholder := regexp.MustCompile(`\{\+?([A-Za-z0-9_]+)\}`)
	seen := map[*discovery.Schema]bool{}
	var checkType func(where string, typ *discovery.Type)
	checkSchema := func(s *discovery.Schema) {
		if s == nil || seen[s] {
			return
		}
		seen[s] = true
		if s.Extra != nil {
			checkType(s.Name, s.Extra)
		}
		for _, f := range s.Fields {
			checkType(s.Name+"."+f.Name, f.Type)
		}
	}
	checkType = func(where string, typ *discovery.Type) {
		switch typ.Kind {
		case discovery.Object:
			checkSchema(typ.Schema)
			return
		case discovery.Array, discovery.Map:
			checkType(where, typ.Elem)
			return
		default:
		}
		if !slices.Contains(formats, typ.Format) {
			t.Errorf("%s: is of format %q", where, typ.Format)
		}
		if _, err := regexp.Compile(typ.Pattern); err != nil {
			t.Errorf("%s: %v", where, err)
		}
	}
	methods := 0
	for _, name := range table.Names() {
		api, _ := table.API(name)
		if api.Name != name {
			t.Errorf("%s: is called %s", name, api.Name)
		}
		for i, m := range api.Methods {
			methods++
			if found, ok := table.Method(m.ID); !ok || found != m {
				t.Errorf("%s: is not found (method %d)", m.ID, i)
			}
			for _, v := range placeholder.FindAllStringSubmatch(m.Path, -1) {
				if p, ok := m.Param(v[1]); !ok || p.In != "path" || !p.Required {
					t.Errorf("%s: {%s} in the path is no required parameter of the path", m.ID, v[1])
				}
			}
			if strings.ContainsAny(placeholder.ReplaceAllString(m.Path, ""), "{}") {
				t.Errorf("%s: %s is a template of another form", m.ID, m.Path)
			}
			for _, p := range m.Params {
				checkType(m.ID+" "+p.Name, p.Type)
				if p.In == "path" && !strings.Contains(m.Path, "{"+p.Name+"}") && !strings.Contains(m.Path, "{+"+p.Name+"}") {
					t.Errorf("%s: %s is not in the path %s", m.ID, p.Name, m.Path)
				}
			}
			checkSchema(m.Request)
			checkSchema(m.Response)
		}
	}
	if methods < 2000 {
		t.Errorf("there are %d methods; far more are expected", methods)
	}
}

// An API's facts are read when a job first names it: that job waits for it.
func BenchmarkLoad(b *testing.B) {
	for _, name := range []string{"gmail", "directory", "compute"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := discovery.New().API(name); !ok {
					b.Fatal("is not there")
				}
			}
		})
	}
}

func TestServicesHaveNamesOfTheirOwn(t *testing.T) {
	table := discovery.New()
	for id, want := range map[string]string{
		"gmail.users.messages.insert":      "gmail.googleapis.com",
		"calendar.events.insert":           "calendar-json.googleapis.com",
		"drive.files.list":                 "drive.googleapis.com",
		"directory.users.list":             "admin.googleapis.com",
		"groupsSettings.groups.get":        "groupssettings.googleapis.com",
		"siteVerification.webResource.get": "siteverification.googleapis.com",
	} {
		if m, ok := table.Method(id); !ok || m.Service() != want {
			t.Errorf("%s: found %v, of %s; want %s", id, ok, m.Service(), want)
		}
	}
	for _, name := range table.Names() {
		api, _ := table.API(name)
		for _, m := range api.Methods {
			if m.Service() == "www.googleapis.com" {
				t.Errorf("%s: is of a host that many share, which is no service", m.ID)
			}
		}
	}
}
