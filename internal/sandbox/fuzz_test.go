package sandbox_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// answered runs one request through the server without a network. A panic, and
// with it a cut connection that nobody ordered, fails the fuzzing.
func (b *bundle) answered(t testing.TB, method, path, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	b.s.ServeHTTP(w, r)
	return w
}

func FuzzAssertion(f *testing.F) {
	b := setup(f)
	good := b.sign(b.claims(ada, "gmail.insert"))
	parts := strings.Split(good, ".")
	for _, seed := range []string{
		good, "", ".", "..", "...", parts[0] + "." + parts[1] + ".", parts[0] + ".e30.x", "e30.e30.e30", "e30.bnVsbA.e30", "bnVsbA.e30.",
	} {
		f.Add("urn:ietf:params:oauth:grant-type:jwt-bearer", seed)
	}
	f.Add("refresh_token", "x")
	f.Add("${idToken}${user}", good)
	f.Fuzz(func(t *testing.T, grant, assertion string) {
		body := url.Values{"grant_type": {grant}, "assertion": {assertion}}.Encode()
		w := b.answered(t, http.MethodPost, "/oauth2.googleapis.com/token", body)
		if w.Code != 200 && w.Code != 400 && w.Code != 401 && w.Code != 403 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if w.Code == 200 && (!strings.HasPrefix(assertion, parts[0]+"."+parts[1])) {
			t.Errorf("a forged assertion was taken: %s", assertion)
		}
	})
}

func FuzzUpload(f *testing.F) {
	b := setup(f, func(w *sandbox.World, _ *sandbox.Options) {
		w.ServiceAccounts[0].DelegatedScopes = []string{"https://mail.google.com/"}
	})
	token := b.as(ada, "https://mail.google.com/")
	related := "multipart/related; boundary=b"
	for _, seed := range [][3]string{
		{"messages?uploadType=media", "message/rfc822", hello},
		{"messages?uploadType=media", "message/rfc822", mixed},
		{"messages?uploadType=multipart", related, multipartBody("{}", "message/rfc822", hello, "\r\n")},
		{"messages?uploadType=multipart", related, "--b\n--b--"},
		{"messages?uploadType=multipart", related, "--b\r\n\r\n--b\r\n\r\n--b--"},
		{"messages/import?uploadType=media&internalDateSource=x", "message/rfc822", "\r\n\r\n"},
		{"messages/send?uploadType=media", "message/rfc822", "To: a@b.c,\r\n <\r\nBcc:\r\n\r\n"},
		{"messages?uploadType=resumable", "application/json", "{}"},
		{"messages?upload_id=x", "", "x"},
		{"messages?fields=a(b", "message/rfc822", "Subject: x"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, path, media, body string) {
		u, err := url.Parse(path)
		if err != nil {
			t.Skip()
		}
		at := (&url.URL{Path: "/gmail.googleapis.com/upload/gmail/v1/users/me/" + u.Path, RawQuery: u.RawQuery}).String()
		if _, err := url.Parse(at); err != nil {
			t.Skip()
		}
		if w := b.answered(t, http.MethodPost, at, body, "Content-Type", media, "Authorization", "Bearer "+token); w.Code >= 500 && w.Code != 501 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		for _, l := range b.s.Letters(ada) {
			at := "/gmail.googleapis.com/gmail/v1/users/me/messages/" + l.ID
			if w := b.answered(t, http.MethodGet, at, "", "Authorization", "Bearer "+token); w.Code != 200 {
				t.Errorf("filed and not readable: %d %s", w.Code, w.Body)
			}
			b.answered(t, http.MethodDelete, at, "", "Authorization", "Bearer "+token)
		}
	})
}
