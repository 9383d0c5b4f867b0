package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
)

// tally is what came of the jobs, as the world sees it.
type tally struct {
	plan plan

	mu       sync.Mutex
	records  map[string]*record
	received int // results
	done     int // jobs that have one
	strange  int // results of no job
}

// record is what came of one job.
type record struct {
	job     int // its number
	results int
	first   string // result, or its status where that alone must be the same
	other   string // the first that differs
	status  string // of the latest
}

func newTally(p plan) *tally {
	t := &tally{plan: p, records: make(map[string]*record, p.jobs)}
	for n := range p.jobs {
		t.records[p.job(n).id] = &record{job: n}
	}
	return t
}

// published is what is read of a result.
type published struct {
	Job    string `json:"job"`
	Status string `json:"status"`
}

// readResult reads a result. What is none is the result of no job.
func readResult(data []byte) (r published) {
	if json.Unmarshal(data, &r) != nil {
		return published{}
	}
	return r
}

// succeeded and uncertain are statuses.
const succeeded, uncertain = "succeeded", "uncertain"

// result takes a result as it is published. First says that its job had none before.
func (t *tally) result(data []byte) (job int, first bool) {
	r := readResult(data)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.received++
	c := t.records[r.Job]
	if c == nil {
		t.strange++
		return 0, false
	}
	says := r.Status
	if t.plan.job(c.job).deed.kept {
		says = string(data)
	}
	c.results++
	c.status = r.Status
	switch {
	case c.results == 1:
		t.done++
		c.first = says
	case says != c.first && c.other == "":
		c.other = says
	}
	return c.job, c.results == 1
}

// progress is how many jobs have a result, and how many results there are.
func (t *tally) progress() (done, received int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done, t.received
}

// verdict is the broken promises by their names, with the jobs of each.
type verdict map[string][]string

// promises are their names, in the order in which they are reported.
var promises = []string{"lost", "doubled", "without result", "with two different results", "uncertain", "failed", "of no job", "not one line each", "miscounted", "panic or data race"}

// owner is as whom a job acts; nobody, of what is no job.
func (t *tally) owner(job string) string {
	if r := t.records[job]; r != nil {
		return t.plan.job(r.job).user
	}
	return ""
}

// judge holds the results against the letters of each job.
func (t *tally) judge(letters map[string]int) verdict {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := verdict{}
	for id, r := range t.records {
		n := letters[id]
		for promise, broken := range map[string]bool{
			"lost":                       r.status == succeeded && n == 0 && t.plan.job(r.job).deed.letter,
			"doubled":                    n > 1,
			"without result":             r.results == 0,
			"with two different results": r.other != "",
			"uncertain":                  r.status == uncertain,
			"failed":                     r.results > 0 && r.status != succeeded && r.status != uncertain,
		} {
			if broken {
				v[promise] = append(v[promise], id)
			}
		}
	}
	for id := range letters {
		if t.records[id] == nil {
			v["of no job"] = append(v["of no job"], "letter of "+id)
		}
	}
	if t.strange > 0 {
		v["of no job"] = append(v["of no job"], "a result")
	}
	for _, jobs := range v {
		slices.Sort(jobs)
	}
	return v
}

// show shows the results of a job.
func (t *tally) show(out io.Writer, job string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.records[job]
	if r == nil {
		return
	}
	fmt.Fprintf(out, "  %d results, the first: %s\n", r.results, r.first)
	if r.other != "" {
		fmt.Fprintf(out, "  another: %s\n", r.other)
	}
}
