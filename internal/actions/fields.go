package actions

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// checkFields holds the parameter fields against the method's answer:
// a,b(c,d),e/f and *, as
// https://developers.google.com/workspace/gmail/api/guides/performance#partial
// has it.
func checkFields(m *discovery.Method, text string) error {
	if m.Response == nil {
		return nil
	}
	f := fieldsCheck{text}
	err := f.list(&discovery.Type{Kind: discovery.Object, Schema: m.Response}, 0)
	if err == nil && strings.TrimLeft(f.rest, " ") != "" {
		err = jobs.Errorf("params.fields", "is %s; %s is not expected there", jobs.Quote(text), jobs.Quote(f.rest))
	}
	return err
}

// fieldsCheck is what of the text is still to be read.
type fieldsCheck struct{ rest string }

// maxFieldsDepth bounds how deep parentheses may stand in each other.
const maxFieldsDepth = 32

func (f *fieldsCheck) list(t *discovery.Type, depth int) error {
	if depth > maxFieldsDepth {
		return jobs.Errorf("params.fields", "has more than %d parentheses in each other", maxFieldsDepth)
	}
	for {
		if err := f.item(t, depth); err != nil || !f.skip(",") {
			return err
		}
	}
}

// item reads one path, and the list in parentheses that may follow it.
func (f *fieldsCheck) item(t *discovery.Type, depth int) error {
	for {
		n := strings.IndexAny(f.rest, ",()/.")
		if n < 0 {
			n = len(f.rest)
		}
		name := strings.TrimSpace(f.rest[:n])
		var err error
		if t, err = below(t, name); err != nil {
			return err
		}
		f.rest = f.rest[n:]
		if !f.skip("/") && !f.skip(".") {
			break
		}
	}
	if !f.skip("(") {
		return nil
	}
	if err := f.list(t, depth+1); err != nil {
		return err
	}
	if !f.skip(")") {
		return jobs.Errorf("params.fields", "has a parenthesis that is not closed%s", before(f.rest))
	}
	return nil
}

// before says in front of what; at the end it says that.
func before(rest string) string {
	if rest == "" {
		return " at its end"
	}
	return " before " + jobs.Quote(rest)
}

// outermost are the names in a list of fields that stand below no other.
func outermost(text string) []string {
	var names []string
	depth, from := 0, 0
	for i, r := range text + "," {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth == 0:
			names = append(names, strings.TrimSpace(text[from:i]))
			from = i + 1
		}
	}
	return names
}

func (f *fieldsCheck) skip(token string) bool {
	rest, ok := strings.CutPrefix(strings.TrimLeft(f.rest, " "), token)
	if ok {
		f.rest = rest
	}
	return ok
}

// below is the type of the field of that name.
func below(t *discovery.Type, name string) (*discovery.Type, error) {
	for t.Kind == discovery.Array {
		t = t.Elem
	}
	unknown := &discovery.Type{Kind: discovery.Any}
	switch {
	case name == "":
		return nil, jobs.Errorf("params.fields", "has a place where a field's name is missing; a list such as id,labelIds is expected")
	case t.Kind == discovery.Any || name == "*":
		return unknown, nil
	case t.Kind == discovery.Map:
		return t.Elem, nil
	case t.Kind != discovery.Object:
		return nil, jobs.Errorf("params.fields", "names %s below a field that has none", jobs.Quote(name))
	}
	if field, ok := t.Schema.Field(name); ok {
		return field.Type, nil
	}
	if t.Schema.Extra != nil {
		return t.Schema.Extra, nil
	}
	var known []string
	for _, field := range t.Schema.Fields {
		known = append(known, field.Name)
	}
	return nil, jobs.Errorf("params.fields", "names %s, which is no field of %s%s; accepted are %s", jobs.Quote(name), t.Schema.Name, didYouMean(name, known), enumerate(known))
}

// selection is what a list of fields asks for: by name, what is asked for below it;
// nil is all.
type selection map[string]selection

// selectionOf reads a list of fields, which was checked.
func selectionOf(fields string) selection {
	all := selection{}
	for _, item := range outermost(fields) {
		path, below, nested := strings.Cut(item, "(")
		var s selection
		if nested {
			s = selectionOf(strings.TrimSuffix(below, ")"))
		}
		names := strings.FieldsFunc(path, func(r rune) bool { return r == '/' || r == '.' })
		for _, name := range slices.Backward(names) {
			s = selection{strings.TrimSpace(name): s}
		}
		all.merge(s)
	}
	return all
}

func (s selection) merge(other selection) {
	for name, below := range other {
		switch old, there := s[name]; {
		case !there:
			s[name] = below
		case old == nil || below == nil:
			s[name] = nil
		default:
			old.merge(below)
		}
	}
}

// of is a value less what is not asked for.
func (s selection) of(v jsontext.Value) jsontext.Value {
	if s == nil {
		return v
	}
	var list []jsontext.Value
	if v.Kind() == '[' && json.Unmarshal(v, &list) == nil {
		for i := range list {
			list[i] = s.of(list[i])
		}
		return marshal(list)
	}
	var object map[string]jsontext.Value
	if v.Kind() != '{' || json.Unmarshal(v, &object) != nil {
		return v
	}
	for name, value := range object {
		below, asked := s[name]
		if !asked {
			below, asked = s["*"]
		}
		if !asked {
			delete(object, name)
			continue
		}
		object[name] = below.of(value)
	}
	return marshal(object)
}
