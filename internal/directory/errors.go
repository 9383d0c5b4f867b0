package directory

import (
	"errors"
	"fmt"
	"net/http"

	"google.golang.org/api/googleapi"

	"github.com/onbehalf-dev/onbehalf/internal/apierror"
)

// NoAnswer is the reason where Google gave none: the connection failed, or the
// answer could not be read.
const NoAnswer = "noAnswer"

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
		e.Reason, e.text, e.err = apierror.Reason(answer), answer.Message, nil
	}
	return e
}
