package delegation_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"cloud.google.com/go/auth"

	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

const (
	delegated = "delegated@onbehalf-sandbox.iam.gserviceaccount.com"
	chained   = "chained@onbehalf-sandbox.iam.gserviceaccount.com"
	middle    = "middle@onbehalf-sandbox.iam.gserviceaccount.com"
)

// google as the sandbox has it: it verifies signatures, delegation and rights.
type realistic struct {
	*sandbox.Server
	client  *http.Client
	runtime string
}

// caller is the runtime's identity in a sandbox.
type caller struct{ *auth.Credentials }

func (c caller) Authorize(ctx context.Context, r *http.Request) error {
	token, err := c.Token(ctx)
	if err == nil {
		r.Header.Set("Authorization", "Bearer "+token.Value)
	}
	return err
}

func (caller) Renew() {}

func setup(t *testing.T) realistic {
	t.Helper()
	world := sandbox.DefaultWorld()
	scopes := world.ServiceAccounts[0].DelegatedScopes
	world.ServiceAccounts = append(world.ServiceAccounts,
		sandbox.ServiceAccount{Email: delegated, UniqueID: "111", Signers: []string{world.Runtime}, DelegatedScopes: scopes, LongLifetime: true},
		sandbox.ServiceAccount{Email: middle, UniqueID: "112", Signers: []string{world.Runtime}},
		sandbox.ServiceAccount{Email: chained, UniqueID: "113", Signers: []string{middle}, DelegatedScopes: scopes},
	)
	s, err := sandbox.New(world, sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	rewrite, err := sandbox.RewriteTransport(server.URL, server.Client().Transport)
	if err != nil {
		t.Fatal(err)
	}
	return realistic{s, &http.Client{Transport: rewrite}, world.Runtime}
}

func (r realistic) iam(t *testing.T, account string, delegates ...string) delegation.Signer {
	t.Helper()
	s, err := delegation.NewIAM(delegation.IAMConfig{ServiceAccount: account, Delegates: delegates, Identity: caller{r.Credentials(r.runtime)}, HTTP: r.client})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func key(t *testing.T, file func(string) ([]byte, error), account string) delegation.Signer {
	t.Helper()
	data, err := file(delegated)
	if err != nil {
		t.Fatal(err)
	}
	s, err := delegation.ParseKey(data, account)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Each signer does the same, and Google accepts what it signs.
func TestSigners(t *testing.T) {
	r := setup(t)
	for name, c := range map[string]struct {
		delegation.Signer
		account, id string
	}{
		"itself":   {r.iam(t, r.runtime), r.runtime, "100000000000000000042"},
		"another":  {r.iam(t, delegated), delegated, "111"},
		"chain":    {r.iam(t, chained, middle), chained, "113"},
		"JSON key": {key(t, r.KeyFile, ""), delegated, "111"},
		"its name": {key(t, r.KeyFile, strings.ToUpper(delegated[:1])+delegated[1:]), delegated, "111"},
		"P12 key":  {key(t, r.KeyP12, delegated), delegated, "111"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.ServiceAccount(); got != c.account {
				t.Errorf("signs for %s, want %s", got, c.account)
			}
			signsAsItStands(t, c.Signer)
			m, err := delegation.New(delegation.Config{Signer: c.Signer, HTTP: r.client, Judge: judge})
			if err != nil {
				t.Fatal(err)
			}
			var group sync.WaitGroup
			for range 20 {
				group.Go(func() {
					token, err := m.Token(t.Context(), "ada@example.com", scope)
					if err != nil || token.Reveal() == "" {
						t.Errorf("a user's token: %v", err)
					}
				})
			}
			group.Wait()
			if id, err := m.ClientID(t.Context()); err != nil || id != c.id {
				t.Errorf("client id %s, %v; want %s", id, err, c.id)
			}
			own, err := m.ServiceAccountToken(t.Context(), 0, scope)
			if err != nil || own.Reveal() == "" {
				t.Errorf("its own token: %v", err)
			}
			if token, err := m.IDToken(t.Context(), "https://run.example"); err != nil || strings.Count(token.Reveal(), ".") != 2 {
				t.Errorf("an ID token: %v", err)
			}
			if _, err := m.IDToken(t.Context(), ""); err == nil {
				t.Error("an ID token for nobody")
			}
		})
	}
}

// signsAsItStands wants the claims byte for byte, under RS256's header.
func signsAsItStands(t *testing.T, s delegation.Signer) {
	t.Helper()
	const claims = `{"b": 1,  "a":"ü"}`
	jwt, err := s.SignJWT(t.Context(), claims)
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	var header struct{ Alg, Typ string }
	head, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil || json.Unmarshal(head, &header) != nil || header.Alg != "RS256" || header.Typ != "JWT" {
		t.Errorf("header %s, %v", head, err)
	}
	if body, err := base64.RawURLEncoding.DecodeString(parts[1]); err != nil || string(body) != claims {
		t.Errorf("claims %s, %v", body, err)
	}
}

// A longer life than an hour is the organisation's to allow, and a key's
// tokens never have one.
func TestLongLives(t *testing.T) {
	r := setup(t)
	for name, c := range map[string]struct {
		delegation.Signer
		says string
	}{
		"allowed":     {r.iam(t, delegated), ""},
		"not allowed": {r.iam(t, r.runtime), "INVALID_ARGUMENT"},
		"a key":       {key(t, r.KeyFile, ""), "with a key it is always 1h"},
	} {
		m, err := delegation.New(delegation.Config{Signer: c.Signer, HTTP: r.client, Judge: judge})
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.ServiceAccountToken(t.Context(), 12*3600e9, scope)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Who may not sign is told so, by each way there is.
func TestMayNotSign(t *testing.T) {
	r := setup(t)
	for name, s := range map[string]delegation.Signer{
		"without the chain": r.iam(t, chained),
		"no such account":   r.iam(t, "nobody@onbehalf-sandbox.iam.gserviceaccount.com"),
		"the wrong order":   r.iam(t, middle, chained),
	} {
		_, err := s.SignJWT(t.Context(), "{}")
		var refusal *delegation.Error
		if !errors.As(err, &refusal) || refusal.Stage != delegation.Sign || refusal.Code != "IAM_PERMISSION_DENIED" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A key that is not what it should be is refused, and nothing of it is quoted.
func TestParseKeyRefuses(t *testing.T) {
	r := setup(t)
	whole, err := r.KeyFile(delegated)
	if err != nil {
		t.Fatal(err)
	}
	p12, err := r.KeyP12(delegated)
	if err != nil {
		t.Fatal(err)
	}
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(elliptical)
	if err != nil {
		t.Fatal(err)
	}
	with := func(field string, value any) []byte {
		var fields map[string]any
		if err := json.Unmarshal(whole, &fields); err != nil {
			t.Fatal(err)
		}
		fields[field] = value
		data, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for name, c := range map[string]struct {
		data          []byte
		account, says string
	}{
		"another account's": {whole, middle, "the key is one of \"" + delegated + `", and not of ` + middle},
		"a person's":        {with("type", "authorized_user"), "", `"type" is "authorized_user"; "service_account" is accepted`},
		"no account":        {with("client_email", ""), "", `no "client_email"`},
		"another universe":  {with("universe_domain", "cloud.example"), "", `"universe_domain" is "cloud.example"; only googleapis.com`},
		"no PEM":            {with("private_key", "secretsecret"), "", "not in PEM"},
		"no key":            {with("private_key", string(pem.EncodeToMemory(&pem.Block{Type: "X", Bytes: []byte("secretsecret")}))), "", "no private key"},
		"not RSA":           {with("private_key", string(pem.EncodeToMemory(&pem.Block{Type: "X", Bytes: der}))), "", "not an RSA key"},
		"broken JSON":       {whole[:len(whole)/2], "", "no JSON"},
		"P12 of nobody":     {p12, "", "set ONBEHALF_SERVICE_ACCOUNT"},
		"broken P12":        {p12[:len(p12)/2], delegated, "neither JSON nor P12"},
		"empty":             {nil, delegated, "neither JSON nor P12"},
	} {
		s, err := delegation.ParseKey(c.data, c.account)
		if err == nil || s != nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want … %s …", name, err, c.says)
		}
		if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "BEGIN")) {
			t.Errorf("%s: it quotes the key", name)
		}
	}
}

// However a key is printed, nothing of it shows.
func TestAKeyPrintsNothing(t *testing.T) {
	s := key(t, setup(t).KeyFile, "")
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %d %x", s, s, s, s, s, s), fmt.Sprintf("%+v %#v", []any{s}, map[string]any{"s": s})} {
		if rest := strings.ReplaceAll(text, "key of "+delegated, ""); len(rest) > 60 || strings.ContainsAny(rest, "0123456789") {
			t.Errorf("%s", text)
		}
	}
}
