package jobs

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// FieldError says what is wrong with one field of a job. Its text is for the
// job's author: it names the field, shows the value, and says what is accepted.
type FieldError struct {
	// Path is the field's place, such as "message.raw"; empty is the whole job.
	Path string
	// Problem completes the sentence that Path begins.
	Problem string
}

func (e *FieldError) Error() string {
	if e.Path == "" {
		return "the job " + e.Problem
	}
	return e.Path + ": " + e.Problem
}

// Errorf makes a FieldError.
func Errorf(path, format string, args ...any) *FieldError {
	return &FieldError{Path: path, Problem: fmt.Sprintf(format, args...)}
}

// Quote shows a value from outside in a message: quoted, so that nothing in it
// is taken for ours, and cut, so that it cannot drown what we say.
func Quote[T ~string | ~[]byte](value T) string {
	const most = 64
	s := string(value)
	if len(s) <= most {
		return strconv.QuoteToASCII(s)
	}
	return strconv.QuoteToASCII(s[:most]) + "…"
}

// Decode reads a job strictly: a typing error must not change what is done, so
// an unknown, doubled, mistyped or missing field is a [FieldError] that names it.
//
// messageID is the id of the Pub/Sub message that brought the job; it serves
// where the job has no id of its own. With an error the job that is returned
// still has the ID, User, Action, DryRun and Labels that could be read safely, so that
// the author can tell whose failure it is; nothing else in it may be used.
func Decode(data []byte, messageID string) (Job, error) {
	if len(data) > MaxData {
		return outline(data, messageID), Errorf("", "is %d bytes long; at most %d are read: put a long letter into Cloud Storage and name it in message.uri", len(data), MaxData)
	}
	var job Job
	err := Strict("", data, &job)
	if err == nil {
		err = job.check()
	}
	if err != nil {
		return outline(data, messageID), err
	}
	job.User = strings.ToLower(job.User)
	if job.ID == "" {
		job.ID = messageID
	}
	return job, nil
}

// Strict decodes the JSON at that path of a job into a struct. What does not
// fit it is a [FieldError].
func Strict(path string, data []byte, into any) error {
	options := json.RejectUnknownMembers(true)
	if bytes.Contains(data, []byte("null")) { // looking out for them takes as long as all the rest
		options = json.JoinOptions(options, json.WithUnmarshalers(noNulls))
	}
	if err := json.Unmarshal(data, into, options); err != nil {
		return fieldError(path, data, err)
	}
	return nil
}

// noNulls refuses null for the fields that we read ourselves: "user": null is
// a mistake of the program that wrote the job, not a way to leave it out.
var noNulls = json.JoinUnmarshalers(
	notNull[string](), notNull[bool](), notNull[int](), notNull[time.Time](), notNull[[]string](), notNull[map[string]string](),
	notNull[float64](), notNull[Targets](), notNull[StopAfter](),
	notNull[*Message](), notNull[*Compose](), notNull[[]Attachment](), notNull[Attachment](), notNull[*Media](), notNull[*Pages](),
)

func notNull[T any]() *json.Unmarshalers {
	return json.UnmarshalFromFunc(func(d *jsontext.Decoder, _ *T) error {
		if d.PeekKind() == 'n' {
			return errNull
		}
		return errors.ErrUnsupported // the library goes on as without us
	})
}

var errNull = errors.New("null")

// fieldError turns the decoder's error into the author's words.
func fieldError(base string, data []byte, err error) error {
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return Errorf(Path(base, syntax.JSONPointer), "is given twice")
		}
		return Errorf(base, "is not valid JSON at byte %d", syntax.ByteOffset)
	}
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) {
		return Errorf(base, "cannot be read as JSON")
	}
	path := Path(base, semantic.JSONPointer)
	switch {
	case errors.Is(err, json.ErrUnknownName):
		return Errorf(path, "is not a known field; accepted here are %s", strings.Join(names(semantic.GoType), ", "))
	case errors.Is(err, errNull):
		return Errorf(path, "is null; give a value or leave the field out")
	default:
		return Errorf(path, "is %s%s; %s is expected", kindName(semantic.JSONKind), shown(data, semantic.JSONPointer), typeName(semantic.GoType))
	}
}

// Path writes a path and a JSON pointer below it as people write a field's path.
func Path(path string, below jsontext.Pointer) string {
	for token := range below.Tokens() {
		path = under(path, token)
	}
	return path
}

// under is the path of what has that name, or number, below a path. One that is
// very long is cut.
func under(path, token string) string {
	if len(path) > maxPath {
		return path
	}
	if token == "" || len(token) > maxLabelKey || strings.ContainsFunc(token, unusual) {
		token = Quote(token)
	}
	if path != "" && strings.Trim(token, "0123456789") == "" { // of an array
		path += "[" + token + "]"
	} else {
		path = strings.TrimPrefix(path+"."+token, ".")
	}
	if len(path) > maxPath {
		path += "…"
	}
	return path
}

func unusual(r rune) bool {
	return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-'
}

// names lists the fields that a struct is read from.
func names(object reflect.Type) []string {
	var names []string
	for i := range object.NumField() {
		if name, _, _ := strings.Cut(object.Field(i).Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// shown is the offending value itself, where it is one that can be shown: a
// letter or a file is not, for errors go into logs.
func shown(data []byte, p jsontext.Pointer) string {
	if strings.HasPrefix(string(p), "/message") || strings.HasPrefix(string(p), "/media") {
		return ""
	}
	value := jsontext.Value(data)
	for token := range p.Tokens() {
		var object map[string]jsontext.Value
		var array []jsontext.Value
		if json.Unmarshal(value, &object) == nil {
			value = object[token]
		} else if i, err := strconv.Atoi(token); err == nil && json.Unmarshal(value, &array) == nil && i < len(array) {
			value = array[i]
		}
	}
	var text string
	switch {
	case value.Kind() == '0':
		return " " + Quote(value)
	case value.Kind() == '"' && json.Unmarshal(value, &text) == nil:
		return " " + Quote(text)
	}
	return ""
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 't', 'f':
		return "a boolean"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 'n':
		return "null"
	}
	return "something else"
}

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[string]():
		return "a string"
	case reflect.TypeFor[bool]():
		return "true or false"
	case reflect.TypeFor[int]():
		return "an integer"
	case reflect.TypeFor[float64]():
		return "a number"
	case reflect.TypeFor[time.Time]():
		return "a time as RFC 3339 has it, such as 2026-11-30T00:00:00Z,"
	case reflect.TypeFor[[]string]():
		return "an array of strings"
	case reflect.TypeFor[[]Attachment]():
		return "an array"
	}
	return "an object"
}

// outline reads of a broken job what its failed result should carry. What is
// doubled, mistyped or out of bounds stays out.
func outline(data []byte, messageID string) Job {
	var loose struct {
		ID     jsontext.Value `json:"id"`
		User   jsontext.Value `json:"user"`
		As     jsontext.Value `json:"as"`
		Action jsontext.Value `json:"action"`
		DryRun jsontext.Value `json:"dryRun"`
		Labels jsontext.Value `json:"labels"`
	}
	job := Job{ID: messageID}
	if json.Unmarshal(data, &loose) != nil {
		return job
	}
	job.DryRun = loose.DryRun.Kind() == 't'
	take := func(value jsontext.Value, into *string, check func(string) error) {
		var s string
		if value.Kind() == '"' && json.Unmarshal(value, &s) == nil && s != "" && check(s) == nil {
			*into = s
		}
	}
	take(loose.ID, &job.ID, checkID)
	take(loose.User, &job.User, checkUser)
	if job.User == "" {
		take(loose.As, &job.As, func(as string) error { return (&Job{As: as}).checkWho() })
	}
	take(loose.Action, &job.Action, checkAction)
	job.User = strings.ToLower(job.User)
	var labels map[string]string
	if loose.Labels.Kind() == '{' && json.Unmarshal(loose.Labels, &labels) == nil && checkLabels(labels) == nil {
		job.Labels = labels
	}
	return job
}

func (j *Job) check() error {
	if j.ID != "" {
		if err := checkID(j.ID); err != nil {
			return err
		}
	}
	if err := j.checkWho(); err != nil {
		return err
	}
	if err := checkAction(j.Action); err != nil {
		return err
	}
	if err := j.checkObjects(); err != nil {
		return err
	}
	for _, part := range []interface{ check() error }{j.Message, j.Media, j.Pages} {
		if err := part.check(); err != nil {
			return err
		}
	}
	if err := j.checkOutput(); err != nil {
		return err
	}
	return checkLabels(j.Labels)
}

func (j *Job) checkObjects() error {
	if j.Params != nil && j.Params.Kind() != '{' {
		return Errorf("params", "is %s; an object is expected", kindName(j.Params.Kind()))
	}
	if j.Body != nil && j.Body.Kind() != '{' {
		return Errorf("body", "is %s; an object is expected", kindName(j.Body.Kind()))
	}
	return nil
}

// checkWho sees to it that the job says as whom to act, and only once: to act as
// the wrong one is the worst that could happen.
func (j *Job) checkWho() error {
	switch {
	case j.As != "" && j.As != AsServiceAccount:
		return Errorf("as", "is %s; accepted is %s; to act as a user, give user instead", Quote(j.As), AsServiceAccount)
	case j.As != "" && j.User != "":
		return Errorf("as", "is given beside user; give one of them: whom to act as")
	case j.As != "":
		return nil
	}
	return checkUser(j.User)
}

func (j *Job) checkOutput() error {
	switch {
	case j.Output == "":
		return nil
	case j.Pages != nil:
		return Errorf("output", "is given beside pages; a download has no pages")
	}
	_, _, err := ObjectOf("output", j.Output)
	return err
}

func (m *Message) check() error {
	if m == nil {
		return nil
	}
	switch given := m.given(); len(given) {
	case 0:
		return Errorf("message", "is empty; give exactly one of raw (the RFC 5322 letter in base64url), uri (gs://BUCKET/OBJECT) and compose (its fields)")
	case 1:
	default:
		return Errorf("message", "has both %s; give exactly one", strings.Join(given, " and "))
	}
	switch {
	case m.Raw != "":
		return m.decode()
	case m.Compose != nil:
		return m.Compose.check()
	}
	_, _, err := ObjectOf("message.uri", m.URI)
	return err
}

// given names the fields that are set.
func (m *Message) given() []string {
	var given []string
	for _, field := range []struct {
		name string
		set  bool
	}{{"raw", m.Raw != ""}, {"uri", m.URI != ""}, {"compose", m.Compose != nil}} {
		if field.set {
			given = append(given, field.name)
		}
	}
	return given
}

func checkID(id string) error {
	switch {
	case len(id) > maxID:
		return Errorf("id", "is %d bytes long; at most %d are accepted", len(id), maxID)
	case !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl):
		return Errorf("id", "is %s; it may not hold control characters", Quote(id))
	}
	return nil
}

// userPattern is what Workspace accepts as a primary address, seen widely:
// ASCII without blanks, one @, and a domain with a dot. Google decides the rest.
var userPattern = regexp.MustCompile(`^[A-Za-z0-9.!#$%&'*+/=?^_{|}~` + "`" + `-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)+$`)

// ParseUser gives a primary address as jobs have it, in lower case.
func ParseUser(address string) (string, error) {
	return strings.ToLower(address), checkUser(address)
}

func checkUser(user string) error {
	switch {
	case user == "":
		return Errorf("user", "is missing; give the primary e-mail address of whom to act as, or \"as\": \"%s\"", AsServiceAccount)
	case len(user) > maxUser || !userPattern.MatchString(user):
		return Errorf("user", "is %s; a primary e-mail address such as ada@example.com is expected", Quote(user))
	}
	return nil
}

// actionPattern is the shape of every method id in Google's Discovery documents.
var actionPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z][A-Za-z0-9_-]*)+$`)

func checkAction(action string) error {
	switch {
	case action == "":
		return Errorf("action", "is missing; give a method id such as gmail.users.messages.insert")
	case len(action) > maxAction || !actionPattern.MatchString(action):
		return Errorf("action", "is %s; a method id such as gmail.users.messages.insert is expected", Quote(action))
	}
	return nil
}

func checkLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return Errorf("labels", "has %d entries; at most %d are accepted", len(labels), maxLabels)
	}
	for key, value := range labels {
		if key == "" || len(key) > maxLabelKey || len(value) > maxLabelValue {
			return Errorf("labels."+Quote(key), "is too long or has no name; names have 1 to %d bytes, values at most %d", maxLabelKey, maxLabelValue)
		}
	}
	return nil
}
