package actions

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"path"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Methods are what can be called. To tell of them takes no connection.
type Methods struct{ facts *discovery.Table }

// NewMethods makes the Methods. The facts of an API are read when it is first named.
func NewMethods() *Methods { return &Methods{discovery.New()} }

// find is the method of that id, if a job may call it.
func (ms *Methods) find(id string) (*discovery.Method, error) {
	m, ok := ms.facts.Method(id)
	switch {
	case !ok:
		return nil, jobs.Errorf("action", "is %s, which is no method that is known here%s; onbehalf actions lists them", jobs.Quote(id), ms.meant(id))
	case anyMatches(secretAnswers, id):
		return nil, jobs.Errorf("action", "is %s, which answers with a secret; results are published, and no place for one", id)
	case anyMatches(ownScopes, id):
		return nil, jobs.Errorf("action", "is %s, which needs the scopes that the script itself uses; they are not known here", id)
	case len(m.Scopes) == 0:
		return nil, jobs.Errorf("action", "is %s, for which Google's Discovery document names no scope; it cannot be called with a delegated token", id)
	}
	return m, nil
}

// meant is the method that an unknown id was probably meant to be.
func (ms *Methods) meant(id string) string {
	first, rest, _ := strings.Cut(id, ".")
	if _, ok := ms.facts.Method(rest); ok { // admin.directory.users.list
		return didYouMean(rest, []string{rest})
	}
	api, ok := ms.facts.API(first)
	if !ok {
		names := ms.facts.Names()
		if api, ok = ms.facts.API(nearest(first, names)); !ok {
			return ""
		}
	}
	var ids []string
	for _, m := range api.Methods {
		ids = append(ids, m.ID)
	}
	return didYouMean(id, ids)
}

// Fits gives nil where a job may call some method that fits the glob, in which *
// stands for any characters; otherwise what is wrong with the glob. It reads the
// facts of the APIs that may have one.
func (ms *Methods) Fits(glob string) error {
	if !strings.Contains(glob, "*") {
		var wrong *jobs.FieldError
		if _, err := ms.find(glob); errors.As(err, &wrong) {
			return errors.New(wrong.Problem)
		}
		return nil
	}
	begins, _, _ := strings.Cut(glob, "*")
	for _, name := range ms.facts.Names() {
		if (strings.HasPrefix(name+".", begins) || strings.HasPrefix(begins, name+".")) && ms.fitsOne(glob, name) {
			return nil
		}
	}
	return fmt.Errorf("is %s, which fits no method that may be called; onbehalf actions lists them", jobs.Quote(glob))
}

// fitsOne tells whether a glob fits one of an API's methods that may be called.
func (ms *Methods) fitsOne(glob, name string) bool {
	api, _ := ms.facts.API(name)
	return slices.ContainsFunc(api.Methods, func(m *discovery.Method) bool {
		ok, err := path.Match(glob, m.ID)
		if err != nil || !ok {
			return false
		}
		_, err = ms.find(m.ID)
		return err == nil
	})
}

// Description is all that a person has to know to write a job for a method.
type Description struct {
	ID      string `json:"id"`
	Summary string `json:"summary"`
	// Address is the HTTP method and a template of the address.
	Address string        `json:"address"`
	Params  []Input       `json:"params"`
	Body    []Input       `json:"body,omitempty"`
	Takes   string        `json:"takes,omitempty"` // message, media
	Accepts []string      `json:"accepts,omitempty"`
	MaxSize int64         `json:"maxSize,omitempty"` // in bytes
	Output  bool          `json:"output"`            // output may be given
	Pages   bool          `json:"pages"`             // pages may be given
	Scopes  []ScopeChoice `json:"scopes"`
	// Service is the API's name for gcloud services, such as "gmail.googleapis.com".
	Service string `json:"service"`
	// Units are quota units, where the API counts in them; otherwise 1, a request.
	Units int   `json:"units"`
	Class Class `json:"class"`
	// Kept says that what came of a job is kept, so that the call is never made for it
	// again; of other methods it is made again with each delivery.
	Kept bool `json:"kept"`
	// Lookup is how it is found out what came of a call whose answer was lost; empty
	// where nobody can. LookupIf says for which jobs; empty is all.
	Lookup   Lookup `json:"lookup,omitempty"`
	LookupIf string `json:"lookupIf,omitempty"`
	// LookupScopes are needed for that beside Scopes.
	LookupScopes []string `json:"lookupScopes,omitempty"`
	// Example is a job that passes every check.
	Example jsontext.Value `json:"example"`
}

// Input is a parameter, or a field of the body.
type Input struct {
	Name     string `json:"name"`
	Accepts  string `json:"accepts"`
	Required bool   `json:"required"`
	Summary  string `json:"summary,omitempty"`
}

// ScopeChoice is which scopes are asked for, and for which jobs.
type ScopeChoice struct {
	Scopes []string `json:"scopes"`
	If     string   `json:"if,omitempty"` // empty: for all others
}

// Summary is a method in one line.
type Summary struct {
	ID      string `json:"id"`
	Summary string `json:"summary"`
}

// List is every method that a job may call, sorted by its id. It reads the facts
// of all APIs.
func (ms *Methods) List() []Summary {
	var all []Summary
	for m, err := range ms.every() {
		if err == nil {
			all = append(all, Summary{m.ID, m.Summary})
		}
	}
	return all
}

// Listed are the ids of the methods that lists names, sorted; not are the errors of
// those among them that no job may call, each a [*jobs.FieldError]. It reads the facts
// of all APIs.
func (ms *Methods) Listed(lists func(id string) bool) (ids []string, not []error) {
	for m, err := range ms.every() {
		switch {
		case !lists(m.ID):
		case err != nil:
			not = append(not, err)
		default:
			ids = append(ids, m.ID)
		}
	}
	return ids, not
}

// every gives each method that is known, by its id, and why a job may not call it.
func (ms *Methods) every() iter.Seq2[*discovery.Method, error] {
	return func(yield func(*discovery.Method, error) bool) {
		for _, name := range ms.facts.Names() {
			api, _ := ms.facts.API(name)
			for _, m := range api.Methods {
				if _, err := ms.find(m.ID); !yield(m, err) {
					return
				}
			}
		}
	}
}

// UserScopes are all the scopes that jobs of the method may ask for as a user, sorted:
// for each of its choices, and to look up what came of the call. An error is a
// [*jobs.FieldError].
func (ms *Methods) UserScopes(id string) ([]string, error) {
	m, err := ms.find(id)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, choice := range scopeChoices(m) {
		if choice.If != ifItself {
			all = append(all, choice.Scopes...)
			all = append(all, ms.lookScopes(id, choice.Scopes)...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// Describe tells all of a method. An error is a [*jobs.FieldError].
func (ms *Methods) Describe(id string) (*Description, error) {
	m, err := ms.find(id)
	if err != nil {
		return nil, err
	}
	c := &Call{method: m}
	d := &Description{
		ID: m.ID, Summary: m.Summary, Address: m.HTTPMethod + " " + m.Root + m.Path,
		Output: m.Download, Pages: itemsOf(m) != "", Units: unitsOf(id), Class: classOf(m, jobs.Job{}, nil),
		Scopes: scopeChoices(m), Service: m.Service(), Example: c.example(),
	}
	d.Kept = kept(m, d.Class)
	ms.describeLookup(c, d)
	d.Params, d.Body = paramInputs(m), c.bodyInputs()
	switch {
	case c.takesLetter():
		d.Takes, d.Accepts, d.MaxSize = "message", m.Upload.Accept, m.Upload.MaxSize
	case m.Upload != nil:
		d.Takes, d.Accepts, d.MaxSize = "media", m.Upload.Accept, m.Upload.MaxSize
	case mediaFields[id] != "":
		d.Takes, d.Accepts, d.MaxSize = "media", []string{"*/*"}, maxField
	}
	return d, nil
}

// describeLookup tells how calls of the method are looked up.
func (ms *Methods) describeLookup(c *Call, d *Description) {
	if repeat := repeatRowOf(d.ID); repeat != nil && d.Class == Once && c.repeatable(repeat) {
		d.Lookup = ByRequestID
		return
	}
	if row := lookRowOf(d.ID); row != nil {
		d.Lookup, d.LookupIf = row.lookup, row.If
		d.LookupScopes = ms.lookScopes(d.ID, scopesFor(c.method, jobs.Job{}, nil))
	}
}

// lookScopes are those with which a call of the method is looked up; none where that
// needs no others than its own.
func (ms *Methods) lookScopes(id string, own []string) []string {
	row := lookRowOf(id)
	if row == nil {
		return nil
	}
	query := url.Values{}
	for name, value := range row.params {
		query.Set(name, value)
	}
	scopes, _ := ms.lookCost(row, own, jobs.Job{}, query)
	if slices.Equal(scopes, own) {
		return nil
	}
	return scopes
}

func paramInputs(m *discovery.Method) []Input {
	var all []Input
	for _, p := range m.Params {
		in := Input{p.Name, expected(p.Type), p.Required, p.Summary}
		switch {
		case p.Name == userID && !anyMatches(othersUserID, m.ID):
			in.Accepts, in.Required = "me, or the job's own user", false
		case p.Repeated:
			in.Accepts = "an array, each of its items " + in.Accepts
		}
		all = append(all, in)
	}
	return all
}

// inside says what a type accepts, and of an object which fields it has.
func inside(t *discovery.Type) string {
	switch {
	case t.Kind == discovery.Array:
		return "an array, each of its items " + inside(t.Elem)
	case t.Kind == discovery.Object && len(t.Schema.Fields) > 0:
		var names []string
		for _, f := range t.Schema.Fields {
			if settable(t.Schema, f) {
				names = append(names, f.Name)
			}
		}
		return "an object with " + enumerate(names)
	}
	return expected(t)
}

func (c *Call) bodyInputs() []Input {
	m := c.method
	if m.Request == nil {
		return nil
	}
	var all []Input
	for _, f := range m.Request.Fields {
		letter := c.takesLetter() && (f.Name == "raw" || f.Name == "payload") // which come in message
		if settable(m.Request, f) && f.Name != mediaFields[m.ID] && !letter {
			all = append(all, Input{f.Name, inside(f.Type), needs(m.ID, f), f.Summary})
		}
	}
	return all
}

// scopeChoices are the scopes that the method's jobs may need.
func scopeChoices(m *discovery.Method) []ScopeChoice {
	var all []ScopeChoice
	for _, row := range scopeRows {
		sooner := func(c ScopeChoice) bool { return c.If == row.If }
		if matches(row.glob, m.ID) && accepts(m, row.scopes) && !slices.ContainsFunc(all, sooner) {
			all = append(all, ScopeChoice{long(row.scopes), row.If})
			if row.when == nil {
				return all
			}
		}
	}
	return append(all, ScopeChoice{Scopes: scopesFor(m, jobs.Job{}, nil)})
}

// cloudAPIs are those of Google Cloud: no user's own data, so they are called as the
// service account.
var cloudAPIs = []string{"cloudresourcemanager", "compute", "datastore", "iam", "sql", "storage"}

// Examples that people wrote, a job on each line. Those that can be done one after
// the other in an embedded Workspace are done so by tests.
//
//go:embed examples/*.jsonl
var examples embed.FS

// written is the example that somebody wrote for the method; nil where nobody did.
func written(id string) jsontext.Value {
	files, err := examples.ReadDir("examples")
	if err != nil { // what is embedded can be read
		panic("actions: " + err.Error())
	}
	for _, file := range files {
		text, err := examples.ReadFile("examples/" + file.Name())
		if err != nil {
			panic("actions: " + err.Error())
		}
		for line := range bytes.Lines(text) {
			if !bytes.Contains(line, []byte(`"action": "`+id+`"`)) {
				continue
			}
			job, err := jobs.Decode(line, "")
			if err != nil {
				panic("actions: " + err.Error())
			}
			job.ID = "" // which is the author's own
			return marshal(job)
		}
	}
	return nil
}

// example is a job for the method with all that is required: that which somebody
// wrote, or else one with placeholders.
func (c *Call) example() jsontext.Value {
	m := c.method
	if job := written(m.ID); job != nil {
		return job
	}
	job := jobs.Job{User: "ada@example.com", Action: m.ID}
	if prefix, _, _ := strings.Cut(m.ID, "."); slices.Contains(cloudAPIs, prefix) {
		job.User, job.As = "", jobs.AsServiceAccount
	}
	job.Params = exampleParams(m)
	switch {
	case c.takesLetter():
		job.Message = &jobs.Message{Compose: &jobs.Compose{To: []string{"grace@example.com"}, Subject: "Hello", Text: "Hello, Grace!"}}
	case anyMatches(mediaNeeded, m.ID), mediaFields[m.ID] != "":
		job.Media = &jobs.Media{URI: "gs://bucket/object", ContentType: "image/png"}
	}
	if m.Request != nil && !c.takesLetter() {
		body := c.required(m.Request)
		if delete(body, mediaFields[m.ID]); len(body) > 0 {
			job.Body = marshal(body)
		}
	}
	if m.Download && m.Response == nil {
		job.Output = "gs://bucket/object"
	}
	return marshal(job)
}

// exampleParams are the parameters that are required.
func exampleParams(m *discovery.Method) jsontext.Value {
	params := map[string]any{}
	for _, p := range m.Params {
		if !p.Required || p.Name == userID && !anyMatches(othersUserID, m.ID) {
			continue
		}
		params[p.Name] = sample(p.Name, p.Type)
		if p.Repeated {
			params[p.Name] = []any{params[p.Name]}
		}
	}
	if len(params) == 0 {
		return nil
	}
	return marshal(params)
}

// required has the fields that an object must have.
func (c *Call) required(s *discovery.Schema) map[string]any {
	object := map[string]any{}
	for _, f := range s.Fields {
		if !needs(c.method.ID, f) {
			continue
		}
		switch t := f.Type; {
		case t.Kind == discovery.Object:
			object[f.Name] = c.required(t.Schema)
		case t.Kind == discovery.Array && t.Elem.Kind == discovery.Object:
			object[f.Name] = []any{c.required(t.Elem.Schema)}
		default:
			object[f.Name] = sample(f.Name, t)
		}
	}
	return object
}

// sample is a value of the type.
func sample(name string, t *discovery.Type) any {
	switch t.Kind {
	case discovery.Boolean:
		return true
	case discovery.Integer, discovery.Number:
		return jsontext.Value(max(t.Min, "1"))
	case discovery.Array:
		return []any{sample(name, t.Elem)}
	case discovery.Object:
		return map[string]any{}
	case discovery.Map:
		return map[string]any{"key": sample(name, t.Elem)}
	case discovery.Any:
		return name
	default:
	}
	switch {
	case t.Enum != nil:
		return t.Enum[len(t.Enum)-1]
	case t.Pattern != "":
		return matching(t.Pattern)
	}
	if text, ok := samples[t.Format]; ok {
		return text
	}
	return capitals(name)
}

var samples = map[string]string{
	"int64": "1", "uint64": "1", "byte": "SGVsbG8=", "date": "2026-11-30", "date-time": "2026-11-30T00:00:00Z",
	"google-datetime": "2026-11-30T00:00:00Z", "google-duration": "60s", "google-fieldmask": "name",
}

// capitals writes fileId as FILE_ID.
func capitals(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

// matching is a short text that matches a pattern of Google's.
func matching(pattern string) string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil { // discovery's tests compile them all
		return ""
	}
	var b strings.Builder
	match(&b, re)
	return b.String()
}

func match(b *strings.Builder, re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		b.WriteRune(oneOf(re.Rune))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteByte('a')
	case syntax.OpCapture, syntax.OpAlternate, syntax.OpPlus:
		match(b, re.Sub[0])
	case syntax.OpRepeat:
		for range max(1, re.Min) {
			match(b, re.Sub[0])
		}
	case syntax.OpStar:
		if re.Sub[0].Op == syntax.OpAnyCharNotNL || re.Sub[0].Op == syntax.OpAnyChar {
			b.WriteByte('a') // a part of a name, which may not be empty
		}
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			match(b, sub)
		}
	default: // what matches nothing, and what may be left out
	}
}

// oneOf is a character of a class, whose ranges are pairs: a letter if it has any.
func oneOf(class []rune) rune {
	for _, wanted := range []rune{'a', 'A', '1'} {
		for i := 0; i < len(class); i += 2 {
			if class[i] <= wanted && wanted <= class[i+1] {
				return wanted
			}
		}
	}
	return class[0]
}

func marshal(v any) jsontext.Value {
	data, err := json.Marshal(v, json.Deterministic(true))
	if err != nil { // of our own making
		panic("actions: " + err.Error())
	}
	return data
}
