package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/api/googleapi"
)

// Reasons of ours, where Google gave none.
const (
	NoAnswer   = "noAnswer"   // the connection failed, or the answer could not be read
	Unreadable = "unreadable" // a reason that does not have the form of one
)

// Error is why the Directory could not be read. Its text holds nothing that came
// from outside but Google's reason, and that only in the form of a word.
type Error struct {
	// Status is the HTTP status; 0 where no answer came.
	Status int
	// Reason is Google's word for it, such as "forbidden".
	Reason string

	text string // Google's message: see Untrusted
	err  error
}

func (e *Error) Error() string {
	if e.Status == 0 {
		return "directory: " + e.Reason
	}
	return fmt.Sprintf("directory: HTTP %d %s", e.Status, e.Reason)
}

// GoString keeps the message out of %#v, too.
func (e *Error) GoString() string { return e.Error() }

// Unwrap gives the connection's error, where there was one.
func (e *Error) Unwrap() error { return e.err }

// Untrusted is Google's message as it came. It may say anything, a token
// included: it is for recognising the error by, and never to be logged,
// published or shown.
func (e *Error) Untrusted() string { return e.text }

// NotFound tells whether err is the Directory's word that there is no such user.
// Another 404, of a proxy's, says nothing of users.
func NotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound && (e.Reason == "notFound" || e.Reason == "NOT_FOUND")
}

func unauthorized(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusUnauthorized
}

func newError(status int, err error) *Error {
	e := &Error{Status: status, Reason: NoAnswer, err: err}
	var answer *googleapi.Error
	if errors.As(err, &answer) {
		// The library's error prints the whole answer, so it is not kept.
		e.Reason, e.text, e.err = reason(answer), answer.Message, nil
	}
	return e
}

// reason is Google's word for an error: the first that the older form of its
// errors lists, or that of the newer form's details, or its status.
func reason(answer *googleapi.Error) string {
	for _, item := range answer.Errors {
		if item.Reason != "" {
			return word(item.Reason)
		}
	}
	var newer struct {
		Error struct {
			Status  string
			Details []struct{ Reason string }
		}
	}
	if json.Unmarshal([]byte(answer.Body), &newer) == nil {
		for _, detail := range newer.Error.Details {
			if detail.Reason != "" {
				return word(detail.Reason)
			}
		}
		if newer.Error.Status != "" {
			return word(newer.Error.Status)
		}
	}
	return word(strings.ReplaceAll(http.StatusText(answer.Code), " ", ""))
}

// word lets a reason pass if it has the form of one: what comes from outside
// may say anything, and an error's text goes into logs and results.
func word(s string) string {
	notInWord := func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }
	if s == "" || len(s) > 48 || strings.ContainsFunc(s, notInWord) {
		return Unreadable
	}
	return s
}
