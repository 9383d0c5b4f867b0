package jobs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Batch is one job for each of many users.
type Batch struct {
	// ID is the batch's, where its author gave one: see [Batch.NameAt].
	ID string `json:"id,omitzero"`
	// Name is what people call it.
	Name    string  `json:"name"`
	Targets Targets `json:"targets"`
	// Exclude are users to whom it does not apply, in lower case.
	Exclude []string `json:"exclude,omitzero"`
	// Include says which of the users that batches pass over this one does not:
	// suspended, archived, noMailbox.
	Include []string `json:"include,omitzero"`
	// Where is a template that says true or false of each user: whether the batch applies.
	Where string `json:"where,omitzero"`
	// Job is a [Job] without a user, as JSON. Its strings may hold templates.
	Job jsontext.Value `json:"job"`
	// Canary is how many jobs go first; the others only if all of those succeed.
	Canary    int       `json:"canary,omitzero"`
	StopAfter StopAfter `json:"stopAfter,omitzero"`
	// Rate is how many jobs are published a second; 0 is as many as can be.
	Rate float64 `json:"rate,omitzero"`
	// NotAfter is when its jobs have lost their point; zero is never.
	NotAfter time.Time `json:"notAfter,omitzero"`
	DryRun   bool      `json:"dryRun,omitzero"`

	root *node // where everything stands in the file
}

// Targets are the users to whom a batch applies: exactly one field is set.
type Targets struct {
	All bool `json:"all,omitzero"`
	// OrgUnit is the path of an organisational unit, with those below it.
	OrgUnit string `json:"orgUnit,omitzero"`
	// Group is the address of a group, with the groups in it.
	Group string `json:"group,omitzero"`
	// Query is a search of the Directory's users, as its users.list has it.
	Query string `json:"query,omitzero"`
	// Users are primary addresses, in lower case.
	Users []string `json:"users,omitzero"`
	// CSV is a file, as gs://BUCKET/OBJECT or a path of this machine: see [Targets.Local].
	CSV string `json:"csv,omitzero"`
	// FailuresOf is the id of an earlier batch, whose failed users these are.
	FailuresOf string `json:"failuresOf,omitzero"`
}

// Local tells whether the users are in a file of this machine.
func (t Targets) Local() bool { return t.CSV != "" && !strings.HasPrefix(t.CSV, "gs://") }

// StopAfter says when a batch stops: at most one field is set.
type StopAfter struct {
	// Failures is after how many.
	Failures int `json:"failures,omitzero"`
	// Percent is of the jobs that are done.
	Percent float64 `json:"percent,omitzero"`
}

// BatchError says what is wrong with one field of a batch's file. Its text is for the
// author: it names the line and the field, shows the value, and says what is accepted.
type BatchError struct {
	// Line is the line in the file; 0 where none is known.
	Line int
	// Path is the field's place, such as "job.params.sendAsEmail"; empty is the whole batch.
	Path string
	// Problem completes the sentence that Path begins.
	Problem string
}

func (e *BatchError) Error() string {
	text := e.Path + ": " + e.Problem
	if e.Path == "" {
		text = "the batch " + e.Problem
	}
	if e.Line == 0 {
		return text
	}
	return fmt.Sprintf("line %d: %s", e.Line, text)
}

// Limits of a batch.
const (
	maxBatchName = 100
	maxBatchID   = 200 // BATCH/USER~N is no longer than maxID then
	maxCanary    = 100_000
	minRate      = 0.001
	maxRate      = 10_000
	maxQuery     = 2000
)

// dryRunEnd is what the id of a dry run ends with.
const dryRunEnd = "-dryrun"

// batchTime is how a batch's id writes when it was published.
const batchTime = "20060102T150405.000Z"

// DecodeBatch reads a batch in YAML or JSON as strictly as [Decode] reads a job. The
// templates in its job are not looked at. An error is a [*BatchError].
func DecodeBatch(data []byte) (*Batch, error) {
	if len(data) > MaxData {
		return nil, &BatchError{Problem: fmt.Sprintf("is %d bytes long; at most %d are read: put many users into a CSV file in Cloud Storage and name it in targets.csv", len(data), MaxData)}
	}
	root, err := readTree(data)
	if err != nil {
		return nil, err
	}
	text, err := root.appendJSON(nil, "")
	if err != nil {
		return nil, err
	}
	b := &Batch{}
	err = Strict("", text, b)
	b.root = root // after it, for null would take it away
	if err != nil {
		return nil, b.At("", err)
	}
	for _, check := range []func() error{b.checkNames, b.checkTargets, b.checkWhom, b.checkPace, b.checkJob} {
		if err := check(); err != nil {
			return nil, b.At("", err)
		}
	}
	b.NotAfter = b.NotAfter.UTC() // the same, however it was written
	return b, nil
}

// At makes an error one of the field at that path, or of the field that a [FieldError]
// names below it, with the line of the nearest that the file has. One that is a
// [*BatchError] already stays as it is.
func (b *Batch) At(path string, err error) *BatchError {
	var done *BatchError
	if errors.As(err, &done) {
		return done
	}
	problem := err.Error()
	var field *FieldError
	if errors.As(err, &field) {
		problem = field.Problem
		if path != "" && field.Path != "" && field.Path[0] != '[' {
			path += "."
		}
		path += field.Path
	}
	return &BatchError{Line: b.root.lineOf(path), Path: path, Problem: problem}
}

// NameAt is the id of the batch that was published at that time. That of a dry run
// is another than that of the same batch in earnest, whose jobs it must not claim.
func (b *Batch) NameAt(published time.Time) string {
	id := b.ID
	if id == "" {
		id = b.Name + "-" + published.UTC().Format(batchTime)
	}
	if b.DryRun {
		id += dryRunEnd
	}
	return id
}

// Digest is of all that the batch says but its id: that of the same file is the same.
func (b *Batch) Digest() string {
	anonymous := *b
	anonymous.ID = ""
	text, err := json.Marshal(anonymous, json.Deterministic(true))
	if err != nil { // what was decoded can be encoded
		panic("jobs: a batch cannot be encoded: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// batchPattern is what batches are named: what needs no quoting in an id, a URL or a
// shell. A "/" or "~" would make the ids of its jobs those of others.
var batchPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func checkBatch(field, name string, most int) error {
	if len(name) > most || !batchPattern.MatchString(name) {
		return Errorf(field, "is %s; 1 to %d letters, digits and ._- are accepted, a letter or digit first", Quote(name), most)
	}
	return nil
}

func (b *Batch) checkNames() error {
	if b.root.child("name") == nil {
		return Errorf("name", "is missing; give the batch a name")
	}
	if err := checkBatch("name", b.Name, maxBatchName); err != nil {
		return err
	}
	if b.root.child("id") == nil {
		return nil
	}
	if strings.HasSuffix(b.ID, dryRunEnd) {
		return Errorf("id", "is %s; only the id of a dry run ends with %s, and by itself", Quote(b.ID), dryRunEnd)
	}
	return checkBatch("id", b.ID, maxBatchID)
}

// targetNames are the fields of [Targets].
const targetNames = "all, orgUnit, group, query, users, csv and failuresOf"

func (b *Batch) checkTargets() error {
	var given []string
	targets := b.root.child("targets")
	if targets != nil {
		for _, n := range targets.nodes {
			given = append(given, n.name)
		}
	}
	switch len(given) {
	case 0:
		return Errorf("targets", "is missing; give exactly one of %s", targetNames)
	case 1:
	default:
		return Errorf("targets."+given[1], "is given beside %s; give exactly one of %s", given[0], targetNames)
	}
	t := &b.Targets
	switch field := "targets." + given[0]; given[0] {
	case "all":
		if !t.All {
			return Errorf(field, "is false; true is expected, or another of %s", targetNames)
		}
		return nil
	case "orgUnit":
		return checkLine(field, t.OrgUnit, strings.HasPrefix(t.OrgUnit, "/"), "the path of an organisational unit such as /Sales")
	case "group":
		t.Group = strings.ToLower(t.Group)
		return checkAddress(field, t.Group)
	case "query":
		return checkLine(field, t.Query, t.Query != "", "a query as the Directory's users.list has it, such as orgDepartment=Sales")
	case "users":
		if len(t.Users) == 0 {
			return Errorf(field, "is empty; name at least one user")
		}
		return checkAddresses(field, t.Users)
	case "csv":
		return t.checkCSV(field)
	default:
		return checkBatch(field, strings.TrimSuffix(t.FailuresOf, dryRunEnd), maxBatchID)
	}
}

func (t *Targets) checkCSV(field string) error {
	if t.Local() {
		return checkLine(field, t.CSV, !strings.Contains(t.CSV, "://"), "gs://BUCKET/OBJECT, or the path of a file")
	}
	_, _, err := ObjectOf(field, t.CSV)
	return err
}

// checkLine refuses what is not one line, or is otherwise not what is expected.
func checkLine(field, value string, ok bool, expected string) error {
	switch {
	case len(value) > maxQuery:
		return Errorf(field, "is %d bytes long; at most %d are accepted", len(value), maxQuery)
	case !ok || strings.ContainsFunc(value, unicode.IsControl):
		return Errorf(field, "is %s; %s is expected", Quote(value), expected)
	}
	return nil
}

// checkAddresses turns them into lower case.
func checkAddresses(field string, addresses []string) error {
	seen := make(map[string]int, len(addresses))
	for i, address := range addresses {
		item := fmt.Sprintf("%s[%d]", field, i)
		if err := checkAddress(item, address); err != nil {
			return err
		}
		addresses[i] = strings.ToLower(address)
		if first, twice := seen[addresses[i]]; twice {
			return Errorf(item, "is %s, which is given twice: see %s[%d]", Quote(addresses[i]), field, first)
		}
		seen[addresses[i]] = i
	}
	return nil
}

func checkAddress(field, address string) error {
	if checkUser(address) != nil {
		return Errorf(field, "is %s; an e-mail address such as ada@example.com is expected", Quote(address))
	}
	return nil
}

func (b *Batch) checkWhom() error {
	for i, who := range b.Include {
		field := fmt.Sprintf("include[%d]", i)
		switch {
		case who != "suspended" && who != "archived" && who != "noMailbox":
			return Errorf(field, "is %s; accepted are suspended, archived and noMailbox: whom the batch does not pass over", Quote(who))
		case slices.Contains(b.Include[:i], who):
			return Errorf(field, "is %s, which is given twice", who)
		}
	}
	if b.root.child("where") != nil && !strings.Contains(b.Where, "{{") {
		return Errorf("where", "is %s, which says the same of every user; a template is expected, such as {{eq .User.OrgUnitPath \"/Sales\"}}", Quote(b.Where))
	}
	return checkAddresses("exclude", b.Exclude)
}

func (b *Batch) checkPace() error {
	stop := b.root.child("stopAfter")
	failures, percent := stop.child("failures") != nil, stop.child("percent") != nil
	switch {
	case b.Canary < 0 || b.Canary > maxCanary:
		return Errorf("canary", "is %d; a number of jobs from 0 to %d is expected", b.Canary, maxCanary)
	case stop != nil && failures == percent:
		return Errorf("stopAfter", "needs exactly one of failures, after how many the batch stops, and percent, of the jobs that are done")
	case failures && b.StopAfter.Failures < 1:
		return Errorf("stopAfter.failures", "is %d; a number from 1 is expected", b.StopAfter.Failures)
	case percent && (b.StopAfter.Percent <= 0 || b.StopAfter.Percent > 100):
		return Errorf("stopAfter.percent", "is %v; a number above 0 and up to 100 is expected", b.StopAfter.Percent)
	case b.root.child("rate") != nil && (b.Rate < minRate || b.Rate > maxRate):
		return Errorf("rate", "is %v; a number of jobs a second from %v to %d is expected", b.Rate, minRate, maxRate)
	}
	return nil
}

// elsewhere says where in a batch that belongs which a job has and a batch's has not.
var elsewhere = []struct{ field, instead string }{
	{"user", "is not for a batch's job: targets says as whom it acts"},
	{"as", "is not for a batch's job, which acts as users; publish a job by itself to act as the service account"},
	{"id", "is not for a batch's job: its id is that of the batch, a slash and the user"},
	{"notAfter", "is not for a batch's job; give it to the batch, beside job"},
	{"dryRun", "is not for a batch's job; give it to the batch, beside job"},
}

func (b *Batch) checkJob() error {
	switch kind := b.Job.Kind(); {
	case b.root.child("job") == nil:
		return Errorf("job", "is missing; give a job without user")
	case kind != '{':
		return Errorf("job", "is %s; an object is expected: a job without user", kindName(kind))
	}
	for _, e := range elsewhere {
		if b.root.child("job").child(e.field) != nil {
			return Errorf("job."+e.field, "%s", e.instead)
		}
	}
	var job struct { // a [Job], but for what is elsewhere
		Action  string            `json:"action"`
		Params  jsontext.Value    `json:"params"`
		Body    jsontext.Value    `json:"body"`
		Message *Message          `json:"message"`
		Media   *Media            `json:"media"`
		Pages   *Pages            `json:"pages"`
		Output  string            `json:"output"`
		Labels  map[string]string `json:"labels"`
	}
	if err := Strict("job", b.Job, &job); err != nil {
		return err
	}
	objects := Job{Params: job.Params, Body: job.Body}
	for _, check := range []func() error{func() error { return checkAction(job.Action) }, objects.checkObjects, job.Pages.check} {
		if err := check(); err != nil {
			return b.At("job", err)
		}
	}
	return nil
}
