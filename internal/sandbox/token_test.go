package sandbox_test

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

func TestExchange(t *testing.T) {
	b := setup(t)
	a := b.exchange(b.sign(b.claims(ada, "gmail.insert"))).says(t, 200)
	got := a.decode(t)
	if !strings.HasPrefix(got["access_token"].(string), "ya29.sandbox-") || got["token_type"] != "Bearer" || got["expires_in"] != 3599.0 {
		t.Fatalf("answer %v", got)
	}
}

// The first check that fails decides, in the order that was measured at the real
// endpoint: each case spoils all that comes after its own fault as well.
func TestExchangeOrder(t *testing.T) {
	b := setup(t, func(w *sandbox.World, _ *sandbox.Options) {
		w.ServiceAccounts[0].DelegatedScopes = []string{auth + "gmail.insert"}
	})
	spoil := func(edit func(map[string]any)) string {
		c := b.claims(ada, "gmail.insert")
		edit(c)
		return b.sign(c)
	}
	good := b.sign(b.claims(ada, "gmail.insert"))
	parts := strings.Split(good, ".")
	enc := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	now := b.now.Unix()
	for _, tc := range []struct{ name, assertion, want string }{
		{"empty", "", "Bad Request"},
		{"two parts", parts[0] + "." + parts[1], "Bad Request"},
		{"four parts", good + ".x", "Bad Request"},
		{"no JSON", enc("x") + "." + parts[1] + "." + parts[2], "Bad Request"},
		{"a list", parts[0] + "." + enc("[]") + "." + parts[2], "Bad Request"},
		{"signature", parts[0] + "." + parts[1] + "." + enc("x"), "Invalid JWT Signature."},
		{"claims changed", parts[0] + "." + enc(`{"iss":"`+robot+`"}`) + "." + parts[2], "Invalid JWT Signature."},
		{"alg none", enc(`{"alg":"none"}`) + "." + parts[1] + ".", "Invalid JWT Signature."},
		{"issuer", spoil(func(c map[string]any) { c["iss"] = "no@example.com"; delete(c, "iat") }), "Invalid grant: account not found"},
		{"no issuer", spoil(func(c map[string]any) { delete(c, "iss") }), "Invalid grant: account not found"},
		{"no iat", spoil(func(c map[string]any) { delete(c, "iat"); delete(c, "exp") }), "iat (issued at) is not set."},
		{"no exp", spoil(func(c map[string]any) { delete(c, "exp"); c["scope"] = "" }), "exp (expiration time) is not set."},
		{"too long", spoil(func(c map[string]any) { c["exp"] = now + 3901; c["scope"] = "" }), "Token must be a short-lived token"},
		{"stale", spoil(func(c map[string]any) { c["iat"], c["exp"] = now-3601, now+10 }), "Token must be a short-lived token"},
		{"early", spoil(func(c map[string]any) { c["iat"], c["exp"] = now+301, now+3600 }), "Token must be a short-lived token"},
		{"empty scope", spoil(func(c map[string]any) { c["scope"], c["aud"] = " ", "x" }), "Invalid OAuth scope or ID token audience provided."},
		{"commas", spoil(func(c map[string]any) { c["scope"], c["aud"] = auth+"gmail.insert,"+auth+"gmail.send", "x" }), "Invalid OAuth scope"},
		{"audience", spoil(func(c map[string]any) { c["aud"] = "https://example.com"; c["sub"] = "x" }), "Invalid JWT: Failed audience check."},
		{"none of the scopes", spoil(func(c map[string]any) { c["scope"] = auth + "drive"; c["sub"] = "x" }), "or client not authorized for any of the scopes requested."},
		{"some of the scopes", spoil(func(c map[string]any) { c["scope"] = auth + "drive " + auth + "gmail.insert" }), "Requested client not authorized."},
		{"malformed sub", spoil(func(c map[string]any) { c["sub"] = "ada" }), "Not a valid email"},
		{"empty sub", spoil(func(c map[string]any) { c["sub"] = "" }), "Not a valid email"},
		{"unknown sub", spoil(func(c map[string]any) { c["sub"] = "nobody@example.com" }), "Invalid email or User ID"},
		{"suspended", spoil(func(c map[string]any) { c["sub"] = "sam.suspended@example.com" }), "Invalid email or User ID"},
		{"archived", spoil(func(c map[string]any) { c["sub"] = "archie.archived@example.com" }), "Invalid email or User ID"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if a := b.exchange(tc.assertion); a.status < 400 || !strings.Contains(a.body, tc.want) {
				t.Errorf("%d %s, want %q", a.status, a.body, tc.want)
			}
		})
	}
}

func TestExchangeWithinSkew(t *testing.T) {
	b := setup(t)
	now := b.now.Unix()
	for _, times := range [][2]int64{{now + 300, now + 3900}, {now - 3600, now + 300}, {now, now + 3900}, {now, now}} {
		c := b.claims(ada, "gmail.insert")
		c["iat"], c["exp"] = times[0], times[1]
		b.exchange(b.sign(c)).says(t, 200, "access_token")
	}
}

func TestExchangeUnknownScope(t *testing.T) {
	b := setup(t)
	for _, scopes := range [][]string{{"gmail.inserted"}, {"gmail.insert", "gmail.inserted"}} {
		a := b.exchange(b.sign(b.claims(ada, scopes...))).says(t, 200)
		got := a.decode(t)
		if got["access_token"] != nil || strings.Count(got["id_token"].(string), ".") != 2 {
			t.Errorf("%v: %v", scopes, got)
		}
	}
}

func TestExchangeAlias(t *testing.T) {
	b := setup(t, func(w *sandbox.World, _ *sandbox.Options) { w.Users[0].Aliases = []string{"countess@example.com"} })
	b.exchange(b.sign(b.claims("countess@example.com", "gmail.insert"))).says(t, 400, "Invalid email or User ID")
}

func TestExchangeWithoutSubject(t *testing.T) {
	b := setup(t)
	c := b.claims("", "gmail.modify")
	delete(c, "sub")
	token := b.exchange(b.sign(c)).says(t, 200).decode(t)["access_token"].(string)
	b.gmail(token, "GET", "/users/me/messages", nil).says(t, 400, "Precondition check failed.", "failedPrecondition")
}

func TestExchangeGrants(t *testing.T) {
	b := setup(t)
	post := func(v url.Values, header ...string) answer {
		return b.must("POST", "/oauth2.googleapis.com/token", v, header...)
	}
	post(url.Values{"grant_type": {`pass"word"`}}).says(t, 400, "unsupported_grant_type", `Invalid grant_type: pass\"word\"`).decode(t)
	post(url.Values{}).says(t, 400, "unsupported_grant_type")
	post(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"1//secret"}}).says(t, 400, "invalid_grant", "invalid_rapt")
	old := url.Values{
		"grant_type": {"assertion"}, "assertion_type": {"http://oauth.net/grant_type/jwt/1.0/bearer"},
		"assertion": {b.sign(b.claims(ada, "gmail.insert"))},
	}
	post(old, "Authorization", "Bearer leaked").says(t, 200, "access_token")
	if n := b.s.Calls()["token.withAuthorization"]; n != 1 {
		t.Errorf("token.withAuthorization = %d", n)
	}
	for _, host := range []string{"/www.googleapis.com/oauth2/v4/token", "/accounts.google.com/o/oauth2/token"} {
		b.must("POST", host, old).says(t, 200, "access_token")
	}
}

func TestExchangeDisabledAndUndelegated(t *testing.T) {
	b := setup(t, func(w *sandbox.World, _ *sandbox.Options) { w.ServiceAccounts[0].Disabled = true })
	b.exchange(b.sign(b.claims(ada, "gmail.insert"))).says(t, 401, "disabled_client", "The OAuth client was disabled.")
	b = setup(t, func(w *sandbox.World, _ *sandbox.Options) { w.ServiceAccounts[0].DelegatedScopes = nil })
	b.exchange(b.sign(b.claims(ada, "gmail.insert"))).says(t, 401, "unauthorized_client")
	b.must("PUT", "/_sandbox/clients/"+robotID+"/scopes", []string{auth + "gmail.insert"}).says(t, 204)
	b.exchange(b.sign(b.claims(ada, "gmail.insert"))).says(t, 200)
	b.must("PUT", "/_sandbox/clients/"+robotID+"/scopes", "null").says(t, 204)
	b.exchange(b.sign(b.claims(ada, "gmail.insert"))).says(t, 401, "unauthorized_client")
}

func TestExchangeIDToken(t *testing.T) {
	b := setup(t)
	c := b.claims(ada)
	delete(c, "scope")
	c["target_audience"] = "https://function.example"
	if got := b.exchange(b.sign(c)).says(t, 200).decode(t); got["access_token"] != nil || got["id_token"] == nil {
		t.Errorf("%v", got)
	}
}

// Two rotations leave a signature good, the third ends it: row T12.
func TestRotateKeys(t *testing.T) {
	b := setup(t)
	old := b.sign(b.claims(ada, "gmail.insert"))
	for range 2 {
		if err := b.s.RotateKeys(); err != nil {
			t.Fatal(err)
		}
		b.exchange(old).says(t, 200)
	}
	set := b.must("GET", "/www.googleapis.com/service_accounts/v1/metadata/jwk/"+robot, nil).says(t, 200).decode(t)
	if n := len(set["keys"].([]any)); n != 3 {
		t.Errorf("%d keys published, want 3", n)
	}
	b.must("POST", "/_sandbox/keys/rotate", nil).says(t, 204)
	b.exchange(old).says(t, 400, "Invalid JWT Signature.")
	b.exchange(b.sign(b.claims(ada, "gmail.insert"))).says(t, 200)
}

func TestTokenEnds(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.readonly")
	b.gmail(token, "GET", "/users/me/messages", nil).says(t, 200)
	b.now = b.now.Add(time.Hour)
	b.gmail(token, "GET", "/users/me/messages", nil).says(t, 401, "Invalid Credentials", "authError")
}
