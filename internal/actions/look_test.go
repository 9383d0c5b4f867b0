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
	{name: "a copy", job: `"user":"ada@example.com","action":"drive.files.copy","params":{"fileId":"{file}"},"body":{"name":"b.txt"}`, count: `"action":"drive.files.list"`, items: "files", before: 1},
	{name: "a permission", job: `"user":"ada@example.com","action":"drive.permissions.create","params":{"fileId":"{file}","sendNotificationEmail":false},"body":{"type":"user","role":"writer","emailAddress":"Grace@example.com"}`, count: `"action":"drive.permissions.list","params":{"fileId":"{file}"}`, items: "permissions", before: 1},
	{name: "a permission for anyone", job: `"user":"ada@example.com","action":"drive.permissions.create","params":{"fileId":"{file}","fields":"id,role"},"body":{"type":"anyone","role":"reader"}`, count: `"action":"drive.permissions.list","params":{"fileId":"{file}"}`, items: "permissions", before: 1},
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

// setUp makes what jobs need to be there, and puts its name in the place of {x}.
func (w *workspace) setUp(t *testing.T, texts ...*string) {
	t.Helper()
	for place, made := range map[string]struct{ job, field string }{
		"{space}": {`"user":"ada@example.com","action":"chat.spaces.create","body":{"displayName":"Analytical Engine","spaceType":"SPACE"}`, "name"},
		"{file}":  {`"user":"ada@example.com","action":"drive.files.create","body":{"name":"a.txt"},"media":{"data":"YQ==","contentType":"text/plain"}`, "id"},
		"{doc}":   {`"user":"ada@example.com","action":"drive.files.create","body":{"name":"a","mimeType":"application/vnd.google-apps.document"}`, "id"},
		"{event}": {`"user":"ada@example.com","action":"calendar.events.insert","params":{"calendarId":"primary"},"body":{"summary":"Talk","start":{"date":"2026-11-30"},"end":{"date":"2026-12-01"}}`, "id"},
	} {
		for _, text := range texts {
			if !strings.Contains(*text, place) {
				continue
			}
			if made.job != "" {
				var answer map[string]any
				if err := json.Unmarshal([]byte(w.must(t, made.job)), &answer); err != nil {
					t.Fatal(err)
				}
				made.job, made.field = "", answer[made.field].(string)
			}
			*text = strings.ReplaceAll(*text, place, made.field)
		}
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

// What a letter from elsewhere has for a Message-ID may mean something to a search, or
// be none: then nobody is asked.
func TestHostileMessageIDsAreNotSearchedFor(t *testing.T) {
	for _, header := range []string{
		"<a@b OR in:inbox>", "<a b@x>", "<a@x} {from:boss@x>", "<\"a\"@x>", "<(a)@x>", "<a@x>\r\n -in:inbox", "a@x", "<a@x", "<>", "<@x>", "<a@b@c>",
		"<a:b@x>", "<a,b@x>", "<-a@x>", "<a*@x>", "<a@[127.0.0.1]>", "<a\x00b@x>", "<gr\xfc\xdfe@x>", "<a\u202e@x>", "<" + strings.Repeat("a", 300) + "@x>",
		"<a@x> <b@x>", "<a@x>\r\nMessage-ID: <b@x>", "<a@x>\r\nmessage-id: <a@x>",
	} {
		w := newWorkspace(t)
		_, sight, err := w.look(t, `"user":"ada@example.com","action":"gmail.users.messages.insert",`+rawLetter("Message-ID: "+header+"\r\n"), "")
		if calls := w.google.Calls(); err != nil || sight != actions.Unclear || calls["gmail.users.messages.list"] != 0 {
			t.Errorf("%q: %v is seen after %v (%v)", header, sight, calls, err)
		}
	}
}

// mailbox answers a search with hits, and shows the letters; the letter of that id is
// gone.
func mailbox(t *testing.T, hits int, letter string) *workspace {
	t.Helper()
	var list []string
	for i := range hits {
		list = append(list, fmt.Sprintf(`{"id":"%d"}`, i+1))
	}
	g := roundTripper(func(r *http.Request) (*http.Response, error) {
		body, status := `{"messages":[`+strings.Join(list, ",")+`],"resultSizeEstimate":1}`, http.StatusOK
		if _, id, one := strings.Cut(r.URL.Path, "/messages/"); one {
			body = strings.ReplaceAll(letter, "{id}", id)
			if r.URL.Query().Get("format") != "metadata" || r.URL.Query().Get("metadataHeaders") != "Message-ID" {
				t.Errorf("asks for more than it needs: %s", r.URL)
			}
			if letter == "" {
				body, status = `{"error":{"code":404}}`, http.StatusNotFound
			}
		}
		return answering(status, strings.NewReader(body))(r)
	})
	return &workspace{Actions: newActions(t, g)}
}

// A search is believed only where the letter that it finds has just that Message-ID.
func TestASearchIsNotBelieved(t *testing.T) {
	const header = `{"id":"{id}","threadId":"t","labelIds":["INBOX"],"payload":{"headers":[%s]}}`
	one := func(headers string) string { return fmt.Sprintf(header, headers) }
	insert := `"user":"ada@example.com","action":"gmail.users.messages.insert",` + rawLetter("Message-ID: <a@x>\r\n")
	send := strings.Replace(insert, "insert", "send", 1)
	for name, c := range map[string]struct {
		job, letter string
		hits        int
		want        actions.Sight
	}{
		"it":               {insert, one(`{"name":"Message-Id","value":" <a@x> "}`), 1, actions.Present},
		"none":             {insert, "", 0, actions.Absent},
		"another":          {insert, one(`{"name":"Message-ID","value":"<ab@x>"}`), 1, actions.Absent},
		"in other letters": {insert, one(`{"name":"Message-ID","value":"<A@x>"}`), 1, actions.Absent},
		"more than it":     {insert, one(`{"name":"Message-ID","value":"<a@x> <b@x>"}`), 1, actions.Absent},
		"twice":            {insert, one(`{"name":"Message-ID","value":"<a@x>"},{"name":"Message-ID","value":"<a@x>"}`), 1, actions.Absent},
		"another header":   {insert, one(`{"name":"References","value":"<a@x>"}`), 1, actions.Absent},
		"no header":        {insert, `{"id":"{id}"}`, 1, actions.Absent},
		"deleted since":    {insert, "", 1, actions.Absent},
		"too many":         {insert, one(`{"name":"Message-ID","value":"<b@x>"}`), 6, actions.Unclear},
		"not sent":         {send, "", 0, actions.Unclear},
		"received":         {send, one(`{"name":"Message-ID","value":"<a@x>"}`), 1, actions.Unclear},
		"sent":             {send, strings.Replace(one(`{"name":"Message-ID","value":"<a@x>"}`), "INBOX", "SENT", 1), 1, actions.Present},
		"sent as another":  {send, strings.Replace(one(`{"name":"Message-ID","value":"<b@x>"}`), "INBOX", "SENT", 1), 1, actions.Unclear},
	} {
		look := mailbox(t, c.hits, c.letter).call(t, c.job).Look()
		answer, sight, err := look.Do(t.Context(), func(*http.Request) {})
		if err != nil || sight != c.want {
			t.Errorf("%s: %v is seen; want %v (%v)", name, sight, c.want, err)
		}
		if sight == actions.Present {
			label := "INBOX"
			if c.job == send {
				label = "SENT"
			}
			sameJSON(t, name, string(answer.Response), `{"id":"1","threadId":"t","labelIds":["`+label+`"]}`)
		} else if answer.Response != nil {
			t.Errorf("%s: an answer is made up: %s", name, answer.Response)
		}
	}
}

const tenToEleven = `"start":{"dateTime":"2026-11-30T10:00:00Z"},"end":{"dateTime":"2026-11-30T11:00:00Z"}`

// What is seen where that is less plain, after jobs that were done before, and the call
// itself with a fault, or not at all.
func TestLooksThatAreLessPlain(t *testing.T) {
	const (
		ada    = `"user":"ada@example.com","action":`
		grace  = `"user":"grace@example.com","action":`
		insert = `"gmail.users.messages.insert",`
		event  = `"calendar.events.insert","params":{"calendarId":"primary"},"body":{` + tenToEleven + `}`
		label  = `"gmail.users.labels.create","body":{"name":"Invoices","labelListVisibility":"labelHide"}`
		filter = `"gmail.users.settings.filters.create","body":{"criteria":{"from":"bob@example.org"},"action":{"removeLabelIds":["INBOX"]}}`
		member = `"user":"admin@example.com","action":"directory.members.insert","params":{"groupKey":"engineers@example.com"},"body":{"email":"edsger@example.com"`
	)
	for _, c := range []struct {
		name, job, fault string
		before           []string // jobs that are done before
		want             actions.Sight
	}{
		// The Message-ID of two users' jobs may be one; their mailboxes are two.
		{name: "a letter of another user's", job: grace + insert + rawLetter(""), before: []string{ada + insert + rawLetter("")}, want: actions.Absent},
		{name: "a letter that was sent", job: ada + `"gmail.users.messages.send",` + rawLetter(""), fault: "lost", want: actions.Present},
		{name: "a letter that was not sent", job: ada + `"gmail.users.messages.send",` + rawLetter(""), fault: "cut", want: actions.Unclear},
		{name: "a letter that came, and was not sent", job: ada + `"gmail.users.messages.send",` + rawLetter(""), before: []string{ada + insert + rawLetter("")}, fault: "cut", want: actions.Unclear},
		{name: "a letter that is only drafted", job: ada + `"gmail.users.drafts.send",` + rawLetter(""), before: []string{ada + `"gmail.users.drafts.create",` + rawLetter("")}, fault: "cut", want: actions.Unclear},
		{name: "a letter that was sent as a draft", job: ada + `"gmail.users.drafts.send",` + rawLetter(""), fault: "lost", want: actions.Present},
		{name: "a draft like a letter that came", job: ada + `"gmail.users.drafts.create",` + rawLetter(""), before: []string{ada + insert + rawLetter("")}, fault: "cut", want: actions.Absent},
		{name: "an event in another's calendar", job: grace + event, before: []string{ada + event}, want: actions.Absent},
		{name: "an event like another job's", job: ada + event, before: []string{`"id":"2",` + ada + event}, fault: "cut", want: actions.Absent},
		{name: "an import that differs", job: ada + `"calendar.events.import","params":{"calendarId":"primary"},"body":{"iCalUID":"1@x",` + tenToEleven + `}`, before: []string{ada + `"calendar.events.import","params":{"calendarId":"primary"},"body":{"iCalUID":"1@x","start":{"dateTime":"2026-11-30T10:00:00Z"},"end":{"dateTime":"2026-11-30T12:00:00Z"}}`}, fault: "cut", want: actions.Unclear},
		{name: "a change that guests are told", job: ada + `"calendar.events.patch","params":{"calendarId":"primary","eventId":"{event}","sendUpdates":"all"},"body":{"summary":"Lecture"}`, fault: "lost", want: actions.Present},
		{name: "a change that is not there", job: ada + `"calendar.events.patch","params":{"calendarId":"primary","eventId":"{event}","sendUpdates":"all"},"body":{"summary":"Lecture"}`, fault: "cut", want: actions.Unclear},
		{name: "a deletion that guests are told", job: ada + `"calendar.events.delete","params":{"calendarId":"primary","eventId":"{event}","sendUpdates":"all"}`, fault: "lost", want: actions.Present},
		{name: "a deletion that was not done", job: ada + `"calendar.events.delete","params":{"calendarId":"primary","eventId":"{event}","sendUpdates":"all"}`, fault: "cut", want: actions.Absent},
		{name: "a label that differs", job: ada + label, before: []string{ada + `"gmail.users.labels.create","body":{"name":"invoices","labelListVisibility":"labelShow"}`}, fault: "cut", want: actions.Another},
		{name: "a filter with more criteria", job: ada + filter, before: []string{ada + `"gmail.users.settings.filters.create","body":{"criteria":{"from":"bob@example.org","subject":"x"},"action":{"removeLabelIds":["INBOX"]}}`}, fault: "cut", want: actions.Absent},
		{name: "a filter with another action", job: ada + filter, before: []string{ada + `"gmail.users.settings.filters.create","body":{"criteria":{"from":"bob@example.org"},"action":{"removeLabelIds":["INBOX"],"addLabelIds":["STARRED"]}}`}, fault: "cut", want: actions.Absent},
		{name: "a member with another role", job: member + `,"role":"OWNER"}`, before: []string{member + `,"role":"MEMBER"}`}, fault: "cut", want: actions.Another},
		{name: "a permission with another role", job: ada + `"drive.permissions.create","params":{"fileId":"{file}"},"body":{"type":"user","role":"writer","emailAddress":"grace@example.com"}`, before: []string{ada + `"drive.permissions.create","params":{"fileId":"{file}"},"body":{"type":"user","role":"reader","emailAddress":"grace@example.com"}`}, fault: "cut", want: actions.Another},
		{name: "in a calendar that is not there", job: ada + strings.Replace(event, "primary", "nowhere@example.com", 1), fault: "cut", want: actions.Absent},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorkspace(t)
			texts := []*string{&c.job}
			for i := range c.before {
				texts = append(texts, &c.before[i])
			}
			w.setUp(t, texts...)
			for _, job := range c.before {
				w.must(t, job)
			}
			if c.fault != "" {
				w.fail(t, c.job, "", c.fault)
			}
			answer, sight, err := w.look(t, c.job, "")
			if err != nil || sight != c.want {
				t.Errorf("%v is seen; want %v: %s (%v)", sight, c.want, answer, err)
			}
			if sight == actions.Present && w.lost != "" {
				sameJSON(t, "the answer", answer, w.lost)
			}
		})
	}
}

// What was done, and undone since, was done.
func TestACancelledEventWasMade(t *testing.T) {
	w := newWorkspace(t)
	job := `"user":"ada@example.com","action":"calendar.events.insert","params":{"calendarId":"primary"},"body":{` + tenToEleven + `}`
	w.fail(t, job, "", "lost")
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(w.lost), &made); err != nil {
		t.Fatal(err)
	}
	w.must(t, `"user":"ada@example.com","action":"calendar.events.delete","params":{"calendarId":"primary","eventId":"`+made.ID+`"}`)
	if answer, sight, err := w.look(t, job, ""); err != nil || sight != actions.Present || !strings.Contains(answer, `"cancelled"`) {
		t.Errorf("%v is seen: %s (%v)", sight, answer, err)
	}
	// Nor is it made again.
	call := w.call(t, job)
	_, err := call.Do(t.Context(), w.as(t, "ada@example.com", call.Scopes))
	var e *actions.Error
	if !errors.As(err, &e) || e.Status != http.StatusConflict || !call.DoneBefore(e, false) {
		t.Errorf("once more: %v", err)
	}
}

// A look that is refused shows nothing.
func TestRefusedLooks(t *testing.T) {
	letter := `"user":"ada@example.com","action":"gmail.users.messages.insert",` + rawLetter("")
	for call, job := range map[string]string{
		"gmail.users.messages.list": letter,
		"gmail.users.messages.get":  letter,
		"gmail.users.drafts.get":    `"user":"ada@example.com","action":"gmail.users.drafts.create",` + rawLetter(""),
		"gmail.users.labels.list":   `"user":"ada@example.com","action":"gmail.users.labels.create","body":{"name":"x"}`,
		"calendar.events.get":       `"user":"ada@example.com","action":"calendar.events.insert","params":{"calendarId":"primary"},"body":{` + tenToEleven + `}`,
	} {
		for row, status := range map[string]int{"A8": 403, "A12": 429, "A17d": 503} {
			w := newWorkspace(t)
			w.fail(t, job, "", "lost")
			if err := w.google.Order(sandbox.Fault{Row: row, Call: call}); err != nil {
				t.Fatal(err)
			}
			answer, sight, err := w.look(t, job, "")
			var e *actions.Error
			if !errors.As(err, &e) || e.Status != status || e.Doubtful || sight != actions.Unclear || answer != "" {
				t.Errorf("%s, HTTP %d: %v is seen: %s (%#v)", call, status, sight, answer, err)
			}
		}
	}
}

// Calls of which nobody can find out what came of them, and of which nobody has to.
func TestWhatCannotBeLookedUp(t *testing.T) {
	w := newWorkspace(t)
	for job, kept := range map[string]bool{
		`"gmail.users.messages.insert","params":{"deleted":true},` + rawLetter(""):                          true, // only Vault sees it
		`"gmail.users.drafts.send","body":{"id":"r1"}`:                                                      true,
		`"gmail.users.drafts.send","body":{"id":"r1"},` + rawLetter(""):                                     true,
		`"gmail.users.settings.sendAs.verify","params":{"sendAsEmail":"a@example.com"}`:                     true,
		`"calendar.events.quickAdd","params":{"calendarId":"primary","text":"Lunch"}`:                       true,
		`"calendar.events.insert","params":{"calendarId":"primary"},"body":{"id":null,` + tenToEleven + `}`: true,
		`"calendar.events.insert","params":{"calendarId":"primary"},"body":{"id":"..",` + tenToEleven + `}`: true,
		`"drive.files.create","body":{"mimeType":"application/vnd.google-apps.document"}`:                   true,
		`"drive.files.create","body":{"name":"a"}`:                                                          true, // before it has an id
		`"drive.files.emptyTrash"`: true,
		`"directory.members.insert","params":{"groupKey":"g@example.com"},"body":{"role":"MEMBER"}`:                                             true,
		`"directory.orgunits.insert","params":{"customerId":"my_customer"},"body":{"name":"a","parentOrgUnitId":"id:1","parentOrgUnitPath":""}`: true,
		`"classroom.courses.create","body":{"name":"a","ownerId":"me"}`:                                                                         true,
		`"chat.spaces.create","body":{"spaceType":"SPACE","displayName":"a"}`:                                                                   true, // made again under its request id
		`"gmail.users.messages.delete","params":{"id":"1"}`:                                                                                     true, // 404 the second time
		`"calendar.events.delete","params":{"calendarId":"c","eventId":"e"}`:                                                                    true,
		`"calendar.events.patch","params":{"calendarId":"c","eventId":"e"},"body":{"summary":"x"}`:                                              false,
		`"calendar.events.patch","params":{"calendarId":"c","eventId":"e","sendUpdates":"none"},"body":{"summary":"x"}`:                         false,
		`"gmail.users.messages.modify","params":{"id":"1"},"body":{"addLabelIds":["INBOX"]}`:                                                    false,
		`"gmail.users.settings.updateVacation","body":{"enableAutoReply":true}`:                                                                 false,
		`"gmail.users.messages.list"`: false,
	} {
		call, err := w.Prepare(t.Context(), decode(t, `"user":"ada@example.com","action":`+job))
		if err != nil {
			t.Errorf("%s: %v", job, err)
		} else if look := call.Look(); look != nil || call.Kept() != kept {
			t.Errorf("%s: look %+v, kept %v; want none, %v", job, look, call.Kept(), kept)
		}
	}
}

// A look asks for no more than it needs: the call's own scopes where they do.
func TestWhatALookTakes(t *testing.T) {
	w := newWorkspace(t)
	for job, want := range map[string]struct {
		scopes string
		units  int
		wait   time.Duration
	}{
		`"gmail.users.messages.insert",` + rawLetter(""):                                                          {"gmail.readonly", 25, time.Minute},
		`"gmail.users.drafts.create",` + rawLetter(""):                                                            {"gmail.compose", 25, time.Minute},
		`"gmail.users.labels.create","body":{"name":"x"}`:                                                         {"gmail.labels", 1, 10 * time.Second},
		`"gmail.users.settings.delegates.create","body":{"delegateEmail":"a@example.com"}`:                        {"gmail.settings.basic", 1, 10 * time.Second},
		`"calendar.events.insert","params":{"calendarId":"c"},"body":{` + tenToEleven + `}`:                       {"calendar.events", 1, 10 * time.Second},
		`"drive.files.create","body":{"id":"1234567890","name":"x"}`:                                              {"drive.file", 1, 10 * time.Second},
		`"drive.files.create","body":{"id":"1234567890","parents":["appDataFolder"]}`:                             {"drive.appdata", 1, 10 * time.Second},
		`"chat.spaces.messages.create","params":{"parent":"spaces/a","messageId":"client-1"},"body":{"text":"x"}`: {"chat.messages.readonly", 1, 10 * time.Second},
		`"directory.groups.insert","body":{"email":"g@example.com"}`:                                              {"admin.directory.group", 1, 10 * time.Second},
		`"people.contactGroups.create","body":{"contactGroup":{"name":"Friends"}}`:                                {"contacts", 1, 10 * time.Second},
	} {
		look := w.call(t, `"user":"ada@example.com","action":`+job).Look()
		if look == nil {
			t.Errorf("%s: nobody can look", job)
		} else if short(look.Scopes) != want.scopes || look.Units != want.units || look.Wait != want.wait {
			t.Errorf("%s: takes %s, %d units, after %s; want %+v", job, short(look.Scopes), look.Units, look.Wait, want)
		}
	}
}

// How what the embedded Workspace lacks is read, and what is made of the answers.
func TestLooksByScript(t *testing.T) {
	for _, c := range []struct {
		job, asks, answer string
		status            int
		want              actions.Sight
		shows             string
	}{
		{job: `"directory.orgunits.insert","params":{"customerId":"my_customer"},"body":{"name":"R&D","parentOrgUnitPath":"/Eng"}`, asks: "/admin/directory/v1/customer/my_customer/orgunits/Eng/R&D", answer: `{"name":"R&D","parentOrgUnitPath":"/Eng","orgUnitPath":"/Eng/R&D"}`, want: actions.Present},
		{job: `"directory.orgunits.insert","params":{"customerId":"my_customer"},"body":{"name":"Eng","parentOrgUnitPath":"/"}`, asks: "/admin/directory/v1/customer/my_customer/orgunits/Eng", answer: `{"name":"Eng","parentOrgUnitPath":"/","description":"x"}`, want: actions.Present},
		{job: `"directory.orgunits.insert","params":{"customerId":"my_customer"},"body":{"name":"Eng","parentOrgUnitPath":"/","description":"y"}`, asks: "/admin/directory/v1/customer/my_customer/orgunits/Eng", answer: `{"name":"Eng","parentOrgUnitPath":"/","description":"x"}`, want: actions.Another},
		{job: `"directory.users.insert","body":{"primaryEmail":"new@example.com","password":"p","name":{"givenName":"N","familyName":"W"}}`, asks: "/admin/directory/v1/users/new@example.com?projection=full", answer: `{"primaryEmail":"old@example.com","aliases":["new@example.com"],"name":{"givenName":"N","familyName":"W"}}`, want: actions.Another},
		{job: `"directory.users.aliases.insert","params":{"userKey":"a@example.com"},"body":{"alias":"B@example.com"}`, asks: "/admin/directory/v1/users/a@example.com/aliases", answer: `{"aliases":[{"alias":"a@example.com"},{"alias":"b@example.com"}]}`, want: actions.Present, shows: `{"alias":"b@example.com"}`},
		{job: `"directory.users.aliases.insert","params":{"userKey":"a@example.com"},"body":{"alias":"b@example.com"}`, asks: "/admin/directory/v1/users/a@example.com/aliases", answer: `{"kind":"admin#directory#aliases"}`, want: actions.Absent},
		{job: `"directory.schemas.insert","params":{"customerId":"my_customer"},"body":{"schemaName":"hr","fields":[{"fieldName":"badge","fieldType":"INT64"}]}`, asks: "/admin/directory/v1/customer/my_customer/schemas/hr", answer: `{"schemaName":"hr","fields":[{"fieldId":"1","fieldName":"badge","fieldType":"INT64"}]}`, want: actions.Present},
		{job: `"people.contactGroups.create","body":{"contactGroup":{"name":"Friends","memberCount":7}}`, asks: "/v1/contactGroups?groupFields=clientData,groupType,memberCount,metadata,name&pageSize=1000", answer: `{"contactGroups":[{"resourceName":"contactGroups/9","name":"friends"}]}`, want: actions.Present, shows: `{"resourceName":"contactGroups/9","name":"friends"}`},
		{job: `"people.contactGroups.create","body":{"contactGroup":{"name":"Friends"}}`, asks: "/v1/contactGroups?groupFields=clientData,groupType,memberCount,metadata,name&pageSize=1000&pageToken=always", answer: `{"contactGroups":[],"nextPageToken":"always"}`, want: actions.Unclear},
		{job: `"classroom.courses.students.create","params":{"courseId":"1"},"body":{"userId":"me"}`, asks: "/v1/courses/1/students/me", answer: `{"courseId":"1","userId":"117"}`, want: actions.Present},
		{job: `"classroom.courses.students.create","params":{"courseId":"1"},"body":{"userId":"me"}`, asks: "/v1/courses/1/students/me", answer: `{"error":{"code":404}}`, status: 404, want: actions.Absent},
		{job: `"gmail.users.settings.sendAs.create","params":{"fields":"sendAsEmail"},"body":{"sendAsEmail":"a@example.com","isDefault":false,"treatAsAlias":true}`, asks: "/gmail/v1/users/me/settings/sendAs/a@example.com", answer: `{"sendAsEmail":"a@example.com","treatAsAlias":true,"signature":"secret"}`, want: actions.Present, shows: `{"sendAsEmail":"a@example.com"}`},
		{job: `"calendar.acl.insert","params":{"calendarId":"primary"},"body":{"role":"reader","scope":{"type":"default"}}`, asks: "/calendar/v3/calendars/primary/acl", answer: `{"items":[{"role":"reader","scope":{"type":"domain","value":"example.com"}}]}`, want: actions.Absent},
		{job: `"drive.files.create","params":{"fields":"id,owners/me"},"body":{"id":"1234567890"}`, asks: "/drive/v3/files/1234567890?fields=id,owners/me&supportsAllDrives=true", answer: `{"id":"1234567890","owners":[{"me":true}]}`, want: actions.Present},
		{job: `"drive.files.create","body":{"id":"1234567890"}`, asks: "/drive/v3/files/1234567890?supportsAllDrives=true", answer: `{"error":{"code":410}}`, status: 410, want: actions.Absent},
	} {
		g := &google{status: max(c.status, 200), body: c.answer}
		if c.status != 0 {
			g.status = c.status
		}
		w := &workspace{Actions: newActions(t, g)}
		look := w.call(t, `"user":"ada@example.com","action":`+c.job).Look()
		answer, sight, err := look.Do(t.Context(), func(*http.Request) {})
		if err != nil || sight != c.want {
			t.Errorf("%s: %v is seen; want %v (%v)", c.job, sight, c.want, err)
		}
		query := g.request.URL.Query()
		query.Del("alt")
		query.Del("prettyPrint")
		asked, err := url.QueryUnescape(strings.TrimSuffix(g.request.URL.Path+"?"+query.Encode(), "?"))
		if err != nil {
			t.Fatal(err)
		}
		if asked != c.asks || g.request.Method != http.MethodGet {
			t.Errorf("%s: asks %s %s; want %s", c.job, g.request.Method, asked, c.asks)
		}
		switch {
		case sight == actions.Present && c.shows == "":
			sameJSON(t, c.job, string(answer.Response), c.answer)
		case sight == actions.Present:
			sameJSON(t, c.job, string(answer.Response), c.shows)
		case answer.Response != nil:
			t.Errorf("%s: an answer is made up: %s", c.job, answer.Response)
		}
	}
}
