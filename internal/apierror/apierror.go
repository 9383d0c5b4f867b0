// Package apierror reads what an API of Google's says of why it did not do what
// it was asked.
package apierror

import (
	"encoding/json"
	"net/http"
	"strings"

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

// word lets a reason pass if it has the form of one: what comes from outside
// may say anything, and an error's text goes into logs and results.
func word(s string) string {
	notInWord := func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }
	if s == "" || len(s) > 48 || strings.ContainsFunc(s, notInWord) {
		return Unreadable
	}
	return s
}
