package test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

const policyText = "domains: [example.com]\nactions: [gmail.users.messages.insert]\n"

// An event posted to the binary that the buildpack would build leads to the
// letter in the mailbox and the result on the topic, with Google's own Pub/Sub
// emulator, for a letter of each kind.
func TestFromEventToMailboxToResult(t *testing.T) {
	t.Parallel()
	emulator := pubsubEmulator(t)
	world := sandbox.DefaultWorld()
	world.Secrets = map[string][]byte{"projects/" + world.Project + "/secrets/policy/versions/3": []byte(policyText)}
	google, err := sandbox.New(world, sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(google)
	t.Cleanup(server.Close)
	results := resultsOf(t, world.Project, "system-results")
	f := serve(t, "ONBEHALF_POLICY=sm://"+world.Project+"/policy/3", "ONBEHALF_RESULTS_TOPIC=system-results",
		"PUBSUB_EMULATOR_HOST="+emulator, "ONBEHALF_SANDBOX="+server.URL, "GCE_METADATA_HOST="+strings.TrimPrefix(server.URL, "http://"),
		"GOOGLE_SDK_GO_LOGGING_LEVEL=debug", "GODEBUG=http2debug=0") // Google's libraries then log all they send

	files, err := filepath.Glob("../cmd/onbehalf/testdata/letters/*.eml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d letters, %v", len(files), err)
	}
	for i, file := range files {
		letter, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if status := post(t, f.URL, fmt.Sprint(i), map[string]any{
			"id": filepath.Base(file), "user": "ada@example.com", "action": "gmail.users.messages.insert",
			"message": map[string]any{"raw": base64.URLEncoding.EncodeToString(letter)},
		}); status != http.StatusOK {
			t.Fatalf("%s: HTTP %d\n%s", file, status, f.logs())
		}
		stored := google.Letters("ada@example.com")[i].Raw
		if header, same := bytes.CutSuffix(stored, letter); !same || (len(header) > 0) != (filepath.Base(file) == "no-message-id.eml") {
			t.Errorf("%s was stored as %q", file, stored)
		}
	}
	byJob := make(map[string]jobs.Result)
	for _, m := range receive(t, results, len(files)) {
		var r jobs.Result
		if err := json.Unmarshal(m.Data, &r); err != nil {
			t.Fatal(err)
		}
		if m.Attributes["job"] != r.Job || m.Attributes["status"] != "succeeded" || m.Attributes["action"] != "gmail.users.messages.insert" {
			t.Errorf("attributes %v", m.Attributes)
		}
		byJob[r.Job] = r
	}
	if len(byJob) != len(files) {
		t.Errorf("results of %d jobs; want %d", len(byJob), len(files))
	}
	if calls := google.Calls(); calls["signJwt"] != 1 || calls["token"] != 1 || calls["token.withAuthorization"] != 0 || calls["secretmanager.versions.access"] != 1 {
		t.Errorf("calls %v", calls)
	}
	logs := f.end(t)
	for _, secret := range google.Secrets() {
		if strings.Contains(logs, secret) {
			t.Error("a token or assertion is in the log")
		}
	}
	if strings.Contains(logs, "Dear Ada") || strings.Count(logs, `"message":"attempt"`) != len(files) {
		t.Errorf("a letter is in the log, or not one line for each attempt:\n%s", logs)
	}
}

// post delivers one event to the function, as Eventarc does, and gives the
// HTTP status of its answer.
func post(t *testing.T, url, messageID string, job any) int {
	t.Helper()
	data, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{
		"subscription": "projects/p/subscriptions/eventarc-s", "deliveryAttempt": 1,
		"message": map[string]any{"data": data, "messageId": messageID, "publishTime": "2026-11-21T12:00:00Z"},
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Ce-Id": messageID, "Ce-Specversion": "1.0", "Ce-Time": "2026-11-21T12:00:00Z",
		"Ce-Type": "google.cloud.pubsub.topic.v1.messagePublished", "Ce-Source": "//pubsub.googleapis.com/projects/p/topics/onbehalf-jobs",
	} {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

// resultsOf makes a topic for results at the emulator, and a subscription to it.
func resultsOf(t *testing.T, project, id string) *pubsub.Subscriber {
	t.Helper()
	client := pubsubClient(t, project)
	topic := "projects/" + project + "/topics/" + id
	if _, err := client.TopicAdminClient.CreateTopic(t.Context(), &pubsubpb.Topic{Name: topic}); err != nil {
		t.Fatal(err)
	}
	name := "projects/" + project + "/subscriptions/" + id
	if _, err := client.SubscriptionAdminClient.CreateSubscription(t.Context(), &pubsubpb.Subscription{Name: name, Topic: topic}); err != nil {
		t.Fatal(err)
	}
	return client.Subscriber(name)
}

// receive takes n messages.
func receive(t *testing.T, s *pubsub.Subscriber, n int) []*pubsub.Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTime)
	defer cancel()
	messages := make(chan *pubsub.Message, n)
	err := s.Receive(ctx, func(_ context.Context, m *pubsub.Message) {
		m.Ack()
		select {
		case messages <- m:
		default:
		}
		if len(messages) == n {
			cancel()
		}
	})
	if err != nil || len(messages) != n {
		t.Fatalf("%d messages, %v; want %d", len(messages), err, n)
	}
	close(messages)
	var list []*pubsub.Message
	for m := range messages {
		list = append(list, m)
	}
	return list
}

// The emulator's own push subscription is served as Eventarc's events are.
func TestPushSubscriptionOfTheEmulator(t *testing.T) {
	t.Parallel()
	emulator := pubsubEmulator(t)
	foreign := newForeign(t)
	f := serve(t, foreign.env(t, emulator, "push-results")...)
	results := resultsOf(t, foreignProject, "push-results")
	client := pubsubClient(t, foreignProject)
	topic := "projects/" + foreignProject + "/topics/push-jobs"
	if _, err := client.TopicAdminClient.CreateTopic(t.Context(), &pubsubpb.Topic{Name: topic}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.SubscriptionAdminClient.CreateSubscription(t.Context(), &pubsubpb.Subscription{
		Name: "projects/" + foreignProject + "/subscriptions/push-jobs", Topic: topic,
		PushConfig: &pubsubpb.PushConfig{PushEndpoint: f.URL},
	}); err != nil {
		t.Fatal(err)
	}
	publisher := client.Publisher(topic)
	defer publisher.Stop()
	job := `{"user": "ada@example.com", "action": "gmail.users.messages.insert", "message": {"raw": "` + base64.RawURLEncoding.EncodeToString([]byte(foreignLetter)) + `"}}`
	id, err := publisher.Publish(t.Context(), &pubsub.Message{Data: []byte(job)}).Get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var r jobs.Result
	if err := json.Unmarshal(receive(t, results, 1)[0].Data, &r); err != nil || r.Status != jobs.Succeeded || r.Job != id {
		t.Errorf("result %+v, %v; want job %s succeeded\n%s", r, err, id, f.logs())
	}
}

// A server that is not ours serves under ONBEHALF_SANDBOX and GCE_METADATA_HOST
// as well: the function depends on Google's ways, not on the sandbox's.
func TestAForeignServer(t *testing.T) {
	t.Parallel()
	emulator := pubsubEmulator(t)
	foreign := newForeign(t)
	results := resultsOf(t, foreignProject, "foreign-results")
	f := serve(t, foreign.env(t, emulator, "foreign-results")...)
	job := map[string]any{
		"id": "foreign/ada@example.com", "user": "ada@example.com", "action": "gmail.users.messages.insert",
		"params": map[string]any{"internalDateSource": "dateHeader"}, "body": map[string]any{"labelIds": []string{"INBOX"}},
		"message": map[string]any{"raw": base64.RawURLEncoding.EncodeToString([]byte(foreignLetter))},
	}
	if status := post(t, f.URL, "1", job); status != http.StatusOK {
		t.Fatalf("HTTP %d\n%s", status, f.logs())
	}
	var r jobs.Result
	if err := json.Unmarshal(receive(t, results, 1)[0].Data, &r); err != nil {
		t.Fatal(err)
	}
	if r.Status != jobs.Succeeded || r.Batch != "foreign" || string(r.Response) != `{"id":"f1","threadId":"f2"}` {
		t.Errorf("result %+v %s", r, r.Response)
	}
	want := []string{"signJwt as Bearer machine", "token with head.claims.sign", `insert as Bearer ada's internalDateSource=dateHeader {"labelIds":["INBOX"]} message/rfc822 ` + foreignLetter}
	if got := foreign.seen(); !slices.Equal(got, want) {
		t.Errorf("the foreign server saw\n%q; want\n%q", got, want)
	}
}

const (
	foreignProject = "foreign-project"
	foreignAccount = "sa@foreign-project.iam.gserviceaccount.com"
	foreignLetter  = "Message-ID: <f@example.com>\r\nSubject: s\r\n\r\nb\r\n"
)

// Told to end, the function finishes the call that it has in hand, and takes no
// other: broken off, the call would be made again elsewhere.
func TestSIGTERMInTheCall(t *testing.T) {
	t.Parallel()
	emulator := pubsubEmulator(t)
	foreign := newForeign(t)
	foreign.hold = make(chan struct{})
	results := resultsOf(t, foreignProject, "sigterm-results")
	f := serve(t, foreign.env(t, emulator, "sigterm-results")...)
	job := map[string]any{
		"id": "j", "user": "ada@example.com", "action": "gmail.users.messages.insert",
		"message": map[string]any{"raw": base64.RawURLEncoding.EncodeToString([]byte(foreignLetter))},
	}
	answered := make(chan int)
	go func() { answered <- post(t, f.URL, "1", job) }()
	for range 3 { // signJwt, token, insert
		<-foreign.asked
	}
	if err := f.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for post(t, f.URL, "2", map[string]any{}) != http.StatusServiceUnavailable { // until the signal has arrived
	}
	close(foreign.hold)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("HTTP %d", status)
	}
	<-f.done
	if exit := f.cmd.ProcessState.ExitCode(); exit != 0 {
		t.Errorf("exit status %d", exit)
	}
	for _, m := range receive(t, results, 1) {
		if m.Attributes["job"] == "j" && m.Attributes["status"] != "succeeded" {
			t.Errorf("result %s", m.Data)
		}
	}
}

// foreign is a Google of the fewest words. What it is asked goes to asked.
type foreign struct {
	url   string
	asked chan string
	hold  chan struct{} // unless nil, inserts wait until it is closed
}

func newForeign(t *testing.T) *foreign {
	t.Helper()
	f := &foreign{asked: make(chan string, 100)}
	server := httptest.NewServer(f.mux())
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func (f *foreign) env(t *testing.T, emulator, topic string) []string {
	t.Helper()
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, policy, policyText)
	return []string{
		"ONBEHALF_POLICY=" + policy, "ONBEHALF_RESULTS_TOPIC=" + topic, "PUBSUB_EMULATOR_HOST=" + emulator,
		"ONBEHALF_SANDBOX=" + f.url + "/", "GCE_METADATA_HOST=" + strings.TrimPrefix(f.url, "http://"),
	}
}

func (f *foreign) seen() []string {
	var list []string
	for len(f.asked) > 0 {
		list = append(list, <-f.asked)
	}
	return list
}

func (f *foreign) mux() *http.ServeMux {
	m := http.NewServeMux()
	answer := func(pattern, text string, note func(*http.Request) string) {
		m.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if note != nil {
				f.asked <- note(r)
			}
			if f.hold != nil && strings.Contains(pattern, "/messages") {
				<-f.hold
			}
			w.Header().Set("Metadata-Flavor", "Google")
			_, _ = io.WriteString(w, text)
		})
	}
	answer("GET /computeMetadata/v1/project/project-id", foreignProject, nil)
	answer("GET /computeMetadata/v1/universe/universe-domain", "googleapis.com", nil)
	answer("GET /computeMetadata/v1/instance/service-accounts/default/email", foreignAccount, nil)
	answer("GET /computeMetadata/v1/instance/service-accounts/default/token", `{"access_token":"machine","expires_in":3599,"token_type":"Bearer"}`, nil)
	answer("POST /iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"+foreignAccount+":signJwt", `{"signedJwt":"head.claims.sign"}`, func(r *http.Request) string {
		return "signJwt as " + r.Header.Get("Authorization")
	})
	answer("POST /oauth2.googleapis.com/token", `{"access_token":"ada's","expires_in":3599,"token_type":"Bearer"}`, func(r *http.Request) string {
		return "token with " + r.FormValue("assertion") + r.Header.Get("Authorization")
	})
	answer("POST /gmail.googleapis.com/upload/gmail/v1/users/me/messages", `{"id":"f1","threadId":"f2"}`, func(r *http.Request) string {
		return "insert as " + r.Header.Get("Authorization") + " internalDateSource=" + r.URL.Query().Get("internalDateSource") + " " + uploaded(r)
	})
	return m
}

// uploaded reads a multipart upload with the standard library: its JSON, and the
// type and bytes of its media.
func uploaded(r *http.Request) string {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return err.Error()
	}
	parts := multipart.NewReader(r.Body, params["boundary"])
	var said []string
	for {
		part, err := parts.NextRawPart()
		if err != nil {
			return strings.Join(said, " ")
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return err.Error()
		}
		if part.Header.Get("Content-Type") == "application/json" {
			content = bytes.TrimSpace(content)
		} else {
			said = append(said, part.Header.Get("Content-Type"))
		}
		said = append(said, string(content))
	}
}
