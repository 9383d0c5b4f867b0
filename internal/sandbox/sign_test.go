package sandbox_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

const (
	middle = "middle@onbehalf-sandbox.iam.gserviceaccount.com"
	target = "target@onbehalf-sandbox.iam.gserviceaccount.com"
)

// chained has robot → middle → target, each a signer of the next only.
func chained(w *sandbox.World, _ *sandbox.Options) {
	w.ServiceAccounts = append(w.ServiceAccounts,
		sandbox.ServiceAccount{Email: middle, UniqueID: "101", Signers: []string{robot}},
		sandbox.ServiceAccount{Email: target, UniqueID: "102", Signers: []string{middle}})
}

// A chain is honoured by each verb: every account must be signed for by the one
// before it, and the caller by nobody else.
func TestDelegates(t *testing.T) {
	b := setup(t, chained)
	link := func(email string) string { return "projects/-/serviceAccounts/" + email }
	for verb, request := range map[string]struct {
		permission string
		body       map[string]any
	}{
		"signJwt":             {"signJwt", map[string]any{"payload": "{}"}},
		"signBlob":            {"signBlob", map[string]any{"payload": "aGVsbG8="}},
		"generateAccessToken": {"getAccessToken", map[string]any{"scope": []string{auth + "cloud-platform"}}},
		"generateIdToken":     {"getOpenIdToken", map[string]any{"audience": "https://example.com"}},
	} {
		ask := func(account string, delegates ...string) answer {
			request.body["delegates"] = delegates
			return b.must("POST", strings.Replace(b.signPath(account), "signJwt", verb, 1), request.body, bearer(b.machine())...)
		}
		denied := "Permission 'iam.serviceAccounts." + request.permission + "' denied on resource (or it may not exist)."
		ask(middle).says(t, 200)
		ask("101").says(t, 200)
		ask(target).says(t, 403, denied, "IAM_PERMISSION_DENIED")
		ask(target, link(middle)).says(t, 200)
		ask(robot, link(middle)).says(t, 403, denied)
		const broken = "Permission 'iam.serviceAccounts.implicitDelegation' denied"
		ask(target, link(target)).says(t, 403, broken, "IAM_PERMISSION_DENIED")
		ask(target, link(target), link(middle)).says(t, 403, broken)
		ask(middle, link("nobody@example.com")).says(t, 403, broken)
		ask("nobody@example.com").says(t, 403, denied)
	}
}

// A grant can be made and taken back while the sandbox runs.
func TestSetSigners(t *testing.T) {
	b := setup(t, chained)
	sign := func(account string) answer {
		return b.must("POST", b.signPath(account), map[string]any{"payload": "{}"}, bearer(b.machine())...)
	}
	sign(target).says(t, 403)
	b.must("PUT", "/_sandbox/accounts/"+target+"/signers", []string{strings.ToUpper(robot)}).says(t, 204)
	sign(target).says(t, 200)
	b.must("PUT", "/_sandbox/accounts/"+target+"/signers", "[]").says(t, 204)
	sign(target).says(t, 403)
	b.must("PUT", "/_sandbox/accounts/"+target+"/signers", `["x"]`).says(t, 400, `signers[0]: \"x\" is not an e-mail address`)
	b.must("PUT", "/_sandbox/accounts/"+target+"/signers", `{}`).says(t, 400)
	b.must("PUT", "/_sandbox/accounts/nobody@example.com/signers", "[]").says(t, 404)
	if err := b.s.SetSigners("nobody@example.com", nil); err == nil {
		t.Error("nobody has signers")
	}
}

// Only where the organisation allows it does a token last longer than an hour.
func TestLongLifetime(t *testing.T) {
	b := setup(t, func(w *sandbox.World, _ *sandbox.Options) {
		w.ServiceAccounts = append(w.ServiceAccounts, sandbox.ServiceAccount{Email: middle, Signers: []string{robot}, LongLifetime: true})
	})
	ask := func(account, lifetime string) answer {
		return b.must("POST", strings.Replace(b.signPath(account), "signJwt", "generateAccessToken", 1),
			map[string]any{"scope": []string{auth + "cloud-platform"}, "lifetime": lifetime}, bearer(b.machine())...)
	}
	ask(robot, "3600s").says(t, 200, "2026-11-20T13:00:00Z")
	ask(robot, "3601s").says(t, 400, "INVALID_ARGUMENT", "Access tokens for service account "+robot+" can not have lifetimes of more than 1 hour.",
		"constraints/iam.allowServiceAccountCredentialLifetimeExtension")
	ask(middle, "43200s").says(t, 200, "2026-11-21T00:00:00Z")
	ask(middle, "43201s").says(t, 400, "43200s")
}

// An account is no signer of itself unless it was made one.
func TestSignJwtOneself(t *testing.T) {
	b := setup(t, func(w *sandbox.World, _ *sandbox.Options) { w.ServiceAccounts[0].Signers = nil })
	b.must("POST", b.signPath(robot), map[string]any{"payload": "{}"}, bearer(b.machine())...).says(t, 403, "PERMISSION_DENIED")
}

func TestSignJwtAuthentication(t *testing.T) {
	b := setup(t)
	body := map[string]any{"payload": "{}"}
	b.must("POST", b.signPath(robot), body).says(t, 401, "UNAUTHENTICATED", "missing required authentication credential")
	b.must("POST", b.signPath(robot), body, bearer("forged")...).says(t, 401, "UNAUTHENTICATED", "invalid authentication credentials")
	narrow := b.must("GET", "/computeMetadata/v1/instance/service-accounts/default/token?scopes="+auth+"gmail.insert", nil, "Metadata-Flavor", "Google")
	token := narrow.decode(t)["access_token"].(string)
	b.must("POST", b.signPath(robot), body, bearer(token)...).says(t, 403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
}

func TestSignJwtPayload(t *testing.T) {
	b := setup(t)
	now := b.now.Unix()
	for _, tc := range []struct {
		payload any
		status  int
	}{
		{`{"a": 1}`, 200},
		{map[string]any{"exp": now}, 200},
		{map[string]any{"exp": now + 12*3600}, 200},
		{map[string]any{"exp": now - 1}, 400},
		{map[string]any{"exp": now + 12*3600 + 1}, 400},
		{`{"exp": 1.5}`, 400},
		{`{"exp": "1"}`, 400},
		{`[1]`, 400},
		{`null`, 400},
		{`x`, 400},
	} {
		text, ok := tc.payload.(string)
		if !ok {
			j, err := json.Marshal(tc.payload)
			if err != nil {
				t.Fatal(err)
			}
			text = string(j)
		}
		b.must("POST", b.signPath(robot), map[string]any{"payload": text}, bearer(b.machine())...).says(t, tc.status)
	}
	b.must("POST", b.signPath(robot), `{"payload": "{}", "exp": 1}`, bearer(b.machine())...).says(t, 400, `Unknown name \"exp\"`)
	b.must("POST", strings.Replace(b.signPath(robot), "/-/", "/p/", 1), map[string]any{"payload": "{}"}, bearer(b.machine())...).says(t, 400)
}

// What is signed is the payload as it came, verified here with the published key.
func TestSignJwtVerifies(t *testing.T) {
	b := setup(t)
	const payload = `{ "b":1, "a":2 }`
	a := b.must("POST", b.signPath(robot), map[string]any{"payload": payload}, bearer(b.machine())...).decode(t)
	parts := strings.Split(a["signedJwt"].(string), ".")
	if got, _ := base64.RawURLEncoding.DecodeString(parts[1]); string(got) != payload {
		t.Errorf("signed %s", got)
	}
	set := b.must("GET", "/www.googleapis.com/service_accounts/v1/metadata/jwk/"+robot, nil).decode(t)
	jwk := set["keys"].([]any)[0].(map[string]any)
	if jwk["kid"] != a["keyId"] {
		t.Errorf("kid %v, keyId %v", jwk["kid"], a["keyId"])
	}
	n, err := base64.RawURLEncoding.DecodeString(jwk["n"].(string))
	if err != nil {
		t.Fatal(err)
	}
	check(t, &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}, parts[0]+"."+parts[1], parts[2])

	certs := b.must("GET", "/www.googleapis.com/robot/v1/metadata/x509/"+robotID, nil).decode(t)
	block, _ := pem.Decode([]byte(certs[a["keyId"].(string)].(string)))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	check(t, cert.PublicKey.(*rsa.PublicKey), parts[0]+"."+parts[1], parts[2])
	b.must("GET", "/www.googleapis.com/service_accounts/v1/metadata/x509/nobody@example.com", nil).says(t, 404)
}

func check(t *testing.T, public *rsa.PublicKey, signed, signature string) {
	t.Helper()
	sig, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(signed))
	if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], sig); err != nil {
		t.Error(err)
	}
}

func TestIAMOthers(t *testing.T) {
	b := setup(t)
	post := func(verb string, body any) answer {
		return b.must("POST", strings.Replace(b.signPath(robot), "signJwt", verb, 1), body, bearer(b.machine())...)
	}
	a := post("generateAccessToken", map[string]any{"scope": []string{auth + "cloud-platform"}, "lifetime": "600s"}).says(t, 200).decode(t)
	if a["expireTime"] != "2026-11-20T12:10:00Z" {
		t.Errorf("expireTime %v", a["expireTime"])
	}
	b.must("POST", b.signPath(robot), map[string]any{"payload": "{}"}, bearer(a["accessToken"].(string))...).says(t, 200)
	post("generateAccessToken", map[string]any{"scope": []string{"x"}, "lifetime": "43201s"}).says(t, 400)
	post("generateAccessToken", map[string]any{}).says(t, 400)
	post("generateIdToken", map[string]any{"audience": "https://example.com"}).says(t, 200, "token")
	post("generateIdToken", map[string]any{}).says(t, 400)
	post("signBlob", map[string]any{"payload": "aGVsbG8="}).says(t, 200, "signedBlob")
	post("signBlob", map[string]any{"payload": "?"}).says(t, 400)
	b.must("POST", strings.Replace(b.signPath("nobody@example.com"), "signJwt", "generateAccessToken", 1), map[string]any{}, bearer(b.machine())...).
		says(t, 403, "'iam.serviceAccounts.getAccessToken' denied")
}
