// Package discovery has the facts about the methods that can be called, as
// Google's Discovery documents state them: addresses, parameters, bodies,
// scopes. It knows nothing of what is called why; see internal/actions for
// that.
//
// The facts are those of the google.golang.org/api in go.mod. After a new
// version of it, run go generate in this folder.
package discovery

import (
	"embed"
	"path"
	"slices"
	"strings"
	"sync"
)

//go:generate go run ./gen

//go:embed facts/*.txt
var facts embed.FS

// Table has the facts of all APIs. Those of one are read when it is first asked
// for. A Table may be used by many at once.
type Table struct {
	apis map[string]func() *API
}

// New makes a Table. It reads nothing yet.
func New() *Table {
	t := &Table{apis: map[string]func() *API{}}
	files, err := facts.ReadDir("facts")
	if err != nil { // what is embedded can be read
		panic("discovery: " + err.Error())
	}
	for _, f := range files {
		t.apis[strings.TrimSuffix(f.Name(), ".txt")] = sync.OnceValue(func() *API { return load(f.Name()) })
	}
	return t
}

func load(file string) *API {
	text, err := facts.ReadFile(path.Join("facts", file))
	if err != nil { // it was listed
		panic("discovery: " + err.Error())
	}
	return parse(string(text))
}

// Names are what the APIs are called in method ids, such as "gmail", "sql" and
// "directory", sorted.
func (t *Table) Names() []string {
	var names []string
	for name := range t.apis {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// API is the one whose method ids begin with that name.
func (t *Table) API(name string) (*API, bool) {
	api, ok := t.apis[name]
	if !ok {
		return nil, false
	}
	return api(), true
}

// Method is the one with that Discovery id, such as
// "gmail.users.messages.insert".
func (t *Table) Method(id string) (*Method, bool) {
	name, _, _ := strings.Cut(id, ".")
	api, ok := t.API(name)
	if !ok {
		return nil, false
	}
	return api.Method(id)
}

// API is one of Google's APIs, or the part of one whose method ids begin alike.
type API struct {
	Name    string
	Version string
	// Root is what its addresses begin with: "https://gmail.googleapis.com/".
	Root string
	// Methods are sorted by their ids.
	Methods []*Method
}

// Method is the one with that id.
func (a *API) Method(id string) (*Method, bool) {
	i, ok := slices.BinarySearchFunc(a.Methods, id, func(m *Method, id string) int { return strings.Compare(m.ID, id) })
	if !ok {
		return nil, false
	}
	return a.Methods[i], true
}

// Method is what can be called.
type Method struct {
	// ID is the Discovery id.
	ID string
	// HTTPMethod is GET, POST, PUT, PATCH or DELETE.
	HTTPMethod string
	// Root and Path make the address. Path is a template as RFC 6570 has it, of
	// which two forms occur: {x}, one segment, and {+x}, which may hold slashes.
	Root, Path string
	// Summary is the first sentence of Google's description, cut to one line.
	Summary string
	// Params are those of the path and the query: the required ones first, in
	// Google's order. Those that every method has, such as fields, are not listed.
	Params []Param
	// Request and Response are the JSON of the bodies; nil where there is none.
	Request, Response *Schema
	// Scopes are those of which any one is accepted.
	Scopes []Scope
	// Upload is how media is sent; nil where none can be.
	Upload *Upload
	// Download says that alt=media gives the content itself.
	Download bool
}

// Param is the parameter of that name.
func (m *Method) Param(name string) (*Param, bool) {
	i := slices.IndexFunc(m.Params, func(p Param) bool { return p.Name == name })
	if i < 0 {
		return nil, false
	}
	return &m.Params[i], true
}

// services are the names of APIs whose host is not theirs alone.
var services = map[string]string{
	"calendar":         "calendar-json.googleapis.com",
	"drive":            "drive.googleapis.com",
	"groupsSettings":   "groupssettings.googleapis.com",
	"siteVerification": "siteverification.googleapis.com",
}

// Service is the name by which the method's API is switched on in a project, with
// gcloud services enable, such as "gmail.googleapis.com". Most are the host; the
// others are those of Google's API library, for Discovery does not state them.
func (m *Method) Service() string {
	api, _, _ := strings.Cut(m.ID, ".")
	if name, ok := services[api]; ok {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(m.Root, "https://"), "/")
}

// Scope is what a token may be used for.
type Scope struct {
	// URL is the scope itself, such as
	// "https://www.googleapis.com/auth/gmail.insert".
	URL string
	// Opens is how many methods of all APIs it opens: a measure of its width.
	Opens int
}

// Param is a parameter of the path or the query.
type Param struct {
	Name string
	In   string // "path" or "query"
	// Type is that of each value, where the parameter is repeated.
	Type               *Type
	Required, Repeated bool
	Default            string
	Summary            string
}

// Upload is how media is sent to a method.
type Upload struct {
	// Accept are patterns of media types, such as "message/*".
	Accept []string
	// MaxSize is in bytes; 0 is not stated.
	MaxSize int64
	// Simple and Resumable are templates as [Method].Path. Simple serves uploads of
	// one request. Resumable is empty where that protocol is not to be had; its own
	// address is not used by Google's clients, which begin at Simple's.
	Simple, Resumable string
}

// Schema is the form of an object.
type Schema struct {
	Name string
	// Fields are sorted by their names.
	Fields []Field
	// Extra is the type of fields that are not listed; nil where none may be.
	Extra *Type
}

// Field is the field of that name.
func (s *Schema) Field(name string) (*Field, bool) {
	i, ok := slices.BinarySearchFunc(s.Fields, name, func(f Field, name string) int { return strings.Compare(f.Name, name) })
	if !ok {
		return nil, false
	}
	return &s.Fields[i], true
}

// Field is one field of an object.
type Field struct {
	Name string
	Type *Type
	// ReadOnly says that Google sets it, and ignores what a request says.
	ReadOnly bool
	// RequiredBy are the ids of methods whose requests must have it. Only some
	// APIs state any.
	RequiredBy []string
	Summary    string
}

// Kind is the kind of a JSON value.
type Kind string

// The kinds of values.
const (
	String  Kind = "string"
	Boolean Kind = "boolean"
	Integer Kind = "integer"
	Number  Kind = "number"
	Any     Kind = "any"
	Array   Kind = "array"  // of Elem
	Map     Kind = "map"    // of Elem, by any name
	Object  Kind = "object" // as Schema has it
)

// Type is what a value may be.
type Type struct {
	Kind Kind
	// Format narrows the kind: int32, uint32, float, double; and for strings int64,
	// uint64, byte, date, date-time, google-datetime, google-duration,
	// google-fieldmask.
	Format string
	// Enum are the values that a string may have; nil is any.
	Enum []string
	// Pattern is what all of a string must match, as RE2; Min and Max bound a number.
	// Each may be empty.
	Pattern, Min, Max string
	Elem              *Type   // of Array and Map
	Schema            *Schema // of Object
}
