package delegation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cloud.google.com/go/compute/metadata"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/onbehalf-dev/onbehalf/internal/delegation"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "onbehalf@p.iam.gserviceaccount.com"
	scope   = "https://www.googleapis.com/auth/gmail.insert"
	other   = "https://www.googleapis.com/auth/gmail.labels"
)

// google answers the two calls of a mint, without a network, so that it works
// in a synctest bubble.
type google struct {
	signs, exchanges         atomic.Int32
	sign, exchange, generate func(*http.Request, []byte) (int, string)
	retryAfter               string // of what is no success
	took                     time.Duration
}

func (g *google) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(g.took):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	status, answer := 0, ""
	switch {
	case strings.HasSuffix(r.URL.Path, ":generateAccessToken"):
		status, answer = g.generate(r, body)
	case r.URL.Host == "iamcredentials.googleapis.com":
		n := g.signs.Add(1)
		status, answer = http.StatusOK, fmt.Sprintf(`{"keyId": "k", "signedJwt": "head.claims%d.signature"}`, n)
		if g.sign != nil {
			status, answer = g.sign(r, body)
		}
	case r.URL.Host == "oauth2.googleapis.com":
		n := g.exchanges.Add(1)
		status, answer = http.StatusOK, fmt.Sprintf(`{"access_token": "secret-%d", "token_type": "Bearer", "expires_in": 3599}`, n)
		if g.exchange != nil {
			status, answer = g.exchange(r, body)
		}
	}
	if status == 0 {
		return nil, errors.New("connection reset")
	}
	header := http.Header{}
	if g.retryAfter != "" && status != http.StatusOK {
		header.Set("Retry-After", g.retryAfter)
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(answer)), Header: header, Request: r}, nil
}

// machine is the runtime's own identity. Each renewal has another token.
type machine struct {
	err     error
	renewed *atomic.Int32
}

func (m machine) Authorize(_ context.Context, r *http.Request) error {
	r.Header.Set("Authorization", "Bearer machine-secret")
	return m.err
}

func (m machine) Renew() {
	if m.renewed != nil {
		m.renewed.Add(1)
	}
}

// judge stands in for what is known of Google's errors.
func judge(e *delegation.Error) delegation.Verdict {
	switch {
	case e.Code == delegation.NoAnswer, e.Code == delegation.NoSignature, e.Status == 408, e.Status == 429, e.Status >= 500, e.Stage == delegation.Sign && e.Status == 401:
		return delegation.Verdict{Passing: true}
	case e.Code == "IAM_PERMISSION_DENIED":
		return delegation.Verdict{Window: 10 * time.Second, Breadth: delegation.EveryUser}
	case e.Code == "unauthorized_client", e.Stage == delegation.Sign:
		return delegation.Verdict{Breadth: delegation.EveryUser}
	case e.Code == "access_denied":
		return delegation.Verdict{Breadth: delegation.Perhaps}
	}
	return delegation.Verdict{}
}

// config is what a minter is made of that has Google's key sign.
type config struct {
	delegation.IAMConfig
	delegation.Config
}

func minter(t *testing.T, g *google, change ...func(*config)) *delegation.Minter {
	t.Helper()
	client := &http.Client{Transport: g}
	c := config{
		delegation.IAMConfig{ServiceAccount: account, Identity: machine{}, HTTP: client},
		delegation.Config{HTTP: client, Judge: judge},
	}
	for _, f := range change {
		f(&c)
	}
	if c.Signer == nil {
		signer, err := delegation.NewIAM(c.IAMConfig)
		if err != nil {
			t.Fatal(err)
		}
		c.Signer = signer
	}
	m, err := delegation.New(c.Config)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// bearer is what a token puts on a request.
func bearer(token delegation.Token) string {
	r := &http.Request{Header: http.Header{}}
	token.Authorize(r)
	return r.Header.Get("Authorization")
}

func TestMint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{}
		g.sign = func(r *http.Request, body []byte) (int, string) {
			if r.Method != http.MethodPost || r.URL.Path != "/v1/projects/-/serviceAccounts/"+account+":signJwt" || r.Header.Get("Authorization") != "Bearer machine-secret" {
				t.Errorf("signJwt: %s %s", r.Method, r.URL)
			}
			var asked struct {
				Payload   string
				Delegates []string
			}
			var claims struct {
				Iss, Sub, Scope, Aud string
				Iat, Exp             int64
			}
			if json.Unmarshal(body, &asked) != nil || json.Unmarshal([]byte(asked.Payload), &claims) != nil {
				t.Errorf("signJwt: %s", body)
			}
			now := time.Now().Unix()
			if claims.Iss != account || claims.Sub != "ada@example.com" || claims.Scope != scope+" "+other || claims.Aud != "https://oauth2.googleapis.com/token" {
				t.Errorf("claims %+v", claims)
			}
			if claims.Iat >= now || claims.Iat < now-60 || claims.Exp-claims.Iat != 3600 {
				t.Errorf("iat %d, exp %d, now %d", claims.Iat, claims.Exp, now)
			}
			if len(asked.Delegates) != 1 || asked.Delegates[0] != "projects/-/serviceAccounts/a@p.iam.gserviceaccount.com" {
				t.Errorf("delegates %v", asked.Delegates)
			}
			return http.StatusOK, `{"signedJwt": "a.b.c"}`
		}
		g.exchange = func(r *http.Request, body []byte) (int, string) {
			form, err := url.ParseQuery(string(body))
			if err != nil || form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || form.Get("assertion") != "a.b.c" {
				t.Errorf("exchange: %s", body)
			}
			if r.Header.Get("Authorization") != "" {
				t.Error("the exchange carries credentials")
			}
			return http.StatusOK, `{"access_token": "secret", "token_type": "bearer", "expires_in": 3599}`
		}
		m := minter(t, g, func(c *config) { c.Delegates = []string{"a@p.iam.gserviceaccount.com"} })
		token, err := m.Token(t.Context(), "Ada@Example.com", other, scope)
		if err != nil || bearer(token) != "Bearer secret" {
			t.Errorf("%v, %v", token, err)
		}
	})
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	signer, err := delegation.NewIAM(delegation.IAMConfig{ServiceAccount: account, Identity: machine{}, HTTP: &http.Client{}})
	if err != nil {
		t.Fatal(err)
	}
	for missing, cfg := range map[string]delegation.Config{
		"Signer": {HTTP: &http.Client{}, Judge: judge},
		"HTTP":   {Signer: signer, Judge: judge},
		"Judge":  {Signer: signer, HTTP: &http.Client{}},
	} {
		if _, err := delegation.New(cfg); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("%s: %v", missing, err)
		}
	}
	for missing, cfg := range map[string]delegation.IAMConfig{
		"ServiceAccount": {Identity: machine{}, HTTP: &http.Client{}},
		"Identity":       {ServiceAccount: account, HTTP: &http.Client{}},
		"HTTP":           {ServiceAccount: account, Identity: machine{}},
	} {
		if _, err := delegation.NewIAM(cfg); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("%s: %v", missing, err)
		}
	}
}

// Without a user the token would be the service account's own.
func TestATokenNeedsAUserAndAScope(t *testing.T) {
	g := &google{}
	m := minter(t, g)
	if _, err := m.Token(t.Context(), "", scope); err == nil {
		t.Error("a token for nobody")
	}
	if _, err := m.Token(t.Context(), "ada@example.com"); err == nil {
		t.Error("a token for nothing")
	}
	if g.signs.Load() != 0 {
		t.Error("it was asked for")
	}
}

// The service account's own token is asked for as such, names no subject, and is
// never taken for a user's, nor a user's for it.
func TestServiceAccountToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{}
		var asked []string
		g.generate = func(_ *http.Request, body []byte) (int, string) {
			asked = append(asked, string(body))
			return http.StatusOK, fmt.Sprintf(`{"accessToken": "own-%d", "expireTime": %q}`, len(asked), time.Now().Add(12*time.Hour).UTC().Format(time.RFC3339))
		}
		m := minter(t, g, func(c *config) { c.Delegates = []string{"a@p.iam.gserviceaccount.com"} })
		own := func(lifetime time.Duration) string {
			t.Helper()
			token, err := m.ServiceAccountToken(t.Context(), lifetime, other, scope)
			if err != nil {
				t.Fatal(err)
			}
			return bearer(token)
		}
		first := own(0)
		ada, err := m.Token(t.Context(), "ada@example.com", scope, other)
		if err != nil || bearer(ada) == first || own(time.Hour) != first {
			t.Errorf("the service account has %s, ada has %s, %v", first, bearer(ada), err)
		}
		if long := own(12 * time.Hour); long == first {
			t.Error("a token for twelve hours is the one for one")
		}
		time.Sleep(11 * time.Hour)
		if own(12*time.Hour) != "Bearer own-2" {
			t.Error("a token for twelve hours was thrown away sooner")
		}
		want := []string{
			`{"scope":["` + scope + `","` + other + `"],"delegates":["projects/-/serviceAccounts/a@p.iam.gserviceaccount.com"],"lifetime":"3600s"}`,
			`{"scope":["` + scope + `","` + other + `"],"delegates":["projects/-/serviceAccounts/a@p.iam.gserviceaccount.com"],"lifetime":"43200s"}`,
		}
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
		if _, err := m.ServiceAccountToken(t.Context(), 0); err == nil {
			t.Error("a token for no scope")
		}
		for _, lifetime := range []time.Duration{-1, time.Millisecond, 12*time.Hour + 1} {
			if _, err := m.ServiceAccountToken(t.Context(), lifetime, scope); err == nil || !strings.Contains(err.Error(), "12h") {
				t.Errorf("a lifetime of %s: %v", lifetime, err)
			}
		}
	})
}

func TestCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{}
		m := minter(t, g)
		get := func(user string, scopes ...string) string {
			t.Helper()
			token, err := m.Token(t.Context(), user, scopes...)
			if err != nil {
				t.Fatal(err)
			}
			return bearer(token)
		}
		first := get("ada@example.com", scope, other)
		for _, same := range []string{get("ada@example.com", other, scope), get("ADA@example.com", other, scope, scope)} {
			if same != first {
				t.Error("the order of the scopes or the case of the user matters")
			}
		}
		if get("grace@example.com", scope, other) == first || get("ada@example.com", scope) == first {
			t.Error("two users, or two sets of scopes, share a token")
		}
		if n := g.exchanges.Load(); n != 3 {
			t.Errorf("%d exchanges", n)
		}
		time.Sleep(54 * time.Minute)
		if get("ada@example.com", scope, other) != first {
			t.Error("a good token was thrown away")
		}
		time.Sleep(2 * time.Minute) // less than the freshness is left
		if get("ada@example.com", scope, other) == first {
			t.Error("a token that is about to end was handed out")
		}
	})
}

// Answers that RFC 6749 allows are taken, though Google's look different today.
func TestLegalAnswersOfOtherForms(t *testing.T) {
	for answer, lives := range map[string]time.Duration{
		`{"access_token": "s", "token_type": "bearer", "expires_in": "3599"}`:          time.Hour - time.Second,
		`{"access_token": "s", "token_type": "BEARER", "expires_in": 3599.0, "x": {}}`: time.Hour - time.Second,
		`{"access_token": "s", "expires_in": 1e12}`:                                    time.Hour,
		`{"access_token": "s", "expires_in": null}`:                                    10 * time.Minute,
		`{"access_token": "s", "token_type": "Bearer"}`:                                10 * time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			g := &google{exchange: func(*http.Request, []byte) (int, string) { return http.StatusOK, answer }}
			m := minter(t, g)
			for _, wait := range []time.Duration{0, lives - 5*time.Minute - time.Second} {
				time.Sleep(wait)
				if token, err := m.Token(t.Context(), "ada@example.com", scope); err != nil || bearer(token) != "Bearer s" {
					t.Errorf("%s: %v, %v", answer, token, err)
				}
			}
			if n := g.exchanges.Load(); n != 1 {
				t.Errorf("%s: %d exchanges while it lives", answer, n)
			}
			time.Sleep(2 * time.Second)
			_, _ = m.Token(t.Context(), "ada@example.com", scope)
			if n := g.exchanges.Load(); n != 2 {
				t.Errorf("%s: %d exchanges when it is about to end", answer, n)
			}
		})
	}
}

func TestCacheIsBounded(t *testing.T) {
	g := &google{}
	m := minter(t, g, func(c *config) { c.MaxEntries = 10 })
	ask := func(n int) {
		if _, err := m.Token(t.Context(), fmt.Sprintf("user%d@example.com", n), scope); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 10 {
		ask(n)
	}
	ask(0)  // now user1 is the one unused longest
	ask(10) // and goes
	ask(0)
	if n := g.exchanges.Load(); n != 11 {
		t.Errorf("%d exchanges, want 11", n)
	}
	ask(1)
	if n := g.exchanges.Load(); n != 12 {
		t.Errorf("%d exchanges, want 12", n)
	}
}

func TestDrop(t *testing.T) {
	g := &google{}
	m := minter(t, g)
	old, err := m.Token(t.Context(), "ada@example.com", scope)
	if err != nil {
		t.Fatal(err)
	}
	m.Drop(old)
	fresh, err := m.Token(t.Context(), "ada@example.com", scope)
	if err != nil || bearer(fresh) == bearer(old) {
		t.Errorf("%v, %v", fresh, err)
	}
	m.Drop(old) // says nothing of the new one
	again, err := m.Token(t.Context(), "ada@example.com", scope)
	if err != nil || bearer(again) != bearer(fresh) {
		t.Errorf("%v, %v", again, err)
	}
	m.Drop(delegation.Token{})
}

func TestOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{took: time.Second}
		m := minter(t, g)
		var group sync.WaitGroup
		for range 1000 {
			group.Go(func() {
				if token, err := m.Token(t.Context(), "ada@example.com", scope); err != nil || bearer(token) != "Bearer secret-1" {
					t.Errorf("%v, %v", token, err)
				}
			})
		}
		group.Wait()
		if g.signs.Load() != 1 || g.exchanges.Load() != 1 {
			t.Errorf("%d signatures, %d exchanges", g.signs.Load(), g.exchanges.Load())
		}
	})
}

// Each caller may give up for itself: a waiting one without ending the mint,
// the minting one without ending the others' wait.
func TestCallersGiveUpForThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{took: 10 * time.Second}
		m := minter(t, g)
		ask := func(patience time.Duration) <-chan error {
			done := make(chan error, 1)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				_, err := m.Token(ctx, "ada@example.com", scope)
				done <- err
			}()
			synctest.Wait()
			return done
		}
		leader, impatient, patient := ask(5*time.Second), ask(time.Second), ask(time.Minute)
		if err := <-impatient; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the impatient one: %v", err)
		}
		if err := <-leader; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the leader: %v", err)
		}
		if err := <-patient; err != nil {
			t.Errorf("the patient one: %v", err)
		}
		if g.signs.Load() != 1 { // the first one never arrived: it was given up
			t.Errorf("%d signatures", g.signs.Load())
		}
	})
}

// One who panics while minting leaves the others to mint for themselves: no
// empty token, and no wait without an end.
func TestTheMintingCallerPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{took: time.Second}
		g.sign = func(*http.Request, []byte) (int, string) {
			if g.signs.Load() == 1 {
				panic("in the transport")
			}
			return http.StatusOK, `{"signedJwt": "a.b.c"}`
		}
		m := minter(t, g)
		go func() {
			defer func() { _ = recover() }()
			_, _ = m.Token(t.Context(), "ada@example.com", scope)
		}()
		synctest.Wait()
		token, err := m.Token(t.Context(), "ada@example.com", scope)
		if err != nil || bearer(token) != "Bearer secret-1" {
			t.Errorf("%v, %v", token, err)
		}
	})
}

func TestRefusalsAreRememberedBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{exchange: func(*http.Request, []byte) (int, string) {
			return http.StatusBadRequest, `{"error": "invalid_grant", "error_description": "Invalid email or User ID"}`
		}}
		m := minter(t, g)
		ask := func() error { _, err := m.Token(t.Context(), "dead@example.com", scope); return err }
		for range 5 {
			var refusal *delegation.Error
			if err := ask(); !errors.As(err, &refusal) || refusal.Stage != delegation.Exchange || refusal.Status != 400 || refusal.Code != "invalid_grant" || !strings.Contains(refusal.Untrusted(), "User ID") {
				t.Fatalf("%v", err)
			}
		}
		if n := g.exchanges.Load(); n != 1 {
			t.Errorf("%d exchanges", n)
		}
		time.Sleep(time.Minute)
		_ = ask()
		if n := g.exchanges.Load(); n != 2 {
			t.Errorf("%d exchanges after a minute", n)
		}
	})
}

// What is repeated from memory says when it was asked for, be it one user's or all have it.
func TestARefusalSaysSinceWhen(t *testing.T) {
	for _, answer := range []string{`{"error": "invalid_grant", "error_description": "Invalid email or User ID"}`, `{"error": "unauthorized_client"}`} {
		synctest.Test(t, func(t *testing.T) {
			m := minter(t, &google{exchange: func(*http.Request, []byte) (int, string) { return http.StatusBadRequest, answer }})
			begun := time.Now()
			for range 3 {
				var refusal *delegation.Error
				if _, err := m.Token(t.Context(), "dead@example.com", scope); !errors.As(err, &refusal) || !refusal.Since.Equal(begun) {
					t.Errorf("%s: %v, want %v: %v", answer, refusal.Since, begun, err)
				}
				time.Sleep(9 * time.Second)
			}
		})
	}
}

// Whatever the two endpoints say, there is a typed error, and nothing of their
// words is in its text.
func TestErrors(t *testing.T) {
	const hostile = "ya29.stolen eyJhbGciOi.J9.x \x1b[31m%s%n"
	for name, c := range map[string]struct {
		stage  delegation.Stage
		status int
		body   string
		code   string
	}{
		"sign denied":      {delegation.Sign, 403, `{"error": {"code": 403, "message": "` + "Permission 'x' denied" + `", "status": "PERMISSION_DENIED", "details": [{"@type": "t", "reason": "IAM_PERMISSION_DENIED"}]}}`, "IAM_PERMISSION_DENIED"},
		"sign old words":   {delegation.Sign, 403, `{"error": {"code": 403, "message": "The caller does not have permission", "status": "PERMISSION_DENIED"}}`, "PERMISSION_DENIED"},
		"sign in HTML":     {delegation.Sign, 502, `<html>` + hostile, "BadGateway"},
		"sign empty":       {delegation.Sign, 200, `{}`, delegation.NoSignature},
		"sign garbage":     {delegation.Sign, 200, hostile, delegation.NoAnswer},
		"exchange refused": {delegation.Exchange, 401, `{"error": "unauthorized_client", "error_description": "` + "ya29.stolen" + `"}`, "unauthorized_client"},
		"exchange hostile": {delegation.Exchange, 400, `{"error": "ya29.stolen", "error_description": ""}`, delegation.Unreadable},
		"exchange id only": {delegation.Exchange, 200, `{"id_token": "eyJ.stolen.x"}`, delegation.NoAccessToken},
		"exchange empty":   {delegation.Exchange, 200, `{"access_token": "", "token_type": "Bearer", "expires_in": 3599}`, delegation.NoAccessToken},
		"exchange mac":     {delegation.Exchange, 200, `{"access_token": "stolen", "token_type": "mac", "expires_in": 3599}`, delegation.NoAccessToken},
		"exchange expired": {delegation.Exchange, 200, `{"access_token": "stolen", "token_type": "Bearer", "expires_in": 0}`, delegation.NoAnswer},
		"exchange NaN":     {delegation.Exchange, 200, `{"access_token": "stolen", "expires_in": "NaN"}`, delegation.NoAnswer},
		"exchange garbage": {delegation.Exchange, 200, hostile, delegation.NoAnswer},
		"exchange huge":    {delegation.Exchange, 200, `{"x": "` + strings.Repeat("stolen", 300_000) + `"}`, delegation.NoAnswer},
		"exchange cut":     {delegation.Exchange, 0, "", delegation.NoAnswer},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := &google{}
			answer := func(*http.Request, []byte) (int, string) { return c.status, c.body }
			if c.stage == delegation.Sign {
				g.sign = answer
			} else {
				g.exchange = answer
			}
			_, err := minter(t, g).Token(t.Context(), "ada@example.com", scope)
			var typed *delegation.Error
			if !errors.As(err, &typed) || typed.Stage != c.stage || typed.Status != c.status || typed.Code != c.code {
				t.Errorf("%s: %#v", name, err)
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
				if text := fmt.Sprintf(verb, err); strings.Contains(text, "stolen") || strings.Contains(text, "\x1b") {
					t.Errorf("%s: %s shows %s", name, verb, text)
				}
			}
		})
	}
}

// A server of metadata that is down for a while is no operator's to mend.
func TestTheMetadataServerIsDown(t *testing.T) {
	for status, code := range map[int]string{503: delegation.NoAnswer, 429: delegation.NoAnswer, 404: delegation.NoIdentity} {
		err := fmt.Errorf("auth: %w", &metadata.Error{Code: status, Message: "secret"})
		if e := delegation.IdentityError(err); e.Code != code || strings.Contains(e.Error(), "secret") {
			t.Errorf("%d: %v", status, e)
		}
	}
}

func TestWithoutAnIdentity(t *testing.T) {
	g := &google{}
	m := minter(t, g, func(c *config) { c.Identity = machine{err: errors.New("metadata: secret")} })
	_, err := m.Token(t.Context(), "ada@example.com", scope)
	var typed *delegation.Error
	if !errors.As(err, &typed) || typed.Code != delegation.NoIdentity || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

// However a token is printed, its secret is not.
func TestATokenPrintsNoSecret(t *testing.T) {
	token, err := minter(t, &google{}).Token(t.Context(), "ada@example.com", scope)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "token", token, "in", struct{ T delegation.Token }{token})
	data, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	hidden := struct{ t delegation.Token }{token} // of which fmt calls no method
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s", hidden, &hidden, hidden, hidden), fmt.Sprintf("%v %+v %#v %s %q %x %d", token, token, token, token, token, token, token), fmt.Sprintf("%+v %#v", []any{token}, map[string]any{"t": token}), log.String(), string(data)} {
		if strings.Contains(text, "secret-1") || strings.Contains(text, "7365637265742d31") {
			t.Errorf("%s", text)
		}
	}
	if len(token.Fingerprint()) != 16 || (delegation.Token{}).Fingerprint() != "" {
		t.Errorf("fingerprint %q", token.Fingerprint())
	}
}
