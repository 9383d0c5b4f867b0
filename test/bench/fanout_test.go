package bench

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	frameworkfunctions "github.com/GoogleCloudPlatform/functions-framework-go/functions"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	jobresults "github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
	"github.com/onbehalf-dev/onbehalf/test/emulator"
	"github.com/onbehalf-dev/onbehalf/test/meter"
)

const (
	// fewUsers is what a batch for more is held against.
	fewUsers = 10_000
	// manyUsers is how many the batch is for whose status is looked at.
	manyUsers = 1_000_000
	// doneUsers is how many of them are done: enough that some count in each document.
	doneUsers = 1000
	// usersAPage is how many the Directory lists at a time, and directoryRate how many a
	// second: 2,400 calls a minute (https://developers.google.com/workspace/admin/directory/v1/limits).
	usersAPage    = 500
	directoryRate = usersAPage * 2400 / 60
)

// BenchmarkFanOut has FanOut publish the jobs of a batch for so many users, beside a bare
// loop that publishes as many of the same messages: to Google's emulator of Pub/Sub, with
// nobody to do them. It is held against what the Directory's quota lets be listed, too,
// for more than that is of no use. A million users take some minutes a ledger:
//
//	go test -run '^$' -bench '^BenchmarkFanOut$' -benchtime 1000000x -timeout 2h ./test/bench
func BenchmarkFanOut(b *testing.B) {
	for _, kind := range []string{"file", "firestore"} {
		b.Run("ledger="+kind, func(b *testing.B) {
			few := newFanOut(b, kind).run(b, fewUsers)
			b.Run("users", func(b *testing.B) {
				f := newFanOut(b, kind)
				before := f.bare(b, b.N)
				many := f.run(b, b.N)
				bare := max(before, f.bare(b, b.N))
				n := float64(b.N)
				b.ReportMetric(n/many.seconds, "jobs/s")
				b.ReportMetric(bare, "bare/s")
				b.ReportMetric(n/many.seconds/bare, "jobs/bare")
				b.ReportMetric(n/many.seconds/directoryRate, "jobs/Directory's")
				b.ReportMetric(float64(many.CPU.Microseconds())/n, "µs-CPU/job")
				b.ReportMetric(float64(many.Allocs)/n, "allocs/job")
				b.ReportMetric(float64(few.Peak)/(1<<20), "MiB-of-10000")
				b.ReportMetric(float64(many.Peak)/(1<<20), "MiB")
				b.ReportMetric(float64(many.Peak)/float64(few.Peak), "memory/10000")
				b.ReportMetric(float64(many.lists), "Directory-calls")
				b.ReportMetric(float64(many.lists)/float64((b.N+usersAPage-1)/usersAPage), "calls/page")
				b.ReportMetric(0, "ns/op")
			})
		})
	}
}

// BenchmarkStatus looks at a batch for a million users, of whom some are done.
func BenchmarkStatus(b *testing.B) {
	f := newFanOut(b, "firestore")
	f.run(b, manyUsers)
	f.settle(b, doneUsers)
	f.meter.Take()
	for b.Loop() {
		f.status(b, manyUsers)
	}
	asked := f.meter.Take()
	b.ReportMetric(float64(asked.Requests)/float64(b.N), "requests/status")
	b.ReportMetric(float64(asked.Reads)/float64(b.N), "reads/status")
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/status")
	b.ReportMetric(0, "ns/op")
}

// TestFanOutPublishesItsJobs keeps the benchmarks honest between their runs.
func TestFanOutPublishesItsJobs(t *testing.T) {
	const n = 2*usersAPage + 1
	f := newFanOut(t, "file")
	if rate := f.bare(t, n); rate <= 0 {
		t.Errorf("%v messages a second", rate)
	}
	if got := f.run(t, n); got.lists != 3 || got.Peak == 0 && peakMemory("self") > 0 {
		t.Errorf("%+v", got)
	}
	f.settle(t, 2)
	f.status(t, n)
}

// fanOut is the function in a process of its own, and all that it needs.
type fanOut struct {
	google
	env     []string
	ledger  ledger.Ledger
	batches *batch.Batches
	meter   *meter.Meter
	ran     int
	done    int // jobs of the batch
}

func newFanOut(tb testing.TB, kind string) *fanOut {
	tb.Helper()
	f := &fanOut{google: startGoogle(tb, 0, 1), meter: &meter.Meter{}}
	messages := startEmulator(tb, emulator.PubSub())
	createTopic(tb, messages, "onbehalf-jobs")
	env := f.openLedger(tb, kind)
	f.env = append(append(functionEnv(tb, f.google), env...), "PUBSUB_EMULATOR_HOST="+messages, "ONBEHALF_ADMIN="+user(0))
	world := sandbox.DefaultWorld()
	cfg, err := config.Load([]string{"GOOGLE_CLOUD_PROJECT=" + world.Project, "ONBEHALF_SERVICE_ACCOUNT=" + world.Runtime, "ONBEHALF_SANDBOX=" + f.url})
	if err != nil {
		tb.Fatal(err)
	}
	x, err := functions.New(tb.Context(), cfg, functions.Options{
		Credentials: func() (*auth.Credentials, error) {
			return auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: fixed("")}), nil
		}, Caller: world.Runtime,
		Ledger: f.ledger, Results: struct{ functions.Results }{},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = x.Close() })
	f.batches = x.Batches()
	return f
}

// openLedger opens one of a kind, for who looks on, and gives the settings by which the
// function does.
func (f *fanOut) openLedger(tb testing.TB, kind string) (env []string) {
	tb.Helper()
	var err error
	if kind == "file" {
		file := filepath.Join(tb.TempDir(), "ledger")
		f.ledger, err = ledger.OpenFile(file)
		env = []string{"ONBEHALF_LEDGER=file:" + file}
	} else {
		host := startEmulator(tb, emulator.Firestore())
		f.ledger, err = ledger.OpenFirestore(tb.Context(), sandbox.DefaultWorld().Project, "(default)", append(f.meter.Options(), insecurely(host)...)...)
		env = []string{"ONBEHALF_LEDGER=firestore:(default)", "FIRESTORE_EMULATOR_HOST=" + host}
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.ledger.Close() })
	return env
}

func insecurely(host string) []option.ClientOption {
	return []option.ClientOption{option.WithEndpoint(host), option.WithoutAuthentication(), option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials()))}
}

// startEmulator starts one; where there is none, the test is skipped, but not on CI.
func startEmulator(tb testing.TB, kind emulator.Kind) (host string) {
	tb.Helper()
	e, err := kind.Start(tb.Context())
	var missing *emulator.MissingError
	switch {
	case errors.As(err, &missing) && os.Getenv("CI") != "true":
		tb.Skip(err)
	case err != nil:
		tb.Fatal(err)
	}
	tb.Cleanup(e.Wait)
	return e.Address
}

func createTopic(tb testing.TB, host, id string) {
	tb.Helper()
	project := sandbox.DefaultWorld().Project
	client, err := pubsub.NewClient(tb.Context(), project, insecurely(host)...)
	if err != nil {
		tb.Fatal(err)
	}
	defer client.Close()
	topic := "projects/" + project + "/topics/" + id
	if _, err := client.TopicAdminClient.CreateTopic(tb.Context(), &pubsubpb.Topic{Name: topic}); err != nil {
		tb.Fatal(err)
	}
	// Where nobody has subscribed, the emulator drops what is published.
	if _, err := client.SubscriptionAdminClient.CreateSubscription(tb.Context(), &pubsubpb.Subscription{Name: "projects/" + project + "/subscriptions/" + id, Topic: topic}); err != nil {
		tb.Fatal(err)
	}
}

// fannedOut is what publishing the jobs of a batch came to.
type fannedOut struct {
	cost
	seconds float64
	lists   int // calls to the Directory
}

// run has a new process fan out a batch for n users.
func (f *fanOut) run(tb testing.TB, n int) (got fannedOut) {
	tb.Helper()
	f.ran++
	process := startFunction(tb, "function", append(f.env, "FUNCTION_TARGET=FanOut")...)
	f.populate(tb, n)
	began := time.Now()
	body := pushed(fmt.Appendf(nil, `{"id":"%s",%s}`, f.id(), letterBatch), "")
	for more := true; more; more = f.status(tb, n) {
		if err := send(tb.Context(), &http.Client{}, process.url, body, "Content-Type", "application/json"); err != nil {
			tb.Fatal(err)
		}
		body = pushed([]byte("{}"), f.id())
	}
	got.seconds = time.Since(began).Seconds()
	getJSON(tb, process.costURL, &got.cost)
	got.lists = f.lists(tb)
	return got
}

func (f *fanOut) id() string { return "bench-" + strconv.Itoa(f.ran) }

// status looks at the batch for n users, all of whom are to have their jobs.
func (f *fanOut) status(tb testing.TB, n int) (more bool) {
	tb.Helper()
	s, err := f.batches.Status(tb.Context(), f.id())
	if err != nil {
		tb.Fatal(err)
	}
	if !s.Publishing && (s.Published != n || s.Enumerated != n || s.Remaining != n-f.done || s.Counts.Succeeded != f.done) {
		tb.Fatalf("%+v", s.Summary)
	}
	return s.Publishing
}

// settle has the jobs of the first n users be done.
func (f *fanOut) settle(tb testing.TB, n int) {
	tb.Helper()
	for i := range n {
		id := f.id() + "/" + listed(i)
		c, err := f.ledger.Claim(tb.Context(), id, ledger.Terms{Until: time.Now().Add(time.Minute), Batch: f.id()})
		if err == nil {
			err = f.ledger.Settle(tb.Context(), c, jobresults.Result{Job: id, Batch: f.id(), User: listed(i), Status: jobresults.Succeeded})
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	f.done += n
}

// letterBatch is what a batch asks for, but for its id.
const letterBatch = `"name":"bench","targets":{"all":true},"job":{"action":"gmail.users.messages.insert","message":{"compose":{
	"from":"Welcome <welcome@example.com>","to":["{{.User.PrimaryEmail}}"],"subject":"Welcome, {{.User.Name.GivenName}}",
	"text":"Hello {{.User.Name.FullName}},\n\nit is good that you are here. Whatever you need, ask whom you meet.\n"}}}`

// letterJob is the job that becomes of it for the nth user.
func letterJob(n int) []byte {
	return fmt.Appendf(nil, `{"id":"bench-1/%[1]s","user":"%[1]s","action":"gmail.users.messages.insert","message":{"compose":{"from":"Welcome \u003cwelcome@example.com\u003e","to":["%[1]s"],`+
		`"subject":"Welcome, User","text":"Hello User %[2]d,\n\nit is good that you are here. Whatever you need, ask whom you meet.\n"}}}`, listed(n), n)
}

// pushed is a delivery of Pub/Sub's, which has FanOut go on with a batch where it names one.
func pushed(data []byte, goOn string) []byte {
	attributes := ""
	if goOn != "" {
		attributes = fmt.Sprintf(`"attributes":{"continue":%q},`, goOn)
	}
	return fmt.Appendf(nil, `{"message":{%s"data":%q,"messageId":"1","publishTime":"2026-11-21T12:00:00Z"},"subscription":"projects/onbehalf-sandbox/subscriptions/s"}`,
		attributes, base64.StdEncoding.EncodeToString(data))
}

// bare has a loop publish n messages like those of a batch, and gives how many it does
// a second.
func (f *fanOut) bare(tb testing.TB, n int) (rate float64) {
	tb.Helper()
	process := startFunction(tb, "publisher", append(f.env, "FUNCTION_TARGET=Publisher")...)
	began := time.Now()
	if err := send(tb.Context(), &http.Client{}, process.url, []byte(strconv.Itoa(n))); err != nil {
		tb.Fatal(err)
	}
	return float64(n) / time.Since(began).Seconds()
}

// servePublisher is the process of the bare loop.
func servePublisher() error {
	frameworkfunctions.HTTP("Publisher", func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err == nil {
			err = publishBare(r.Context(), data)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	return serveFunction()
}

// mostAhead is how many messages the bare loop has on their way: more are of no use.
const mostAhead = 4 * usersAPage

// publishBare publishes prepared messages with the settings that FanOut has.
func publishBare(ctx context.Context, count []byte) error {
	n, err := strconv.Atoi(string(count))
	if err != nil {
		return err
	}
	to, err := pubsubio.NewPublisher(ctx, sandbox.DefaultWorld().Project, "onbehalf-jobs", 5*time.Millisecond)
	if err != nil {
		return err
	}
	messages := make([]batch.Message, usersAPage)
	for i := range messages {
		messages[i] = batch.Message{Data: letterJob(i), Place: batch.Place{Batch: "bench-1", Round: 1, Page: 1000}}
	}
	attributes := messages[0].Attributes()
	waits := make([]func(context.Context) error, 0, n)
	for i := range n {
		waits = append(waits, to.Begin(ctx, messages[i%len(messages)].Data, attributes))
		if i >= mostAhead {
			if err := waits[i-mostAhead](ctx); err != nil {
				return err
			}
			waits[i-mostAhead] = nil
		}
	}
	for _, wait := range waits[max(0, n-mostAhead):] {
		if err := wait(ctx); err != nil {
			return err
		}
	}
	return to.Close()
}

// organisation is the sandbox, but for its list of users: those are made when they are
// asked for, and so are as many as one wants.
type organisation struct {
	http.Handler
	users, lists atomic.Int64
}

// The paths of the benchmark's own.
const (
	populationPath = "/_bench/users" // takes how many users there are
	listsPath      = "/_bench/lists" // gives how often they were listed since
	usersPath      = "/admin.googleapis.com/admin/directory/v1/users"
)

func (o *organisation) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case populationPath:
		var n int64
		if err := json.NewDecoder(r.Body).Decode(&n); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
		o.users.Store(n)
		o.lists.Store(0)
	case listsPath:
		_ = json.NewEncoder(w).Encode(o.lists.Load())
	case usersPath:
		o.lists.Add(1)
		o.list(w, r)
	default:
		o.Handler.ServeHTTP(w, r)
	}
}

// list answers as the Directory does, with the fields that it was asked for.
func (o *organisation) list(w http.ResponseWriter, r *http.Request) {
	from, _ := strconv.Atoi(r.URL.Query().Get("pageToken")) // there is none at first
	all := int(o.users.Load())
	to := min(from+usersAPage, all)
	var out bytes.Buffer
	out.WriteString(`{"users":[`)
	for n := from; n < to; n++ {
		if n > from {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, `{"primaryEmail":%q,"name":{"givenName":"User","familyName":"%[2]d","fullName":"User %[2]d"},"isAdmin":false,"isDelegatedAdmin":false,"suspended":false,"archived":false,"isMailboxSetup":true}`, listed(n), n)
	}
	out.WriteByte(']')
	if to < all {
		fmt.Fprintf(&out, `,"nextPageToken":"%d"`, to)
	}
	out.WriteByte('}')
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(out.Bytes())
}

// listed is the nth user of the organisation.
func listed(n int) string { return fmt.Sprintf("user%07d@example.com", n) }

func (g google) populate(tb testing.TB, n int) {
	tb.Helper()
	if err := send(tb.Context(), &http.Client{}, g.url+populationPath, []byte(strconv.Itoa(n))); err != nil {
		tb.Fatal(err)
	}
}

func (g google) lists(tb testing.TB) (n int) {
	tb.Helper()
	getJSON(tb, g.url+listsPath, &n)
	return n
}
