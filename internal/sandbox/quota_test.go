package sandbox_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// limited is a sandbox with a quota.
func limited(t *testing.T, q sandbox.Quota) *bundle {
	t.Helper()
	return setup(t, func(w *sandbox.World, _ *sandbox.Options) { w.Quota = q })
}

// try files a letter, or is refused.
func (b *bundle) try(token string) answer {
	b.t.Helper()
	return b.gmail(token, "POST", insertURL, hello, "Content-Type", "message/rfc822")
}

const perUser = "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute per user' of service 'gmail.googleapis.com'"

// A minute's units are a user's own, and there again a minute after they were spent.
func TestQuotaOfAUser(t *testing.T) {
	b := limited(t, sandbox.Quota{GmailUnitsPerUser: 60})
	token, other := b.as(ada, "gmail.modify", "gmail.insert"), b.as(grace, "gmail.insert")
	b.try(token).says(t, 200)
	b.now = b.now.Add(30 * time.Second)
	b.try(token).says(t, 200)
	for range 10 { // which cost nothing
		b.try(token).says(t, 403, perUser, `"rateLimitExceeded"`, "424242424242")
	}
	b.gmail(token, "GET", "/users/me/messages", nil).says(t, 200) // 5 of the 10 that are left
	b.gmail(token, "GET", "/users/me/nothing", nil).says(t, 501)
	b.try(other).says(t, 200)
	b.now = b.now.Add(30*time.Second - 1)
	b.try(token).says(t, 403)
	b.now = b.now.Add(1)
	b.try(token).says(t, 200)
	b.try(token).says(t, 403)
	calls := b.s.Calls()
	if calls["gmail.users.messages.insert"] != 16 || calls["gmail.users.messages.insert.refused"] != 12 || len(b.s.Letters(ada)) != 3 {
		t.Errorf("%v; %d letters", calls, len(b.s.Letters(ada)))
	}
}

// The project's units are all users' together.
func TestQuotaOfTheProject(t *testing.T) {
	b := limited(t, sandbox.Quota{GmailUnitsPerProject: 60})
	one, two := b.as(ada, "gmail.insert"), b.as(grace, "gmail.insert")
	b.try(one).says(t, 200)
	b.try(two).says(t, 200)
	a := b.try(one).says(t, 403, "limit 'Queries per minute' of service")
	if strings.Contains(a.body, "per user") {
		t.Error(a.body)
	}
	b.must("GET", b.signPath(robot), nil, bearer(b.machine())...) // no Gmail
	b.now = b.now.Add(time.Minute)
	b.try(two).says(t, 200)
}

// So many calls of one user are under way at once, however long they take.
func TestQuotaOfCallsAtOnce(t *testing.T) {
	b := limited(t, sandbox.Quota{GmailConcurrentPerUser: 2})
	mine, others := b.as(ada, "gmail.readonly"), b.as(grace, "gmail.readonly")
	if err := b.s.Order(sandbox.Fault{Kind: "late", Delay: time.Minute, Call: "gmail.*", Times: 2}); err != nil {
		t.Fatal(err)
	}
	get := func(t *testing.T, token string) *httptest.ResponseRecorder {
		t.Helper()
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/gmail.googleapis.com/gmail/v1/users/me/messages", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		b.s.ServeHTTP(w, r)
		return w
	}
	synctest.Test(t, func(t *testing.T) {
		var g sync.WaitGroup
		for range 2 {
			g.Go(func() {
				if w := get(t, mine); w.Code != http.StatusOK {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		synctest.Wait()
		if w := get(t, mine); w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "Too many concurrent requests for user") {
			t.Errorf("a third at once: %d %s", w.Code, w.Body)
		}
		if w := get(t, others); w.Code != http.StatusOK {
			t.Errorf("another user: %d %s", w.Code, w.Body)
		}
		g.Wait()
		if w := get(t, mine); w.Code != http.StatusOK {
			t.Errorf("when the two have ended: %d %s", w.Code, w.Body)
		}
	})
	if calls := b.s.Calls(); calls["gmail.users.messages.list"] != 5 || calls["gmail.users.messages.list.refused"] != 1 {
		t.Errorf("%v", calls)
	}
}

// What takes effect is counted, whatever becomes of its answer; what is refused is not.
func TestQuotaAndFaults(t *testing.T) {
	for kind, counted := range map[string]bool{"lost": true, "cut": false, "429": false, "5xx": false} {
		b := limited(t, sandbox.Quota{GmailUnitsPerUser: 25})
		token := b.as(ada, "gmail.insert")
		if err := b.s.Order(sandbox.Fault{Kind: kind, Call: "gmail.*", Times: 1}); err != nil {
			t.Fatal(err)
		}
		_, _ = b.do("POST", "/gmail.googleapis.com"+insertURL, hello, "Authorization", "Bearer "+token, "Content-Type", "message/rfc822")
		if refused := b.try(token).status == http.StatusForbidden; refused != counted {
			t.Errorf("%s: counted is %v", kind, refused)
		}
	}
}

// An upload in parts is one call.
func TestQuotaOfUploads(t *testing.T) {
	b := limited(t, sandbox.Quota{GmailUnitsPerUser: 25, GmailConcurrentPerUser: 1})
	token := b.as(ada, "gmail.insert")
	begun := b.gmail(token, "POST", "/resumable/upload/gmail/v1/users/me/messages?uploadType=resumable", `{}`, "X-Upload-Content-Type", "message/rfc822").says(t, 200)
	path := strings.TrimPrefix(begun.header.Get("Location"), b.url)
	b.must("PUT", path, hello).says(t, 200)
	b.gmail(token, "POST", "/resumable/upload/gmail/v1/users/me/messages?uploadType=resumable", `{}`).says(t, 403, perUser)
}

func TestControlQuota(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert")
	b.must("PUT", "/_sandbox/quota", `{"gmailUnitsPerUser": 24}`).says(t, 200, `"gmailUnitsPerUser": 24`, `"gmailConcurrentPerUser": 0`)
	b.try(token).says(t, 403, perUser)
	b.must("PUT", "/_sandbox/quota", `{}`).says(t, 200)
	b.try(token).says(t, 200)
	for _, bad := range []string{`{"gmailUnitsPerUser": -1}`, `{"gmailUnits": 1}`, `7`, ``} {
		b.must("PUT", "/_sandbox/quota", bad).says(t, 400, "quota")
	}
}
