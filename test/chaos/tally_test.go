package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Each broken promise is found, and of the right job.
func TestBrokenPromisesAreFound(t *testing.T) {
	t.Parallel()
	p := plan{seed: 1, jobs: 200, users: 5}
	var letters, reads []job
	for n := range p.jobs {
		if j := p.job(n); j.deed.letter {
			letters = append(letters, j)
		} else if !j.deed.kept {
			reads = append(reads, j)
		}
	}
	l, r := letters[0].id, reads[0].id
	for name, c := range map[string]struct {
		results []string // more of them
		letters map[string]int
		want    verdict
	}{
		"nothing is":                      {},
		"a repeated result is not":        {results: []string{result(l, "succeeded", 1)}},
		"a read may differ in its answer": {results: []string{result(r, "succeeded", 2)}},
		"lost":                            {letters: map[string]int{l: 0}, want: verdict{"lost": {l}}},
		"doubled":                         {letters: map[string]int{l: 2}, want: verdict{"doubled": {l}}},
		"another answer":                  {results: []string{result(l, "succeeded", 2)}, want: verdict{"with two different results": {l}}},
		"another status of a read":        {results: []string{result(r, "failed", 1)}, want: verdict{"with two different results": {r}, "failed": {r}}},
		"uncertain":                       {results: []string{result(l, "uncertain", 1)}, want: verdict{"with two different results": {l}, "uncertain": {l}}},
		"nobody's letter":                 {letters: map[string]int{"x": 1}, want: verdict{"of no job": {"letter of x"}}},
		"nobody's result":                 {results: []string{result("x", "succeeded", 1)}, want: verdict{"of no job": {"a result"}}},
		"no result at all":                {results: []string{"?"}, want: verdict{"of no job": {"a result"}}},
	} {
		found := newTally(p)
		there := map[string]int{}
		for n := range p.jobs {
			j := p.job(n)
			if n, first := found.result([]byte(result(j.id, "succeeded", 1))); !first || p.job(n).id != j.id {
				t.Fatalf("the first result of %s is taken for another", j.id)
			}
			if j.deed.letter {
				there[j.id] = 1
			}
		}
		for _, r := range c.results {
			if _, first := found.result([]byte(r)); first {
				t.Errorf("%s: a second result is taken for the first", name)
			}
		}
		for id, n := range c.letters {
			there[id] = n
		}
		if got := found.judge(there); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v; want %v", name, got, c.want)
		}
	}
	if got := newTally(p).judge(nil)["without result"]; len(got) != p.jobs {
		t.Errorf("%d are without result; want all %d", len(got), p.jobs)
	}
}

func result(job, status string, answer int) string {
	return fmt.Sprintf(`{"job":%q,"status":%q,"response":{"id":"%d"}}`, job, status, answer)
}

// The same seed decides the same, and another one something else.
func TestTheSeedDecides(t *testing.T) {
	t.Parallel()
	decided := func(seed uint64) string {
		p := plan{seed: seed, jobs: 500, users: 20, kills: 10}
		list := []any{p.ends()}
		for n := range p.jobs {
			j := p.job(n)
			list = append(list, string(j.data), j.twice, p.mishap(j.id, 0), p.mishap(j.id, 1))
		}
		return fmt.Sprint(list)
	}
	if first, second := decided(1), decided(1); first != second || first == decided(2) {
		t.Error("the seed does not decide, and it alone")
	}
}

// Of what a batch counts, each that is wrong is found.
func TestMiscountsAreFound(t *testing.T) {
	t.Parallel()
	s := settings{batch: true, plan: plan{seed: 1, users: 1000}}
	s.forBatch()
	right := func() jobs.Summary {
		passed := map[string]int{"policy": 1}
		for n := range s.users {
			if reason := s.passed(n); reason != "" {
				passed[reason]++
			}
		}
		return jobs.Summary{State: "completed", Counts: jobs.Counts{Succeeded: s.jobs}, PassedOver: passed, Enumerated: 1001, Published: s.jobs}
	}
	if found := s.miscounts("it", right(), s.jobs); found != nil || len(right().PassedOver) != len(passings) {
		t.Errorf("%v", found)
	}
	for what, change := range map[string]func(*jobs.Summary){
		"state":       func(s *jobs.Summary) { s.State = "running" },
		"succeeded":   func(s *jobs.Summary) { s.Counts.Succeeded-- },
		"done":        func(s *jobs.Summary) { s.Counts.Refused++ },
		"put off":     func(s *jobs.Summary) { s.Counts.PutOff++ },
		"published":   func(s *jobs.Summary) { s.Published++ },
		"remaining":   func(s *jobs.Summary) { s.Remaining++ },
		"enumerated":  func(s *jobs.Summary) { s.Enumerated-- },
		"passed over": func(s *jobs.Summary) { s.PassedOver["suspended"]-- },
	} {
		wrong := right()
		change(&wrong)
		if found := fmt.Sprint(s.miscounts("it", wrong, s.jobs)); !strings.Contains(found, "it: "+what+": ") {
			t.Errorf("%s: %s", what, found)
		}
	}
	if found := s.miscounts("it", right(), s.jobs-1); len(found) != 1 { // a letter is missing
		t.Errorf("%v", found)
	}
}

// Of everything that can happen there is something, in about its share.
func TestThePlanHasEverything(t *testing.T) {
	t.Parallel()
	p := plan{seed: 1, jobs: 2000, users: 20, kills: 10}
	deeds, repeats, mishaps, users := map[string]int{}, map[twice]int{}, map[mishap]int{}, map[string]int{}
	for n := range p.jobs {
		j := p.job(n)
		if !json.Valid(j.data) {
			t.Fatalf("%s", j.data)
		}
		deeds[j.deed.name]++
		repeats[j.twice]++
		users[j.user]++
		mishaps[p.mishap(j.id, 0)]++
	}
	if deeds["letters"] < 1700 || deeds["reads"] < 50 || deeds["settings"] < 50 || repeats[atOnce] < 50 || repeats[afterwards] < 50 || len(users) != 20 ||
		mishaps[doubled] < 30 || mishaps[again] < 30 || mishaps[unanswered] < 30 || mishaps[none] < 1700 {
		t.Errorf("%v %v %v %v", deeds, repeats, mishaps, users)
	}
	ends := p.ends()
	if len(ends) != 13 || !slices.IsSortedFunc(ends, func(a, b end) int { return a.after - b.after }) || ends[12].after > 1940 {
		t.Errorf("%v", ends)
	}
}
