package sandbox

import (
	"fmt"
	"slices"
	"strings"
)

// query is a parsed "q" of messages.list: terms that must all fit. Facts:
// https://support.google.com/mail/answer/7190.
type query struct {
	terms      []term
	everywhere bool // spam and trash too
}

type term struct {
	not       bool
	key       string // "" is a word to be found in the text
	value     string // lower case, except of rfc822msgid
	labelID   string // of label: and in:, found by bind
	nowhere   bool   // label: names none
	unchecked bool   // fits every letter
}

// parseQuery fails for operators that the sandbox does not know: a search that
// finds too much would hide a mistake.
func parseQuery(s string) (*query, error) {
	q := &query{}
	words, err := splitQuery(s)
	if err != nil {
		return nil, err
	}
	for _, w := range words {
		t, err := parseTerm(w)
		if err != nil {
			return nil, err
		}
		if t.key == "in" && slices.Contains([]string{"anywhere", "spam", "trash"}, t.value) && !t.not {
			q.everywhere = true
		}
		q.terms = append(q.terms, t)
	}
	return q, nil
}

// splitQuery splits at blanks outside of quotation marks. Groups are not known;
// within a Message-ID the same characters are its own.
func splitQuery(s string) ([]string, error) {
	var out []string
	var word strings.Builder
	quoted, begun := false, false
	for _, r := range s {
		switch {
		case r == '"':
			quoted, begun = !quoted, true
		case !quoted && (r == ' ' || r == '\t'):
			if begun {
				out = append(out, word.String())
			}
			word.Reset()
			begun = false
		case !quoted && strings.ContainsRune("(){}", r) && !strings.Contains(word.String(), "rfc822msgid:"):
			return nil, fmt.Errorf("%q in a search", string(r))
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	if begun {
		out = append(out, word.String())
	}
	return out, nil
}

func parseTerm(w string) (term, error) {
	var t term
	w, t.not = strings.CutPrefix(w, "-")
	if w == "OR" || w == "AND" || w == "AROUND" {
		return t, fmt.Errorf("%s in a search", w)
	}
	key, value, ok := strings.Cut(w, ":")
	if !ok {
		t.value = strings.ToLower(w)
		return t, nil
	}
	t.key, t.value = strings.ToLower(key), strings.ToLower(value)
	switch t.key {
	case "rfc822msgid":
		t.value = strings.Trim(value, "<>")
	case "from", "to", "cc", "bcc", "subject", "label", "in", "is":
	default:
		return t, fmt.Errorf("search operator %q", key)
	}
	return t, nil
}

// messageID is the id to which the search is bound, if it is.
func (q *query) messageID() string {
	for _, t := range q.terms {
		if t.key == "rfc822msgid" && !t.not {
			return t.value
		}
	}
	return ""
}

// bind finds the labels that are named. The mailbox's lock must be held.
func (q *query) bind(labels map[string]*label) {
	for i := range q.terms {
		t := &q.terms[i]
		switch t.key {
		case "label", "in":
			t.labelID, t.nowhere = labelNamed(labels, t.value)
			t.unchecked = t.key == "in" && t.value == "anywhere"
		case "is":
			t.labelID, t.nowhere = labelNamed(labels, t.value)
		}
	}
}

// labelNamed finds a label as a search names it: in lower case, with hyphens for
// blanks and slashes.
func labelNamed(labels map[string]*label, name string) (id string, nowhere bool) {
	for id, l := range labels {
		shown := strings.ToLower(l.Name)
		if shown == name || strings.NewReplacer(" ", "-", "/", "-").Replace(shown) == name {
			return id, false
		}
	}
	return "", true
}

func (q *query) fits(l listed) bool {
	for _, t := range q.terms {
		if t.fits(l) == t.not {
			return false
		}
	}
	return true
}

func (t *term) fits(l listed) bool {
	switch t.key {
	case "rfc822msgid":
		return l.messageID == t.value
	case "label", "in":
		return t.unchecked || !t.nowhere && slices.Contains(l.labels, t.labelID)
	case "is":
		if t.value == "read" {
			return !slices.Contains(l.labels, labelUnread)
		}
		return !t.nowhere && slices.Contains(l.labels, t.labelID)
	case "":
		return strings.Contains(l.content().words, t.value)
	}
	return strings.Contains(strings.ToLower(l.content().decoded(t.key)), t.value)
}
