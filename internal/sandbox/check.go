package sandbox

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
)

// violation is what is wrong with a request, in Google's words.
type violation string

func (v violation) Error() string { return string(v) }

const badPayload = "Invalid JSON payload received. "

// checkBody holds a request's body against the facts: every field known and of its
// type. What a field's annotations say is required is not: Gmail takes a label
// without its visibility. No body is an empty one.
func checkBody(m *discovery.Method, body []byte) *reply {
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	schema, place := m.Request, ""
	if schema == nil {
		schema = &discovery.Schema{}
	} else if !strings.HasSuffix(schema.Name, "Request") {
		// What is no request of its own is bound to a field of one, by its name.
		place = strings.TrimPrefix(snake(schema.Name), "_")
	}
	b := bodyCheck{jsontext.NewDecoder(bytes.NewBuffer(body))} // a Buffer is not copied
	err := b.value(&discovery.Type{Kind: discovery.Object, Schema: schema}, place)
	if err == nil {
		err = b.end()
	}
	if err == nil {
		return nil
	}
	message := err.Error()
	if v := violation(""); !errors.As(err, &v) {
		message = badPayload + err.Error()
	}
	a := invalid("badRequest", message)
	return &a
}

// bodyCheck walks a JSON text beside the facts of its form.
type bodyCheck struct{ d *jsontext.Decoder }

func (b bodyCheck) end() error {
	if _, err := b.d.ReadToken(); !errors.Is(err, io.EOF) {
		return cmp.Or(err, error(violation(badPayload+"Expected end of input.")))
	}
	return nil
}

// value reads one value; null stands for none.
func (b bodyCheck) value(t *discovery.Type, at string) error {
	switch kind := b.d.PeekKind(); {
	case kind == 'n', t.Kind == discovery.Any:
		return b.d.SkipValue()
	case kind == '{' && t.Kind == discovery.Object:
		return b.object(t.Schema, at)
	case kind == '{' && t.Kind == discovery.Map:
		return b.fields(func(name string) error { return b.value(t.Elem, at+"["+name+"]") })
	case kind == '[' && t.Kind == discovery.Array:
		return b.list(t.Elem, at)
	case kind == '{':
		return violation(fmt.Sprintf("Invalid value at '%s' (%s), Starting an object on a scalar field", at, typeName(t)))
	case kind == '[':
		parent, name := "", at
		if i := strings.LastIndexByte(at, '.'); i >= 0 {
			parent, name = at[:i], at[i+1:]
		}
		return violation(fmt.Sprintf("%sUnknown name %q%s: Proto field is not repeating, cannot start list.", badPayload, name, where(parent)))
	}
	raw, err := b.d.ReadValue()
	if err != nil {
		return err
	}
	if !fitsRaw(t, raw) {
		return violation(fmt.Sprintf("Invalid value at '%s' (%s), %s", at, typeName(t), shown(t, string(raw))))
	}
	return nil
}

// shown is as much of a wrong value as an error repeats.
func shown(t *discovery.Type, raw string) string {
	const most = 100
	if len(raw) > most {
		raw = raw[:most]
	}
	if t.Format == "byte" {
		return "Base64 decoding failed for " + raw
	}
	return raw
}

func (b bodyCheck) object(s *discovery.Schema, at string) error {
	return b.fields(func(name string) error {
		if f, ok := s.Field(name); ok {
			return b.value(f.Type, strings.TrimPrefix(at+"."+snake(name), "."))
		}
		if s.Extra != nil {
			return b.value(s.Extra, at+"["+name+"]")
		}
		return violation(fmt.Sprintf("%sUnknown name %q%s: Cannot find field.", badPayload, name, where(at)))
	})
}

func where(at string) string {
	if at == "" {
		return ""
	}
	return " at '" + at + "'"
}

// fields calls each for every name, with its value next to be read.
func (b bodyCheck) fields(each func(name string) error) error {
	if _, err := b.d.ReadToken(); err != nil {
		return err
	}
	for b.d.PeekKind() == '"' {
		name, err := b.d.ReadToken()
		if err != nil {
			return err
		}
		if err := each(name.String()); err != nil {
			return err
		}
	}
	_, err := b.d.ReadToken() // the end, or what is wrong
	return err
}

func (b bodyCheck) list(elem *discovery.Type, at string) error {
	if _, err := b.d.ReadToken(); err != nil {
		return err
	}
	for i := 0; ; i++ {
		switch kind := b.d.PeekKind(); kind {
		case ']', jsontext.KindInvalid:
			_, err := b.d.ReadToken()
			return err
		default:
			if err := b.value(elem, at+"["+strconv.Itoa(i)+"]"); err != nil {
				return err
			}
		}
	}
}

// typeName is how Google calls a type when it refuses a value.
func typeName(t *discovery.Type) string {
	const wellKnown = "type.googleapis.com/google.protobuf."
	switch {
	case t.Kind == discovery.Object:
		return "type.googleapis.com/" + t.Schema.Name
	case t.Kind == discovery.Array:
		return typeName(t.Elem)
	case len(t.Enum) > 0:
		return "TYPE_ENUM"
	}
	switch t.Format {
	case "int32", "uint32", "int64", "uint64":
		return "TYPE_" + strings.ToUpper(t.Format)
	case "byte":
		return "TYPE_BYTES"
	case "date-time", "google-datetime":
		return wellKnown + "Timestamp"
	case "google-duration":
		return wellKnown + "Duration"
	case "google-fieldmask":
		return wellKnown + "FieldMask"
	}
	switch t.Kind {
	case discovery.Boolean:
		return "TYPE_BOOL"
	case discovery.Integer:
		return "TYPE_INT32"
	case discovery.Number:
		return "TYPE_DOUBLE"
	default:
		return "TYPE_STRING"
	}
}

// quoted is the kind of a JSON string, and of every value of a query.
const quoted = '"'

// fits tells whether a scalar is of a type. Its kind is the first byte of its
// JSON text.
func fits(t *discovery.Type, kind byte, text string) bool {
	switch t.Kind {
	case discovery.String:
		// Numbers of 64 bits are strings in Google's JSON, and taken as numbers too.
		number := strings.HasSuffix(t.Format, "int64")
		return (kind == quoted || number && kind == '0') && fitsFormat(t, text) && inBounds(t, text) &&
			(t.Enum == nil || slices.Contains(t.Enum, text))
	case discovery.Boolean:
		return kind == 't' || kind == 'f'
	case discovery.Integer, discovery.Number:
		return (kind == '0' || kind == quoted) && fitsFormat(t, text) && inBounds(t, text)
	default: // a scalar in the place of an object, a list or a map
		return false
	}
}

// fitsRaw is fits for JSON text. Base64 is looked at where it lies: a letter is
// long.
func fitsRaw(t *discovery.Type, raw jsontext.Value) bool {
	if raw.Kind() != quoted {
		return fits(t, byte(raw.Kind()), string(raw))
	}
	if inner := raw[1 : len(raw)-1]; t.Kind == discovery.String && t.Format == "byte" && bytes.IndexByte(inner, '\\') < 0 {
		return isBase64(inner)
	}
	plain, err := jsontext.AppendUnquote(nil, raw)
	return err == nil && fits(t, quoted, string(plain))
}

// durations are seconds with at most nine digits behind the point.
var durations = regexp.MustCompile(`^-?\d{1,12}(\.\d{1,9})?s$`)

func fitsFormat(t *discovery.Type, text string) bool {
	var err error
	switch t.Format {
	case "int32":
		_, err = strconv.ParseInt(text, 10, 32)
	case "uint32":
		_, err = strconv.ParseUint(text, 10, 32)
	case "int64":
		_, err = strconv.ParseInt(text, 10, 64)
	case "uint64":
		_, err = strconv.ParseUint(text, 10, 64)
	case "double", "float":
		_, err = strconv.ParseFloat(text, 64)
	case "byte":
		return isBase64(text)
	case "date":
		_, err = time.Parse(time.DateOnly, text)
	case "date-time", "google-datetime":
		_, err = time.Parse(time.RFC3339, text)
	case "google-duration":
		return durations.MatchString(text)
	case "":
		if t.Kind == discovery.Integer {
			_, err = strconv.ParseInt(text, 10, 64)
		}
		if t.Kind == discovery.Number {
			_, err = strconv.ParseFloat(text, 64)
		}
	}
	return err == nil
}

// isBase64 takes both alphabets, and decodes nothing.
func isBase64[T ~string | ~[]byte](s T) bool {
	for len(s) > 0 && s[len(s)-1] == '=' {
		s = s[:len(s)-1]
	}
	for i := range len(s) {
		switch b := s[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '+', b == '/', b == '-', b == '_':
		default:
			return false
		}
	}
	return len(s)%4 != 1
}

// inBounds holds a number against the least and the most that are taken.
func inBounds(t *discovery.Type, text string) bool {
	if t.Min == "" && t.Max == "" {
		return true
	}
	v, err := strconv.ParseFloat(text, 64)
	return err == nil && v >= bound(t.Min, math.Inf(-1)) && v <= bound(t.Max, math.Inf(1))
}

func bound(text string, none float64) float64 {
	if v, err := strconv.ParseFloat(text, 64); err == nil {
		return v
	}
	return none
}
