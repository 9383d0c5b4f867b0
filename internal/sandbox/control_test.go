package sandbox_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

func TestControl(t *testing.T) {
	b := setup(t)
	b.must("GET", "/_sandbox/", nil).says(t, 200, "POST /_sandbox/faults", "gmail.users.messages.insert", robot)
	b.must("POST", "/_sandbox/faults", `{"row": "T1", "user": "ada@example.com"}`).says(t, 200, `"row": "T1"`)
	b.exchange(b.sign(b.claims(ada, "gmail.insert"))).says(t, 401)
	b.must("DELETE", "/_sandbox/faults", nil).says(t, 204)
	token := b.as(ada, "gmail.insert")
	for _, bad := range []string{`{"raw": "T1"}`, `{"row": "T99"}`, `{"kind": "late", "delay": "soon"}`, `{}`, `x`, `{"row": "T1"} {}`} {
		b.must("POST", "/_sandbox/faults", bad).says(t, 400)
	}
	b.must("GET", "/_sandbox/calls", nil).says(t, 200, `"token": 2`, `"signJwt": 2`)
	b.must("DELETE", "/_sandbox/calls", nil).says(t, 204)
	if n := len(b.s.Calls()); n != 0 {
		t.Errorf("%d names after the reset", n)
	}
	b.must("GET", "/_sandbox/rows", nil).says(t, 200, `"A13"`, "Retry after ${retryAt}")
	b.insert(token, hello)
	var out struct{ Letters []sandbox.Letter }
	a := b.must("GET", "/_sandbox/users/"+ada+"/letters", nil).says(t, 200)
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || len(out.Letters) != 1 || string(out.Letters[0].Raw) != hello {
		t.Errorf("%+v %v", out, err)
	}
	b.must("GET", "/_sandbox/users/nobody@example.com/letters", nil).says(t, 404)
	b.must("GET", "/_sandbox/nothing", nil).says(t, 404)
}

func TestControlUsers(t *testing.T) {
	b := setup(t)
	b.must("POST", "/_sandbox/users", map[string]any{"primaryEmail": "New@example.com", "aliases": []string{"n@example.com"}}).says(t, 200, "new@example.com")
	token := b.as("new@example.com", "gmail.insert")
	b.insert(token, hello)
	for _, bad := range []any{
		map[string]any{"primaryEmail": "n@example.com"},
		map[string]any{"primaryEmail": "x"},
		map[string]any{"primaryEmail": "y@example.com", "orgUnitPath": "x"},
		map[string]any{"mail": "y@example.com"},
	} {
		b.must("POST", "/_sandbox/users", bad).says(t, 400)
	}
	b.must("PATCH", "/_sandbox/users/new@example.com", `{"isAdmin": true, "orgUnitPath": "/x", "noMailbox": true}`).says(t, 200, `"orgUnitPath": "/x"`)
	b.gmail(token, "POST", insertURL, hello, "Content-Type", "message/rfc822").says(t, 400, "Mail service not enabled")
	b.must("PATCH", "/_sandbox/users/new@example.com", `{"primaryEmail": "z@example.com"}`).says(t, 400)
	b.must("PATCH", "/_sandbox/users/nobody@example.com", `{}`).says(t, 404)
	b.must("PUT", "/_sandbox/clients/1/scopes", `[]`).says(t, 404)
	b.must("PUT", "/_sandbox/clients/"+robotID+"/scopes", `{}`).says(t, 400)
}

// No log line and no answer of the control API holds a token, an assertion or a
// forged credential.
func TestNothingLeaks(t *testing.T) {
	var log bytes.Buffer
	b := setup(t, func(_ *sandbox.World, o *sandbox.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	token := b.as(ada, "gmail.insert")
	b.insert(token, hello)
	b.gmail("forged-token", "GET", "/users/me/messages", nil)
	b.gmail(token, "GET", "/users/me/nothing?access_token="+token, nil).says(t, 501)
	text := log.String()
	if !strings.Contains(text, "/gmail/v1/users/me/nothing") {
		t.Errorf("the log does not name what is not implemented: %s", text)
	}
	for _, path := range []string{"", "calls", "rows", "users/" + ada + "/letters"} {
		text += b.must("GET", "/_sandbox/"+path, nil).body
	}
	secrets := b.s.Secrets()
	if !slices.Contains(secrets, token) || !slices.Contains(secrets, "forged-token") || len(secrets) < 4 {
		t.Errorf("%d secrets known", len(secrets))
	}
	for _, s := range secrets {
		if strings.Contains(text, s) {
			t.Errorf("leaked: %.20s…", s)
		}
	}
}

func TestUnknownIsLoud(t *testing.T) {
	b := setup(t)
	b.must("GET", "/calendar.googleapis.com/calendar/v3/calendars/primary", nil).
		says(t, 501, `host \"calendar.googleapis.com\"`, "GET", "/calendar/v3/calendars/primary", `"UNIMPLEMENTED"`)
	b.must("GET", "/oauth2.googleapis.com/token", nil).says(t, 501)
	b.must("GET", "/favicon.ico", nil).says(t, 501)
}

func TestBodyLimits(t *testing.T) {
	b := setup(t)
	b.must("POST", "/oauth2.googleapis.com/token", strings.Repeat("x", 300<<10)).says(t, 413)
	// Of unknown length:
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/oauth2.googleapis.com/token", io.MultiReader(strings.NewReader(strings.Repeat("x", 300<<10))))
	if err != nil {
		t.Fatal(err)
	}
	a, err := b.c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d", a.StatusCode)
	}
}
