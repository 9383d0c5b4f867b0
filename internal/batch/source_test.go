package batch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// people is a Directory of the text that it answers with.
type people struct {
	users   [][]string // JSON, by page
	members [][]batch.Member
	aliases map[string]string
	lapsed  bool // tokens are not good any more
	err     error

	mu     sync.Mutex
	asked  []string
	finds  atomic.Int32
	atOnce atomic.Int32
	most   atomic.Int32
}

// misasked is an error that says that the question is wrong.
type misasked struct{}

func (misasked) Error() string  { return "directory: HTTP 400 invalid" }
func (misasked) Misasked() bool { return true }

// turn finds a page by its token.
func turn[T any](d *people, pages [][]T, token string) (page []T, next string, err error) {
	n := 0
	if token != "" {
		if _, err := fmt.Sscanf(token, "page%d", &n); err != nil {
			return nil, "", err
		}
	}
	switch {
	case d.err != nil:
		return nil, "", d.err
	case d.lapsed && token != "":
		d.lapsed = false
		return nil, "", misasked{}
	case n+1 < len(pages):
		next = fmt.Sprint("page", n+1)
	}
	return pages[n], next, nil
}

func (d *people) Users(_ context.Context, query map[string]string, fields, token string) (users []jsontext.Value, next string, err error) {
	d.asked = append(d.asked, fmt.Sprint(query, " ", fields))
	page, next, err := turn(d, d.users, token)
	for _, user := range page {
		users = append(users, jsontext.Value(user))
	}
	return users, next, err
}

func (d *people) Find(_ context.Context, user, _ string) (jsontext.Value, error) {
	d.most.Store(max(d.most.Load(), d.atOnce.Add(1)))
	defer d.atOnce.Add(-1)
	d.finds.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch primary := d.aliases[user]; {
	case d.err != nil:
		return nil, d.err
	case strings.HasPrefix(user, "nobody"):
		return nil, nil
	case primary != "":
		user = primary
	}
	return jsontext.Value(fmt.Sprintf(`{"primaryEmail": %q, "name": {"fullName": "N"}, "suspended": %t}`, user, strings.HasPrefix(user, "suspended"))), nil
}

func (d *people) Members(_ context.Context, _, token string) ([]batch.Member, string, error) {
	return turn(d, d.members, token)
}

// sourceOf is a source of those targets.
func sourceOf(t testing.TB, c batch.SourceConfig, targets string, more ...string) batch.Source {
	t.Helper()
	c.Batch = decoded(t, targets, more...)
	s, err := batch.NewSource(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// found is who is on pages, and who is passed over for which reason.
func found(all []batch.Page) (users, passed []string) {
	targets, over := targetsOf(all)
	for _, one := range targets {
		users = append(users, one.User)
	}
	for _, one := range over {
		passed = append(passed, one.User+" "+one.Reason)
	}
	return users, passed
}

func same(t *testing.T, what string, want, got []string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", what, diff)
	}
}

// A user of whom the Directory has nothing that templates use is a target like any other.
func TestUsersWithNothingToKnow(t *testing.T) {
	d := &people{users: [][]string{{`{"primaryEmail": "ada@example.com"}`, `{"primaryEmail": "grace@example.com", "phones": [1]}`}}}
	all := pages(t, sourceOf(t, batch.SourceConfig{Directory: d, Fields: "phones"}, "all: true"), nil)
	want := []batch.Target{{User: "ada@example.com"}, {User: "grace@example.com", Known: jsontext.Value(`{"phones":[1]}`)}}
	if diff := cmp.Diff(want, all[0].Targets); diff != "" {
		t.Error(diff)
	}
}

func TestUsersOfTheDirectory(t *testing.T) {
	d := &people{users: [][]string{{
		`{"primaryEmail": "Ada@Example.com", "name": {"fullName": "Ada L"}, "orgUnitPath": "/", "suspended": false, "isMailboxSetup": true, "isDelegatedAdmin": true}`,
		`{"primaryEmail": "sam@example.com", "suspended": true, "archived": true}`, `{"primaryEmail": "archie@example.com", "archived": true, "isMailboxSetup": false}`,
	}, {}, {
		`{"primaryEmail": "olive@example.com", "isMailboxSetup": false}`, `{"primaryEmail": "CEO@example.com", "suspended": true}`, `{"primaryEmail": "ünused@example.com"}`, `{"primaryEmail": "bare@example.com"}`,
	}}}
	s := sourceOf(t, batch.SourceConfig{Directory: d, Fields: "name(fullName,givenName),isAdmin,orgUnitPath"}, "all: true", "exclude: [ceo@example.com]")
	all := pages(t, s, nil)
	users, passed := found(all)
	same(t, "users", []string{"ada@example.com", "bare@example.com"}, users)
	same(t, "passed over", []string{"sam@example.com suspended", "archie@example.com archived", "olive@example.com noMailbox", "ceo@example.com excluded", "ünused@example.com address"}, passed)
	want := batch.Target{User: "ada@example.com", Admin: true, Known: jsontext.Value(`{"name":{"fullName":"Ada L"},"orgUnitPath":"/"}`)}
	if diff := cmp.Diff(want, all[0].Targets[0]); diff != "" || len(all) != 3 || all[2].Targets[0].Known != nil {
		t.Error(diff, all[2])
	}
	same(t, "asked", slices.Repeat([]string{"map[] primaryEmail,suspended,archived,isMailboxSetup,isAdmin,isDelegatedAdmin,name(fullName,givenName),orgUnitPath"}, 3), d.asked)
	if d.finds.Load() != 0 {
		t.Errorf("looked up %d users that were listed", d.finds.Load())
	}

	for include, want := range map[string]int{"[suspended]": 2, "[suspended, archived]": 3, "[noMailbox]": 3, "[archived, noMailbox]": 4, "[suspended, archived, noMailbox]": 5} {
		if users, _ := found(pages(t, sourceOf(t, batch.SourceConfig{Directory: d}, "all: true", "include: "+include, "exclude: [ceo@example.com]"), nil)); len(users) != want {
			t.Errorf("include %s: %v", include, users)
		}
	}
}

func TestQueries(t *testing.T) {
	for targets, want := range map[string]string{
		`orgUnit: /`:                        "map[]",
		`orgUnit: /Sales`:                   "map[query:orgUnitPath='/Sales']",
		`orgUnit: /Sales/`:                  "map[query:orgUnitPath='/Sales']",
		`orgUnit: "/A b/O'Neill\\s"`:        `map[query:orgUnitPath='/A b/O\'Neill\\s']`,
		`query: "orgName='x' isAdmin=true"`: "map[query:orgName='x' isAdmin=true]",
	} {
		d := &people{users: [][]string{{}}}
		pages(t, sourceOf(t, batch.SourceConfig{Directory: d}, targets), nil)
		if len(d.asked) != 1 || !strings.HasPrefix(d.asked[0], want+" ") {
			t.Errorf("%s: %q", targets, d.asked)
		}
	}
}

// An answer without an address says nothing of anybody, and must not pass for one.
func TestUsersThatAreNone(t *testing.T) {
	for _, user := range []string{`{}`, `null`, `{"primaryEmail": ""}`, `{"primaryEmail": 1}`, `{"primaryEmail": `} {
		d := &people{users: [][]string{{user}}}
		if p, err := sourceOf(t, batch.SourceConfig{Directory: d}, "all: true").Page(t.Context(), ""); err == nil {
			t.Errorf("%s: %+v", user, p)
		}
	}
}

func TestGroup(t *testing.T) {
	user := func(email string) batch.Member { return batch.Member{Email: email, Type: "USER", Status: "ACTIVE"} }
	d := &people{
		members: [][]batch.Member{
			{user("Ada@example.com"), {Email: "nested@example.com", Type: "GROUP"}, user("grace@example.com"), user("ada@example.com"), {Email: "x@other.example", Type: "EXTERNAL"}},
			{user("grace@example.com"), user("suspended@example.com"), user("nobody@example.com"), {Type: "CUSTOMER"}, user("alias@example.com"), user("not an address")},
			{user("alan@example.com"), user("boss@example.com")},
		},
		aliases: map[string]string{"alias@example.com": "ada@example.com"},
	}
	c := batch.SourceConfig{Directory: d, Fields: "name"}
	first := pages(t, sourceOf(t, c, "group: g@example.com", "exclude: [boss@example.com]"), nil)
	users, passed := found(first)
	same(t, "users", []string{"ada@example.com", "grace@example.com", "alan@example.com"}, users)
	same(t, "passed over", []string{
		"x@other.example external", "suspended@example.com suspended", "nobody@example.com notFound",
		"g@example.com customer", "not an address address", "boss@example.com excluded",
	}, passed)
	if len(first) != 3 || string(first[0].Targets[0].Known) != `{"name":{"fullName":"N"}}` || d.finds.Load() != 7 {
		t.Errorf("%d pages, %d look-ups: %+v", len(first), d.finds.Load(), first[0])
	}

	// Whoever goes on is told who was there before.
	var kept []batch.Page
	c.Earlier = func(_ context.Context, each func(string)) error {
		for _, p := range kept {
			users, passed := found([]batch.Page{p})
			for _, user := range append(users, passed...) {
				each(strings.Fields(user)[0])
			}
		}
		return nil
	}
	cursor := ""
	for i := range first {
		p, err := sourceOf(t, c, "group: g@example.com", "exclude: [boss@example.com]").Page(t.Context(), cursor)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first[i], p); diff != "" {
			t.Errorf("page %d: %s", i, diff)
		}
		kept, cursor = append(kept, p), p.Next
	}
}

// A page that could not be kept is read again, with the same users on it.
func TestAPageAgain(t *testing.T) {
	user := func(email string) batch.Member { return batch.Member{Email: email, Type: "USER"} }
	d := &people{members: [][]batch.Member{{user("ada@example.com"), user("grace@example.com")}, {user("ada@example.com"), user("alan@example.com")}}}
	s := sourceOf(t, batch.SourceConfig{Directory: d}, "group: g@example.com")
	for _, c := range []struct {
		cursor string
		want   []string
	}{{"", []string{"ada@example.com", "grace@example.com"}}, {"", []string{"ada@example.com", "grace@example.com"}}, {"page1", []string{"alan@example.com"}}, {"page1", []string{"alan@example.com"}}} {
		p, err := s.Page(t.Context(), c.cursor)
		if err != nil {
			t.Fatal(err)
		}
		users, _ := found([]batch.Page{p})
		same(t, c.cursor, c.want, users)
	}
	d.err = errors.New("away")
	if _, err := s.Page(t.Context(), "page1"); err == nil {
		t.Error("no error")
	}
	d.err = nil
	p, err := s.Page(t.Context(), "page1")
	users, _ := found([]batch.Page{p})
	same(t, fmt.Sprint("after an error, ", err), []string{"alan@example.com"}, users)
}

// A list whose tokens have lapsed is begun again, and nobody is on it twice, or lost.
func TestALapsedToken(t *testing.T) {
	var lists [][]string
	for n := range 5 {
		list := []string{}
		for i := range 10 {
			list = append(list, fmt.Sprintf(`{"primaryEmail": "u%d%d@example.com"}`, n, i))
		}
		lists = append(lists, list)
	}
	d := &people{users: lists}
	var kept []batch.Page
	earlier := 0
	c := batch.SourceConfig{Directory: d, Earlier: func(_ context.Context, each func(string)) error {
		earlier++
		users, _ := found(kept)
		for _, user := range users {
			each(user)
		}
		return nil
	}}
	s := sourceOf(t, c, "all: true")
	for n, cursor := 0, ""; n == 0 || cursor != ""; n++ {
		d.lapsed = n == 2
		if n == 4 { // somebody else goes on
			s = sourceOf(t, c, "all: true")
		}
		p, err := s.Page(t.Context(), cursor)
		if err != nil {
			t.Fatal(err)
		}
		kept, cursor = append(kept, p), p.Next
	}
	users, _ := found(kept)
	if once := slices.Compact(slices.Sorted(slices.Values(users))); len(users) != 50 || len(once) != 50 || earlier != 2 {
		t.Errorf("%d users, %d different ones, asked %d times who was there", len(users), len(once), earlier)
	}
}

func TestNamedUsers(t *testing.T) {
	d := &people{aliases: map[string]string{"alias@example.com": "grace@example.com", "other@example.com": "ada@example.com"}}
	const targets = "users: [ada@example.com, alias@example.com, nobody@example.com, suspended@example.com, grace@example.com, other@example.com, boss@example.com]"
	users, passed := found(pages(t, sourceOf(t, batch.SourceConfig{Directory: d}, targets, "exclude: [boss@example.com]"), nil))
	same(t, "users", []string{"ada@example.com", "grace@example.com"}, users)
	same(t, "passed over", []string{"nobody@example.com notFound", "suspended@example.com suspended", "grace@example.com double", "other@example.com double", "boss@example.com excluded"}, passed)

	users, passed = found(pages(t, sourceOf(t, batch.SourceConfig{}, targets, "exclude: [boss@example.com]"), nil))
	if len(users) != 6 || len(passed) != 1 {
		t.Errorf("without a Directory %v, %v", users, passed)
	}

	many := "users: ["
	for i := range 1234 {
		many += fmt.Sprintf("u%d@example.com, ", i)
	}
	d = &people{}
	all := pages(t, sourceOf(t, batch.SourceConfig{Directory: d}, many+"z@example.com]"), nil)
	users, _ = found(all)
	if len(all) != 3 || len(users) != 1235 || users[1233] != "u1233@example.com" || d.finds.Load() != 1235 || d.most.Load() > 8 {
		t.Errorf("%d users on %d pages, %d look-ups, %d at once", len(users), len(all), d.finds.Load(), d.most.Load())
	}
	if _, err := sourceOf(t, batch.SourceConfig{}, targets).Page(t.Context(), "8"); err == nil {
		t.Error("there is no eighth user")
	}
}

func TestFailuresOf(t *testing.T) {
	lists := map[string][]string{"": {"b@example.com", "", "a@example.com"}, "more": {"a@example.com", "c@example.com"}}
	c := batch.SourceConfig{Failures: func(_ context.Context, id, after string, limit int) (results []jobs.Result, next string, err error) {
		if id != "earlier" || limit != 500 {
			t.Errorf("%s, %d", id, limit)
		}
		for _, user := range lists[after] {
			results = append(results, jobs.Result{User: user})
		}
		if after == "" {
			next = "more"
		}
		return results, next, nil
	}}
	users, passed := found(pages(t, sourceOf(t, c, "failuresOf: earlier"), nil))
	same(t, "users", []string{"b@example.com", "a@example.com", "c@example.com"}, users)
	same(t, "passed over", nil, passed)
}

// What the author must mend has the field and its line; what passes has not.
func TestErrorsOfTheDirectory(t *testing.T) {
	for targets, want := range map[string]string{
		"all: true":                "targets.all: directory: HTTP 400 invalid",
		"group: g@example.com":     `line 2: targets.group: is "g@example.com", and the Directory knows of no such group`,
		"orgUnit: /Nowhere":        `line 2: targets.orgUnit: is "/Nowhere", and the Directory knows of no such organisational unit; give its path, such as /Sales/EMEA`,
		"query: is it so":          `line 2: targets.query: is "is it so", which the Directory does not understand; see https://developers.google.com/workspace/admin/directory/v1/guides/search-users`,
		"users: [ada@example.com]": "directory: HTTP 400 invalid",
	} {
		if _, err := sourceOf(t, batch.SourceConfig{Directory: &people{err: misasked{}}}, targets).Page(t.Context(), ""); err == nil || err.Error() != want {
			t.Errorf("%s: %v", targets, err)
		}
		away := errors.New("away")
		_, err := sourceOf(t, batch.SourceConfig{Directory: &people{err: away}}, targets).Page(t.Context(), "")
		var problem *jobs.BatchError
		if !errors.Is(err, away) || errors.As(err, &problem) {
			t.Errorf("%s: %v", targets, err)
		}
	}
	for _, targets := range []string{"all: true", "orgUnit: /", "query: a", "group: g@example.com", "failuresOf: b", "csv: gs://lists/users.csv", "users: [a@example.com]"} {
		_, err := batch.NewSource(batch.SourceConfig{Batch: decoded(t, targets)})
		var problem *jobs.BatchError
		needs := !strings.HasPrefix(targets, "failuresOf") && !strings.HasPrefix(targets, "csv") && !strings.HasPrefix(targets, "users")
		if errors.As(err, &problem) != needs || needs && (problem.Line != 2 || !strings.Contains(problem.Problem, "ONBEHALF_ADMIN")) {
			t.Errorf("%s without a Directory: %v", targets, err)
		}
	}
}
