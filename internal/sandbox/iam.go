package sandbox

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// IAM Credentials. Facts: its Discovery document and
// https://cloud.google.com/iam/docs/reference/credentials/rest.
func iamRoutes() []*route {
	verb := func(name, permission string, h func(*call, *account) reply) *route {
		return &route{
			name: name, method: http.MethodPost, stage: stageSign, limit: limitSmall, who: payloadUser,
			path: "iamcredentials.googleapis.com/v1/projects/{}/serviceAccounts/{}:" + name,
			handle: func(c *call) reply {
				a, refused := c.target(permission)
				if refused != nil {
					return *refused
				}
				return h(c, a)
			},
		}
	}
	return []*route{
		verb("signJwt", "signJwt", (*call).signJwt),
		verb("signBlob", "signBlob", (*call).signBlob),
		verb("generateAccessToken", "getAccessToken", (*call).generateAccessToken),
		verb("generateIdToken", "getOpenIdToken", (*call).generateIDToken),
	}
}

// iamRequest has the fields of all four requests.
type iamRequest struct {
	Payload      string   `json:"payload"`
	Delegates    []string `json:"delegates"`
	Scope        []string `json:"scope"`
	Lifetime     string   `json:"lifetime"`
	Audience     string   `json:"audience"`
	IncludeEmail bool     `json:"includeEmail"`
	OrgNumber    bool     `json:"organizationNumberIncluded"`
}

func (c *call) iamRequest() (iamRequest, error) {
	var in iamRequest
	err := strictJSON(c.body, &in)
	return in, err
}

// payloadUser is the sub of the claims that are to be signed.
func payloadUser(c *call) string {
	in, err := c.iamRequest()
	if err != nil {
		return ""
	}
	var claims struct {
		Sub string `json:"sub"`
	}
	if json.Unmarshal([]byte(in.Payload), &claims) != nil {
		return ""
	}
	return claims.Sub
}

// target finds the account to sign for, if the caller may. World.Signers
// stands for all four permissions, and for that to pass a right on along a chain.
func (c *call) target(permission string) (*account, *reply) {
	refuse := func(a reply) (*account, *reply) { return nil, &a }
	t := c.presented()
	if !t.live(c.now()) {
		return refuse(unauthenticated(c.bearer() == ""))
	}
	c.tok = t
	if !anyOf(t.scopes, []string{scopeCloudPlatform, scopeIAM}) {
		return refuse(c.row("S4"))
	}
	if a := c.apiDoor(); a != nil {
		return refuse(*a)
	}
	in, err := c.iamRequest()
	if err != nil {
		return refuse(badJSON(err, ""))
	}
	if c.vars[0] != "-" {
		return refuse(refuseRPC(http.StatusBadRequest, "Invalid form of account ID "+c.vars[1]+". Should be [Gaia ID |Email |Unique ID |] of the account"))
	}
	caller := t.principal()
	for _, d := range in.Delegates {
		a := c.accounts.find(strings.TrimPrefix(d, "projects/-/serviceAccounts/"))
		if a == nil || !a.signedBy(caller) {
			return refuse(c.noPermission("implicitDelegation"))
		}
		caller = a.email
	}
	a := c.accounts.find(c.vars[1])
	if a == nil || !a.signedBy(caller) {
		return refuse(c.noPermission(permission))
	}
	return a, nil
}

// noPermission is the row of the permission, or S1, in which signJwt stands for it.
func (c *call) noPermission(permission string) reply {
	if row, ok := map[string]string{"getAccessToken": "S9", "getOpenIdToken": "S9b", "implicitDelegation": "S11"}[permission]; ok {
		return c.row(row)
	}
	a := c.row("S1")
	a.body = []byte(strings.ReplaceAll(string(a.body), "iam.serviceAccounts.signJwt", "iam.serviceAccounts."+permission))
	return a
}

func unauthenticated(missing bool) reply {
	const tail = "Expected OAuth 2 access token, login cookie or other valid authentication credential. " +
		"See https://developers.google.com/identity/sign-in/web/devconsole-project."
	if missing {
		return refuseRPC(http.StatusUnauthorized, "Request is missing required authentication credential. "+tail,
			info("CREDENTIALS_MISSING", "googleapis.com"))
	}
	return refuseRPC(http.StatusUnauthorized, "Request had invalid authentication credentials. "+tail,
		info("ACCESS_TOKEN_EXPIRED", "googleapis.com"))
}

// signJwt signs the payload as it came. That a disabled account still signs is
// assumed; the token endpoint then refuses it (row T22).
func (c *call) signJwt(a *account) reply {
	in, _ := c.iamRequest() // target has read it
	var claims map[string]json.RawMessage
	if json.Unmarshal([]byte(in.Payload), &claims) != nil || claims == nil {
		return refuseRPC(http.StatusBadRequest, "Payload is not a valid JSON object.")
	}
	if exp, ok := claims["exp"]; ok && !c.signable(string(exp)) {
		return c.row("S8")
	}
	k := a.keys.newest()
	jwt, err := k.signJWT([]byte(in.Payload))
	if err != nil {
		return c.broken(err)
	}
	c.secrets.add(jwt)
	return c.ok(map[string]string{"keyId": k.id, "signedJwt": jwt})
}

// signable is row S8's condition on exp.
func (c *call) signable(exp string) bool {
	const ahead = 12 * time.Hour
	n, err := strconv.ParseInt(exp, 10, 64)
	if err != nil {
		return false
	}
	now := c.now()
	return n >= now.Unix() && n <= now.Add(ahead).Unix()
}

func (c *call) signBlob(a *account) reply {
	in, _ := c.iamRequest()
	blob, err := decodeBase64(in.Payload)
	if err != nil {
		return refuseRPC(http.StatusBadRequest, `Invalid value at 'payload' (TYPE_BYTES), Base64 decoding failed for "`+in.Payload+`"`)
	}
	k := a.keys.newest()
	signature, err := k.sign(blob)
	if err != nil {
		return c.broken(err)
	}
	return c.ok(map[string]string{"keyId": k.id, "signedBlob": base64.StdEncoding.EncodeToString(signature)})
}

// generateAccessToken makes a token of the account itself: it has no subject.
// More than an hour is for accounts of which the organisation allows it.
func (c *call) generateAccessToken(a *account) reply {
	const most = 12 * time.Hour
	in, _ := c.iamRequest()
	life := time.Hour
	if in.Lifetime != "" {
		var err error
		if life, err = time.ParseDuration(in.Lifetime); err != nil || life <= 0 || life > most {
			return refuseRPC(http.StatusBadRequest, "The access token lifetime "+in.Lifetime+" is not within 0s and 43200s.")
		}
	}
	if life > time.Hour && !a.long {
		return c.row("S10")
	}
	if len(in.Scope) == 0 {
		return refuseRPC(http.StatusBadRequest, "Scope required.")
	}
	t := c.issue(a.email, nil, in.Scope, life)
	return c.ok(map[string]string{"accessToken": t.value, "expireTime": t.expires.UTC().Format("2006-01-02T15:04:05Z")})
}

func (c *call) generateIDToken(a *account) reply {
	in, _ := c.iamRequest()
	if in.Audience == "" {
		return refuseRPC(http.StatusBadRequest, "Audience required.")
	}
	return c.ok(map[string]string{"token": c.idToken(a.id, a.email, in.Audience)})
}
