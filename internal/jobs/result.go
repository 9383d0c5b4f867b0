package jobs

import (
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Status is what came of a job.
type Status string

// What can come of a job. Each is final.
const (
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
	Refused   Status = "refused"   // by the policy
	Expired   Status = "expired"   // notAfter had passed
	Cancelled Status = "cancelled" // with its batch
	Previewed Status = "previewed" // a dry run that would have made the call
	Uncertain Status = "uncertain" // the call may or may not have taken effect
)

// Good tells whether the job did what it was asked to do.
func (s Status) Good() bool { return s == Succeeded || s == Previewed }

// Stage is the step of the path at which a job ended.
type Stage string

// The steps of the path, in their order.
const (
	StageDecode   Stage = "decode"
	StagePolicy   Stage = "policy"
	StageSign     Stage = "sign"
	StageExchange Stage = "exchange"
	StageCall     Stage = "call"
	StageSettle   Stage = "settle"
)

// Fault is who must act.
type Fault string

// Who must act.
const (
	FaultJob      Fault = "job"      // its author
	FaultUser     Fault = "user"     // that account
	FaultAdmin    Fault = "admin"    // the Workspace administrator
	FaultOperator Fault = "operator" // the Google Cloud project
	FaultGoogle   Fault = "google"   // nobody; retried
	FaultQuota    Fault = "quota"    // nobody; retried later
)

// Error says why a job did not succeed, and what mends it.
type Error struct {
	Stage Stage `json:"stage"`
	Fault Fault `json:"fault"`
	// Code is the HTTP status that Google answered; 0 where none was received.
	Code int `json:"code,omitzero"`
	// Reason is Google's own word for it, or ours in lower camel case.
	Reason string `json:"reason"`
	// Message is what happened, and Fix what to do about it, for a person.
	Message string `json:"message"`
	Fix     string `json:"fix,omitzero"`
}

// Result is the one final result of a job. It may be delivered more than once,
// always with the same Job.
type Result struct {
	Job    string `json:"job"`
	Batch  string `json:"batch,omitzero"`
	User   string `json:"user,omitzero"`
	As     string `json:"as,omitzero"`
	Action string `json:"action,omitzero"`
	Status Status `json:"status"`
	// Response is what the API answered, as JSON.
	Response jsontext.Value `json:"response,omitzero"`
	// ResponseCut is set where Response is only the beginning of the answer.
	ResponseCut *Cut `json:"responseCut,omitzero"`
	// Error is set for every status that is not [Status.Good].
	Error *Error `json:"error,omitzero"`
	// Attempts counts the deliveries that began the job, this one included.
	Attempts   int               `json:"attempts"`
	StartedAt  time.Time         `json:"startedAt"`
	FinishedAt time.Time         `json:"finishedAt"`
	Labels     map[string]string `json:"labels,omitzero"`
}

// Cut says that an answer was too long for a result. What is there is still
// JSON: the arrays and objects that were open are closed.
type Cut struct {
	// KeptBytes is how long the response is, and TotalBytes how long Google's
	// answer was; 0 where it was not read to its end.
	KeptBytes  int   `json:"keptBytes"`
	TotalBytes int64 `json:"totalBytes,omitzero"`
}

// NewResult begins the result of a job; the caller sets how it ended.
func NewResult(job Job) Result {
	return Result{Job: job.ID, Batch: job.Batch(), User: job.User, As: job.As, Action: job.Action, Labels: job.Labels}
}

// Encode is the result as it is published.
func (r Result) Encode() ([]byte, error) {
	return json.Marshal(r, json.Deterministic(true))
}

// Attributes are the Pub/Sub attributes of the result's message, by which
// subscribers filter. One that would be empty is left out.
func (r Result) Attributes() map[string]string {
	attributes := map[string]string{"job": r.Job, "status": string(r.Status)}
	if r.Batch != "" {
		attributes["batch"] = r.Batch
	}
	if r.Action != "" {
		attributes["action"] = r.Action
	}
	if r.Error != nil {
		attributes["fault"] = string(r.Error.Fault)
	}
	return attributes
}
