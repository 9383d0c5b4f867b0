package actions_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/apierror"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// google answers each request, and keeps it.
type google struct {
	status  int
	header  http.Header
	body    string
	err     error
	request *http.Request
	sent    string
}

func (g *google) RoundTrip(r *http.Request) (*http.Response, error) {
	if g.status != 0 || g.err == nil {
		if trace := httptrace.ContextClientTrace(r.Context()); trace != nil {
			trace.GotConn(httptrace.GotConnInfo{})
		}
	}
	var sent []byte
	if r.Body != nil {
		var err error
		if sent, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	g.request, g.sent = r, string(sent)
	if g.err != nil {
		return nil, g.err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	maps.Copy(header, g.header)
	return &http.Response{StatusCode: g.status, Header: header, Body: io.NopCloser(strings.NewReader(g.body)), Request: r}, nil
}

func newActions(t testing.TB, g http.RoundTripper) *actions.Actions {
	t.Helper()
	client := &http.Client{Transport: g, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	a, err := actions.New(t.Context(), actions.Config{HTTP: client, Own: client})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// do makes the call that a job asks for, as ada.
func do(t *testing.T, a *actions.Actions, text string) (actions.Answer, error) {
	t.Helper()
	job, err := jobs.Decode([]byte(text), "1")
	if err != nil {
		t.Fatal(err)
	}
	call, err := a.Prepare(t.Context(), job)
	if err != nil {
		return actions.Answer{}, err
	}
	if err := call.Load(t.Context()); err != nil {
		return actions.Answer{}, err
	}
	return call.Do(t.Context(), func(r *http.Request) { r.Header.Set("Authorization", "Bearer ada") })
}

func insert(t *testing.T, g http.RoundTripper, more string) (string, error) {
	t.Helper()
	letter := base64.RawURLEncoding.EncodeToString([]byte("Message-ID: <1@x>\r\n\r\nHello"))
	answer, err := do(t, newActions(t, g), `{"user":"ada@example.com","action":"gmail.users.messages.insert","message":{"raw":"`+letter+`"}`+more+`}`)
	return string(answer.Response), err
}

func TestInsert(t *testing.T) {
	g := &google{status: 200, body: `{"id": "18c", "threadId": "18d", "labelIds": ["INBOX"]}`}
	answer, err := insert(t, g, `,"params":{"deleted":true,"internalDateSource":"dateHeader","userId":"Ada@example.com"},"body":{"labelIds":["INBOX"],"threadId":"18d"}`)
	if err != nil || answer != g.body {
		t.Errorf("%s, %v", answer, err)
	}
	r := g.request
	if r.Method != http.MethodPost || r.URL.Host != "gmail.googleapis.com" || r.URL.Path != "/upload/gmail/v1/users/me/messages" {
		t.Errorf("%s %s", r.Method, r.URL)
	}
	if q := r.URL.Query(); q.Get("deleted") != "true" || q.Get("internalDateSource") != "dateHeader" || q.Get("uploadType") != "multipart" {
		t.Errorf("query %v", q)
	}
	if r.Header.Get("Authorization") != "Bearer ada" {
		t.Error("not as the user")
	}
	for _, part := range []string{`{"labelIds":["INBOX"],"threadId":"18d"}`, "Content-Type: message/rfc822\r\n\r\nMessage-ID: <1@x>\r\n\r\nHello\r\n--"} {
		if !strings.Contains(g.sent, part) {
			t.Errorf("%q is not in %q", part, g.sent)
		}
	}
	// In one piece; and with no way for the transport to send it again by itself.
	if r.ContentLength != int64(len(g.sent)) || r.GetBody != nil {
		t.Errorf("length %d of %d; GetBody %v", r.ContentLength, len(g.sent), r.GetBody != nil)
	}
}

// What an answer leaves open, and what it does not.
func TestDoubt(t *testing.T) {
	for status, doubtful := range map[int]bool{
		302: true, 307: true, 400: false, 401: false, 403: false, 404: false, 408: true, 409: false, 412: false, 429: false,
		499: true, 500: true, 502: true, 503: true, 504: true,
	} {
		g := &google{status: status, body: `{"error": {"code": 1, "message": "m", "errors": [{"reason": "someReason"}]}}`}
		_, err := insert(t, g, "")
		var e *actions.Error
		if !errors.As(err, &e) || e.Status != status || e.Doubtful != doubtful {
			t.Errorf("HTTP %d: %#v", status, err)
		}
	}
	for _, g := range []*google{{status: 200, body: "{"}, {status: 200, body: ""}} {
		_, err := insert(t, g, "")
		var e *actions.Error
		if !errors.As(err, &e) || !e.Doubtful {
			t.Errorf("answer %q: %v", g.body, err)
		}
	}
	// Without a connection nothing was sent.
	_, err := insert(t, &google{err: errors.New("no route")}, "")
	var e *actions.Error
	if !errors.As(err, &e) || e.Doubtful || e.Reason != actions.NoAnswer {
		t.Errorf("no connection: %#v", err)
	}
	_, err = insert(t, &google{err: context.DeadlineExceeded}, "")
	if !errors.As(err, &e) || e.Reason != actions.TimedOut || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("out of time: %#v", err)
	}
}

// How long Google asks to be left alone is believed up to an hour, and of no other
// answers than those that pass.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
		for _, c := range []struct {
			status int
			value  string
			want   time.Duration
		}{
			{429, "30", 30 * time.Second},
			{503, "30", 30 * time.Second},
			{403, "30", 30 * time.Second},
			{429, in(10 * time.Minute), 10 * time.Minute},
			{429, "2147483647", time.Hour},
			{429, in(9000 * time.Hour), time.Hour},
			{429, in(-time.Minute), 0},
			{429, "0", 0},
			{429, "-5", 0},
			{429, "99999999999999999999", 0},
			{429, "soon", 0},
			{429, "", 0},
			{500, "30", 0},
			{400, "30", 0},
		} {
			g := &google{status: c.status, header: http.Header{"Retry-After": {c.value}}, body: `{"error": {"code": 1, "message": "m", "errors": [{"reason": "someReason"}]}}`}
			_, err := insert(t, g, "")
			var e *actions.Error
			if !errors.As(err, &e) || e.RetryAfter != c.want {
				t.Errorf("HTTP %d, %q: %#v, %v; want %v", c.status, c.value, err, e.RetryAfter, c.want)
			}
		}
	})
}

// Both forms of Google's errors are read, and nothing of their words is in ours.
func TestErrors(t *testing.T) {
	token := "ya29." + strings.Repeat("a0AfH6", 4)
	for body, reason := range map[string]string{
		`{"error": {"errors": [{"reason": "domainPolicy"}], "status": "PERMISSION_DENIED"}}`:      "domainPolicy",
		`{"error": {"status": "PERMISSION_DENIED", "details": [{"reason": "SERVICE_DISABLED"}]}}`: "SERVICE_DISABLED",
		`{"error": {"status": "PERMISSION_DENIED"}}`:                                              "PERMISSION_DENIED",
		`{"error": {"errors": [{"reason": "` + token + `"}]}}`:                                    apierror.Unreadable,
		`<html>` + token: "Forbidden",
		`{"error": {"message": "bad ` + token + ` and \u001b[31m", "errors": [{"reason": "invalidArgument"}]}}`: "invalidArgument",
	} {
		_, err := insert(t, &google{status: 403, body: body}, "")
		var e *actions.Error
		if !errors.As(err, &e) || e.Reason != reason {
			t.Errorf("%s: %#v", body, err)
			continue
		}
		for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", err, err, err, err), e.Words()} {
			if strings.Contains(text, "a0AfH6") || strings.Contains(text, "\x1b") {
				t.Errorf("%s says %s", body, text)
			}
		}
		if errors.Unwrap(err) != nil {
			t.Errorf("%s: the answer itself can be had: %v", body, errors.Unwrap(err))
		}
	}
}

// What means something in an address means nothing in a parameter, in none of them.
func TestParametersStayInTheirPlace(t *testing.T) {
	g := &google{status: 200, body: "{}"}
	if _, err := do(t, newActions(t, g), `{"user":"ada@example.com","action":"directory.orgunits.get","params":{"customerId":"a/b?c","orgUnitPath":"x/y?z=1#w"}}`); err != nil {
		t.Fatal(err)
	}
	if want := "/admin/directory/v1/customer/a%2Fb%3Fc/orgunits/x/y%3Fz=1%23w?alt=json&prettyPrint=false"; g.request.URL.RequestURI() != want {
		t.Errorf("asks %s; want %s", g.request.URL.RequestURI(), want)
	}
}

// Who runs a script must have the scopes of the script, which nobody here knows.
func TestMethodsThatNeedUnknownScopes(t *testing.T) {
	_, err := do(t, newActions(t, &google{}), `{"user":"ada@example.com","action":"script.scripts.run","params":{"scriptId":"s"},"body":{"function":"f"}}`)
	if err == nil || !strings.Contains(err.Error(), "action: is script.scripts.run, which needs the scopes that the script itself uses") {
		t.Errorf("got %v", err)
	}
}
