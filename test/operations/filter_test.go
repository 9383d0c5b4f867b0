package operations

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// entry is a line of a function's log as Cloud Logging keeps it: what it has taken out of the
// JSON is not in the payload any more
// (https://cloud.google.com/logging/docs/structured-logging#special-payload-fields).
type entry struct {
	service string
	payload map[string]any
}

// newEntry reads a line that the function of that service has written.
func newEntry(t *testing.T, service, line string) entry {
	t.Helper()
	e := entry{service: service}
	if err := json.Unmarshal([]byte(line), &e.payload); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	for field := range e.payload {
		if field == "severity" || field == "time" || strings.HasPrefix(field, "logging.googleapis.com/") {
			delete(e.payload, field)
		}
	}
	return e
}

// field is that of a filter or an extractor; false: the entry has none.
func (e entry) field(path string) (any, bool) {
	switch path {
	case "resource.type":
		return "cloud_run_revision", true
	case "resource.labels.service_name":
		return e.service, true
	}
	value := any(e.payload)
	name, inPayload := strings.CutPrefix(path, "jsonPayload.")
	if !inPayload {
		return nil, false
	}
	for part := range strings.SplitSeq(name, ".") {
		object, _ := value.(map[string]any) // nil has nothing in it
		found, ok := object[part]
		if !ok {
			return nil, false
		}
		value = found
	}
	return value, true
}

var (
	term     = regexp.MustCompile(`^([A-Za-z_.]+)(=|>)(.+)$`)
	anyOf    = regexp.MustCompile(`^\(("[^"]*"(?: OR "[^"]*")+)\)$`)
	quoted   = regexp.MustCompile(`^"[^"]*"$`)
	extracts = regexp.MustCompile(`^EXTRACT\(([A-Za-z_.]+)\)$`)
)

// filter is one of Cloud Logging's query language, as far as ours go: comparisons that are
// joined by AND (https://cloud.google.com/logging/docs/view/logging-query-language).
type filter []comparison

type comparison struct{ field, operator, value string }

func parse(text string) (f filter, err error) {
	for part := range strings.SplitSeq(text, " AND ") {
		m := term.FindStringSubmatch(part)
		if m == nil {
			return nil, fmt.Errorf("%q cannot be read", part)
		}
		_, notANumber := strconv.ParseFloat(m[3], 64)
		word := anyOf.MatchString(m[3]) || quoted.MatchString(m[3]) || m[3] == "true"
		if notANumber != nil && (m[2] == ">" || !word) {
			return nil, fmt.Errorf("%q: nothing can be compared with %s", part, m[3])
		}
		f = append(f, comparison{m[1], m[2], m[3]})
	}
	return f, nil
}

func (f filter) matches(e entry) bool {
	for _, c := range f {
		if !c.matches(e) {
			return false
		}
	}
	return true
}

// matches: a field that is missing compares with nothing.
func (c comparison) matches(e entry) bool {
	value, ok := e.field(c.field)
	if !ok {
		return false
	}
	if c.operator == ">" {
		number, isNumber := value.(float64)
		bound, err := strconv.ParseFloat(c.value, 64)
		return isNumber && err == nil && number > bound
	}
	for want := range strings.SplitSeq(strings.Trim(c.value, "()"), " OR ") {
		if strings.EqualFold(fmt.Sprint(value), strings.Trim(want, `"`)) { // = does not tell case
			return true
		}
	}
	return false
}

func TestFilter(t *testing.T) {
	e := newEntry(t, "onbehalf-execute", `{"time":"t","severity":"INFO","message":"attempt","answer":200,"settled":true,"parked":false,"result":{"fault":"job"}}`)
	for text, want := range map[string]bool{
		`resource.type="cloud_run_revision"`:                                    true,
		`resource.labels.service_name="onbehalf-sweep"`:                         false,
		`resource.labels.service_name=("onbehalf-sweep" OR "onbehalf-execute")`: true,
		`jsonPayload.message="attempt" AND jsonPayload.settled=true`:            true,
		`jsonPayload.message="attempt" AND jsonPayload.parked=true`:             false,
		`jsonPayload.message="Attempt"`:                                         true,
		`jsonPayload.none="attempt"`:                                            false,
		`jsonPayload.severity="INFO"`:                                           false,
		`jsonPayload.answer>199`:                                                true,
		`jsonPayload.answer>200`:                                                false,
		`jsonPayload.answer=200`:                                                true,
		`jsonPayload.answer=503`:                                                false,
		`jsonPayload.message>1`:                                                 false,
		`jsonPayload.result.fault="job"`:                                        true,
		`jsonPayload.message.fault="job"`:                                       false,
	} {
		f, err := parse(text)
		if err != nil || f.matches(e) != want {
			t.Errorf("%s: %v, %v; want %v", text, !want, err, want)
		}
	}
	for _, text := range []string{``, `jsonPayload.message:"attempt"`, `NOT jsonPayload.settled=true`, `jsonPayload.answer>x`, `a="b" OR c="d"`, `a=b`} {
		if f, err := parse(text); err == nil {
			t.Errorf("%s: is read as %v", text, f)
		}
	}
}
