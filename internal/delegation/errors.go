package delegation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/compute/metadata"
)

// Stage is the step of minting at which an [Error] arose.
type Stage string

// The steps of minting.
const (
	Sign     Stage = "sign"     // the IAM Credentials API's signJwt
	Exchange Stage = "exchange" // the token endpoint
)

// Codes of ours, where Google gave none.
const (
	NoIdentity        = "noIdentity"        // no credentials of the caller's own could be had
	NoCredentialFile  = "noCredentialFile"  // for want of a file that they name
	SignInEnded       = "signInEnded"       // for a sign-in has ended
	MayNotImpersonate = "mayNotImpersonate" // for they may not stand for the account that they name
	NoAnswer          = "noAnswer"          // the connection failed, or the answer could not be read
	NoSignature       = "noSignature"       // 200 without a signed JWT
	NoAccessToken     = "noAccessToken"     // 200 without an access token
	Unreadable        = "unreadable"        // a code that does not have the form of one
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// Error is why there is no token. Its text holds nothing that came from
// outside but Google's code for it, and that only in the form of a word.
type Error struct {
	Stage Stage
	// Status is the HTTP status; 0 where no answer came.
	Status int
	// Code is Google's word for it: "error" of the token endpoint
	// ("invalid_grant"), ErrorInfo.reason or status of IAM
	// ("IAM_PERMISSION_DENIED"); or one of ours.
	Code string
	// RetryAfter is how long Google asks to be left alone; 0 where it does not say.
	RetryAfter time.Duration
	// Unfinished says that the caller gave up while it was still worth asking again.
	Unfinished bool
	// Shared says that nobody was asked, for others of the domain were answered so:
	// EveryUser is a fault that all have; Perhaps is a guess, and says nothing certain of
	// this user. OneUser is an answer of the user's own.
	Shared Breadth
	// Until is, where it is shared, when somebody is asked again; Repeated says
	// that a guess was made before, and nobody has got a token since.
	Until    time.Time
	Repeated bool
	// Since is when it was begun to ask: what is repeated from memory may be mended since.
	Since time.Time

	text string // Google's message: to recognise it by, never to be shown
	err  error
}

func (e *Error) Error() string {
	if e.Status == 0 {
		return fmt.Sprintf("delegation: %s: %s", e.Stage, e.Code)
	}
	return fmt.Sprintf("delegation: %s: HTTP %d %s", e.Stage, e.Status, e.Code)
}

// Unwrap gives the connection's error, where there was one.
func (e *Error) Unwrap() error { return e.err }

// Untrusted is Google's message as it came. It may say anything, a token
// included: it is for recognising the error by, and never to be logged,
// published or shown.
func (e *Error) Untrusted() string { return e.text }

// unfinished is the error of one who gave up asking.
func (e *Error) unfinished() error {
	given := *e
	given.Unfinished = true
	return &given
}

// GoString keeps the message out of %#v, too.
func (e *Error) GoString() string { return e.Error() }

// do sends req and decodes a 200's body into answer.
func do(client *http.Client, req *http.Request, stage Stage, answer any) error {
	res, err := client.Do(req)
	if err != nil {
		return &Error{Stage: stage, Code: NoAnswer, err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return &Error{Stage: stage, Status: res.StatusCode, Code: NoAnswer, err: err}
	}
	if res.StatusCode != http.StatusOK {
		return refusal(stage, res, body)
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return &Error{Stage: stage, Status: http.StatusOK, Code: NoAnswer}
	}
	return nil
}

// IdentityError tells why the caller's own credentials could not be had, from
// what Google's library says. That may quote an answer's body: it is read as one,
// and not kept.
func IdentityError(err error) *Error {
	var file *fs.PathError
	var connection *url.Error
	var answered interface{ Temporary() bool }
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &connection), errors.As(err, &answered) && answered.Temporary():
		return &Error{Stage: Sign, Code: NoAnswer}
	case errors.As(err, &file):
		return &Error{Stage: Sign, Code: NoCredentialFile}
	}
	e := answerWithin(err)
	switch {
	case e.Status == http.StatusTooManyRequests || e.Status >= http.StatusInternalServerError:
		e.Code = NoAnswer
	case strings.Contains(e.text, "reauth related error"), strings.Contains(e.text, "expired or revoked"):
		e.Code = SignInEnded
	case strings.Contains(e.text, "iam.serviceAccounts.getAccessToken"):
		e.Code = MayNotImpersonate
	default:
		e.Code = NoIdentity
	}
	return e
}

// libraryAnswer is how the library puts an answer into an error.
var libraryAnswer = regexp.MustCompile(`(?s)status code (\d{3}): (.*)`)

// answerWithin is the answer that an error of the library holds.
func answerWithin(err error) *Error {
	res, body := &http.Response{}, []byte(nil)
	var typed *auth.Error
	var server *metadata.Error
	if errors.As(err, &typed) && typed.Response != nil {
		res, body = typed.Response, typed.Body
	} else if errors.As(err, &server) {
		res.StatusCode = server.Code
	} else if found := libraryAnswer.FindStringSubmatch(err.Error()); found != nil {
		res.StatusCode, _ = strconv.Atoi(found[1])
		body = []byte(found[2])
	}
	return refusal(Sign, res, body)
}

// retryAfter reads the header of that name: seconds, or a time (RFC 9110, 10.2.3).
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, time.Until(at))
}

// refusal reads Google's error: the token endpoint's {"error",
// "error_description"} (RFC 6749, 5.2) or the APIs' {"error": {…}}.
func refusal(stage Stage, res *http.Response, body []byte) *Error {
	e := &Error{Stage: stage, Status: res.StatusCode, RetryAfter: retryAfter(res.Header), Code: word(strings.ReplaceAll(http.StatusText(res.StatusCode), " ", ""))}
	var oauth struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &oauth) == nil && oauth.Error != "" {
		e.Code, e.text = word(oauth.Error), oauth.Description
		return e
	}
	var api struct {
		Error struct {
			Message string `json:"message"`
			Status  string `json:"status"`
			Details []struct {
				Reason string `json:"reason"`
			} `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &api) == nil && api.Error.Status != "" {
		e.Code, e.text = word(api.Error.Status), api.Error.Message
		for _, detail := range api.Error.Details {
			if detail.Reason != "" {
				e.Code = word(detail.Reason)
			}
		}
	}
	return e
}

// word lets a code pass if it has the form of one: what comes from outside may
// say anything, and an error's text goes into logs and results.
func word(s string) string {
	notInWord := func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }
	if s == "" || len(s) > 48 || strings.ContainsFunc(s, notInWord) {
		return Unreadable
	}
	return s
}
