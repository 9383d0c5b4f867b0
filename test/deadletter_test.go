package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// shop is a Workspace, a topic of results, and a ledger for several functions.
type shop struct {
	google  *sandbox.Server
	world   sandbox.World
	results *pubsub.Subscriber
	ledger  string
	env     []string
}

func newShop(t *testing.T, topic string) *shop {
	t.Helper()
	emulator := pubsubEmulator(t)
	s := &shop{world: sandbox.DefaultWorld(), ledger: filepath.Join(t.TempDir(), "ledger")}
	s.world.Project = topic // of its own, for the emulator is shared
	var err error
	if s.google, err = sandbox.New(s.world, sandbox.Options{}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s.google)
	t.Cleanup(server.Close)
	s.results = resultsOf(t, s.world.Project, topic)
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, policy, policyText)
	s.env = []string{
		"ONBEHALF_POLICY=" + policy, "ONBEHALF_RESULTS_TOPIC=" + topic, "ONBEHALF_LEDGER=file:" + s.ledger,
		"PUBSUB_EMULATOR_HOST=" + emulator, "ONBEHALF_SANDBOX=" + server.URL, "GCE_METADATA_HOST=" + strings.TrimPrefix(server.URL, "http://"),
	}
	return s
}

// function starts one of the entry points.
func (s *shop) function(t *testing.T, name string) *served {
	t.Helper()
	return serve(t, append([]string{"FUNCTION_TARGET=" + name}, s.env...)...)
}

// result takes the next one from the topic.
func (s *shop) result(t *testing.T) jobs.Result {
	t.Helper()
	var r jobs.Result
	if err := json.Unmarshal(receive(t, s.results, 1)[0].Data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// older makes what is known of the job's call an hour older: so long nobody waits.
func (s *shop) older(t *testing.T, id string) {
	t.Helper()
	l, err := ledger.OpenFile(s.ledger)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	older(t, l, id)
}

func older(t *testing.T, l ledger.Ledger, id string) {
	t.Helper()
	c, err := l.Claim(t.Context(), id, ledger.Terms{Until: time.Now().Add(time.Minute), Early: true})
	if err != nil || c.Doubt.IsZero() {
		t.Fatalf("%+v, %v; want a doubt", c, err)
	}
	if err := l.Release(t.Context(), c, ledger.PutOff{Doubt: c.Doubt.Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
}

func letterJob(id string) map[string]any {
	job := map[string]any{
		"user": "ada@example.com", "action": "gmail.users.messages.insert",
		"message": map[string]any{"compose": map[string]any{"to": []string{"ada@example.com"}, "subject": "s", "text": "t"}},
	}
	if id != "" {
		job["id"] = id
	}
	return job
}

// What Pub/Sub gave up ends by what the ledger knows, which both functions share.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	s := newShop(t, "dead-letters")
	execute, dead := s.function(t, "Execute"), s.function(t, "DeadLetter")
	expect := func(job any, status jobs.Status, says string) {
		t.Helper()
		if code := post(t, dead.URL, "900", job); code != http.StatusOK {
			t.Fatalf("HTTP %d\n%s", code, dead.logs())
		}
		if r := s.result(t); r.Status != status || says != "" && !strings.Contains(r.Error.Message, says) {
			t.Errorf("%+v %+v", r, r.Error)
		}
	}
	expect(letterJob("never"), jobs.Failed, "No attempt has said why")
	expect(letterJob(""), jobs.Uncertain, "is not known")
	expect(map[string]any{"id": "wrong", "user": "ada@example.com"}, jobs.Failed, "action")

	if code := post(t, execute.URL, "1", letterJob("done")); code != http.StatusOK {
		t.Fatalf("HTTP %d\n%s", code, execute.logs())
	}
	first := s.result(t)
	expect(letterJob("done"), jobs.Succeeded, "")
	if first.Status != jobs.Succeeded {
		t.Errorf("%+v", first)
	}

	if err := s.google.Order(sandbox.Fault{Kind: "429", Call: "gmail.*", Times: 1, RetryAfter: "3600"}); err != nil {
		t.Fatal(err)
	}
	if code := post(t, execute.URL, "2", letterJob("put off")); code != http.StatusTooManyRequests {
		t.Fatalf("HTTP %d\n%s", code, execute.logs())
	}
	expect(letterJob("put off"), jobs.Failed, "The last time: ")
	if code := post(t, execute.URL, "2", letterJob("put off")); code != http.StatusOK || s.result(t).Status != jobs.Failed {
		t.Errorf("a late delivery: HTTP %d", code)
	}
	if n := len(s.google.Letters("ada@example.com")); n != 1 {
		t.Errorf("%d letters, want 1", n)
	}
	if logs := dead.end(t); !strings.Contains(logs, `"entryPoint":"DeadLetter"`) || strings.Count(logs, `"message":"attempt"`) != 5 {
		t.Errorf("log %s", logs)
	}
}

// A ledger in which nothing can stand is pointed at.
func TestADeadLetterNeedsALedger(t *testing.T) {
	t.Parallel()
	const nobody = "127.0.0.1:1"
	for ledger, aloud := range map[string]bool{"memory": true, "file:" + filepath.Join(t.TempDir(), "ledger"): false} {
		logs := serve(t, "FUNCTION_TARGET=DeadLetter", "ONBEHALF_LEDGER="+ledger, "GOOGLE_CLOUD_PROJECT=served-test", "ONBEHALF_SERVICE_ACCOUNT=onbehalf@served-test.iam.gserviceaccount.com",
			"GCE_METADATA_HOST="+nobody, "PUBSUB_EMULATOR_HOST="+nobody, "ONBEHALF_SANDBOX=http://"+nobody).end(t)
		if strings.Contains(logs, "set ONBEHALF_LEDGER to the one of Execute") != aloud {
			t.Errorf("%s: %s", ledger, logs)
		}
	}
}

// A job whose answer was lost, and which Pub/Sub then gives up, is looked up.
func TestADeadLetterInDoubt(t *testing.T) {
	t.Parallel()
	s := newShop(t, "dead-doubt")
	execute, dead := s.function(t, "Execute"), s.function(t, "DeadLetter")
	if err := s.google.Order(sandbox.Fault{Kind: "lost", Call: "gmail.*", Times: 1}); err != nil {
		t.Fatal(err)
	}
	if code := post(t, execute.URL, "1", letterJob("j")); code != http.StatusServiceUnavailable {
		t.Fatalf("HTTP %d\n%s", code, execute.logs())
	}
	if code := post(t, dead.URL, "900", letterJob("j")); code != http.StatusTooManyRequests {
		t.Fatalf("too soon: HTTP %d\n%s", code, dead.logs())
	}
	s.older(t, "j")
	if code := post(t, dead.URL, "900", letterJob("j")); code != http.StatusOK {
		t.Fatalf("HTTP %d\n%s", code, dead.logs())
	}
	letters := s.google.Letters("ada@example.com")
	if r := s.result(t); r.Status != jobs.Succeeded || len(letters) != 1 || !strings.Contains(string(r.Response), letters[0].ID) {
		t.Errorf("%+v %+v, %d letters", r, r.Error, len(letters))
	}
}

// Told to end in a call that takes too long, the function breaks it off, within the
// time that Cloud Run gives it; the next instance finds out what came of it.
func TestSIGTERMInALongCall(t *testing.T) {
	t.Parallel()
	s := newShop(t, "sigterm-long")
	f := s.function(t, "Execute")
	if err := s.google.Order(sandbox.Fault{Kind: "late", Delay: time.Hour, Call: "gmail.*", Times: 1}); err != nil {
		t.Fatal(err)
	}
	answered := make(chan int)
	go func() { answered <- post(t, f.URL, "1", letterJob("j")) }()
	for len(s.google.Letters("ada@example.com")) == 0 { // the effect has taken place
		runtime.Gosched()
	}
	told := time.Now()
	if err := f.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := <-answered; code != http.StatusServiceUnavailable {
		t.Errorf("HTTP %d\n%s", code, f.logs())
	}
	<-f.done
	if took := time.Since(told); took > 10*time.Second || f.cmd.ProcessState.ExitCode() != 0 {
		t.Errorf("it ended after %v with %d", took, f.cmd.ProcessState.ExitCode())
	}
	s.older(t, "j")
	next := s.function(t, "Execute")
	if code := post(t, next.URL, "1", letterJob("j")); code != http.StatusOK {
		t.Errorf("then HTTP %d\n%s", code, next.logs())
	}
	if r := s.result(t); r.Status != jobs.Succeeded || len(s.google.Letters("ada@example.com")) != 1 {
		t.Errorf("%+v %+v", r, r.Error)
	}
}

// Pub/Sub's own dead-letter policy leads from a job that no delivery settles to its
// failed result.
func TestTheEmulatorsDeadLetterPolicy(t *testing.T) {
	t.Parallel()
	s := newShop(t, "dead-policy")
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	t.Cleanup(busy.Close)
	dead := s.function(t, "DeadLetter")
	client := pubsubClient(t, s.world.Project)
	path := func(kind, id string) string { return fmt.Sprintf("projects/%s/%s/%s", s.world.Project, kind, id) }
	for _, id := range []string{"onbehalf-jobs", "onbehalf-dead-letters"} {
		if _, err := client.TopicAdminClient.CreateTopic(t.Context(), &pubsubpb.Topic{Name: path("topics", id)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, sub := range []*pubsubpb.Subscription{
		{Name: path("subscriptions", "dead"), Topic: path("topics", "onbehalf-dead-letters"), PushConfig: &pubsubpb.PushConfig{PushEndpoint: dead.URL}},
		{
			Name: path("subscriptions", "jobs"), Topic: path("topics", "onbehalf-jobs"), PushConfig: &pubsubpb.PushConfig{PushEndpoint: busy.URL},
			DeadLetterPolicy: &pubsubpb.DeadLetterPolicy{DeadLetterTopic: path("topics", "onbehalf-dead-letters"), MaxDeliveryAttempts: 5},
			RetryPolicy:      &pubsubpb.RetryPolicy{MinimumBackoff: durationpb.New(time.Millisecond), MaximumBackoff: durationpb.New(time.Millisecond)},
		},
	} {
		if _, err := client.SubscriptionAdminClient.CreateSubscription(t.Context(), sub); err != nil {
			t.Fatal(err)
		}
	}
	data, err := json.Marshal(letterJob("j"))
	if err != nil {
		t.Fatal(err)
	}
	publisher := client.Publisher(path("topics", "onbehalf-jobs"))
	defer publisher.Stop()
	if _, err := publisher.Publish(t.Context(), &pubsub.Message{Data: data}).Get(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := s.result(t); r.Status != jobs.Failed || r.Job != "j" || r.Error.Reason != "givenUp" || !strings.Contains(r.Error.Message, "5 times") {
		t.Errorf("%+v %+v", r, r.Error)
	}
}
