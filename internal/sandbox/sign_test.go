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

func TestSignJwtChain(t *testing.T) {
	b := setup(t, chained)
	sign := func(account string, delegates ...string) answer {
		return b.must("POST", b.signPath(account), map[string]any{"payload": "{}", "delegates": delegates}, bearer(b.machine())...)
	}
	link := func(email string) string { return "projects/-/serviceAccounts/" + email }
	const denied = "Permission 'iam.serviceAccounts.signJwt' denied on resource (or it may not exist)."
	sign(middle).says(t, 200)
	sign("101").says(t, 200)
	sign(target).says(t, 403, denied, "IAM_PERMISSION_DENIED")
	sign(target, link(middle)).says(t, 200)
	sign(target, link(target)).says(t, 403, denied)
	sign(middle, link(target)).says(t, 403, denied)
	sign("nobody@example.com").says(t, 403, denied)
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
