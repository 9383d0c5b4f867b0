package actions

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/storage/v1"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Answer is what the API answered, as JSON.
type Answer struct {
	Response jsontext.Value // nil where the answer was empty
	Cut      *jobs.Cut      // nil where Response is all of it
}

const (
	// maxAnswer is the longest answer, in bytes, that a result holds whole.
	maxAnswer = 256 << 10
	// maxCounted is how much of a longer one is read to say how long it is.
	maxCounted = 64 << 20
)

var errNoJSON = errors.New("the answer is no JSON")

// read reads an answer, and cuts it where it is too long for a result.
func (s *sending) read(res *http.Response) (Answer, error) {
	r := res.Body
	head, err := io.ReadAll(io.LimitReader(r, maxAnswer+1)) // all that is ever held
	if err != nil {
		return Answer{}, err
	}
	value := jsontext.Value(bytes.TrimSpace(head))
	switch {
	case len(value) == 0 && (s.method.Response == nil || res.StatusCode == http.StatusNoContent):
		return Answer{}, nil
	case len(head) <= maxAnswer && !value.IsValid():
		return Answer{}, errNoJSON
	case len(head) <= maxAnswer:
		return Answer{Response: value}, nil
	}
	response, err := beginning(head)
	if err != nil {
		return Answer{}, err
	}
	cut := &jobs.Cut{KeptBytes: len(response)}
	// More of it cannot change the result, only say how much there was.
	if rest, err := io.Copy(io.Discard, io.LimitReader(r, maxCounted)); err == nil && rest < maxCounted {
		cut.TotalBytes = int64(len(head)) + rest
	}
	return Answer{response, cut}, nil
}

// beginning is as much of a JSON text as a result holds, with all closed that is
// open then: still JSON. head is its beginning, longer than that.
func beginning(head []byte) (jsontext.Value, error) {
	var b bytes.Buffer
	in, out := jsontext.NewDecoder(bytes.NewReader(head)), jsontext.NewEncoder(&b)
	for {
		at := in.InputOffset()
		token, err := in.ReadToken()
		// A token is never written longer than it was read. Then what is open must be
		// closed, the token itself and a null for a name's value included.
		most := out.OutputOffset() + in.InputOffset() - at + int64(out.StackDepth()) + endRoom
		switch over := out.OutputOffset() > 0 && out.StackDepth() == 0; {
		case over && errors.Is(err, io.EOF): // there were only blanks
			return closed(&b, out)
		case over:
			return nil, errNoJSON
		case errors.Is(err, io.ErrUnexpectedEOF), in.InputOffset() == int64(len(head)): // perhaps not all of the token
			return closed(&b, out)
		case err != nil:
			return nil, errors.Join(errNoJSON, err)
		case most > maxAnswer:
			return closed(&b, out)
		}
		if err := out.WriteToken(token); err != nil {
			return nil, err
		}
	}
}

const endRoom = int64(len("}:null"))

// closed ends a JSON text where it is: a name gets null for its value.
func closed(b *bytes.Buffer, out *jsontext.Encoder) (jsontext.Value, error) {
	open, length := out.StackIndex(out.StackDepth())
	nothing := out.OutputOffset() == 0
	if nothing || open == '{' && length%2 == 1 {
		if err := out.WriteToken(jsontext.Null); err != nil {
			return nil, err
		}
	}
	for out.StackDepth() > 0 {
		end := jsontext.EndObject
		if open, _ := out.StackIndex(out.StackDepth()); open == '[' {
			end = jsontext.EndArray
		}
		if err := out.WriteToken(end); err != nil {
			return nil, err
		}
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

const (
	pageToken     = "pageToken"
	nextPageToken = "nextPageToken"
)

// checkPages sees to it that there are pages to follow.
func (c *Call) checkPages() error {
	if c.job.Pages == nil {
		return nil
	}
	switch fields := c.query.Get("fields"); {
	case itemsOf(c.method) == "":
		return jobs.Errorf("pages", "is given, but %s has no pages, or none that could be joined", c.method.ID)
	case fields != "" && !slices.ContainsFunc(outermost(fields), func(name string) bool { return name == "*" || name == nextPageToken }):
		return jobs.Errorf("params.fields", "is %s; with pages it must ask for %s, too", jobs.Quote(fields), nextPageToken)
	}
	return nil
}

// itemsOf is the field of a list's answer that holds the items; empty where it is
// no list in pages. An answer may have several arrays: the items are called so, or
// as the resource is, or there is only one.
func itemsOf(m *discovery.Method) string {
	if _, inQuery := m.Param(pageToken); m.Response == nil || !inQuery && !takes(m.Request, pageToken) || !takes(m.Response, nextPageToken) {
		return ""
	}
	words := strings.Split(m.ID, ".")
	resource := words[max(0, len(words)-2)]
	var arrays []string
	for _, f := range m.Response.Fields {
		switch {
		case f.Type.Kind == discovery.Array:
			arrays = append(arrays, f.Name)
		case f.Name == "items": // a map, whose values would have to be joined
			return ""
		}
	}
	for _, name := range []string{"items", resource} {
		if slices.Contains(arrays, name) {
			return name
		}
	}
	if len(arrays) == 1 {
		return arrays[0]
	}
	return listFields[m.ID]
}

// listFields are the items of lists whose answers have several arrays.
var listFields = map[string]string{
	"cloudsearch.operations.lro.list":   "operations",
	"compute.routers.listBgpRoutes":     "result",
	"compute.routers.listNamedSets":     "result",
	"compute.routers.listRoutePolicies": "result",
	"reports.customerUsageReports.get":  "usageReports",
	"reports.entityUsageReports.get":    "usageReports",
	"reports.userUsageReport.get":       "usageReports",
	"sql.Backups.ListBackups":           "backups",
}

func takes(s *discovery.Schema, field string) bool {
	if s == nil {
		return false
	}
	_, ok := s.Field(field)
	return ok
}

// pages follows the page tokens, and gives the last page with the items of all. What
// does not fit into a result is left for another job: the page token that is in
// the answer leads there.
func (s *sending) pages(ctx context.Context) (Answer, error) {
	query, all := maps.Clone(s.query), newList(s.method)
	next, _ := stringOf(member(s.job.Body, pageToken))
	next = cmp.Or(next, query.Get(pageToken))
	for range s.job.Pages.Max {
		page, err := s.page(ctx, query)
		switch {
		case err != nil && ctx.Err() != nil && all.last != nil: // time is up, not the pages that are there
			return all.answer()
		case err != nil:
			return Answer{}, err
		case page.Cut != nil && all.last == nil:
			return page, nil // the first page is too long already
		case page.Cut != nil || all.size+len(page.Response) > maxAnswer:
			return all.answer()
		}
		if err := all.add(page.Response); err != nil {
			return Answer{}, err
		}
		last := next
		if next, _ = stringOf(all.last[nextPageToken]); next == "" || next == last { // the same again leads nowhere
			break
		}
		if err := s.turn(query, next); err != nil {
			return Answer{}, err
		}
	}
	return all.answer()
}

func (s *sending) page(ctx context.Context, query url.Values) (Answer, error) {
	res, err := s.send(ctx, query)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	return s.read(res)
}

// list is several pages of one list.
type list struct {
	items string // the field that they are in
	// arrays are those of all pages, by their fields: the items one after the
	// other, and of the others, such as the prefixes of objects' names, each item once.
	arrays map[string][]jsontext.Value
	seen   map[string]bool // the others' items, behind the names of their fields
	last   map[string]jsontext.Value
	size   int
}

func newList(m *discovery.Method) *list {
	l := &list{items: itemsOf(m), arrays: map[string][]jsontext.Value{}, seen: map[string]bool{}}
	for _, f := range m.Response.Fields {
		if f.Type.Kind == discovery.Array {
			l.arrays[f.Name] = nil
		}
	}
	return l
}

func (l *list) add(page jsontext.Value) error {
	l.last, l.size = nil, l.size+len(page)
	if json.Unmarshal(page, &l.last) != nil || l.last == nil { // null is read, too
		return errNoJSON
	}
	for field := range l.arrays {
		var items []jsontext.Value
		if l.last[field] != nil && json.Unmarshal(l.last[field], &items) != nil {
			return errNoJSON
		}
		if field != l.items {
			items = slices.DeleteFunc(items, func(item jsontext.Value) bool {
				key := field + string(item)
				known := l.seen[key]
				l.seen[key] = true
				return known
			})
		}
		l.arrays[field] = append(l.arrays[field], items...)
	}
	return nil
}

func (l *list) answer() (Answer, error) {
	for field, joined := range l.arrays {
		if joined != nil {
			l.last[field] = marshal(joined)
		}
	}
	return Answer{Response: marshal(l.last)}, nil
}

// turn asks for the next page: in the query, or in the body where the method has
// it there.
func (s *sending) turn(query url.Values, token string) error {
	if _, ok := s.method.Param(pageToken); ok {
		query.Set(pageToken, token)
		return nil
	}
	members := map[string]jsontext.Value{} // with numbers as they are written
	if s.job.Body != nil {
		if err := json.Unmarshal(s.job.Body, &members); err != nil {
			return err
		}
	}
	members[pageToken] = marshal(token)
	page := *s.Call // another delivery may not find this one's token in it
	page.body = encode(marshal(members))
	s.Call = &page
	return nil
}

// stored is what the result says of a download.
type stored struct {
	Output      string `json:"output"`
	Bytes       uint64 `json:"bytes"`
	ContentType string `json:"contentType"`
	CRC32C      string `json:"crc32c"`
	Generation  int64  `json:"generation,string"`
}

// downloadChunk is how much of a download is held in memory, in bytes, so that
// Cloud Storage can be sent it again.
const downloadChunk = 2 << 20

// download puts the content itself where the job wants it, piece by piece.
func (s *sending) download(ctx context.Context) (Answer, error) {
	bucket, name, err := jobs.ObjectOf("output", s.job.Output)
	if err != nil {
		return Answer{}, err
	}
	res, err := s.sendJSON(ctx, s.query, "media")
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	contentType := cmp.Or(res.Header.Get("Content-Type"), "application/octet-stream")
	body := &brokenReader{Reader: res.Body}
	object, err := s.storage.Objects.Insert(bucket, &storage.Object{Name: name, ContentType: contentType}).
		Media(body, googleapi.ContentType(contentType), googleapi.ChunkSize(downloadChunk)).
		Context(ctx).Do()
	switch {
	case body.err != nil:
		return Answer{}, body.err
	case err != nil:
		return Answer{}, &objectError{"output", err}
	}
	return Answer{Response: marshal(stored{s.job.Output, object.Size, contentType, object.Crc32c, object.Generation})}, nil
}

// brokenReader keeps the error that a download broke off with: then it is not Cloud
// Storage that failed.
type brokenReader struct {
	io.Reader
	err error
}

func (r *brokenReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}
