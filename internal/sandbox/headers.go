package sandbox

import (
	"bytes"
	"net/mail"
	"strings"
	"time"
)

// field finds one header field of a message without parsing the rest: filing
// a letter is the path that benchmarks measure. Folded lines are joined.
func field(raw []byte, name string) string {
	for line := range headerFields(raw) {
		key, value, ok := bytes.Cut(line, []byte(":"))
		if ok && strings.EqualFold(string(bytes.TrimRight(key, " \t")), name) {
			return unfold(value)
		}
	}
	return ""
}

func unfold(value []byte) string {
	s := strings.TrimSpace(string(value))
	if !strings.ContainsAny(s, "\r\n") {
		return s
	}
	return strings.NewReplacer("\r\n", "", "\n", "", "\r", "").Replace(s)
}

// headerFields walks the fields, each with its folded lines, up to the blank
// line that ends them.
func headerFields(raw []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(raw) > 0 {
			n := fieldEnd(raw)
			line := bytes.TrimRight(raw[:n], "\r\n")
			if len(line) == 0 || !yield(line) {
				return
			}
			raw = raw[n:]
		}
	}
}

// fieldEnd is where the first field ends: after the line whose next line is not
// a continuation.
func fieldEnd(raw []byte) int {
	n := 0
	for {
		i := bytes.IndexByte(raw[n:], '\n')
		if i < 0 {
			return len(raw)
		}
		n += i + 1
		if n >= len(raw) || (raw[n] != ' ' && raw[n] != '\t') || len(bytes.TrimRight(raw[:n], "\r\n")) == 0 {
			return n
		}
	}
}

// messageIDs returns the ids between < and > of a field, without them.
func messageIDs(value string) []string {
	var out []string
	for {
		_, rest, ok := strings.Cut(value, "<")
		if !ok {
			return out
		}
		id, tail, ok := strings.Cut(rest, ">")
		if !ok {
			return out
		}
		if id = strings.TrimSpace(id); id != "" {
			out = append(out, id)
		}
		value = tail
	}
}

// messageIDOf is the letter's own id, "" if it has none.
func messageIDOf(raw []byte) string {
	value := field(raw, "Message-ID")
	if ids := messageIDs(value); len(ids) > 0 {
		return ids[0]
	}
	return value // without brackets it is not valid, and is searched for as it is
}

// ancestors are the letters that this one answers, the nearest first.
func ancestors(raw []byte) []string {
	out := messageIDs(field(raw, "In-Reply-To"))
	refs := messageIDs(field(raw, "References"))
	for i := len(refs) - 1; i >= 0; i-- {
		out = append(out, refs[i])
	}
	return out
}

// dateOf reads the Date field; now stands in for one that is missing or wrong.
func dateOf(raw []byte, now time.Time) time.Time {
	if t, err := mail.ParseDate(field(raw, "Date")); err == nil {
		return t
	}
	return now
}

// without returns raw less the fields of a name. It is raw itself if there are none.
func without(raw []byte, name string) []byte {
	if field(raw, name) == "" {
		return raw
	}
	var out []byte
	rest := raw
	for len(rest) > 0 {
		n := fieldEnd(rest)
		line := bytes.TrimRight(rest[:n], "\r\n")
		if len(line) == 0 {
			break
		}
		key, _, _ := bytes.Cut(line, []byte(":"))
		if !strings.EqualFold(string(bytes.TrimRight(key, " \t")), name) {
			out = append(out, rest[:n]...)
		}
		rest = rest[n:]
	}
	return append(out, rest...)
}
