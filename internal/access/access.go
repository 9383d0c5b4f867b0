// Package access is the way to Google: whose identity this is, the transport
// that all calls share, the settings that lie in Secret Manager, the signer, and
// the minter that all of these make up. What it opens is the same for a function
// and for the command line.
package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"cloud.google.com/go/auth"
	"google.golang.org/api/option"

	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/delegation"
)

// Access is the way to Google for one process.
type Access struct {
	// Project is the id of the Google Cloud project; empty where a key signs and
	// nobody says which it is.
	Project string
	// Own is the runtime's own identity.
	Own *Identity
	// HTTP adds no credentials; OwnHTTP adds the runtime's own.
	HTTP, OwnHTTP *http.Client
	Minter        *delegation.Minter

	tripped func(context.Context, delegation.Trip)
}

// Options are what is given beside the settings. The zero value is what a
// deployed function has.
type Options struct {
	// Credentials finds the runtime's own; nil finds the application default ones.
	Credentials func() (*auth.Credentials, error)
	// Caller is the e-mail address of whom Credentials are. It is not looked at
	// without them.
	Caller string
	// Tripped is [delegation.Config]'s.
	Tripped func(context.Context, delegation.Trip)
}

// Open finds the identity, the project and the delegated service account, where
// the settings do not say, and reads the key, where there is one. An error names
// the variable that mends it.
func Open(ctx context.Context, cfg config.Config, o Options) (*Access, error) {
	a, err := Connect(ctx, cfg, o)
	if err != nil {
		return nil, err
	}
	if a.Project, err = a.FindProject(ctx, cfg); err != nil && !signsWithKey(cfg) {
		return nil, err
	}
	signer, err := a.NewSigner(ctx, cfg)
	if err != nil {
		return nil, err
	}
	a.Minter, err = a.NewMinter(signer)
	return a, err
}

func signsWithKey(cfg config.Config) bool {
	_, isKey := cfg.Key()
	return isKey
}

// Connect finds the identity, and no more: the first step of [Open]. Where a key
// signs, there may be none: then whatever takes one fails, in the same words.
func Connect(ctx context.Context, cfg config.Config, o Options) (*Access, error) {
	client := &http.Client{Transport: newTransport(cfg.Sandbox), CheckRedirect: noRedirect}
	a := &Access{HTTP: client, tripped: o.Tripped}
	if o.Credentials == nil {
		o.Caller = ""
		switch {
		case cfg.Sandbox == "":
			o.Credentials = findDefault(client)
		case os.Getenv(credentialsFile) == "":
			o.Credentials = fromMetadata // a developer's own sign-in has no business there
		default:
			o.Credentials = confined(findDefault(client))
		}
	}
	own := newIdentity(o.Credentials, o.Caller, client)
	if err := own.Missing(); err != nil && !signsWithKey(cfg) {
		return nil, err
	}
	if err := own.checkUniverse(ctx); err != nil {
		return nil, err
	}
	a.Own, a.OwnHTTP = own, &http.Client{Transport: ownTransport{own, client.Transport}, CheckRedirect: noRedirect}
	return a, nil
}

// FindProject gives the project's id: the settings', or the identity's own.
func (a *Access) FindProject(ctx context.Context, cfg config.Config) (string, error) {
	if cfg.Project != "" {
		return cfg.Project, nil
	}
	project, err := a.Own.project(ctx)
	if err != nil || project == "" {
		return "", errors.Join(errors.New("GOOGLE_CLOUD_PROJECT: is not set, and the credentials do not say; set it to the id of the project"), err)
	}
	return project, nil
}

// ClientOptions are how a client of Google's that is no HTTP is made: with the
// runtime's own identity, unless the variable emulator, which the client finds by
// itself, is set to one. An error says what of which API it is for.
func (a *Access) ClientOptions(cfg config.Config, emulator, api, what string) ([]option.ClientOption, error) {
	switch {
	case os.Getenv(emulator) != "":
		return nil, nil
	case cfg.Sandbox != "":
		return nil, fmt.Errorf("%s: is not set, but ONBEHALF_SANDBOX is; %s of a sandbox must not go to the real %s: set it to HOST:PORT of a %s emulator", emulator, what, api, api)
	}
	if err := a.Own.Missing(); err != nil {
		return nil, fmt.Errorf("%s in %s takes an identity of the runtime's own, though a key signs (unless %s names an emulator): %w", what, api, emulator, err)
	}
	return []option.ClientOption{option.WithAuthCredentials(a.Own.Credentials())}, nil
}

// NewSigner makes the signer that ONBEHALF_SIGNER names. A key of any account
// but the delegated one is refused.
func (a *Access) NewSigner(ctx context.Context, cfg config.Config) (delegation.Signer, error) {
	from, isKey := cfg.Key()
	if !isKey {
		account, err := a.findServiceAccount(ctx, cfg)
		if err != nil {
			return nil, err
		}
		return delegation.NewIAM(delegation.IAMConfig{ServiceAccount: account, Delegates: cfg.Delegates, Identity: a.Own, HTTP: a.HTTP})
	}
	data, err := a.ReadSetting(ctx, from)
	if err != nil {
		return nil, fmt.Errorf("ONBEHALF_SIGNER: %s: %w", cfg.Signer, err)
	}
	key, err := delegation.ParseKey(data, cfg.ServiceAccount)
	clear(data)
	if err != nil {
		return nil, fmt.Errorf("ONBEHALF_SIGNER: %s: %w", cfg.Signer, err)
	}
	return key, nil
}

// findServiceAccount gives the delegated service account's e-mail address where
// it signs without a key: the settings', or the runtime's own.
func (a *Access) findServiceAccount(ctx context.Context, cfg config.Config) (string, error) {
	if cfg.ServiceAccount != "" {
		return cfg.ServiceAccount, nil
	}
	who, err := a.Own.Who(ctx)
	if err == nil && !who.ServiceAccount {
		err = fmt.Errorf("%s is no service account", who)
	}
	if err != nil {
		return "", fmt.Errorf("ONBEHALF_SERVICE_ACCOUNT: is not set, and the runtime's own cannot stand in; set it to the e-mail address of the delegated service account: %w", err)
	}
	return who.Email, nil
}

// NewMinter makes the minter that exchanges what the signer signs. It makes no call.
func (a *Access) NewMinter(signer delegation.Signer) (*delegation.Minter, error) {
	return delegation.New(delegation.Config{Signer: signer, HTTP: a.HTTP, Judge: verdict, Tripped: a.tripped})
}
