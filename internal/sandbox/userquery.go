package sandbox

import (
	"strings"
)

// userQuery is what users must be to be listed.
type userQuery struct {
	terms []func(*User) bool
	units []string // that it names
}

func (q userQuery) fits(u *User) bool {
	for _, t := range q.terms {
		if !t(u) {
			return false
		}
	}
	return true
}

// parseUserQuery reads the query of users.list: terms that must all fit, each
// field:value (begins with, or contains in the case of *), field=value, or a
// bare beginning of a name or address. It is false for what it does not know.
func parseUserQuery(s string) (q userQuery, ok bool) {
	for _, w := range splitTerms(s) {
		t := userTerm(w)
		if t == nil {
			return q, false
		}
		q.terms = append(q.terms, t)
		if unit, named := strings.CutPrefix(w, "orgUnitPath="); named {
			q.units = append(q.units, "/"+strings.Trim(unit, "/"))
		}
	}
	return q, true
}

// splitTerms splits at blanks outside of quotation marks of either kind and
// drops the marks. A backslash takes the meaning from a mark, and from itself.
func splitTerms(s string) []string {
	var out []string
	var word strings.Builder
	var quote rune
	escaped := false
	for _, r := range s {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
		case quote == 0 && r == ' ':
			if word.Len() > 0 {
				out = append(out, word.String())
			}
			word.Reset()
		default:
			word.WriteRune(r)
		}
	}
	if word.Len() > 0 {
		out = append(out, word.String())
	}
	return out
}

func userTerm(w string) func(*User) bool {
	n := strings.IndexAny(w, ":=")
	if n < 0 {
		return func(u *User) bool { return anyPrefix(w, append(nameFields(u), emailFields(u)...)) }
	}
	key, exact, value := w[:n], w[n] == '=', w[n+1:]
	var fields func(*User) []string
	switch key {
	case "email":
		fields = emailFields
	case "name":
		fields = nameFields
	case "givenName":
		fields = func(u *User) []string { return []string{u.GivenName} }
	case "familyName":
		fields = func(u *User) []string { return []string{u.FamilyName} }
	case "orgUnitPath":
		return func(u *User) bool { return under(u.OrgUnitPath, value) }
	case "isSuspended", "isArchived", "isAdmin", "isDelegatedAdmin":
		return flagTerm(key, value)
	default:
		return nil
	}
	if exact {
		return func(u *User) bool { return anyEqual(value, fields(u)) }
	}
	// "email:ada*" and "email:ada" both mean addresses that begin so.
	return func(u *User) bool { return anyPrefix(strings.TrimSuffix(value, "*"), fields(u)) }
}

func flagTerm(key, value string) func(*User) bool {
	if value != "true" && value != "false" {
		return nil
	}
	return func(u *User) bool {
		state := map[string]bool{
			"isSuspended": u.Suspended, "isArchived": u.Archived, "isAdmin": u.IsAdmin, "isDelegatedAdmin": u.IsDelegatedAdmin,
		}[key]
		return state == (value == "true")
	}
}

func emailFields(u *User) []string { return append([]string{u.PrimaryEmail}, u.Aliases...) }

func nameFields(u *User) []string {
	return []string{u.GivenName, u.FamilyName, u.GivenName + " " + u.FamilyName}
}

// under tells whether a unit is the root or lies in it: the API matches all units
// under the one that is named.
func under(unit, root string) bool {
	root = strings.TrimSuffix(root, "/")
	return strings.EqualFold(unit, root) || len(unit) > len(root) && strings.EqualFold(unit[:len(root)], root) && unit[len(root)] == '/'
}

func anyPrefix(value string, fields []string) bool {
	value = strings.ToLower(value)
	for _, f := range fields {
		if strings.HasPrefix(strings.ToLower(f), value) {
			return true
		}
	}
	return false
}

func anyEqual(value string, fields []string) bool {
	for _, f := range fields {
		if strings.EqualFold(f, value) {
			return true
		}
	}
	return false
}
