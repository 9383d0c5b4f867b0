package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
)

// mask is a parsed "fields" parameter: names, each with what is wanted below
// it; an empty mask below a name wants everything. Facts:
// https://developers.google.com/workspace/gmail/api/guides/performance#partial.
type mask map[string]mask

// parseMask reads a,b(c,d),e/f and *.
func parseMask(s string) (mask, error) {
	p := maskParser{rest: s}
	m, err := p.list(0)
	if err != nil {
		return nil, err
	}
	if p.rest != "" {
		return nil, fmt.Errorf("unexpected %q", p.rest)
	}
	return m, nil
}

type maskParser struct{ rest string }

const maskDepth = 20

func (p *maskParser) list(depth int) (mask, error) {
	if depth > maskDepth {
		return nil, fmt.Errorf("nested deeper than %d", maskDepth)
	}
	m := mask{}
	for {
		if err := p.item(m, depth); err != nil {
			return nil, err
		}
		if !p.skip(",") {
			return m, nil
		}
	}
}

// item reads one path, and the list in parentheses that may follow it.
func (p *maskParser) item(m mask, depth int) error {
	for {
		n := strings.IndexAny(p.rest, ",()/")
		if n < 0 {
			n = len(p.rest)
		}
		name := strings.TrimSpace(p.rest[:n])
		if name == "" {
			return fmt.Errorf("a name is missing before %q", p.rest)
		}
		p.rest = p.rest[n:]
		if m[name] == nil {
			m[name] = mask{}
		}
		m = m[name]
		if !p.skip("/") {
			break
		}
	}
	if !p.skip("(") {
		return nil
	}
	below, err := p.list(depth + 1)
	if err != nil {
		return err
	}
	if !p.skip(")") {
		return fmt.Errorf("missing ) before %q", p.rest)
	}
	for k, v := range below {
		m[k] = v
	}
	return nil
}

func (p *maskParser) skip(token string) bool {
	rest, ok := strings.CutPrefix(p.rest, token)
	p.rest = rest
	return ok
}

// stranger is the first name that a type has not, or empty.
func (m mask) stranger(t *discovery.Type) string {
	for t.Kind == discovery.Array {
		t = t.Elem
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		below, known := member(t, name)
		switch {
		case !known:
			return name
		case below == nil:
		default:
			if s := m[name].stranger(below); s != "" {
				return s
			}
		}
	}
	return ""
}

// member is the type of what a name stands for; nil is anything.
func member(t *discovery.Type, name string) (*discovery.Type, bool) {
	switch t.Kind {
	case discovery.Any:
		return nil, true
	case discovery.Map:
		return t.Elem, true
	case discovery.Object:
		if f, ok := t.Schema.Field(name); ok {
			return f.Type, true
		}
		return t.Schema.Extra, name == "*" || t.Schema.Extra != nil
	default:
		return nil, false
	}
}

// apply cuts a JSON text down.
func (m mask) apply(body []byte, pretty bool) ([]byte, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return marshal(m.cut(v), pretty)
}

func (m mask) cut(v any) any {
	if len(m) == 0 {
		return v
	}
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, value := range v {
			if below, ok := m.under(name); ok {
				out[name] = below.cut(value)
			}
		}
		return out
	case []any:
		for i := range v {
			v[i] = m.cut(v[i])
		}
		return v
	}
	return v
}

func (m mask) under(name string) (mask, bool) {
	if below, ok := m[name]; ok {
		return below, true
	}
	below, ok := m["*"]
	return below, ok
}
