package directory_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/internal/directory"
)

// asks answers with a body, and keeps what was asked for.
func asks(body string, urls *[]*url.URL) *google {
	return &google{answer: func(_ int, r *http.Request) (int, string) {
		*urls = append(*urls, r.URL)
		return http.StatusOK, body
	}}
}

func TestUsers(t *testing.T) {
	for name, c := range map[string]struct {
		query         map[string]string
		fields, token string
		want          map[string]string
	}{
		"everybody": {nil, "primaryEmail,name(fullName)", "", map[string]string{
			"prettyPrint": "false", "customer": "my_customer", "orderBy": "email", "maxResults": "500", "fields": "nextPageToken,users(primaryEmail,name(fullName))",
		}},
		"a query, on": {map[string]string{"query": "isAdmin=true"}, "primaryEmail", "t", map[string]string{
			"prettyPrint": "false", "customer": "my_customer", "orderBy": "email", "maxResults": "500", "fields": "nextPageToken,users(primaryEmail)", "query": "isAdmin=true", "pageToken": "t",
		}},
		"a domain": {map[string]string{"domain": "example.org"}, "primaryEmail,customSchemas", "", map[string]string{
			"prettyPrint": "false", "domain": "example.org", "orderBy": "email", "maxResults": "500", "fields": "nextPageToken,users(primaryEmail,customSchemas)", "projection": "full",
		}},
	} {
		var urls []*url.URL
		users, next, err := asks(`{"users": [{"primaryEmail": "ada@example.com", "name": {"fullName": "Ada"}}, {}], "nextPageToken": "more"}`, &urls).
			directory(t).Users(t.Context(), c.query, c.fields, c.token)
		if err != nil || len(users) != 2 || string(users[0]) != `{"primaryEmail": "ada@example.com", "name": {"fullName": "Ada"}}` || next != "more" {
			t.Fatalf("%s: %s, %q, %v", name, users, next, err)
		}
		got := map[string]string{}
		for name, values := range urls[0].Query() {
			got[name] = strings.Join(values, " and ")
		}
		if diff := cmp.Diff(c.want, got); diff != "" || urls[0].Path != "/admin/directory/v1/users" || len(urls) != 1 {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestMembers(t *testing.T) {
	var urls []*url.URL
	g := asks(`{"members": [{"email": "ada@example.com", "type": "USER", "status": "ACTIVE"}, {"type": "CUSTOMER"}]}`, &urls)
	var scopes []string
	d, err := directory.New(directory.Config{HTTP: &http.Client{Transport: g}, Authorize: func(_ context.Context, _ *http.Request, scope string) (func(), error) {
		scopes = append(scopes, scope)
		return func() {}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	members, next, err := d.Members(t.Context(), "a/b@example.com", "t")
	want := []directory.Member{{Email: "ada@example.com", Type: "USER", Status: "ACTIVE"}, {Type: "CUSTOMER"}}
	if diff := cmp.Diff(want, members); diff != "" || err != nil || next != "" {
		t.Errorf("%s, %q, %v", diff, next, err)
	}
	if want := "/admin/directory/v1/groups/a%2Fb@example.com/members?fields=nextPageToken%2Cmembers%28email%2Ctype%2Cstatus%29&includeDerivedMembership=true&maxResults=200&pageToken=t&prettyPrint=false"; urls[0].RequestURI() != want {
		t.Errorf("asked for %s", urls[0].RequestURI())
	}
	if _, _, err := d.Users(t.Context(), nil, "primaryEmail", ""); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{directory.GroupScope, directory.Scope}, scopes); diff != "" {
		t.Error(diff)
	}
}

const forbidden = `{"error": {"code": 403, "message": "Not Authorized to access this resource/api", "errors": [{"reason": "forbidden"}]}}`

func TestFind(t *testing.T) {
	list := func(answer string) func(int, *http.Request) (int, string) {
		return func(_ int, r *http.Request) (int, string) {
			if strings.HasSuffix(r.URL.Path, "/users") && answer != forbidden {
				return http.StatusOK, answer
			}
			return http.StatusForbidden, forbidden
		}
	}
	for name, c := range map[string]struct {
		answer func(int, *http.Request) (int, string)
		found  string
		status int // of the error
	}{
		"there":                   {always(200, adas), adas, 0},
		"not there":               {always(404, notFound), "", 0},
		"not the Directory's":     {always(404, "<html>"), "", 404},
		"of another organisation": {list("{}"), "", 0},
		"may read nobody":         {list(forbidden), "", 403},
	} {
		found, err := (&google{answer: c.answer}).directory(t).Find(t.Context(), "ada@example.com", "primaryEmail")
		var e *directory.Error
		if string(found) != c.found || errors.As(err, &e) != (c.status != 0) || e != nil && e.Status != c.status {
			t.Errorf("%s: %s, %v", name, found, err)
		}
	}
	g := &google{answer: list("{}")}
	d := g.directory(t)
	for i := range 10 {
		if found, err := d.Find(t.Context(), fmt.Sprintf("u%d@gmail.com", i), "primaryEmail"); found != nil || err != nil {
			t.Errorf("%s, %v", found, err)
		}
	}
	if g.times() != 11 {
		t.Errorf("asked %d times whether users can be read", g.times()-10)
	}
}

// reason is an answer with that.
func reason(s string) string { return `{"error": {"errors": [{"reason": "` + s + `"}]}}` }

// What may pass is asked for again, after growing pauses; what does not, is not.
func TestWhatPasses(t *testing.T) {
	for name, c := range map[string]struct {
		status      int
		body, after string
		least, most time.Duration
		asked       int
	}{
		"unavailable":       {503, "", "", 3 * time.Second, 8 * time.Second, 5},
		"backend":           {500, reason("backendError"), "", 3 * time.Second, 8 * time.Second, 5},
		"cut":               {0, "", "", 3 * time.Second, 8 * time.Second, 5},
		"half an answer":    {200, `{"users": [`, "", 3 * time.Second, 8 * time.Second, 5},
		"too many requests": {429, "", "", 3 * time.Second, 8 * time.Second, 5},
		"a limit":           {403, reason("quotaExceeded"), "", 3 * time.Second, 8 * time.Second, 5},
		"a limit, newer":    {403, `{"error": {"details": [{"reason": "RATE_LIMIT_EXCEEDED"}]}}`, "", 3 * time.Second, 8 * time.Second, 5},
		"come again":        {429, "", "10", 40 * time.Second, 48 * time.Second, 5},
		"come much later":   {429, "", "600", 0, 0, 1},
		"forbidden":         {403, forbidden, "", 0, 0, 1},
		"for today":         {403, reason("dailyLimitExceeded"), "", 0, 0, 1},
		"off":               {403, reason("accessNotConfigured"), "", 0, 0, 1},
		"no such query":     {400, reason("invalid"), "", 0, 0, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := &google{after: c.after, answer: func(n int, _ *http.Request) (int, string) {
				if n < 5 {
					return c.status, c.body
				}
				return http.StatusOK, "{}"
			}}
			begun := time.Now()
			_, _, err := g.directory(t).Users(t.Context(), nil, "primaryEmail", "")
			if took := time.Since(begun); took < c.least || took > c.most || g.times() != c.asked || (err == nil) != (c.asked == 5) {
				t.Errorf("%s: %v after %s and %d calls", name, err, took, g.times())
			}
			var e *directory.Error
			if errors.As(err, &e) && c.after != "" && e.RetryAfter.String() != "10m0s" {
				t.Errorf("%s: says to come after %s", name, e.RetryAfter)
			}
		})
	}
}

// What lasts is told: after a little more than the minute that a quota takes, or in
// time for the caller to act on it.
func TestWhatLasts(t *testing.T) {
	for limit, least := range map[time.Duration]time.Duration{time.Hour: 58 * time.Second, 20 * time.Second: 8 * time.Second, time.Millisecond: 0} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			begun := time.Now()
			_, err := (&google{answer: always(503, "")}).directory(t).Find(ctx, "ada@example.com", "primaryEmail")
			var e *directory.Error
			if took := time.Since(begun); !errors.As(err, &e) || e.Status != 503 || took < least || took > 75*time.Second || took >= limit {
				t.Errorf("%v after %s of %s", err, took, limit)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		begun := time.Now()
		if _, _, err := (&google{answer: always(503, "")}).directory(t).Members(ctx, "g@example.com", ""); !errors.Is(err, context.Canceled) || time.Since(begun) != time.Second {
			t.Errorf("who gave up: %v", err)
		}
	})
}

// A page may be large, but not so large that it fills the memory.
func TestLargeAnswers(t *testing.T) {
	user := `{"primaryEmail": "` + strings.Repeat("a", 60_000) + `@example.com"}`
	g := &google{answer: func(_ int, r *http.Request) (int, string) {
		return http.StatusOK, `{"users": [` + strings.Repeat(user+",", map[string]int{"": 499, "next": 700}[r.URL.Query().Get("pageToken")]) + user + `]}`
	}}
	d := g.directory(t)
	if users, _, err := d.Users(t.Context(), nil, "primaryEmail", ""); err != nil || len(users) != 500 {
		t.Errorf("%d users, %v", len(users), err)
	}
	var e *directory.Error
	if _, _, err := d.Users(t.Context(), nil, "primaryEmail", "next"); !errors.As(err, &e) || e.Reason != directory.TooLarge || g.times() != 2 {
		t.Errorf("%v, asked %d times", err, g.times())
	}
}

// What a listing said is told for an hour from then, and gives way to newer word.
func TestLearn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{answer: users}
		a := directory.NewAdmins(g.directory(t))
		is := func(user string, want bool, asked int) {
			t.Helper()
			if got, err := a.IsAdmin(t.Context(), user); err != nil || got != want || g.times() != asked {
				t.Errorf("%s: %t, %v, asked %d times, want %d", user, got, err, g.times(), asked)
			}
		}
		a.Learn("ada@example.com", true, time.Now())
		a.Learn("grace@example.com", true, time.Now().Add(-time.Hour+time.Second))
		a.Learn("alan@example.com", true, time.Now().Add(-time.Hour))
		is("ada@example.com", true, 0)
		is("grace@example.com", true, 0)
		is("alan@example.com", false, 1)
		a.Learn("alan@example.com", true, time.Now().Add(-time.Minute))
		is("alan@example.com", false, 1)
		time.Sleep(time.Second)
		is("grace@example.com", false, 2)
		a.Learn("ada@example.com", false, time.Now())
		time.Sleep(time.Hour - time.Second)
		is("ada@example.com", false, 2)
		time.Sleep(time.Second)
		is("ada@example.com", false, 3)
	})
}

// Who asks while something is learned gets one of the two, and nothing is lost.
func TestLearnWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{answer: users, took: time.Second}
		a := directory.NewAdmins(g.directory(t))
		go func() {
			if is, err := a.IsAdmin(t.Context(), "super@example.com"); !is || err != nil {
				t.Errorf("%t, %v", is, err)
			}
		}()
		synctest.Wait()
		a.Learn("super@example.com", false, time.Now())
		if is, err := a.IsAdmin(t.Context(), "super@example.com"); !is || err != nil || g.times() != 1 {
			t.Errorf("%t, %v, asked %d times", is, err, g.times())
		}
	})
}
