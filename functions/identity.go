package functions

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/oauth2adapt"
	"golang.org/x/oauth2/google"
)

// cloudPlatform is the scope that the runtime's own token needs to sign, to
// publish, and to read the policy and letters.
const cloudPlatform = "https://www.googleapis.com/auth/cloud-platform"

// renewPause is how long a new identity is given a chance before the next.
const renewPause = 10 * time.Second

// identity is the runtime's own: credentials that can be thrown away when
// Google does not accept their token any more, which the library would go on
// handing out until its time is up.
type identity struct {
	find func() (*auth.Credentials, error)

	mu      sync.Mutex
	creds   *auth.Credentials
	renewed time.Time
}

func newIdentity(find func() (*auth.Credentials, error)) (*identity, error) {
	creds, err := find()
	return &identity{find: find, creds: creds}, err
}

// Token implements [auth.TokenProvider].
func (i *identity) Token(ctx context.Context) (*auth.Token, error) {
	i.mu.Lock()
	creds := i.creds
	i.mu.Unlock()
	return creds.Token(ctx)
}

// renew has the next token be asked for anew. A metadata server may give the
// same one again until that is about to end; then the job comes again, too.
func (i *identity) renew() {
	i.mu.Lock()
	if time.Since(i.renewed) < renewPause {
		i.mu.Unlock()
		return
	}
	i.renewed = time.Now()
	i.mu.Unlock()
	creds, err := i.find() // reads files, and may ask the network
	if err != nil {
		return
	}
	i.mu.Lock()
	i.creds = creds
	i.mu.Unlock()
}

// credentials are for clients that take no mere token.
func (i *identity) credentials() *auth.Credentials {
	found := i.creds
	return auth.NewCredentials(&auth.CredentialsOptions{
		TokenProvider:          i,
		JSON:                   found.JSON(),
		ProjectIDProvider:      auth.CredentialsPropertyFunc(found.ProjectID),
		QuotaProjectIDProvider: auth.CredentialsPropertyFunc(found.QuotaProjectID),
		UniverseDomainProvider: auth.CredentialsPropertyFunc(found.UniverseDomain),
	})
}

// findDefault finds the application default credentials.
func findDefault(client *http.Client) func() (*auth.Credentials, error) {
	return func() (*auth.Credentials, error) {
		creds, err := credentials.DetectDefault(&credentials.DetectOptions{
			Scopes: []string{cloudPlatform},
			Client: client,
			// CPU may stop when an event is answered: nothing runs in between.
			DisableAsyncRefresh: true,
			// The library logs tokens where an environment variable asks for it.
			Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			return nil, fmt.Errorf("no application default credentials: run on Google Cloud with a service account, or sign in with: gcloud auth application-default login: %w", err)
		}
		return creds, nil
	}
}

// fromMetadata finds the identity that a metadata server gives, and no other.
func fromMetadata() (*auth.Credentials, error) {
	tokens := oauth2adapt.TokenProviderFromTokenSource(google.ComputeTokenSource("", cloudPlatform))
	return auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: tokens}), nil
}
