package bench

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials/impersonate"
	"cloud.google.com/go/auth/httptransport"
	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// workers is how many jobs are under way at a time.
const workers = 32

// An arm does one job for a user. n counts the jobs of the process.
type arm struct {
	do   func(ctx context.Context, n int, user string) error
	cost func() cost // of the process that does the work
}

const letterFile = "../../cmd/onbehalf/testdata/letters/signed.eml"

// letter is of a usual size, about 3 KB.
func letter(tb testing.TB) []byte {
	tb.Helper()
	raw, err := os.ReadFile(letterFile)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// client keeps a connection for each worker.
func client() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}
}

// send posts a request and wants a 200.
func send(ctx context.Context, c *http.Client, url string, body []byte, header ...string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body)) //nolint:gosec // urls of ours
	if err != nil {
		return err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req) //nolint:gosec // urls of ours
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: HTTP %d: %s", url, res.StatusCode, answer)
	}
	return err
}

const insertPath = "/gmail.googleapis.com/upload/gmail/v1/users/me/messages?uploadType=media"

// limitArm posts the letter with a ready token, and does nothing else.
func limitArm(tb testing.TB, g google) arm {
	tb.Helper()
	token, raw, c := mint(tb, g, user(0)), letter(tb), client()
	url := g.url + insertPath
	return arm{cost: ownCost, do: func(ctx context.Context, _ int, _ string) error {
		return send(ctx, c, url, raw, "Authorization", "Bearer "+token, "Content-Type", "message/rfc822")
	}}
}

// source is the machine's own identity, from the sandbox.
func source(tb testing.TB, g google) *auth.Credentials {
	tb.Helper()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, g.url+"/computeMetadata/v1/instance/service-accounts/default/token", nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Metadata-Flavor", "Google")
	res, err := client().Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&token); err != nil {
		tb.Fatal(err)
	}
	return auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: fixed(token.AccessToken)})
}

type fixed string

func (f fixed) Token(context.Context) (*auth.Token, error) {
	return &auth.Token{Value: string(f), Type: "Bearer", Expiry: time.Now().Add(time.Hour)}, nil
}

// impersonated are the peer's credentials of a user.
func impersonated(g google, own *auth.Credentials, user string, scope string) (*auth.Credentials, *http.Client, error) {
	through, err := sandbox.RewriteTransport(g.url, shared)
	if err != nil {
		return nil, nil, err
	}
	base, err := httptransport.NewClient(&httptransport.Options{Credentials: own, BaseRoundTripper: through})
	if err != nil {
		return nil, nil, err
	}
	creds, err := impersonate.NewCredentials(&impersonate.CredentialsOptions{
		TargetPrincipal: sandbox.DefaultWorld().Runtime, Scopes: []string{scope}, Subject: user, Client: base,
	})
	if err != nil {
		return nil, nil, err
	}
	asUser, err := httptransport.NewClient(&httptransport.Options{Credentials: creds, BaseRoundTripper: through})
	return creds, asUser, err
}

// shared keeps the peer's connections, which it would otherwise open anew for
// each job: we want to beat it at its best.
var shared = &http.Transport{MaxIdleConnsPerHost: workers}

func mint(tb testing.TB, g google, user string) string {
	tb.Helper()
	creds, _, err := impersonated(g, source(tb, g), user, gmail.GmailInsertScope)
	if err != nil {
		tb.Fatal(err)
	}
	token, err := creds.Token(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return token.Value
}

// peerArm impersonates the user and makes a service, for each job.
func peerArm(tb testing.TB, g google) arm {
	tb.Helper()
	own, raw := source(tb, g), letter(tb)
	return arm{cost: ownCost, do: func(ctx context.Context, _ int, user string) error {
		_, c, err := impersonated(g, own, user, gmail.GmailInsertScope)
		if err != nil {
			return err
		}
		service, err := gmail.NewService(ctx, option.WithHTTPClient(c))
		if err != nil {
			return err
		}
		_, err = service.Users.Messages.Insert("me", &gmail.Message{}).Context(ctx).
			Media(bytes.NewReader(raw), googleapi.ContentType("message/rfc822"), googleapi.ChunkSize(0)).Do()
		return err
	}}
}

// relayArm posts an event to a function that does the least it can.
func relayArm(tb testing.TB, g google) arm {
	tb.Helper()
	return functionArm(tb, startFunction(tb, "relay", "FUNCTION_TARGET=Relay", "BENCH_GOOGLE="+g.url+insertPath, "BENCH_TOKEN="+mint(tb, g, user(0))))
}

// oursArm posts an event to the function, as Eventarc does.
func oursArm(tb testing.TB, g google) arm {
	tb.Helper()
	return functionArm(tb, startFunction(tb, "function", append(functionEnv(tb, g), "FUNCTION_TARGET=Execute")...))
}

func functionArm(tb testing.TB, f function) arm {
	tb.Helper()
	raw, c := base64.RawURLEncoding.EncodeToString(letter(tb)), client()
	return arm{
		cost: func() cost {
			var now cost
			getJSON(tb, f.costURL, &now)
			return now
		},
		do: func(ctx context.Context, n int, user string) error {
			id := fmt.Sprintf("%d", n)
			return send(ctx, c, f.url, event(id, user, raw), "Content-Type", "application/json",
				"Ce-Id", id, "Ce-Specversion", "1.0", "Ce-Type", "google.cloud.pubsub.topic.v1.messagePublished",
				"Ce-Source", "//pubsub.googleapis.com/projects/onbehalf-sandbox/topics/onbehalf-jobs", "Ce-Time", "2026-11-21T12:00:00Z")
		},
	}
}

// event is the body of an event that asks to insert the letter.
func event(id, user, raw string) []byte {
	job := fmt.Appendf(nil, `{"id":"bench/%s","user":"%s","action":"gmail.users.messages.insert","message":{"raw":"%s"}}`, id, user, raw)
	return fmt.Appendf(nil, `{"message":{"data":"%s","messageId":"%s","publishTime":"2026-11-21T12:00:00Z"},"subscription":"projects/onbehalf-sandbox/subscriptions/s"}`,
		base64.StdEncoding.EncodeToString(job), id)
}

type function struct{ url, costURL string }

func startFunction(tb testing.TB, role string, env ...string) function {
	tb.Helper()
	port := freePort(tb)
	f := start(tb, role, append(env, "PORT="+port)...)
	await(tb, port)
	return function{"http://127.0.0.1:" + port, "http://" + f.says + "/cost"}
}

// functionEnv are the settings of the function.
func functionEnv(tb testing.TB, g google) []string {
	tb.Helper()
	policy := filepath.Join(tb.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte("domains: [example.com]\nactions: [gmail.users.messages.insert]\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	return []string{
		"ONBEHALF_POLICY=" + policy, "ONBEHALF_SANDBOX=" + g.url, "GCE_METADATA_HOST=" + g.host, "PUBSUB_EMULATOR_HOST=" + g.pubsub,
		"ONBEHALF_GMAIL_UNITS_PER_USER=1000000000", "ONBEHALF_GMAIL_UNITS_PER_PROJECT=1000000000",
	} // it is not the quota that is measured
}

func freePort(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// await waits until the port takes connections.
func await(tb testing.TB, port string) {
	tb.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		c, err := new(net.Dialer).DialContext(tb.Context(), "tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
			return
		}
	}
	tb.Fatalf("port %s takes no connection", port)
}

// newest counts the users that have had their turn, over all of a run.
var newest atomic.Int64
