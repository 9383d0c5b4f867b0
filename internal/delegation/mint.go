package delegation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	tokenURL  = "https://oauth2.googleapis.com/token"
	signURL   = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
	grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer" // RFC 7523, 2.1
)

// mint makes one token: claims → signature → exchange.
func (m *Minter) mint(ctx context.Context, k key) (Token, error) {
	assertion, err := m.sign(ctx, m.claims(k, time.Now()))
	if err != nil {
		return Token{}, err
	}
	token, err := m.exchange(ctx, assertion)
	if err != nil {
		return Token{}, err
	}
	token.key = k
	return token, nil
}

// claims are the JWT's claims for domain-wide delegation
// (https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests).
func (m *Minter) claims(k key, now time.Time) string {
	issued := now.Add(-clockSkew)
	claims, _ := json.Marshal(struct { // strings and integers: cannot fail
		Iss   string `json:"iss"`
		Sub   string `json:"sub,omitempty"`
		Scope string `json:"scope"`
		Aud   string `json:"aud"`
		Iat   int64  `json:"iat"`
		Exp   int64  `json:"exp"`
	}{m.cfg.ServiceAccount, k.user, k.scopes, tokenURL, issued.Unix(), issued.Add(tokenLifetime).Unix()})
	return string(claims)
}

// sign has the service account's Google-held key sign the claims.
func (m *Minter) sign(ctx context.Context, claims string) (assertion string, err error) {
	identity, err := m.cfg.Identity.Token(ctx)
	if err != nil {
		return "", identityError(ctx, err)
	}
	delegates := make([]string, 0, len(m.cfg.Delegates))
	for _, d := range m.cfg.Delegates {
		delegates = append(delegates, "projects/-/serviceAccounts/"+d)
	}
	body, _ := json.Marshal(struct {
		Payload   string   `json:"payload"`
		Delegates []string `json:"delegates,omitempty"`
	}{claims, delegates})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, signURL+url.PathEscape(m.cfg.ServiceAccount)+":signJwt", strings.NewReader(string(body)))
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", cmp.Or(identity.Type, "Bearer")+" "+identity.Value)
	req.Header.Set("Content-Type", "application/json")
	var answer struct {
		SignedJWT string `json:"signedJwt"`
	}
	if err := m.do(req, Sign, &answer); err != nil {
		return "", err
	}
	if answer.SignedJWT == "" {
		return "", &Error{Stage: Sign, Status: http.StatusOK, Code: NoSignature}
	}
	return answer.SignedJWT, nil
}

// exchange gives the assertion for a token. The request carries no credentials
// of ours: the assertion alone says who asks.
func (m *Minter) exchange(ctx context.Context, assertion string) (Token, error) {
	asked := time.Now()
	form := url.Values{"grant_type": {grantType}, "assertion": {assertion}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, tokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return Token{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		AccessToken string  `json:"access_token"`
		TokenType   string  `json:"token_type"`
		ExpiresIn   seconds `json:"expires_in"`
	}
	if err := m.do(req, Exchange, &answer); err != nil {
		return Token{}, err
	}
	// A scope that Google does not know is answered 200 with an ID token only.
	if answer.AccessToken == "" || !strings.EqualFold(cmp.Or(answer.TokenType, "bearer"), "bearer") {
		return Token{}, &Error{Stage: Exchange, Status: http.StatusOK, Code: NoAccessToken}
	}
	lifetime := min(time.Duration(cmp.Or(answer.ExpiresIn, unsaidLifetime)), tokenLifetime)
	return Token{secret: &answer.AccessToken, expires: asked.Add(lifetime)}, nil
}

// unsaidLifetime is how long a token is trusted to live where the answer does
// not say, as RFC 6749, 5.1, allows.
const unsaidLifetime = seconds(10 * time.Minute)

// seconds are a duration that JSON has in seconds, as a number or a string.
type seconds time.Duration

// UnmarshalJSON implements [json.Unmarshaler].
func (s *seconds) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil // as if it were not there
	}
	n, err := strconv.ParseFloat(strings.Trim(string(data), `"`), 64)
	if err != nil || !(n > 0) { // nor is NaN
		return errors.New("no number of seconds")
	}
	*s = seconds(min(n, tokenLifetime.Seconds()) * float64(time.Second))
	return nil
}
