package jobs_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// raw is a small letter in base64url.
var raw = base64.URLEncoding.EncodeToString([]byte("Subject: hi\r\n\r\nhello?>\r\n"))

const whole = `{
	"id": "welcome-2026-11/Ada@example.com",
	"user": "Ada@Example.com",
	"action": "gmail.users.messages.insert",
	"params": {"internalDateSource": "dateHeader"},
	"body": {"labelIds": ["INBOX", "UNREAD"]},
	"message": {"uri": "gs://letters/welcome.eml"},
	"notAfter": "2026-11-30T00:00:00Z",
	"dryRun": false,
	"labels": {"campaign": "welcome"}
}`

func TestDecode(t *testing.T) {
	got, err := jobs.Decode([]byte(whole), "4711")
	if err != nil {
		t.Fatal(err)
	}
	want := jobs.Job{
		ID: "welcome-2026-11/Ada@example.com", User: "ada@example.com", Action: "gmail.users.messages.insert",
		Params: []byte(`{"internalDateSource": "dateHeader"}`), Body: []byte(`{"labelIds": ["INBOX", "UNREAD"]}`),
		Message: &jobs.Message{URI: "gs://letters/welcome.eml"}, NotAfter: time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC),
		Labels: map[string]string{"campaign": "welcome"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(jobs.Message{})); diff != "" {
		t.Error(diff)
	}
	if got.Batch() != "welcome-2026-11" {
		t.Errorf("batch %q", got.Batch())
	}
}

const asItself = `{
	"as": "serviceAccount",
	"action": "drive.files.create",
	"media": {"data": "aGk_Pz8=", "contentType": "text/plain; charset=utf-8"},
	"pages": {"max": 3}
}`

func TestDecodeAsTheServiceAccount(t *testing.T) {
	got, err := jobs.Decode([]byte(asItself), "4711")
	if err != nil {
		t.Fatal(err)
	}
	if got.As != jobs.AsServiceAccount || got.User != "" || got.Batch() != "" || got.Domain() != "" || got.Pages.Max != 3 {
		t.Errorf("is %+v", got)
	}
	if text := string(got.Media.Content()); text != "hi???" {
		t.Errorf("the media is %q; want %q", text, "hi???")
	}
}

func TestDecodeTakesTheMessageIDWhereTheJobHasNone(t *testing.T) {
	job, err := jobs.Decode([]byte(`{"user": "ada@example.com", "action": "gmail.users.messages.insert"}`), "4711")
	if err != nil || job.ID != "4711" || job.Batch() != "" {
		t.Errorf("id %q, batch %q, error %v", job.ID, job.Batch(), err)
	}
}

// wrong are jobs that must be refused, with what the author is told.
var wrong = []struct{ name, job, path, says string }{
	{"not JSON", `hello`, "", "not valid JSON"},
	{"nothing", ``, "", "not valid JSON"},
	{"two jobs", `{"user":"a@b.cd","action":"a.b"} {}`, "", "not valid JSON"},
	{"array", `[]`, "", "an object is expected"},
	{"unknown field", `{"user":"a@b.cd","actoin":"a.b"}`, "actoin", "not a known field; accepted here are id, user, as, action"},
	{"another case", `{"User":"a@b.cd","action":"a.b"}`, "User", "not a known field"},
	{"hostile field", `{"user":"a@b.cd","x\ny\u001b[31m":1}`, `"x\ny\x1b[31m"`, "not a known field"},
	{"doubled field", `{"user":"a@b.cd","user":"c@b.cd","action":"a.b"}`, "user", "given twice"},
	{"doubled in depth", `{"user":"a@b.cd","action":"a.b","body":{"x":1,"x":2}}`, "body.x", "given twice"},
	{"user missing", `{"action":"a.b"}`, "user", "is missing"},
	{"user null", `{"user":null,"action":"a.b"}`, "user", "is null"},
	{"user a number", `{"user":5,"action":"a.b"}`, "user", "is a number \"5\"; a string is expected"},
	{"user no address", `{"user":"ada","action":"a.b"}`, "user", `is "ada"; a primary e-mail address`},
	{"user with a line break", `{"user":"a@b.cd\nx","action":"a.b"}`, "user", `is "a@b.cd\nx"`},
	{"user of look-alike letters", `{"user":"ceo@example.\u212Aom","action":"a.b"}`, "user", "a primary e-mail address"},
	{"action missing", `{"user":"a@b.cd"}`, "action", "is missing"},
	{"action no id", `{"user":"a@b.cd","action":"../x"}`, "action", `is "../x"; a method id`},
	{"id too long", `{"id":"` + strings.Repeat("x", 513) + `","user":"a@b.cd","action":"a.b"}`, "id", "513 bytes long; at most 512"},
	{"id with a control character", `{"id":"a\u0000b","user":"a@b.cd","action":"a.b"}`, "id", "control characters"},
	{"params an array", `{"user":"a@b.cd","action":"a.b","params":[]}`, "params", "is an array; an object is expected"},
	{"body null", `{"user":"a@b.cd","action":"a.b","body":null}`, "body", "is null; an object is expected"},
	{"two message sources", `{"user":"a@b.cd","action":"a.b","message":{"raw":"YQ","uri":"gs://a/b"}}`, "message", "both raw and uri"},
	{"no message source", `{"user":"a@b.cd","action":"a.b","message":{}}`, "message", "is empty; give exactly one"},
	{"raw and compose", `{"user":"a@b.cd","action":"a.b","message":{"raw":"YQ","compose":{"text":"t"}}}`, "message", "both raw and compose"},
	{"all message sources", `{"user":"a@b.cd","action":"a.b","message":{"raw":"YQ","uri":"gs://a/b","compose":{}}}`, "message", "both raw and uri and compose"},
	{"message a letter", `{"user":"a@b.cd","action":"a.b","message":"Dear Ada"}`, "message", "message: is a string; an object is expected"},
	{"message null", `{"user":"a@b.cd","action":"a.b","message":null}`, "message", "is null"},
	{"message unknown", `{"user":"a@b.cd","action":"a.b","message":{"rwa":"YQ"}}`, "message.rwa", "accepted here are raw, uri, compose"},
	{"raw in plain base64", `{"user":"a@b.cd","action":"a.b","message":{"raw":"a+/b"}}`, "message.raw", `'+' at byte 1`},
	{"raw broken", `{"user":"a@b.cd","action":"a.b","message":{"raw":"a"}}`, "message.raw", "not base64url"},
	{"raw in lines", `{"user":"a@b.cd","action":"a.b","message":{"raw":"YWFh\nYWFh"}}`, "message.raw", "line break"},
	{"uri of another kind", `{"user":"a@b.cd","action":"a.b","message":{"uri":"https://x/y"}}`, "message.uri", "gs://BUCKET/OBJECT is expected"},
	{"uri without object", `{"user":"a@b.cd","action":"a.b","message":{"uri":"gs://bucket/"}}`, "message.uri", "gs://BUCKET/OBJECT is expected"},
	{"uri of a folder", `{"user":"a@b.cd","action":"a.b","message":{"uri":"gs://bucket/.."}}`, "message.uri", "is expected"},
	{"uri of no bucket", `{"user":"a@b.cd","action":"a.b","message":{"uri":"gs://../x"}}`, "message.uri", "is expected"},
	{"uri with a line break", `{"user":"a@b.cd","action":"a.b","message":{"uri":"gs://bucket/a\nb"}}`, "message.uri", "is expected"},
	{"notAfter in small letters", `{"user":"a@b.cd","action":"a.b","notAfter":"2026-11-30t00:00:00z"}`, "notAfter", "is expected"},
	{"notAfter no time", `{"user":"a@b.cd","action":"a.b","notAfter":"tomorrow"}`, "notAfter", `is a string "tomorrow"; a time as RFC 3339`},
	{"dryRun a string", `{"user":"a@b.cd","action":"a.b","dryRun":"true"}`, "dryRun", `is a string "true"; true or false is expected`},
	{"labels with a number", `{"user":"a@b.cd","action":"a.b","labels":{"n":1}}`, "labels.n", "a string is expected"},
	{"labels with no name", `{"user":"a@b.cd","action":"a.b","labels":{"":"x"}}`, `labels.""`, "names have 1 to 64 bytes"},
	{"as a user", `{"as":"ada@example.com","action":"a.b"}`, "as", `is "ada@example.com"; accepted is serviceAccount`},
	{"as both", `{"user":"a@b.cd","as":"serviceAccount","action":"a.b"}`, "as", "is given beside user"},
	{"as null", `{"as":null,"action":"a.b"}`, "as", "is null"},
	{"two media sources", `{"user":"a@b.cd","action":"a.b","media":{"data":"YQ==","uri":"gs://abc/b"}}`, "media", "both data and uri"},
	{"no media source", `{"user":"a@b.cd","action":"a.b","media":{"contentType":"image/png"}}`, "media", "is empty; give exactly one"},
	{"media without type", `{"user":"a@b.cd","action":"a.b","media":{"data":"YQ=="}}`, "media.contentType", "is missing"},
	{"media of no type", `{"user":"a@b.cd","action":"a.b","media":{"uri":"gs://abc/b","contentType":"png"}}`, "media.contentType", `is "png"; a media type`},
	{"media type with a line break", `{"user":"a@b.cd","action":"a.b","media":{"uri":"gs://abc/b","contentType":"image/png\r\nX: y"}}`, "media.contentType", "a media type"},
	{"media broken", `{"user":"a@b.cd","action":"a.b","media":{"data":"Y","contentType":"image/png"}}`, "media.data", "is not base64"},
	{"media padded too much", `{"user":"a@b.cd","action":"a.b","media":{"data":"YQ======","contentType":"image/png"}}`, "media.data", "is not base64"},
	{"media in lines", `{"user":"a@b.cd","action":"a.b","media":{"data":"YWFh\nYWFh","contentType":"image/png"}}`, "media.data", "line break"},
	{"media a number", `{"user":"a@b.cd","action":"a.b","media":{"data":5}}`, "media.data", "is a number; a string is expected"},
	{"media elsewhere", `{"user":"a@b.cd","action":"a.b","media":{"uri":"https://x/y"}}`, "media.uri", "gs://BUCKET/OBJECT is expected"},
	{"no pages", `{"user":"a@b.cd","action":"a.b","pages":{}}`, "pages.max", "is 0; a number of pages from 1 to 1000"},
	{"too many pages", `{"user":"a@b.cd","action":"a.b","pages":{"max":1001}}`, "pages.max", "is 1001"},
	{"half a page", `{"user":"a@b.cd","action":"a.b","pages":{"max":1.5}}`, "pages.max", "an integer is expected"},
	{"output elsewhere", `{"user":"a@b.cd","action":"a.b","output":"/tmp/x"}`, "output", "gs://BUCKET/OBJECT is expected"},
	{"output in pages", `{"user":"a@b.cd","action":"a.b","output":"gs://abc/b","pages":{"max":2}}`, "output", "is given beside pages"},
	{"broken UTF-8", "{\"user\":\"a@b.cd\",\"action\":\"a.b\",\"id\":\"\xff\"}", "", "not valid JSON"},
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range wrong {
		t.Run(c.name, func(t *testing.T) {
			_, err := jobs.Decode([]byte(c.job), "4711")
			var field *jobs.FieldError
			if !errors.As(err, &field) {
				t.Fatalf("error %v", err)
			}
			if field.Path != c.path || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got  %q: %s\nwant %q: … %s …", field.Path, err, c.path, c.says)
			}
		})
	}
}

// However deep and long the names in a job are, what is said of it stays short.
func TestErrorsAreShort(t *testing.T) {
	deep := strings.Repeat(`{"`+strings.Repeat("k", 60)+`":`, 500) + `{"a":1,"a":2}` + strings.Repeat("}", 500)
	_, err := jobs.Decode([]byte(`{"user":"a@b.cd","action":"a.b","body":`+deep+`}`), "1")
	if err == nil || len(err.Error()) > 1000 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func TestDecodeRefusesWhatIsTooLong(t *testing.T) {
	fits := `{"user":"a@b.cd","action":"a.b"}`
	fits += strings.Repeat(" ", jobs.MaxData-len(fits))
	if _, err := jobs.Decode([]byte(fits), "1"); err != nil {
		t.Errorf("%d bytes: %v", len(fits), err)
	}
	_, err := jobs.Decode([]byte(fits+" "), "1")
	if err == nil || !strings.Contains(err.Error(), "is 524289 bytes long; at most 524288 are read") {
		t.Errorf("%d bytes: %v", len(fits)+1, err)
	}
}

// A broken job's result still says whose it is, by what can be read safely.
func TestDecodeOutlinesABrokenJob(t *testing.T) {
	for _, c := range []struct {
		job  string
		want jobs.Job
	}{
		{`{"id":"j1","user":"Ada@example.com","action":"a.b","labels":{"k":"v"},"typo":1}`, jobs.Job{ID: "j1", User: "ada@example.com", Action: "a.b", Labels: map[string]string{"k": "v"}}},
		{`{"id":5,"user":"x","action":"<script>","dryRun":true}`, jobs.Job{ID: "4711", DryRun: true}},
		{`{"id":"j1","id":"j2","user":"ada@example.com"}`, jobs.Job{ID: "4711"}},
		{`not json`, jobs.Job{ID: "4711"}},
	} {
		got, err := jobs.Decode([]byte(c.job), "4711")
		if err == nil {
			t.Errorf("%s: no error", c.job)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.job, diff)
		}
	}
}

func TestExpired(t *testing.T) {
	at := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	job := jobs.Job{NotAfter: at}
	if job.Expired(at) || !job.Expired(at.Add(time.Nanosecond)) || (jobs.Job{}).Expired(at) {
		t.Error("notAfter is the last moment, and none is never")
	}
}

func schema(t testing.TB, name string, text []byte) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource(name, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// agree tells whether the schema and the decoder say the same of a job.
func agree(t testing.TB, s *jsonschema.Schema, data []byte) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return // no JSON: the schema says nothing of it
	}
	_, decodeErr := jobs.Decode(data, "4711")
	schemaErr := s.Validate(doc)
	if schemaErr == nil && decodeErr != nil && !beyondSchema(decodeErr) || schemaErr != nil && decodeErr == nil {
		t.Errorf("%s\ndecoder: %v\nschema:  %v", data, decodeErr, schemaErr)
	}
}

// beyondSchema tells whether an error is of the few kinds that JSON Schema
// cannot express: doubled names, invalid UTF-8, counting bytes and not
// characters, sums, whether base64 comes out even, what only a parser of
// mailboxes or MIME types knows, and what one field says of another.
func beyondSchema(err error) bool {
	for _, words := range []string{
		"given twice", "not valid JSON", "bytes long", "bytes, values", "words of at most", "not base64",
		"recipients in all", "mailbox", "a media type such as", "a MIME type such as", "no attachment can have", "parameters in ASCII",
		"in another spelling", "not for headers to say", "html has no cid", "that of another attachment",
	} {
		if strings.Contains(err.Error(), words) {
			return true
		}
	}
	return false
}

func TestSchemaAgreesWithDecoder(t *testing.T) {
	s := schema(t, "job.json", jobs.JobSchema)
	agree(t, s, []byte(whole))
	agree(t, s, []byte(asItself))
	agree(t, s, []byte(`{"user":"","as":"serviceAccount","action":"a.b"}`))
	agree(t, s, []byte(`{"user":"a@b.cd","as":"","action":"a.b"}`))
	agree(t, s, composed(wholeCompose))
	for _, c := range wrong {
		agree(t, s, []byte(c.job))
	}
	for _, c := range wrongCompose {
		agree(t, s, composed(c.compose))
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte(`{"user":"a@b.cd","action":"a.b","message":{"raw":"` + raw + `"}}`))
	f.Add([]byte(asItself))
	for _, c := range wrong {
		f.Add([]byte(c.job))
	}
	f.Add(composed(wholeCompose))
	for _, c := range wrongCompose {
		if len(c.compose) < 1000 {
			f.Add(composed(c.compose))
		}
	}
	s := schema(f, "job.json", jobs.JobSchema)
	f.Fuzz(func(t *testing.T, data []byte) {
		job, err := jobs.Decode(data, "4711")
		if job.ID == "" || len(job.ID) > 512 || !utf8.ValidString(job.ID) {
			t.Errorf("id %q", job.ID)
		}
		if job.User != strings.ToLower(job.User) {
			t.Errorf("user %q", job.User)
		}
		if err != nil {
			if !utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\x00\x1b\n") || len(err.Error()) > 1500 {
				t.Errorf("error %q", err)
			}
			return
		}
		agree(t, s, data)
	})
}

func TestResultSchema(t *testing.T) {
	s := schema(t, "result.json", jobs.ResultSchema)
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	r := jobs.NewResult(jobs.Job{ID: "w/ada@example.com", User: "ada@example.com", Action: "a.b", Labels: map[string]string{"k": "v"}})
	r.Attempts, r.StartedAt, r.FinishedAt = 1, at, at
	for _, c := range []struct {
		status jobs.Status
		err    *jobs.Error
		valid  bool
	}{
		{jobs.Succeeded, nil, true},
		{jobs.Previewed, nil, true},
		{jobs.Failed, &jobs.Error{Stage: jobs.StageExchange, Fault: jobs.FaultAdmin, Code: 401, Reason: "unauthorized_client", Message: "m", Fix: "f"}, true},
		{jobs.Uncertain, &jobs.Error{Stage: jobs.StageCall, Fault: jobs.FaultGoogle, Reason: "r", Message: "m"}, true},
		{jobs.Failed, nil, false},
		{jobs.Succeeded, &jobs.Error{Stage: jobs.StageCall, Fault: jobs.FaultGoogle, Reason: "r", Message: "m"}, false},
		{"done", nil, false},
	} {
		r.Status, r.Error = c.status, c.err
		data, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(doc); (err == nil) != c.valid {
			t.Errorf("%s: %v", data, err)
		}
	}
}

func TestAttributesHoldNoEmptyValue(t *testing.T) {
	r := jobs.NewResult(jobs.Job{ID: "w/ada@example.com", User: "ada@example.com", Action: "a.b"})
	r.Status, r.Error = jobs.Failed, &jobs.Error{Fault: jobs.FaultUser}
	want := map[string]string{"job": "w/ada@example.com", "batch": "w", "status": "failed", "action": "a.b", "fault": "user"}
	if diff := cmp.Diff(want, r.Attributes()); diff != "" {
		t.Error(diff)
	}
	bare := jobs.Result{Job: "1", Status: jobs.Failed}
	for key, value := range bare.Attributes() {
		if value == "" || !slices.Contains([]string{"job", "status"}, key) {
			t.Errorf("%s=%q", key, value)
		}
	}
}
