package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

const (
	deadProject = "dead-project"
	jobsPath    = "projects/" + deadProject + "/topics/onbehalf-jobs"
	deadTopic   = "projects/" + deadProject + "/topics/onbehalf-dead-letters"
)

// deadRig is a Pub/Sub with dead letters, and the ledger of the functions.
type deadRig struct {
	pubsub *pstest.Server
	ledger ledger.Ledger
}

func newDeadRig(t *testing.T) *deadRig {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ledger")
	kept, err := ledger.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := &deadRig{pstest.NewServer(), kept}
	t.Cleanup(func() { _ = r.pubsub.Close(); _ = kept.Close() })
	for _, name := range []string{deadTopic, jobsPath} {
		if _, err := r.pubsub.GServer.CreateTopic(t.Context(), &pubsubpb.Topic{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.pubsub.GServer.CreateSubscription(t.Context(), &pubsubpb.Subscription{
		Name: "projects/" + deadProject + "/subscriptions/onbehalf-dead-letters", Topic: deadTopic, AckDeadlineSeconds: 10,
	}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PUBSUB_EMULATOR_HOST", r.pubsub.Addr)
	t.Setenv("GOOGLE_CLOUD_PROJECT", deadProject)
	t.Setenv("ONBEHALF_LEDGER", "file:"+path)
	return r
}

// job is a job of that id; fields go on in it.
func deadJob(id, fields string) string {
	return fmt.Sprintf(`{"id":%q,"user":"ada@example.com","action":"gmail.users.labels.create","body":{"name":"Bills"}%s}`, id, fields)
}

// dies puts a message on the dead-letter topic, as Pub/Sub does.
func (r *deadRig) dies(data string) (messageID string) {
	return r.pubsub.Publish(deadTopic, []byte(data), map[string]string{
		"source": "crm", "CloudPubSubDeadLetterSourceDeliveryCount": "5", "CloudPubSubDeadLetterSourceSubscription": "s",
		"CloudPubSubDeadLetterSourceSubscriptionProject": deadProject, "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-11-21T11:00:00.000+00:00",
	})
}

// ended settles the job with a result of that status.
func (r *deadRig) ended(t *testing.T, id string, status jobs.Status) {
	t.Helper()
	claim, err := r.ledger.Claim(t.Context(), id, ledger.Terms{Until: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	result := jobs.Result{Job: id, Status: status, FinishedAt: finished}
	if !status.Good() {
		result.Error = &jobs.Error{Stage: jobs.StageSettle, Fault: jobs.FaultOperator, Reason: "givenUp", Message: "m"}
	}
	if err := r.ledger.Settle(t.Context(), claim, result); err != nil {
		t.Fatal(err)
	}
}

var finished = time.UnixMilli(1700000000123).UTC()

// published are the jobs on the topic of jobs by their ids, with how often each is there.
func (r *deadRig) published(t *testing.T) map[string]int {
	t.Helper()
	ids := map[string]int{}
	for _, m := range r.pubsub.Messages() {
		if m.Topic != jobsPath {
			continue
		}
		job, err := jobs.Decode(m.Data, "")
		if err != nil {
			t.Fatal(err)
		}
		ids[job.ID]++
		if !maps.Equal(m.Attributes, map[string]string{"source": "crm"}) {
			t.Errorf("%s has the attributes %v", job.ID, m.Attributes)
		}
	}
	return ids
}

// left are the ids of the dead letters that are there, or else their messages'.
func (r *deadRig) left(t *testing.T) []string {
	t.Helper()
	out, said, exit := command(t, "deadletter", "list", "--json", "--wait", "600ms")
	if exit != exitOK {
		t.Fatalf("exit status %d: %s", exit, said)
	}
	ids := []string{}
	for line := range strings.Lines(out) {
		var row struct{ Job, MessageID string }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, row.Job)
	}
	slices.Sort(ids)
	return ids
}

// every kind of dead letter that there is.
func (r *deadRig) all(t *testing.T) {
	t.Helper()
	for _, status := range []jobs.Status{jobs.Failed, jobs.Refused, jobs.Expired, jobs.Succeeded, jobs.Uncertain} {
		r.dies(deadJob(string(status), ""))
		r.ended(t, string(status), status)
	}
	r.dies(deadJob("new", ""))
	r.dies(deadJob("waits", ""))
	claim, err := r.ledger.Claim(t.Context(), "waits", ledger.Terms{Until: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.ledger.Release(t.Context(), claim, ledger.PutOff{NotBefore: time.Now().Add(time.Hour), Why: &jobs.Error{Reason: "inDoubt"}}); err != nil {
		t.Fatal(err)
	}
	r.dies(strings.Replace(deadJob("x", ""), `"id":"x",`, "", 1))
	r.dies("hello\x1b[2J")
	r.dies(deadJob("b/ada@example.com", `,"dryRun":true`))
}

func TestDeadLetterList(t *testing.T) {
	r := newDeadRig(t)
	r.all(t)
	for range 2 { // they stay
		out, said, exit := command(t, "deadletter", "list", "--wait", "600ms")
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if exit != exitOK || said != "" || len(lines) != 11 {
			t.Fatalf("exit status %d, %d lines: %s%s", exit, len(lines), out, said)
		}
		for _, line := range [][2]string{
			{"JOB", "RESULT"},
			{"failed", "failed: givenUp"},
			{"succeeded", "succeeded"},
			{"uncertain", "uncertain: givenUp"},
			{"new", "none"},
			{"waits", "none: inDoubt"},
			{"b/ada@example.com", "none"},
			{"(message m", "is no job: the job is not valid JSON at byte 0"},
			{"(message m", "has no id of its own"},
		} {
			if !slices.ContainsFunc(lines, func(s string) bool { return strings.HasPrefix(s, line[0]) && strings.HasSuffix(s, "  "+line[1]) }) {
				t.Errorf("no line from %q to %q in\n%s", line[0], line[1], out)
			}
		}
		if !strings.Contains(out, "ada@example.com  gmail.users.labels.create  5          2026-11-21T11:00:00Z") || strings.Contains(out, "\x1b") {
			t.Error(out)
		}
	}
	out, said, exit := command(t, "deadletter", "list", "--limit", "3", "--json")
	if exit != exitOK || strings.Count(out, "\n") != 3 || !strings.Contains(said, "there may be more") {
		t.Errorf("exit status %d: %s%s", exit, out, said)
	}
	t.Setenv("ONBEHALF_LEDGER", "")
	if out, said, exit := command(t, "deadletter", "list", "--json", "--wait", "600ms"); exit != exitOK || !strings.Contains(said, "ONBEHALF_LEDGER is memory") || strings.Contains(out, "status") {
		t.Errorf("with no ledger: exit status %d: %s%s", exit, out, said)
	}
}

func TestDeadLetterJSON(t *testing.T) {
	r := newDeadRig(t)
	id := r.dies(deadJob("failed", ""))
	r.ended(t, "failed", jobs.Failed)
	want := `{"job":"failed","messageId":"` + id + `","user":"ada@example.com","action":"gmail.users.labels.create","deliveries":5,"publishedAt":"2026-11-21T11:00:00Z","status":"failed","reason":"givenUp"}` + "\n"
	if out, said, _ := command(t, "deadletter", "list", "--json", "--wait", "600ms"); out != want {
		t.Errorf("%s%s; want %s", out, said, want)
	}
	want = strings.TrimSuffix(want, "}\n") + `,"done":"publishedAnew","publishedAs":"failed~1700000000123","why":"it had failed"}` + "\n"
	if out, said, _ := command(t, "deadletter", "redrive", "--all", "--json", "--wait", "600ms"); out != want {
		t.Errorf("%s%s; want %s", out, said, want)
	}
}

// What became of a job decides what is done with its dead letter.
func TestRedrive(t *testing.T) {
	const n = "~1700000000123"
	r := newDeadRig(t)
	r.all(t)
	all := r.left(t)
	for _, line := range []string{
		"failed: would be published as failed" + n + ": it had failed\n", "succeeded: would be taken away: it has succeeded\n", "new: would be published once more: it has no result\n",
		"uncertain: would be left there: nobody knows whether it took effect",
	} {
		if out, said, exit := command(t, "deadletter", "redrive", "--all", "--dry-run", "--wait", "600ms"); exit != exitSomeFailed || !strings.Contains(out, line) || !strings.Contains(said, "6 published, 1 removed, 3 left (dry run: nothing was done)") {
			t.Errorf("exit status %d: %s%s; want %s", exit, out, said, line)
		}
	}
	if !slices.Equal(r.left(t), all) || len(r.published(t)) != 0 {
		t.Errorf("a dry run left %q, published %v", r.left(t), r.published(t))
	}
	out, said, exit := command(t, "deadletter", "redrive", "--all", "--wait", "600ms")
	if exit != exitSomeFailed || !strings.Contains(said, "6 published, 1 removed, 3 left") || !strings.Contains(out, "it has no id of its own; so nobody knows") || !strings.Contains(out, "correct it") {
		t.Errorf("exit status %d: %s%s", exit, out, said)
	}
	want := map[string]int{"failed" + n: 1, "refused" + n: 1, "expired" + n: 1, "new": 1, "waits": 1, "b/ada@example.com": 1}
	if got := r.published(t); !maps.Equal(got, want) {
		t.Errorf("published %v, want %v", got, want)
	}
	if got := r.left(t); !slices.Equal(got, []string{"", "", "uncertain"}) {
		t.Errorf("%q are left", got)
	}
	if out, said, exit := command(t, "deadletter", "redrive", "uncertain", "--uncertain", "--wait", "600ms"); exit != exitOK || r.published(t)["uncertain"+n] != 1 {
		t.Errorf("exit status %d: %s%s", exit, out, said)
	}
	if out, said, exit := command(t, "deadletter", "redrive", "uncertain", "hello", "--wait", "600ms"); exit != exitSomeFailed || out != "" || !strings.Contains(said, `there is no dead letter now of ["uncertain" "hello"]`) {
		t.Errorf("what is not there: exit status %d: %s%s", exit, out, said)
	}
}

// What has failed in a batch is the batch's to do again: done again beside it, it would be
// done twice by a retry, and counted twice.
func TestRedriveOfABatch(t *testing.T) {
	r := newDeadRig(t)
	died := func(user string, status jobs.Status) (id string) {
		t.Helper()
		id = "b/" + user
		r.pubsub.Publish(deadTopic, []byte(strings.Replace(deadJob(id, ""), "ada@example.com", user, 1)), map[string]string{"batch": "b", "round": "1", "page": "0"})
		if status != "" {
			r.ended(t, id, status)
		}
		return id
	}
	for _, status := range []jobs.Status{jobs.Failed, jobs.Expired, jobs.Uncertain, jobs.Cancelled, jobs.Succeeded, ""} {
		died("u-"+string(status)+"@example.com", status)
	}
	if err := r.ledger.Supersede(t.Context(), died("retried@example.com", jobs.Failed), "b/retried@example.com~2"); err != nil {
		t.Fatal(err)
	}
	out, said, exit := command(t, "deadletter", "redrive", "--all", "--uncertain", "--wait", "600ms")
	if exit != exitSomeFailed || !strings.Contains(said, "1 published, 3 removed, 3 left") {
		t.Errorf("exit status %d: %s%s", exit, out, said)
	}
	for _, line := range []string{
		"b/u-failed@example.com: left there: it had failed, and its batch does it again: onbehalf batch retry b\n",
		"b/u-uncertain@example.com: left there: nobody knows whether it took effect: look whether the effect is there; if it is not, its batch does it again: onbehalf batch retry b --uncertain\n",
		"b/u-cancelled@example.com: taken away: its batch was cancelled\n", "b/retried@example.com: taken away: its batch has started it again, as b/retried@example.com~2\n",
	} {
		if !strings.Contains(out, line) {
			t.Errorf("%s; want %s", out, line)
		}
	}
	for _, m := range r.pubsub.Messages() {
		if job, _ := jobs.Decode(m.Data, ""); m.Topic == jobsPath && (job.ID != "b/u-@example.com" || m.Attributes["batch"] != "b" || m.Attributes["round"] != "1") {
			t.Errorf("%s is published, with %v", job.ID, m.Attributes)
		}
	}
}

// Whoever is interrupted between publishing and taking away, or finds one job twice,
// publishes the same id again, which the ledger does once.
func TestRedriveTwice(t *testing.T) {
	r := newDeadRig(t)
	r.ended(t, "b/ada@example.com", jobs.Failed)
	r.ended(t, "b/ada@example.com~17", jobs.Failed)
	for range 2 {
		r.dies(deadJob("b/ada@example.com", ""))
		r.dies(deadJob("b/ada@example.com~17", "")) // a try that failed, too
		r.dies(deadJob("new", ""))
	}
	if out, said, exit := command(t, "deadletter", "redrive", "--all", "--wait", "600ms"); exit != exitOK {
		t.Errorf("exit status %d: %s%s", exit, out, said)
	}
	if got := r.published(t); !maps.Equal(got, map[string]int{"b/ada@example.com~1700000000123": 4, "new": 2}) {
		t.Errorf("published %v", got)
	}
	if left := r.left(t); len(left) != 0 {
		t.Errorf("%q are left", left)
	}
}

// What cannot be published stays, and who must act is told.
func TestRedriveWithoutTheTopic(t *testing.T) {
	r := newDeadRig(t)
	r.dies(deadJob("new", ""))
	if _, err := r.pubsub.GServer.DeleteTopic(t.Context(), &pubsubpb.DeleteTopicRequest{Topic: jobsPath}); err != nil {
		t.Fatal(err)
	}
	if _, said, exit := command(t, "deadletter", "redrive", "--all", "--wait", "600ms"); exit != exitStopped || !strings.Contains(said, "there is no topic onbehalf-jobs in dead-project") {
		t.Errorf("exit status %d: %s", exit, said)
	}
	if left := r.left(t); !slices.Equal(left, []string{"new"}) {
		t.Errorf("%q are left", left)
	}
}

func TestRedriveIsInterrupted(t *testing.T) {
	newDeadRig(t).dies(deadJob("new", ""))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, said, exit := commandIn(ctx, "deadletter", "redrive", "--all"); exit != exitInterrupted || !strings.Contains(said, "interrupted") {
		t.Errorf("exit status %d: %s", exit, said)
	}
}

func TestDeadLettersThatCannotBeRead(t *testing.T) {
	newDeadRig(t)
	for _, command := range []string{"list", "redrive --all"} {
		for name, c := range map[string]struct {
			env, args string
			exit      int
			says      string
		}{
			"no subscription":    {"", "--subscription none", exitStopped, "gcloud pubsub subscriptions create none --topic=onbehalf-dead-letters --project=dead-project"},
			"a path":             {"", "--subscription projects/p/subscriptions/s", exitUsage, "--subscription: \"projects/p/subscriptions/s\" is not accepted; a subscription's id"},
			"no time":            {"", "--wait 0s", exitUsage, "--wait: 0s is not accepted; 1ms to 1m are"},
			"no such ledger":     {"ONBEHALF_LEDGER=file:/none/ledger", "", exitUsage, "ledger: There is no folder /none"},
			"a wrong ledger":     {"ONBEHALF_LEDGER=paper", "", exitUsage, "ONBEHALF_LEDGER: \"paper\" is not accepted"},
			"nobody answers":     {"PUBSUB_EMULATOR_HOST=127.0.0.1:1", "", exitSomeFailed, "no emulator of Pub/Sub answers at \"127.0.0.1:1\""},
			"a sandbox's letter": {"ONBEHALF_SANDBOX=http://127.0.0.1:1 PUBSUB_EMULATOR_HOST=", "", exitUsage, "PUBSUB_EMULATOR_HOST: is not set, but ONBEHALF_SANDBOX is"},
		} {
			t.Run(command+" "+name, func(t *testing.T) {
				for _, setting := range strings.Fields(c.env) {
					name, value, _ := strings.Cut(setting, "=")
					t.Setenv(name, value)
				}
				args := append([]string{"deadletter"}, strings.Fields(command+" "+c.args)...)
				if _, said, exit := commandIn(t.Context(), args...); exit != c.exit || !strings.Contains(said, c.says) {
					t.Errorf("exit status %d, want %d: %s", exit, c.exit, said)
				}
			})
		}
	}
}

func TestRedriveRefuses(t *testing.T) {
	newDeadRig(t)
	t.Setenv("ONBEHALF_LEDGER", "memory")
	for args, says := range map[string]string{
		"redrive":             "either ids of jobs are needed, or --all",
		"redrive --all":       "ONBEHALF_LEDGER: is memory, of which nothing is seen from here",
		"redrive a":           "ONBEHALF_LEDGER: is memory, of which nothing is seen from here",
		"redrive a --all":     "either ids of jobs are needed, or --all",
		"list --limit 0":      "--limit: 0 is not accepted; 1 to 10000 are",
		"list --limit 100000": "--limit: 100000 is not accepted; 1 to 10000 are",
		"revive":              `deadletter: ["revive"] is not accepted; list and redrive are`,
	} {
		if _, said, exit := command(t, append([]string{"deadletter"}, strings.Fields(args)...)...); exit != exitUsage || !strings.Contains(said, says) {
			t.Errorf("%s: exit status %d: %s", args, exit, said)
		}
	}
}
