package sandbox

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// tokenInfoRoutes tell what a token is good for. Facts:
// https://developers.google.com/identity/sign-in/web/backend-auth#calling-the-tokeninfo-endpoint;
// all values are text.
func tokenInfoRoutes() []*route {
	var out []*route
	for _, path := range []string{"oauth2.googleapis.com/tokeninfo", "www.googleapis.com/oauth2/v3/tokeninfo"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			out = append(out, &route{name: "tokeninfo", method: method, path: path, limit: limitToken, who: nobody, handle: (*call).tokenInfo})
		}
	}
	return out
}

func (c *call) tokenInfo() reply {
	value := cmp.Or(c.query.Get("access_token"), c.form().Get("access_token"))
	c.secrets.add(value)
	t := c.tokens.get(value)
	if !t.live(c.now()) || strings.HasPrefix(t.account, principalPrefix) { // federated ones are not Google's to tell of: assumed
		return c.oauthRefusal(http.StatusBadRequest, "invalid_token", "Invalid Value")
	}
	client, subject := c.parties(t)
	out := map[string]string{
		"azp": client, "aud": client, "sub": subject, "scope": strings.Join(t.scopes, " "), "access_type": "online",
		"exp": strconv.FormatInt(t.expires.Unix(), 10), "expires_in": strconv.Itoa(int(t.expires.Sub(c.now()).Seconds())),
	}
	if t.person == nil && t.signIn == nil || slices.Contains(t.scopes, scopeEmail) {
		out["email"], out["email_verified"] = t.principal(), "true"
	}
	return c.ok(out)
}

// parties are the numbers of the client that a token was issued to, and of whom it
// stands for.
func (c *call) parties(t *token) (client, subject string) {
	if t.signIn != nil {
		return t.signIn.ClientID, numericID(t.account)
	}
	if a := c.accounts.find(t.account); a != nil {
		client = a.id
	}
	if t.person != nil {
		return client, t.person.id
	}
	return client, client
}

// oauthRefusal has the form of the token endpoint, for what is no row of the table.
func (c *call) oauthRefusal(status int, code, description string) reply {
	a := c.ok(oauthError{code, description})
	a.status = status
	return a
}
