package sandbox

import (
	"fmt"
	"net/http"
)

// callRows are what the API says when it is called as the user.
func callRows() []Row {
	const (
		badRequest   = http.StatusBadRequest
		unauthorized = http.StatusUnauthorized
		forbidden    = http.StatusForbidden
		tooMany      = http.StatusTooManyRequests
		conflict     = http.StatusConflict
		precondition = "FAILED_PRECONDITION"
	)
	queries := "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute%s' of service 'gmail.googleapis.com' for consumer 'project_number:${projectNumber}'."
	return []Row{
		callRow("A1", badRequest, "failedPrecondition", precondition, "Precondition check failed."),
		callRow("A2", badRequest, "failedPrecondition", precondition, "Mail service not enabled"),
		callRow("A3", badRequest, "badRequest", "", "Bad Request"),
		callRow("A3b", badRequest, "failedPrecondition", precondition, "Bad Request"),
		callRow("A4", badRequest, "invalidArgument", "", "Invalid id value"),
		callRow("A4b", badRequest, "invalidArgument", "", "Missing/invalid parameter: id"),
		callRow("A5", unauthorized, "authError", "", "Invalid Credentials"),
		callRow("A6", unauthorized, "authError", "", "Active session is invalid. Error code: 4"),
		callRow("A7", forbidden, "forbidden", "", "Delegation denied for ${user}"),
		callRow("A8", forbidden, "insufficientPermissions", "", "Request had insufficient authentication scopes.",
			info("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "googleapis.com")),
		callRow("A9", forbidden, "domainPolicy", "", "The domain administrators have disabled Gmail apps."),
		callRow("A10", forbidden, "accessNotConfigured", "", apiOff, infoOff()),
		callRow("A11", forbidden, "rateLimitExceeded", "", "Rate Limit Exceeded"),
		callRow("A11b", forbidden, "userRateLimitExceeded", "", "User Rate Limit Exceeded"),
		callRow("A11c", forbidden, "quotaExceeded", "", "Quota exceeded"),
		callRow("A11d", forbidden, "dailyLimitExceeded", "", "Daily Limit Exceeded"),
		callRow("A11e", forbidden, "rateLimitExceeded", "RESOURCE_EXHAUSTED", fmt.Sprintf(queries, " per user")),
		callRow("A11f", forbidden, "rateLimitExceeded", "RESOURCE_EXHAUSTED", fmt.Sprintf(queries, "")),
		callRow("A12", tooMany, "rateLimitExceeded", "", "Too many concurrent requests for user"),
		callRow("A13", tooMany, "rateLimitExceeded", "", "User-rate limit exceeded.  Retry after ${retryAt} (Mail sending)"),
		callRow("A13b", forbidden, "rateLimitExceeded", "", "User-rate limit exceeded.  Retry after ${retryAt} (Mail sending)"),
		callRow("A14", http.StatusNotFound, "notFound", "", "Requested entity was not found."),
		callRow("A15", forbidden, "forbidden", "", "Forbidden"), // reason and words assumed
		callRow("A16", conflict, "aborted", "ABORTED", "Label name exists or conflicts"),
		callRow("A16b", conflict, "duplicate", "", "The requested identifier already exists."),
		callRow("A16c", conflict, "fileIdInUse", "", "A file already exists with the provided ID."),
		callRow("A17", http.StatusInternalServerError, "backendError", "", "Backend Error"),
		callRow("A17b", http.StatusInternalServerError, "internalError", "", "Internal Error"),
		callRow("A17c", http.StatusBadGateway, "backendError", "", "Backend Error"),
		callRow("A17d", http.StatusServiceUnavailable, "backendError", "", "Backend Error"),
		callRow("A17e", http.StatusGatewayTimeout, "backendError", "", "Backend Error"),
		callRow("A18", forbidden, "forbidden", "", "the authenticated user cannot access this service"), // reason assumed
		callRow("A19", forbidden, "forbidden", "", "Not Authorized to access this resource/api"),
		callRow("A20", http.StatusNotImplemented, "notImplemented", "", "Operation is not implemented, or supported, or enabled."), // reason assumed
		callRow("A21", forbidden, "forbidden", "", noQuotaProject, infoNoQuotaProject()),
	}
}

// callRow takes the status of google.rpc.Code from the HTTP one if it is empty.
func callRow(id string, status int, reason, code, message string, details ...any) Row {
	if code == "" {
		code = canonical(status)
	}
	return makeRow(id, stageCall, status, errorBody{apiError{
		Code: status, Message: message, Status: code, Details: details,
		Errors: []errorItem{{Message: message, Domain: domainOf(reason), Reason: reason}},
	}})
}

// domainOf is "usageLimits" for limits and "global" for all else, as in the
// errors that Google's API guides print.
func domainOf(reason string) string {
	switch reason {
	case "rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "dailyLimitExceeded", "accessNotConfigured":
		return "usageLimits"
	}
	return "global"
}
