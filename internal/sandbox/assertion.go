package sandbox

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Bounds on the times of an assertion, as others measured them at the real
// endpoint in 2026: exp − iat up to 65 minutes, iat from an hour ago to five
// minutes ahead.
const (
	assertionLife  = 3600 * time.Second
	assertionSkew  = 300 * time.Second
	assertionStale = 3600 * time.Second
)

// assertion is a signed JWT taken apart.
type assertion struct {
	kid       string
	alg       string
	signed    []byte
	signature []byte
	claims    claims
}

// claims keeps apart what is absent and what is empty.
type claims struct {
	Iss            string       `json:"iss"`
	Sub            *string      `json:"sub"`
	Prn            *string      `json:"prn"` // the old name of sub
	Scope          string       `json:"scope"`
	Aud            string       `json:"aud"`
	Iat            *json.Number `json:"iat"`
	Exp            *json.Number `json:"exp"`
	TargetAudience string       `json:"target_audience"`
}

func (c *claims) subject() *string {
	if c.Sub != nil {
		return c.Sub
	}
	return c.Prn
}

// parseAssertion is false for what is not three parts of which the first two
// are JSON objects.
func parseAssertion(s string) (*assertion, bool) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return nil, false
	}
	header, err := decodeBase64(parts[0])
	if err != nil || !isObject(header) {
		return nil, false
	}
	payload, err := decodeBase64(parts[1])
	if err != nil || !isObject(payload) {
		return nil, false
	}
	var h struct{ Alg, Kid string }
	a := &assertion{signed: []byte(parts[0] + "." + parts[1])}
	if json.Unmarshal(header, &h) != nil || json.Unmarshal(payload, &a.claims) != nil {
		return nil, false
	}
	a.alg, a.kid = h.Alg, h.Kid
	// A signature that is no base64 is a wrong one, not a wrong structure: assumed.
	a.signature, _ = decodeBase64(parts[2])
	return a, true
}

func isObject(b []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{"))
}

// refusal walks the checks in the order in which the token endpoint makes them
// (measured by others, September 2026): signature, iss, iat and exp present,
// time window, empty scope, aud. It returns the row, or "". An issuer that
// nobody knows comes first, since there is no key to check its signature with.
func (a *assertion) refusal(issuer *account, now time.Time) string {
	switch {
	case issuer == nil:
		return "T9"
	case a.alg != "RS256" || !issuer.keys.verify(a.kid, a.signed, a.signature):
		return "T12"
	case a.claims.Iat == nil:
		return "T11"
	case a.claims.Exp == nil:
		return "T11b"
	case !a.timely(now):
		return "T10"
	case a.claims.TargetAudience == "" && badScope(a.claims.Scope):
		return "T15"
	case !slices.Contains(tokenURLs(), a.claims.Aud):
		return "T13"
	}
	return ""
}

func (a *assertion) timely(now time.Time) bool {
	iat, err := a.claims.Iat.Float64()
	if err != nil {
		return false
	}
	exp, err := a.claims.Exp.Float64()
	if err != nil {
		return false
	}
	at := float64(now.Unix())
	return exp-iat <= (assertionLife+assertionSkew).Seconds() &&
		exp >= at &&
		iat <= at+assertionSkew.Seconds() &&
		iat >= at-assertionStale.Seconds()
}

func badScope(s string) bool {
	return strings.TrimSpace(s) == "" || strings.Contains(s, ",")
}

// tokenURLs are the audiences by which the endpoint knows itself.
func tokenURLs() []string {
	return []string{
		"https://oauth2.googleapis.com/token",
		"https://www.googleapis.com/oauth2/v4/token",
		"https://accounts.google.com/o/oauth2/token",
		"https://www.googleapis.com/oauth2/v3/token",
	}
}
