package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// failure is a result of a job that did not succeed.
func failure(user string, e jobs.Error) jobs.Result {
	return jobs.Result{Job: "b/" + user, User: user, Status: jobs.Failed, Error: &e}
}

// Messages that differ in names and numbers alone are of one cause; those with another
// reason, or in other words, are not.
func TestCausesAreGrouped(t *testing.T) {
	gone := jobs.Error{Stage: jobs.StageExchange, Fault: jobs.FaultUser, Reason: "invalid_grant"}
	var results []jobs.Result
	for i := range 5 {
		gone.Message = fmt.Sprintf("There is no active account u%d@example.com (%d).", i, i)
		results = append(results, failure(fmt.Sprintf("u%d@example.com", i), gone))
	}
	slow := gone
	slow.Message = "It took too long."
	quoted := jobs.Error{Stage: jobs.StageCall, Fault: jobs.FaultJob, Reason: "invalid", Message: `label "one" is not there`}
	other := quoted
	other.Message = `label "another" is not there`
	results = append(results, failure("a@example.com", slow), failure("b@example.com", quoted), failure("c@example.com", other))
	var got []string
	for _, c := range causes(results) {
		got = append(got, fmt.Sprintf("%d %v %s", c.Count, c.Users, c.Message))
	}
	want := []string{
		"5 [u0@example.com u1@example.com u2@example.com] There is no active account u0@example.com (0).",
		`2 [b@example.com c@example.com] label "one" is not there`,
		"1 [a@example.com] It took too long.",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q", got)
	}
}

// stopped is a batch that has stopped by its own rules.
func stoppedBatch() shown {
	started := time.Date(2026, 11, 22, 7, 20, 49, 0, time.UTC)
	gone := jobs.Error{Stage: jobs.StageExchange, Fault: jobs.FaultUser, Reason: "invalid_grant", Message: "There is no active account \x1b[31mada@example.com.", Fix: "Take it out.\nOr wake it up."}
	return shown{
		Status: batch.Status{
			Summary: jobs.Summary{
				Batch: "signatures-1", Name: "signatures", State: "stopped", Round: 2, Enumerated: 120, Published: 110, Remaining: 57, StartedAt: started,
				PassedOver: map[string]int{"suspended": 8, "excluded": 2},
				Counts:     jobs.Counts{Succeeded: 50, Failed: map[jobs.Fault]int{jobs.FaultUser: 2, jobs.FaultJob: 1}, PutOff: 4},
				Error: &jobs.Error{
					Fault: jobs.FaultUser, Reason: "stopAfter", Message: "stopAfter: failures: 3 of 53 jobs did not succeed; the batch allows fewer than 3.",
					Fix: "See what failed and what mends it: onbehalf batch status signatures-1\nThen do those again, and go on: onbehalf batch retry signatures-1",
				},
			},
			Publishing: true, Canary: 10,
		},
		causes: causes([]jobs.Result{failure("ada@example.com", gone), failure("bob@example.com", gone)}),
	}
}

func TestStatusForPeople(t *testing.T) {
	var out strings.Builder
	s := stoppedBatch()
	if err := s.write(&out, func(text string) string { return withLedger(text, "signatures-1", "s.yaml.ledger") }); err != nil {
		t.Fatal(err)
	}
	const want = `signatures-1 is stopped.
  stopAfter: failures: 3 of 53 jobs did not succeed; the batch allows fewer than 3.
  See what failed and what mends it: onbehalf batch status signatures-1 --ledger s.yaml.ledger
  Then do those again, and go on: onbehalf batch retry signatures-1 --ledger s.yaml.ledger

started    2026-11-22T07:20:49Z
users      120 listed, 10 passed over (8 suspended, 2 excluded), and more may come
jobs       110 published, 50 succeeded, 3 failed (2 user, 1 job)
remaining  57, 4 of them put off
canary     the first 10 have yet to succeed before others begin
round      2: it was resumed, retried or taken up again

Those that did not succeed, by cause:
   2  failed · user · exchange · invalid_grant
      ada@example.com, bob@example.com
      There is no active account �[31mada@example.com.
      Take it out.
      Or wake it up.
`
	if out.String() != want {
		t.Error(out.String())
	}
}

// The exit status tells a batch that goes well from one of which some did not succeed,
// and that from one at which somebody must mend something.
func TestStatusExits(t *testing.T) {
	broken := &jobs.Error{Fault: jobs.FaultAdmin, Reason: "unauthorized_client"}
	for name, c := range map[string]struct {
		change func(*batch.Status)
		want   int
	}{
		"running":               {func(*batch.Status) {}, exitOK},
		"paused":                {func(s *batch.Status) { s.State = "paused" }, exitOK},
		"completed":             {func(s *batch.Status) { s.State = "completed" }, exitOK},
		"completed, with a bad": {func(s *batch.Status) { s.State = "completed"; s.Counts.Refused = 1 }, exitSomeFailed},
		"running, with a bad":   {func(s *batch.Status) { s.Counts.Uncertain = 1 }, exitSomeFailed},
		"running, with a late":  {func(s *batch.Status) { s.Counts.Expired = 1 }, exitSomeFailed},
		"cancelled":             {func(s *batch.Status) { s.State = "cancelled"; s.Counts.Cancelled = 1 }, exitSomeFailed},
		"expired":               {func(s *batch.Status) { s.State = "expired" }, exitSomeFailed},
		"stopped by its rules": {func(s *batch.Status) {
			s.State, s.Error = "stopped", &jobs.Error{Fault: jobs.FaultAdmin, Reason: "canary"}
		}, exitSomeFailed},
		"stopped by a fault":      {func(s *batch.Status) { s.State, s.Error = "stopped", broken }, exitStopped},
		"refused for the author":  {func(s *batch.Status) { s.State, s.Error = "refused", &jobs.Error{Fault: jobs.FaultJob} }, exitSomeFailed},
		"refused for an operator": {func(s *batch.Status) { s.State, s.Error = "refused", broken }, exitStopped},
	} {
		s := batch.Status{Summary: jobs.Summary{State: "running"}}
		c.change(&s)
		got := exitOK
		if err, ok := statusExit(s).(*exitError); ok { //nolint:errorlint // it is the function's own
			got = err.status
		}
		if got != c.want {
			t.Errorf("%s: %d; want %d", name, got, c.want)
		}
	}
}
