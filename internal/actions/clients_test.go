package actions_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode"

	admindirectory "google.golang.org/api/admin/directory/v1"
	reports "google.golang.org/api/admin/reports/v1"
	"google.golang.org/api/calendar/v3"
	"google.golang.org/api/chat/v1"
	"google.golang.org/api/classroom/v1"
	"google.golang.org/api/cloudidentity/v1"
	"google.golang.org/api/cloudresourcemanager/v3"
	"google.golang.org/api/docs/v1"
	"google.golang.org/api/drive/v3"
	"google.golang.org/api/driveactivity/v2"
	"google.golang.org/api/forms/v1"
	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/groupssettings/v1"
	"google.golang.org/api/iam/v1"
	"google.golang.org/api/keep/v1"
	"google.golang.org/api/licensing/v1"
	"google.golang.org/api/meet/v2"
	"google.golang.org/api/option"
	"google.golang.org/api/people/v1"
	"google.golang.org/api/script/v1"
	"google.golang.org/api/sheets/v4"
	"google.golang.org/api/slides/v1"
	"google.golang.org/api/sqladmin/v1"
	"google.golang.org/api/storage/v1"
	"google.golang.org/api/tasks/v1"
	"google.golang.org/api/vault/v1"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
)

// clients are Google's generated clients, by what their method ids begin with.
func clients(t *testing.T, through http.RoundTripper) map[string]any {
	t.Helper()
	opts := []option.ClientOption{option.WithHTTPClient(&http.Client{Transport: through}), option.WithLogger(slog.New(slog.DiscardHandler))}
	all := map[string]any{}
	add := func(name string, service any, err error) {
		if err != nil {
			t.Fatal(err)
		}
		all[name] = service
	}
	ctx := t.Context()
	one := func(name string) func(any, error) { return func(s any, err error) { add(name, s, err) } }
	one("directory")(admindirectory.NewService(ctx, opts...))
	one("reports")(reports.NewService(ctx, opts...))
	one("calendar")(calendar.NewService(ctx, opts...))
	one("chat")(chat.NewService(ctx, opts...))
	one("classroom")(classroom.NewService(ctx, opts...))
	one("cloudidentity")(cloudidentity.NewService(ctx, opts...))
	one("cloudresourcemanager")(cloudresourcemanager.NewService(ctx, opts...))
	one("docs")(docs.NewService(ctx, opts...))
	one("drive")(drive.NewService(ctx, opts...))
	one("driveactivity")(driveactivity.NewService(ctx, opts...))
	one("forms")(forms.NewService(ctx, opts...))
	one("gmail")(gmail.NewService(ctx, opts...))
	one("groupsSettings")(groupssettings.NewService(ctx, opts...))
	one("keep")(keep.NewService(ctx, opts...))
	one("licensing")(licensing.NewService(ctx, opts...))
	one("meet")(meet.NewService(ctx, opts...))
	one("people")(people.NewService(ctx, opts...))
	one("script")(script.NewService(ctx, opts...))
	one("sheets")(sheets.NewService(ctx, opts...))
	one("slides")(slides.NewService(ctx, opts...))
	one("iam")(iam.NewService(ctx, opts...))
	one("storage")(storage.NewService(ctx, opts...))
	one("sql")(sqladmin.NewService(ctx, opts...))
	one("tasks")(tasks.NewService(ctx, opts...))
	one("vault")(vault.NewService(ctx, opts...))
	return all
}

// otherName are the methods that the client calls something else.
var otherName = map[string]bool{
	"cloudresourcemanager.fetchResourceSemantics":      true,
	"sql.connect.generateEphemeral":                    true,
	"storage.buckets.operations.advanceRelocateBucket": true,
	"storage.buckets.operations.cancel":                true,
	"storage.buckets.operations.get":                   true,
	"storage.buckets.operations.list":                  true,
	"storage.objects.viewFullContext":                  true,
}

// The request for every method of these APIs, with all its parameters and a body,
// is byte for byte that of Google's generated client for Go.
func TestRequestsAreThoseOfGooglesClients(t *testing.T) {
	theirs, ours := &google{status: 200, body: "{}"}, &google{status: 200, body: "{}"}
	services := clients(t, theirs)
	a := newActions(t, ours)
	table := discovery.New()
	compared := 0
	for name, service := range services {
		api, _ := table.API(name)
		for _, m := range api.Methods {
			d, err := a.Describe(m.ID)
			if err != nil || d.Takes == "message" || m.ID == "chat.media.upload" || m.ID == "storage.objects.insert" || m.Download && m.Response == nil {
				continue // what may not be called, and uploads and downloads, which have tests of their own
			}
			job := fullJob(t, m, d.Example)
			if otherName[m.ID] {
				continue
			}
			call, err := clientCall(reflect.ValueOf(service), m, job)
			if err != nil {
				t.Errorf("%s: %v", m.ID, err)
				continue
			}
			*ours, *theirs = google{status: 200, body: "{}"}, google{status: 200, body: "{}"}
			_ = call.MethodByName("Do").Call(nil)
			text, err := json.Marshal(job)
			if err != nil {
				t.Fatal(err)
			}
			_, err = do(t, a, string(text))
			if ours.request == nil || theirs.request == nil {
				t.Errorf("%s: %s: no request of ours or of theirs: %v", m.ID, text, err)
				continue
			}
			compared++
			if got, want := written(t, ours), written(t, theirs); got != want {
				t.Errorf("%s\nours:   %s\ntheirs: %s", m.ID, got, want)
			}
		}
	}
	t.Logf("%d methods of %d APIs", compared, len(services))
	if compared < 700 {
		t.Errorf("only %d requests were compared", compared)
	}
}

// So are those with media, in one part or in two.
func TestUploadsAreThoseOfGooglesClients(t *testing.T) {
	theirs, ours := &google{}, &google{}
	client := option.WithHTTPClient(&http.Client{Transport: theirs})
	mail, err := gmail.NewService(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	files, err := drive.NewService(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	const letter = "Message-ID: <1@x>\r\nSubject: h\xe9\r\n\r\n--x\r\nbody\r\n"
	raw := base64.URLEncoding.EncodeToString([]byte(letter))
	media := func() io.Reader { return strings.NewReader(letter) }
	asLetter := googleapi.ContentType("message/rfc822")
	for _, c := range []struct {
		job  string
		call func() error
	}{
		{`"gmail.users.messages.insert","message":{"raw":"` + raw + `"},"params":{"internalDateSource":"dateHeader"},"body":{"labelIds":["A&B"]}`, func() error {
			_, err := mail.Users.Messages.Insert("me", &gmail.Message{LabelIds: []string{"A&B"}}).InternalDateSource("dateHeader").Media(media(), asLetter).Do()
			return err
		}},
		{`"gmail.users.messages.import","message":{"raw":"` + raw + `"},"params":{"neverMarkSpam":true}`, func() error {
			_, err := mail.Users.Messages.Import("me", &gmail.Message{}).NeverMarkSpam(true).Media(media(), asLetter).Do()
			return err
		}},
		{`"gmail.users.messages.send","message":{"raw":"` + raw + `"},"body":{"threadId":"t"}`, func() error {
			_, err := mail.Users.Messages.Send("me", &gmail.Message{ThreadId: "t"}).Media(media(), asLetter).Do()
			return err
		}},
		{`"gmail.users.drafts.update","message":{"raw":"` + raw + `"},"params":{"id":"r1"},"body":{"message":{"threadId":"t"}}`, func() error {
			_, err := mail.Users.Drafts.Update("me", "r1", &gmail.Draft{Message: &gmail.Message{ThreadId: "t"}}).Media(media(), asLetter).Do()
			return err
		}},
		{`"drive.files.create","media":{"data":"` + raw + `","contentType":"text/plain; charset=latin1"},"body":{"name":"a"},"params":{"fields":"id"}`, func() error {
			_, err := files.Files.Create(&drive.File{Name: "a"}).Fields("id").Media(media(), googleapi.ContentType("text/plain; charset=latin1")).Do()
			return err
		}},
	} {
		*ours, *theirs = google{status: 200, body: "{}"}, google{status: 200, body: "{}"}
		if _, err := do(t, newActions(t, ours), `{"user":"ada@example.com","action":`+c.job+`}`); err != nil {
			t.Errorf("%s: %v", c.job, err)
			continue
		}
		if err := c.call(); err != nil {
			t.Fatal(err)
		}
		if got, want := written(t, ours), written(t, theirs); got != want {
			t.Errorf("%s\nours:   %s\ntheirs: %s", c.job, got, want)
		}
	}
	// Where there is no body the media goes alone, as Google documents it; the client
	// puts an empty part before it.
	*ours = google{status: 200, body: "{}"}
	if _, err := do(t, newActions(t, ours), `{"user":"ada@example.com","action":"groupsmigration.archive.insert","message":{"raw":"`+raw+`"},"params":{"groupId":"g@example.com"}}`); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("POST https://groupsmigration.googleapis.com/upload/groups/v1/groups/g%%40example.com/archive?alt=json&prettyPrint=false&uploadType=media message/rfc822 %q", letter); written(t, ours) != want {
		t.Errorf("\nours: %s\nwant: %s", written(t, ours), want)
	}
}

// And so are the requests of jobs as people write them.
func TestJobsOfManyMethodsAreThoseOfGooglesClients(t *testing.T) {
	theirs, ours := &google{}, &google{}
	services := clients(t, theirs)
	a, table := newActions(t, ours), discovery.New()
	text, err := os.ReadFile("examples/runnable.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	methods, apis := 0, map[string]bool{}
	for line := range strings.Lines(string(text)) {
		var job map[string]any
		if err := json.Unmarshal([]byte(line), &job); err != nil {
			t.Fatal(err)
		}
		id, _ := job["action"].(string)
		m, _ := table.Method(id)
		name, _, _ := strings.Cut(id, ".")
		if services[name] == nil || job["message"] != nil || job["media"] != nil {
			continue // a client that takes minutes to compile; uploads have the test above
		}
		params, ok := job["params"].(map[string]any)
		if !ok {
			params = map[string]any{}
			job["params"] = params
		}
		if _, ok := m.Param("userId"); ok && m.Params[0].Name == "userId" {
			params["userId"] = "me"
		}
		if _, ok := m.Param("requestId"); ok {
			params["requestId"] = "1" // otherwise there would be one of ours
		}
		delete(job, "pages") // the first of them
		*ours, *theirs = google{status: 200, body: "{}"}, google{status: 200, body: "{}"}
		call, err := clientCall(reflect.ValueOf(services[name]), m, job)
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		_ = call.MethodByName("Do").Call(nil)
		whole, err := json.Marshal(job)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = do(t, a, string(whole))
		if ours.request == nil || theirs.request == nil {
			t.Errorf("%s: no request", id)
			continue
		}
		methods++
		apis[name] = true
		if got, want := written(t, ours), written(t, theirs); got != want {
			t.Errorf("%s\nours:   %s\ntheirs: %s", id, got, want)
		}
	}
	t.Logf("%d methods of %d APIs", methods, len(apis))
	if methods < 40 || len(apis) < 12 {
		t.Errorf("%d methods of %d APIs were compared; want 40 of 12 at least", methods, len(apis))
	}
}

// written is a request as it goes over the wire, but for the headers that name the
// client.
func written(t *testing.T, g *google) string {
	t.Helper()
	r := g.request
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil && r.Header.Get("Content-Type") != "" {
		t.Fatal(err)
	}
	sent := g.sent
	if boundary := params["boundary"]; boundary != "" { // which is drawn by lot
		sent = strings.ReplaceAll(sent, boundary, "BOUNDARY")
	}
	return fmt.Sprintf("%s https://%s%s %s %q", r.Method, r.URL.Host, r.URL.RequestURI(), media, sent)
}

// fullJob is a job with a value for each parameter, and what body the example has.
func fullJob(t *testing.T, m *discovery.Method, example []byte) map[string]any {
	t.Helper()
	var job map[string]any
	if err := json.Unmarshal(example, &job); err != nil {
		t.Fatal(err)
	}
	delete(job, "media")
	delete(job, "output")
	if m.Request != nil {
		job["body"] = object(m.Request, 4)
	}
	params, ok := job["params"].(map[string]any)
	if !ok {
		params = map[string]any{}
	}
	job["params"] = params
	if _, ok := m.Param("userId"); ok && params["userId"] == nil {
		params["userId"] = "me"
	}
	for _, p := range m.Params {
		if params[p.Name] == nil {
			params[p.Name] = value(p.Type)
			if p.Repeated {
				params[p.Name] = []any{value(p.Type), value(p.Type)}
			}
		}
	}
	params["fields"] = "*"
	return job
}

// object has a value for each field that can be set, so many levels deep. What is
// empty or false a client would leave out.
func object(s *discovery.Schema, depth int) map[string]any {
	out := map[string]any{}
	for _, f := range s.Fields {
		if v := deepValue(f.Type, depth); v != nil {
			out[f.Name] = v
		}
	}
	return out
}

func deepValue(t *discovery.Type, depth int) any {
	switch t.Kind {
	case discovery.Object:
		if depth == 0 {
			return nil
		}
		return object(t.Schema, depth-1)
	case discovery.Array:
		if v := deepValue(t.Elem, depth); v != nil {
			return []any{v}
		}
		return nil
	case discovery.Map:
		if v := deepValue(t.Elem, depth); v != nil {
			return map[string]any{"k": v}
		}
		return nil
	case discovery.Any:
		return nil
	default:
		return value(t)
	}
}

// value is a value in which characters stand that mean something in an address.
func value(t *discovery.Type) any {
	switch {
	case t.Kind == discovery.Boolean:
		return true
	case t.Kind == discovery.Integer, t.Kind == discovery.Number:
		return json.Number(max(t.Min, "1"))
	case t.Enum != nil:
		return t.Enum[0]
	}
	switch t.Format {
	case "int64", "uint64":
		return "9007199254740993"
	case "date-time", "google-datetime":
		return "2026-11-30T00:00:00+01:00"
	case "google-duration":
		return "3.5s"
	case "google-fieldmask":
		return "a.b,c"
	case "byte":
		return "SGVsbG8="
	case "date":
		return "2026-11-30"
	}
	if t.Pattern != "" {
		return actions.Matching(t.Pattern)
	}
	return "a b&c=d/é?#%+\"<>"
}

// clientCall makes the call of the client that the job makes, by its names.
func clientCall(service reflect.Value, m *discovery.Method, job map[string]any) (call reflect.Value, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the client has no such call: %v", p)
		}
	}()
	words := strings.Split(m.ID, ".")[1:]
	for _, word := range words[:len(words)-1] {
		service = service.Elem().FieldByName(exported(word))
	}
	newCall := service.MethodByName(exported(words[len(words)-1]))
	params, _ := job["params"].(map[string]any)
	var args []reflect.Value
	set := map[string]bool{}
	for _, p := range m.Params {
		if p.Required && len(args) < newCall.Type().NumIn() {
			args = append(args, convert(params[p.Name], newCall.Type().In(len(args))))
			set[p.Name] = true
		}
	}
	if m.Request != nil {
		body := reflect.New(newCall.Type().In(len(args)).Elem())
		if data, err := json.Marshal(job["body"]); err != nil || job["body"] != nil && json.Unmarshal(data, body.Interface()) != nil {
			return call, fmt.Errorf("the client cannot read the body %v: %w", job["body"], err)
		}
		nulls, _ := job["body"].(map[string]any)
		for name, v := range nulls {
			if list := body.Elem().FieldByName("NullFields"); v == nil {
				list.Set(reflect.Append(list, reflect.ValueOf(exported(name))))
			}
		}
		args = append(args, body)
	}
	if newCall.Type().IsVariadic() {
		call = newCall.CallSlice(args)[0]
	} else {
		call = newCall.Call(args)[0]
	}
	for _, p := range m.Params {
		if set[p.Name] || params[p.Name] == nil {
			continue
		}
		setter := call.MethodByName(exported(p.Name))
		if arg := convert(params[p.Name], setter.Type().In(0)); setter.Type().IsVariadic() {
			setter.CallSlice([]reflect.Value{arg})
		} else {
			setter.Call([]reflect.Value{arg})
		}
	}
	if params["fields"] == nil {
		return call, nil
	}
	call.MethodByName("Fields").Call([]reflect.Value{reflect.ValueOf(params["fields"]).Convert(call.MethodByName("Fields").Type().In(0).Elem())})
	return call, nil
}

func exported(name string) string {
	var b strings.Builder
	upper := true
	for _, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			upper = true
			continue
		}
		if upper {
			r, upper = unicode.ToUpper(r), false
		}
		b.WriteRune(r)
	}
	return b.String()
}

// convert makes a value one of the client's types.
func convert(v any, to reflect.Type) reflect.Value {
	if to.Kind() == reflect.Slice {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		out := reflect.MakeSlice(to, 0, len(list))
		for _, item := range list {
			out = reflect.Append(out, convert(item, to.Elem()))
		}
		return out
	}
	text := fmt.Sprint(v)
	out := reflect.New(to)
	if to.Kind() != reflect.String {
		if err := json.Unmarshal([]byte(text), out.Interface()); err != nil {
			panic(err)
		}
		return out.Elem()
	}
	out.Elem().SetString(text)
	return out.Elem()
}
