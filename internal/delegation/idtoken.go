package delegation

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"
)

// NoIDToken is the code where the token endpoint gave no ID token, or one that
// does not say whose it is.
const NoIDToken = "noIdToken"

// IDToken gives an OpenID Connect token of the service account itself for an
// audience, such as the URL of a Cloud Run service. It is made in the way of
// users' tokens, so that the right to sign is all that it takes.
func (m *Minter) IDToken(ctx context.Context, audience string) (Token, error) {
	if audience == "" {
		return Token{}, errors.New("delegation: an audience is needed")
	}
	return m.obtain(ctx, subject{audience: audience})
}

// ClientID is the service account's numeric client id, by which the Admin
// console knows it. An ID token of Google's says it, so no further right is needed.
func (m *Minter) ClientID(ctx context.Context) (string, error) {
	token, err := m.IDToken(ctx, tokenURL) // an audience that would not trust it
	if err != nil {
		return "", err
	}
	id, _, ok := read(*token.secret)
	if !ok {
		return "", &Error{Stage: Exchange, Status: http.StatusOK, Code: NoIDToken}
	}
	return id, nil
}

// idToken is the token that the endpoint gave.
func idToken(secret string) (Token, error) {
	_, expires, ok := read(secret)
	if !ok {
		return Token{}, &Error{Stage: Exchange, Status: http.StatusOK, Code: NoIDToken}
	}
	return Token{secret: &secret, expires: expires}, nil
}

// read gives what an ID token says of whose it is, by the numeric id, and of how
// long it lives. Its signature is not verified: it came from Google itself.
func read(secret string) (id string, expires time.Time, ok bool) {
	parts := strings.Split(secret, ".")
	if len(parts) != 3 {
		return "", time.Time{}, false
	}
	var body struct {
		Subject string `json:"sub"`
		Expires int64  `json:"exp"`
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &body) != nil {
		return "", time.Time{}, false
	}
	numeric := body.Subject != "" && strings.Trim(body.Subject, "0123456789") == ""
	return body.Subject, time.Unix(body.Expires, 0), numeric && body.Expires > 0
}
