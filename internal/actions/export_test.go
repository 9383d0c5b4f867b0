package actions

import (
	"net/url"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Matching makes a short text that matches a pattern of Google's.
func Matching(pattern string) string { return matching(pattern) }

// MaxAnswer is the longest answer that a result holds whole.
const MaxAnswer = maxAnswer

// What is known of a method, as the tests of the tables ask for it.
func ClassOf(m *discovery.Method) Class         { return classOf(m, jobs.Job{}, nil) }
func UnitsOf(id string) int                     { return unitsOf(id) }
func ItemsOf(m *discovery.Method) string        { return itemsOf(m) }
func IsPartial(s discovery.Scope) bool          { return isPartial(s) }
func ScopesOf(m *discovery.Method) []string     { return scopesFor(m, jobs.Job{}, url.Values{}) }
func Choices(m *discovery.Method) []ScopeChoice { return scopeChoices(m) }
func OthersUserID(id string) bool               { return anyMatches(othersUserID, id) }
func SecretAnswer(id string) bool               { return anyMatches(secretAnswers, id) }

// Globs are the globs of each table in their order. Those of partial are of scopes.
func Globs() map[string][]string {
	all := map[string][]string{
		"partial": partial, "othersUserID": othersUserID, "secretAnswers": secretAnswers, "mediaNeeded": mediaNeeded,
		"ourIDs": ourIDs, "googlesIDs": googlesIDs,
	}
	for _, row := range classRows {
		all["classRows"] = append(all["classRows"], row.glob)
	}
	for _, row := range lookRows {
		all["lookRows"] = append(all["lookRows"], row.glob)
	}
	for _, row := range repeatRows {
		all["repeatRows"] = append(all["repeatRows"], row.glob)
	}
	for _, row := range unitsRows {
		all["unitsRows"] = append(all["unitsRows"], row.glob)
	}
	for id := range mediaFields {
		all["mediaFields"] = append(all["mediaFields"], id)
	}
	for id := range listFields {
		all["listFields"] = append(all["listFields"], id)
	}
	for _, name := range cloudAPIs {
		all["cloudAPIs"] = append(all["cloudAPIs"], name+".*")
	}
	return all
}

// ScopeRow is a row of the table of scopes.
type ScopeRow struct {
	Glob   string
	Scopes []string
	Always bool
	If     string
}

// ScopeRows are the rows in their order.
func ScopeRows() []ScopeRow {
	var all []ScopeRow
	for _, row := range scopeRows {
		all = append(all, ScopeRow{row.glob, long(row.scopes), row.when == nil, row.If})
	}
	return all
}

// Accepts tells whether the method accepts these scopes.
func Accepts(m *discovery.Method, scopes []string) bool {
	for _, want := range scopes {
		found := false
		for _, s := range m.Scopes {
			found = found || s.URL == want
		}
		if !found {
			return false
		}
	}
	return true
}

// Distance is that of two names, and DidYouMean what a suggestion says.
func Distance(a, b string) int                      { return distance(a, b) }
func DidYouMean(name string, known []string) string { return didYouMean(name, known) }

// Needs tells whether a body of the method must have the field.
func Needs(id string, f discovery.Field) bool { return needs(id, f) }

// LookRow is a row of the table of look-ups.
type LookRow struct {
	Glob, Read, Then, Items, Body, If string
	Lookup                            Lookup
	Params                            map[string]string
	Keys, But, Whole                  []string
	Conditional                       bool
}

// LookRows are the rows in their order.
func LookRows() []LookRow {
	var all []LookRow
	for _, r := range lookRows {
		all = append(all, LookRow{r.glob, r.read, r.then, r.items, r.body, r.If, r.lookup, r.params, r.keys, r.but, r.whole, r.when != nil})
	}
	return all
}

// Selected is an answer less what the fields do not ask for.
func Selected(answer, fields string) string { return string(selectionOf(fields).of([]byte(answer))) }

// LookScopes are those with which calls of the method are looked up.
func LookScopes(m *discovery.Method) []string {
	row, query := lookRowOf(m.ID), url.Values{}
	for name, value := range row.params {
		query.Set(name, value)
	}
	scopes, _ := NewMethods().lookCost(row, scopesFor(m, jobs.Job{}, nil), jobs.Job{}, query)
	return scopes
}

// Shows tells whether all that is wanted is in what was got.
func Shows(want, got any) bool { return shows(want, got) }
