package actions

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/letter"
)

// Sight is what a look has shown.
type Sight int

// What it can show.
const (
	Unclear Sight = iota // it cannot be told
	Absent               // the call was not carried out: it may be made
	Another              // what has the key is not as the call says: it may be made, for nothing would be there twice, but may have been carried out and changed since
	Present              // it was carried out
)

// Look finds out whether a call took effect whose answer was lost.
type Look struct {
	// Scopes are the call's own where they open what is read; otherwise the
	// narrowest that do.
	Scopes []string
	// Units are the quota units of one look.
	Units int
	// Wait is how long after the call may have been made at the latest nothing that
	// is not found may be taken for not there.
	Wait time.Duration

	call *Call
	row  *lookRow
	read *Call
}

// Kept tells whether what came of the call must be kept, so that it is never asked
// for again: a second call would do it twice, or get another answer, as what was
// deleted is not found.
func (c *Call) Kept() bool { return c.kept }

func kept(m *discovery.Method, class Class) bool {
	return class == Once || m.HTTPMethod == http.MethodDelete
}

// Traceable tells whether a look can show that the call was not carried out.
func (c *Call) Traceable() bool {
	look := c.Look()
	return look != nil && !look.row.hides
}

// Look is how to find out whether the call took effect; nil where nobody can.
func (c *Call) Look() *Look {
	row := lookRowOf(c.method.ID)
	if row == nil || c.Class != Once || c.noID || row.when != nil && !row.when(c) {
		return nil
	}
	params, ok := c.lookParams(row)
	if !ok {
		return nil
	}
	read, err := c.reading(row.read, params, row.items != "")
	if err != nil { // the key has a form that nothing can have
		return nil
	}
	scopes, units := c.lookCost(row, c.Scopes, read.job, read.query)
	wait := readLag
	if row.lookup == ByMessageID {
		wait = searchLag
	}
	return &Look{scopes, units, wait, c, row, read}
}

func lookRowOf(id string) *lookRow {
	for i := range lookRows {
		if matches(lookRows[i].glob, id) {
			return &lookRows[i]
		}
	}
	return nil
}

// lookCost is what a look needs: the scopes, of which own are the call's, and quota
// units. The job and its query are those of what is read first.
func (ms *Methods) lookCost(row *lookRow, own []string, job jobs.Job, query url.Values) (scopes []string, units int) {
	steps := []string{row.read}
	if row.then != "" {
		steps = append(steps, row.then)
	}
	scopes = own
	for _, id := range steps {
		m, err := ms.find(id)
		if err != nil { // the table's tests find all of them
			panic("actions: " + err.Error())
		}
		units += unitsOf(id)
		if !opens(m, scopes) {
			scopes = scopesFor(m, job, query)
		}
	}
	return scopes, units
}

// maxPagesRead is how many pages of a list are searched.
const maxPagesRead = 20

// reading is a call that reads, as the one who makes this call.
func (c *Call) reading(action string, params any, list bool) (*Call, error) {
	job := jobs.Job{ID: c.job.ID, User: c.job.User, As: c.job.As, Action: action, Params: marshal(params)}
	m, err := c.find(action)
	if err != nil {
		return nil, err
	}
	if list && itemsOf(m) != "" {
		job.Pages = &jobs.Pages{Max: maxPagesRead}
	}
	return c.prepare(job)
}

// placeholder stands in a parameter for what the call says.
var placeholder = regexp.MustCompile(`\{[^}]+\}`)

// lookParams are the parameters of what is read; not ok is that the call does not
// say all that they need.
func (c *Call) lookParams(row *lookRow) (params map[string]string, ok bool) {
	read, err := c.find(row.read)
	if err != nil {
		return nil, false
	}
	params, ok = map[string]string{}, true
	for _, p := range read.Params {
		if value := c.param(p.Name); value != "" && p.Name != userID && !p.Repeated {
			params[p.Name] = value
		}
	}
	if fields := c.query.Get("fields"); fields != "" && row.lookup == ByID {
		params["fields"] = fields // to get those that are not shown by themselves
	}
	for name, template := range row.params {
		params[name] = placeholder.ReplaceAllStringFunc(template, func(place string) string {
			value := c.said(strings.Trim(place, "{}"))
			ok = ok && value != ""
			return value
		})
		if strings.Contains(read.Path, "{+"+name+"}") { // in which no slash may come first, nor two
			params[name] = strings.TrimLeft(strings.ReplaceAll(params[name], "//", "/"), "/")
		}
	}
	return params, ok
}

// param is the call's parameter of that name; empty where it has none.
func (c *Call) param(name string) string {
	if value, ok := c.path[name]; ok {
		return value
	}
	return c.query.Get(name)
}

// said is what the call says at the first of these places, which are parted by |.
func (c *Call) said(places string) string {
	for place := range strings.SplitSeq(places, "|") {
		where, name, _ := strings.Cut(place, ".")
		value := c.param(name)
		if where == "body" {
			value, _ = stringOf(at(c.job.Body, name))
		}
		if value != "" {
			return value
		}
	}
	return ""
}

// at is what a JSON object has at a path such as scope.type; nil where it has
// nothing there.
func at(object jsontext.Value, path string) jsontext.Value {
	for name := range strings.SplitSeq(path, ".") {
		object = member(object, name)
	}
	return object
}

// Do looks, as the one whose token authorize puts on a request. Where the call was
// carried out, the answer is what it would have answered, as far as that can be
// read. An error is an [*Error].
func (l *Look) Do(ctx context.Context, authorize func(*http.Request)) (Answer, Sight, error) {
	if l.row.lookup == ByMessageID {
		return l.forLetter(ctx, authorize)
	}
	found, err := l.read.Do(ctx, authorize)
	switch {
	case away(err) && l.row.lookup == ByAbsence:
		return Answer{}, Present, nil
	case away(err):
		return Answer{}, Absent, nil
	case err != nil:
		return Answer{}, Unclear, err
	}
	switch l.row.lookup {
	case ByID:
		return l.present(found)
	case ByAbsence:
		if status, _ := stringOf(member(found.Response, "status")); status == "cancelled" { // as Calendar deletes
			return Answer{}, Present, nil
		}
		return Answer{}, Absent, nil
	default:
		return l.compare(found)
	}
}

// away tells whether Google has said that there is no such thing.
func away(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Status == http.StatusNotFound || e.Status == http.StatusGone)
}

// present cuts what was found down to what the call would have answered.
func (l *Look) present(found Answer) (Answer, Sight, error) {
	fields := l.call.query.Get("fields")
	if fields == "" {
		fields = l.row.fields
	}
	if fields != "" && found.Cut == nil {
		found.Response = selectionOf(fields).of(found.Response)
	}
	return found, Present, nil
}

// compare looks for what the call's body says in what was read.
func (l *Look) compare(found Answer) (Answer, Sight, error) {
	items := []jsontext.Value{found.Response}
	if l.row.items != "" {
		items = nil
		if list := member(found.Response, l.row.items); list != nil && json.Unmarshal(list, &items) != nil {
			return Answer{}, Unclear, newError(errNoJSON)
		}
	}
	b := l.body()
	others := false
	for _, item := range items {
		switch {
		case !b.named(item):
		case b.is(item):
			return l.present(Answer{Response: item})
		default:
			others = true
		}
	}
	next, _ := stringOf(member(found.Response, nextPageToken))
	switch {
	case found.Cut != nil, next != "": // not all of it was read
		return Answer{}, Unclear, nil
	case others && (l.row.items == "" || len(l.row.keys) > 0):
		return Answer{}, l.row.other, nil
	}
	return Answer{}, Absent, nil
}

// maxHits is how many letters that a search has found are looked at: a Message-ID is
// meant to be of one.
const maxHits = 5

// idForm are Message-IDs that a search surely takes for no more than an id. A letter
// may come from anybody, and have any.
var idForm = regexp.MustCompile(`^<([A-Za-z0-9][A-Za-z0-9.$%&+/=_-]{0,250}@[A-Za-z0-9][A-Za-z0-9._-]{0,250})>$`)

// forLetter searches for the letter by its Message-ID, and believes the search only
// where the letter that it has found has just this one.
func (l *Look) forLetter(ctx context.Context, authorize func(*http.Request)) (Answer, Sight, error) {
	if err := l.call.Load(ctx); err != nil {
		return Answer{}, Unclear, err
	}
	id, err := letter.IDOf(ctx, l.call.media)
	if err != nil {
		return Answer{}, Unclear, loadError(&objectError{l.call.mediaField(), err})
	}
	form := idForm.FindStringSubmatch(id)
	if form == nil {
		return Answer{}, Unclear, nil
	}
	l.read.query.Set("q", messageIDQuery+form[1])
	found, err := l.read.Do(ctx, authorize)
	if err != nil {
		return Answer{}, Unclear, err
	}
	hits := hitsOf(found.Response)
	for _, hit := range hits[:min(len(hits), maxHits)] {
		answer, is, err := l.letter(ctx, authorize, hit, id)
		switch {
		case err != nil:
			return Answer{}, Unclear, err
		case is:
			return l.present(answer)
		}
	}
	if l.row.hides || found.Cut != nil || len(hits) > maxHits {
		return Answer{}, Unclear, nil
	}
	return Answer{}, Absent, nil
}

// hitsOf are the ids of the messages, or of the drafts, that a search has found.
func hitsOf(list jsontext.Value) []string {
	var found struct {
		Messages []struct {
			ID string `json:"id"`
		} `json:"messages"`
		Drafts []struct {
			ID string `json:"id"`
		} `json:"drafts"`
	}
	if json.Unmarshal(list, &found) != nil {
		return nil
	}
	var ids []string
	for _, hit := range append(found.Messages, found.Drafts...) {
		ids = append(ids, hit.ID)
	}
	return ids
}

// storedLetter is what Gmail answers of a letter, or of a draft with one.
type storedLetter struct {
	ID       string         `json:"id,omitzero"`
	Message  *storedLetter  `json:"message,omitzero"` // of a draft
	ThreadID string         `json:"threadId,omitzero"`
	LabelIDs []string       `json:"labelIds,omitzero"`
	Payload  *letterPayload `json:"payload,omitzero"`
}

type letterPayload struct {
	Headers []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	} `json:"headers"`
}

// letter gets a letter that was found; is tells whether it is the call's.
func (l *Look) letter(ctx context.Context, authorize func(*http.Request), hit, id string) (answer Answer, is bool, err error) {
	params := map[string]any{"id": hit, "format": "metadata"}
	if m, err := l.call.find(l.row.then); err == nil {
		if p, ok := m.Param("metadataHeaders"); ok {
			params[p.Name] = []string{"Message-ID"}
		}
	}
	get, err := l.call.reading(l.row.then, params, false)
	if err != nil {
		return Answer{}, false, newError(err)
	}
	got, err := get.Do(ctx, authorize)
	switch {
	case away(err): // deleted since
		return Answer{}, false, nil
	case err != nil:
		return Answer{}, false, err
	}
	var whole storedLetter
	if got.Cut != nil || json.Unmarshal(got.Response, &whole) != nil {
		return Answer{}, false, newError(errNoJSON)
	}
	stored := &whole
	if whole.Message != nil {
		stored = whole.Message
	}
	if !stored.has(id) || l.row.label != "" && !slices.Contains(stored.LabelIDs, l.row.label) {
		return Answer{}, false, nil
	}
	stored.Payload = nil
	return Answer{Response: marshal(whole)}, true, nil
}

// has tells whether the letter has that Message-ID, and no other.
func (s *storedLetter) has(id string) bool {
	var ids []string
	if s.Payload != nil {
		for _, h := range s.Payload.Headers {
			if strings.EqualFold(h.Name, "Message-ID") {
				ids = append(ids, strings.TrimSpace(h.Value))
			}
		}
	}
	return slices.Equal(ids, []string{id})
}

// DoneBefore tells whether a refusal says that the call was carried out before; with
// doubt an earlier attempt may have made it. Of a thing with an id of the author's
// choice that is so only with doubt: without, somebody else has the id. A look shows
// what there is.
func (c *Call) DoneBefore(e *Error, doubt bool) bool {
	switch {
	case e.Object != "" || e.Doubtful:
		return false
	case c.method.HTTPMethod == http.MethodDelete:
		return doubt && (e.Status == http.StatusNotFound || e.Status == http.StatusGone)
	case e.Status != http.StatusConflict:
		return false
	case c.ours, c.theirs:
		return c.ours || doubt
	}
	look := c.Look()
	return doubt && look != nil && look.row.lookup == ByID
}
