// Package jobs says what can be asked of onbehalf and what can come of it:
// the job, its result, the batch of jobs, its summary, and the JSON Schema of each.
package jobs

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxData is the longest job that is read, in bytes: what Eventarc delivers
// in one event (https://cloud.google.com/eventarc/docs/quotas).
const MaxData = 512 << 10

// Limits of single fields, in bytes. A Pub/Sub attribute holds 1,024, so an id
// of this length still fits the result's attribute.
const (
	maxID         = 512
	maxAction     = 128
	maxUser       = 254 // RFC 5321, 4.5.3.1.3
	maxLabels     = 64
	maxLabelKey   = 64
	maxLabelValue = 256
	maxPath       = 256 // of a field, in an error
)

// AsServiceAccount is what [Job].As says for the service account itself.
const AsServiceAccount = "serviceAccount"

// Job is one call, to be made once, as one user or as the service account.
type Job struct {
	// ID is the idempotency key: two jobs with one id are one job. Where the
	// author gave none it is the Pub/Sub message id.
	ID string `json:"id,omitzero"`
	// User is the primary address of whom to act as, in lower case.
	User string `json:"user,omitzero"`
	// As is [AsServiceAccount] in place of a user, to act as the service account
	// itself, with no delegation.
	As string `json:"as,omitzero"`
	// Action is the method's Discovery id, such as "gmail.users.messages.insert".
	Action string `json:"action"`
	// Params are the method's path and query parameters, a JSON object as it
	// stands in the job.
	Params jsontext.Value `json:"params,omitzero"`
	// Body is the method's request body, likewise.
	Body jsontext.Value `json:"body,omitzero"`
	// Message is the letter of a mail method.
	Message *Message `json:"message,omitzero"`
	// Media is what another method uploads.
	Media *Media `json:"media,omitzero"`
	// Pages asks to follow a list's page tokens.
	Pages *Pages `json:"pages,omitzero"`
	// Output is where in Cloud Storage a download goes, as gs://BUCKET/OBJECT.
	Output string `json:"output,omitzero"`
	// NotAfter is when the job has lost its point; zero is never.
	NotAfter time.Time `json:"notAfter,omitzero"`
	// DryRun asks to go all the way but for the call itself.
	DryRun bool `json:"dryRun,omitzero"`
	// Labels come back in the result.
	Labels map[string]string `json:"labels,omitzero"`
}

// Message is a letter: exactly one of its fields is set.
type Message struct {
	// Raw is the RFC 5322 letter in base64url, with or without padding.
	Raw string `json:"raw,omitzero"`
	// URI is the letter's place in Cloud Storage, as gs://BUCKET/OBJECT.
	URI string `json:"uri,omitzero"`
	// Compose are the letter's fields.
	Compose *Compose `json:"compose,omitzero"`

	letter []byte // raw, decoded
}

// Batch is the batch that made the job: the ids of its jobs are BATCH/USER, and
// BATCH/USER~N of those that were published anew ([Anew]). It is empty for a job
// on its own.
func (j Job) Batch() string {
	id := first(j.ID)
	i := len(id) - len(j.User) - 1
	if j.User == "" || i < 0 || id[i] != '/' || !strings.EqualFold(id[i+1:], j.User) {
		return ""
	}
	return id[:i]
}

// Domain is the user's.
func (j Job) Domain() string {
	_, domain, _ := strings.Cut(j.User, "@")
	return domain
}

// Expired tells whether the job has lost its point at that time.
func (j Job) Expired(now time.Time) bool {
	return !j.NotAfter.IsZero() && now.After(j.NotAfter)
}
