package discovery

import (
	"fmt"
	"strconv"
	"strings"
)

// The facts of an API are lines of fields with a tab between them. The first
// field says what the line is:
//
//	api     name, version, root
//	scope   address, how many methods of all APIs it opens; methods name scopes by their places, from 0
//	schema  name, type of other fields than those listed
//	field   name, type, readOnly, ids of methods that require it, summary
//	method  id, HTTP method, path, schema of the request, of the response, scopes, download, summary
//	upload  media types, largest size in bytes, path, path of the resumable protocol
//	param   name, path or query, type, required, repeated, default, summary
//
// Fields belong to the schema above them, uploads and parameters to the method.
// A type is []T, a list; {}T, a map; &NAME, a schema; or KIND:FORMAT(ENUM|…)[MIN,MAX]~PATTERN,
// of which all but KIND may be missing.
type parser struct {
	api     *API
	scopes  []Scope
	schemas map[string]*Schema
	types   map[string]*Type // by their texts, for most come many times
	schema  *Schema
	method  *Method
}

// parse reads the facts of one API. It panics if they are not well-formed: they
// are part of the program.
func parse(text string) *API {
	p := parser{schemas: map[string]*Schema{}, types: map[string]*Type{}}
	for line := range strings.Lines(text) {
		p.line(strings.TrimSuffix(line, "\n"))
	}
	return p.api
}

func (p *parser) line(line string) {
	var fields [9]string
	n := 0
	for ; n < len(fields); n++ {
		var more bool
		if fields[n], line, more = strings.Cut(line, "\t"); !more {
			break
		}
	}
	switch f := &fields; f[0] {
	case "api":
		p.api = &API{Name: f[1], Version: f[2], Root: f[3]}
	case "scope":
		p.scopes = append(p.scopes, Scope{f[1], int(number(f[2]))})
	case "schema":
		p.schema = p.named(f[1])
		if f[2] != "" {
			p.schema.Extra = p.typed(f[2])
		}
	case "field":
		p.schema.Fields = append(p.schema.Fields, Field{
			Name: f[1], Type: p.typed(f[2]), ReadOnly: f[3] != "", RequiredBy: list(f[4]), Summary: f[5],
		})
	case "method":
		p.addMethod(f)
	case "upload":
		p.method.Upload = &Upload{Accept: list(f[1]), MaxSize: number(f[2]), Simple: f[3], Resumable: f[4]}
	case "param":
		p.method.Params = append(p.method.Params, Param{
			Name: f[1], In: f[2], Type: p.typed(f[3]), Required: f[4] != "", Repeated: f[5] != "", Default: f[6], Summary: f[7],
		})
	}
}

func (p *parser) addMethod(f *[9]string) {
	m := &Method{ID: f[1], HTTPMethod: f[2], Root: p.api.Root, Path: f[3], Download: f[7] != "", Summary: f[8]}
	if f[4] != "" {
		m.Request = p.named(f[4])
	}
	if f[5] != "" {
		m.Response = p.named(f[5])
	}
	for _, place := range list(f[6]) {
		m.Scopes = append(m.Scopes, p.scopes[number(place)])
	}
	p.api.Methods, p.method = append(p.api.Methods, m), m
}

// named is the schema of that name, whose fields may be still to come.
func (p *parser) named(name string) *Schema {
	s := p.schemas[name]
	if s == nil {
		s = &Schema{Name: name}
		p.schemas[name] = s
	}
	return s
}

func (p *parser) typed(text string) *Type {
	t := p.types[text]
	if t == nil {
		t = p.parseType(text)
		p.types[text] = t
	}
	return t
}

func (p *parser) parseType(text string) *Type {
	if elem, ok := strings.CutPrefix(text, "[]"); ok {
		return &Type{Kind: Array, Elem: p.typed(elem)}
	}
	if elem, ok := strings.CutPrefix(text, "{}"); ok {
		return &Type{Kind: Map, Elem: p.typed(elem)}
	}
	if name, ok := strings.CutPrefix(text, "&"); ok {
		return &Type{Kind: Object, Schema: p.named(name)}
	}
	t := &Type{}
	text, t.Pattern, _ = strings.Cut(text, "~")
	if head, bounds, ok := strings.Cut(text, "["); ok {
		text = head
		t.Min, t.Max, _ = strings.Cut(strings.TrimSuffix(bounds, "]"), ",")
	}
	if head, values, ok := strings.Cut(text, "("); ok {
		text = head
		t.Enum = strings.Split(strings.TrimSuffix(values, ")"), "|")
	}
	kind, format, _ := strings.Cut(text, ":")
	t.Kind, t.Format = Kind(kind), format
	switch t.Kind {
	case String, Boolean, Integer, Number, Any:
	default:
		panic(fmt.Sprintf("discovery: %q is no kind of value", kind))
	}
	return t
}

func list(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic("discovery: " + err.Error())
	}
	return n
}
