package sandbox

import "net/http"

// apiError is the error that Google's APIs answer with.
type apiError struct {
	Code    int         `json:"code"`
	Message string      `json:"message"`
	Errors  []errorItem `json:"errors,omitempty"`
	Status  string      `json:"status,omitempty"`
	Details []any       `json:"details,omitempty"`
}

type errorItem struct {
	Message string `json:"message"`
	Domain  string `json:"domain"`
	Reason  string `json:"reason"`
}

type errorBody struct {
	Error apiError `json:"error"`
}

// oauthError is the error of the token endpoint, RFC 6749 section 5.2.
type oauthError struct {
	Error       string `json:"error"`
	Description string `json:"error_description,omitempty"`
}

// errorInfo is google.rpc.ErrorInfo.
type errorInfo struct {
	Type     string            `json:"@type"`
	Reason   string            `json:"reason"`
	Domain   string            `json:"domain"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

func info(reason, domain string, pairs ...string) errorInfo {
	e := errorInfo{Type: "type.googleapis.com/google.rpc.ErrorInfo", Reason: reason, Domain: domain}
	for i := 0; i+1 < len(pairs); i += 2 {
		if e.Metadata == nil {
			e.Metadata = map[string]string{}
		}
		e.Metadata[pairs[i]] = pairs[i+1]
	}
	return e
}

// canonical is google.rpc.Code by HTTP status, google/rpc/code.proto.
func canonical(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "INVALID_ARGUMENT"
	case http.StatusUnauthorized:
		return "UNAUTHENTICATED"
	case http.StatusForbidden:
		return "PERMISSION_DENIED"
	case http.StatusNotFound:
		return "NOT_FOUND"
	case http.StatusConflict:
		return "ALREADY_EXISTS"
	case http.StatusPreconditionFailed:
		return "FAILED_PRECONDITION"
	case http.StatusRequestEntityTooLarge:
		return "INVALID_ARGUMENT"
	case http.StatusTooManyRequests:
		return "RESOURCE_EXHAUSTED"
	case http.StatusInternalServerError:
		return "INTERNAL"
	case http.StatusNotImplemented:
		return "UNIMPLEMENTED"
	case http.StatusServiceUnavailable:
		return "UNAVAILABLE"
	case http.StatusGatewayTimeout:
		return "DEADLINE_EXCEEDED"
	}
	return "UNKNOWN"
}

// errorReply writes an error out.
func errorReply(e apiError) reply {
	body, err := marshal(errorBody{e}, true)
	if err != nil { // cannot be: the type has nothing that fails to encode
		body = []byte(`{"error": {}}`)
	}
	return reply{status: e.Code, body: body}
}

// refuse answers with an error that is no row of the table.
func (c *call) refuse(status int, reason, message string) reply {
	return errorReply(apiError{
		Code: status, Message: message, Status: canonical(status),
		Errors: []errorItem{{Message: message, Domain: "global", Reason: reason}},
	})
}

// refuseRPC is the form of the APIs that have no list of errors.
func refuseRPC(status int, message string, details ...any) reply {
	return errorReply(apiError{Code: status, Message: message, Status: canonical(status), Details: details})
}
