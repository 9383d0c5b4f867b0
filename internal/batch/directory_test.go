package batch_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/auth"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"

	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/content"
	"github.com/onbehalf-dev/onbehalf/internal/directory"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

var (
	_ batch.Directory = (*directory.Directory)(nil)
	_ batch.Files     = content.Files{}
)

// organisation is a Workspace of 1,234 users, and an administrator, over HTTP.
type organisation struct {
	google *sandbox.Server
	people []sandbox.User // by address
	config batch.SourceConfig
}

const atStaff = "staff@example.com"

func newOrganisation(t *testing.T) *organisation {
	t.Helper()
	world := sandbox.DefaultWorld()
	many := sandbox.Generate{Count: 1234, OrgUnits: []string{"/Sales", "/Sales/O'Neill's", "/Salesroom", "/"}, SuspendedEvery: 100, ArchivedEvery: 150, NoMailboxEvery: 70}.Users()
	world.Users = append(slices.Clone(many), sandbox.User{PrimaryEmail: "zadmin@example.com", IsAdmin: true})
	world.Groups = []sandbox.Group{{Email: atStaff, Members: []string{"odd@example.com", "even@example.com", many[0].PrimaryEmail, "guest@other.example"}}, {Email: "odd@example.com"}, {Email: "even@example.com"}}
	var rows strings.Builder
	rows.WriteString("Email,number\r\n")
	for i, u := range many {
		world.Groups[1+i%2].Members = append(world.Groups[1+i%2].Members, u.PrimaryEmail)
		fmt.Fprintf(&rows, "%s,\"%d\n\"\r\n", u.PrimaryEmail, i)
	}
	world.Objects = map[string][]byte{"lists/users.csv": []byte(rows.String())}
	google, err := sandbox.New(world, sandbox.Options{KeyBits: 1024})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(google)
	t.Cleanup(server.Close)
	cfg, err := config.Load([]string{"GOOGLE_CLOUD_PROJECT=" + world.Project, "ONBEHALF_SERVICE_ACCOUNT=" + world.Runtime, "ONBEHALF_SANDBOX=" + server.URL})
	if err != nil {
		t.Fatal(err)
	}
	way, err := access.Open(t.Context(), cfg, access.Options{Caller: world.Runtime, Credentials: func() (*auth.Credentials, error) { return google.Credentials(world.Runtime), nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(way.HTTP.CloseIdleConnections)
	users, err := way.Directory("zadmin@example.com")
	if err != nil {
		t.Fatal(err)
	}
	objects, err := storage.NewService(t.Context(), option.WithHTTPClient(way.OwnHTTP))
	if err != nil {
		t.Fatal(err)
	}
	return &organisation{google, world.Users, batch.SourceConfig{
		Directory: users, Files: content.Files{Storage: objects}, Fields: "name,orgUnitPath",
		Failures: func(context.Context, string, string, int) (results []jobs.Result, next string, err error) {
			for _, u := range many {
				results = append(results, jobs.Result{User: u.PrimaryEmail})
			}
			return results, "", nil
		},
	}}
}

// eligible are the users of some units who are not passed over; nil: of all.
func (o *organisation) eligible(units ...string) (users []string) {
	for _, u := range o.people {
		if !u.Suspended && !u.Archived && !u.NoMailbox && (units == nil || slices.Contains(units, u.OrgUnitPath)) {
			users = append(users, u.PrimaryEmail)
		}
	}
	return users
}

// Every kind of targets names the users that it should, each once, with what templates
// need; and a list of the Directory's costs a call for 500 of them.
func TestEveryKindOfTargets(t *testing.T) {
	o := newOrganisation(t)
	all := o.eligible()
	many := all[:len(all)-1] // without the administrator
	list := "users: ["
	for _, u := range o.people {
		list += u.PrimaryEmail + ","
	}
	for targets, c := range map[string]struct {
		want               []string
		lists, groups, one int // calls
	}{
		"all: true":                   {all, 3, 0, 0},
		"orgUnit: /":                  {all, 3, 0, 0},
		"orgUnit: /Sales":             {o.eligible("/Sales", "/Sales/O'Neill's"), 2, 0, 0},
		`orgUnit: "/Sales/O'Neill's"`: {o.eligible("/Sales/O'Neill's"), 1, 0, 0},
		`query: "email:user000000* orgUnitPath=/Salesroom"`: {[]string{"user0000003@example.com", "user0000007@example.com"}, 1, 0, 0},
		"group: " + atStaff:         {many, 0, 7, 1235},
		"csv: gs://lists/users.csv": {many, 0, 0, 1234},
		"failuresOf: earlier":       {many, 0, 0, 1234},
		list + "]":                  {all, 0, 0, 1235},
	} {
		o.google.ResetCalls()
		s := sourceOf(t, o.config, targets)
		if _, err := s.Check(t.Context()); err != nil {
			t.Errorf("%.40s: %v", targets, err)
			continue
		}
		listed := pages(t, s, nil)
		users, passed := found(listed)
		slices.Sort(users)
		same(t, targets[:min(40, len(targets))], c.want, users)
		for _, p := range passed {
			if !strings.HasSuffix(p, " suspended") && !strings.HasSuffix(p, " archived") && !strings.HasSuffix(p, " noMailbox") && p != "guest@other.example notFound" {
				t.Errorf("%.40s: passed over: %s", targets, p)
			}
		}
		calls := o.google.Calls()
		if calls["directory.users.list"] != c.lists || calls["directory.members.list"] != c.groups || calls["directory.users.get"] != c.one || calls["token"] > 2 {
			t.Errorf("%.40s: %v", targets, calls)
		}
		targets, _ := targetsOf(listed)
		for _, one := range targets {
			if known := string(one.Known); !strings.HasPrefix(known, `{"name":{`) || !strings.Contains(known, `"orgUnitPath":"/`) || one.Admin != (one.User == "zadmin@example.com") {
				t.Fatalf("%+v", one)
			}
			if one.Row != nil && fmt.Sprintf("user%07s@example.com", fmt.Sprint(atoi(t, one.Row["number"])+1)) != one.User {
				t.Fatalf("%+v", one)
			}
		}
	}
}

func atoi(t *testing.T, s string) (n int) {
	t.Helper()
	if _, err := fmt.Sscanf(s, "%d\n", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// What passes at Google goes by unseen. What does not is told, and by whom.
func TestFaultsOfTheDirectory(t *testing.T) {
	o := newOrganisation(t)
	for _, f := range []sandbox.Fault{
		{Kind: "429", RetryAfter: "1"}, {Kind: "5xx"}, {Kind: "cut"}, {Row: "A11c"}, {Row: "A11"}, {Row: "A12"}, {Row: "A17"}, {Kind: "expireTokens"},
	} {
		f.Call, f.Times = "directory.users.get", 1 // each of another of those that are looked up at once
		if err := o.google.Order(f); err != nil {
			t.Fatal(err)
		}
	}
	for _, call := range []string{"directory.users.list", "directory.members.list"} {
		if err := o.google.Order(sandbox.Fault{Row: "A11c", Call: call, Times: 1}); err != nil {
			t.Fatal(err)
		}
	}
	all := o.eligible()
	for targets, want := range map[string][]string{"all: true": all, "group: " + atStaff: all[:len(all)-1]} {
		users, _ := found(pages(t, sourceOf(t, o.config, targets), nil))
		slices.Sort(users)
		same(t, targets, want, users)
	}

	for row, reason := range map[string]string{"A19": "forbidden", "A10": "accessNotConfigured", "A11d": "dailyLimitExceeded", "A8": "insufficientPermissions"} {
		o.google.ClearFaults()
		if err := o.google.Order(sandbox.Fault{Row: row, Call: "directory.*"}); err != nil {
			t.Fatal(err)
		}
		for _, targets := range []string{"all: true", "group: " + atStaff} {
			_, err := sourceOf(t, o.config, targets).Page(t.Context(), "")
			var e *directory.Error
			var problem *jobs.BatchError
			if !errors.As(err, &e) || e.Status != 403 || e.Reason != reason || errors.As(err, &problem) {
				t.Errorf("%s, %s: %v", row, targets, err)
			}
		}
	}
	o.google.ClearFaults()
	for targets, want := range map[string]string{
		"group: none@example.com": `line 2: targets.group: is "none@example.com", and the Directory knows of no such group`,
		"orgUnit: /Nowhere":       `line 2: targets.orgUnit: is "/Nowhere", and the Directory knows of no such organisational unit`,
		"query: what=ever":        `line 2: targets.query: is "what=ever", which the Directory does not understand`,
		"csv: gs://lists/none":    `line 2: targets.csv: is "gs://lists/none", and there is no such file`,
	} {
		s := sourceOf(t, o.config, targets)
		_, err := s.Check(t.Context())
		if err == nil {
			_, err = s.Page(t.Context(), "")
		}
		var problem *jobs.BatchError
		if !errors.As(err, &problem) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", targets, err)
		}
	}
}

// One whom the administrator may not read, as those of another organisation, stops
// nobody; a page that could not be read can be read again.
func TestAUserWhoMayNotBeRead(t *testing.T) {
	o := newOrganisation(t)
	const targets = "users: [user0000001@example.com, user0000002@example.com, user0000003@example.com]"
	if err := o.google.Order(sandbox.Fault{Row: "A19", Call: "directory.users.get", Times: 1}); err != nil {
		t.Fatal(err)
	}
	users, passed := found(pages(t, sourceOf(t, o.config, targets), nil))
	if len(users) != 2 || len(passed) != 1 || !strings.HasSuffix(passed[0], " notFound") {
		t.Errorf("%v, %v", users, passed)
	}
	s := sourceOf(t, o.config, "group: "+atStaff)
	if err := o.google.Order(sandbox.Fault{Row: "A10", Call: "directory.users.get"}); err != nil {
		t.Fatal(err)
	}
	if p, err := s.Page(t.Context(), ""); err == nil {
		t.Errorf("%d users", len(p.Targets))
	}
	o.google.ClearFaults()
	if got, _ := found(pages(t, s, nil)); len(got) != len(o.eligible())-1 {
		t.Errorf("then %d users", len(got))
	}
}
