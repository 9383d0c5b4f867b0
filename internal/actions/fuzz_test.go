package actions_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// fuzzed are methods whose examples are whole jobs: what they need is all in them.
func fuzzed(tb testing.TB) (list []*discovery.Method, examples []map[string]any) {
	tb.Helper()
	a := newActions(tb, &google{})
	for _, m := range methods() {
		if strings.HasPrefix(m.ID, "compute.") && !strings.Contains(m.Path, "{+") {
			continue // there are so many, and all alike
		}
		d, err := a.Describe(m.ID)
		if err != nil {
			continue
		}
		var job map[string]any
		if err := json.Unmarshal(d.Example, &job); err != nil {
			tb.Fatal(err)
		}
		if job["message"] == nil && job["media"] == nil && job["output"] == nil {
			list, examples = append(list, m), append(examples, job)
		}
	}
	return list, examples
}

// addressed reads from an address what stands in the places of its template. raw
// are the values as they are written there.
func addressed(template, path string) (raw map[string]string, ok bool) {
	place := regexp.MustCompile(`\{(\+?)([A-Za-z0-9_]+)\}`)
	var pattern strings.Builder
	var names []string
	at := 0
	for _, found := range place.FindAllStringSubmatchIndex(template, -1) {
		pattern.WriteString(regexp.QuoteMeta(template[at:found[0]]))
		names = append(names, template[found[4]:found[5]])
		if found[2] == found[3] {
			pattern.WriteString("([^/]*)")
		} else {
			pattern.WriteString("(.*)")
		}
		at = found[1]
	}
	pattern.WriteString(regexp.QuoteMeta(template[at:]))
	groups := regexp.MustCompile("^(?s)" + pattern.String() + "$").FindStringSubmatch(path)
	if groups == nil {
		return nil, false
	}
	raw = map[string]string{}
	for i, name := range names {
		raw[name] = groups[i+1]
	}
	return raw, true
}

// Whatever passes the checks stands in the address as it was given: on the method's
// own host and path, and nothing of it is taken for anything else.
func FuzzAddress(f *testing.F) {
	list, examples := fuzzed(f)
	index := func(id string) uint {
		return uint(max(0, slices.IndexFunc(list, func(m *discovery.Method) bool { return m.ID == id })))
	}
	for _, id := range []string{
		"gmail.users.messages.get", "gmail.users.settings.sendAs.get", "calendar.events.get", "drive.files.list", "people.people.get", "directory.orgunits.get",
		"compute.reservationSlots.get", "cloudresourcemanager.operations.get", "chat.spaces.messages.list", "storage.objects.get", "sheets.spreadsheets.values.get",
	} {
		for _, value := range []string{"a", "a/b", "../..", "%2e%2e/%2F", "a?b=c#d", "é\u2028&=+ ;", "@host:80//x", "{x}", "a:b", "\\..\\", "people/a?b", "spaces/é#", "operations/a?/%2f", "a\x00", "\xff"} {
			f.Add(index(id), value, "b/"+value, value)
		}
	}
	g := &google{status: 200, body: "{}"}
	a := newActions(f, g)
	f.Fuzz(func(t *testing.T, n uint, first, second, query string) {
		for _, text := range []string{first, second, query} {
			if !utf8.ValidString(text) {
				t.Skip("what is no UTF-8 is no JSON")
			}
		}
		at := int(n % uint(len(list)))
		m := list[at]
		given, wantQuery := map[string]any{}, url.Values{"alt": {"json"}, "prettyPrint": {"false"}}
		wantPath := map[string]string{}
		old, _ := examples[at]["params"].(map[string]any)
		values := []string{first, second}
		for _, p := range m.Params {
			plain := p.Type.Kind == discovery.String && p.Type.Format == "" && p.Type.Enum == nil
			switch {
			case p.In == "path" && p.Name == "userId":
				wantPath[p.Name] = "me"
			case p.In == "path" && plain && len(values) > 0:
				given[p.Name], wantPath[p.Name] = values[0], values[0]
				values = values[1:]
			case p.In == "path":
				given[p.Name] = old[p.Name]
				wantPath[p.Name] = fmt.Sprint(old[p.Name])
			case plain && p.Type.Pattern == "" && p.Repeated:
				given[p.Name], wantQuery[p.Name] = []string{query, "x"}, []string{query, "x"}
			case plain && p.Type.Pattern == "":
				given[p.Name], wantQuery[p.Name] = query, []string{query}
			case old[p.Name] != nil:
				given[p.Name] = old[p.Name]
				wantQuery[p.Name] = nil
			}
		}
		job := map[string]any{"user": "ada@example.com", "action": m.ID, "params": given}
		if examples[at]["body"] != nil {
			job["body"] = examples[at]["body"]
		}
		text, err := json.Marshal(job)
		if err != nil {
			t.Fatal(err)
		}
		g.request = nil
		decoded, err := jobs.Decode(text, "1")
		if err != nil {
			t.Skip(err) // too long
		}
		if call, err := a.Prepare(t.Context(), decoded); err != nil {
			_ = refusal(t, a, string(text))
			return
		} else if _, err := call.Do(t.Context(), nobody); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		u, err := url.Parse("https://" + g.request.URL.Host + g.request.URL.RequestURI())
		if err != nil || m.Root+m.Path == "" || "https://"+u.Host+"/" != m.Root && !strings.HasPrefix(m.Root, "https://"+u.Host+"/") || u.Fragment != "" {
			t.Fatalf("%s: %s: %v", text, u, err)
		}
		raw, ok := addressed("/"+m.Path, u.EscapedPath())
		if !ok {
			t.Fatalf("%s: %s is not of the form %s", text, u.EscapedPath(), m.Path)
		}
		for name, want := range wantPath {
			got, err := url.PathUnescape(raw[name])
			slashes := 0
			if strings.Contains(m.Path, "{+"+name+"}") {
				slashes = strings.Count(want, "/")
			}
			if err != nil || got != want || strings.Count(raw[name], "/") != slashes {
				t.Errorf("%s: %s has %s for %s, which is %q", text, u, raw[name], name, got)
			}
		}
		sent, err := url.ParseQuery(u.RawQuery)
		if err != nil {
			t.Fatalf("%s: %s: %v", text, u, err)
		}
		for name, want := range wantQuery {
			if want != nil && !slices.Equal(sent[name], want) {
				t.Errorf("%s: %s has %q for %s", text, u, sent[name], name)
			}
			delete(sent, name)
		}
		if len(sent) > 0 {
			t.Errorf("%s: %s has %v, too", text, u, sent)
		}
	})
}

// Of a body a second checker says the same, one that knows nothing of the first.
func FuzzBody(f *testing.F) {
	var list []*discovery.Method
	for _, id := range []string{
		"gmail.users.messages.modify", "gmail.users.settings.updateVacation", "gmail.users.settings.filters.create", "gmail.users.labels.create",
		"calendar.events.insert", "drive.files.create", "docs.documents.batchUpdate", "sheets.spreadsheets.values.update", "sheets.spreadsheets.batchUpdate",
		"people.people.createContact", "directory.users.insert", "classroom.courses.create", "datastore.projects.runQuery", "sql.instances.insert",
		"calendar.acl.insert", "people.people.updateContactPhoto",
	} {
		m, ok := discovery.New().Method(id)
		if !ok {
			f.Fatal(id)
		}
		list = append(list, m)
		for _, body := range []string{`{}`, `{"name":null}`, `{"name":1}`, `{"x":1}`, `[]`, `{"id":{"a":[{}]}}`} {
			f.Add(uint(len(list)-1), body)
		}
		f.Add(uint(len(list)-1), string(marshalled(f, object(m.Request, 2))))
	}
	for n, body := range map[uint]string{
		0: `{"addLabelIds":["a",null]}`, 1: `{"startTime":-9223372036854775808,"endTime":"007","restrictToDomain":"true"}`, 2: `{"criteria":{"size":-0}}`,
		3: `{"color":{"textColor":[]},"labelListVisibility":"labelShow"}`, 4: `{"start":{"date":"2024-02-29","dateTime":"2026-11-30T23:59:59.5-08:00"},"end":{},"attendees":[{"email":"é"}]}`,
		5: `{"createdTime":"2026-11-30T00:00:00","properties":{"a":"b","c":null}}`, 7: `{"values":[[1e3,"x",null,{"a":[true]}]]}`, 10: `{"customSchemas":{"a":{"b":{"c":1}}}}`,
		12: `{"query":{"limit":5}}`, 15: `{"photoBytes":"YQ=="}`,
	} {
		f.Add(n, body)
	}
	a := newActions(f, &google{})
	f.Fuzz(func(t *testing.T, n uint, body string) {
		m := list[n%uint(len(list))]
		d, err := a.Describe(m.ID)
		if err != nil {
			t.Fatal(err)
		}
		job, err := jobs.Decode(d.Example, "1")
		if err != nil {
			t.Fatal(err)
		}
		job.Media = nil
		whole, err := jobs.Decode([]byte(`{"user":"ada@example.com","action":"x.y","body":`+body+`}`), "1")
		if err != nil || whole.Params != nil || whole.Message != nil || whole.Media != nil || whole.Output != "" || whole.Pages != nil || whole.Action != "x.y" {
			t.Skip("another job, or none")
		}
		job.Body = whole.Body
		decoder := json.NewDecoder(strings.NewReader(body))
		decoder.UseNumber()
		var value any
		if err := decoder.Decode(&value); err != nil {
			t.Skip(err)
		}
		_, err = a.Prepare(t.Context(), job)
		if err != nil && !strings.HasPrefix(err.Error(), "body") {
			t.Fatalf("%s: %v", body, err)
		}
		if good := isObject(m.ID, m.Request, value); good != (err == nil) {
			t.Errorf("%s: %s: %v; the other checker says %t", m.ID, body, err, good)
		}
	})
}

func marshalled(tb testing.TB, v any) []byte {
	tb.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// isObject tells whether a value is one of the schema, of a request of the method.
func isObject(method string, s *discovery.Schema, value any) bool {
	members, ok := value.(map[string]any)
	for _, f := range s.Fields {
		ok = ok && (!actions.Needs(method, f) || members[f.Name] != nil)
	}
	for name, member := range members {
		typ := s.Extra
		for _, f := range s.Fields {
			if f.Name == name {
				typ = f.Type
			}
		}
		ok = ok && typ != nil && (member == nil || isValue(method, typ, member))
	}
	return ok
}

func isValue(method string, typ *discovery.Type, value any) bool {
	switch typ.Kind {
	case discovery.Any:
		return true
	case discovery.Object:
		return isObject(method, typ.Schema, value)
	case discovery.Map:
		members, ok := value.(map[string]any)
		for _, member := range members {
			ok = ok && (member == nil || isValue(method, typ.Elem, member))
		}
		return ok
	case discovery.Array:
		items, ok := value.([]any)
		for _, item := range items {
			ok = ok && isValue(method, typ.Elem, item)
		}
		return ok
	case discovery.Boolean:
		_, ok := value.(bool)
		return ok
	case discovery.Number:
		n, ok := value.(json.Number)
		_, err := n.Float64()
		return ok && err == nil
	case discovery.Integer:
		n, ok := value.(json.Number)
		return ok && isWhole(n.String(), typ)
	default:
		return isText(typ, value)
	}
}

// isWhole tells whether a text is an integer that the type's format holds.
func isWhole(text string, typ *discovery.Type) bool {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok || strings.ContainsAny(text, "+_") {
		return false
	}
	bits := uint(32)
	if strings.Contains(typ.Format, "64") {
		bits = 64
	}
	least, most := new(big.Int).Neg(new(big.Int).Lsh(big.NewInt(1), bits-1)), new(big.Int).Lsh(big.NewInt(1), bits-1)
	if strings.HasPrefix(typ.Format, "u") {
		if strings.HasPrefix(text, "-") {
			return false
		}
		least, most = big.NewInt(0), new(big.Int).Lsh(big.NewInt(1), bits)
	}
	if n.Cmp(least) < 0 || n.Cmp(most) >= 0 {
		return false
	}
	if bound, ok := new(big.Int).SetString(typ.Min, 10); ok && n.Cmp(bound) < 0 {
		return false
	}
	bound, ok := new(big.Int).SetString(typ.Max, 10)
	return !ok || n.Cmp(bound) <= 0
}

func isText(typ *discovery.Type, value any) bool {
	text, ok := value.(string)
	if strings.HasSuffix(typ.Format, "int64") {
		if n, isNumber := value.(json.Number); isNumber {
			text, ok = n.String(), true
		}
		return ok && isWhole(text, typ)
	}
	if !ok || typ.Enum != nil && !slices.Contains(typ.Enum, text) {
		return false
	}
	switch typ.Format {
	case "byte":
		if strings.ContainsAny(text, "\r\n") {
			return false
		}
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding} {
			if _, err := encoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(text)); err == nil {
				return true
			}
		}
		return false
	case "date":
		day, err := time.Parse("2006-01-02", text)
		return err == nil && day.Format("2006-01-02") == text
	case "date-time", "google-datetime":
		if len(text) < 19 || typ.Format == "google-datetime" && len(text) == 19 {
			return false
		}
		_, err := time.Parse("2006-01-02T15:04:05", text[:19])
		rest := regexp.MustCompile(`^(\.[0-9]{1,9})?(Z|[+-]([0-9]{2}):([0-9]{2}))$`).FindStringSubmatch(text[19:])
		if rest == nil {
			return err == nil && typ.Format == "date-time" && regexp.MustCompile(`^(\.[0-9]{1,9})?$`).MatchString(text[19:])
		}
		hours, _ := strconv.Atoi(rest[3])
		minutes, _ := strconv.Atoi(rest[4])
		return err == nil && hours <= 24 && minutes <= 60
	case "google-duration":
		return regexp.MustCompile(`^-?\d+(\.\d{1,9})?s$`).MatchString(text)
	case "google-fieldmask":
		return !strings.ContainsFunc(text, func(r rune) bool {
			return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.,*/() \t\n\f\r-", r)
		})
	}
	return typ.Pattern == "" || regexp.MustCompile(`\A(?:`+typ.Pattern+`)\z`).MatchString(text)
}

// Whatever stands in fields, it is accepted for an event where it is accepted below
// the items of a list of events, and the other way round.
func FuzzFields(f *testing.F) {
	for _, fields := range []string{"*", "id", "id,organizer(email)", "organizer/email", "organizer.email", "attendees(email,id", "x", "id)", "a,,b", " id , etag ", "extendedProperties/private/x/y", "*(*(*))", "id),kind,items(id"} {
		f.Add(fields)
	}
	a := newActions(f, &google{})
	f.Fuzz(func(t *testing.T, fields string) {
		if !utf8.ValidString(fields) || strings.Count(fields, "(") > 30 {
			t.Skip("no UTF-8, or too deep for the one and not for the other")
		}
		one := refusal(t, a, string(marshalled(t, map[string]any{"user": "ada@example.com", "action": "calendar.events.get", "params": map[string]any{"calendarId": "c", "eventId": "e", "fields": fields}})))
		list := refusal(t, a, string(marshalled(t, map[string]any{"user": "ada@example.com", "action": "calendar.events.list", "params": map[string]any{"calendarId": "c", "fields": "items(" + fields + ")"}})))
		if (one == "") != (list == "") && !strings.Contains(fields, ")") {
			t.Errorf("%q: of one event: %s; of a list: %s", fields, one, list)
		}
		if one == "" && strings.Count(fields, "(") != strings.Count(fields, ")") {
			t.Errorf("%q is accepted", fields)
		}
	})
}

func nobody(*http.Request) {}
