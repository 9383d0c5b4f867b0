package access

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/oauth2adapt"
	"cloud.google.com/go/compute/metadata"
	"golang.org/x/oauth2/google"

	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/explain"
)

const (
	// cloudPlatform is the scope that the runtime's own token needs to sign, to
	// publish, and to read the policy and letters.
	cloudPlatform = "https://www.googleapis.com/auth/cloud-platform"
	// universe is the only one that has a Workspace.
	universe = "googleapis.com"
	// credentialsFile names the variable that comes first among the places where
	// application default credentials are looked for.
	credentialsFile = "GOOGLE_APPLICATION_CREDENTIALS"
	// renewPause is how long a new identity is given a chance before the next.
	renewPause = 10 * time.Second
)

// Identity is the runtime's own: credentials that can be thrown away when
// Google does not accept their token any more, which the library would go on
// handing out until its time is up.
type Identity struct {
	find   func() (*auth.Credentials, error)
	caller string // of whom they are, where it is known beforehand
	http   *http.Client

	mu      sync.Mutex
	creds   *auth.Credentials
	renewed time.Time
	who     *Who // once it is known
}

var _ delegation.Identity = (*Identity)(nil)

func newIdentity(find func() (*auth.Credentials, error), caller string, client *http.Client) *Identity {
	creds, err := find()
	if err != nil {
		creds = auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: nobody{err}})
	}
	return &Identity{find: find, caller: caller, http: client, creds: creds}
}

// nobody is whose credentials could not be found, and why.
type nobody struct{ error }

// Token implements [auth.TokenProvider].
func (n nobody) Token(context.Context) (*auth.Token, error) { return nil, n }

// NoIdentity has those who must not know of this package tell this error from that of
// a connection.
func (n nobody) NoIdentity() {}

// Missing is why there are no credentials; nil where there are.
func (i *Identity) Missing() error {
	if none, ok := i.current().TokenProvider.(nobody); ok {
		return none
	}
	return nil
}

func (i *Identity) current() *auth.Credentials {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.creds
}

// Token implements [auth.TokenProvider].
func (i *Identity) Token(ctx context.Context) (*auth.Token, error) {
	return i.current().Token(ctx)
}

// Authorize makes r a request of the runtime's own, at the cost of the quota
// project that the credentials name: one's own sign-in must have one.
func (i *Identity) Authorize(ctx context.Context, r *http.Request) error {
	creds := i.current()
	token, err := creds.Token(ctx)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", cmp.Or(token.Type, "Bearer")+" "+token.Value)
	if project, err := creds.QuotaProjectID(ctx); err == nil && project != "" {
		r.Header.Set("X-Goog-User-Project", project)
	}
	return nil
}

// Renew has the next token be asked for anew. A metadata server may give the
// same one again until that is about to end; then the job comes again, too.
func (i *Identity) Renew() {
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

// Credentials are for clients that take no mere token.
func (i *Identity) Credentials() *auth.Credentials {
	found := i.current()
	return auth.NewCredentials(&auth.CredentialsOptions{
		TokenProvider:          i,
		JSON:                   found.JSON(),
		ProjectIDProvider:      auth.CredentialsPropertyFunc(found.ProjectID),
		QuotaProjectIDProvider: auth.CredentialsPropertyFunc(found.QuotaProjectID),
		UniverseDomainProvider: auth.CredentialsPropertyFunc(found.UniverseDomain),
	})
}

// project is the one that the credentials belong to; empty where they do not say.
func (i *Identity) project(ctx context.Context) (string, error) {
	if i.kind() == fromServer && i.caller == "" {
		return metadata.ProjectIDWithContext(ctx)
	}
	return i.current().ProjectID(ctx)
}

// Place is the number of the project and the region in which this runs, as the
// metadata server tells them; empty where it does not, or the identity is another's.
func (i *Identity) Place(ctx context.Context) (number, region string) {
	if i.kind() != fromServer || i.caller != "" {
		return "", ""
	}
	number, _ = metadata.NumericProjectIDWithContext(ctx)
	region, _ = metadata.GetWithContext(ctx, "instance/region") // projects/NUMBER/regions/REGION
	return number, region[strings.LastIndexByte(region, '/')+1:]
}

// checkUniverse refuses credentials of a cloud that has no Workspace: their
// tokens would be worth nothing here, and must not be shown here.
func (i *Identity) checkUniverse(ctx context.Context) error {
	domain, err := i.current().UniverseDomain(ctx)
	if err != nil {
		return fmt.Errorf("the universe domain of the credentials cannot be found out: %w", err)
	}
	if domain != universe {
		return fmt.Errorf("the credentials are of the universe %q; only those of %s are accepted, for no other has Google Workspace", domain, universe)
	}
	return nil
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
		switch {
		case err == nil:
			return creds, nil
		case os.Getenv(credentialsFile) != "":
			return nil, fmt.Errorf("%s: no application default credentials are in the file that it names; mend the file, or unset the variable: %w", credentialsFile, err)
		}
		return nil, fmt.Errorf("no application default credentials: run on Google Cloud with a service account, or sign in with: gcloud auth application-default login: %w", err)
	}
}

// confined refuses what the library asks about with a client of its own, and not with
// the one that it is given: with a sandbox nothing may leave this machine.
func confined(find func() (*auth.Credentials, error)) func() (*auth.Credentials, error) {
	return func() (*auth.Credentials, error) {
		creds, err := find()
		if err == nil && read(creds).certified() {
			return nil, errors.New(credentialsFile + ": a certificate proves the identity (X.509 federation), for which Google's library does not keep to ONBEHALF_SANDBOX; with a sandbox any other kind of credentials is accepted")
		}
		return creds, err
	}
}

// fromMetadata finds the identity that a metadata server gives, and no other.
func fromMetadata() (*auth.Credentials, error) {
	tokens := oauth2adapt.TokenProviderFromTokenSource(google.ComputeTokenSource("", cloudPlatform))
	return auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: tokens}), nil
}

// Kinds of credentials for which there is no file.
const (
	fromServer = "metadata"
	fromNobody = "none"
)

// file is what credential files of all kinds may say of whose they are.
type file struct {
	Type             string `json:"type"`
	ClientEmail      string `json:"client_email"`
	Audience         string `json:"audience"`
	ImpersonationURL string `json:"service_account_impersonation_url"`
	CredentialSource struct {
		Certificate *struct{} `json:"certificate"`
	} `json:"credential_source"`
	// Source has whose right it is to impersonate.
	Source *file `json:"source_credentials"`
}

func read(creds *auth.Credentials) file {
	var f file
	_ = json.Unmarshal(creds.JSON(), &f) // the library has read it
	return f
}

// certified tells whether a certificate proves the identity.
func (f file) certified() bool {
	return f.CredentialSource.Certificate != nil || f.Source != nil && f.Source.certified()
}

func (i *Identity) file() file { return read(i.current()) }

// Source says what the identity is and where it was found, without asking anybody.
func (i *Identity) Source() string {
	kind := i.kind()
	if kind == fromServer || kind == fromNobody {
		return kind
	}
	return kind + " from " + place()
}

// IsKey tells whether the runtime's own identity rests on a service account's key.
func (i *Identity) IsKey() bool { return i.kind() == "service_account" }

// place is where a credential file was found.
func place() string { return cmp.Or(os.Getenv(credentialsFile), wellKnownFile()) }

func (i *Identity) kind() string {
	if i.Missing() != nil {
		return fromNobody
	}
	return cmp.Or(i.file().Type, fromServer)
}

// Who is whose identity it is.
type Who struct {
	// Kind is what the credential file calls itself (authorized_user,
	// service_account, external_account, impersonated_service_account), or
	// metadata.
	Kind string
	// From is where it was found: a path, or the metadata server.
	From string
	// Email is the account's; empty where there is none, or none can be told.
	Email string
	// ServiceAccount tells whether it is a service account's.
	ServiceAccount bool
	// Pool is the audience of a workload identity federation without an account.
	Pool string
}

// String names it for people.
func (w Who) String() string {
	return cmp.Or(w.Email, w.Pool, "somebody whom the credentials do not name") + " (" + w.Kind + ", from " + w.From + ")"
}

// Member is the principal as IAM's policies write it; empty where none can be told.
// Of an identity without an account only the provider knows the subject, and
// [explain.Subject] stands for it: to name the whole pool would be a grant to everybody
// in it.
func (w Who) Member() string {
	switch {
	case w.ServiceAccount:
		return "serviceAccount:" + w.Email
	case w.Email != "":
		return "user:" + w.Email
	case w.Pool != "":
		pool, _, _ := strings.Cut(w.Pool, "/providers/")
		return "principal:" + pool + "/subject/" + explain.Subject
	}
	return ""
}

// Who finds out whose identity it is, by asking Google where no file says.
func (i *Identity) Who(ctx context.Context) (Who, error) {
	i.mu.Lock()
	known := i.who
	i.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	who, err := i.look(ctx)
	if err == nil {
		i.mu.Lock()
		i.who = &who
		i.mu.Unlock()
	}
	return who, err
}

func (i *Identity) look(ctx context.Context) (who Who, err error) {
	if i.caller != "" {
		return Who{Kind: fromServer, From: "the program", Email: i.caller, ServiceAccount: true}, nil
	}
	if err := i.Missing(); err != nil {
		return Who{}, err
	}
	f := i.file()
	who = Who{Kind: cmp.Or(f.Type, fromServer), From: place()}
	switch target := impersonated(f.ImpersonationURL); {
	case who.Kind == fromServer:
		who.From, who.ServiceAccount = "the metadata server", true
		who.Email, err = metadata.EmailWithContext(ctx, "default")
	case target != "":
		who.Email, who.ServiceAccount = target, true
	case f.ClientEmail != "":
		who.Email, who.ServiceAccount = f.ClientEmail, true
	case f.Audience != "":
		who.Pool = f.Audience
	default:
		who.Email, err = i.signedIn(ctx)
	}
	return who, err
}

// impersonated is the account that a URL of generateAccessToken names.
func impersonated(u string) string {
	parsed, err := url.Parse(u)
	if err != nil {
		return ""
	}
	account, _, _ := strings.Cut(path.Base(parsed.Path), ":")
	if !strings.Contains(account, "@") {
		return ""
	}
	return account
}

// wellKnownFile is where gcloud puts one's own sign-in.
func wellKnownFile() string {
	const name = "application_default_credentials.json"
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("APPDATA"), "gcloud", name)
	}
	home, _ := os.UserHomeDir()
	return filepath.Join(home, ".config", "gcloud", name)
}

// maxTokenInfo bounds what is read of an answer about a token.
const maxTokenInfo = 64 << 10

// signedIn is the address of whom a sign-in of one's own is: gcloud asks for
// the scope that lets Google tell it.
func (i *Identity) signedIn(ctx context.Context) (string, error) {
	token, err := i.Token(ctx)
	if err != nil {
		return "", errors.New("the sign-in gives no token; sign in anew with: gcloud auth application-default login")
	}
	// In the body: what stands in a URL is kept by many a log.
	form := strings.NewReader(url.Values{"access_token": {token.Value}}.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://oauth2.googleapis.com/tokeninfo", form)
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := i.http.Do(req)
	if err != nil {
		return "", fmt.Errorf("oauth2.googleapis.com cannot be asked whose sign-in it is: %w", err)
	}
	defer res.Body.Close()
	var info struct{ Email string }
	body, err := io.ReadAll(io.LimitReader(res.Body, maxTokenInfo))
	if err != nil || res.StatusCode != http.StatusOK || json.Unmarshal(body, &info) != nil {
		return "", fmt.Errorf("oauth2.googleapis.com does not tell whose sign-in it is: HTTP %d", res.StatusCode)
	}
	return info.Email, nil
}
