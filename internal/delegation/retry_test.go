package delegation_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/delegation"
)

const (
	unavailable = `{"error": {"code": 503, "status": "UNAVAILABLE", "message": "m"}}`
	denied      = `{"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "m", "details": [{"reason": "IAM_PERMISSION_DENIED"}]}}`
)

// What passes is met with another try, in either call, and nobody hears of it.
func TestPassingFaults(t *testing.T) {
	for name, status := range map[string]int{"503": 503, "500": 500, "429": 429, "408": 408, "cut": 0} {
		for _, stage := range []delegation.Stage{delegation.Sign, delegation.Exchange} {
			synctest.Test(t, func(t *testing.T) {
				g := &google{}
				failing := func(calls *atomic.Int32, then string) func(*http.Request, []byte) (int, string) {
					return func(*http.Request, []byte) (int, string) {
						if calls.Load() <= 3 {
							return status, unavailable
						}
						return http.StatusOK, then
					}
				}
				if stage == delegation.Sign {
					g.sign = failing(&g.signs, `{"signedJwt": "a.b.c"}`)
				} else {
					g.exchange = failing(&g.exchanges, `{"access_token": "s", "expires_in": 3599}`)
				}
				begun := time.Now()
				_, err := minter(t, g).Token(t.Context(), "ada@example.com", scope)
				if took := time.Since(begun); err != nil || took < 800*time.Millisecond || took > 2*time.Second {
					t.Errorf("%s, %s: %v after %s", name, stage, err, took)
				}
				if n := max(g.signs.Load(), g.exchanges.Load()); n != 4 {
					t.Errorf("%s, %s: %d calls", name, stage, n)
				}
				if stage == delegation.Exchange && g.signs.Load() != 1 {
					t.Errorf("%s: signed %d times", name, g.signs.Load())
				}
			})
		}
	}
}

// What lasts is told, in time for the caller to act on it: a while after the
// first try, or just before the caller's deadline. It is not remembered.
func TestLastingOutage(t *testing.T) {
	for deadline, least := range map[time.Duration]time.Duration{
		time.Hour:        25 * time.Second,
		5 * time.Second:  2 * time.Second,
		time.Millisecond: 0,
	} {
		synctest.Test(t, func(t *testing.T) {
			g := &google{sign: func(*http.Request, []byte) (int, string) { return 503, unavailable }}
			m := minter(t, g)
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			begun := time.Now()
			_, err := m.Token(ctx, "ada@example.com", scope)
			took := time.Since(begun)
			var refusal *delegation.Error
			if !errors.As(err, &refusal) || refusal.Status != 503 || took < least || took > 30*time.Second || took >= deadline {
				t.Errorf("%v after %s of %s", err, took, deadline)
			}
			g.sign = nil
			if _, err := m.Token(t.Context(), "ada@example.com", scope); err != nil {
				t.Errorf("then %v", err)
			}
		})
	}
}

// A call that hangs is given up and made again.
func TestACallThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{}
		g.sign = func(r *http.Request, _ []byte) (int, string) {
			if g.signs.Load() == 1 {
				<-r.Context().Done()
				return 0, ""
			}
			return http.StatusOK, `{"signedJwt": "a.b.c"}`
		}
		begun := time.Now()
		if _, err := minter(t, g).Token(t.Context(), "ada@example.com", scope); err != nil || time.Since(begun) > 12*time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
	})
}

func TestRetryAfter(t *testing.T) {
	for header, c := range map[string]struct {
		waits, says time.Duration
		tries       int32
	}{
		"7":       {7 * time.Second, 0, 2},
		"garbage": {0, 0, 2},
		"-1":      {0, 0, 2},
		"3600":    {0, time.Hour, 1}, // not waited for, but told
		"in 20s":  {20 * time.Second, 0, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := &google{retryAfter: header}
			if header == "in 20s" {
				g.retryAfter = time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat)
			}
			g.sign = func(*http.Request, []byte) (int, string) {
				if g.signs.Load() == 1 {
					return 429, unavailable
				}
				return http.StatusOK, `{"signedJwt": "a.b.c"}`
			}
			begun := time.Now()
			_, err := minter(t, g).Token(t.Context(), "ada@example.com", scope)
			var refusal *delegation.Error
			if c.says != 0 && (!errors.As(err, &refusal) || refusal.RetryAfter != c.says) || c.says == 0 && err != nil {
				t.Errorf("%s: %v", header, err)
			}
			if took := time.Since(begun); took < c.waits || took > c.waits+time.Second || g.signs.Load() != c.tries {
				t.Errorf("%s: %s, %d tries", header, took, g.signs.Load())
			}
		})
	}
}

// A grant that was just made may not be there yet: it is waited for, a short while.
func TestAFreshGrant(t *testing.T) {
	for ready, works := range map[time.Duration]bool{4 * time.Second: true, time.Minute: false} {
		synctest.Test(t, func(t *testing.T) {
			g := &google{sign: grantedAfter(ready)}
			begun := time.Now()
			_, err := minter(t, g).Token(t.Context(), "ada@example.com", scope)
			if took := time.Since(begun); (err == nil) != works || took > 10*time.Second || g.signs.Load() > 8 {
				t.Errorf("ready after %s: %v after %s, %d calls", ready, err, took, g.signs.Load())
			}
		})
	}
}

// grantedAfter lets nobody sign before that time.
func grantedAfter(ready time.Duration) func(*http.Request, []byte) (int, string) {
	begun := time.Now()
	return func(*http.Request, []byte) (int, string) {
		if time.Since(begun) < ready {
			return http.StatusForbidden, denied
		}
		return http.StatusOK, `{"signedJwt": "a.b.c"}`
	}
}

// Who has no time to wait for a grant is told that it was not waited for, and
// holds up nobody else.
func TestWhoCannotWaitForAGrant(t *testing.T) {
	for name, limit := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"a deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 2*time.Second)
		},
		"a hang-up": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(2*time.Second, cancel)
			return ctx, cancel
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := minter(t, &google{sign: grantedAfter(4 * time.Second)})
			ctx, cancel := limit(t.Context())
			defer cancel()
			_, err := m.Token(ctx, "ada@example.com", scope)
			var refusal *delegation.Error
			if !errors.As(err, &refusal) || !refusal.Unfinished {
				t.Errorf("%s: %+v", name, err)
			}
			for _, user := range []string{"ada@example.com", "grace@example.com"} {
				if _, err := m.Token(t.Context(), user, scope); err != nil {
					t.Errorf("%s: then %s: %v", name, user, err)
				}
			}
		})
	}
}

// The caller's own token has ended sooner than it said: another is asked for,
// and the one try with it is made at once.
func TestTheCallersTokenHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var renewed atomic.Int32
		g := &google{}
		g.sign = func(*http.Request, []byte) (int, string) {
			if renewed.Load() == 0 {
				return http.StatusUnauthorized, `{"error": {"code": 401, "status": "UNAUTHENTICATED"}}`
			}
			return http.StatusOK, `{"signedJwt": "a.b.c"}`
		}
		m := minter(t, g, func(c *config) { c.Identity = machine{renewed: &renewed} })
		begun := time.Now()
		if _, err := m.Token(t.Context(), "ada@example.com", scope); err != nil || renewed.Load() != 1 || time.Since(begun) != 0 {
			t.Errorf("%v, renewed %d times, after %s", err, renewed.Load(), time.Since(begun))
		}
	})
}

// crowd has a thousand users ask at once, and counts their errors.
func crowd(t *testing.T, m *delegation.Minter, domain string, scopes ...string) (failed int32) {
	t.Helper()
	var group sync.WaitGroup
	var errs atomic.Int32
	for n := range 1000 {
		group.Go(func() {
			if _, err := m.Token(t.Context(), fmt.Sprintf("user%d@%s", n, domain), scopes...); err != nil {
				errs.Add(1)
			}
		})
	}
	group.Wait()
	return errs.Load()
}

// A fault that every user of a domain meets costs a handful of calls; another
// domain, and other scopes, are not held up by it; and when it is mended that shows.
func TestAFaultOfEveryUser(t *testing.T) {
	const unauthorized = `{"error": "unauthorized_client", "error_description": "m"}`
	synctest.Test(t, func(t *testing.T) {
		broken := true
		g := &google{took: 100 * time.Millisecond}
		m := minter(t, g)
		g.exchange = func(*http.Request, []byte) (int, string) {
			if broken {
				return http.StatusUnauthorized, unauthorized
			}
			return http.StatusOK, `{"access_token": "s", "expires_in": 3599}`
		}
		if failed := crowd(t, m, "example.com", scope); failed != 1000 || g.exchanges.Load() != 1 {
			t.Errorf("%d failed, with %d calls", failed, g.exchanges.Load())
		}
		broken = false
		if failed := crowd(t, m, "other.example", scope); failed != 0 {
			t.Errorf("%d of another domain failed", failed)
		}
		if failed := crowd(t, m, "example.com", other); failed != 0 {
			t.Errorf("%d with another scope failed", failed)
		}
		time.Sleep(time.Minute)
		if failed := crowd(t, m, "example.com", scope); failed != 0 {
			t.Errorf("%d failed when it was mended", failed)
		}
		// In the middle of a run, while hundreds are under way.
		broken = true
		before := g.exchanges.Load()
		if failed := crowd(t, m, "third.example", scope); failed != 1000 || g.exchanges.Load() != before+1 {
			t.Errorf("%d failed, with %d calls", failed, g.exchanges.Load()-before)
		}
	})
}

// Whoever wants to is told once of each time that a domain's users are no longer asked for.
func TestATripIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		answer string
		shared delegation.Breadth
	}{
		"for certain": {http.StatusUnauthorized, `{"error": "unauthorized_client", "error_description": "m"}`, delegation.EveryUser},
		"by a guess":  {http.StatusForbidden, accessDenied, delegation.Perhaps},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var trips []delegation.Trip
				g := &google{took: 100 * time.Millisecond, exchange: func(*http.Request, []byte) (int, string) { return c.status, c.answer }}
				m := minter(t, g, func(cfg *config) {
					cfg.Tripped = func(_ context.Context, trip delegation.Trip) { trips = append(trips, trip) }
				})
				for n := range 3 {
					crowd(t, m, "example.com", scope)
					if len(trips) != n+1 {
						t.Fatalf("%d trips are told of, want %d", len(trips), n+1)
					}
					trip := trips[n]
					if trip.Domain != "example.com" || trip.Scopes != scope || trip.Refusal.Shared != c.shared || time.Until(trip.Refusal.Until) <= 0 {
						t.Errorf("%+v %+v", trip, trip.Refusal)
					}
					time.Sleep(time.Until(trip.Refusal.Until))
				}
				g.exchange = nil
				if failed := crowd(t, m, "example.com", scope); failed != 0 || len(trips) != 3 {
					t.Errorf("%d failed when it was mended, and %d trips were told of", failed, len(trips))
				}
			})
		})
	}
}

const accessDenied = `{"error": "access_denied", "error_description": "Requested client not authorized."}`

// access_denied may be one user's: the service is off, or they never signed
// in. Where five users in a row get it, and nobody of the domain a token, the others
// are told that it is a guess, and when somebody is asked again.
func TestAFaultOfPerhapsOneUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{exchange: func(*http.Request, []byte) (int, string) { return http.StatusForbidden, accessDenied }}
		m := minter(t, g)
		for trip, repeated := range []bool{false, true} {
			if failed := crowd(t, m, "example.com", scope); failed != 1000 || g.exchanges.Load() != int32(5*(trip+1)) {
				t.Errorf("%d failed, with %d calls", failed, g.exchanges.Load())
			}
			_, err := m.Token(t.Context(), "late@example.com", scope)
			var refusal *delegation.Error
			if !errors.As(err, &refusal) || refusal.Shared != delegation.Perhaps || refusal.Repeated != repeated || refusal.Code != "access_denied" {
				t.Errorf("%+v", err)
			}
			time.Sleep(time.Until(refusal.Until))
		}
		g.exchange = nil
		if failed := crowd(t, m, "example.com", scope); failed != 0 {
			t.Errorf("%d failed when it was mended", failed)
		}
	})
}

// Some users' faults stop nobody of a domain that works, or once has.
func TestAFaultOfSomeUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{}
		var asked atomic.Int32
		g.exchange = func(*http.Request, []byte) (int, string) {
			if asked.Add(1)%4 != 0 { // three of four users
				return http.StatusForbidden, accessDenied
			}
			return http.StatusOK, `{"access_token": "s", "expires_in": 3599}`
		}
		m := minter(t, g)
		if failed := crowd(t, m, "example.com", scope); failed != 750 || g.exchanges.Load() != 1000 {
			t.Errorf("%d failed, with %d calls", failed, g.exchanges.Load())
		}
		// A fault of all in between does not make the domain a stranger.
		g.exchange = func(*http.Request, []byte) (int, string) {
			return http.StatusUnauthorized, `{"error": "unauthorized_client"}`
		}
		_, _ = m.Token(t.Context(), "new0@example.com", scope)
		time.Sleep(time.Minute)
		g.exchange = func(*http.Request, []byte) (int, string) { return http.StatusForbidden, accessDenied }
		before := g.exchanges.Load()
		if failed := crowd(t, m, "example.com", scope, scope); failed == 0 || g.exchanges.Load()-before < 100 {
			t.Errorf("%d failed, with %d calls", failed, g.exchanges.Load()-before)
		}
	})
}

// One user who asks again and again is one user.
func TestOneUserIsNoCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{exchange: func(*http.Request, []byte) (int, string) { return http.StatusForbidden, accessDenied }}
		m := minter(t, g)
		for range 10 {
			_, _ = m.Token(t.Context(), "ada@example.com", scope)
			time.Sleep(31 * time.Second)
		}
		g.exchange = nil
		if _, err := m.Token(t.Context(), "grace@example.com", scope); err != nil {
			t.Error(err)
		}
	})
}

// What is shared lasts as long as it is shared, and takes no room.
func TestASharedRefusalLastsNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{}
		m := minter(t, g, func(c *config) { c.MaxEntries = 10 })
		kept, err := m.Token(t.Context(), "ada@other.example", scope)
		if err != nil {
			t.Fatal(err)
		}
		g.exchange = func(*http.Request, []byte) (int, string) {
			return http.StatusUnauthorized, `{"error": "unauthorized_client"}`
		}
		crowd(t, m, "example.com", scope)
		time.Sleep(29 * time.Second)
		crowd(t, m, "example.com", scope)
		g.exchange = nil
		time.Sleep(2 * time.Second)
		if _, err := m.Token(t.Context(), "user7@example.com", scope); err != nil {
			t.Error(err)
		}
		if again, err := m.Token(t.Context(), "ada@other.example", scope); err != nil || bearer(again) != bearer(kept) {
			t.Errorf("another's token was thrown out: %v", err)
		}
	})
}

// What is refused for one audience, or one lifetime, is not for another.
func TestAudiencesAndLifetimesAreApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{exchange: func(*http.Request, []byte) (int, string) {
			return http.StatusBadRequest, `{"error": "unauthorized_client"}`
		}}
		g.generate = func(_ *http.Request, body []byte) (int, string) {
			if strings.Contains(string(body), "43200s") {
				return http.StatusBadRequest, `{"error": {"code": 400, "status": "INVALID_ARGUMENT"}}`
			}
			return http.StatusOK, fmt.Sprintf(`{"accessToken": "own", "expireTime": %q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		}
		m := minter(t, g)
		_, _ = m.IDToken(t.Context(), "bad")
		g.exchange = func(*http.Request, []byte) (int, string) {
			return http.StatusOK, `{"id_token": "` + idToken + `"}`
		}
		if _, err := m.ClientID(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := m.ServiceAccountToken(t.Context(), 12*time.Hour, scope); err == nil {
			t.Error("twelve hours were granted")
		}
		if _, err := m.ServiceAccountToken(t.Context(), 0, scope); err != nil {
			t.Error(err)
		}
	})
}

// Who waits on one that could not wait goes on by itself.
func TestWhoWaitsOnOneThatCouldNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := minter(t, &google{sign: grantedAfter(4 * time.Second)})
		hurried, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := m.Token(hurried, "ada@example.com", scope); err == nil {
				t.Error("the hurried one waited")
			}
		})
		synctest.Wait()
		group.Go(func() {
			if _, err := m.Token(t.Context(), "ada@example.com", scope); err != nil {
				t.Errorf("the other one: %v", err)
			}
		})
		group.Wait()
	})
}

// One that was refused all the time says nothing of all where others have got
// their tokens meanwhile.
func TestALateRefusalStopsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{}
		m := minter(t, g)
		if _, err := m.Token(t.Context(), "ada@example.com", scope); err != nil {
			t.Fatal(err)
		}
		g.sign = func(_ *http.Request, body []byte) (int, string) {
			if strings.Contains(string(body), "unlucky") {
				return http.StatusForbidden, denied
			}
			return http.StatusOK, `{"signedJwt": "a.b.c"}`
		}
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := m.Token(t.Context(), "unlucky@example.com", scope); err == nil {
				t.Error("the unlucky one got a token")
			}
		})
		time.Sleep(5 * time.Second)
		for _, user := range []string{"grace@example.com", "alan@example.com"} {
			if _, err := m.Token(t.Context(), user, scope); err != nil {
				t.Errorf("%s: %v", user, err)
			}
			group.Wait()
		}
	})
}

// idToken says that it is of 123.
var idToken = "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub": "123", "exp": 4102444800}`)) + ".x"

// One who goes ahead and gives up lets the next one go ahead.
func TestTheFirstOneGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &google{took: 5 * time.Second}
		m := minter(t, g)
		first, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := m.Token(first, "ada@example.com", scope); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the first one: %v", err)
			}
		})
		synctest.Wait()
		group.Go(func() {
			if _, err := m.Token(t.Context(), "grace@example.com", scope); err != nil {
				t.Errorf("the second one: %v", err)
			}
		})
		group.Wait()
	})
}
