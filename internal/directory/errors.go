package directory

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/api/googleapi"

	"github.com/onbehalf-dev/onbehalf/internal/apierror"
)

// The reasons that are not Google's.
const (
	// NoAnswer is that where Google gave none: the connection failed, or the answer
	// could not be read.
	NoAnswer = "noAnswer"
	// TooLarge is that of an answer of more bytes than are read.
	TooLarge = "answerTooLarge"
)

// Error is why the Directory could not be read. Its text holds nothing that came
// from outside but Google's reason, and that only in the form of a word.
type Error struct {
	// Status is the HTTP status; 0 where no answer came.
	Status int
	// Reason is Google's word for it, such as "forbidden".
	Reason string
	// RetryAfter is how long Google asks to be left alone; 0 where it does not say.
	RetryAfter time.Duration

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

// TokenError is why there was no token for a scope.
type TokenError struct {
	Scope string
	err   error // of Authorize
}

func (e *TokenError) Error() string { return e.err.Error() }

// Unwrap gives the error of Authorize.
func (e *TokenError) Unwrap() error { return e.err }

// Untrusted is Google's message as it came. It may say anything, a token
// included: it is for recognising the error by, and never to be logged,
// published or shown.
func (e *Error) Untrusted() string { return e.text }

// NotFound tells whether err is the Directory's word that there is no such user, or
// group. Another 404, of a proxy's, says nothing of users.
func NotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusNotFound && (e.Reason == "notFound" || e.Reason == "NOT_FOUND")
}

// Misasked tells whether it is the question that must change: it was not understood, as
// a query may be, or asks for a group or an organisational unit that is not there.
func (e *Error) Misasked() bool { return e.Status == http.StatusBadRequest || NotFound(e) }

func unauthorized(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusUnauthorized
}

func newError(status int, wait time.Duration, err error) *Error {
	e := &Error{Status: status, Reason: NoAnswer, RetryAfter: wait, err: err}
	var answer *googleapi.Error
	if errors.As(err, &answer) {
		// The library's error prints the whole answer, so it is not kept.
		e.Reason, e.text, e.err = apierror.Reason(answer), answer.Message, nil
	}
	return e
}
