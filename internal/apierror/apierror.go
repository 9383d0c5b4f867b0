// Package apierror reads what an API of Google's says of why it did not do what
// it was asked.
package apierror

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/api/googleapi"
)

// Unreadable stands for a reason that does not have the form of one.
const Unreadable = "unreadable"

// Reason is Google's word for an error: the first that the older form of its
// errors lists, or that of the newer form's details, or its status.
func Reason(answer *googleapi.Error) string {
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

// maxRetryAfter bounds what a header asks for: Google's ask for seconds, and what it
// limits for longer stands in its message. Whoever comes back too early is told so again.
const maxRetryAfter = time.Hour

// RetryAfter is how long Google asks to be left alone, by the header of that name:
// seconds, or a time (RFC 9110, 10.2.3). It is 0 where that is not said, or not by an
// answer that may pass: a limit, for which Google has 403 as well as 429, or 503.
func RetryAfter(status int, header http.Header) time.Duration {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusForbidden:
	default:
		return 0
	}
	value := header.Get("Retry-After")
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(0, time.Until(at)), maxRetryAfter)
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
