package functions_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/auth"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
	"github.com/onbehalf-dev/onbehalf/internal/telemetry"
)

func TestMain(m *testing.M) {
	// A package that the Pub/Sub library imports starts this one for good.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const plainLetter = "From: grace@example.com\r\nTo: ada@example.com\r\nSubject: hi\r\nMessage-ID: <1@example.com>\r\n\r\nHello?>~\r\n"

// rig is the function with a Workspace behind it and its results and logs at hand.
type rig struct {
	*functions.Executor
	google  *sandbox.Server
	url     string // the Workspace's
	world   sandbox.World
	results *published
	logs    *logs
	// patience, unless 0, is the time that a request gets: of what passes, no more
	// is waited for.
	patience time.Duration
}

// setup makes a rig. change, if any, may change what the function is given.
func setup(t *testing.T, change ...func(*config.Config, *functions.Options)) *rig {
	t.Helper()
	return setupIn(t, sandbox.DefaultWorld(), change...)
}

// setupIn makes a rig in that world.
func setupIn(t *testing.T, world sandbox.World, change ...func(*config.Config, *functions.Options)) *rig {
	t.Helper()
	world.Objects = map[string][]byte{"letters/welcome.eml": []byte(plainLetter)}
	google, err := sandbox.New(world, sandbox.Options{KeyBits: 1024})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(google)
	t.Cleanup(server.Close)
	return (&rig{google: google, url: server.URL, world: world}).another(t, change...)
}

// another makes one more instance of the function in the same Workspace.
func (r *rig) another(t *testing.T, change ...func(*config.Config, *functions.Options)) *rig {
	t.Helper()
	runtime := r.world.Runtime
	cfg, err := config.Load([]string{"GOOGLE_CLOUD_PROJECT=" + r.world.Project, "ONBEHALF_SERVICE_ACCOUNT=" + runtime, "ONBEHALF_SANDBOX=" + r.url, "ONBEHALF_GMAIL_UNITS_PER_USER=1000000000"})
	if err != nil {
		t.Fatal(err)
	}
	allowed, err := policy.Parse([]byte("domains: [example.com]\nactions: ['gmail.users.messages.*']\ndenyUsers: [admin@example.com]\n"))
	if err != nil {
		t.Fatal(err)
	}
	r = &rig{google: r.google, url: r.url, world: r.world, results: &published{}, logs: &logs{}}
	o := functions.Options{Logger: telemetry.NewLogger(r.logs, slog.LevelDebug), Credentials: func() (*auth.Credentials, error) { return r.google.Credentials(runtime), nil }, Caller: runtime, Policy: allowed, Results: r.results}
	for _, f := range change {
		f(&cfg, &o)
	}
	if r.Executor, err = functions.New(t.Context(), cfg, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); r.noSecrets(t) })
	return r
}

// noSecrets looks for every token and assertion that was ever issued in all
// that the function has said.
func (r *rig) noSecrets(t *testing.T) {
	t.Helper()
	said := r.logs.String() + r.results.text()
	const begins = 8 // characters by which one of thousands is found in megabytes
	ends := make(map[string][]string)
	for _, secret := range r.google.Secrets() {
		end := secret[len(secret)/2:] // which stands wherever all of it does
		ends[end[:begins]] = append(ends[end[:begins]], end)
	}
	for i := range max(0, len(said)-begins+1) {
		for _, end := range ends[said[i:i+begins]] {
			if strings.HasPrefix(said[i:], end) {
				t.Errorf("a secret was let out, of which %d characters are the second half", len(end))
			}
		}
	}
	if letter := "Hello?>~"; strings.Contains(said, letter) {
		t.Error("a letter was let out")
	}
}

// published takes results, and refuses the first fail of them.
type published struct {
	mu        sync.Mutex
	list      []jobs.Result
	summaries []jobs.Summary
	fail      int
}

func (p *published) Tell(_ context.Context, s jobs.Summary) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.summaries = append(p.summaries, s)
	return nil
}

func (p *published) told() []jobs.Summary {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.summaries)
}

func (p *published) Publish(ctx context.Context, r jobs.Result) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, bounded := ctx.Deadline(); ctx.Err() != nil || !bounded {
		return fmt.Errorf("published on a context that has ended, or never does: %w", ctx.Err())
	}
	if p.fail > 0 {
		p.fail--
		return errors.New("the topic is away")
	}
	p.list = append(p.list, r)
	return nil
}

func (p *published) all() []jobs.Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list)
}

func (p *published) text() string {
	var b strings.Builder
	for _, r := range p.all() {
		data, err := r.Encode()
		fmt.Fprintln(&b, string(data), err, r.Attributes())
	}
	return b.String()
}

type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// attempts are the audit lines so far.
func (l *logs) attempts(t *testing.T) []map[string]any {
	t.Helper()
	return l.lines(t, "attempt")
}

// lines are those with that message so far.
func (l *logs) lines(t *testing.T, message string) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range strings.Lines(l.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if fields["message"] == message {
			lines = append(lines, fields)
		}
	}
	return lines
}

// insert is a job that asks to insert the letter; fields replace or add to its own.
func insert(id, user, letter string, fields ...any) string {
	job := map[string]any{
		"id": id, "user": user, "action": "gmail.users.messages.insert",
		"message": map[string]any{"raw": base64.RawURLEncoding.EncodeToString([]byte(letter))},
	}
	for i := 0; i < len(fields); i += 2 {
		job[fields[i].(string)] = fields[i+1]
		if fields[i+1] == nil {
			delete(job, fields[i].(string))
		}
	}
	data, err := json.Marshal(job)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// deliver posts one delivery of the message to the function, and gives the
// HTTP status.
func (r *rig) deliver(t *testing.T, messageID, data string, header ...string) int {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"subscription": "projects/p/subscriptions/s", "deliveryAttempt": 1,
		"message": map[string]any{"data": []byte(data), "messageId": messageID, "publishTime": "2026-11-21T12:00:00Z"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r.post(t, body, header...).Code
}

func (r *rig) post(t *testing.T, body []byte, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	ctx := t.Context()
	if r.patience != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.patience)
		defer cancel()
	}
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w
}

// last is the newest result.
func (r *rig) last(t *testing.T) jobs.Result {
	t.Helper()
	all := r.results.all()
	if len(all) == 0 {
		t.Fatal("no result was published")
	}
	return all[len(all)-1]
}

func (r *rig) calls() (sign, token, insert int) {
	c := r.google.Calls()
	return c["signJwt"], c["token"], c["gmail.users.messages.insert"]
}

func (r *rig) wantCalls(t *testing.T, sign, token, insert int) {
	t.Helper()
	if s, x, i := r.calls(); s != sign || x != token || i != insert {
		t.Errorf("%d signatures, %d exchanges, %d inserts; want %d, %d, %d", s, x, i, sign, token, insert)
	}
	if n := r.google.Calls()["token.withAuthorization"]; n != 0 {
		t.Errorf("%d exchanges carried credentials", n)
	}
}

func TestInsert(t *testing.T) {
	r := setup(t)
	job := insert("welcome/ada@example.com", "Ada@example.com", plainLetter,
		"params", map[string]any{"internalDateSource": "receivedTime", "userId": "me"},
		"body", map[string]any{"labelIds": []string{"INBOX", "UNREAD"}}, "labels", map[string]any{"campaign": "welcome"})
	if status := r.deliver(t, "4711", job, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"); status != http.StatusOK {
		t.Fatalf("HTTP %d\n%s", status, r.logs)
	}
	letters := r.google.Letters("ada@example.com")
	if len(letters) != 1 || string(letters[0].Raw) != plainLetter || !slices.Equal(letters[0].LabelIDs, []string{"INBOX", "UNREAD"}) {
		t.Fatalf("the mailbox holds %+v", letters)
	}
	want := jobs.Result{
		Job: "welcome/ada@example.com", Batch: "welcome", User: "ada@example.com", Action: "gmail.users.messages.insert",
		Status: jobs.Succeeded, Attempts: 1, Labels: map[string]string{"campaign": "welcome"},
	}
	got := r.last(t)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(jobs.Result{}, "Response", "StartedAt", "FinishedAt")); diff != "" {
		t.Error(diff)
	}
	var response struct{ ID, ThreadID string }
	if err := json.Unmarshal(got.Response, &response); err != nil || response.ID != letters[0].ID || response.ThreadID != letters[0].ThreadID {
		t.Errorf("response %s, %v", got.Response, err)
	}
	if got.StartedAt.IsZero() || got.FinishedAt.Before(got.StartedAt) {
		t.Errorf("from %v to %v", got.StartedAt, got.FinishedAt)
	}
	r.wantCalls(t, 1, 1, 1)

	lines := r.logs.attempts(t)
	if len(lines) != 1 {
		t.Fatalf("%d audit lines", len(lines))
	}
	line := lines[0]
	for field, want := range map[string]any{
		"severity": "INFO", "job": "welcome/ada@example.com", "batch": "welcome", "user": "ada@example.com",
		"serviceAccount": "onbehalf@onbehalf-sandbox.iam.gserviceaccount.com", "action": "gmail.users.messages.insert",
		"status": "succeeded", "answer": 200.0, "attempt": 1.0, "messageId": "4711", "deliveryAttempt": 1.0, "called": true,
		"logging.googleapis.com/trace": "projects/onbehalf-sandbox/traces/0af7651916cd43dd8448eb211c80319c",
	} {
		if line[field] != want {
			t.Errorf("the audit line's %s is %v, want %v", field, line[field], want)
		}
	}
	if scopes := fmt.Sprint(line["scopes"]); scopes != "[https://www.googleapis.com/auth/gmail.insert]" {
		t.Errorf("scopes %s", scopes)
	}
}

// What the service account does as itself it does as nobody else, and nobody else as
// it; what is wrong with it then is the operator's to mend.
func TestAsTheServiceAccount(t *testing.T) {
	r := setup(t, func(_ *config.Config, o *functions.Options) {
		o.Policy = &policy.Policy{Domains: []string{"example.com"}, Actions: []string{"drive.files.*"}, ServiceAccountActions: []string{"drive.files.*"}}
	})
	do := func(job string) jobs.Result {
		t.Helper()
		if status := r.deliver(t, job, job); status != http.StatusOK {
			t.Fatalf("HTTP %d\n%s", status, r.logs)
		}
		return r.last(t)
	}
	made := do(`{"as":"serviceAccount","action":"drive.files.create","body":{"name":"mine"}}`)
	if made.Status != jobs.Succeeded || made.As != jobs.AsServiceAccount || made.User != "" {
		t.Errorf("the service account makes a file: %+v %+v", made, made.Error)
	}
	if own := do(`{"as":"serviceAccount","action":"drive.files.list"}`); !strings.Contains(string(own.Response), `"mine"`) {
		t.Errorf("its own files are %s", own.Response)
	}
	if adas := do(`{"user":"ada@example.com","action":"drive.files.list"}`); adas.Status != jobs.Succeeded || strings.Contains(string(adas.Response), `"mine"`) {
		t.Errorf("ada's files are %s", adas.Response)
	}
	if refused := do(`{"as":"serviceAccount","action":"sql.instances.list","params":{"project":"p"}}`); refused.Status != jobs.Refused || !strings.Contains(refused.Error.Fix, "serviceAccountActions") {
		t.Errorf("what the policy does not list: %+v", refused.Error)
	}
	for job, want := range map[string]struct {
		fault jobs.Fault
		says  string
	}{
		`{"as":"serviceAccount","action":"drive.files.list","params":{"pageSize":1}}`: {jobs.FaultOperator, "for the service account onbehalf@onbehalf-sandbox"},
		`{"user":"ada@example.com","action":"drive.files.list"}`:                      {jobs.FaultUser, "ada@example.com"},
	} {
		if err := r.google.Order(sandbox.Fault{Row: "A18", Call: "drive.files.list", Times: 1}); err != nil {
			t.Fatal(err)
		}
		r.deliver(t, "fault of "+job, job)
		if e := r.last(t).Error; e == nil || e.Fault != want.fault || !strings.Contains(e.Message, want.says) || !strings.Contains(e.Message, "Google says") {
			t.Errorf("%s: %+v", job, e)
		}
	}
	// A mailbox is a user's: who names none is told so.
	if err := r.google.Order(sandbox.Fault{Row: "A1", Call: "drive.files.list", Times: 1}); err != nil {
		t.Fatal(err)
	}
	if e := do(`{"as":"serviceAccount","action":"drive.files.list","params":{"pageSize":2}}`).Error; e == nil || e.Fault != jobs.FaultOperator || !strings.Contains(e.Message, "No user was named") {
		t.Errorf("no user was named: %+v", e)
	}
}

// What no sandbox does, and Google neither, is said at once, and not tried again.
func TestWhatIsNotImplemented(t *testing.T) {
	r := setup(t, func(_ *config.Config, o *functions.Options) {
		o.Policy = &policy.Policy{Domains: []string{"example.com"}, Actions: []string{"calendar.*"}}
	})
	for _, job := range []string{
		`{"user":"ada@example.com","action":"calendar.colors.get"}`,
		`{"user":"ada@example.com","action":"calendar.events.quickAdd","params":{"calendarId":"primary","text":"Lunch"}}`,
	} {
		if status := r.deliver(t, job, job); status != http.StatusOK {
			t.Fatalf("HTTP %d", status)
		}
		got := r.last(t)
		if got.Status != jobs.Failed || got.Error.Fault != jobs.FaultJob || got.Error.Code != http.StatusNotImplemented || !strings.Contains(got.Error.Message, "not implemented") {
			t.Errorf("%s: %+v %+v", job, got, got.Error)
		}
	}
}

func TestInsertFromCloudStorage(t *testing.T) {
	r := setup(t)
	if status := r.deliver(t, "1", insert("j", "ada@example.com", "", "message", map[string]any{"uri": "gs://letters/welcome.eml"})); status != http.StatusOK {
		t.Fatalf("HTTP %d\n%s", status, r.logs)
	}
	if letters := r.google.Letters("ada@example.com"); len(letters) != 1 || string(letters[0].Raw) != plainLetter {
		t.Errorf("the mailbox holds %+v", letters)
	}
	r.deliver(t, "2", insert("j2", "ada@example.com", "", "message", map[string]any{"uri": "gs://letters/none.eml"}))
	if e := r.last(t).Error; e == nil || e.Fault != jobs.FaultJob || e.Code != http.StatusNotFound || !strings.Contains(e.Message, "no such object as message.uri names") {
		t.Errorf("a letter that is not there: %+v", e)
	}
	r.wantCalls(t, 1, 1, 1)
}

// A letter without a Message-ID gets one that depends on the job alone.
func TestInsertAddsAMessageID(t *testing.T) {
	bare := strings.Replace(plainLetter, "Message-ID: <1@example.com>\r\n", "", 1)
	var added []string
	for range 2 {
		r := setup(t)
		r.deliver(t, "1", insert("j", "ada@example.com", bare))
		letter := string(r.google.Letters("ada@example.com")[0].Raw)
		header, same := strings.CutSuffix(letter, bare)
		if !same || !strings.HasPrefix(header, "Message-ID: <onbehalf.") || !strings.HasSuffix(header, "@example.com>\r\n") {
			t.Fatalf("stored %q", letter)
		}
		added = append(added, header)
	}
	if added[0] != added[1] {
		t.Errorf("two attempts of one job differ: %q", added)
	}
}

// The same job id twice is one job, however it arrives again.
func TestTheSameJobTwice(t *testing.T) {
	r := setup(t)
	job := insert("j", "ada@example.com", plainLetter)
	for i, messageID := range []string{"1", "1", "2"} {
		if status := r.deliver(t, messageID, job); status != http.StatusOK {
			t.Fatalf("delivery %d: HTTP %d", i, status)
		}
	}
	r.deliver(t, "3", insert("j", "grace@example.com", "Subject: another letter under the same id\r\n\r\n"))
	results := r.results.all()
	for _, got := range results {
		if diff := cmp.Diff(results[0], got); diff != "" {
			t.Error(diff)
		}
	}
	if len(results) != 4 || len(r.google.Letters("ada@example.com")) != 1 || len(r.google.Letters("grace@example.com")) != 0 {
		t.Errorf("%d results, %d letters", len(results), len(r.google.Letters("ada@example.com")))
	}
	r.wantCalls(t, 1, 1, 1)
	if lines := r.logs.attempts(t); lines[3]["replayed"] != true || lines[0]["replayed"] != nil {
		t.Errorf("the log does not tell a replay: %v", lines)
	}
}

func TestManyDeliveriesOfOneJobAtOnce(t *testing.T) {
	r := setup(t)
	job := insert("j", "ada@example.com", plainLetter)
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			if status := r.deliver(t, fmt.Sprint(i), job); status != http.StatusOK && status != http.StatusTooManyRequests {
				t.Errorf("HTTP %d", status)
			}
		})
	}
	group.Wait()
	r.wantCalls(t, 1, 1, 1)
}

func TestManyJobsOfOneNewUserAtOnce(t *testing.T) {
	r := setup(t)
	var group sync.WaitGroup
	for i := range 200 {
		group.Go(func() {
			// In one mailbox one change is made at a time: some are sent away, and come again.
			for r.deliver(t, fmt.Sprint(i), insert(fmt.Sprint("j", i), "ada@example.com", plainLetter)) == http.StatusTooManyRequests {
				runtime.Gosched()
			}
		})
	}
	group.Wait()
	r.wantCalls(t, 1, 1, 200)
}

// What cannot be right costs no call, and its author is told.
func TestRefusedBeforeAnyCall(t *testing.T) {
	past := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	for name, c := range map[string]struct {
		data   string
		status jobs.Status
		stage  jobs.Stage
		fault  jobs.Fault
		says   string
	}{
		"no JSON":              {"hello", jobs.Failed, jobs.StageDecode, jobs.FaultJob, "not valid JSON"},
		"nothing":              {"", jobs.Failed, jobs.StageDecode, jobs.FaultJob, "not valid JSON"},
		"unknown field":        {insert("j", "ada@example.com", plainLetter, "notBefore", 1), jobs.Failed, jobs.StageDecode, jobs.FaultJob, "notBefore: is not a known field"},
		"too long":             {insert("j", "ada@example.com", strings.Repeat("x", jobs.MaxData)), jobs.Failed, jobs.StageDecode, jobs.FaultJob, "at most 524288 are read"},
		"two sources":          {insert("j", "ada@example.com", plainLetter, "message", map[string]any{"raw": "YQ", "uri": "gs://a/b"}), jobs.Failed, jobs.StageDecode, jobs.FaultJob, "message: has both raw and uri"},
		"no letter":            {insert("j", "ada@example.com", plainLetter, "message", nil), jobs.Failed, jobs.StageDecode, jobs.FaultJob, "message: is missing"},
		"past its time":        {insert("j", "ada@example.com", plainLetter, "notAfter", past), jobs.Expired, jobs.StageDecode, jobs.FaultJob, "notAfter: is " + past},
		"another method":       {insert("j", "ada@example.com", plainLetter, "action", "gmail.users.messages.nsert"), jobs.Failed, jobs.StageDecode, jobs.FaultJob, `action: is "gmail.users.messages.nsert", which is no method that is known here (did you mean gmail.users.messages.insert?)`},
		"misspelt parameter":   {insert("j", "ada@example.com", plainLetter, "params", map[string]any{"internalDatesource": "dateHeader"}), jobs.Failed, jobs.StageDecode, jobs.FaultJob, "params.internalDatesource: is no parameter of gmail.users.messages.insert (did you mean internalDateSource?); accepted are"},
		"wrong enum":           {insert("j", "ada@example.com", plainLetter, "params", map[string]any{"internalDateSource": "now"}), jobs.Failed, jobs.StageDecode, jobs.FaultJob, `params.internalDateSource: is the string "now"; one of receivedTime, dateHeader is expected`},
		"wrong type":           {insert("j", "ada@example.com", plainLetter, "body", map[string]any{"labelIds": "INBOX"}), jobs.Failed, jobs.StageDecode, jobs.FaultJob, `body.labelIds: is the string "INBOX"; an array is expected`},
		"another's mailbox":    {insert("j", "ada@example.com", plainLetter, "params", map[string]any{"userId": "grace@example.com"}), jobs.Failed, jobs.StageDecode, jobs.FaultJob, `params.userId: is "grace@example.com"; accepted are me and the job's own user, ada@example.com`},
		"user denied":          {insert("j", "Admin@Example.com", plainLetter), jobs.Refused, jobs.StagePolicy, jobs.FaultOperator, "denies acting as admin@example.com"},
		"user of another firm": {insert("j", "ada@example.org", plainLetter), jobs.Refused, jobs.StagePolicy, jobs.FaultOperator, "does not list the domain example.org"},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t)
			if status := r.deliver(t, "4711", c.data); status != http.StatusOK {
				t.Fatalf("HTTP %d", status)
			}
			got := r.last(t)
			if got.Error == nil || got.Status != c.status || got.Error.Stage != c.stage || got.Error.Fault != c.fault || !strings.Contains(got.Error.Message, c.says) || got.Error.Fix == "" {
				t.Errorf("%+v %+v", got, got.Error)
			}
			if got.Job == "" {
				t.Error("the result does not say of which job it is")
			}
			r.wantCalls(t, 0, 0, 0)
		})
	}
}

func TestALetterThatIsNoneIsRefused(t *testing.T) {
	r := setup(t)
	for i, letter := range []string{" starts with a blank\r\n", "\tso does this"} {
		r.deliver(t, fmt.Sprint(i), insert("", "ada@example.com", letter, "id", nil))
		if got := r.last(t); got.Status != jobs.Failed || got.Error.Fault != jobs.FaultJob || got.Error.Stage != jobs.StageDecode {
			t.Errorf("%+v", got.Error)
		}
	}
	r.wantCalls(t, 0, 0, 0)
}

// The letter by reference is read in a dry run, too.
func TestDryRunReadsTheLetter(t *testing.T) {
	r := setup(t)
	r.deliver(t, "1", insert("j", "ada@example.com", "", "dryRun", true, "message", map[string]any{"uri": "gs://letters/none.eml"}))
	if got := r.last(t); got.Status != jobs.Failed || got.Error.Code != http.StatusNotFound {
		t.Errorf("%+v", got)
	}
	r.deliver(t, "1", insert("j", "ada@example.com", "", "dryRun", true, "message", map[string]any{"uri": "gs://letters/welcome.eml"}))
	if got := r.last(t); got.Status != jobs.Previewed {
		t.Errorf("%+v", got)
	}
}

// What is too long still says whose it is.
func TestAJobThatIsTooLongKeepsItsID(t *testing.T) {
	r := setup(t)
	r.deliver(t, "4711", insert("long/ada@example.com", "ada@example.com", strings.Repeat("x", jobs.MaxData)))
	if got := r.last(t); got.Job != "long/ada@example.com" || got.Batch != "long" || got.User != "ada@example.com" {
		t.Errorf("%+v", got)
	}
}

func TestWithoutAPolicyEverythingIsRefused(t *testing.T) {
	r := setup(t, func(_ *config.Config, o *functions.Options) { o.Policy = nil })
	r.deliver(t, "1", insert("j", "ada@example.com", plainLetter))
	got := r.last(t)
	if got.Status != jobs.Refused || got.Error.Reason != "noPolicy" || !strings.Contains(got.Error.Fix, "ONBEHALF_POLICY") || !strings.Contains(got.Error.Fix, "example.com") {
		t.Errorf("%+v", got.Error)
	}
	r.wantCalls(t, 0, 0, 0)
}

// A dry run becomes the user and calls nothing, and leaves the job to be done.
func TestDryRun(t *testing.T) {
	r := setup(t)
	for range 2 {
		r.deliver(t, "1", insert("j", "ada@example.com", plainLetter, "dryRun", true))
		if got := r.last(t); got.Status != jobs.Previewed || got.Error != nil {
			t.Errorf("%+v", got)
		}
	}
	r.wantCalls(t, 1, 1, 0)
	r.deliver(t, "2", insert("j", "ada@example.com", plainLetter))
	if got := r.last(t); got.Status != jobs.Succeeded {
		t.Errorf("%+v", got)
	}
	r.deliver(t, "3", insert("j2", "sam.suspended@example.com", plainLetter, "dryRun", true))
	if got := r.last(t); got.Status != jobs.Failed || got.Error.Fault != jobs.FaultUser {
		t.Errorf("%+v", got)
	}
	r.wantCalls(t, 2, 2, 1)
}

func TestNotAMessage(t *testing.T) {
	r := setup(t)
	for _, body := range []string{"", "hello", "{}", `{"message":{}}`} {
		if w := r.post(t, []byte(body)); w.Code != http.StatusBadRequest {
			t.Errorf("%q: HTTP %d", body, w.Code)
		}
	}
	if len(r.results.all()) != 0 {
		t.Error("a result without a job was published")
	}
}

// Where the result cannot be published the event comes again, and then the
// same result goes out with no second call.
func TestAResultThatCouldNotBePublished(t *testing.T) {
	r := setup(t)
	r.results.fail = 2
	job := insert("j", "ada@example.com", plainLetter)
	for i, want := range []int{503, 503, 200, 200} {
		if status := r.deliver(t, "1", job); status != want {
			t.Errorf("delivery %d: HTTP %d, want %d", i, status, want)
		}
	}
	results := r.results.all()
	if len(results) != 2 || results[0].Status != jobs.Succeeded || results[0].Attempts != 1 {
		t.Errorf("%+v", results)
	}
	r.wantCalls(t, 1, 1, 1)
}

// away is a ledger that is not there, or worse.
type away struct{ ledger.Ledger }

func (away) Claim(context.Context, string, ledger.Terms) (ledger.Claim, error) {
	panic("ya29.a-secret-in-a-panic")
}

func TestPanicIsAnsweredWithoutItsValue(t *testing.T) {
	r := setup(t, func(_ *config.Config, o *functions.Options) { o.Ledger = away{ledger.NewMemory(0)} })
	for range 2 {
		body, err := json.Marshal(map[string]any{"message": map[string]any{"data": []byte(insert("j", "ada@example.com", plainLetter)), "messageId": "1"}})
		if err != nil {
			t.Fatal(err)
		}
		w := r.post(t, body)
		if w.Code != http.StatusServiceUnavailable || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("HTTP %d %s", w.Code, w.Body)
		}
	}
	said := r.logs.String()
	if strings.Contains(said, "a-secret") || !strings.Contains(said, `"severity":"CRITICAL"`) || !strings.Contains(said, `"panics":2`) {
		t.Errorf("logged %s", said)
	}
}

type panicking struct{ functions.Results }

func (panicking) Publish(context.Context, jobs.Result) error { panic("ya29.a-secret-in-a-panic") }

func TestPanicWhileSettling(t *testing.T) {
	r := setup(t, func(_ *config.Config, o *functions.Options) { o.Results = panicking{} })
	if status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != http.StatusServiceUnavailable {
		t.Errorf("HTTP %d", status)
	}
	if strings.Contains(r.logs.String(), "a-secret") {
		t.Error("the panic's value was logged")
	}
	r.deliver(t, "1", insert("j", "ada@example.com", plainLetter))
	r.wantCalls(t, 1, 1, 1)
}

// A caller who has given up before anything was sent costs nothing but a
// redelivery.
func TestCancelledCaller(t *testing.T) {
	r := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	r.ServeHTTP(w, event(t, ctx, insert("j", "ada@example.com", plainLetter)))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("HTTP %d", w.Code)
	}
	r.wantCalls(t, 0, 0, 0)
	if status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != http.StatusOK {
		t.Errorf("then HTTP %d", status)
	}
	for i := range 20 { // now the token is at hand, and still no call is begun
		w := httptest.NewRecorder()
		r.ServeHTTP(w, event(t, ctx, insert(fmt.Sprint("warm", i), "ada@example.com", plainLetter)))
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("HTTP %d", w.Code)
		}
	}
	r.wantCalls(t, 1, 1, 1)
}
