package jobs

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json"
)

// Summary says what came of a batch. It is published to the topic of results.
type Summary struct {
	Batch string `json:"batch"`
	Name  string `json:"name"`
	// State is what the batch is in, such as "completed" or "stopped".
	State string `json:"state"`
	// Round counts how often the batch was resumed or retried.
	Round  int    `json:"round"`
	Counts Counts `json:"counts"`
	// PassedOver counts the users to whom the batch does not apply, by the reason.
	PassedOver map[string]int `json:"passedOver"`
	// Enumerated counts the users that were listed, Published those to whom the batch
	// applies and whose jobs are on their way, and Remaining those of them that have no
	// final result yet.
	Enumerated int `json:"enumerated"`
	Published  int `json:"published"`
	Remaining  int `json:"remaining"`
	// Error says why the batch was stopped or refused.
	Error      *Error    `json:"error,omitzero"`
	StartedAt  time.Time `json:"startedAt"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`
}

// Encode is the summary as it is published.
func (s Summary) Encode() ([]byte, error) {
	return json.Marshal(s, json.Deterministic(true))
}

// Attributes are the Pub/Sub attributes of the summary's message, by which
// subscribers tell it from results. One that would be empty is left out.
func (s Summary) Attributes() map[string]string {
	attributes := map[string]string{"status": s.State, "summary": "true"}
	if s.Batch != "" { // what could not be read has no id
		attributes["batch"] = s.Batch
	}
	return attributes
}

// Counts are a batch's jobs by what came of them. All but PutOff are final.
type Counts struct {
	Succeeded int `json:"succeeded"`
	Previewed int `json:"previewed"`
	// Failed counts by who must act.
	Failed    map[Fault]int `json:"failed"`
	Refused   int           `json:"refused"`
	Expired   int           `json:"expired"`
	Cancelled int           `json:"cancelled"`
	Uncertain int           `json:"uncertain"`
	// PutOff are the jobs that wait to be tried again.
	PutOff int `json:"putOff"`
}

// CountsOf reads what a ledger has counted, by "succeeded" and the other statuses,
// by "failed/admin" and the other faults, and "putOff".
func CountsOf(tally map[string]int) Counts {
	c := Counts{
		Succeeded: tally[string(Succeeded)], Previewed: tally[string(Previewed)], Failed: make(map[Fault]int),
		Refused: tally[string(Refused)], Expired: tally[string(Expired)], Cancelled: tally[string(Cancelled)],
		Uncertain: tally[string(Uncertain)], PutOff: tally["putOff"],
	}
	for key, n := range tally {
		if fault, ok := strings.CutPrefix(key, string(Failed)+"/"); ok && n != 0 {
			c.Failed[Fault(fault)] = n
		}
	}
	return c
}

// Done counts the jobs that have a final result.
func (c Counts) Done() int {
	return c.Succeeded + c.Previewed + c.Expired + c.Cancelled + c.Bad()
}

// Bad counts the jobs that went wrong: a batch stops after so many of them.
func (c Counts) Bad() int {
	n := c.Refused + c.Uncertain
	for _, failed := range c.Failed {
		n += failed
	}
	return n
}
