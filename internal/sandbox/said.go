package sandbox

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
)

// said is what the request's body says, which was checked, without what is
// Google's alone to say.
func (c *call) said() doc { return c.saidIn(c.body) }

func (c *call) saidIn(body []byte) doc {
	var d doc
	dec := json.NewDecoder(bytes.NewReader(orEmpty(body)))
	dec.UseNumber()
	if dec.Decode(&d) != nil || d == nil { // it was checked
		return doc{}
	}
	return toldBy(c.route.facts.Request, d)
}

// writable are fields that Discovery marks as read-only, and that requests set all
// the same.
var writable = []string{"Permission.domain", "Permission.emailAddress"}

// toldBy leaves out what is read-only, and writes numbers of 64 bits as Google
// does. What is null stays, for a PATCH clears with it.
func toldBy(s *discovery.Schema, d doc) doc {
	if s == nil {
		return d
	}
	for name, v := range d {
		f, ok := s.Field(name)
		switch {
		case ok && f.ReadOnly && !slices.Contains(writable, s.Name+"."+name):
			delete(d, name)
		case ok:
			d[name] = spelled(f.Type, v)
		case s.Extra != nil:
			d[name] = spelled(s.Extra, v)
		}
	}
	return d
}

func spelled(t *discovery.Type, v any) any {
	switch v := v.(type) {
	case json.Number:
		if t.Kind == discovery.String {
			return v.String()
		}
	case string:
		if t.Kind == discovery.Integer || t.Kind == discovery.Number {
			return json.Number(v)
		}
	case []any:
		for i := range v {
			v[i] = spelled(below(t), v[i])
		}
	case map[string]any:
		if t.Kind == discovery.Object {
			return map[string]any(toldBy(t.Schema, v))
		}
		for name := range v {
			v[name] = spelled(below(t), v[name])
		}
	}
	return v
}

// below is the type of what is in a list or a map; in what may be anything it is
// that again.
func below(t *discovery.Type) *discovery.Type {
	if t.Elem == nil {
		return t
	}
	return t.Elem
}

// stamp is a time as most APIs write it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
