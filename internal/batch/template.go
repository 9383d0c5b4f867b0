// Package batch makes jobs out of users: it reads whom a batch names, and what its
// templates say of each.
package batch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// maxText is the longest text that a template, or a function in one, makes, in bytes.
const maxText = 256 << 10

// Template makes jobs of users. It is safe for concurrent use.
type Template struct {
	batch *jobs.Batch
	// parts are the job as JSON, with holes where its strings hold templates. What fills
	// one is quoted, so that no value can be anything but one string.
	parts   []part
	where   *hole             // nil: it applies to every user
	always  string            // that follows the id and the user of each job
	fields  []string          // of the Directory's user, as the API names them
	columns map[string]string // of the CSV file, and the path where each is used first
}

// part is text, and the hole that follows it; none after the last.
type part struct {
	text string
	hole *hole
}

// hole is a string of the job that holds a template.
type hole struct {
	path     string
	template *template.Template
	steps    []step // what the template does; nil where only the library can
}

func (h *hole) write(to *limited, s *scope) error {
	if h.steps == nil {
		return h.template.Execute(to, s)
	}
	for _, step := range h.steps {
		if err := step.write(to, s); err != nil {
			return err
		}
	}
	return nil
}

// Info is what the jobs of one batch share, but for JobID.
type Info struct {
	ID, Name string
	// Time is when the batch was published.
	Time time.Time
	// JobID is the id of the one job.
	JobID string
}

// NewTemplate reads the templates in the strings of the batch's job: Go's
// text/template without its printf, define and template, and with the functions in
// this package's table. They see
//
//   - .User, the Directory's user with the names that Google's Go library gives its
//     fields, such as .User.Name.FullName: what a user lacks is empty;
//   - .Row, the columns of the CSV file: .Row.Room, or index .Row "Room number";
//   - .Batch.ID, .Batch.Name and .Batch.Time.
//
// An error is a [*jobs.BatchError] of the string that is wrong; a field that cannot
// be is one.
func NewTemplate(b *jobs.Batch) (*Template, error) {
	t := &Template{batch: b, columns: make(map[string]string)}
	if b.Where != "" {
		var err error
		if t.where, err = t.newHole("where", false, appendText(nil, b.Where)); err != nil {
			return nil, err
		}
	}
	if err := t.read(jsontext.NewDecoder(bytes.NewReader(b.Job))); err != nil {
		return nil, b.At("job", err)
	}
	// The id, the user and what is the batch's come first, in the job's own object.
	t.parts[0].text = strings.TrimPrefix(t.parts[0].text, "{")
	if !b.NotAfter.IsZero() {
		t.always += `,"notAfter":"` + b.NotAfter.Format(time.RFC3339Nano) + `"`
	}
	if b.DryRun {
		t.always += `,"dryRun":true`
	}
	t.always += ","
	return t, nil
}

// read makes the parts of the job.
func (t *Template) read(d *jsontext.Decoder) error {
	var done int64
	for kind := d.PeekKind(); kind != 0; kind = d.PeekKind() { // to its end: it was read before
		if kind != '"' {
			if _, err := d.ReadToken(); err != nil {
				return err
			}
			continue
		}
		object, read := d.StackIndex(d.StackDepth())
		isName := object == '{' && read%2 == 0
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		if !bytes.Contains(value, []byte("{{")) {
			continue
		}
		h, err := t.newHole(jobs.Path("job", d.StackPointer()), isName, value)
		if err != nil {
			return err
		}
		end := d.InputOffset()
		t.parts = append(t.parts, part{string(t.batch.Job[done : end-int64(len(value))]), h})
		done = end
	}
	t.parts = append(t.parts, part{text: string(t.batch.Job[done:])})
	return nil
}

// newHole compiles the template in a string. An error is a [*jobs.BatchError].
func (t *Template) newHole(path string, isName bool, quoted jsontext.Value) (*hole, error) {
	text, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return nil, t.batch.At(path, err)
	}
	if isName {
		return nil, t.batch.At(path, errors.New("is a field's name; only values may hold templates"))
	}
	compiled, used, err := compile(string(text))
	if err != nil {
		return nil, t.batch.At(path, err)
	}
	if len(used.columns) > 0 && t.batch.Targets.CSV == "" {
		return nil, t.batch.At(path, fmt.Errorf("uses .Row%s, but only a batch whose targets are a csv has rows", dotted(used.columns[0])))
	}
	for _, column := range used.columns {
		if _, known := t.columns[column]; !known {
			t.columns[column] = path
		}
	}
	t.fields = append(t.fields, used.fields...)
	return &hole{path, compiled, steps(compiled.Root)}, nil
}

// Fields are those fields of the Directory's user that the templates use, as the
// API's parameter fields has them for one user; empty where no user need be read. The
// primary address is not among them, for each [Target] has it. The API gives
// customSchemas only where projection is full.
func (t *Template) Fields() string {
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(t.fields))), ",")
}

// UsesUser tells whether the templates need the Directory's user.
func (t *Template) UsesUser() bool { return len(t.fields) > 0 }

// Columns are those of the CSV file that the templates use.
func (t *Template) Columns() []string {
	columns := make([]string, 0, len(t.columns))
	for column := range t.columns {
		columns = append(columns, column)
	}
	slices.Sort(columns)
	return columns
}

// CheckRow refuses a CSV file that lacks a column which the templates use. An error
// is a [*jobs.BatchError].
func (t *Template) CheckRow(columns []string) error {
	for _, used := range t.Columns() {
		if !slices.Contains(columns, used) {
			there := "it has none beside the user's"
			if len(columns) > 0 {
				there = "it has " + listed(columns)
			}
			return t.batch.At(t.columns[used], fmt.Errorf("uses .Row%s, but the CSV file has no such column; %s", dotted(used), there))
		}
	}
	return nil
}

// listed shows names from outside, the first of them where there are many.
func listed(names []string) string {
	const most = 50
	shown := make([]string, 0, most)
	for _, name := range names[:min(len(names), most)] {
		shown = append(shown, jobs.Quote(name))
	}
	if len(names) > most {
		shown = append(shown, "…")
	}
	return strings.Join(shown, ", ")
}

// Applies tells whether the batch is for this user. An error is as with Render.
func (t *Template) Applies(target Target, info Info) (bool, error) {
	if t.where == nil {
		return true, nil
	}
	s, err := t.scope(target, info)
	if err != nil {
		return false, err
	}
	var text limited
	if err := t.where.write(&text, s); err != nil {
		return false, t.batch.At(t.where.path, fmt.Errorf("fails for %s: %s", target.User, problem(err)))
	}
	switch said := strings.TrimSpace(text.String()); said {
	case "true", "false":
		return said == "true", nil
	default:
		return false, t.batch.At(t.where.path, fmt.Errorf("makes %s for %s; true or false is expected", jobs.Quote(said), target.User))
	}
}

// Render makes the job of a user. An error is a [*jobs.BatchError] of the string whose
// template fails for this user.
func (t *Template) Render(target Target, info Info) ([]byte, error) {
	s, err := t.scope(target, info)
	if err != nil {
		return nil, err
	}
	job := make([]byte, 0, len(t.batch.Job)+len(info.JobID)+512)
	job = appendText(append(job, `{"id":`...), info.JobID)
	job = appendText(append(job, `,"user":`...), target.User)
	job = append(job, t.always...)
	var text limited
	for _, p := range t.parts {
		job = append(job, p.text...)
		if p.hole == nil {
			break
		}
		text.Reset()
		s.items = 0
		if err := p.hole.write(&text, s); err != nil {
			return nil, t.batch.At(p.hole.path, fmt.Errorf("cannot be made for %s: %s", target.User, problem(err)))
		}
		job = appendText(job, text.String())
	}
	if len(job) > jobs.MaxData {
		return nil, t.batch.At("job", fmt.Errorf("is %d bytes long for %s; a job has at most %d", len(job), target.User, jobs.MaxData))
	}
	return job, nil
}

// scope is what the templates see.
func (t *Template) scope(target Target, info Info) (*scope, error) {
	s := &scope{row: target.Row, info: info}
	if len(target.Known) > 0 && t.UsesUser() {
		user, err := readUser(target.Known)
		if err != nil {
			return nil, t.batch.At("job", fmt.Errorf("cannot be made for %s: what the Directory says of this user is no JSON object", target.User))
		}
		s.user = user
	}
	if s.user == nil {
		s.user = make(map[string]any, 1)
	}
	s.user["primaryEmail"] = target.User
	return s, nil
}

// appendText appends a JSON string. What is not UTF-8 in the text is replaced, for
// JSON cannot have it.
func appendText(to []byte, text string) []byte {
	quoted, err := jsontext.AppendQuote(to, strings.ToValidUTF8(text, "\uFFFD"))
	if err != nil { // there is no other reason
		panic("batch: a string cannot be quoted: " + err.Error())
	}
	return quoted
}

// limited is a buffer that takes no more than maxText.
type limited struct{ bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxText {
		return 0, failf("it would be longer than %d bytes", maxText)
	}
	return l.Buffer.Write(p)
}

// WriteString is what [io.WriteString] would call in place of Write.
func (l *limited) WriteString(s string) (int, error) {
	if l.Len()+len(s) > maxText {
		return 0, failf("it would be longer than %d bytes", maxText)
	}
	return l.Buffer.WriteString(s)
}

var _ io.StringWriter = (*limited)(nil)
