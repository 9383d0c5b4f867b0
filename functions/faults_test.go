package functions_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/explain"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

var update = flag.Bool("update", false, "write the result.json of testdata/errors anew")

// errorCase is what one of Google's answers comes to: a file of
// testdata/errors, named after the sandbox's row.
type errorCase struct {
	file    string
	archive *txtar.Archive
	status  int    // Google's
	body    string // Google's; ${…} is what the sandbox fills in
	error   jobs.Error
	retry   explain.Retry
	answer  int // ours
}

// readCase reads a case and checks that the sandbox's row is its answer.
func readCase(t *testing.T, row sandbox.Row) errorCase {
	t.Helper()
	c := errorCase{file: filepath.Join("testdata", "errors", row.ID+".txtar")}
	archive, err := txtar.ParseFile(c.file)
	if err != nil {
		t.Fatal(err)
	}
	c.archive = archive
	parts := make(map[string]string)
	for _, f := range archive.Files {
		parts[f.Name] = string(f.Data)
	}
	var answer struct{ Status int }
	if err := json.Unmarshal([]byte(parts["answer.json"]), &answer); err != nil {
		t.Fatal(err)
	}
	c.status, c.body = answer.Status, parts["body"]
	if err := json.Unmarshal([]byte(parts["result.json"]), &c.error); err != nil && !*update {
		t.Fatal(err)
	}
	word, reply, _ := strings.Cut(strings.TrimSpace(parts["retry"]), " ")
	if c.retry = explain.Retry(word); word == "final" {
		c.retry = explain.Never
	}
	if c.answer, err = strconv.Atoi(reply); err != nil {
		t.Fatalf("%s: retry: %q is not accepted; such as %q is", c.file, parts["retry"], "soon 503")
	}
	title, service := "Gmail API", "gmail.googleapis.com"
	if row.Stage == "sign" {
		title, service = "IAM Service Account Credentials API", "iamcredentials.googleapis.com"
	}
	said := strings.NewReplacer("${title}", title, "${service}", service).Replace(row.Body)
	if diff := cmp.Diff(pretty(t, said), pretty(t, c.body)); row.Status != c.status || diff != "" {
		t.Errorf("%s: HTTP %d; the sandbox's row has HTTP %d\n%s", c.file, c.status, row.Status, diff)
	}
	return c
}

func pretty(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(strings.TrimSpace(text)), "", "  "); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// says is the message of Google's answer.
func (c errorCase) says(t *testing.T) string {
	t.Helper()
	var oauth struct {
		Description string `json:"error_description"`
	}
	var api struct{ Error struct{ Message string } }
	if json.Unmarshal([]byte(c.body), &api) != nil { // its error is a word
		if err := json.Unmarshal([]byte(c.body), &oauth); err != nil {
			t.Fatal(err)
		}
	}
	return oauth.Description + api.Error.Message
}

// check compares what came of it, or writes it down.
func (c errorCase) check(t *testing.T, got jobs.Error) {
	t.Helper()
	if !*update {
		if diff := cmp.Diff(c.error, got); diff != "" {
			t.Errorf("%s: %s", c.file, diff)
		}
		return
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(got); err != nil {
		t.Fatal(err)
	}
	for i := range c.archive.Files {
		if c.archive.Files[i].Name == "result.json" {
			c.archive.Files[i].Data = b.Bytes()
		}
	}
	if err := os.WriteFile(c.file, txtar.Format(c.archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Each of Google's known answers comes to the right people, with the words and
// the remedy that its case has, and is tried again where that helps.
func TestEveryKnownAnswer(t *testing.T) {
	server, err := sandbox.New(sandbox.DefaultWorld(), sandbox.Options{KeyBits: 1024})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/errors/*.txtar")
	if err != nil || len(files) != len(server.Rows()) {
		t.Errorf("%d cases for %d rows of the sandbox, %v", len(files), len(server.Rows()), err)
	}
	for _, row := range server.Rows() {
		t.Run(row.ID, func(t *testing.T) {
			t.Parallel()
			c := readCase(t, row)
			r := setup(t)
			r.patience = 4 * time.Second
			if c.retry == explain.Briefly {
				r.patience = time.Minute // until the minter has waited for a right
			}
			if err := r.google.Order(sandbox.Fault{Row: row.ID, User: "ada@example.com"}); err != nil { // until the end
				t.Fatal(err)
			}
			if status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != c.answer {
				t.Errorf("HTTP %d, want %d", status, c.answer)
			}
			line := r.logs.attempts(t)[0]
			got := audited(t, line)
			if results := r.results.all(); c.answer != http.StatusOK {
				if len(results) != 0 {
					t.Errorf("a result before its time: %+v", results)
				}
			} else if len(results) != 1 || results[0].Error == nil || *results[0].Error != got {
				t.Errorf("results %+v, and the audit has %+v", results, got)
			}
			if at, err := time.Parse(time.RFC3339, fmt.Sprint(line["notBefore"])); err == nil {
				got.Message = strings.ReplaceAll(got.Message, at.Format(time.RFC3339), "${retryAt}")
			}
			c.check(t, got)
			m := explain.Of(explain.Answer{Stage: got.Stage, Status: got.Code, Code: got.Reason, Text: c.says(t)})
			if m.Row != strings.TrimRight(row.ID, "bcdefgh") || m.Retry != c.retry {
				t.Errorf("it is row %q, retry %q; want %q, %q", m.Row, m.Retry, row.ID, c.retry)
			}
		})
	}
}

// audited is the error of an audit line.
func audited(t *testing.T, line map[string]any) jobs.Error {
	t.Helper()
	text := func(name string) string {
		s, ok := line[name].(string)
		if !ok {
			t.Errorf("the audit line has no %s: %v", name, line)
		}
		return s
	}
	code, _ := line["code"].(float64)
	return jobs.Error{Stage: jobs.Stage(text("stage")), Fault: jobs.Fault(text("fault")), Code: int(code), Reason: text("reason"), Message: text("error"), Fix: text("fix")}
}

// What surrounds Google's answers: none, one that cannot be read, and what
// Cloud Storage says of what a job reads and writes there.
func TestWhatSurroundsTheAnswers(t *testing.T) {
	letter := insert("j", "ada@example.com", "", "message", map[string]any{"uri": "gs://letters/welcome.eml"})
	const download = `{"id":"j","user":"ada@example.com","action":"drive.files.get","params":{"fileId":"f","alt":"media"},"output":"gs://letters/out"}`
	for name, c := range map[string]struct {
		path   string // whatever goes there is answered so:
		status int
		body   string
		job    string
		answer int
		want   jobs.Error
		fix    string
	}{
		"no signature":      {":signJwt", 200, `{}`, letter, 503, jobs.Error{Stage: jobs.StageSign, Fault: jobs.FaultGoogle, Code: 200, Reason: "noSignature", Message: "Google answered without a signature."}, "Try again"},
		"no JSON":           {"/oauth2.googleapis.com/token", 200, `hello`, letter, 503, jobs.Error{Stage: jobs.StageExchange, Fault: jobs.FaultGoogle, Code: 200, Reason: "noAnswer", Message: "Google did not answer, or not in a form that can be read."}, "this machine reaches Google"},
		"no object":         {"/storage.googleapis.com/", 404, `{"error":{"code":404,"message":"No such object: letters/welcome.eml","errors":[{"reason":"notFound"}]}}`, letter, 200, jobs.Error{Stage: jobs.StageCall, Fault: jobs.FaultJob, Code: 404, Reason: "notFound", Message: `There is no such object as message.uri names. Google says: "No such object: letters/welcome.eml"`}, "Upload it."},
		"no right to read":  {"/storage.googleapis.com/", 403, `{"error":{"code":403,"message":"x does not have storage.objects.get access","errors":[{"reason":"forbidden"}]}}`, letter, 200, jobs.Error{Stage: jobs.StageCall, Fault: jobs.FaultOperator, Code: 403, Reason: "forbidden", Message: "Cloud Storage does not let serviceAccount:onbehalf@onbehalf-sandbox.iam.gserviceaccount.com read the object that message.uri names."}, "--member=serviceAccount:onbehalf@onbehalf-sandbox.iam.gserviceaccount.com --role=roles/storage.objectViewer\n"},
		"no bucket":         {"/storage.googleapis.com/", 404, `{"error":{"code":404,"message":"The specified bucket does not exist.","errors":[{"reason":"notFound"}]}}`, download, 200, jobs.Error{Stage: jobs.StageCall, Fault: jobs.FaultJob, Code: 404, Reason: "notFound", Message: `There is no such bucket as output names. Google says: "The specified bucket does not exist."`}, "Make it, or name another."},
		"no right to write": {"/storage.googleapis.com/", 403, `{"error":{"code":403,"message":"x does not have storage.objects.create access","errors":[{"reason":"forbidden"}]}}`, download, 200, jobs.Error{Stage: jobs.StageCall, Fault: jobs.FaultOperator, Code: 403, Reason: "forbidden", Message: "Cloud Storage does not let serviceAccount:onbehalf@onbehalf-sandbox.iam.gserviceaccount.com write the object that output names."}, "--member=serviceAccount:onbehalf@onbehalf-sandbox.iam.gserviceaccount.com --role=roles/storage.objectUser\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t, func(cfg *config.Config, o *functions.Options) {
				o.Policy = &policy.Policy{Domains: []string{"example.com"}, Actions: []string{"*"}}
				before(t, cfg, func(w http.ResponseWriter, r *http.Request) bool {
					if strings.Contains(r.URL.Path, "/drive/") {
						fmt.Fprint(w, "a file")
						return true
					}
					if !strings.Contains(r.URL.Path, c.path) {
						return false
					}
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(c.status)
					fmt.Fprint(w, c.body)
					return true
				})
			})
			r.patience = 2 * time.Second
			if status := r.deliver(t, "1", c.job); status != c.answer {
				t.Errorf("HTTP %d, want %d", status, c.answer)
			}
			got := audited(t, r.logs.attempts(t)[0])
			fix := got.Fix
			if got.Fix = ""; got != c.want || !strings.Contains(fix, c.fix) {
				t.Errorf("%+v; %s", got, fix)
			}
		})
	}
}

// An account that was just made may get its service in a moment: while the
// job is young that is waited for, and then no more.
func TestWhatMayComeTrueInAMoment(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		published time.Time
		row       string
		want      functions.Answer
	}{
		"just published":        {now, "A6", functions.Again},
		"by a clock ahead":      {now.Add(time.Minute), "A6", functions.Again},
		"long ago":              {now.Add(-3 * time.Minute), "A6", functions.Done},
		"long to come":          {now.Add(time.Hour), "A6", functions.Done},
		"nobody knows":          {time.Time{}, "A6", functions.Done},
		"a right to sign":       {now, "S1", functions.Done}, // the minter has waited
		"what waits for nobody": {now, "A2", functions.Done},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t)
			if err := r.google.Order(sandbox.Fault{Row: c.row}); err != nil {
				t.Fatal(err)
			}
			got := r.Execute(t.Context(), pubsubio.Message{ID: "1", PublishTime: c.published, Data: []byte(insert("j", "ada@example.com", plainLetter))})
			if got.Answer != c.want {
				t.Errorf("%+v", got)
			}
		})
	}
}

// The time that Google names is told to who delivers the job.
func TestNotBefore(t *testing.T) {
	r := setup(t)
	if err := r.google.Order(sandbox.Fault{Row: "A13", Times: 1}); err != nil {
		t.Fatal(err)
	}
	got := r.Execute(t.Context(), pubsubio.Message{ID: "1", Data: []byte(insert("j", "ada@example.com", plainLetter))})
	line := r.logs.attempts(t)[0]
	if left := time.Until(got.NotBefore); got.Answer != functions.Later || left < 14*time.Minute || left > 15*time.Minute || line["notBefore"] != got.NotBefore.Format(time.RFC3339Nano) {
		t.Errorf("%+v\n%v", got, line)
	}
}

// What passes soon is not even seen in the result: another try is made at once.
func TestPassingFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault                  sandbox.Fault
		signs, tokens, inserts int
	}{
		"signature 503":   {sandbox.Fault{Kind: "5xx", Call: "signJwt"}, 2, 1, 1},
		"signature 429":   {sandbox.Fault{Kind: "429", Call: "signJwt"}, 2, 1, 1},
		"signature cut":   {sandbox.Fault{Kind: "cut", Call: "signJwt"}, 2, 1, 1},
		"grant to come":   {sandbox.Fault{Row: "S1"}, 2, 1, 1},
		"exchange 503":    {sandbox.Fault{Kind: "5xx", Call: "token"}, 1, 2, 1},
		"exchange lost":   {sandbox.Fault{Kind: "lost", Call: "token"}, 1, 2, 1},
		"token not valid": {sandbox.Fault{Kind: "expireTokens", Call: "gmail.*"}, 2, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t)
			c.fault.Times = 1
			if err := r.google.Order(c.fault); err != nil {
				t.Fatal(err)
			}
			if status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != http.StatusOK {
				t.Fatalf("HTTP %d\n%s", status, r.logs)
			}
			got := r.last(t)
			if got.Status != jobs.Succeeded || got.Attempts != 1 || len(r.google.Letters("ada@example.com")) != 1 {
				t.Errorf("%+v", got)
			}
			r.wantCalls(t, c.signs, c.tokens, c.inserts)
		})
	}
}

// What passes later is over at the next delivery, and the job is done once.
func TestLongerFaults(t *testing.T) {
	for name, c := range map[string]struct {
		fault   sandbox.Fault
		answer  int
		inserts int
	}{
		"signature 503":    {sandbox.Fault{Kind: "5xx", Call: "signJwt"}, 503, 1},
		"signature 429":    {sandbox.Fault{Kind: "429", Call: "signJwt"}, 429, 1},
		"exchange 503":     {sandbox.Fault{Kind: "5xx", Call: "token"}, 503, 1},
		"call 429":         {sandbox.Fault{Kind: "429", Call: "gmail.*"}, 429, 2},
		"no token is good": {sandbox.Fault{Kind: "expireTokens", Call: "gmail.*"}, 503, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := setup(t)
			r.patience = 4 * time.Second
			if err := r.google.Order(c.fault); err != nil {
				t.Fatal(err)
			}
			job := insert("j", "ada@example.com", plainLetter)
			if status := r.deliver(t, "1", job); status != c.answer {
				t.Fatalf("HTTP %d, want %d\n%s", status, c.answer, r.logs)
			}
			r.google.ClearFaults()
			if status := r.deliver(t, "1", job); status != http.StatusOK {
				t.Fatalf("then HTTP %d\n%s", status, r.logs)
			}
			got := r.last(t)
			if got.Status != jobs.Succeeded || got.Attempts != 2 || len(r.google.Letters("ada@example.com")) != 1 {
				t.Errorf("%+v", got)
			}
			if _, _, inserts := r.calls(); inserts != c.inserts {
				t.Errorf("%d inserts", inserts)
			}
		})
	}
}

// A dead user is asked about once, however many jobs come for them.
func TestRefusalsAreRemembered(t *testing.T) {
	r := setup(t)
	for _, id := range []string{"a", "b", "c", "d"} {
		r.deliver(t, id, insert(id, "sam.suspended@example.com", plainLetter))
	}
	statuses := make([]jobs.Status, 0, 4)
	for _, result := range r.results.all() {
		statuses = append(statuses, result.Status)
	}
	if len(slices.Compact(statuses)) != 1 || statuses[0] != jobs.Failed {
		t.Errorf("%v", statuses)
	}
	r.wantCalls(t, 1, 1, 0)
}

// A token of the runtime's own that Google does not accept any more is no
// job's fault: the job comes again, and a new token is shown.
func TestTheRuntimesOwnTokenHasEnded(t *testing.T) {
	for call, fields := range map[string][]any{
		"storage.objects.get": {"message", map[string]any{"uri": "gs://letters/welcome.eml"}},
	} {
		t.Run(call, func(t *testing.T) {
			r := setup(t)
			if err := r.google.Order(sandbox.Fault{Kind: "expireTokens", Call: call, Times: 1}); err != nil {
				t.Fatal(err)
			}
			job := insert("j", "ada@example.com", plainLetter, fields...)
			if status := r.deliver(t, "1", job); status != http.StatusServiceUnavailable {
				t.Errorf("HTTP %d\n%s", status, r.logs)
			}
			if status := r.deliver(t, "1", job); status != http.StatusOK || r.last(t).Status != jobs.Succeeded {
				t.Errorf("then HTTP %d\n%s", status, r.logs)
			}
		})
	}
}

// Of a value that Google refuses only Google says which it is.
func TestGooglesWordsForTheAuthor(t *testing.T) {
	r := setup(t)
	r.deliver(t, "1", insert("j", "ada@example.com", plainLetter, "body", map[string]any{"labelIds": []string{"NOPE"}}))
	if e := r.last(t).Error; e == nil || e.Fault != jobs.FaultJob || !strings.Contains(e.Message, `Google says: "Invalid label: NOPE"`) {
		t.Errorf("%+v", e)
	}
	if strings.Contains(r.last(t).Error.Message, "not known here") {
		t.Errorf("%+v", r.last(t).Error)
	}
}

// noTopic is a topic that is not there.
type noTopic struct {
	published
	there bool
}

func (n *noTopic) Publish(ctx context.Context, r jobs.Result) error {
	if !n.there {
		return status.Error(codes.NotFound, "Resource not found (resource=onbehalf-results).")
	}
	return n.published.Publish(ctx, r)
}

// While no result can be published no further call is begun: its event would
// come again, perhaps to an instance that does not know of it.
func TestNoCallWithoutATopic(t *testing.T) {
	topic := &noTopic{}
	r := setup(t, func(_ *config.Config, o *functions.Options) { o.Results = topic })
	for i, id := range []string{"a", "b", "c"} {
		if status := r.deliver(t, id, insert(id, "ada@example.com", plainLetter)); status != http.StatusServiceUnavailable {
			t.Errorf("HTTP %d", status)
		}
		line := r.logs.attempts(t)[i]
		if id != "a" && (line["fault"] != "operator" || line["called"] != false) {
			t.Errorf("%v", line)
		}
		if id == "a" && (line["severity"] != "ERROR" || line["fault"] != "operator" || line["status"] != "succeeded" || !strings.Contains(fmt.Sprint(line["fix"]), "Create the topic")) {
			t.Errorf("%v", line)
		}
	}
	r.wantCalls(t, 1, 1, 1)
	topic.there = true
	for _, id := range []string{"a", "b", "c"} { // the first one's result shows that it works again
		if status := r.deliver(t, id, insert(id, "ada@example.com", plainLetter)); status != http.StatusOK {
			t.Errorf("then HTTP %d", status)
		}
	}
	if n := len(r.google.Letters("ada@example.com")); n != 3 || len(topic.all()) != 3 {
		t.Errorf("%d letters, %d results", n, len(topic.all()))
	}
}
