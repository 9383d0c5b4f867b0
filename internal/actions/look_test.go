package actions_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// workspace is an embedded Google, and what was lost on the way from it.
type workspace struct {
	*actions.Actions
	google *sandbox.Server
	client *http.Client
	// lose has the next answer to a POST, PUT, PATCH or DELETE lost after the call was
	// carried out; lost is that answer.
	lose bool
	lost string
}

func newWorkspace(t *testing.T) *workspace {
	t.Helper()
	world := sandbox.DefaultWorld()
	google, err := sandbox.New(world, sandbox.Options{KeyBits: 1024})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(google)
	transport := &http.Transport{}
	t.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
	w := &workspace{google: google}
	to, err := sandbox.RewriteTransport(server.URL, transport)
	if err != nil {
		t.Fatal(err)
	}
	w.client = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		res, err := to.RoundTrip(r)
		if err != nil || !w.lose || r.Method == http.MethodGet {
			return res, err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		w.lose, w.lost = false, string(body)
		return nil, errors.Join(errors.New("the connection is gone"), err)
	})}
	if w.Actions, err = actions.New(t.Context(), actions.Config{HTTP: w.client, Own: w.client}); err != nil {
		t.Fatal(err)
	}
	return w
}

// as puts a token of the user on requests.
func (w *workspace) as(t *testing.T, user string, scopes []string) func(*http.Request) {
	t.Helper()
	const account = "onbehalf@onbehalf-sandbox.iam.gserviceaccount.com"
	own, err := w.google.Credentials(account).Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Unix()
	claims, _ := json.Marshal(map[string]any{
		"iss": account, "sub": user, "scope": strings.Join(scopes, " "), "aud": "https://oauth2.googleapis.com/token", "iat": now, "exp": now + 3600,
	})
	payload, _ := json.Marshal(map[string]string{"payload": string(claims)})
	signed := w.post(t, "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"+account+":signJwt", "application/json", string(payload), own.Value)
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {signed["signedJwt"]}}
	token := w.post(t, "https://oauth2.googleapis.com/token", "application/x-www-form-urlencoded", form.Encode(), "")["access_token"]
	if token == "" {
		t.Fatalf("no token for %s with %s", user, scopes)
	}
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func (w *workspace) post(t *testing.T, address, contentType, body, token string) map[string]string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := w.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for name, v := range answer {
		texts[name] = fmt.Sprint(v)
	}
	return texts
}

// call is the call that a job asks for, as a delivery of its own has it: ready to
// be made.
func (w *workspace) call(t *testing.T, job string) *actions.Call {
	t.Helper()
	call, err := w.Prepare(t.Context(), decode(t, job))
	if err != nil {
		t.Fatalf("%s: %v", job, err)
	}
	if err := call.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return call
}

func decode(t *testing.T, text string) jobs.Job {
	t.Helper()
	job, err := jobs.Decode([]byte("{"+text+"}"), "1")
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return job
}

// do makes the job's call under the id, if it needs one.
func (w *workspace) do(t *testing.T, job, id string) (actions.Answer, error) {
	t.Helper()
	call := w.call(t, job)
	use(t, call, id)
	return call.Do(t.Context(), w.as(t, decode(t, job).User, call.Scopes))
}

// use gives the call its id, if it needs one.
func use(t *testing.T, call *actions.Call, id string) {
	t.Helper()
	if id == "" {
		return
	}
	if err := call.UseID(id); err != nil {
		t.Fatal(err)
	}
}

// must makes a call that succeeds.
func (w *workspace) must(t *testing.T, job string) string {
	t.Helper()
	answer, err := w.do(t, job, "")
	if err != nil {
		t.Fatalf("%s: %v", job, err)
	}
	return string(answer.Response)
}

// look looks whether the job's call was carried out, as another process would.
func (w *workspace) look(t *testing.T, job, id string) (string, actions.Sight, error) {
	t.Helper()
	call := w.call(t, job)
	use(t, call, id)
	look := call.Look()
	if look == nil {
		t.Fatalf("%s: nobody can look", job)
	}
	answer, sight, err := look.Do(t.Context(), w.as(t, decode(t, job).User, look.Scopes))
	return string(answer.Response), sight, err
}

// newID gets the id that the job's call needs; empty where it needs none.
func (w *workspace) newID(t *testing.T, job string) string {
	t.Helper()
	call := w.call(t, job)
	if !call.NeedsID() {
		return ""
	}
	id, err := call.NewID(t.Context(), w.as(t, decode(t, job).User, call.Scopes))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func sameJSON(t *testing.T, what, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Errorf("%s: %q is no JSON: %v", what, got, err)
		return
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Errorf("%s: %q is no JSON: %v", what, want, err)
		return
	}
	if d := cmp.Diff(w, g); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func rawLetter(messageID string) string {
	return `"message":{"raw":"` + base64.RawURLEncoding.EncodeToString([]byte("From: g@example.com\r\nTo: ada@example.com\r\nSubject: hi\r\n"+messageID+"\r\nHello")) + `"}`
}

// lookups are calls of each way to look, with the read by which people count what
// came of them, and where in its answer that is counted.
var lookups = []struct {
	name, job, count, items string
	before                  int // that are there before the call; -1 is any number
}{
	{name: "a letter that is inserted", job: `"user":"ada@example.com","action":"gmail.users.messages.insert","body":{"labelIds":["INBOX"]},` + rawLetter(""), count: `"action":"gmail.users.messages.list"`, items: "messages"},
	{name: "with a Message-ID of its own", job: `"user":"ada@example.com","action":"gmail.users.messages.insert",` + rawLetter("Message-ID: <a.b$c+d=e@mail.example.com>\r\n"), count: `"action":"gmail.users.messages.list"`, items: "messages"},
	{name: "into the trash", job: `"user":"ada@example.com","action":"gmail.users.messages.insert","body":{"labelIds":["TRASH"]},` + rawLetter(""), count: `"action":"gmail.users.messages.list","params":{"includeSpamTrash":true}`, items: "messages"},
	{name: "of which the id alone is wanted", job: `"user":"ada@example.com","action":"gmail.users.messages.insert","params":{"fields":"id"},` + rawLetter(""), count: `"action":"gmail.users.messages.list"`, items: "messages"},
	{name: "that is imported", job: `"user":"ada@example.com","action":"gmail.users.messages.import",` + rawLetter(""), count: `"action":"gmail.users.messages.list"`, items: "messages"},
	{name: "that is composed", job: `"user":"ada@example.com","action":"gmail.users.messages.insert","message":{"compose":{"to":["ada@example.com"],"text":"Hello"}}`, count: `"action":"gmail.users.messages.list"`, items: "messages"},
	{name: "a draft", job: `"user":"ada@example.com","action":"gmail.users.drafts.create",` + rawLetter(""), count: `"action":"gmail.users.drafts.list"`, items: "drafts"},
	{name: "an event", job: `"user":"ada@example.com","action":"calendar.events.insert","params":{"calendarId":"primary"},"body":{"summary":"Welcome","start":{"dateTime":"2026-11-30T09:00:00Z"},"end":{"dateTime":"2026-11-30T10:00:00Z"}}`, count: `"action":"calendar.events.list","params":{"calendarId":"primary"}`, items: "items"},
	{name: "an event with its author's id", job: `"user":"ada@example.com","action":"calendar.events.insert","params":{"calendarId":"primary","fields":"id,start(dateTime)"},"body":{"id":"hello2026","start":{"dateTime":"2026-11-30T09:00:00Z"},"end":{"dateTime":"2026-11-30T10:00:00Z"}}`, count: `"action":"calendar.events.list","params":{"calendarId":"primary"}`, items: "items"},
	{name: "an event that is imported", job: `"user":"ada@example.com","action":"calendar.events.import","params":{"calendarId":"primary"},"body":{"iCalUID":"1@elsewhere.example","summary":"Talk","start":{"dateTime":"2026-11-30T10:00:00+01:00"},"end":{"dateTime":"2026-11-30T10:00:00Z"}}`, count: `"action":"calendar.events.list","params":{"calendarId":"primary"}`, items: "items"},
	{name: "a rule of a calendar", job: `"user":"ada@example.com","action":"calendar.acl.insert","params":{"calendarId":"primary"},"body":{"role":"reader","scope":{"type":"user","value":"Grace@example.com"}}`, count: `"action":"calendar.acl.list","params":{"calendarId":"primary"}`, items: "items", before: 1},
	{name: "a file", job: `"user":"ada@example.com","action":"drive.files.create","body":{"name":"a.txt"},"media":{"data":"YQ==","contentType":"text/plain"}`, count: `"action":"drive.files.list"`, items: "files"},
	{name: "a folder", job: `"user":"ada@example.com","action":"drive.files.create","params":{"fields":"id,trashed"},"body":{"name":"Reports","mimeType":"application/vnd.google-apps.folder"}`, count: `"action":"drive.files.list"`, items: "files"},
	{name: "a label", job: `"user":"ada@example.com","action":"gmail.users.labels.create","body":{"name":"Invoices","labelListVisibility":"labelShow","messageListVisibility":"show"}`, count: `"action":"gmail.users.labels.list"`, items: "labels", before: -1},
	{name: "a filter", job: `"user":"ada@example.com","action":"gmail.users.settings.filters.create","body":{"criteria":{"from":"bob@example.org","size":1000,"sizeComparison":"larger"},"action":{"removeLabelIds":["INBOX"]}}`, count: `"action":"gmail.users.settings.filters.list"`, items: "filter"},
	{name: "an address to send as", job: `"user":"ada@example.com","action":"gmail.users.settings.sendAs.create","body":{"sendAsEmail":"Countess@example.com","displayName":"The Countess","signature":"<b>A</b><script>x</script>","treatAsAlias":false}`, count: `"action":"gmail.users.settings.sendAs.list"`, items: "sendAs", before: 1},
	{name: "an address to forward to", job: `"user":"ada@example.com","action":"gmail.users.settings.forwardingAddresses.create","body":{"forwardingEmail":"grace@example.com"}`, count: `"action":"gmail.users.settings.forwardingAddresses.list"`, items: "forwardingAddresses"},
	{name: "a delegate", job: `"user":"ada@example.com","action":"gmail.users.settings.delegates.create","body":{"delegateEmail":"grace@example.com"}`, count: `"action":"gmail.users.settings.delegates.list"`, items: "delegates"},
	{name: "a user", job: `"user":"admin@example.com","action":"directory.users.insert","body":{"primaryEmail":"New@example.com","password":"correct horse","name":{"givenName":"N","familyName":"W"},"suspended":false,"phones":[{"value":"+15550100","type":"work"}]}`, count: `"action":"directory.users.list","params":{"customer":"my_customer","query":"email:new@example.com"}`, items: "users"},
	{name: "a group", job: `"user":"admin@example.com","action":"directory.groups.insert","body":{"email":"friends@example.com","name":"Friends"}`, count: `"action":"directory.groups.list","params":{"customer":"my_customer"}`, items: "groups", before: 1},
	{name: "a member", job: `"user":"admin@example.com","action":"directory.members.insert","params":{"groupKey":"engineers@example.com"},"body":{"email":"edsger@example.com","role":"MEMBER","delivery_settings":"DIGEST"}`, count: `"action":"directory.members.list","params":{"groupKey":"engineers@example.com"}`, items: "members", before: 3},
	{name: "a licence", job: `"user":"admin@example.com","action":"licensing.licenseAssignments.insert","params":{"productId":"Google-Apps","skuId":"1010020020"},"body":{"userId":"grace@example.com"}`, count: `"action":"licensing.licenseAssignments.listForProduct","params":{"productId":"Google-Apps","customerId":"C0sandbox"}`, items: "items"},
	{name: "a message with its author's id", job: `"user":"ada@example.com","action":"chat.spaces.messages.create","params":{"parent":"{space}","messageId":"client-1"},"body":{"text":"*Hello*"}`, count: `"action":"chat.spaces.messages.list","params":{"parent":"{space}"}`, items: "messages"},
	{name: "a course with an alias", job: `"user":"admin@example.com","action":"classroom.courses.create","body":{"id":"d:math","name":"Mathematics","ownerId":"me"}`, count: `"action":"classroom.courses.list"`, items: "courses"},
}

// For each way to look: what was done is seen, with the answer that was lost; what
// was not done is not seen, and then made once.
func TestLooks(t *testing.T) {
	for _, c := range lookups {
		for _, fault := range []string{"lost", "cut"} {
			t.Run(c.name+", "+fault, func(t *testing.T) {
				c, w := c, newWorkspace(t)
				w.setUp(t, &c.job, &c.count)
				before := w.count(t, c.count, c.items)
				if c.before >= 0 && before != c.before {
					t.Fatalf("there are %d before", before)
				}
				id := w.newID(t, c.job)
				w.fail(t, c.job, id, fault)
				answer, sight, err := w.look(t, c.job, id)
				switch {
				case err != nil:
					t.Fatal(err)
				case fault == "lost" && sight != actions.Present, fault == "cut" && sight != actions.Absent:
					t.Errorf("%s: %v is seen: %s", fault, sight, answer)
				case fault == "lost":
					sameJSON(t, "the answer", answer, w.lost)
				default:
					if _, err := w.do(t, c.job, id); err != nil {
						t.Errorf("once more: %v", err)
					}
				}
				if got := w.count(t, c.count, c.items); got != before+1 {
					t.Errorf("%d are there, after %d; want one more", got, before)
				}
				// Made again all the same, it is refused, or takes the first one's place; letters
				// alone nothing protects.
				if !strings.Contains(c.job, `"gmail.users.messages.`) && !strings.Contains(c.job, `"gmail.users.drafts.`) {
					_, err := w.do(t, c.job, id)
					if got := w.count(t, c.count, c.items); got != before+1 {
						t.Errorf("twice: %d are there, after %d (%v)", got, before, err)
					}
				}
			})
		}
	}
}

// setUp makes what a job's call needs to be there.
func (w *workspace) setUp(t *testing.T, texts ...*string) {
	t.Helper()
	if !strings.Contains(*texts[0], "{space}") {
		return
	}
	var space struct{ Name string }
	made := w.must(t, `"user":"ada@example.com","action":"chat.spaces.create","body":{"displayName":"Analytical Engine","spaceType":"SPACE"}`)
	if err := json.Unmarshal([]byte(made), &space); err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		*text = strings.ReplaceAll(*text, "{space}", space.Name)
	}
}

// count counts what a list has, as the job's user sees it.
func (w *workspace) count(t *testing.T, read, items string) int {
	t.Helper()
	user := "admin@example.com"
	if strings.Contains(read, `"gmail.`) || strings.Contains(read, `"calendar.`) || strings.Contains(read, `"drive.`) || strings.Contains(read, `"chat.`) {
		user = "ada@example.com"
	}
	var answer map[string]json.RawMessage
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(w.must(t, `"user":"`+user+`",`+read)), &answer); err != nil {
		t.Fatal(err)
	}
	if answer[items] != nil {
		if err := json.Unmarshal(answer[items], &list); err != nil {
			t.Fatal(err)
		}
	}
	return len(list)
}

// fail makes a call whose answer is lost, after the call was carried out or before.
func (w *workspace) fail(t *testing.T, job, id, fault string) {
	t.Helper()
	call := w.call(t, job)
	use(t, call, id)
	if !call.Kept() {
		t.Error("what comes of it is not kept")
	}
	authorize := w.as(t, decode(t, job).User, call.Scopes)
	if w.lose = fault == "lost"; !w.lose {
		if err := w.google.Order(sandbox.Fault{Kind: "cut", Call: decode(t, job).Action, Times: 1}); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := call.Do(t.Context(), authorize)
	var e *actions.Error
	if !errors.As(err, &e) || !e.Doubtful {
		t.Fatalf("%s: %s, %#v; want a doubt", fault, answer.Response, err)
	}
}
