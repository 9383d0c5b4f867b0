package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

const batchesPath = "projects/" + deadProject + "/topics/onbehalf-batches"

// batchRig is a deadRig with a topic of batches.
func newBatchRig(t *testing.T) *deadRig {
	t.Helper()
	r := newDeadRig(t)
	if _, err := r.pubsub.GServer.CreateTopic(t.Context(), &pubsubpb.Topic{Name: batchesPath}); err != nil {
		t.Fatal(err)
	}
	return r
}

// toFanOut is what was published to the topic of batches since the last time.
func (r *deadRig) toFanOut() (data []string, attributes []map[string]string) {
	for _, m := range r.pubsub.Messages() {
		if m.Topic == batchesPath {
			data, attributes = append(data, string(m.Data)), append(attributes, m.Attributes)
		}
	}
	if len(data) > 0 { // otherwise one that comes just now would be lost
		r.pubsub.ClearMessages()
	}
	return data, attributes
}

// file writes a file, and gives its path.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ran runs the command, which must end so.
func ran(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, exit := command(t, args...)
	if exit != want {
		t.Fatalf("%s: exit status %d; want %d\n%s\n%s", args, exit, want, stdout, stderr)
	}
	return stdout, stderr
}

const fewSignatures = `# A comment stays where it is.
name: few
targets: {users: [ada@example.com, nobody@example.com]}
job:
  action: gmail.users.settings.sendAs.patch
  params: {sendAsEmail: "{{.User.PrimaryEmail}}"}
  body: {signature: x}`

// A batch is published as its author wrote it, with the id that is printed: its own, or
// its name and the time.
func TestBatchIsStarted(t *testing.T) {
	r := newBatchRig(t)
	json := `{"name": "few", "targets": {"users": ["ada@example.com"]}, "job": {"action": "gmail.users.getProfile"}}`
	for name, c := range map[string]struct{ file, text, id, published string }{
		"yaml":            {"few.yaml", fewSignatures, "", fewSignatures + "\nid: %s\n"},
		"with an end":     {"few.yaml", fewSignatures + "\n...\n", "", ""},
		"json":            {"few.json", json, "", `{"id": "%s", ` + json[1:]},
		"with an id":      {"few.yaml", fewSignatures + "\nid: mine-7", "mine-7", fewSignatures + "\nid: mine-7"},
		"dry run":         {"few.yaml", fewSignatures + "\ndryRun: true", "", fewSignatures + "\ndryRun: true\nid: %s\n"},
		"dry, with an id": {"few.yaml", fewSignatures + "\ndryRun: true\nid: mine", "mine-dryrun", fewSignatures + "\ndryRun: true\nid: mine"},
	} {
		t.Run(name, func(t *testing.T) {
			out, said := ran(t, exitOK, "batch", "start", file(t, c.file, c.text))
			data, attributes := r.toFanOut()
			if len(data) != 1 || len(attributes[0]) > 0 || said != "" {
				t.Fatalf("published %q with %v: %s", data, attributes, said)
			}
			b, err := jobs.DecodeBatch([]byte(data[0]))
			if err != nil {
				t.Fatal(err)
			}
			id := strings.TrimSuffix(out, "\n")
			if b.ID == "" || b.NameAt(time.Time{}) != id || c.id != "" && id != c.id {
				t.Errorf("it has the id %q, and %q is printed", b.ID, out)
			}
			if want := strings.Replace(c.published, "%s", b.ID, 1); c.published != "" && data[0] != want {
				t.Errorf("published %q; want %q", data[0], want)
			}
		})
	}
}

// What has a batch go on is told to FanOut, and what has it stand still is not.
func TestBatchIsSteered(t *testing.T) {
	r := newBatchRig(t)
	_, path, _ := strings.Cut(os.Getenv("ONBEHALF_LEDGER"), ":")
	text := fewSignatures + "\nid: few-1\ncanary: 1\n"
	text = strings.Replace(text, "[ada@example.com, nobody@example.com]", "[sam.suspended@example.com, ada@example.com]", 1) + "include: [suspended]\n"
	ran(t, exitSomeFailed, "run", "--sandbox", "--ledger", path, file(t, "few.yaml", text))
	for _, step := range []struct {
		args  []string
		exit  int
		says  string
		tells bool
	}{
		{[]string{"status", "few-1"}, exitSomeFailed, "few-1 is stopped.", false},
		{[]string{"pause", "few-1"}, exitUsage, "batch few-1 is stopped, and cannot be paused; one that is running can", false},
		{[]string{"resume", "few-1"}, exitOK, "few-1 is running.", true},
		{[]string{"resume", "few-1"}, exitOK, "few-1 is running.", false},
		{[]string{"pause", "few-1"}, exitOK, "few-1 is paused.\n  Have it go on: onbehalf batch resume few-1\n", false},
		{[]string{"retry", "few-1", "--json"}, exitOK, `"state":"running"`, true},
		{[]string{"cancel", "few-1"}, exitOK, "few-1 is cancelling.", true},
		{[]string{"cancel", "few-1"}, exitOK, "few-1 is cancelling.", false},
		{[]string{"retry", "few-1"}, exitUsage, "batch few-1 is cancelling, and cannot be retried", false},
		{[]string{"cancel", "few-2"}, exitUsage, "batch few-2: there is no batch with that id", false},
	} {
		out, said := ran(t, step.exit, append([]string{"batch"}, step.args...)...)
		if !strings.Contains(out+said, step.says) {
			t.Errorf("%s: %s%s", step.args, out, said)
		}
		var want []map[string]string
		if step.tells {
			want = append(want, map[string]string{"continue": "few-1"})
		}
		if _, told := r.toFanOut(); !slices.EqualFunc(told, want, maps.Equal[map[string]string, map[string]string]) {
			t.Errorf("%s: FanOut is told %v", step.args, told)
		}
	}
}

// Where FanOut cannot be told, what was asked for is kept, and one is told so.
func TestBatchGoesOnThoughNobodyCouldBeTold(t *testing.T) {
	newDeadRig(t) // without a topic of batches
	_, path, _ := strings.Cut(os.Getenv("ONBEHALF_LEDGER"), ":")
	text := strings.Replace(fewSignatures, "[ada@example.com, nobody@example.com]", "[sam.suspended@example.com, ada@example.com]", 1) + "\nid: few-1\ncanary: 1\ninclude: [suspended]\n"
	ran(t, exitSomeFailed, "run", "--sandbox", "--ledger", path, file(t, "few.yaml", text))
	out, said := ran(t, exitUsage, "batch", "resume", "few-1")
	if !strings.HasPrefix(out, "few-1 is running.\n") || !strings.Contains(said, "it is kept, and Sweep has the batch worked on within a minute, but FanOut could not be told: publish to ") {
		t.Errorf("%s\n%s", out, said)
	}
	if _, said := ran(t, exitUsage, "batch", "start", file(t, "few.yaml", fewSignatures)); !strings.Contains(said, "the batch is not published: publish to ") {
		t.Error(said)
	}
}

// Who starts a batch can watch it to its end, wherever it is done.
func TestBatchIsWatchedFromItsStart(t *testing.T) {
	r := newBatchRig(t)
	_, path, _ := strings.Cut(os.Getenv("ONBEHALF_LEDGER"), ":")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan string)
	go func() {
		out, said, exit := commandIn(ctx, "batch", "start", file(t, "few.yaml", fewSignatures), "--watch", "--json")
		done <- fmt.Sprint(out, said, exit)
	}()
	var data []string
	for len(data) == 0 && ctx.Err() == nil {
		data, _ = r.toFanOut()
	}
	ran(t, exitOK, "run", "--sandbox", "--ledger", path, file(t, "few.yaml", strings.Join(data, "")))
	watched := <-done
	lines := strings.Split(watched, "\n")
	if !strings.HasPrefix(lines[0], "few-20") || !strings.Contains(lines[len(lines)-2], `"state":"completed"`) || lines[len(lines)-1] != "0" {
		t.Error(watched)
	}
}

// A wrong batch is refused with its file, line and field before anything is published.
func TestWrongBatchesAreNotStarted(t *testing.T) {
	r := newBatchRig(t)
	policy := file(t, "policy.yaml", "domains: [example.com]\nactions: ['gmail.users.settings.*']\n")
	t.Setenv("ONBEHALF_POLICY", policy)
	ok := "name: n\ntargets: {all: true}\njob:\n  action: gmail.users.settings.sendAs.patch\n"
	for name, c := range map[string]struct{ file, text, want string }{
		"unknown field":    {"b.yaml", ok + "canry: 3\n", "b.yaml:5: canry: "},
		"in json":          {"b.json", "{\"name\": \"n\",\n \"targets\": {\"al\": true},\n \"job\": {\"action\": \"gmail.users.getProfile\"}}", "b.json:2: targets.al: "},
		"no YAML":          {"b.yaml", "name: n\ntargets: {all: true\n", "b.yaml:"},
		"two targets":      {"b.yaml", strings.Replace(ok, "{all: true}", "{all: true, orgUnit: /Sales}", 1), "b.yaml:2: targets.orgUnit: is given beside all"},
		"no targets":       {"b.yaml", strings.Replace(ok, "targets: {all: true}\n", "", 1), "b.yaml:1: targets: is missing"},
		"template":         {"b.yaml", ok + "  body: {signature: '{{.User.Nickname}}'}\n", "b.yaml:5: job.body.signature: "},
		"template's row":   {"b.yaml", ok + "  body: {signature: '{{.Row.Room}}'}\n", "b.yaml:5: job.body.signature: uses .Row.Room"},
		"method":           {"b.yaml", strings.Replace(ok, "sendAs.patch", "sendAs.pach", 1), "b.yaml:4: job.action: is \"gmail.users.settings.sendAs.pach\", which is no method that is known here (did you mean gmail.users.settings.sendAs.patch?)"},
		"user":             {"b.yaml", strings.Replace(ok, "{all: true}", "\n  users:\n  - ada@example.com\n  - bob@example.org", 1), "b.yaml:5: targets.users[1]: is bob@example.org: The policy does not list the domain example.org"},
		"action":           {"b.yaml", strings.Replace(ok, "settings.sendAs.patch", "getProfile", 1), "b.yaml:4: job.action: is refused by the policy: The policy does not allow gmail.users.getProfile."},
		"file here":        {"b.yaml", strings.Replace(ok, "{all: true}", "{csv: people.csv}", 1), "b.yaml:2: targets.csv: is people.csv, a file of this machine, which the functions cannot read"},
		"id of a dry run":  {"b.yaml", ok + "id: x-dryrun\n", "b.yaml:5: id: "},
		"job with a user":  {"b.yaml", ok + "  user: ada@example.com\n", "b.yaml:5: job.user: "},
		"canary":           {"b.yaml", ok + "canary: -1\n", "b.yaml:5: canary: "},
		"same twice":       {"b.yaml", ok + "exclude: [a@example.com,\n  a@example.com]\n", "b.yaml:6: exclude[1]: "},
		"where of nothing": {"b.yaml", ok + "where: sure\n", "b.yaml:5: where: "},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, c.file, c.text)
			out, said := ran(t, exitUsage, "batch", "start", path)
			if said = strings.TrimPrefix(said, filepath.Dir(path)+"/"); !strings.HasPrefix(said, c.want) || out != "" {
				t.Errorf("%s%s", out, said)
			}
			if strings.Contains(c.want, "a file of this machine") || strings.Contains(c.want, "policy") {
				return // run does the first, and says the second as well, with its own settings
			}
			_, said = ran(t, exitUsage, "run", "--sandbox", path)
			if said = strings.TrimPrefix(said, filepath.Dir(path)+"/"); !strings.HasPrefix(said, c.want) {
				t.Error(said)
			}
		})
	}
	if data, _ := r.toFanOut(); len(data) > 0 {
		t.Errorf("published %q", data)
	}
}

// A run of a batch ends with the status that the help text lists.
func TestBatchRunExits(t *testing.T) {
	undelegated := file(t, "undelegated.yaml", `serviceAccounts:
  - email: onbehalf@onbehalf-sandbox.iam.gserviceaccount.com
    delegatedScopes: [https://www.googleapis.com/auth/admin.directory.user.readonly]
    signers: [onbehalf@onbehalf-sandbox.iam.gserviceaccount.com]
`)
	unlisted := file(t, "unlisted.yaml", `serviceAccounts:
  - email: onbehalf@onbehalf-sandbox.iam.gserviceaccount.com
    delegatedScopes: [https://www.googleapis.com/auth/gmail.settings.basic]
    signers: [onbehalf@onbehalf-sandbox.iam.gserviceaccount.com]
`)
	all := strings.Replace(fewSignatures, "{users: [ada@example.com, nobody@example.com]}", "{all: true}", 1)
	for name, c := range map[string]struct {
		text string
		args []string
		want int
		says string
	}{
		"all succeed":         {all, nil, exitOK, "is completed."},
		"one has no mailbox":  {all + "\ninclude: [noMailbox]\n", nil, exitSomeFailed, "1 failed"},
		"too late":            {all + "\nnotAfter: 2020-01-01T00:00:00Z\n", nil, exitUsage, "notAfter: is 2020-01-01T00:00:00Z, which has passed"},
		"not authorized":      {all, []string{"--world", undelegated}, exitStopped, "Nothing is kept of this run, and the same command begins anew; --ledger PATH keeps it."},
		"cannot be listed":    {all, []string{"--world", unlisted}, exitStopped, "the batch cannot be begun: The users of the batch could not be read in the Directory as admin@example.com"},
		"a dry run":           {all, []string{"--dry-run"}, exitOK, "7 previewed"},
		"a dry run by itself": {all + "\ndryRun: true\n", nil, exitOK, "This was a dry run: no call was made."},
		"dry, not authorized": {all, []string{"--dry-run", "--world", undelegated}, exitStopped, "has not authorized"},
	} {
		t.Run(name, func(t *testing.T) {
			_, said := ran(t, c.want, append([]string{"run", "--sandbox", file(t, "few.yaml", c.text)}, c.args...)...)
			if !strings.Contains(said, c.says) {
				t.Error(said)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, said, exit := commandIn(ctx, "run", "--sandbox", file(t, "few.yaml", all)); exit != exitInterrupted {
		t.Errorf("interrupted: exit status %d: %s", exit, said)
	}
}

// A shell completes the ids of batches, and the names of their files.
func TestBatchesAreCompleted(t *testing.T) {
	newBatchRig(t)
	_, path, _ := strings.Cut(os.Getenv("ONBEHALF_LEDGER"), ":")
	ran(t, exitOK, "run", "--sandbox", "--ledger", path, file(t, "few.yaml", fewSignatures+"\nid: few-1\n"))
	for _, verb := range []string{"status", "pause", "resume", "cancel", "retry"} {
		if out, _ := ran(t, exitOK, "__complete", "batch", verb, ""); !strings.HasPrefix(out, "few-1\tcompleted\n:4") {
			t.Errorf("%s: %q", verb, out)
		}
	}
	for _, args := range [][]string{{"batch", "start", ""}, {"run", ""}} {
		if out, _ := ran(t, exitOK, append([]string{"__complete"}, args...)...); !strings.HasPrefix(out, "yaml\nyml\njson\n") {
			t.Errorf("%s: %q", args, out)
		}
	}
}
