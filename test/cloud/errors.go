package cloud

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// apiError is an error as Google's APIs answer it.
type apiError struct {
	code    int
	status  string
	message string
	details []any
}

// Error implements error.
func (e *apiError) Error() string { return fmt.Sprintf("%d %s: %s", e.code, e.status, e.message) }

// rawError is an error in words of the caller's.
type rawError struct {
	status int
	body   string
}

// Error implements error.
func (e rawError) Error() string { return e.body }

// statuses are the names of google.rpc.Code for the codes of HTTP.
var statuses = map[int]string{
	http.StatusBadRequest:          "INVALID_ARGUMENT",
	http.StatusUnauthorized:        "UNAUTHENTICATED",
	http.StatusForbidden:           "PERMISSION_DENIED",
	http.StatusNotFound:            "NOT_FOUND",
	http.StatusConflict:            "ALREADY_EXISTS",
	http.StatusTooManyRequests:     "RESOURCE_EXHAUSTED",
	http.StatusInternalServerError: "INTERNAL",
	http.StatusServiceUnavailable:  "UNAVAILABLE",
}

// rpcCodes are the numbers of google.rpc.Code, which stand in operations.
var rpcCodes = map[string]int{
	"INVALID_ARGUMENT": 3, "NOT_FOUND": 5, "ALREADY_EXISTS": 6, "PERMISSION_DENIED": 7, "RESOURCE_EXHAUSTED": 8,
	"FAILED_PRECONDITION": 9, "ABORTED": 10, "UNIMPLEMENTED": 12, "INTERNAL": 13, "UNAVAILABLE": 14, "UNAUTHENTICATED": 16,
}

// refuse is an error with the name that the code has in most cases.
func refuse(code int, format string, args ...any) *apiError {
	return &apiError{code: code, status: statuses[code], message: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) *apiError {
	return refuse(http.StatusBadRequest, format, args...)
}

func precondition(format string, args ...any) *apiError {
	return &apiError{code: http.StatusBadRequest, status: "FAILED_PRECONDITION", message: fmt.Sprintf(format, args...)}
}

func aborted(format string, args ...any) *apiError {
	return &apiError{code: http.StatusConflict, status: "ABORTED", message: fmt.Sprintf(format, args...)}
}

// detail adds an ErrorInfo.
func (e *apiError) detail(reason string, metadata object) *apiError {
	e.details = append(e.details, object{
		"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": metadata,
	})
	return e
}

// reasons are the words of the older form of errors, which BigQuery and Cloud Storage
// still have.
var reasons = map[string]string{
	"INVALID_ARGUMENT": "invalid", "NOT_FOUND": "notFound", "ALREADY_EXISTS": "duplicate", "PERMISSION_DENIED": "accessDenied",
	"UNAVAILABLE": "backendError", "INTERNAL": "internalError",
}

// body is the error as it is sent by an API.
func (e *apiError) body(host string) []byte {
	inner := object{"code": e.code, "message": e.message, "status": e.status}
	if len(e.details) > 0 {
		inner["details"] = e.details
	}
	if reason := reasons[e.status]; reason != "" && (host == "bigquery.googleapis.com" || host == "storage.googleapis.com") {
		inner["errors"] = []any{object{"message": e.message, "domain": "global", "reason": reason}}
	}
	text, err := json.MarshalIndent(object{"error": inner}, "", "  ")
	if err != nil {
		panic(err) // of strings and numbers: cannot be
	}
	return text
}

// disabled is the answer of an API that is not enabled in the project.
func (s *Server) disabled(service string) *apiError {
	title := service
	for _, api := range apis() {
		if api.host == service {
			title = api.title
		}
	}
	at := fmt.Sprintf("https://console.developers.google.com/apis/api/%s/overview?project=%s", service, s.config.Number)
	e := refuse(http.StatusForbidden, "%s has not been used in project %s before or it is disabled. Enable it by visiting %s then retry. If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry.", title, s.config.Number, at)
	e.details = []any{object{
		"@type": "type.googleapis.com/google.rpc.Help",
		"links": []any{object{"description": "Google developers console API activation", "url": at}},
	}}
	return e.detail("SERVICE_DISABLED", object{"service": service, "consumer": "projects/" + s.config.Number, "serviceTitle": title, "activationUrl": at, "containerInfo": s.config.Number})
}

// foreign is the answer for a project that is not the caller's, there or not.
func foreign(service, project string) *apiError {
	return refuse(http.StatusForbidden, "Permission denied on resource project %s.", project).
		detail("CONSUMER_INVALID", object{"service": service, "consumer": "projects/" + project})
}
