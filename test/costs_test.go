package test

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/auth"
	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
	"github.com/onbehalf-dev/onbehalf/test/emulator"
	"github.com/onbehalf-dev/onbehalf/test/storm"
)

// What docs/once.md says that a job costs, counted between the function and Firestore.
func TestLedgerOperations(t *testing.T) {
	t.Parallel()
	counts := &requests{asked: map[string]int{}}
	l := emulatedFirestore(t, counts.options()...)
	world := sandbox.DefaultWorld()
	results := &latest{}
	google, url := functionWith(t, world, l, results, "ONBEHALF_GMAIL_UNITS_PER_USER=100") // a letter sent

	const write, read = "Commit", "BatchGetDocuments"
	letter := func(method, id, user string) map[string]any {
		job := letterJob(id)
		job["action"], job["user"] = "gmail.users.messages."+method, user+"@example.com"
		return job
	}
	insert := func(id, user string) map[string]any { return letter("insert", id, user) }
	send := func(id string) map[string]any { return letter("send", id, "barbara") }
	list := func(id string) map[string]any {
		return map[string]any{"id": id, "user": "ada@example.com", "action": "gmail.users.labels.list"}
	}
	vacation := map[string]any{"id": "i", "user": "ada@example.com", "action": "gmail.users.settings.updateVacation", "body": map[string]any{"enableAutoReply": false}}
	file := map[string]any{"id": "d", "user": "ada@example.com", "action": "drive.files.create", "body": map[string]any{"name": "f"}}
	for _, step := range []struct {
		what   string
		fault  sandbox.Fault
		older  string // a job whose call was long ago
		job    map[string]any
		answer int         // 0 is 200
		result jobs.Status // of 200; empty is succeeded
		want   map[string]int
	}{
		{what: "a read", job: list("r"), want: map[string]int{}},
		{what: "a write that is the same twice", job: vacation, want: map[string]int{}},
		{what: "a read in a batch", job: list("batch/ada@example.com"), want: map[string]int{write: 2}},
		{what: "what must be done once", job: insert("o", "ada"), want: map[string]int{write: 2}},
		{what: "the same again", job: insert("o", "ada"), want: map[string]int{write: 1, read: 1}},
		{what: "a file in Drive", job: file, want: map[string]int{write: 3}},
		{what: "the same file again", job: file, want: map[string]int{write: 1, read: 1}},
		{what: "what the policy refuses", job: insert("p", "admin"), result: jobs.Refused, want: map[string]int{write: 2}},

		{what: "a letter sent", job: send("s"), want: map[string]int{write: 3}},
		{what: "another, for which there is no quota", job: send("q"), answer: http.StatusTooManyRequests, want: map[string]int{write: 2}},
		{what: "the same before its time", job: send("q"), answer: http.StatusTooManyRequests, want: map[string]int{write: 1, read: 1}},
		{what: "what Google wants later", fault: sandbox.Fault{Kind: "429", RetryAfter: "3600"}, job: insert("g", "grace"), answer: http.StatusTooManyRequests, want: map[string]int{write: 3}},
		{what: "another of that user", job: insert("h", "grace"), answer: http.StatusTooManyRequests, want: map[string]int{write: 2}},

		{what: "a lost answer", fault: sandbox.Fault{Kind: "lost"}, job: insert("l", "alan"), answer: http.StatusServiceUnavailable, want: map[string]int{write: 2}},
		{what: "the same before it can be looked up", job: insert("l", "alan"), answer: http.StatusTooManyRequests, want: map[string]int{write: 1, read: 1}},
		{what: "the same when it can", older: "l", job: insert("l", "alan"), want: map[string]int{write: 3, read: 1}},
	} {
		if step.fault.Kind != "" {
			step.fault.Call, step.fault.Times = "gmail.users.messages.insert", 1
			if err := google.Order(step.fault); err != nil {
				t.Fatal(err)
			}
		}
		if step.older != "" {
			older(t, l, step.older)
		}
		counts.take()
		answer := post(t, url, step.what, step.job)
		if want := cmp.Or(step.answer, http.StatusOK); answer != want {
			t.Errorf("%s: HTTP %d, want %d", step.what, answer, want)
		}
		if want := cmp.Or(step.result, jobs.Succeeded); answer == http.StatusOK && results.status != want {
			t.Errorf("%s: %s, want %s", step.what, results.status, want)
		}
		if diff := gocmp.Diff(step.want, counts.take()); diff != "" {
			t.Errorf("%s: %s", step.what, diff)
		}
	}
	if n := len(google.Letters("alan@example.com")); n != 1 {
		t.Errorf("%d letters of the job whose answer was lost", n)
	}
}

// Where one in five calls to Google fails, in one of three ways, there are as many calls as
// that takes, and no more.
func TestCallsUnderFaults(t *testing.T) {
	t.Parallel()
	const share = 0.2
	s := storm.Storm{
		Users: 100, Jobs: 1000, AtOnce: 16, // the time that is named costs no call to ask too early
		Again: func(int, http.Header) time.Duration { return 50 * time.Millisecond },
	}
	world := sandbox.DefaultWorld()
	world.Users = nil
	for n := range s.Users {
		world.Users = append(world.Users, sandbox.User{PrimaryEmail: storm.User(n)})
	}
	google, url := functionWith(t, world, quick{ledger.NewMemory(0)}, &latest{}, "ONBEHALF_GMAIL_UNITS_PER_USER=1000000")
	for _, call := range []string{"gmail.*", "signJwt", "token"} {
		left := 1.0 // each kind is asked only about what the earlier ones have left
		for _, kind := range []string{"5xx", "429", "cut"} {
			if err := google.Order(sandbox.Fault{Call: call, Kind: kind, Share: share / 3 / left}); err != nil {
				t.Fatal(err)
			}
			left -= share / 3
		}
	}
	s.URL = url
	tally, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkLetters(t, google, s)

	// Each call is made until it succeeds. Looked for is the letter of an insert that was cut
	// off or answered with 5xx, and a token is made for each user and each of both purposes.
	jobs, users, tries := float64(s.Jobs), float64(s.Users), 1/(1-share)
	need := map[string]float64{
		"gmail.users.messages.insert": jobs * tries,
		"gmail.users.messages.list":   jobs * tries * share * 2 / 3 * tries,
		"signJwt":                     2 * users * tries,
		"token":                       2 * users * tries,
	}
	total := 0
	for call, n := range google.Calls() {
		total += n
		if most := need[call] + 4*math.Sqrt(need[call]); float64(n) > most { // four standard deviations
			t.Errorf("%s: %d calls; it takes %.0f", call, n, need[call])
		}
	}
	t.Logf("%.2f calls a job: %v; %+v", float64(total)/jobs, google.Calls(), tally)
}

// quick is a ledger in which nobody waits before looking whether a call took effect.
type quick struct{ ledger.Ledger }

func (q quick) Release(ctx context.Context, c ledger.Claim, p ledger.PutOff) error {
	if !p.Doubt.IsZero() {
		p = ledger.PutOff{Doubt: p.Doubt.Add(-time.Hour), Why: p.Why}
	}
	return q.Ledger.Release(ctx, c, p)
}

// functionWith is the function in this process, with that ledger, in a Workspace.
func functionWith(t *testing.T, world sandbox.World, l ledger.Ledger, results functions.Results, env ...string) (google *sandbox.Server, url string) {
	t.Helper()
	google, err := sandbox.New(world, sandbox.Options{KeyBits: 1024})
	if err != nil {
		t.Fatal(err)
	}
	workspace := httptest.NewServer(google)
	t.Cleanup(workspace.Close)
	cfg, err := config.Load(append([]string{"GOOGLE_CLOUD_PROJECT=" + world.Project, "ONBEHALF_SERVICE_ACCOUNT=" + world.Runtime, "ONBEHALF_SANDBOX=" + workspace.URL}, env...))
	if err != nil {
		t.Fatal(err)
	}
	x, err := functions.New(t.Context(), cfg, functions.Options{
		Credentials: func() (*auth.Credentials, error) { return google.Credentials(world.Runtime), nil }, Caller: world.Runtime,
		Policy: &policy.Policy{Domains: []string{"example.com"}, Actions: []string{"*"}, DenyUsers: []string{"admin@example.com"}},
		Ledger: l, Results: results,
	})
	if err != nil {
		t.Fatal(err)
	}
	function := httptest.NewServer(x)
	t.Cleanup(func() {
		function.Close()
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return google, function.URL
}

// latest is the newest result.
type latest struct {
	functions.Results // of which no batch is told

	mu     sync.Mutex
	status jobs.Status
}

func (l *latest) Publish(_ context.Context, r jobs.Result) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = r.Status
	return nil
}

// requests counts what is asked of a server by gRPC.
type requests struct {
	mu    sync.Mutex
	asked map[string]int
}

func (r *requests) count(method string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// What is deferred every instance asks every 10 s, however many jobs it has.
	if method = path.Base(method); method != "RunQuery" {
		r.asked[method]++
	}
}

// take is what was asked since it was last taken.
func (r *requests) take() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.asked
	r.asked = map[string]int{}
	return asked
}

func (r *requests) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	r.count(method)
	return invoke(ctx, method, req, reply, cc, opts...)
}

func (r *requests) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	r.count(method)
	return open(ctx, desc, cc, method, opts...)
}

// options have a client be counted.
func (r *requests) options() []option.ClientOption {
	return []option.ClientOption{option.WithGRPCDialOption(grpc.WithUnaryInterceptor(r.unary)), option.WithGRPCDialOption(grpc.WithStreamInterceptor(r.stream))}
}

// emulatedFirestore is a ledger in Google's emulator of Firestore. Where that is not
// installed the test is skipped, but not on CI.
func emulatedFirestore(t *testing.T, opts ...option.ClientOption) ledger.Ledger {
	t.Helper()
	e, err := emulator.Firestore().Start(t.Context())
	var missing *emulator.MissingError
	switch {
	case errors.As(err, &missing) && os.Getenv("CI") != "true":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(e.Wait)
	opts = append(opts, option.WithEndpoint(e.Address), option.WithoutAuthentication(), option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	l, err := ledger.OpenFirestore(t.Context(), "costs", "(default)", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for err = l.Check(t.Context()); errors.Is(err, context.DeadlineExceeded); err = l.Check(t.Context()) { // its first answer may take long
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}
