package functions_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// many is how many users there are beside those of the default world.
const many = 2000

// some is as many as take three pages, of which none need be listed when the first cannot be published.
const some = 1200

// letters is a batch that writes to everybody: whoever was written to twice has two letters.
const letters = `name: letter
id: letter
targets: {all: true}
exclude: [admin@example.com]
job:
  action: gmail.users.messages.insert
  message: {compose: {from: it@example.com, to: ["{{.User.PrimaryEmail}}"], subject: "For {{.User.Name.FullName}}", text: Hello.}}
`

// atOnce is how many jobs are done at the same time.
const atOnce = 8

// fleet is functions that share a Workspace, a ledger and topics.
type fleet struct {
	*rig
	t      *testing.T
	jobs   *topic
	book   ledger.Ledger
	others []*rig // that do jobs, too
	users  []string
}

// newFleet is one instance in a Workspace with so many users more.
func newFleet(t *testing.T, users int, change ...func(*config.Config, *functions.Options)) *fleet {
	t.Helper()
	f := &fleet{t: t, jobs: newTopic(), book: ledger.NewMemory(0)}
	world := manyUsers(users)
	for _, u := range world.Users {
		if !u.IsAdmin && !u.Suspended && !u.Archived && !u.NoMailbox {
			f.users = append(f.users, u.PrimaryEmail)
		}
	}
	f.rig = setupIn(t, world, append([]func(*config.Config, *functions.Options){func(cfg *config.Config, o *functions.Options) {
		cfg.Admin = "admin@example.com"
		o.Policy = &policy.Policy{Domains: []string{"example.com"}, Actions: []string{"gmail.users.messages.*"}}
		o.Ledger, o.Publish, o.Continue = f.book, f.jobs.publish, f.jobs.goOn
	}}, change...)...)
	return f
}

// join has one more instance do jobs.
func (f *fleet) join() *rig {
	f.t.Helper()
	r := f.another(f.t, func(cfg *config.Config, o *functions.Options) {
		cfg.Admin = "admin@example.com"
		o.Policy = &policy.Policy{Domains: []string{"example.com"}, Actions: []string{"gmail.users.messages.*"}}
		o.Ledger, o.Publish, o.Continue, o.Results = f.book, f.jobs.publish, f.jobs.goOn, f.results
	})
	r.results = f.results
	f.others = append(f.others, r)
	return r
}

// manyUsers is a world of so many users beside those that there are.
func manyUsers(n int) sandbox.World {
	world := sandbox.DefaultWorld()
	for i := range n {
		world.Users = append(world.Users, sandbox.User{PrimaryEmail: fmt.Sprintf("u%05d@example.com", i), GivenName: "User", FamilyName: fmt.Sprint(i)})
	}
	return world
}

// topic is that of jobs, and that of batches.
type topic struct {
	mu     sync.Mutex
	random *rand.Rand
	// copies is how often a message is delivered at most.
	copies int
	// breaks, where set, says whether the messages cannot be published, and whether they are
	// nevertheless.
	breaks func(n int) (published bool, err error)

	queue, nacked []pubsubio.Message
	goOns         []string
	count         map[string]int // of messages, by job
	at            []time.Time    // at which each was published
	ids           int
	news          chan struct{} // that there are messages
}

func newTopic() *topic {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable on purpose
	return &topic{random: random, copies: 1, count: make(map[string]int), news: make(chan struct{}, 1)}
}

func (p *topic) publish(_ context.Context, messages []batch.Message) func(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	published, err := true, error(nil)
	if p.breaks != nil {
		published, err = p.breaks(len(messages))
	}
	if published {
		for _, m := range messages {
			p.add(m)
		}
	}
	return func(context.Context) error { return err }
}

func (p *topic) add(m batch.Message) {
	p.ids++
	p.count[jobOf(m.Data)]++
	msg := pubsubio.Message{ID: fmt.Sprint(p.ids), Data: m.Data, Attributes: m.Attributes(), PublishTime: time.Now()}
	p.at = append(p.at, msg.PublishTime)
	select {
	case p.news <- struct{}{}:
	default:
	}
	for range 1 + p.random.IntN(p.copies) {
		p.queue = append(p.queue, msg)
	}
}

// jobOf is the id of a job.
func jobOf(data []byte) string {
	job, err := jobs.Decode(data, "")
	if err != nil {
		return err.Error()
	}
	return job.ID
}

func (p *topic) goOn(_ context.Context, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.goOns = append(p.goOns, id)
	return nil
}

// take takes so many messages, of any age; negative: all.
func (p *topic) take(n int) []pubsubio.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	var taken []pubsubio.Message
	for n != 0 && len(p.queue) > 0 {
		n--
		i := p.random.IntN(len(p.queue))
		taken = append(taken, p.queue[i])
		p.queue[i] = p.queue[len(p.queue)-1]
		p.queue = p.queue[:len(p.queue)-1]
	}
	return taken
}

// put gives messages back.
func (p *topic) put(messages ...pubsubio.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, messages...)
}

// deliver delivers so many messages, in any order, and again what was not acked, as long
// as that brings anything; negative: all that there are.
func (f *fleet) deliver(n int) {
	for n != 0 {
		some := f.jobs.take(n)
		n -= len(some)
		acked := f.execute(some)
		p := f.jobs
		p.mu.Lock()
		p.queue, p.nacked = append(p.queue, p.nacked...), nil
		p.mu.Unlock()
		if acked == 0 {
			return
		}
	}
}

// execute delivers messages, and tells how many were acked.
func (f *fleet) execute(messages []pubsubio.Message) (acked int) {
	instances := append([]*rig{f.rig}, f.others...)
	var workers sync.WaitGroup
	var mu sync.Mutex
	for worker := range atOnce {
		workers.Go(func() {
			for i := worker; i < len(messages); i += atOnce {
				m := messages[i]
				o := instances[i%len(instances)].Execute(f.t.Context(), m)
				mu.Lock()
				if o.Answer == functions.Done {
					acked++
				} else {
					m.Delivery++
					f.jobs.mu.Lock()
					f.jobs.nacked = append(f.jobs.nacked, m)
					f.jobs.mu.Unlock()
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return acked
}

// start has the batch begun, and worked on as far as that goes.
func (f *fleet) start(file string) {
	f.t.Helper()
	if o := f.fanOut(file); o.Answer != functions.Done {
		f.t.Fatalf("%+v %+v", o, o.Result.Error)
	}
}

// fanOut delivers a batch.
func (f *fleet) fanOut(file string) functions.Outcome {
	return f.FanOut(f.t.Context(), pubsubio.Message{ID: "b", Data: []byte(file), PublishTime: time.Date(2026, 11, 22, 7, 20, 49, 0, time.UTC)})
}

// goOn has the batches worked on that are to be.
func (f *fleet) goOn() {
	f.t.Helper()
	for {
		f.jobs.mu.Lock()
		ids := f.jobs.goOns
		f.jobs.goOns = nil
		f.jobs.mu.Unlock()
		if len(ids) == 0 {
			return
		}
		for _, id := range ids {
			if o := f.continueBatch(id); o.Answer != functions.Done {
				f.t.Fatalf("%+v %+v", o, o.Result.Error)
			}
		}
	}
}

func (f *fleet) continueBatch(id string) functions.Outcome {
	return f.FanOut(f.t.Context(), pubsubio.Message{ID: "c", Attributes: map[string]string{"continue": id}})
}

func (f *fleet) sweep() { f.Sweep(f.t.Context(), pubsubio.Message{ID: "s"}) }

// end has everything done that there is to do, and gives the batch as it is then.
func (f *fleet) end(state batch.State) batch.Status {
	f.t.Helper()
	for range 20 {
		f.goOn()
		f.deliver(-1)
		f.sweep()
		if s := f.status(); s.Ended() {
			break
		}
	}
	return f.wantState(state)
}

// status is how the batch is.
func (f *fleet) status() batch.Status {
	f.t.Helper()
	s, err := f.Batches().Status(f.t.Context(), "letter")
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// wantState wants that the batch is in this state, and that its counts are those of the
// mailboxes: no job has succeeded that has no letter, or the reverse.
func (f *fleet) wantState(state batch.State) batch.Status {
	f.t.Helper()
	s := f.status()
	if s.State != string(state) {
		f.t.Fatalf("it is %s: %+v %+v", s.State, s.Summary, s.Error)
	}
	n := 0
	for _, count := range f.written() {
		n += count
	}
	if s.Counts.Succeeded != n {
		f.t.Errorf("%d letters, and %+v", n, s.Counts)
	}
	if done := s.Counts.Done(); s.Ended() && (done != s.Published || s.Remaining != 0 || s.Counts.PutOff != 0) {
		f.t.Errorf("the counts do not fit: %+v", s.Summary)
	}
	return s
}

// wantCounts wants these counts.
func (f *fleet) wantCounts(want jobs.Counts) {
	f.t.Helper()
	if want.Failed == nil {
		want.Failed = map[jobs.Fault]int{}
	}
	if diff := cmp.Diff(want, f.status().Counts); diff != "" {
		f.t.Error(diff)
	}
}

// written is how many letters each user has.
func (f *fleet) written() map[string]int {
	count := make(map[string]int)
	for _, user := range append([]string{"admin@example.com", "sam.suspended@example.com"}, f.users...) {
		if n := len(f.google.Letters(user)); n > 0 {
			count[user] = n
		}
	}
	return count
}

// wantOnce wants that everybody was written to once but those, who never were.
func (f *fleet) wantOnce(never ...string) {
	f.t.Helper()
	want := make(map[string]int)
	for _, user := range f.users {
		if !slices.Contains(never, user) {
			want[user] = 1
		}
	}
	if diff := cmp.Diff(want, f.written()); diff != "" {
		f.t.Errorf("letters: %s", diff)
	}
}

// wantAtMostOnce wants that nobody was written to twice.
func (f *fleet) wantAtMostOnce() {
	f.t.Helper()
	for user, n := range f.written() {
		if n > 1 {
			f.t.Errorf("%s has %d letters", user, n)
		}
	}
}

// wantSummaries wants that there were so many, and that the last says what the status does.
func (f *fleet) wantSummaries(n int) {
	f.t.Helper()
	told := f.results.told()
	if len(told) != n {
		f.t.Fatalf("%d summaries, want %d: %+v", len(told), n, told)
	}
	if n == 0 {
		return
	}
	if diff := cmp.Diff(f.status().Summary, told[n-1]); diff != "" {
		f.t.Errorf("the summary: %s", diff)
	}
}

// quiet wants that what is done makes no call to Google.
func (f *fleet) quiet(do func()) {
	f.t.Helper()
	before := f.google.Calls()
	do()
	if after := f.google.Calls(); !maps.Equal(before, after) {
		f.t.Errorf("calls that were not to be made: %s", cmp.Diff(before, after))
	}
}

// byStatus is how many jobs have such a result, of all that were published.
func (f *fleet) byStatus(status jobs.Status) int {
	found := make(map[string]bool)
	for _, r := range f.results.all() {
		if r.Status == status {
			found[r.Job] = true
		}
	}
	return len(found)
}

// gmail switches Gmail on or off for somebody.
func (f *fleet) gmail(on bool, users ...string) {
	f.t.Helper()
	off := `{"servicesOff": ["gmail"]}`
	if on {
		off = `{"servicesOff": []}`
	}
	for _, user := range users {
		f.control(http.MethodPatch, "users/"+user, off)
	}
}

// delegated sets for which scopes the administrator trusts the account.
func (f *fleet) delegated(scopes string) {
	f.t.Helper()
	f.control(http.MethodPut, "clients/"+f.world.ServiceAccounts[0].UniqueID+"/scopes", scopes)
}

func (f *fleet) control(method, path, body string) {
	f.t.Helper()
	w := httptest.NewRecorder()
	f.google.ServeHTTP(w, httptest.NewRequestWithContext(f.t.Context(), method, "/_sandbox/"+path, strings.NewReader(body)))
	if w.Code >= http.StatusBadRequest {
		f.t.Fatalf("%s %s: HTTP %d %s", method, path, w.Code, w.Body)
	}
}

// must does what somebody asks for.
func (f *fleet) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}
