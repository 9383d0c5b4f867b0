package actions

import (
	"bytes"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// ourParams are parameters that every method has, and that are the program's to
// set: with some of them a job could name other credentials.
var ourParams = []string{
	"$.xgafv", "access_token", "callback", "key", "oauth_token", "prettyPrint", "quotaUser", "uploadType", "upload_protocol", "userIp",
}

// checkParams reads the job's parameters: what stands in the path, and the query.
func checkParams(m *discovery.Method, job jobs.Job) (inPath map[string]string, query url.Values, err error) {
	inPath, query = map[string]string{}, url.Values{}
	var given map[string]jsontext.Value
	if job.Params != nil {
		if err := json.Unmarshal(job.Params, &given); err != nil { // jobs.Decode has read it
			return nil, nil, jobs.Errorf("params", "cannot be read as JSON")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if err := checkParam(m, job, name, given[name], inPath, query); err != nil {
			return nil, nil, err
		}
	}
	if err := fillUserID(m, job, inPath, query); err != nil {
		return nil, nil, err
	}
	for _, p := range m.Params {
		if p.Required && len(query[p.Name]) == 0 && inPath[p.Name] == "" {
			return nil, nil, jobs.Errorf("params."+p.Name, "is missing; %s needs it: %s", m.ID, expected(p.Type))
		}
	}
	return inPath, query, checkPath(m, inPath)
}

// checkParam reads one parameter to where it belongs.
func checkParam(m *discovery.Method, job jobs.Job, name string, value jsontext.Value, inPath map[string]string, query url.Values) error {
	p, ok := m.Param(name)
	if !ok {
		return checkCommonParam(m, job, name, value, query)
	}
	values, err := paramValues(p, value)
	switch {
	case err != nil:
		return err
	case p.In == "path":
		inPath[name] = values[0]
	default:
		query[name] = values
	}
	return nil
}

// checkCommonParam reads a parameter that is not the method's own.
func checkCommonParam(m *discovery.Method, job jobs.Job, name string, value jsontext.Value, query url.Values) error {
	path := jobs.Path("params", jsontext.Pointer("").AppendToken(name))
	text, isText := stringOf(value)
	switch {
	case slices.Contains(ourParams, name):
		return jobs.Errorf(path, "is set by the program, not by jobs")
	case name == "alt" && text == "json" && job.Output == "":
		return nil // as always
	case name == "alt" && text == "media" && job.Output != "":
		return nil // as output has it
	case name == "alt":
		return jobs.Errorf(path, "is %s; accepted is json, or media together with output, which says where in Cloud Storage the content goes", shown(value))
	case name == "fields" && isText:
		query.Set(name, text)
		return checkFields(m, text)
	case name == "fields":
		return jobs.Errorf(path, "is %s; a string such as %s is expected", shown(value), `"id,labelIds"`)
	}
	accepted := []string{"fields"}
	for _, p := range m.Params {
		accepted = append(accepted, p.Name)
	}
	return jobs.Errorf(path, "is no parameter of %s%s; accepted are %s", m.ID, didYouMean(name, accepted), enumerate(accepted))
}

// paramValues are the values of one parameter, as they stand in an address.
func paramValues(p *discovery.Param, value jsontext.Value) ([]string, error) {
	path := "params." + p.Name
	if !p.Repeated {
		text, err := scalar(func() string { return path }, p.Type, value, true)
		return []string{text}, err
	}
	var list []jsontext.Value
	if value.Kind() != '[' || json.Unmarshal(value, &list) != nil {
		return nil, jobs.Errorf(path, "is %s; an array is expected, each of its items %s", shown(value), expected(p.Type))
	}
	texts := make([]string, len(list))
	for i, item := range list {
		var err error
		at := func() string { return path + "[" + strconv.Itoa(i) + "]" }
		if texts[i], err = scalar(at, p.Type, item, true); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// userID is the parameter that says whose data a method is on.
const userID = "userId"

// fillUserID sees to it that a method's own user is the job's.
func fillUserID(m *discovery.Method, job jobs.Job, inPath map[string]string, query url.Values) error {
	p, ok := m.Param(userID)
	if !ok || anyMatches(othersUserID, m.ID) {
		return nil
	}
	given, there := inPath[userID]
	if p.In == "query" {
		given, there = query.Get(userID), query.Has(userID)
	}
	if job.As == jobs.AsServiceAccount {
		return jobs.Errorf("as", "is %s; %s is a method on a user's own data: give user instead", jobs.AsServiceAccount, m.ID)
	}
	if there && given != "me" && !strings.EqualFold(given, job.User) {
		return jobs.Errorf("params.userId", "is %s; accepted are me and the job's own user, %s", jobs.Quote(given), job.User)
	}
	if p.In == "path" {
		inPath[userID] = "me"
	} else {
		query.Set(userID, "me")
	}
	return nil
}

// checkPath refuses values with which the address would be another one.
func checkPath(m *discovery.Method, inPath map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(inPath)) {
		value := inPath[name]
		if strings.ContainsFunc(value, unicode.IsControl) {
			return jobs.Errorf("params."+name, "is %s; it may not hold control characters", jobs.Quote(value))
		}
		segments := []string{value}
		if strings.Contains(m.Path, "{+"+name+"}") { // slashes stay
			segments = strings.Split(value, "/")
		}
		for _, segment := range segments {
			if segment == "" || segment == "." || segment == ".." {
				return jobs.Errorf("params."+name, "is %s; it stands in the address, and may not be empty nor have a part that is empty, . or .. (a slash at its beginning or end is left out)", jobs.Quote(value))
			}
		}
	}
	return nil
}

// checkVerb refuses a name that ends as the address of another method does, such as
// x:cancel: the call that is made would not be the one that was allowed.
func (ms *Methods) checkVerb(m *discovery.Method, inPath map[string]string) error {
	i := strings.LastIndex(m.Path, "{+")
	if i < 0 || !strings.HasSuffix(m.Path, "}") {
		return nil
	}
	name := m.Path[i+len("{+") : len(m.Path)-1]
	api, _, _ := strings.Cut(m.ID, ".")
	known, _ := ms.facts.API(api)
	for _, other := range known.Methods {
		_, verb, ok := strings.Cut(other.Path, "}:")
		if ok && other.HTTPMethod == m.HTTPMethod && strings.HasSuffix(inPath[name], ":"+verb) {
			return jobs.Errorf("params."+name, "is %s; that is how %s is called, which is another method", jobs.Quote(inPath[name]), other.ID)
		}
	}
	return nil
}

// checkBody holds the job's body against the method's schema.
// uploaded says that media takes the place of fields that it would need.
func checkBody(m *discovery.Method, body jsontext.Value, uploaded bool) error {
	switch {
	case m.Request == nil && body != nil:
		return jobs.Errorf("body", "is given, but %s takes none", m.ID)
	case m.Request == nil:
		return nil
	case body == nil:
		body = jsontext.Value("{}") // so that what is required is asked for
	}
	b := bodyCheck{m.ID, jsontext.NewDecoder(bytes.NewReader(body))}
	if uploaded {
		b.method = "" // which needs nothing
	}
	return b.object(m.Request)
}

// bodyCheck is a walk through a body, along its schema.
type bodyCheck struct {
	method string
	*jsontext.Decoder
}

func (b bodyCheck) path() string { return jobs.Path("body", b.StackPointer()) }

// value checks the next value. A field that is null is one that is to be cleared.
func (b bodyCheck) value(t *discovery.Type, field bool) error {
	if t.Kind == discovery.Any || field && b.PeekKind() == 'n' {
		return b.SkipValue()
	}
	switch t.Kind {
	case discovery.Object:
		return b.object(t.Schema)
	case discovery.Map:
		return b.members(func(string) *discovery.Type { return t.Elem })
	case discovery.Array:
		return b.array(t)
	default:
	}
	v, err := b.ReadValue()
	if err != nil {
		return err
	}
	_, err = scalar(b.path, t, v, false) // of which the path takes long to write, deep down
	return err
}

func (b bodyCheck) array(t *discovery.Type) error {
	if b.PeekKind() != '[' {
		return b.mistyped("an array", t.Elem)
	}
	if _, err := b.ReadToken(); err != nil {
		return err
	}
	for b.PeekKind() != ']' {
		if err := b.value(t.Elem, false); err != nil {
			return err
		}
	}
	_, err := b.ReadToken()
	return err
}

func (b bodyCheck) object(s *discovery.Schema) error {
	seen := map[string]bool{}
	var unknown *string // which may be empty
	err := b.members(func(name string) *discovery.Type {
		seen[name] = b.PeekKind() != 'n'
		if f, ok := s.Field(name); ok {
			return f.Type
		}
		if s.Extra == nil {
			unknown = &name
		}
		return s.Extra
	})
	if unknown != nil {
		var names []string
		for _, f := range s.Fields {
			names = append(names, f.Name)
		}
		return jobs.Errorf(b.path(), "is no field of %s%s; accepted are %s", s.Name, didYouMean(*unknown, names), enumerate(names))
	}
	if err != nil {
		return err
	}
	for _, f := range s.Fields {
		if !seen[f.Name] && needs(b.method, f) {
			return jobs.Errorf(b.path()+"."+f.Name, "is missing; %s needs it: %s", b.method, expected(f.Type))
		}
	}
	return nil
}

// members checks an object's members, whose types it is told; it stops at one
// without a type.
func (b bodyCheck) members(typeOf func(name string) *discovery.Type) error {
	if b.PeekKind() != '{' {
		return b.mistyped("an object", nil)
	}
	if _, err := b.ReadToken(); err != nil {
		return err
	}
	for b.PeekKind() != '}' {
		name, err := b.ReadToken()
		if err != nil {
			return err
		}
		t := typeOf(name.String())
		if t == nil {
			return nil
		}
		if err := b.value(t, true); err != nil {
			return err
		}
	}
	_, err := b.ReadToken()
	return err
}

// mistyped says of the next value that it is of another kind. It is shown only where
// it may have been meant for an item of an array: what stands in the place of an
// object may be a letter.
func (b bodyCheck) mistyped(wanted string, item *discovery.Type) error {
	v, err := b.ReadValue()
	if err != nil {
		return err
	}
	is := kindOf(v)
	if item != nil && item.Kind != discovery.Any && item.Elem == nil && item.Schema == nil && !hidden(item, b.path()) {
		is = shown(v)
	}
	return jobs.Errorf(b.path(), "is %s; %s is expected", is, wanted)
}

// scalar checks a value that is neither an array nor an object, and gives it as
// it stands in an address. There numbers and booleans may come as strings, for
// templates make no others; in a body they may not.
func scalar(path func() string, t *discovery.Type, v jsontext.Value, address bool) (string, error) {
	text, isText := stringOf(v)
	if !isText {
		text = string(v)
	}
	if fits(t, v.Kind(), text, address) {
		return text, nil
	}
	is, hint := shown(v), ""
	if !address && hidden(t, path()) {
		is = kindOf(v)
	}
	if isText && t.Enum != nil {
		hint = didYouMean(text, t.Enum)
	}
	return "", jobs.Errorf(path(), "is %s%s; %s is expected", is, hint, expected(t))
}

// hidden tells whether a body's field may hold what is not for an error, which goes
// into logs and results.
func hidden(t *discovery.Type, path string) bool {
	return t.Format == "byte" || secretName.MatchString(path)
}

// secretName is what fields with secrets are called; a path that was cut may end in
// any name.
var secretName = regexp.MustCompile(`(?i)(password|secret|token|key|credential|challenge|nonce)[a-z0-9]*(\[[0-9]+\])*$|…$`)

// fits tells whether a value of that JSON kind, which reads so, is one of the type.
func fits(t *discovery.Type, kind jsontext.Kind, text string, address bool) bool {
	isText := kind == '"'
	number := kind == '0' || isText && address
	switch {
	case t.Kind == discovery.Boolean:
		return (!isText || address) && (text == "true" || text == "false")
	case t.Kind == discovery.Integer:
		return number && isInteger(text, t)
	case t.Kind == discovery.Number:
		return number && isNumber(text)
	case strings.HasSuffix(t.Format, "int64"): // a string that is read from both forms
		return (number || isText) && isInteger(text, t)
	}
	return isText && isForm(text, t, address)
}

// isNumber tells whether a text is a number of JSON's, within what a double holds.
func isNumber(text string) bool {
	_, err := strconv.ParseFloat(text, 64) // which takes NaN and 0x1p4, too
	return err == nil && numberForm.MatchString(text)
}

// isInteger tells whether a text is an integer within the type's bounds.
func isInteger(text string, t *discovery.Type) bool {
	bits := 32
	if strings.HasSuffix(t.Format, "64") {
		bits = 64
	}
	if strings.HasPrefix(t.Format, "u") {
		n, err := strconv.ParseUint(text, 10, bits)
		return err == nil && within(float64(n), t)
	}
	n, err := strconv.ParseInt(text, 10, bits)
	return err == nil && text[0] != '+' && within(float64(n), t)
}

func within(n float64, t *discovery.Type) bool {
	least, err := strconv.ParseFloat(t.Min, 64)
	if err == nil && n < least {
		return false
	}
	most, err := strconv.ParseFloat(t.Max, 64)
	return err != nil || n <= most
}

var (
	numberForm    = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)
	byteForm      = regexp.MustCompile(`^[A-Za-z0-9+/_-]*={0,2}$`)
	timeForm      = regexp.MustCompile(`^[0-9-]{10}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$`)
	durationForm  = regexp.MustCompile(`^-?[0-9]+(\.[0-9]{1,9})?s$`)
	fieldMaskForm = regexp.MustCompile(`^[A-Za-z0-9_.,*/()\s-]*$`)
)

// isForm tells whether a string has the type's form.
func isForm(text string, t *discovery.Type, address bool) bool {
	switch t.Format {
	case "byte": // of either alphabet
		return byteForm.MatchString(text) && len(strings.TrimRight(text, "="))%4 != 1 && (!strings.HasSuffix(text, "=") || len(text)%4 == 0)
	case "date":
		_, err := time.Parse(time.DateOnly, text)
		return err == nil
	case "date-time":
		// Calendar has the zone in a field of its own.
		return isTime(text) || !address && isTime(text+"Z")
	case "google-datetime":
		return isTime(text)
	case "google-duration":
		return durationForm.MatchString(text)
	case "google-fieldmask":
		return fieldMaskForm.MatchString(text)
	}
	if t.Enum != nil {
		return slices.Contains(t.Enum, text)
	}
	if t.Pattern == "" {
		return true
	}
	ok, err := regexp.MatchString("^(?:"+t.Pattern+")$", text)
	return ok && err == nil
}

// isTime tells whether a text is a time as RFC 3339 has it. Parse takes other forms, too.
func isTime(text string) bool {
	_, err := time.Parse(time.RFC3339, text)
	return err == nil && timeForm.MatchString(text)
}

// expected says in words what a type accepts.
func expected(t *discovery.Type) string {
	switch {
	case t.Kind == discovery.Array:
		return "an array, each of its items " + expected(t.Elem)
	case t.Kind == discovery.Object, t.Kind == discovery.Map:
		return "an object"
	case t.Kind == discovery.Boolean:
		return "true or false"
	case t.Kind == discovery.Any:
		return "any value"
	case t.Kind == discovery.Number:
		return "a number"
	case t.Enum != nil:
		return "one of " + enumerate(t.Enum)
	case t.Kind == discovery.Integer, strings.HasSuffix(t.Format, "int64"):
		return "an integer" + bounds(t)
	case t.Pattern != "":
		return "a string of the form " + t.Pattern
	}
	if words, ok := formats[t.Format]; ok {
		return words
	}
	return "a string"
}

var formats = map[string]string{
	"byte":             "a string in base64",
	"date":             "a date such as 2026-11-30",
	"date-time":        "a time as RFC 3339 has it, such as 2026-11-30T00:00:00Z,",
	"google-datetime":  "a time as RFC 3339 has it, such as 2026-11-30T00:00:00Z,",
	"google-duration":  "a duration in seconds such as 3.5s",
	"google-fieldmask": "a list of fields such as name,labels.color",
}

func bounds(t *discovery.Type) string {
	switch {
	case t.Min != "" && t.Max != "":
		return " from " + t.Min + " to " + t.Max
	case t.Min != "":
		return " from " + t.Min + " up"
	case t.Max != "":
		return " up to " + t.Max
	case t.Format == "uint32":
		return " from 0 to 4294967295"
	case t.Format == "uint64":
		return " from 0 up"
	}
	return ""
}

// maxNumber is the longest number that an error shows.
const maxNumber = 40

// shown is a value in an error: its kind, and itself where it is short.
func shown(v jsontext.Value) string {
	switch v.Kind() {
	case '{', '[':
		return kindOf(v)
	case '"':
		text, _ := stringOf(v)
		return "the string " + jobs.Quote(text)
	case '0':
		if len(v) > maxNumber {
			return "a number of " + strconv.Itoa(len(v)) + " digits"
		}
		return "the number " + string(v)
	}
	return string(v) // true, false, null
}

func kindOf(v jsontext.Value) string {
	switch v.Kind() {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 'n':
		return "null"
	}
	return "a boolean"
}

func stringOf(v jsontext.Value) (string, bool) {
	var text string
	ok := v.Kind() == '"' && json.Unmarshal(v, &text) == nil
	return text, ok
}

// names tells whether a JSON object has such a member, with a value.
func names(object jsontext.Value, name string) bool {
	v := member(object, name)
	return v != nil && v.Kind() != 'n'
}

// mostNames is how many accepted names an error lists.
const mostNames = 24

func enumerate(names []string) string {
	if len(names) > mostNames {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostNames], ", "), len(names)-mostNames)
	}
	return strings.Join(names, ", ")
}
