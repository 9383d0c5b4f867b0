package access_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/auth"

	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

const (
	robot    = "onbehalf@onbehalf-sandbox.iam.gserviceaccount.com"
	worker   = "worker@onbehalf-sandbox.iam.gserviceaccount.com"
	operator = "op@example.com"
	pool     = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool"
	subject  = "principal:" + pool + "/subject/ci"
	scope    = "https://www.googleapis.com/auth/gmail.insert"
	// What a sign-in has in the sandbox: nothing that is secret anywhere else.
	refresh, client, clientSecret = "made-up-refresh", "made-up-client", "made-up-word"
)

// google is a sandbox in which each of these may sign for the robot.
type google struct {
	*sandbox.Server
	url string
	dir string
}

func setup(t *testing.T) google {
	t.Helper()
	world := sandbox.DefaultWorld()
	world.ServiceAccounts[0].Signers = []string{robot, worker, operator, subject}
	world.ServiceAccounts = append(world.ServiceAccounts, sandbox.ServiceAccount{Email: worker, Signers: []string{operator, subject}})
	world.SignIns = []sandbox.SignIn{{Email: operator, RefreshToken: refresh, ClientID: client, ClientSecret: clientSecret}}
	world.Federated = []sandbox.Federated{{Audience: pool + "/providers/ci", SubjectToken: "made-up-subject", Principal: subject}}
	s, err := sandbox.New(world, sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	for _, name := range []string{"GOOGLE_CLOUD_QUOTA_PROJECT", "GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS"} {
		t.Setenv(name, "")
	}
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
	return google{s, server.URL, t.TempDir()}
}

// file writes a file and gives its path.
func (g google) file(t *testing.T, name string, content any) string {
	t.Helper()
	data, raw := content.([]byte)
	if !raw {
		var err error
		if data, err = json.Marshal(content); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(g.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (g google) config(t *testing.T, env ...string) config.Config {
	t.Helper()
	cfg, err := config.Load(append([]string{"ONBEHALF_SANDBOX=" + g.url}, env...))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func signIn() map[string]any {
	return map[string]any{"type": "authorized_user", "client_id": client, "client_secret": clientSecret, "refresh_token": refresh, "quota_project_id": "onbehalf-sandbox"}
}

// federated is a credentials file of workload identity federation; account, if
// any, is impersonated.
func (g google) federated(t *testing.T, account string) map[string]any {
	t.Helper()
	f := map[string]any{
		"type": "external_account", "audience": pool + "/providers/ci", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
		"token_url": "https://sts.googleapis.com/v1/token", "credential_source": map[string]any{"file": g.file(t, "subject", []byte("made-up-subject"))},
	}
	if account != "" {
		f["service_account_impersonation_url"] = generate(account)
	}
	return f
}

func generate(account string) string {
	return "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + account + ":generateAccessToken"
}

// Whatever the application default credentials are, they sign, act as a user,
// and it is known whose they are.
func TestEveryKindOfCredentials(t *testing.T) {
	g := setup(t)
	workerKey, err := g.KeyFile(worker)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file   any
		member string
		from   string
		isKey  bool
	}{
		"metadata":         {nil, "serviceAccount:" + robot, "the metadata server", false},
		"sign-in":          {signIn(), "user:" + operator, "credentials", false},
		"key file":         {workerKey, "serviceAccount:" + worker, "credentials", true},
		"federation":       {g.federated(t, ""), "principal:" + pool + "/subject/SUBJECT", "credentials", false},
		"federation, then": {g.federated(t, worker), "serviceAccount:" + worker, "credentials", false},
		"impersonated": {map[string]any{
			"type": "impersonated_service_account", "service_account_impersonation_url": generate(worker), "source_credentials": signIn(),
		}, "serviceAccount:" + worker, "credentials", false},
	} {
		t.Run(name, func(t *testing.T) {
			if c.file != nil {
				t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", g.file(t, "credentials", c.file))
			}
			a, err := access.Open(t.Context(), g.config(t, "ONBEHALF_SERVICE_ACCOUNT="+robot, "GOOGLE_CLOUD_PROJECT=onbehalf-sandbox"), access.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if token, err := a.Minter.Token(t.Context(), "ada@example.com", scope); err != nil || token.Reveal() == "" {
				t.Errorf("no token of a user: %v", err)
			}
			who, err := a.Own.Who(t.Context())
			if err != nil || who.Member() != c.member || !strings.HasSuffix(who.From, c.from) || !strings.Contains(who.String(), who.Kind) {
				t.Errorf("it is %v (%s), %v; want %s from %s", who, who.Member(), err, c.member, c.from)
			}
			if a.Own.IsKey() != c.isKey {
				t.Errorf("key %v, want %v", a.Own.IsKey(), c.isKey)
			}
			if source := a.Own.Source(); source != "metadata" && !strings.HasSuffix(source, " from "+who.From) {
				t.Errorf("source %s", source)
			}
		})
	}
}

// What the settings leave out, the identity says; where it cannot, the variable
// is named.
func TestWhatTheSettingsLeaveOut(t *testing.T) {
	g := setup(t)
	workerKey, err := g.KeyFile(worker)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file             any
		env              string
		project, account string
		says             string
	}{
		"metadata":            {nil, "", "onbehalf-sandbox", robot, ""},
		"key file":            {workerKey, "", "onbehalf-sandbox", worker, ""},
		"sign-in":             {signIn(), "", "", "", "GOOGLE_CLOUD_PROJECT: is not set"},
		"sign-in, project":    {signIn(), "GOOGLE_CLOUD_PROJECT=p-12345", "", "", "ONBEHALF_SERVICE_ACCOUNT: is not set, and the runtime's own cannot stand in"},
		"signer's key":        {nil, "ONBEHALF_SIGNER=key:" + g.file(t, "signer", workerKey), "onbehalf-sandbox", worker, ""},
		"signer's other key":  {nil, "ONBEHALF_SERVICE_ACCOUNT=" + robot + " ONBEHALF_SIGNER=key:" + g.file(t, "signer", workerKey), "", "", "the key is one of \"" + worker},
		"signer's key absent": {nil, "ONBEHALF_SIGNER=key:" + filepath.Join(g.dir, "none"), "", "", "ONBEHALF_SIGNER: key:" + g.dir},
		"no credentials":      {map[string]any{"type": "nonsense"}, "", "", "", "no application default credentials"},
		"another universe":    {map[string]any{"type": "authorized_user", "client_id": client, "client_secret": clientSecret, "refresh_token": refresh, "universe_domain": "cloud.example"}, "", "", "", `the universe "cloud.example"; only those of googleapis.com`},
	} {
		t.Run(name, func(t *testing.T) {
			if c.file != nil {
				t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", g.file(t, "credentials", c.file))
			}
			a, err := access.Open(t.Context(), g.config(t, strings.Fields(c.env)...), access.Options{})
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want … %s …", err, c.says)
				}
				return
			}
			if err != nil || a.Project != c.project || a.Minter.ServiceAccount() != c.account {
				t.Fatalf("%+v, %v", a, err)
			}
			number, region := a.Own.Place(t.Context())
			if told := number == "424242424242" && region == "us-central1"; told != (c.file == nil) || !told && number+region != "" {
				t.Errorf("in project number %q, region %q", number, region)
			}
		})
	}
}

// Who signs with a key can do without any identity, until one is needed; the words
// are the same then.
func TestAKeyNeedsNoIdentity(t *testing.T) {
	g := setup(t)
	keyFile, err := g.KeyFile(robot)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(g.dir, "none"))
	const words = "no application default credentials are in the file that it names"
	a, err := access.Open(t.Context(), g.config(t, "ONBEHALF_SIGNER=key:"+g.file(t, "signer", keyFile)), access.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if token, err := a.Minter.Token(t.Context(), "ada@example.com", scope); err != nil || token.Reveal() == "" {
		t.Errorf("no token of a user: %v", err)
	}
	if a.Project != "" || a.Own.Source() != "none" || a.Own.IsKey() {
		t.Errorf("project %q, source %s, key %v", a.Project, a.Own.Source(), a.Own.IsKey())
	}
	uses := map[string]func() error{
		"missing": a.Own.Missing,
		"token":   func() error { _, err := a.Own.Token(t.Context()); return err },
		"who":     func() error { _, err := a.Own.Who(t.Context()); return err },
		"secret":  func() error { _, err := a.ReadSetting(t.Context(), "sm://p/s/1"); return err },
		"key in a secret": func() error {
			_, err := access.Open(t.Context(), g.config(t, "ONBEHALF_SIGNER=key:sm://p/s/1"), access.Options{})
			return err
		},
		"no key": func() error {
			_, err := access.Open(t.Context(), g.config(t, "ONBEHALF_SERVICE_ACCOUNT="+robot, "GOOGLE_CLOUD_PROJECT=onbehalf-sandbox"), access.Options{})
			return err
		},
	}
	for name, use := range uses {
		if err := use(); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	g.file(t, "none", signIn()) // as soon as there are some, they serve
	a.Own.Renew()
	if who, err := a.Own.Who(t.Context()); err != nil || who.Email != operator || a.Own.Missing() != nil {
		t.Errorf("then it is %v, %v", who, err)
	}
}

// With a sandbox nothing goes to Google, of whichever kind the credentials are:
// the library has a client of its own for certificates.
func TestACertificateStaysOutOfASandbox(t *testing.T) {
	g := setup(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	f := g.federated(t, "")
	f["subject_token_type"] = "urn:ietf:params:oauth:token-type:mtls"
	f["credential_source"] = map[string]any{"certificate": map[string]any{"certificate_config_location": g.file(t, "certificates", map[string]any{
		"cert_configs": map[string]any{"workload": map[string]any{
			"cert_path": g.file(t, "certificate", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})),
			"key_path":  g.file(t, "key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		}},
	})}}
	for name, file := range map[string]any{
		"federation":   f,
		"impersonated": map[string]any{"type": "impersonated_service_account", "service_account_impersonation_url": generate(worker), "source_credentials": f},
	} {
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", g.file(t, "credentials", file))
		env := []string{"ONBEHALF_SERVICE_ACCOUNT=" + robot, "GOOGLE_CLOUD_PROJECT=onbehalf-sandbox"}
		if _, err := access.Open(t.Context(), g.config(t, env...), access.Options{}); err == nil || !strings.Contains(err.Error(), "GOOGLE_APPLICATION_CREDENTIALS: a certificate proves") {
			t.Errorf("%s: %v", name, err)
		}
		without, err := config.Load(env)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := access.Open(t.Context(), without, access.Options{}); err != nil { // which asks nobody
			t.Errorf("%s without a sandbox: %v", name, err)
		}
	}
}

// Why credentials give no token is told apart, for it is mended differently; the
// library's words, which may quote an answer, are not told.
func TestWhyThereIsNoIdentity(t *testing.T) {
	g := setup(t)
	edited := func(file map[string]any, field string, value any) map[string]any {
		file[field] = value
		return file
	}
	for name, c := range map[string]struct {
		file any
		url  string
		code string
	}{
		"ended":            {edited(signIn(), "refresh_token", "made-up-other"), g.url, delegation.SignInEnded},
		"not impersonated": {edited(g.federated(t, ""), "service_account_impersonation_url", generate("nobody@onbehalf-sandbox.iam.gserviceaccount.com")), g.url, delegation.MayNotImpersonate},
		"no subject":       {edited(g.federated(t, ""), "credential_source", map[string]any{"file": filepath.Join(g.dir, "none")}), g.url, delegation.NoCredentialFile},
		"another subject":  {edited(g.federated(t, ""), "credential_source", map[string]any{"file": g.file(t, "other", []byte("made-up-other"))}), g.url, delegation.NoIdentity},
		"nobody listens":   {signIn(), "http://127.0.0.1:9", delegation.NoAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", g.file(t, "credentials", c.file))
			g := google{g.Server, c.url, g.dir}
			a, err := access.Open(t.Context(), g.config(t, "ONBEHALF_SERVICE_ACCOUNT="+robot, "GOOGLE_CLOUD_PROJECT=onbehalf-sandbox"), access.Options{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = a.Own.Token(t.Context())
			if err == nil {
				t.Fatal("there is a token")
			}
			if e := delegation.IdentityError(err); e.Code != c.code || strings.Contains(e.Error(), "made-up") {
				t.Errorf("got %v, want %s", e, c.code)
			}
		})
	}
}

// A key comes from Secret Manager, whole or not at all.
func TestAKeyInSecretManager(t *testing.T) {
	world := sandbox.DefaultWorld()
	forged, err := sandbox.New(world, sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	keyFile, err := forged.KeyFile(robot)
	if err != nil {
		t.Fatal(err)
	}
	world.Secrets = map[string][]byte{"projects/p/secrets/key/versions/3": keyFile, "projects/p/secrets/text/versions/1": []byte("no key")}
	s, err := sandbox.New(world, sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	own := func() (*auth.Credentials, error) { return s.Credentials(robot), nil }
	for from, says := range map[string]string{
		"key/3":  "",
		"key/2":  "ONBEHALF_SIGNER: key:sm://p/key/2",
		"text/1": "neither JSON nor P12",
	} {
		cfg, err := config.Load([]string{"ONBEHALF_SANDBOX=" + server.URL, "GOOGLE_CLOUD_PROJECT=onbehalf-sandbox", "ONBEHALF_SERVICE_ACCOUNT=" + robot, "ONBEHALF_SIGNER=key:sm://p/" + from})
		if err != nil {
			t.Fatal(err)
		}
		a, err := access.Open(t.Context(), cfg, access.Options{Credentials: own, Caller: robot})
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", from, err)
		}
		if err == nil && (a.Minter.ServiceAccount() != robot || s.Calls()["secretmanager.versions.access"] == 0) {
			t.Errorf("%s: signs for %s", from, a.Minter.ServiceAccount())
		}
	}
}
