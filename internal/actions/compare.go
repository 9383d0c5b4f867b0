package actions

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
)

// expectation is what a call's body says of the thing that it makes, to be held
// against things that were read.
type expectation struct {
	row    *lookRow
	schema *discovery.Schema // nil: nothing is known of its fields
	fields map[string]any
}

// body is what the call says of the thing that is looked for.
func (l *Look) body() expectation {
	e := expectation{row: l.row, schema: l.call.method.Request}
	body := l.call.job.Body
	if l.row.body != "" {
		body = member(body, l.row.body)
		if f, ok := e.schema.Field(l.row.body); ok {
			e.schema = f.Type.Schema
		}
	}
	e.fields = objectOf(body)
	return e
}

func objectOf(v jsontext.Value) map[string]any {
	object := map[string]any{}
	if v == nil || json.Unmarshal(v, &object) != nil {
		return nil
	}
	return object
}

// named tells whether an item has the keys that the body gives.
func (e expectation) named(item jsontext.Value) bool {
	want := marshal(e.fields)
	for _, key := range e.row.keys {
		w, _ := stringOf(at(want, key))
		g, _ := stringOf(at(item, key))
		if !strings.EqualFold(w, g) { // names and addresses that differ in this alone conflict
			return false
		}
	}
	return true
}

// is tells whether an item is as the body says, in all that can be read back.
func (e expectation) is(item jsontext.Value) bool {
	got := objectOf(item)
	for name, want := range e.fields {
		if slices.Contains(e.row.but, name) || slices.Contains(e.row.keys, name) {
			continue
		}
		if f, ok := field(e.schema, name); ok && !settable(e.schema, *f) {
			continue // Google passes over it
		}
		if !shows(want, got[name]) {
			return false
		}
	}
	for _, name := range e.row.whole {
		if !shows(got[name], e.fields[name]) {
			return false
		}
	}
	return true
}

func field(s *discovery.Schema, name string) (*discovery.Field, bool) {
	if s == nil {
		return nil, false
	}
	return s.Field(name)
}

// shows tells whether all that is wanted is in what was got; what says nothing may
// have been left out.
func shows(want, got any) bool {
	object, isObject := got.(map[string]any)
	list, isList := got.([]any)
	switch want := want.(type) {
	case map[string]any:
		return (isObject || got == nil) && showsObject(want, object)
	case []any:
		return (isList || got == nil) && showsList(want, list)
	}
	if got == nil {
		return nothing(want)
	}
	return alike(want, got)
}

func showsObject(want, got map[string]any) bool {
	for name, value := range want {
		if !shows(value, got[name]) {
			return false
		}
	}
	return true
}

// showsList passes over the order, and over what more there is.
func showsList(want, got []any) bool {
	for _, value := range want {
		if !slices.ContainsFunc(got, func(item any) bool { return shows(value, item) }) {
			return false
		}
	}
	return true
}

// nothing tells whether a value is what a field has that was never set: APIs leave it
// out of their answers.
func nothing(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case float64:
		return v == 0
	case string:
		return v == "" || v == "0" || strings.HasSuffix(strings.ToLower(v), "unspecified")
	}
	return false
}

// alike tells whether two values that are neither objects nor lists mean the same.
// Numbers of 64 bits come as strings, addresses in lower case, and times in another
// zone.
func alike(want, got any) bool {
	w, okW := asText(want)
	g, okG := asText(got)
	switch {
	case !okW || !okG:
		return false
	case w == g:
		return true
	case strings.Contains(w, "@"):
		return strings.EqualFold(w, g)
	}
	from, errW := time.Parse(time.RFC3339, w)
	to, errG := time.Parse(time.RFC3339, g)
	return errW == nil && errG == nil && from.Equal(to)
}

// asText is a value as a string would have it; false for objects and lists.
func asText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case nil:
		return "", true
	}
	return "", false
}
