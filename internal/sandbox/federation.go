package sandbox

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

const (
	grantExchange   = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	principalPrefix = "principal://"
)

// What workload identity federation is called: providers, and who comes by them. The
// case does not matter, since that of addresses does not.
var (
	providers  = regexp.MustCompile(`^//iam\.googleapis\.com/projects/\d+/locations/global/workloadIdentityPools/[^/]+/providers/[^/]+$`)
	principals = regexp.MustCompile(`(?i)^principal://iam\.googleapis\.com/projects/\d+/locations/global/workloadIdentityPools/[^/]+/subject/.+$`)
)

// federationRoutes are the Security Token Service. Facts:
// https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token.
func federationRoutes() []*route {
	return []*route{{
		name: "sts.token", method: http.MethodPost, path: "sts.googleapis.com/v1/token",
		limit: limitToken, who: nobody, handle: (*call).federate,
	}}
}

// federate takes what another identity provider issued for a token of Google's. The
// words for an audience are as people report them; the others are assumed.
func (c *call) federate() reply {
	refuse := func(code, description string) reply {
		return c.oauthRefusal(http.StatusBadRequest, code, description)
	}
	form := c.form()
	subject, scopes := form.Get("subject_token"), strings.Fields(form.Get("scope"))
	c.secrets.add(subject)
	if c.apisOff.has(c.route.service()) {
		return c.row("A10")
	}
	switch {
	case form.Get("grant_type") != grantExchange:
		return refuse("unsupported_grant_type", "Invalid grant_type: "+form.Get("grant_type"))
	case form.Get("requested_token_type") != typeAccessToken:
		return refuse("invalid_request", "Invalid requested_token_type.")
	case !slices.Contains([]string{"urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"}, form.Get("subject_token_type")):
		return refuse("invalid_request", "Invalid subject_token_type.")
	case len(scopes) == 0:
		return refuse("invalid_scope", "Invalid OAuth scope.")
	case !slices.ContainsFunc(c.federated, func(f Federated) bool { return f.Audience == form.Get("audience") }):
		return refuse("invalid_target", `The target service indicated by the "audience" parameters is invalid. `+
			"This might either be because the pool or provider is disabled or deleted or because it doesn't exist.")
	}
	i := slices.IndexFunc(c.federated, func(f Federated) bool {
		return f.Audience == form.Get("audience") && f.SubjectToken == subject
	})
	if i < 0 {
		return refuse("invalid_grant", "The given credential could not be verified.")
	}
	t := c.hand(&token{account: c.federated[i].Principal, scopes: scopes}, tokenLife)
	return c.ok(map[string]any{
		"access_token": t.value, "issued_token_type": typeAccessToken, "token_type": "Bearer", "expires_in": int(tokenLife.Seconds()),
	})
}
