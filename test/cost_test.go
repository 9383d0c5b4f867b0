package test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/auth"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
	"github.com/onbehalf-dev/onbehalf/test/emulator"
)

// What one delivery of a job asks Firestore for, of the whole path and with Google's
// emulator: the figures of docs/once.md.
func TestLedgerOperations(t *testing.T) {
	t.Parallel()
	c := &counted{asked: map[string]int{}}
	x := executorWith(t, c.firestore(t))
	const user = `"user":"ada@example.com",`
	raw := base64.RawURLEncoding.EncodeToString([]byte("Subject: hello\r\n\r\nHello.\r\n"))
	insert := user + `"action":"gmail.users.messages.insert","message":{"raw":"` + raw + `"}`
	none, again := map[string]int{}, map[string]int{"Commit": 1, "BatchGetDocuments": 1}
	once, noted := map[string]int{"Commit": 2}, map[string]int{"Commit": 3}
	for _, step := range []struct {
		name, job string
		status    jobs.Status
		want      map[string]int
	}{
		{"what is deferred is asked for first", `{"id":"0",` + insert + `}`, jobs.Succeeded, map[string]int{"Commit": 2, "RunQuery": 1}},
		{"a read", `{"id":"1",` + user + `"action":"gmail.users.labels.list"}`, jobs.Succeeded, none},
		{"a write that is the same twice", `{"id":"2",` + user + `"action":"gmail.users.settings.updateImap","body":{"enabled":true}}`, jobs.Succeeded, none},
		{"that, in a batch", `{"id":"b/ada@example.com",` + user + `"action":"gmail.users.settings.updateImap","body":{"enabled":true}}`, jobs.Succeeded, once},
		{"a write that is not", `{"id":"3",` + insert + `}`, jobs.Succeeded, once},
		{"that, delivered again", `{"id":"3",` + insert + `}`, jobs.Succeeded, again},
		{"mail that is sent", `{"id":"4",` + user + `"action":"gmail.users.messages.send","message":{"raw":"` + raw + `"}}`, jobs.Failed, noted}, // to nobody
		{"a file in Drive", `{"id":"5",` + user + `"action":"drive.files.create","body":{"name":"a"}}`, jobs.Succeeded, noted},
		{"a dry run", `{"id":"6","dryRun":true,` + insert + `}`, jobs.Previewed, none},
	} {
		o := x.Execute(t.Context(), pubsubio.Message{ID: step.name, Data: []byte(step.job), PublishTime: time.Now()})
		if o.Result.Status != step.status {
			t.Errorf("%s: %+v %+v", step.name, o, o.Result.Error)
		}
		if diff := cmp.Diff(step.want, c.take()); diff != "" {
			t.Errorf("%s: %s", step.name, diff)
		}
	}
}

// executorWith does jobs in an embedded Workspace, with that ledger.
func executorWith(t *testing.T, l ledger.Ledger) *functions.Executor {
	t.Helper()
	world := sandbox.DefaultWorld()
	google, err := sandbox.New(world, sandbox.Options{KeyBits: 1024})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(google)
	t.Cleanup(server.Close)
	cfg, err := config.Load([]string{"GOOGLE_CLOUD_PROJECT=" + world.Project, "ONBEHALF_SERVICE_ACCOUNT=" + world.Runtime, "ONBEHALF_SANDBOX=" + server.URL})
	if err != nil {
		t.Fatal(err)
	}
	x, err := functions.New(t.Context(), cfg, functions.Options{
		Credentials: func() (*auth.Credentials, error) { return google.Credentials(world.Runtime), nil },
		Policy:      &policy.Policy{Domains: []string{"example.com"}, Actions: []string{"*"}}, Results: nowhere{}, Ledger: l,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

// nowhere takes results.
type nowhere struct{}

func (nowhere) Publish(context.Context, jobs.Result) error { return nil }

// counted counts what Firestore is asked.
type counted struct {
	mu    sync.Mutex
	asked map[string]int
}

// take is what was asked since the last time.
func (c *counted) take() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := c.asked
	c.asked = map[string]int{}
	return asked
}

func (c *counted) count(method string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[path.Base(method)]++
}

func (c *counted) firestore(t *testing.T) ledger.Ledger {
	t.Helper()
	e, err := emulator.Firestore().Start(t.Context())
	var missing *emulator.MissingError
	switch {
	case errors.As(err, &missing) && os.Getenv("CI") != "true":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	l, err := ledger.OpenFirestore(t.Context(), fmt.Sprint("cost-", time.Now().UnixNano()), "(default)",
		option.WithEndpoint(e.Address), option.WithoutAuthentication(), option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		option.WithGRPCDialOption(grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			c.count(method)
			return invoke(ctx, method, req, reply, conn, opts...)
		})),
		option.WithGRPCDialOption(grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, conn *grpc.ClientConn, method string, stream grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			c.count(method)
			return stream(ctx, d, conn, method, opts...)
		})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for warm := false; !warm; { // the first answer of a Java program may take long
		if err := l.Check(t.Context()); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		} else if err == nil {
			warm = true
		}
	}
	c.take()
	return l
}
