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
// users' tokens, so that the right to sign is all that it takes, and is not kept.
func (m *Minter) IDToken(ctx context.Context, audience string) (Token, error) {
	if audience == "" {
		return Token{}, errors.New("delegation: an audience is needed")
	}
	token, _, err := m.identify(ctx, audience)
	return token, err
}

// ClientID is the service account's numeric client id, by which the Admin
// console knows it. Google's own token says it: no further right is needed.
func (m *Minter) ClientID(ctx context.Context) (string, error) {
	if id := m.clientID.Load(); id != nil {
		return *id, nil
	}
	_, id, err := m.identify(ctx, tokenURL) // an audience that nobody would trust it for
	if err != nil {
		return "", err
	}
	m.clientID.Store(&id)
	return id, nil
}

// identify makes an ID token, and reads the account's numeric id from it.
func (m *Minter) identify(ctx context.Context, audience string) (Token, string, error) {
	got, err := m.grant(ctx, claims{Audience: audience})
	if err != nil {
		return Token{}, "", err
	}
	var body struct {
		Subject string `json:"sub"`
		Expires int64  `json:"exp"`
	}
	parts := strings.Split(got.idToken, ".")
	if len(parts) == 3 { // Google has signed it, and gave it to us itself
		text, _ := base64.RawURLEncoding.DecodeString(parts[1])
		_ = json.Unmarshal(text, &body)
	}
	if body.Subject == "" || strings.Trim(body.Subject, "0123456789") != "" {
		return Token{}, "", &Error{Stage: Exchange, Status: http.StatusOK, Code: NoIDToken}
	}
	return Token{secret: &got.idToken, expires: time.Unix(body.Expires, 0)}, body.Subject, nil
}
