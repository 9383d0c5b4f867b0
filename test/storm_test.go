package test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
	"github.com/onbehalf-dev/onbehalf/test/storm"
)

// Ten thousand jobs for ten users arrive at once, which is twice what Gmail allows in a
// minute: half of them is done now and half is sent away once, until the minute is over.
// Gmail refuses none.
func TestTenThousandJobsAtOnce(t *testing.T) {
	t.Parallel()
	const limit = 12_500
	s := storm.Storm{Users: 10, Jobs: 10_000, AtOnce: 80, Again: storm.AsTold}
	google, results, env := weather(t, s.Users, sandbox.Quota{GmailUnitsPerUser: limit, GmailConcurrentPerUser: 10})
	f := serve(t, append(env, "ONBEHALF_GMAIL_UNITS_PER_USER="+strconv.Itoa(limit))...)
	s.URL = f.URL
	tally, err := s.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	best := s.Best(limit)
	t.Logf("%v, %.2f of the %v that the quota allows; answers %v; sent away once, twice …: %v", tally.Took, tally.Took.Seconds()/best.Seconds(), best, tally.Statuses, tally.Away)

	for call, n := range google.Calls() {
		if strings.HasSuffix(call, ".refused") {
			t.Errorf("Gmail refused %s %d times", call, n)
		}
	}
	if kinds := slices.Sorted(maps.Keys(tally.Statuses)); !slices.Equal(kinds, []int{http.StatusOK, http.StatusTooManyRequests}) {
		t.Errorf("answers %v; want 200 and 429 alone", tally.Statuses)
	}
	// Half of them cannot be served before the minute is over. On a busy machine some are
	// late at their time, and stand behind others then.
	for times, most := range map[int]int{1: s.Jobs / 2, 2: s.Jobs / 100, 3: 0} {
		if n := tally.SentAway(times); n > most {
			t.Errorf("%d jobs were sent away %d times; at most %d need to be", n, times, most)
		}
	}
	checkLetters(t, google, s)
	checkResults(t, results, s)
}

// weather is a Google with users of a storm and a topic for the results, and what the
// function's environment says of both.
func weather(t *testing.T, users int, q sandbox.Quota) (*sandbox.Server, *pstest.Server, []string) {
	t.Helper()
	world := sandbox.DefaultWorld()
	world.Users, world.Groups, world.Quota = nil, nil, q
	for n := range users {
		world.Users = append(world.Users, sandbox.User{PrimaryEmail: storm.User(n)})
	}
	google, err := sandbox.New(world, sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(google)
	t.Cleanup(server.Close)
	pubsub := pstest.NewServer()
	t.Cleanup(func() { _ = pubsub.Close() })
	if _, err := pubsub.GServer.CreateTopic(t.Context(), &pubsubpb.Topic{Name: "projects/" + world.Project + "/topics/onbehalf-results"}); err != nil {
		t.Fatal(err)
	}
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, policy, policyText)
	return google, pubsub, []string{
		"ONBEHALF_POLICY=" + policy, "PUBSUB_EMULATOR_HOST=" + pubsub.Addr,
		"ONBEHALF_SANDBOX=" + server.URL, "GCE_METADATA_HOST=" + strings.TrimPrefix(server.URL, "http://"),
	}
}

// checkLetters wants one letter of each job, in its user's mailbox.
func checkLetters(t *testing.T, google *sandbox.Server, s storm.Storm) {
	t.Helper()
	where := map[string]string{}
	for n := range s.Users {
		for _, l := range google.Letters(storm.User(n)) {
			m, err := mail.ReadMessage(bytes.NewReader(l.Raw))
			if err != nil {
				t.Fatal(err)
			}
			id := m.Header.Get("Subject")
			if where[id] != "" {
				t.Errorf("%s has a second letter", id)
			}
			where[id] = storm.User(n)
		}
	}
	for n := range s.Jobs {
		if id := storm.ID(n); where[id] != storm.User(n%s.Users) {
			t.Errorf("the letter of %s is in the mailbox of %q", id, where[id])
		}
	}
}

// checkResults wants one result of each job, that it succeeded.
func checkResults(t *testing.T, pubsub *pstest.Server, s storm.Storm) {
	t.Helper()
	results := map[string]int{}
	for _, m := range pubsub.Messages() {
		var r jobs.Result
		if err := json.Unmarshal(m.Data, &r); err != nil || r.Status != jobs.Succeeded {
			t.Errorf("result %s, %v", m.Data, err)
		}
		results[r.Job]++
	}
	for n := range s.Jobs {
		if id := storm.ID(n); results[id] != 1 {
			t.Errorf("%s has %d results", id, results[id])
		}
	}
}
