package actions

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// A Probe is a read that shows whether an API takes a token for the user.
type Probe struct {
	// Job reads what every user has; it changes nothing.
	Job jobs.Job
	// Permitted says that the scopes permit it. Where none is permitted, the API
	// still has to say so itself, and can only after it has looked at the token.
	Permitted bool
}

// probeRows are the reads that ask for least, in the order in which they are
// preferred. {user} is the user's address; fields keeps out of the answer what
// nobody needs to see.
var probeRows = []struct{ action, params string }{
	{"gmail.users.getProfile", `{"fields": "historyId"}`},
	{"gmail.users.labels.list", `{"fields": "labels/id"}`},
	{"gmail.users.settings.getVacation", `{"fields": "enableAutoReply"}`},
	{"calendar.settings.list", `{"maxResults": 1, "fields": "kind"}`},
	{"calendar.calendarList.list", `{"maxResults": 1, "fields": "kind"}`},
	{"calendar.events.list", `{"calendarId": "primary", "maxResults": 1, "fields": "kind"}`},
	{"chat.spaces.list", `{"pageSize": 1, "fields": "nextPageToken"}`},
	{"directory.users.get", `{"userKey": "{user}", "fields": "kind"}`},
	{"drive.about.get", `{"fields": "kind"}`},
	{"people.people.get", `{"resourceName": "people/me", "personFields": "metadata", "fields": "resourceName"}`},
	{"tasks.tasklists.list", `{"maxResults": 1, "fields": "kind"}`},
}

// Probe gives a read of the action's API that needs nothing but the user, one
// that the scopes permit if there is any; false where the API has no such read.
func (ms *Methods) Probe(action, user string, scopes []string) (Probe, bool) {
	name, _, _ := strings.Cut(action, ".")
	api, ok := ms.facts.API(name)
	if !ok {
		return Probe{}, false
	}
	var first *Probe
	for _, p := range ms.reads(api, user) {
		if m, _ := api.Method(p.Action); m != nil && opens(m, scopes) {
			return Probe{p, true}, true
		}
		if first == nil {
			first = &Probe{Job: p}
		}
	}
	if first == nil {
		return Probe{}, false
	}
	return *first, true
}

// reads are the API's reads that need nothing but the user: first those of the
// table.
func (ms *Methods) reads(api *discovery.API, user string) []jobs.Job {
	var all []jobs.Job
	for _, row := range probeRows {
		if _, ok := api.Method(row.action); ok {
			params := strings.ReplaceAll(row.params, "{user}", user)
			all = append(all, jobs.Job{User: user, Action: row.action, Params: jsontext.Value(params)})
		}
	}
	for _, m := range api.Methods {
		if _, err := ms.find(m.ID); err == nil && needsNothing(m) {
			all = append(all, jobs.Job{User: user, Action: m.ID})
		}
	}
	return all
}

// needsNothing tells whether a method only reads, and can be called without any
// parameter but the user's own id.
func needsNothing(m *discovery.Method) bool {
	needed := func(p discovery.Param) bool {
		return p.Required && (p.Name != userID || anyMatches(othersUserID, m.ID))
	}
	return m.HTTPMethod == "GET" && m.Response != nil && !slices.ContainsFunc(m.Params, needed)
}

// opens tells whether the method accepts one of the scopes.
func opens(m *discovery.Method, scopes []string) bool {
	return slices.ContainsFunc(m.Scopes, func(s discovery.Scope) bool { return slices.Contains(scopes, s.URL) })
}
