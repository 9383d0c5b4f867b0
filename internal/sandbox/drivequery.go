package sandbox

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// driveQuery is a parsed "q" of files.list: terms that must all fit. Facts:
// https://developers.google.com/workspace/drive/api/guides/ref-search-terms.
type driveQuery []driveTerm

type driveTerm struct {
	field, op, value string
}

// driveTerms are the forms that are known: field op 'value', 'value' in parents,
// and flags.
var driveTerms = regexp.MustCompile(`^\s*(?:` +
	`(name|mimeType)\s*(=|!=|contains)\s*'((?:[^'\\]|\\.)*)'|` +
	`'((?:[^'\\]|\\.)*)'\s+in\s+(parents)|` +
	`(trashed|starred)\s*(=|!=)\s*(true|false))\s*`)

// parseDriveQuery fails for all else: a search that finds too much would hide a
// mistake.
func parseDriveQuery(s string) (driveQuery, error) {
	var q driveQuery
	for rest := s; strings.TrimSpace(rest) != ""; {
		if q != nil {
			after, ok := strings.CutPrefix(rest, "and ")
			if !ok {
				return nil, fmt.Errorf("%q", rest)
			}
			rest = after
		}
		m := driveTerms.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("%q", rest)
		}
		rest = rest[len(m[0]):]
		switch {
		case m[1] != "":
			q = append(q, driveTerm{m[1], m[2], unescaped(m[3])})
		case m[5] != "":
			q = append(q, driveTerm{m[5], "in", unescaped(m[4])})
		default:
			q = append(q, driveTerm{m[6], m[7], m[8]})
		}
	}
	return q, nil
}

func unescaped(s string) string { return strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(s) }

func (q driveQuery) fits(c *call, f doc) bool {
	return !slices.ContainsFunc(q, func(t driveTerm) bool { return !t.fits(c, f) })
}

func (t *driveTerm) fits(c *call, f doc) bool {
	switch t.field {
	case "parents":
		parents, _ := f["parents"].([]any)
		return slices.Contains(parents, any(driveAlias(c, t.value)))
	case "trashed", "starred":
		return (fmt.Sprint(f[t.field]) == t.value) == (t.op == "=")
	}
	have := f.text(t.field)
	switch t.op {
	case "contains": // of a name, Drive takes what a word begins with
		return strings.Contains(strings.ToLower(have), strings.ToLower(t.value))
	case "!=":
		return have != t.value
	}
	return have == t.value
}
