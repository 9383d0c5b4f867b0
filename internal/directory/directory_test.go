package directory_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/onbehalf-dev/onbehalf/internal/apierror"
	"github.com/onbehalf-dev/onbehalf/internal/directory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// google answers in this process, so that it works in a synctest bubble.
type google struct {
	mu      sync.Mutex
	asked   []string // of whom, in order
	refused int      // tokens that were dropped
	answer  func(n int, r *http.Request) (int, string)
	took    time.Duration
	after   string // Retry-After
}

func (g *google) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-time.After(g.took):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
	status, body := g.answer(len(g.asked), r)
	if status == 0 {
		return nil, errors.New("the connection is cut")
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}, "Retry-After": {g.after}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// times is how often it was asked.
func (g *google) times() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.asked)
}

func (g *google) directory(t *testing.T) *directory.Directory {
	t.Helper()
	d, err := directory.New(directory.Config{HTTP: &http.Client{Transport: g}, Authorize: func(ctx context.Context, r *http.Request, _ string) (func(), error) {
		r.Header.Set("Authorization", "Bearer of-the-administrator")
		return func() { g.refused++ }, ctx.Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// always is one answer to everything.
func always(status int, body string) func(int, *http.Request) (int, string) {
	return func(int, *http.Request) (int, string) { return status, body }
}

const (
	adas     = `{"primaryEmail": "ada@example.com", "isAdmin": false, "isDelegatedAdmin": false, "suspended": true, "archived": true, "isMailboxSetup": true}`
	notFound = `{"error": {"code": 404, "message": "Resource Not Found: userKey", "errors": [{"reason": "notFound"}]}}`
	secret   = "something secret of Google's"
)

func TestUser(t *testing.T) {
	g := &google{answer: func(_ int, r *http.Request) (int, string) {
		if r.Method != http.MethodGet || r.URL.Host != directory.Service || r.URL.EscapedPath() != "/admin/directory/v1/users/a%2Fd%3Fa@example.com" ||
			r.URL.Query().Get("fields") != "primaryEmail,suspended,archived,isAdmin,isDelegatedAdmin,isMailboxSetup" || r.Header.Get("Authorization") != "Bearer of-the-administrator" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		return http.StatusOK, adas
	}}
	got, err := g.directory(t).User(t.Context(), "a/d?a@example.com")
	if want := (directory.User{PrimaryEmail: "ada@example.com", Suspended: true, Archived: true, IsMailboxSetup: true}); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		status   int
		body     string
		reason   string
		notFound bool
		asked    int
	}{
		"no such user":      {404, notFound, "notFound", true, 1},
		"no such page":      {404, "<html>Not Found</html>", "NotFound", false, 1},
		"newer form":        {404, `{"error": {"status": "NOT_FOUND"}}`, "NOT_FOUND", true, 1},
		"no administrator":  {403, `{"error": {"message": "` + secret + `", "errors": [{"reason": "forbidden"}]}}`, "forbidden", false, 1},
		"off":               {403, `{"error": {"message": "` + secret + `", "details": [{"reason": "SERVICE_DISABLED"}]}}`, "SERVICE_DISABLED", false, 1},
		"not a word":        {403, `{"error": {"errors": [{"reason": "` + secret + `"}]}}`, apierror.Unreadable, false, 1},
		"nothing":           {500, "", "InternalServerError", false, 1},
		"a redirect":        {302, "", "Found", false, 1},
		"token refused":     {401, `{"error": {"errors": [{"reason": "authError"}]}}`, "authError", false, 2},
		"connection cut":    {0, "", directory.NoAnswer, false, 1},
		"no JSON":           {200, secret, directory.NoAnswer, false, 1},
		"no user":           {200, "{}", directory.NoAnswer, false, 1},
		"somebody, perhaps": {200, `{"isAdmin": false}`, directory.NoAnswer, false, 1},
	} {
		g := &google{answer: always(c.status, c.body)}
		_, err := g.directory(t).User(t.Context(), "ada@example.com")
		var e *directory.Error
		if !errors.As(err, &e) || e.Status != c.status || e.Reason != c.reason || directory.NotFound(err) != c.notFound {
			t.Errorf("%s: %v", name, err)
		}
		if g.times() != c.asked || (g.refused == 2) != (c.asked == 2) {
			t.Errorf("%s: asked %d times, dropped %d tokens", name, g.times(), g.refused)
		}
		if said := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(said, secret) {
			t.Errorf("%s: lets out %s", name, said)
		}
		if strings.Contains(c.body, `"message": "`+secret) && e.Untrusted() != secret {
			t.Errorf("%s: cannot be recognised", name)
		}
	}
}

// A token that is not accepted is dropped, and another one tried.
func TestAnotherToken(t *testing.T) {
	g := &google{answer: func(n int, _ *http.Request) (int, string) {
		if n == 1 {
			return http.StatusUnauthorized, ""
		}
		return http.StatusOK, adas
	}}
	if got, err := g.directory(t).User(t.Context(), "ada@example.com"); err != nil || got.PrimaryEmail != "ada@example.com" || g.refused != 1 {
		t.Errorf("%+v, %v, %d dropped", got, err, g.refused)
	}
}

func TestNoToken(t *testing.T) {
	g, none := &google{answer: always(http.StatusOK, adas)}, errors.New("no token")
	d, err := directory.New(directory.Config{HTTP: &http.Client{Transport: g}, Authorize: func(context.Context, *http.Request, string) (func(), error) { return nil, none }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.User(t.Context(), "ada@example.com"); !errors.Is(err, none) || g.times() != 0 {
		t.Errorf("%v, asked %d times", err, g.times())
	}
}

func TestNewWantsItsParts(t *testing.T) {
	if _, err := directory.New(directory.Config{}); err == nil {
		t.Error("a Directory of nothing")
	}
}

// A Directory that does not answer holds nobody up for long; a caller who gives
// up is told so, and no more.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{took: time.Hour}
		began := time.Now()
		var e *directory.Error
		if _, err := g.directory(t).User(t.Context(), "ada@example.com"); !errors.As(err, &e) || e.Status != 0 || time.Since(began) != 20*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := g.directory(t).User(ctx, "ada@example.com"); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &e) {
			t.Errorf("%v", err)
		}
	})
}

// users answers with some administrators; others are not known.
func users(_ int, r *http.Request) (int, string) {
	switch email := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]; {
	case strings.HasPrefix(email, "super"):
		return http.StatusOK, `{"primaryEmail": "x@example.com", "isAdmin": true}`
	case strings.HasPrefix(email, "delegated"):
		return http.StatusOK, `{"primaryEmail": "x@example.com", "isDelegatedAdmin": true}`
	case strings.HasPrefix(email, "nobody"):
		return http.StatusNotFound, notFound
	}
	return http.StatusOK, adas
}

func TestIsAdmin(t *testing.T) {
	a := directory.NewAdmins((&google{answer: users}).directory(t))
	for user, want := range map[string]bool{"super@example.com": true, "delegated@example.com": true, "ada@example.com": false} {
		if got, err := a.IsAdmin(t.Context(), user); err != nil || got != want {
			t.Errorf("%s: %t, %v", user, got, err)
		}
	}
}

// Whom the Directory does not know may be anybody, and is not remembered for one.
func TestWhomTheDirectoryDoesNotKnow(t *testing.T) {
	known := false
	g := &google{answer: func(n int, r *http.Request) (int, string) {
		if known {
			return http.StatusOK, `{"primaryEmail": "nobody@example.com", "isAdmin": true}`
		}
		return users(n, r)
	}}
	a := directory.NewAdmins(g.directory(t))
	if is, err := a.IsAdmin(t.Context(), "nobody@example.com"); is || !directory.NotFound(err) {
		t.Errorf("%t, %v", is, err)
	}
	known = true
	if is, err := a.IsAdmin(t.Context(), "nobody@example.com"); !is || err != nil {
		t.Errorf("then %t, %v", is, err)
	}
}

// However many ask about a user, the Directory is asked once in an hour.
func TestIsAdminIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{answer: users, took: time.Second}
		a := directory.NewAdmins(g.directory(t))
		crowd := func() {
			t.Helper()
			for range 1000 {
				go func() {
					if is, err := a.IsAdmin(t.Context(), "super@example.com"); err != nil || !is {
						t.Errorf("%t, %v", is, err)
					}
				}()
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
		}
		crowd() // learned after 1 s, and now it is 2 s
		time.Sleep(time.Hour - 2*time.Second)
		crowd()
		if g.times() != 1 {
			t.Errorf("asked %d times within the hour", g.times())
		}
		crowd()
		if g.times() != 2 {
			t.Errorf("asked %d times after it", g.times())
		}
	})
}

// A failure tells those who wait, and nobody after them.
func TestAFailureIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{took: time.Second, answer: func(n int, r *http.Request) (int, string) {
			if n == 1 {
				return http.StatusServiceUnavailable, ""
			}
			return users(n, r)
		}}
		a := directory.NewAdmins(g.directory(t))
		for range 3 {
			go func() {
				if _, err := a.IsAdmin(t.Context(), "super@example.com"); err == nil {
					t.Error("no failure")
				}
			}()
		}
		time.Sleep(2 * time.Second)
		if is, err := a.IsAdmin(t.Context(), "super@example.com"); err != nil || !is || g.times() != 2 {
			t.Errorf("%t, %v, asked %d times", is, err, g.times())
		}
	})
}

// Who gives up does not take the others along.
func TestAnotherTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{answer: users, took: 2 * time.Second}
		a := directory.NewAdmins(g.directory(t))
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			if _, err := a.IsAdmin(impatient, "super@example.com"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("who gave up: %v", err)
			}
		}()
		synctest.Wait()
		for range 2 {
			go func() {
				if is, err := a.IsAdmin(t.Context(), "super@example.com"); err != nil || !is {
					t.Errorf("who waited: %t, %v", is, err)
				}
			}()
		}
		synctest.Wait()
		waits, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err := a.IsAdmin(waits, "super@example.com"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who waited and gave up: %v", err)
		}
		time.Sleep(5 * time.Second)
		if g.times() != 1 {
			t.Errorf("asked %d times", g.times())
		}
	})
}

// Of more users than are remembered the oldest are forgotten.
func TestAdminsAreBounded(t *testing.T) {
	g := &google{answer: users}
	a := directory.NewAdmins(g.directory(t))
	ask := func(i, asked int) {
		t.Helper()
		if _, err := a.IsAdmin(t.Context(), fmt.Sprintf("u%d@example.com", i)); err != nil || g.times() != asked {
			t.Fatalf("user %d: %v, asked %d times, want %d", i, err, g.times(), asked)
		}
	}
	const most = 50_000
	for i := range most + 1 {
		ask(i, i+1)
	}
	ask(most, most+1)
	ask(1, most+1)
	ask(0, most+2)
}
