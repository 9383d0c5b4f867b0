package sandbox_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	robot     = "onbehalf@onbehalf-sandbox.iam.gserviceaccount.com"
	robotID   = "100000000000000000042"
	ada       = "ada@example.com"
	grace     = "grace@example.com"
	admin     = "admin@example.com"
	auth      = "https://www.googleapis.com/auth/"
	insertURL = "/upload/gmail/v1/users/me/messages?uploadType=media"
	hello     = "From: Grace <grace@example.com>\r\nTo: ada@example.com\r\nSubject: Hello\r\nMessage-ID: <hello@example.com>\r\nDate: Mon, 02 Jan 2006 15:04:05 +0000\r\n\r\nHello, Ada.\r\n"
)

// bundle is a sandbox that listens, and a client of it.
type bundle struct {
	t   testing.TB
	s   *sandbox.Server
	url string
	c   *http.Client
	now time.Time // of the server, moved by tests
}

// setup starts a sandbox of its own for the test. Small keys make it quick.
func setup(t testing.TB, edit ...func(*sandbox.World, *sandbox.Options)) *bundle {
	t.Helper()
	b := &bundle{t: t, now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	w, o := sandbox.DefaultWorld(), sandbox.Options{KeyBits: 1024, Now: func() time.Time { return b.now }}
	for _, f := range edit {
		f(&w, &o)
	}
	var err error
	if b.s, err = sandbox.New(w, o); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(b.s)
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	t.Cleanup(func() { transport.CloseIdleConnections(); srv.Close() })
	b.url, b.c = srv.URL, &http.Client{Transport: fitting{transport, b}}
	return b
}

// fitting holds every answer against the facts, whoever asked.
type fitting struct {
	*http.Transport
	b *bundle
}

func (f fitting) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := f.Transport.RoundTrip(r)
	if err != nil || res.StatusCode != http.StatusOK {
		return res, err
	}
	body, err := io.ReadAll(res.Body)
	if err == nil {
		if err := f.b.s.AnswerFits(r, res.StatusCode, body); err != nil {
			f.b.t.Error(err)
		}
	}
	res.Body.Close()
	res.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), errReader{err}))
	return res, nil
}

// errReader ends as the body that was read ended.
type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) {
	if e.err == nil {
		return 0, io.EOF
	}
	return 0, e.err
}

// answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) decode(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("not a JSON object: %v: %s", err, a.body)
	}
	return v
}

// says fails the test unless the answer has the status and the words.
func (a answer) says(t testing.TB, status int, words ...string) answer {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	for _, w := range words {
		if !strings.Contains(a.body, w) {
			t.Fatalf("answer lacks %q: %s", w, a.body)
		}
	}
	return a
}

// do sends one request; header holds names and values in turn.
func (b *bundle) do(method, path string, body any, header ...string) (answer, error) {
	var r io.Reader
	switch v := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(v)
	case []byte:
		r = bytes.NewReader(v)
	case url.Values:
		r = strings.NewReader(v.Encode())
		header = append(header, "Content-Type", "application/x-www-form-urlencoded")
	default:
		j, err := json.Marshal(v)
		if err != nil {
			return answer{}, err
		}
		r = bytes.NewReader(j)
		header = append(header, "Content-Type", "application/json")
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, r)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := b.c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(text)}, err
}

func (b *bundle) must(method, path string, body any, header ...string) answer {
	b.t.Helper()
	a, err := b.do(method, path, body, header...)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// machine is the runtime account's token.
func (b *bundle) machine() string {
	b.t.Helper()
	a := b.must("GET", "/computeMetadata/v1/instance/service-accounts/default/token", nil, "Metadata-Flavor", "Google")
	return a.says(b.t, 200).decode(b.t)["access_token"].(string)
}

// claims are in order unless a test spoils them.
func (b *bundle) claims(user string, scopes ...string) map[string]any {
	for i, s := range scopes {
		if !strings.Contains(s, "/") {
			scopes[i] = auth + s
		}
	}
	return map[string]any{
		"iss": robot, "sub": user, "scope": strings.Join(scopes, " "), "aud": "https://oauth2.googleapis.com/token",
		"iat": b.now.Unix(), "exp": b.now.Unix() + 3600,
	}
}

func (b *bundle) signPath(account string) string {
	return "/iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + account + ":signJwt"
}

func (b *bundle) sign(claims map[string]any) string {
	b.t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		b.t.Fatal(err)
	}
	a := b.must("POST", b.signPath(robot), map[string]any{"payload": string(payload)}, bearer(b.machine())...)
	return a.says(b.t, 200).decode(b.t)["signedJwt"].(string)
}

func (b *bundle) exchange(assertion string) answer {
	b.t.Helper()
	return b.must("POST", "/oauth2.googleapis.com/token", url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion},
	})
}

// as is an access token for a user.
func (b *bundle) as(user string, scopes ...string) string {
	b.t.Helper()
	a := b.exchange(b.sign(b.claims(user, scopes...))).says(b.t, 200)
	return a.decode(b.t)["access_token"].(string)
}

// gmail calls Gmail; a path of its own may begin with /upload or /resumable.
func (b *bundle) gmail(token, method, path string, body any, header ...string) answer {
	b.t.Helper()
	if strings.HasPrefix(path, "/users/") {
		path = "/gmail/v1" + path
	}
	return b.must(method, "/gmail.googleapis.com"+path, body, append(header, bearer(token)...)...)
}

// claimsOf reads a JWT without verifying it.
func claimsOf(t testing.TB, jwt string) map[string]any {
	t.Helper()
	var claims map[string]any
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts, not the 3 of a JWT", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		t.Fatalf("the claims are not JSON: %v", err)
	}
	return claims
}

// insert files a letter by simple upload and returns its resource.
func (b *bundle) insert(token, raw string) map[string]any {
	b.t.Helper()
	return b.gmail(token, "POST", insertURL, raw, "Content-Type", "message/rfc822").says(b.t, 200).decode(b.t)
}
