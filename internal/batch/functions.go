package batch

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// maxItems is how many items a template goes through, in all its ranges together.
const maxItems = 10_000

// function is one that templates may call.
type function struct {
	// call is empty where the library has it.
	call     any
	min, max int // how many arguments it takes; what is piped into it is the last
}

// functions are all that templates may call. That on which they work comes last, so
// that it can be piped into them.
var functions = map[string]function{
	"html":      {called{}.html, 1, 1},
	"urlquery":  {called{}.urlquery, 1, 1},
	"lower":     {called{}.lower, 1, 1},
	"upper":     {called{}.upper, 1, 1},
	"trim":      {called{}.trim, 1, 1},
	"default":   {called{}.fallback, 2, 2}, // default "none" .User.RecoveryPhone
	"replace":   {called{}.replace, 3, 3},  // replace "old" "new" .User.OrgUnitPath
	"split":     {called{}.split, 2, 2},    // split "," .Row.Groups
	"join":      {called{}.join, 2, 2},     // join ", " .User.Aliases
	"contains":  {called{}.contains, 2, 2}, // contains "Sales" .User.OrgUnitPath
	"hasPrefix": {called{}.hasPrefix, 2, 2},
	"hasSuffix": {called{}.hasSuffix, 2, 2},
	"date":      {called{}.date, 2, 2},      // date "2 January 2006" .Batch.Time
	"unixMilli": {called{}.unixMilli, 1, 1}, // unixMilli "2026-12-24T00:00:00Z"
	"ago":       {called{}.ago, 2, 2},       // ago "168h" .Batch.Time
	"after":     {called{}.after, 2, 2},     // after "2026-12-24T00:00:00Z" .User.CreationTime
	"before":    {called{}.before, 2, 2},
	"index":     {called{}.index, 2, 4}, // index .User.Phones 0
	"len":       {called{}.length, 1, 1},
	"and":       {nil, 1, 20},
	"or":        {nil, 1, 20},
	"not":       {nil, 1, 1},
	"eq":        {nil, 2, 20},
	"ne":        {nil, 2, 2},
	"lt":        {nil, 2, 2},
	"le":        {nil, 2, 2},
	"gt":        {nil, 2, 2},
	"ge":        {nil, 2, 2},
}

// The functions that are put into templates when they are compiled. Nobody can write
// their names.
const (
	getName   = "_get"
	eachName  = "_each"
	printName = "_print"
)

// calls are the functions as the library takes them.
func calls() template.FuncMap {
	all := template.FuncMap{getName: get, eachName: each, printName: textOf}
	for name, f := range functions {
		if f.call != nil {
			all[name] = f.call
		}
	}
	return all
}

// failure is why a template fails for a user.
type failure struct{ text string }

func (f *failure) Error() string { return f.text }

func failf(format string, args ...any) error { return &failure{fmt.Sprintf(format, args...)} }

// problem is what is wrong, without the library's words of where, which would show
// what templates are compiled to.
func problem(err error) string {
	var f *failure
	if errors.As(err, &f) {
		return f.text
	}
	message := err.Error()
	if _, after, ok := strings.Cut(message, "error calling "); ok {
		return after
	}
	_, after, _ := strings.Cut(message, ">: ")
	return after
}

// called has the functions that templates call, which are otherwise nobody's.
type called struct{}

// scope is what one job's templates see: scope itself, what is in user, row and
// info, and no method of anything.
type scope struct {
	user  map[string]any
	row   map[string]string
	info  Info
	items int // that ranges have gone through
}

// get gives the field of a field of a value. What is not there is empty.
func get(value any, names ...string) (any, error) {
	for _, name := range names {
		switch v := value.(type) {
		case *scope:
			value = v.get(name)
		case map[string]any:
			value = lookUp(v, name)
		case map[string]string:
			value = v[name]
		case Info:
			value = v.get(name)
		case nil:
			value = ""
		case string:
			if v != "" {
				return nil, failf("what .%s is asked of is text", name)
			}
		case []any:
			return nil, failf("what .%s is asked of is a list; go through it with range, or take one with index", name)
		default:
			return nil, failf("what .%s is asked of has no fields", name)
		}
	}
	return value, nil
}

func (s *scope) get(name string) any {
	switch name {
	case "User":
		return s.user
	case "Row":
		return s.row
	}
	return s.info
}

func (i Info) get(name string) any {
	switch name {
	case "ID":
		return i.ID
	case "Name":
		return i.Name
	}
	return i.Time
}

// lookUp gives a field by the name that it has in Go.
func lookUp(object map[string]any, name string) any {
	value, ok := object[inJSON(name)]
	if !ok {
		value = object[name]
	}
	if value == nil {
		return ""
	}
	return value
}

// inJSON is the name that the Directory gives to what Go calls name.
func inJSON(name string) string {
	if first, size := utf8.DecodeRuneInString(name); unicode.IsUpper(first) {
		return string(unicode.ToLower(first)) + name[size:]
	}
	return name
}

// readUser reads the Directory's user.
func readUser(data []byte) (map[string]any, error) {
	var user map[string]any
	if err := json.Unmarshal(data, &user); err != nil {
		return nil, err
	}
	for name, value := range user {
		user[name] = whole(value)
	}
	return user, nil
}

// whole makes integers of the numbers that are, so that templates can compare them
// with theirs.
func whole(value any) any {
	switch v := value.(type) {
	case float64:
		if i := int(v); float64(i) == v {
			return i
		}
	case []any:
		for i := range v {
			v[i] = whole(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = whole(v[name])
		}
	}
	return value
}

// textOf is a value as it is written into a text.
func textOf(value any) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case nil:
		return "", nil
	case bool:
		return strconv.FormatBool(v), nil
	case int:
		return strconv.Itoa(v), nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case time.Time:
		return v.Format(time.RFC3339), nil
	case []any:
		return "", failf("a list is no text; go through it with range, or use join or index")
	}
	return "", failf("what has fields is no text; name one of its fields")
}

// each is what a range goes through.
func each(s *scope, value any) (any, error) {
	n := 0
	switch v := value.(type) {
	case []any:
		n = len(v)
	case map[string]any:
		n = len(v)
	case string:
		if v != "" {
			return nil, failf("range goes through a list, and this is text")
		}
		value = []any(nil)
	default:
		return nil, failf("range goes through a list, and this is none")
	}
	if s.items += n; s.items > maxItems {
		return nil, failf("range goes through more than %d items", maxItems)
	}
	return value, nil
}

func short(text string) (string, error) {
	if len(text) > maxText {
		return "", failf("it would be longer than %d bytes", maxText)
	}
	return text, nil
}

// onText does to a value's text what do does.
func onText(value any, do func(string) string) (string, error) {
	s, err := textOf(value)
	if err != nil {
		return "", err
	}
	return short(do(s))
}

func (called) html(value any) (string, error) { return onText(value, template.HTMLEscapeString) }

func (called) urlquery(value any) (string, error) { return onText(value, url.QueryEscape) }

func (called) lower(value any) (string, error) { return onText(value, strings.ToLower) }

func (called) upper(value any) (string, error) { return onText(value, strings.ToUpper) }

func (called) trim(value any) (string, error) { return onText(value, strings.TrimSpace) }

func (called) replace(old, replacement string, value any) (string, error) {
	s, err := textOf(value)
	if err != nil {
		return "", err
	}
	if n := strings.Count(s, old); len(s)+n*(len(replacement)-len(old)) > maxText { // before it is made
		return "", failf("it would be longer than %d bytes", maxText)
	}
	return strings.ReplaceAll(s, old, replacement), nil
}

func (called) fallback(otherwise, value any) any {
	switch v := value.(type) {
	case nil:
		return otherwise
	case string:
		if v == "" {
			return otherwise
		}
	case []any:
		if len(v) == 0 {
			return otherwise
		}
	}
	return value
}

// split gives no item for an empty text.
func (called) split(separator string, value any) ([]any, error) {
	s, err := textOf(value)
	if err != nil || s == "" {
		return nil, err
	}
	var items []any
	for _, item := range strings.Split(s, separator) {
		items = append(items, item)
	}
	return items, nil
}

func (called) join(separator string, value any) (string, error) {
	list, ok := value.([]any)
	if !ok {
		return textOf(value) // of one item, or none
	}
	var b strings.Builder
	for i, item := range list {
		s, err := textOf(item)
		if err != nil {
			return "", err
		}
		if b.Len()+len(separator)+len(s) > maxText {
			return "", failf("it would be longer than %d bytes", maxText)
		}
		if i > 0 {
			b.WriteString(separator)
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

func (called) contains(part string, value any) (bool, error) {
	s, err := textOf(value)
	return strings.Contains(s, part), err
}

func (called) hasPrefix(prefix string, value any) (bool, error) {
	s, err := textOf(value)
	return strings.HasPrefix(s, prefix), err
}

func (called) hasSuffix(suffix string, value any) (bool, error) {
	s, err := textOf(value)
	return strings.HasSuffix(s, suffix), err
}

// instant reads a time: one of Go's, or RFC 3339, or a date, which begins in UTC.
func instant(value any) (time.Time, error) {
	if t, ok := value.(time.Time); ok {
		return t, nil
	}
	s, err := textOf(value)
	if err != nil {
		return time.Time{}, err
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, failf("%s is no time; one such as 2026-11-30T00:00:00Z, or a date such as 2026-11-30, is expected", jobs.Quote(s))
}

func (called) date(layout string, value any) (string, error) {
	t, err := instant(value)
	if err != nil {
		return "", err
	}
	return short(t.Format(layout))
}

func (called) unixMilli(value any) (string, error) {
	t, err := instant(value)
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(t.UnixMilli(), 10), nil
}

// ago gives the time that is so long before another.
func (called) ago(long, value any) (string, error) {
	text, err := textOf(long)
	if err != nil {
		return "", err
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return "", failf("%s is no duration; one such as 168h or 30m is", jobs.Quote(text))
	}
	t, err := instant(value)
	if err != nil {
		return "", err
	}
	return t.Add(-d).Format(time.RFC3339Nano), nil
}

// after tells whether a time comes after the limit.
func (called) after(limit, value any) (bool, error) {
	l, err := instant(limit)
	if err != nil {
		return false, err
	}
	t, err := instant(value)
	return t.After(l), err
}

// before tells whether a time comes before the limit.
func (called) before(limit, value any) (bool, error) {
	return called{}.after(value, limit)
}

// index gives the item of a list by its number, from 0, or the field of an object by
// its name. A field that is not there is empty; an item is an error.
func (called) index(value any, keys ...any) (any, error) {
	for _, key := range keys {
		if name, ok := key.(string); ok {
			found, err := get(value, name)
			if err != nil {
				return nil, err
			}
			value = found
			continue
		}
		i, ok := key.(int)
		if !ok {
			return nil, failf("index takes a name or a number")
		}
		list, ok := value.([]any)
		switch {
		case !ok && value != "":
			return nil, failf("there is no number %d of what is no list", i)
		case i < 0 || i >= len(list):
			return nil, failf("there is no number %d of a list of %d, whose first is 0", i, len(list))
		}
		value = list[i]
	}
	return value, nil
}

func (called) length(value any) (int, error) {
	switch v := value.(type) {
	case string:
		return utf8.RuneCountInString(v), nil
	case []any:
		return len(v), nil
	case map[string]any:
		return len(v), nil
	}
	return 0, failf("only a list and a text have a length")
}
