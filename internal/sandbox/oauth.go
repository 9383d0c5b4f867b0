package sandbox

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	grantJWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	// grantOld is what cloud.google.com/go/auth/credentials/impersonate still
	// sends, from before RFC 7523.
	grantOld     = "assertion"
	grantOldType = "http://oauth.net/grant_type/jwt/1.0/bearer"
	grantRefresh = "refresh_token"
)

// tokenRoutes are the names under which the token endpoint is known.
func tokenRoutes() []*route {
	var out []*route
	for _, u := range tokenURLs() {
		out = append(out, &route{
			name: "token", method: http.MethodPost, path: strings.TrimPrefix(u, "https://"),
			stage: stageExchange, limit: limitToken, who: assertionUser, handle: (*call).exchange,
		})
	}
	return out
}

func (c *call) form() url.Values {
	// What cannot be parsed is left out, and then found missing.
	v, _ := url.ParseQuery(string(c.body))
	return v
}

func grantOf(c *call) string { return c.form().Get("grant_type") }

// assertionUser is the sub of an assertion, verified or not.
func assertionUser(c *call) string {
	if a, ok := parseAssertion(c.form().Get("assertion")); ok && a.claims.subject() != nil {
		return *a.claims.subject()
	}
	return ""
}

// exchange is POST https://oauth2.googleapis.com/token.
func (c *call) exchange() reply {
	if c.req.Header.Get("Authorization") != "" {
		c.calls.add(callTokenAuthorization)
		c.presented() // for the secrets
	}
	form := c.form()
	text := form.Get("assertion")
	c.secrets.add(text)
	switch grant := form.Get("grant_type"); {
	case grant == grantRefresh:
		return c.refresh(form)
	case grant == grantJWT:
	case grant == grantOld && form.Get("assertion_type") == grantOldType:
	default:
		return c.row("T17")
	}
	a, ok := parseAssertion(text)
	if !ok {
		return c.row("T16")
	}
	issuer := c.accounts.find(a.claims.Iss)
	if row := a.refusal(issuer, c.now()); row != "" {
		return c.row(row)
	}
	return c.grant(issuer, &a.claims)
}

// grant decides on an assertion that is in order. How Google orders these
// checks is not on record: the client comes first, then its entry in the user's
// organisation, then the user.
func (c *call) grant(issuer *account, claims *claims) reply {
	if issuer.disabled {
		return c.row("T22")
	}
	if claims.TargetAudience != "" {
		return c.ok(map[string]string{"id_token": c.idToken(issuer.id, issuer.email, claims.TargetAudience)})
	}
	scopes := strings.Fields(claims.Scope)
	// Before the entry, which can hold no unknown scope: after it, T14
	// would never be seen with a sub.
	if slices.ContainsFunc(scopes, func(s string) bool { return !c.known[s] }) {
		return c.row("T14")
	}
	var as *person
	if sub := claims.subject(); sub != nil {
		if row := delegation(issuer.entry(), scopes); row != "" {
			return c.row(row)
		}
		var row string
		if as, row = c.subject(*sub); row != "" {
			return c.row(row)
		}
	}
	return c.granted(c.issue(issuer.email, as, scopes, tokenLife))
}

func (c *call) granted(t *token) reply {
	body := `{"access_token":"` + t.value + `","expires_in":3599,"token_type":"Bearer"}`
	return reply{status: http.StatusOK, body: []byte(body)}
}

// delegation compares the scopes with the Admin console's entry: none of them
// in it is row T1, by its own words; some and not all is T4.
func delegation(entry, scopes []string) string {
	found := 0
	for _, s := range scopes {
		if slices.Contains(entry, s) {
			found++
		}
	}
	switch found {
	case len(scopes):
		return ""
	case 0:
		return "T1"
	}
	return "T4"
}

// subject finds whom to act as. Only a primary address will do. For suspended
// users row T6 is what projects report; that archived ones get it too is assumed.
func (c *call) subject(sub string) (*person, string) {
	if !isAddress(sub) {
		return nil, "T7"
	}
	p := c.people.find(sub)
	if p == nil || !strings.EqualFold(p.email, sub) {
		return nil, "T6"
	}
	if u := p.user(); u.Suspended || u.Archived {
		return nil, "T6"
	}
	return p, ""
}
