package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

// plan is what is decided beforehand, all of it by the seed: asked again, it says the
// same.
type plan struct {
	seed        uint64
	jobs, users int
	kills       int
	// called are the users, by their numbers, to whom a batch applies; nil: there is none.
	called []int
}

// dice are those for one purpose and one thing that it is about.
func (p plan) dice(purpose string, about ...any) *rand.Rand {
	h := fnv.New64a()
	fmt.Fprint(h, purpose, about)
	return rand.New(rand.NewPCG(p.seed, h.Sum64())) //nolint:gosec // repeatable on purpose
}

// deed is what a job asks for.
type deed struct {
	name   string
	share  float64 // of the jobs
	action string
	letter bool // it leaves a letter, which must be there once
	kept   bool // its result must be the same whenever it is asked for, and not just its status
	params map[string]any
	body   map[string]any
}

// deeds are all that jobs ask for. Most cannot be repeated.
var deeds = []deed{
	{name: "letters", share: 0.90, action: "gmail.users.messages.insert", letter: true, kept: true, body: map[string]any{"labelIds": []string{"INBOX", "UNREAD"}}},
	{name: "reads", share: 0.05, action: "gmail.users.labels.list"},
	{name: "settings", share: 0.05, action: "gmail.users.settings.updateImap", body: map[string]any{"enabled": true, "maxFolderSize": 1000}},
}

// actions are for the policy.
func actions() []string {
	var list []string
	for _, d := range deeds {
		list = append(list, d.action)
	}
	return list
}

// twice is whether a job is published again under the same id.
type twice int

const (
	not twice = iota
	atOnce
	afterwards // when it has its result
)

// job is one of those that are published.
type job struct {
	id   string
	user string
	deed *deed
	twice
	data []byte // JSON, one line
}

const (
	// mark is the header that says whose letter a letter is.
	mark = "X-Chaos-Job"
	// twiceShare of the jobs are published twice, half of them at once.
	twiceShare = 0.10
)

func (p plan) job(n int) job {
	if p.called != nil {
		u := user(p.called[n])
		return job{id: batchID + "/" + u, user: u, deed: &deeds[0]}
	}
	d := p.dice("job", n)
	j := job{id: fmt.Sprintf("chaos-%06d", n), user: user(d.IntN(p.users)), deed: drawDeed(d.Float64())}
	switch x := d.Float64(); {
	case x < twiceShare/2:
		j.twice = atOnce
	case x < twiceShare:
		j.twice = afterwards
	}
	out := map[string]any{"id": j.id, "user": j.user, "action": j.deed.action}
	if j.deed.params != nil {
		out["params"] = j.deed.params
	}
	if j.deed.body != nil {
		out["body"] = j.deed.body
	}
	if j.deed.letter {
		out["message"] = map[string]any{"raw": base64.RawURLEncoding.EncodeToString([]byte(letter(j, d)))}
	}
	var err error
	if j.data, err = json.Marshal(out); err != nil {
		panic(err) // of nothing but texts and numbers
	}
	return j
}

func drawDeed(x float64) *deed {
	for i := range deeds {
		if x -= deeds[i].share; x < 0 {
			return &deeds[i]
		}
	}
	return &deeds[0]
}

// letter is the job's. Half of them bring a Message-ID; the others get one that is
// derived from the job.
func letter(j job, d *rand.Rand) string {
	text := mark + ": " + j.id + "\r\nFrom: chaos@example.com\r\nTo: " + j.user + "\r\nSubject: What became of " + j.id + "\r\n"
	if d.Float64() < 0.5 {
		text += "Message-ID: <" + j.id + "@chaos.example.com>\r\n"
	}
	return text + "\r\nYou should read this once.\r\n"
}

func user(n int) string { return fmt.Sprintf("user%d@example.com", n) }

// batchID is that of the batch.
const batchID = "chaos"

// passings are the reasons for which the batch passes users over, each with its share.
var passings = []struct {
	reason string
	share  float64
}{{"suspended", 0.02}, {"archived", 0.01}, {"noMailbox", 0.01}, {"excluded", 0.01}, {"policy", 0.01}}

// passed is why the batch passes a user over; empty: it applies.
func (p plan) passed(n int) (reason string) {
	x := p.dice("passed", n).Float64()
	for _, passing := range passings {
		if x -= passing.share; x < 0 {
			return passing.reason
		}
	}
	return ""
}

// passedFor are the users whom the batch passes over for a reason.
func (p plan) passedFor(reason string) (users []string) {
	for n := range p.users {
		if p.passed(n) == reason {
			users = append(users, user(n))
		}
	}
	return users
}

// forBatch has the jobs be those of a batch for all users.
func (p *plan) forBatch() {
	p.called = []int{}
	for n := range p.users {
		if p.passed(n) == "" {
			p.called = append(p.called, n)
		}
	}
	p.jobs = len(p.called)
}

// end is the end of a process.
type end struct {
	after  int           // so many jobs have their result
	pause  time.Duration // and a little later, for results come at a certain point of the path
	signal syscall.Signal
	which  float64 // of the processes that run then, within 0..1
}

// calmAt is the share of the jobs from which on nothing goes wrong any more: the last
// few jobs would otherwise meet one fault after the other, each of which takes
// a minute to find out about.
const calmAt = 0.97

// ends are those of the processes, in their order.
func (p plan) ends() []end {
	d := p.dice("ends")
	draw := func(signal syscall.Signal) end {
		return end{after: d.IntN(int(calmAt*float64(p.jobs)) + 1), pause: time.Duration(d.IntN(500)) * time.Millisecond, signal: signal, which: d.Float64()}
	}
	var list []end
	for range p.kills {
		list = append(list, draw(syscall.SIGKILL))
	}
	if p.kills > 0 {
		for range p.kills/4 + 1 {
			list = append(list, draw(syscall.SIGTERM))
		}
	}
	slices.SortStableFunc(list, func(a, b end) int { return a.after - b.after })
	return list
}

// mishap is what goes wrong with one delivery of a job, beside what Google does.
type mishap int

const (
	none       mishap = iota
	doubled           // it is delivered to two processes at once
	again             // it is delivered once more after it was acked
	unanswered        // what the process answers gets lost, so that it comes again
)

// mishaps has the share of each.
var mishaps = []struct {
	mishap
	share float64
}{{doubled, 0.03}, {again, 0.03}, {unanswered, 0.03}}

// mishap is that of the nth delivery of a job to a process.
func (p plan) mishap(job string, n int) mishap {
	x := p.dice("mishap", job, n).Float64()
	for _, m := range mishaps {
		if x -= m.share; x < 0 {
			return m.mishap
		}
	}
	return none
}

func (m mishap) String() string {
	return [...]string{"none", "doubled", "again after the ack", "answer lost"}[m]
}
