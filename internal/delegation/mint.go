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
	grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer" // RFC 7523, 2.1
)

// mint makes one token: claims → signature → exchange, or by asking for it.
func (m *Minter) mint(ctx context.Context, k subject) (Token, error) {
	token, err := m.make(ctx, k)
	token.subject = k
	return token, err
}

func (m *Minter) make(ctx context.Context, k subject) (Token, error) {
	if from, ok := m.cfg.Signer.(issuer); ok && k.user == "" && k.audience == "" {
		return patiently(ctx, m.cfg.Judge, func(ctx context.Context) (Token, error) {
			return from.accessToken(ctx, strings.Fields(k.scopes), k.lifetime)
		})
	}
	got, err := m.grant(ctx, claims{Sub: k.user, Scope: k.scopes, Audience: k.audience})
	switch {
	case err != nil:
		return Token{}, err
	case k.audience != "":
		return idToken(got.idToken)
	case got.token.secret == nil:
		// A scope that Google does not know is answered 200 with an ID token only.
		return Token{}, &Error{Stage: Exchange, Status: http.StatusOK, Code: NoAccessToken}
	}
	return got.token, nil
}

// claims are what is signed
// (https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests).
type claims struct {
	Iss      string `json:"iss"`
	Sub      string `json:"sub,omitempty"`
	Scope    string `json:"scope,omitempty"`
	Audience string `json:"target_audience,omitempty"` // for an ID token in place of a scope
	Aud      string `json:"aud"`
	Iat      int64  `json:"iat"`
	Exp      int64  `json:"exp"`
}

// granted is what the token endpoint gave.
type granted struct {
	token   Token
	idToken string
}

// grant has the claims signed, and exchanges them. Each try has the times of
// its own: an assertion that waited may be too old.
func (m *Minter) grant(ctx context.Context, c claims) (granted, error) {
	assertion, err := patiently(ctx, m.cfg.Judge, func(ctx context.Context) (string, error) {
		issued := time.Now().Add(-clockSkew)
		c.Iss, c.Aud, c.Iat, c.Exp = m.ServiceAccount(), tokenURL, issued.Unix(), issued.Add(tokenLifetime).Unix()
		text, err := json.Marshal(c)
		if err != nil {
			return "", err
		}
		return m.cfg.Signer.SignJWT(ctx, string(text))
	})
	if err != nil {
		return granted{}, err
	}
	return patiently(ctx, m.cfg.Judge, func(ctx context.Context) (granted, error) { return m.exchange(ctx, assertion) })
}

// exchange gives the assertion for a token. The request carries no credentials
// of ours: the assertion alone says who asks.
func (m *Minter) exchange(ctx context.Context, assertion string) (granted, error) {
	asked := time.Now()
	form := url.Values{"grant_type": {grantType}, "assertion": {assertion}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, tokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return granted{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var answer struct {
		AccessToken string  `json:"access_token"`
		IDToken     string  `json:"id_token"`
		TokenType   string  `json:"token_type"`
		ExpiresIn   seconds `json:"expires_in"`
	}
	if err := do(m.cfg.HTTP, req, Exchange, &answer); err != nil {
		return granted{}, err
	}
	got := granted{idToken: answer.IDToken}
	if answer.AccessToken != "" && strings.EqualFold(cmp.Or(answer.TokenType, "bearer"), "bearer") {
		lifetime := min(time.Duration(cmp.Or(answer.ExpiresIn, unsaidLifetime)), tokenLifetime)
		got.token = Token{secret: &answer.AccessToken, expires: asked.Add(lifetime)}
	}
	return got, nil
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
