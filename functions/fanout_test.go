package functions_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

const listUsers = "directory.users.list"

// together does something so many times at once.
func together(n int, do func()) {
	var all sync.WaitGroup
	for range n {
		all.Go(do)
	}
	all.Wait()
}

// Whatever is delivered twice, and whoever works at the same time: everybody is served
// once, and the end is told once.
func TestABatchDeliveredAgainAndAgain(t *testing.T) {
	f := newFleet(t, many)
	f.jobs.copies = 3
	f.join()
	together(3, func() {
		if o := f.fanOut(letters); o.Answer != functions.Done {
			t.Errorf("%+v %+v", o, o.Result.Error)
		}
	})
	together(2, func() {
		f.others[0].FanOut(t.Context(), pubsubio.Message{ID: "c", Attributes: map[string]string{"continue": "letter"}})
	})
	f.deliver(-1)
	together(4, f.sweep)
	f.wantState(batch.Completed)
	f.wantOnce()
	f.wantCounts(jobs.Counts{Succeeded: len(f.users)})
	f.wantSummaries(1)
	if s := f.status(); s.PassedOver["suspended"] != 1 || s.PassedOver["archived"] != 1 || s.PassedOver["noMailbox"] != 1 || s.PassedOver["excluded"] != 1 || s.Enumerated != len(f.users)+4 {
		t.Errorf("%+v", s.Summary)
	}
	f.quiet(func() {
		f.start(letters)
		if o := f.continueBatch("letter"); o.Answer != functions.Done {
			t.Errorf("%+v", o)
		}
		f.deliver(-1)
		f.sweep()
	})
	f.wantSummaries(1)
	if n := len(f.jobs.count); n != len(f.users) {
		t.Errorf("%d jobs were published", n)
	}
}

// The same with a ledger in a file, and instances that share nothing else.
func TestABatchInAFile(t *testing.T) {
	file, err := ledger.OpenFile(filepath.Join(t.TempDir(), "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	f := newFleet(t, 100, func(_ *config.Config, o *functions.Options) { o.Ledger = file })
	f.book, f.jobs.copies = file, 3
	f.join()
	together(2, func() { f.fanOut(letters) })
	f.deliver(100)
	f.must(f.Batches().Pause(t.Context(), "letter"))
	together(2, func() { f.fanOut(letters) })
	f.must(f.Batches().Resume(t.Context(), "letter"))
	f.end(batch.Completed)
	together(2, f.sweep)
	f.wantOnce()
	f.wantCounts(jobs.Counts{Succeeded: len(f.users)})
	f.wantSummaries(1)
}

// Each firing of a schedule is a batch of its own, and the same firing is the same batch.
func TestABatchWithoutAnID(t *testing.T) {
	f := newFleet(t, 0)
	file := strings.Replace(letters, "id: letter\n", "", 1)
	first := time.Date(2026, 11, 22, 7, 20, 49, 0, time.UTC)
	for _, fired := range []time.Time{first, first, first.Add(24 * time.Hour), first} {
		f.FanOut(t.Context(), pubsubio.Message{ID: "b", Data: []byte(file), PublishTime: fired})
	}
	f.deliver(-1)
	f.sweep()
	told := f.results.told()
	slices.SortFunc(told, func(a, b jobs.Summary) int { return strings.Compare(a.Batch, b.Batch) })
	if len(told) != 2 || told[0].Batch != "letter-20261122T072049.000Z" || told[1].Batch != "letter-20261123T072049.000Z" {
		t.Fatalf("%+v", told)
	}
	for user, n := range f.written() {
		if n != 2 {
			t.Errorf("%s has %d letters", user, n)
		}
	}
	if told[0].Counts.Succeeded != len(f.users) || told[1].Counts.Succeeded != len(f.users) {
		t.Errorf("%+v", told)
	}
}

// A dry run does nothing, and keeps nobody from doing it in earnest.
func TestABatchThatRunsDry(t *testing.T) {
	f := newFleet(t, 0)
	f.start(letters + "dryRun: true\n")
	f.deliver(-1)
	f.sweep()
	if told := f.results.told(); len(told) != 1 || told[0].Batch != "letter-dryrun" || told[0].Counts.Previewed != len(f.users) || len(f.written()) != 0 {
		t.Errorf("%d were written to: %+v", len(f.written()), told)
	}
	f.start(letters)
	f.end(batch.Completed)
	f.wantOnce()
	f.wantSummaries(2)
}

// The users whose jobs have failed are the targets of another batch.
func TestABatchOfTheFailuresOfAnother(t *testing.T) {
	f := newFleet(t, 0)
	bad := f.users[1:4]
	f.gmail(false, bad...)
	f.start(letters)
	f.end(batch.Completed)
	f.wantOnce(bad...)
	f.gmail(true, bad...)
	f.start(strings.NewReplacer("id: letter", "id: again", "{all: true}", "{failuresOf: letter}").Replace(letters))
	f.deliver(-1)
	f.sweep()
	told := f.results.told()
	if last := told[len(told)-1]; last.Batch != "again" || last.Counts.Succeeded != len(bad) || last.Published != len(bad) {
		t.Errorf("%+v", told)
	}
	for user, n := range f.written() {
		if n != 1 {
			t.Errorf("%s has %d letters", user, n)
		}
	}
}

// Word of a batch that is not there is not repeated for ever.
func TestABatchThatIsNotThere(t *testing.T) {
	f := newFleet(t, 0)
	if o := f.continueBatch("none"); o.Answer != functions.Done || !strings.Contains(o.Result.Error.Message, "no batch with that id") {
		t.Errorf("%+v %+v", o, o.Result.Error)
	}
	f.wantSummaries(0)
}

// What is wrong is refused before anything is published, and says where it is wrong, once.
func TestWrongBatchesAreRefused(t *testing.T) {
	const job = "job: {action: gmail.users.messages.trash, params: {id: x}}\n"
	for name, c := range map[string]struct{ file, says string }{
		"no YAML":            {"name: [", "the batch "},
		"unknown field":      {"name: n\nid: letter\ntarget: {all: true}\n" + job, "line 3: target: "},
		"two targets":        {"name: n\nid: letter\ntargets: {all: true, query: x}\n" + job, "line 3: targets.query: "},
		"missing field":      {"name: n\nid: letter\ntargets: {all: true}\njob:\n  action: gmail.users.messages.trash\n  params: {id: '{{.User.Nme}}'}\n", "line 6: job.params.id: "},
		"unknown method":     {"name: n\nid: letter\ntargets: {all: true}\njob:\n  action: gmail.users.messages.trsh\n", "line 5: job.action: "},
		"not of the policy":  {"name: n\nid: letter\ntargets: {all: true}\njob:\n  action: gmail.users.labels.list\n", "line 5: job.action: "},
		"unknown parameter":  {"name: n\nid: letter\ntargets: {all: true}\njob:\n  action: gmail.users.messages.list\n  params: {maxResults: 3, colour: red}\n", "line 6: job.params.colour: "},
		"wrong for all":      {"name: n\nid: letter\ntargets: {all: true}\njob:\n  action: gmail.users.messages.trash\n  params: {id: '{{index .User.Phones 7}}'}\n", "line 6: job.params.id: "},
		"wrong when made":    {"name: n\nid: letter\ntargets: {all: true}\njob:\n  action: gmail.users.messages.list\n  params:\n    maxResults: '{{.User.PrimaryEmail}}'\n", "line 7: job.params.maxResults: "},
		"outside the policy": {"name: n\nid: letter\ntargets:\n  users:\n  - ada@example.com\n  - eve@example.org\n" + job, "line 6: targets.users[1]: "},
		"its time is up":     {"name: n\nid: letter\nnotAfter: 2026-01-01T00:00:00Z\ntargets: {all: true}\n" + job, "line 3: notAfter: "},
		"no such group":      {"name: n\nid: letter\ntargets: {group: none@example.com}\n" + job, "line 3: targets.group: "},
		"no such unit":       {"name: n\nid: letter\ntargets: {orgUnit: /None}\n" + job, "line 3: targets.orgUnit: "},
		"no such file":       {"name: n\nid: letter\ntargets: {csv: gs://letters/none.csv}\n" + job, "line 3: targets.csv: "},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFleet(t, 0)
			for range 2 {
				o := f.fanOut(c.file)
				if e := o.Result.Error; o.Answer != functions.Done || e == nil || e.Fault != jobs.FaultJob || !strings.Contains(e.Message, c.says) || !strings.Contains(e.Fix, "start it anew") {
					t.Errorf("%+v %+v", o, e)
				}
			}
			if len(f.jobs.count) != 0 {
				t.Errorf("published: %v", f.jobs.count)
			}
			told := f.results.told()
			if len(told) == 0 || told[0].State != string(batch.Refused) || told[0].Error == nil || !strings.Contains(told[0].Error.Message, c.says) {
				t.Fatalf("%+v", told)
			}
			if told[0].Batch == "letter" && len(told) != 1 {
				t.Errorf("%d summaries", len(told))
			}
			f.sweep()
			f.goOn()
			if len(f.jobs.count) != 0 {
				t.Errorf("published by Sweep: %v", f.jobs.count)
			}
		})
	}
}

// A batch that was refused may be started again under its id, mended or where it is not the
// batch that was wrong.
func TestARefusedBatchIsMended(t *testing.T) {
	f := newFleet(t, 0)
	f.must(f.google.Order(sandbox.Fault{Row: "A19", Call: listUsers, Times: 1}))
	for i, file := range []string{letters, strings.Replace(letters, "insert", "insrt", 1), letters + "canry: 1\n"} {
		if o := f.fanOut(file); o.Result.Error == nil {
			t.Fatalf("%+v", o)
		}
		told := f.results.told()
		if len(told) != i+1 || told[i].State != string(batch.Refused) {
			t.Fatalf("%+v", told)
		}
		if s := f.status(); i < 2 && s.Error.Message != told[i].Error.Message { // of the last nobody can tell the id
			t.Errorf("%+v", s.Error)
		}
	}
	f.start(letters)
	f.end(batch.Completed)
	f.wantOnce()
	f.wantSummaries(4)
}

// Another batch of the same id is none of the one that runs.
func TestAnIdThatIsTaken(t *testing.T) {
	f := newFleet(t, 0)
	f.start(letters)
	o := f.fanOut(letters + "canary: 1\n")
	if e := o.Result.Error; o.Answer != functions.Done || !strings.Contains(e.Message, "line 2: id: ") || !strings.Contains(e.Message, "the id of another batch") {
		t.Errorf("%+v", e)
	}
	if told := f.results.told(); len(told) != 1 || told[0].State != string(batch.Refused) {
		t.Errorf("%+v", told)
	}
	f.end(batch.Completed)
	f.wantOnce()
	f.wantSummaries(2)
}

// A Directory that cannot be read as the administrator whom the settings name has the
// batch refused, or where it has begun, stopped; and says what to do.
func TestTheDirectoryCannotBeReadForABatch(t *testing.T) {
	t.Run("at the start", func(t *testing.T) {
		f := newFleet(t, 0, func(cfg *config.Config, _ *functions.Options) { cfg.Admin = "grace@example.com" })
		o := f.fanOut(letters)
		if e := o.Result.Error; o.Answer != functions.Done || e.Fault != jobs.FaultOperator || !strings.Contains(e.Message, "grace@example.com is not an administrator") || !strings.Contains(e.Fix, "start the batch anew") || strings.Contains(e.Fix, "publish the job") {
			t.Errorf("%+v %+v", o, e)
		}
		if told := f.results.told(); len(told) != 1 || told[0].State != string(batch.Refused) || len(f.jobs.count) != 0 {
			t.Errorf("%+v", told)
		}
	})
	t.Run("in the middle", func(t *testing.T) {
		f := newFleet(t, many) // more than are listed ahead
		f.jobs.breaks = brokenFrom(1, true)
		if o := f.fanOut(letters); o.Answer != functions.Again {
			t.Fatalf("%+v", o)
		}
		f.jobs.breaks = nil
		f.must(f.google.Order(sandbox.Fault{Row: "A19", Call: listUsers}))
		if o := f.continueBatch("letter"); o.Answer != functions.Done {
			t.Fatalf("%+v", o)
		}
		s := f.wantState(batch.Stopped)
		if e := s.Error; e.Fault != jobs.FaultOperator || !strings.Contains(e.Message, "could not be read in the Directory as admin@example.com, whom ONBEHALF_ADMIN names") || !strings.Contains(e.Fix, "onbehalf batch resume letter") || strings.Contains(e.Fix, "under a new id") {
			t.Errorf("%+v", e)
		}
		f.quiet(func() { f.deliver(-1) })
		f.google.ClearFaults()
		f.must(f.Batches().Resume(t.Context(), "letter"))
		f.end(batch.Completed)
		f.wantOnce()
		f.wantSummaries(1)
	})
}

// The right to read the Directory that is taken away stops a batch; given back, an instance
// that remembers the refusal does not stop it again.
func TestTheRightToReadTheDirectoryIsTakenAway(t *testing.T) {
	f := newFleet(t, many)
	f.jobs.breaks = brokenFrom(1, false)
	if o := f.fanOut(letters); o.Answer != functions.Again {
		t.Fatalf("%+v", o)
	}
	f.jobs.breaks = nil
	f.delegated(`["https://www.googleapis.com/auth/gmail.insert"]`)
	f.must(f.google.Order(sandbox.Fault{Kind: "expireTokens", Call: listUsers}))
	if o := f.continueBatch("letter"); o.Answer != functions.Done {
		t.Fatalf("%+v", o)
	}
	if e := f.wantState(batch.Stopped).Error; e.Fault != jobs.FaultAdmin || !strings.Contains(e.Fix, "admin.directory.user.readonly") || !strings.Contains(e.Fix, "onbehalf batch resume letter") {
		t.Errorf("%+v", e)
	}
	f.google.ClearFaults()
	f.delegated(`["https://www.googleapis.com/auth/gmail.insert", "https://www.googleapis.com/auth/admin.directory.user.readonly"]`)
	f.must(f.Batches().Resume(t.Context(), "letter"))
	if o := f.continueBatch("letter"); o.Answer != functions.Again {
		t.Errorf("%+v", o)
	}
	f.wantState(batch.Running)
	f.rig, f.others = f.join(), nil
	f.end(batch.Completed)
	f.wantOnce()
	f.wantSummaries(1)
}

// A Directory that is away has the message come again.
func TestTheDirectoryIsAwayForABatch(t *testing.T) {
	f := newFleet(t, many)
	away := sandbox.Fault{Kind: "5xx", Call: listUsers, RetryAfter: "100"} // for which nobody waits
	f.must(f.google.Order(away))
	if o := f.fanOut(letters); o.Answer != functions.Again || len(f.results.told()) != 0 {
		t.Fatalf("%+v", o)
	}
	f.google.ClearFaults()
	f.jobs.breaks = brokenFrom(1, false)
	f.fanOut(letters)
	f.jobs.breaks = nil
	f.must(f.google.Order(away))
	if o := f.continueBatch("letter"); o.Answer != functions.Again {
		t.Fatalf("%+v", o)
	}
	f.wantState(batch.Running)
	f.google.ClearFaults()
	f.continueBatch("letter")
	f.end(batch.Completed)
	f.wantOnce()
	f.wantSummaries(1)
}

// Whether somebody is an administrator is known from the list: nobody is asked for, one
// by one, and administrators are passed over.
func TestABatchProtectsAdministrators(t *testing.T) {
	f := newFleet(t, many, func(_ *config.Config, o *functions.Options) {
		yes := true
		o.Policy.ProtectAdmins = &yes
	})
	admins := f.users[300:310]
	for _, user := range admins {
		f.control(http.MethodPatch, "users/"+user, `{"isDelegatedAdmin": true}`)
	}
	file := strings.Replace(letters, "exclude: [admin@example.com]\n", "", 1)
	f.start(file)
	f.end(batch.Completed)
	f.wantOnce(admins...)
	s := f.status()
	if s.PassedOver["policy"] != len(admins)+1 || s.Counts.Refused != 0 {
		t.Errorf("%+v", s.Summary)
	}
	passed := 0
	f.must(f.Batches().PassedOver(t.Context(), "letter", func(p batch.PassedOver) bool {
		if p.Reason == "policy" && strings.Contains(p.Message, p.User+" is an administrator, and the policy protects those") {
			passed++
		}
		return true
	}))
	if passed != len(admins)+1 {
		t.Errorf("%d administrators are named", passed)
	}
	pages := (s.Enumerated + 499) / 500
	if lists, gets := f.google.Calls()[listUsers], f.google.Calls()[lookUp]; lists != pages || gets > pages/100 {
		t.Errorf("%d lists and %d look-ups for %d users", lists, gets, s.Enumerated)
	}
}

// The same, of templates that need no more of a user than the address, and of users who
// are named.
func TestABatchProtectsAdministratorsByAddress(t *testing.T) {
	f := newFleet(t, 0, func(_ *config.Config, o *functions.Options) {
		yes := true
		o.Policy = &policy.Policy{Domains: []string{"example.com"}, Actions: []string{"gmail.*"}, ProtectAdmins: &yes}
	})
	for i, targets := range []string{"all: true", "users: [ada@example.com, admin@example.com]", "group: engineers@example.com"} {
		f.google.ResetCalls()
		f.start(fmt.Sprintf("name: l\nid: l%d\ntargets: {%s}\njob: {action: gmail.users.labels.list}\n", i, targets))
		found := f.google.Calls()[lookUp]
		f.deliver(-1)
		if asked := f.google.Calls()[lookUp]; asked != found || f.google.Calls()["gmail.users.labels.list"] == 0 {
			t.Errorf("%s: %d look-ups while the jobs are done", targets, asked-found)
		}
	}
	for _, r := range f.results.all() {
		if r.Status != jobs.Succeeded {
			t.Errorf("%+v %+v", r, r.Error)
		}
	}
}
