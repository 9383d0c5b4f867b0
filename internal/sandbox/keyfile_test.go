package sandbox_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	googleauth "cloud.google.com/go/auth"
	"software.sslmate.com/src/go-pkcs12"
)

// keyed signs with a JSON key file, by Google's own library.
func (b *bundle) keyed(file, user string, scopes ...string) (string, error) {
	b.t.Helper()
	var key struct {
		Email string `json:"client_email"`
		Key   string `json:"private_key"`
		ID    string `json:"private_key_id"`
		URL   string `json:"token_uri"`
	}
	if err := json.Unmarshal([]byte(file), &key); err != nil {
		b.t.Fatal(err)
	}
	if key.URL != "https://oauth2.googleapis.com/token" {
		b.t.Errorf("token_uri is %q", key.URL)
	}
	p, err := googleauth.New2LOTokenProvider(&googleauth.Options2LO{
		Email: key.Email, PrivateKey: []byte(key.Key), PrivateKeyID: key.ID, TokenURL: key.URL,
		Subject: user, Scopes: scopes, Client: b.rewritten(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	tok, err := p.Token(b.t.Context())
	if err != nil {
		return "", err
	}
	return tok.Value, nil
}

// A key file signs for its account, whatever is rotated; and for no other.
func TestKeyFile(t *testing.T) {
	b := setup(t, realClock, chained)
	file, err := b.s.KeyFile(robot)
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if err := b.s.RotateKeys(); err != nil {
			t.Fatal(err)
		}
	}
	token, err := b.keyed(string(file), ada, auth+"gmail.readonly")
	if err != nil {
		t.Fatal(err)
	}
	b.gmail(token, "GET", "/users/me/messages", nil).says(t, 200)

	second := b.must("POST", "/_sandbox/accounts/"+robot+"/keys", `{"type": "json"}`).says(t, 200, `"type": "service_account"`, robotID, `"universe_domain": "googleapis.com"`).body
	for _, f := range []string{string(file), second} {
		if _, err := b.keyed(f, ada, auth+"gmail.readonly"); err != nil {
			t.Error(err)
		}
	}
	wrong := strings.ReplaceAll(second, robot, middle)
	if _, err := b.keyed(wrong, ada, auth+"gmail.readonly"); err == nil || !strings.Contains(err.Error(), "Invalid JWT Signature.") {
		t.Errorf("a key of another account: %v", err)
	}
	secrets := strings.Join(b.s.Secrets(), "\n")
	if lines := strings.Split(second, `\n`); len(lines) < 10 || !strings.Contains(secrets, lines[3]) {
		t.Errorf("the key is not among the secrets")
	}
	b.must("GET", "/www.googleapis.com/service_accounts/v1/metadata/jwk/"+robot, nil).says(t, 200, second[strings.Index(second, `key_id": "`)+10:][:40])
}

// P12 is the older form of the same.
func TestKeyP12(t *testing.T) {
	b := setup(t)
	a := b.must("POST", "/_sandbox/accounts/"+robot+"/keys", `{"type": "p12"}`).says(t, 200)
	if got := a.header.Get("Content-Type"); got != "application/octet-stream" {
		t.Errorf("it is %q", got)
	}
	direct, err := b.s.KeyP12(robot)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range [][]byte{[]byte(a.body), direct} {
		private, cert, err := pkcs12.Decode(file, "notasecret")
		if err != nil {
			t.Fatal(err)
		}
		key := private.(*rsa.PrivateKey)
		if !key.PublicKey.Equal(cert.PublicKey) || cert.Subject.CommonName != robot {
			t.Errorf("the certificate is of %s, or of another key", cert.Subject)
		}
		b.exchange(signed(t, key, b.claims(ada, "gmail.send"))).says(t, 200, "access_token")
		if _, _, err := pkcs12.Decode(file, "asecret"); err == nil {
			t.Error("any password opens it")
		}
	}
	if _, err := b.s.KeyP12("nobody@example.com"); err == nil {
		t.Error("a key of nobody was made")
	}
}

// signed is an assertion without a kid, as of a P12 file, which knows none.
func signed(t *testing.T, key *rsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding
	text := enc.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + enc.EncodeToString(payload)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + enc.EncodeToString(signature)
}

func TestKeyFileRefuses(t *testing.T) {
	b := setup(t)
	if _, err := b.s.KeyFile("nobody@example.com"); err == nil {
		t.Error("a key of nobody was made")
	}
	b.must("POST", "/_sandbox/accounts/nobody@example.com/keys", `{"type": "json"}`).says(t, 404, "no service account")
	b.must("POST", "/_sandbox/accounts/"+robot+"/keys", `{"type": "pem"}`).says(t, 400, `\"pem\"`)
	b.must("POST", "/_sandbox/accounts/"+robot+"/keys", `{}`).says(t, 400)
}

// An ID token for an audience comes with a key file as well.
func TestKeyFileIDToken(t *testing.T) {
	b := setup(t, realClock)
	file, err := b.s.KeyFile(robot)
	if err != nil {
		t.Fatal(err)
	}
	var key struct {
		Key string `json:"private_key"`
		ID  string `json:"private_key_id"`
	}
	if err := json.Unmarshal(file, &key); err != nil {
		t.Fatal(err)
	}
	p, err := googleauth.New2LOTokenProvider(&googleauth.Options2LO{
		Email: robot, PrivateKey: []byte(key.Key), PrivateKeyID: key.ID, TokenURL: "https://oauth2.googleapis.com/token",
		PrivateClaims: map[string]any{"target_audience": "https://function.example"}, UseIDToken: true, Client: b.rewritten(),
	})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := p.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if claims := claimsOf(t, tok.Value); claims["aud"] != "https://function.example" || claims["sub"] != robotID || claims["email"] != robot {
		t.Errorf("%v", claims)
	}
}
