package functions_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"cloud.google.com/go/auth"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// newExecutor tries to start with these settings, in a world with a policy.
func newExecutor(t *testing.T, handler func(http.Handler) http.Handler, env ...string) error {
	t.Helper()
	world := sandbox.DefaultWorld()
	world.Secrets = map[string][]byte{"projects/p-12345/secrets/policy/versions/1": []byte("domains: [example.com]\n")}
	google, err := sandbox.New(world, sandbox.Options{KeyBits: 1024})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler(google))
	t.Cleanup(server.Close)
	cfg, err := config.Load(append([]string{"GOOGLE_CLOUD_PROJECT=p-12345", "ONBEHALF_SERVICE_ACCOUNT=" + world.Runtime, "ONBEHALF_SANDBOX=" + server.URL}, env...))
	if err != nil {
		return err
	}
	x, err := functions.New(t.Context(), cfg, functions.Options{
		Results:     &published{},
		Credentials: func() (*auth.Credentials, error) { return google.Credentials(world.Runtime), nil },
	})
	if err == nil {
		t.Cleanup(func() { x.Close() })
	}
	return err
}

func straight(h http.Handler) http.Handler { return h }

func TestThePolicyIsReadAtStart(t *testing.T) {
	good, bad := filepath.Join(t.TempDir(), "good.yaml"), filepath.Join(t.TempDir(), "bad.yaml")
	if os.WriteFile(good, []byte("domains: [example.com]"), 0o600) != nil || os.WriteFile(bad, []byte("domain: x"), 0o600) != nil {
		t.Fatal("cannot write the policies")
	}
	slip := filepath.Join(t.TempDir(), "slip.yaml")
	if err := os.WriteFile(slip, []byte("domains: [example.com]\nactions: [gmail.users.message.insert]"), 0o600); err != nil {
		t.Fatal(err)
	}
	for policy, says := range map[string]string{
		slip:                    "ONBEHALF_POLICY: actions[0], line 2: is \"gmail.users.message.insert\", which is no method",
		good:                    "",
		"sm://p-12345/policy/1": "",
		bad:                     "ONBEHALF_POLICY: " + bad + ": not a policy",
		"none.yaml":             "no such file",
		"sm://p-12345/policy/2": "ONBEHALF_POLICY: sm://p-12345/policy/2",
	} {
		err := newExecutor(t, straight, "ONBEHALF_POLICY="+policy)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", policy, err, says)
		}
	}
}

// A policy that was damaged on the way is not followed.
func TestThePolicysChecksumIsVerified(t *testing.T) {
	for name, answer := range map[string]string{
		"wrong":   `{"name": "n", "payload": {"data": "ZG9tYWluczogW10=", "dataCrc32c": "1"}}`,
		"missing": `{"name": "n", "payload": {"data": "ZG9tYWluczogW10="}}`,
		"empty":   `{}`,
	} {
		err := newExecutor(t, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, answer)
			})
		}, "ONBEHALF_POLICY=sm://p-12345/policy/1")
		if err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Results of a sandbox never go to the real Pub/Sub.
func TestASandboxNeedsAnEmulator(t *testing.T) {
	t.Setenv("PUBSUB_EMULATOR_HOST", "")
	cfg, err := config.Load([]string{"GOOGLE_CLOUD_PROJECT=p-12345", "ONBEHALF_SERVICE_ACCOUNT=a@p-12345.iam.gserviceaccount.com", "ONBEHALF_SANDBOX=http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = functions.New(t.Context(), cfg, functions.Options{Credentials: func() (*auth.Credentials, error) { return auth.NewCredentials(&auth.CredentialsOptions{}), nil }})
	if err == nil || !strings.Contains(err.Error(), "PUBSUB_EMULATOR_HOST: is not set") {
		t.Errorf("%v", err)
	}
}

// A ledger in a file goes on where another instance was.
func TestTheLedgerIsTheOneOfTheSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ledger")
	for i := range 2 {
		r := setup(t, func(cfg *config.Config, _ *functions.Options) { cfg.Ledger = "file:" + file })
		r.deliver(t, "1", insert("j", "ada@example.com", plainLetter))
		if results := r.results.all(); len(results) != 1 || results[0].Status != jobs.Succeeded || results[0].Attempts != 1 {
			t.Errorf("%+v", results)
		}
		if letters := r.google.Letters("ada@example.com"); len(letters) != 1-i { // the other world's Ada has it
			t.Errorf("%d letters", len(letters))
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	for ledger, says := range map[string][]string{
		"file:" + filepath.Join(file, "below"):                      {"ONBEHALF_LEDGER: ledger: There is no folder " + file, "mkdir -p"},
		"file:" + filepath.Join(filepath.Dir(file), "none", "here"): {"ONBEHALF_LEDGER: ledger: There is no folder", "mkdir -p"},
		"firestore:(default)":                                       {"ONBEHALF_LEDGER: FIRESTORE_EMULATOR_HOST: is not set, but ONBEHALF_SANDBOX is"},
	} {
		t.Setenv("FIRESTORE_EMULATOR_HOST", "")
		err := newExecutor(t, straight, "ONBEHALF_LEDGER="+ledger)
		for _, words := range says {
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%s: %v; want %s", ledger, err, words)
			}
		}
	}
	t.Setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:1") // which is not asked at start
	if err := newExecutor(t, straight, "ONBEHALF_LEDGER=firestore:(default)"); err != nil {
		t.Error(err)
	}
}

// Who signs with a key can do without an identity of their own, but for what takes one.
func TestAKeyNeedsNoIdentity(t *testing.T) {
	google, err := sandbox.New(sandbox.DefaultWorld(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(google)
	t.Cleanup(server.Close)
	account := sandbox.DefaultWorld().Runtime
	data, err := google.KeyFile(account)
	file := filepath.Join(t.TempDir(), "key")
	if err != nil || os.WriteFile(file, data, 0o600) != nil {
		t.Fatal("no key")
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "none"))
	t.Setenv("PUBSUB_EMULATOR_HOST", "")
	t.Setenv("FIRESTORE_EMULATOR_HOST", "")
	start := func(o functions.Options, env ...string) (*functions.Executor, error) {
		cfg, err := config.Load(append([]string{"ONBEHALF_SIGNER=key:" + file}, env...))
		if err != nil {
			t.Fatal(err)
		}
		return functions.New(t.Context(), cfg, o)
	}
	for name, c := range map[string]struct {
		env  []string
		says []string
	}{
		"results":    {[]string{"GOOGLE_CLOUD_PROJECT=p-12345"}, []string{"PUBSUB_EMULATOR_HOST", "no application default credentials"}},
		"no project": {nil, []string{"GOOGLE_CLOUD_PROJECT: is not set"}},
		"policy":     {[]string{"GOOGLE_CLOUD_PROJECT=p-12345", "ONBEHALF_POLICY=sm://p-12345/policy/1"}, []string{"ONBEHALF_POLICY: sm://", "no application default credentials"}},
	} {
		_, err := start(functions.Options{}, c.env...)
		for _, words := range c.says {
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%s: %v; want %s", name, err, words)
			}
		}
	}

	if _, err := start(functions.Options{Results: &published{}}, "GOOGLE_CLOUD_PROJECT=p-12345", "ONBEHALF_LEDGER=firestore:(default)"); err == nil || !strings.Contains(err.Error(), "ONBEHALF_LEDGER: a ledger in Firestore takes an identity") {
		t.Errorf("a ledger: %v", err)
	}

	x, err := start(functions.Options{Results: &published{}, Policy: &policy.Policy{Domains: []string{"example.com"}, Actions: []string{"*"}}}, "ONBEHALF_SANDBOX="+server.URL)
	if err != nil {
		t.Fatal(err)
	}
	if o := x.Execute(t.Context(), pubsubio.Message{ID: "1", Data: []byte(insert("j", "ada@example.com", plainLetter))}); o.Result.Status != jobs.Succeeded {
		t.Errorf("%+v %+v", o, o.Result.Error)
	}
	o := x.Execute(t.Context(), pubsubio.Message{ID: "2", Data: []byte(insert("j2", "ada@example.com", "", "message", map[string]any{"uri": "gs://letters/welcome.eml"}))})
	if e := o.Result.Error; e == nil || e.Reason != "noIdentity" || e.Fault != jobs.FaultOperator || !strings.Contains(e.Fix, "gcloud auth application-default login") {
		t.Errorf("%+v %+v", o, e)
	}
}

// A redirect is not followed: a token must not go where an answer points to.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var visited, redirected atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visited.Add(1) }))
	t.Cleanup(elsewhere.Close)
	for _, host := range []string{"/iamcredentials.googleapis.com/", "/oauth2.googleapis.com/", "/gmail.googleapis.com/", "/storage.googleapis.com/"} {
		r := setup(t, func(cfg *config.Config, _ *functions.Options) {
			before(t, cfg, func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, host) {
					return false
				}
				redirected.Add(1)
				http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
				return true
			})
		})
		r.deliver(t, "1", insert("j", "ada@example.com", plainLetter))
		r.deliver(t, "2", insert("j2", "ada@example.com", "", "message", map[string]any{"uri": "gs://letters/welcome.eml"}))
		for _, result := range r.results.all() {
			if result.Status == jobs.Succeeded && host != "/storage.googleapis.com/" {
				t.Errorf("%s: %+v", host, result)
			}
		}
		if redirected.Swap(0) == 0 || visited.Swap(0) != 0 {
			t.Errorf("%s: a redirect was followed, or none was given", host)
		}
	}
}

// STORAGE_EMULATOR_HOST keeps its meaning: letters are read there, and it is
// shown no token.
func TestLettersFromAStorageEmulator(t *testing.T) {
	emulator := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/storage/v1/b/letters/o/welcome.eml" || r.Header.Get("Authorization") != "" {
			t.Errorf("%s, authorization %t", r.URL, r.Header.Get("Authorization") != "")
		}
		if r.URL.Query().Get("alt") == "media" {
			_, _ = io.WriteString(w, plainLetter)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"name": "welcome.eml", "generation": "7", "size": "%d"}`, len(plainLetter))
	}))
	t.Cleanup(emulator.Close)
	for _, host := range []string{emulator.URL, strings.TrimPrefix(emulator.URL, "http://")} {
		r := setup(t, func(cfg *config.Config, _ *functions.Options) { cfg.StorageEmulator = host })
		r.deliver(t, "1", insert("j", "ada@example.com", "", "message", map[string]any{"uri": "gs://letters/welcome.eml"}))
		if letters := r.google.Letters("ada@example.com"); len(letters) != 1 || string(letters[0].Raw) != plainLetter {
			t.Errorf("%s: the mailbox holds %+v\n%s", host, letters, r.logs)
		}
		if n := r.google.Calls()["storage.objects.get"]; n != 0 {
			t.Errorf("%s: Cloud Storage itself was asked", host)
		}
	}
}

func policyFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
