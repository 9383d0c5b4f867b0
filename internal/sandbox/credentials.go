package sandbox

import (
	"context"
	"fmt"
	"time"

	"cloud.google.com/go/auth"
)

// Credentials are those of a service account's own identity, for clients that
// cannot be pointed to a metadata server. Their tokens have the scope
// cloud-platform. For an account that is not in the world they fail.
func (s *Server) Credentials(email string) *auth.Credentials {
	fixed := func(v string) auth.CredentialsPropertyFunc {
		return func(context.Context) (string, error) { return v, nil }
	}
	return auth.NewCredentials(&auth.CredentialsOptions{
		TokenProvider: auth.NewCachedTokenProvider(ownTokens{s, email}, &auth.CachedTokenProviderOptions{
			DisableAsyncRefresh: true, // no goroutine that outlives a test
		}),
		ProjectIDProvider:      fixed(s.project),
		UniverseDomainProvider: fixed("googleapis.com"),
	})
}

type ownTokens struct {
	s     *Server
	email string
}

var _ auth.TokenProvider = ownTokens{}

func (o ownTokens) Token(context.Context) (*auth.Token, error) {
	a := o.s.accounts.find(o.email)
	if a == nil {
		return nil, fmt.Errorf("sandbox: no service account %q", o.email)
	}
	t := o.s.issue(a.email, nil, []string{scopeCloudPlatform}, tokenLife)
	// By the client's clock, which may not be the server's: a real client learns
	// no more than how long the token lasts.
	return &auth.Token{Value: t.value, Type: "Bearer", Expiry: time.Now().Add(tokenLife)}, nil
}
