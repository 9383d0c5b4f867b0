package actions

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/api/googleapi"

	"github.com/onbehalf-dev/onbehalf/internal/apierror"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Reasons of ours, where Google gave none.
const (
	NoAnswer   = "noAnswer"   // the connection failed, or the answer could not be read
	NoIdentity = "noIdentity" // there are no credentials of the runtime's own
	TimedOut   = "timedOut"   // no answer came in time
)

// Error is why a call did not succeed. Its text holds nothing that came from
// outside but Google's reason, and that only in the form of a word.
type Error struct {
	// Status is the HTTP status; 0 where no answer came.
	Status int
	// Reason is Google's word for it, such as "failedPrecondition".
	Reason string
	// Doubtful says that the call may have taken effect all the same.
	Doubtful bool
	// RetryAfter is how long Google asks to be left alone, an hour at most; 0 where it
	// does not say.
	RetryAfter time.Duration
	// Object is the field of the job that names an object in Cloud Storage, where
	// that could not be read or written; empty where the call itself failed.
	Object string

	text string // Google's message: to recognise it by; shown as Words has it
	err  error
}

func (e *Error) Error() string {
	if e.Status == 0 {
		return "actions: " + e.Reason
	}
	return fmt.Sprintf("actions: HTTP %d %s", e.Status, e.Reason)
}

// GoString keeps the message out of %#v, too.
func (e *Error) GoString() string { return e.Error() }

// Unwrap gives the connection's error, where there was one.
func (e *Error) Unwrap() error { return e.err }

// Untrusted is Google's message as it came. It may say anything, a token
// included: it is for recognising the error by, and never to be logged,
// published or shown.
func (e *Error) Untrusted() string { return e.text }

// objectError is why an object in Cloud Storage could not be read or written.
type objectError struct {
	field string
	err   error
}

func (e *objectError) Error() string { return e.field + ": " + e.err.Error() }
func (e *objectError) Unwrap() error { return e.err }

// loadError reads why what the call needs could not be had.
func loadError(err error) error {
	var field *jobs.FieldError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &field):
		return field
	}
	return newError(err)
}

// sendError reads what a call came to.
func sendError(err error, s *sending) error {
	var field *jobs.FieldError
	if errors.As(err, &field) {
		return field
	}
	e := newError(err)
	if e.Object != "" {
		return e // what has not left whole cannot have been carried out
	}
	if !errors.Is(err, errSession) { // then its status is no answer to the call
		e.Status, e.RetryAfter = s.status, s.retryAfter
	}
	begun := s.connected.Load() && s.whole.Load()
	// Here, too, an answer of 200 that cannot be read leaves all open.
	e.Doubtful = s.Class != Read && begun && (s.doubt || unclear(e.Status))
	return e
}

func newError(err error) *Error {
	e := &Error{Reason: NoAnswer}
	var answer *googleapi.Error
	var nobody interface{ NoIdentity() }
	switch {
	case errors.As(err, &answer):
		e.Status, e.text, e.Reason = answer.Code, answer.Message, apierror.Reason(answer)
	case errors.As(err, &nobody):
		e.Reason, e.err = NoIdentity, err
	case errors.Is(err, context.DeadlineExceeded):
		e.Reason, e.err = TimedOut, err
	default:
		e.err = err
	}
	var object *objectError
	if errors.As(err, &object) {
		e.Object = object.field
	}
	return e
}

// unclear tells whether a status leaves it open whether the call was carried
// out. A front end says 5xx, 408 or 499 also of what its back end has done, but
// not 501; and a redirect is an answer that no API of Google's gives.
func unclear(status int) bool {
	const clientClosedRequest = 499 // google.rpc.Code CANCELLED
	return status >= 500 && status != http.StatusNotImplemented || status < 400 || status == http.StatusRequestTimeout || status == clientClosedRequest
}

// maxWords is how much of Google's words is shown, in bytes: mostly all, for what is
// wrong often stands at the end.
const maxWords = 300

// Words are Google's own, fit to be shown to the job's author: cut, in quotes,
// and without anything that looks like a token.
func (e *Error) Words() string {
	if e.text == "" {
		return ""
	}
	words := secretLike.ReplaceAllString(e.text, "…")
	if len(words) > maxWords {
		words = strings.ToValidUTF8(words[:maxWords], "") + "…"
	}
	return strconv.QuoteToASCII(words)
}

// secretLike is what no message of Google's has to say: a token, an assertion,
// or any long run of the characters that they are made of.
var secretLike = regexp.MustCompile(`ya29\.\S*|eyJ\S*|[A-Za-z0-9_+/=.-]{40,}`)
