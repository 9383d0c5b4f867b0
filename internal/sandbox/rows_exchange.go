package sandbox

import "net/http"

// exchangeRows are what the token endpoint says. A status marked "assumed" is
// on record nowhere: 400 is RFC 6749's for invalid_*, 401 its for a client that
// may not, 403 stands for a policy.
func exchangeRows() []Row {
	const (
		badRequest   = http.StatusBadRequest
		unauthorized = http.StatusUnauthorized
		forbidden    = http.StatusForbidden
		internal     = http.StatusInternalServerError
		unavailable  = http.StatusServiceUnavailable
	)
	return []Row{
		oauthRow("T1", unauthorized, "unauthorized_client", "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested."),
		oauthRow("T2", unauthorized, "unauthorized_client", "Client is unauthorized to retrieve access tokens using this method."),
		oauthRow("T3", unauthorized, "unauthorized_client", "Unauthorized client or scope in request."), // assumed
		oauthRow("T4", forbidden, "access_denied", "Requested client not authorized."),
		oauthRow("T5", forbidden, "access_denied", "Account restricted"), // assumed
		oauthRow("T6", badRequest, "invalid_grant", "Invalid email or User ID"),
		oauthRow("T7", badRequest, "invalid_grant", "Not a valid email"),
		oauthRow("T7b", badRequest, "invalid_grant", "Not a valid email or user ID."),
		oauthRow("T8", badRequest, "invalid_grant", "The account has been deleted"),
		oauthRow("T9", badRequest, "invalid_grant", "Invalid grant: account not found"),
		oauthRow("T10", badRequest, "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim."),
		oauthRow("T11", badRequest, "invalid_grant", "Invalid JWT: iat (issued at) is not set."),
		oauthRow("T11b", badRequest, "invalid_grant", "Invalid JWT: exp (expiration time) is not set."),
		oauthRow("T12", badRequest, "invalid_grant", "Invalid JWT Signature."),
		oauthRow("T13", badRequest, "invalid_grant", "Invalid JWT: Failed audience check."),
		makeRow("T14", stageExchange, http.StatusOK, map[string]string{"id_token": "${idToken}"}),
		oauthRow("T15", badRequest, "invalid_scope", "Invalid OAuth scope or ID token audience provided."),
		oauthRow("T16", badRequest, "invalid_request", "Bad Request"),
		oauthRow("T17", badRequest, "unsupported_grant_type", "Invalid grant_type: ${grantType}"),
		oauthRow("T18", badRequest, "invalid_request", "Invalid impersonation prn email address"),                 // assumed
		oauthRow("T18b", badRequest, "invalid_request", `Invalid impersonation "sub" field: ${user}`),             // assumed, and what follows "field"
		oauthRow("T19", badRequest, "invalid_grant", "Invalid JWT: No valid verifier found for issuer"),           // assumed
		oauthRow("T20", forbidden, "admin_policy_enforced", "Access is blocked by your organization's policy."),   // assumed, and so the words
		oauthRow("T21", forbidden, "org_internal", "This client is restricted to users within its organization."), // assumed
		oauthRow("T22", unauthorized, "disabled_client", "The OAuth client was disabled."),                        // assumed
		oauthRow("T23", unauthorized, "deleted_client", "The OAuth client was deleted."),                          // assumed, and so the words
		oauthRow("T24", unauthorized, "invalid_client", "The OAuth client was not found."),                        // assumed, and so the words
		oauthRow("T25", internal, "internal_failure", "Backend Error"),
		oauthRow("T25b", internal, "server_error", ""),
		oauthRow("T25c", unavailable, "temporarily_unavailable", ""),
		oauthRow("T26", badRequest, "invalid_grant", "reauth related error (invalid_rapt)"), // assumed
		oauthRow("T26b", badRequest, "invalid_grant", "Token has been expired or revoked"),  // assumed
		oauthRow("T27", badRequest, "invalid_account", "Forbidden"),                         // assumed
	}
}
