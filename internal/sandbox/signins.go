package sandbox

import (
	"net/url"
	"slices"
	"strings"
)

// signInScopes are those that gcloud auth application-default login asks for.
func signInScopes() []string { return []string{scopeCloudPlatform, scopeEmail, scopeOpenID} }

// refresh gives whoever signed in a token, and an ID token for the client. Any other
// refresh token is one that has ended. Facts:
// https://developers.google.com/identity/protocols/oauth2/native-app#offline.
func (c *call) refresh(form url.Values) reply {
	value := form.Get("refresh_token")
	c.secrets.add(value)
	c.secrets.add(form.Get("client_secret"))
	i := slices.IndexFunc(c.signIns, func(in SignIn) bool { return in.RefreshToken == value })
	if i < 0 {
		return c.row("T26")
	}
	in := &c.signIns[i]
	if form.Get("client_id") != in.ClientID || form.Get("client_secret") != in.ClientSecret {
		return c.row("T24")
	}
	scopes := signInScopes()
	if asked := strings.Fields(form.Get("scope")); len(asked) > 0 {
		if slices.ContainsFunc(asked, func(s string) bool { return !slices.Contains(scopes, s) }) {
			return c.row("T15")
		}
		scopes = asked
	}
	t := c.hand(&token{account: in.Email, signIn: in, scopes: scopes}, tokenLife)
	return c.ok(map[string]any{
		"access_token": t.value, "expires_in": int(tokenLife.Seconds()), "scope": strings.Join(scopes, " "), "token_type": "Bearer",
		"id_token": c.idTokenFor(in.Email, in.ClientID),
	})
}

// quotaHeader names the project on whose account a call goes, for who may choose.
const quotaHeader = "X-Goog-User-Project"

// quotaDoor wants a project on whose account the call goes. A service account has its
// own; who signed in must name one. Cloud Storage takes the bucket's. The words are
// as people report them. That signing wants a project is from memory;
// generateAccessToken does not, since Google's clients name none when they impersonate
// an account with somebody's sign-in, and that is known to work.
// Facts: https://cloud.google.com/docs/quotas/quota-project.
func (c *call) quotaDoor() *reply {
	project, service := c.req.Header.Get(quotaHeader), c.route.service()
	switch {
	case project != "" && !c.tok.mayCharge(c, project):
		a := c.row("S5")
		return &a
	case project == "" && c.tok.signIn != nil && service != "storage.googleapis.com" && c.route.name != "generateAccessToken":
		a := c.row("A21")
		if c.route.stage == stageSign {
			a = c.row("S12")
		}
		return &a
	}
	return nil
}

// mayCharge tells whether calls may go on a project's account. A user of the
// organisation has been granted nothing in the project.
func (t *token) mayCharge(c *call, project string) bool {
	if t.signIn != nil && t.signIn.QuotaProjects != nil {
		return slices.Contains(t.signIn.QuotaProjects, project)
	}
	return t.person == nil && c.isProject(project)
}
