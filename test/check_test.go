package test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// check.sh says whether a deployment works: the real gcloud speaks to Google's emulator
// of Pub/Sub, and that to the function as it is deployed.
func TestCheckTriesWhatIsDeployed(t *testing.T) {
	t.Parallel()
	const allowing = "domains: [example.com]\nactions: [gmail.users.messages.insert, gmail.users.labels.list]\n"
	for name, c := range map[string]struct {
		deployed string // the function's policy; empty is no function, inSecret one from Secret Manager
		args     []string
		exit     int
		stdout   string // a pattern
		stderr   []string
		made     bool // a subscription
	}{
		"well": {
			allowing,
			[]string{"--user", "ada@example.com"},
			0,
			`^{"job":"check-\d{8}t\d{6}z-\d+/ada@example.com".*"action":"gmail.users.labels.list","status":"previewed".*}\n$`,
			[]string{"✓ client id: ", "It works"},
			true,
		},
		"an action that is named": {
			allowing,
			[]string{"--user=ada@example.com", "--action", "gmail.users.messages.insert"},
			0,
			`"action":"gmail.users.messages.insert","status":"previewed"`,
			[]string{"✓ policy gmail.users.messages.insert: "},
			true,
		},
		"a policy in Secret Manager": {
			inSecret,
			[]string{"--user", "ada@example.com"},
			0,
			`"action":"gmail.users.labels.list","status":"previewed"`,
			[]string{"✓ policy gmail.users.labels.list: sm://"},
			true,
		},
		"another policy is deployed": {
			"domains: [example.com]\n",
			[]string{"--user", "ada@example.com"},
			1,
			`"status":"refused".*"fix":`,
			[]string{"status is refused, and not previewed"},
			true,
		},
		"nothing is deployed": {
			"",
			[]string{"--user", "ada@example.com", "--wait", "1"},
			1,
			`^$`,
			[]string{"After 1 seconds there is no result", "gcloud functions logs read onbehalf-execute"},
			true,
		},
		"something is to be mended": {
			allowing,
			[]string{"--user", "nobody@example.com"},
			1,
			`^$`,
			[]string{"✗ ", "What to do: "},
			false,
		},
		"an action that is not allowed": {
			allowing,
			[]string{"--user", "ada@example.com", "--action", "drive.files.list"},
			1,
			`^$`,
			[]string{"The policy does not allow drive.files.list"},
			false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newTrial(t, allowing, c.deployed)
			exit, stdout, stderr := d.check(t, c.args...)
			if exit != c.exit || !regexp.MustCompile(c.stdout).MatchString(stdout) {
				t.Errorf("exit status %d, %q; want %d, %s\n%s", exit, stdout, c.exit, c.stdout, stderr)
			}
			for _, want := range c.stderr {
				if !strings.Contains(stderr, want) {
					t.Errorf("it does not say %q:\n%s", want, stderr)
				}
			}
			d.wasLeftAsItWas(t, c.made)
			for _, secret := range d.google.Secrets() {
				if strings.Contains(stdout+stderr, secret) {
					t.Error("a token or assertion is shown")
				}
			}
		})
	}
}

// inSecret is where a policy is in Secret Manager, for all that read it.
const inSecret = "sm://onbehalf-sandbox/policy/3"

// trial is a project, as check.sh finds it.
type trial struct {
	google  *sandbox.Server
	env     []string // beside which check.sh has nothing
	home    string
	config  string
	project string

	mu      sync.Mutex
	changed []string // what was done to subscriptions: PUT and DELETE, with filters
}

// newTrial has the policy in a configuration, and another one deployed.
func newTrial(t *testing.T, configured, deployed string) *trial {
	t.Helper()
	gcloud, err := exec.LookPath("gcloud")
	switch {
	case err != nil && os.Getenv("CI") != "true":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	d := &trial{}
	emulator := pubsubEmulator(t)
	world := sandbox.DefaultWorld()
	d.project = world.Project
	world.Secrets = map[string][]byte{"projects/" + world.Project + "/secrets/policy/versions/3": []byte(configured)}
	if d.google, err = sandbox.New(world, sandbox.Options{}); err != nil {
		t.Fatal(err)
	}
	google := httptest.NewServer(d.google)
	t.Cleanup(google.Close)
	client := pubsubClient(t, d.project)
	id := strings.ToLower(filepath.Base(t.TempDir()) + fmt.Sprint(len(deployed)) + strings.ReplaceAll(filepath.Base(t.Name()), "_", "-"))
	jobsTopic, resultsTopic := "jobs-"+id, "results-"+id
	for _, topic := range []string{jobsTopic, resultsTopic} {
		if _, err := client.TopicAdminClient.CreateTopic(t.Context(), &pubsubpb.Topic{Name: "projects/" + d.project + "/topics/" + topic}); err != nil {
			t.Fatal(err)
		}
	}
	host := strings.TrimPrefix(google.URL, "http://")
	policy := inSecret
	if deployed != inSecret {
		policy = filepath.Join(t.TempDir(), "policy.yaml")
		write(t, policy, configured)
	}
	if deployed != "" {
		theirs := filepath.Join(t.TempDir(), "deployed.yaml")
		if write(t, theirs, deployed); deployed == inSecret {
			theirs = inSecret
		}
		f := serve(t, "ONBEHALF_POLICY="+theirs, "ONBEHALF_RESULTS_TOPIC="+resultsTopic, "PUBSUB_EMULATOR_HOST="+emulator, "ONBEHALF_SANDBOX="+google.URL, "GCE_METADATA_HOST="+host)
		subscribe(t, client, &pubsubpb.Subscription{
			Name: "projects/" + d.project + "/subscriptions/" + jobsTopic, Topic: "projects/" + d.project + "/topics/" + jobsTopic,
			PushConfig: &pubsubpb.PushConfig{PushEndpoint: f.URL},
		})
	}
	d.config = filepath.Join(t.TempDir(), "config.env")
	write(t, d.config, strings.Join([]string{
		"GOOGLE_CLOUD_PROJECT=" + d.project, "REGION=europe-west1", "ONBEHALF_POLICY=" + policy, "ONBEHALF_SERVICE_ACCOUNT=" + world.Runtime,
		"ONBEHALF_JOBS_TOPIC=" + jobsTopic, "ONBEHALF_RESULTS_TOPIC=" + resultsTopic, "",
	}, "\n"))
	d.environment(t, gcloud, d.controlPlane(t, emulator, resultsTopic, configured), emulator, google.URL)
	return d
}

func subscribe(t *testing.T, client *pubsub.Client, s *pubsubpb.Subscription) {
	t.Helper()
	if _, err := client.SubscriptionAdminClient.CreateSubscription(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// environment is that of check.sh. What Go needs is this machine's, and nobody's
// credentials are.
func (d *trial) environment(t *testing.T, gcloud, plane, emulator, google string) {
	t.Helper()
	home := t.TempDir()
	d.home = home
	token := filepath.Join(home, "token")
	write(t, token, "placeholder")
	d.env = []string{
		"PATH=" + filepath.Dir(gcloud) + ":" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home,
		"CLOUDSDK_CONFIG=" + home, "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE=" + token,
		"CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB=" + plane + "/", "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDRESOURCEMANAGER=" + plane + "/", "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER=" + plane + "/",
		"PUBSUB_EMULATOR_HOST=" + emulator, "ONBEHALF_SANDBOX=" + google, "GCE_METADATA_HOST=" + strings.TrimPrefix(google, "http://"),
		"ONBEHALF_SIGNER=paper", // which is somebody's own, and would be refused
	}
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS"} {
		d.env = append(d.env, name+"="+strings.TrimSpace(output(t, command(t, root, "go", "env", name))))
	}
}

// controlPlane passes on to the emulator what gcloud asks of Pub/Sub, knows the
// project and the secret, and publishes somebody else's result as soon as there is a
// subscription.
func (d *trial) controlPlane(t *testing.T, emulator, resultsTopic, secret string) (address string) {
	t.Helper()
	pass := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: emulator})
	publisher := pubsubClient(t, d.project).Publisher(resultsTopic)
	t.Cleanup(publisher.Stop)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/projects/" + d.project:
			fmt.Fprintf(w, `{"projectId": %q, "projectNumber": "424242424242"}`, d.project)
			return
		case "/v1/projects/" + d.project + "/secrets/policy/versions/3:access":
			fmt.Fprintf(w, `{"payload": {"data": %q}}`, base64.StdEncoding.EncodeToString([]byte(secret)))
			return
		}
		if strings.Contains(r.URL.Path, "/subscriptions/onbehalf-check-") && (r.Method == http.MethodPut || r.Method == http.MethodDelete) {
			d.note(r)
		}
		pass.ServeHTTP(w, r)
		if r.Method == http.MethodPut {
			_, _ = publisher.Publish(context.WithoutCancel(r.Context()), &pubsub.Message{
				Data: []byte(`{"job":"another"}`), Attributes: map[string]string{"job": "another", "status": "previewed"},
			}).Get(r.Context())
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// note keeps what is done to a subscription.
func (d *trial) note(r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	var s struct{ Filter string }
	_ = json.Unmarshal(body, &s) // a DELETE has none
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changed = append(d.changed, strings.TrimSpace(r.Method+" "+s.Filter))
}

// check runs the script.
func (d *trial) check(t *testing.T, args ...string) (exit int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	cmd := command(t, root, "deploy/check.sh", append([]string{"--config", d.config}, args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = d.env, &out, &errs
	var ended *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// wasLeftAsItWas sees that a subscription for one job alone was made, and taken away,
// and that no file of the script's is left.
func (d *trial) wasLeftAsItWas(t *testing.T, made bool) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	changed := strings.Join(d.changed, "\n")
	want := `^PUT attributes\.job = "check-\d{8}t\d{6}z-\d+/ada@example\.com"\nDELETE$`
	if !made {
		want = `^$`
	}
	if !regexp.MustCompile(want).MatchString(changed) {
		t.Errorf("subscriptions: %q; want %s", changed, want)
	}
	if left, err := filepath.Glob(filepath.Join(d.home, "tmp.*")); err != nil || len(left) > 0 {
		t.Errorf("%q are left, %v", left, err)
	}
}
