package functions_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

// refuses has Google refuse calls that path fits with this text, and wait, unless "",
// as the Retry-After header, until it is told that it is enough.
func refuses(t *testing.T, enough *atomic.Bool, path, text, wait string) func(*config.Config, *functions.Options) {
	t.Helper()
	return func(cfg *config.Config, _ *functions.Options) {
		before(t, cfg, func(w http.ResponseWriter, r *http.Request) bool {
			if enough.Load() || !strings.HasSuffix(r.URL.Path, path) {
				return false
			}
			if wait != "" {
				w.Header().Set("Retry-After", wait)
			}
			return says(w, http.StatusTooManyRequests, fmt.Sprintf(`{"error": {"code": 429, "message": %q, "errors": [{"reason": "rateLimitExceeded"}], "status": "RESOURCE_EXHAUSTED"}}`, text))
		})
	}
}

// A time that Google names to one job holds for all others that it concerns, in this
// instance and in others, without their asking; and for none that it does not.
func TestATimeThatGoogleNames(t *testing.T) {
	const wait = 20 * time.Minute
	at := time.Now().Add(wait).UTC().Truncate(time.Second)
	job := func(id, user, action string) string {
		return insert(id, user, plainLetter, "action", "gmail.users.messages."+action)
	}
	for name, c := range map[string]struct {
		path, text, header string
		refused            string   // the job that meets it
		concerned, others  []string // jobs that come then
	}{
		"of sending mail": {
			"/messages/send", "User-rate limit exceeded.  Retry after " + at.Format(time.RFC3339) + " (Mail sending)", "",
			job("j", "ada@example.com", "send"),
			[]string{job("k", "ada@example.com", "send")},
			[]string{job("l", "ada@example.com", "insert"), job("m", "grace@example.com", "send")},
		},
		"of a user": {
			"/messages", "User-rate limit exceeded.  Retry after " + at.Format(time.RFC3339), "",
			job("j", "ada@example.com", "insert"),
			[]string{job("k", "ada@example.com", "send"), job("l", "ada@example.com", "insert"), `{"user":"ada@example.com","action":"gmail.users.labels.list"}`},
			[]string{job("m", "grace@example.com", "insert"), `{"user":"ada@example.com","action":"calendar.calendars.insert","body":{"summary":"Mine"}}`, job("n", "ada@example.com", "insert")[:1] + `"dryRun":true,` + job("n", "ada@example.com", "insert")[1:]},
		},
		"of a user, in the header": {
			"/messages", "Too many requests", fmt.Sprint(int(wait.Seconds())),
			job("j", "ada@example.com", "insert"),
			[]string{job("k", "ada@example.com", "insert")},
			[]string{job("m", "grace@example.com", "insert")},
		},
		"of the project, in the header": {
			"/messages", "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service 'gmail.googleapis.com' for consumer 'project_number:1'.", fmt.Sprint(int(wait.Seconds())),
			job("j", "ada@example.com", "insert"),
			[]string{job("k", "ada@example.com", "insert"), job("m", "grace@example.com", "insert")},
			[]string{`{"user":"ada@example.com","action":"calendar.calendars.insert","body":{"summary":"Mine"}}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var enough atomic.Bool
			b := newBook()
			r := setup(t, keeping(b), refuses(t, &enough, c.path, c.text, c.header))
			if status := r.deliver(t, "j", c.refused); status != http.StatusTooManyRequests {
				t.Fatalf("HTTP %d\n%s", status, r.logs)
			}
			r.putOff(t, "rateLimitExceeded", at)
			enough.Store(true) // and still nobody asks
			other := r.another(t, keeping(b))
			r.google.ResetCalls()
			for _, x := range []*rig{r, other} {
				if status := x.deliver(t, "j", c.refused); status != http.StatusTooManyRequests {
					t.Errorf("again HTTP %d", status)
				}
				for i, concerned := range c.concerned {
					if status := x.deliver(t, fmt.Sprint(i), concerned); status != http.StatusTooManyRequests {
						t.Errorf("HTTP %d of %s", status, concerned)
					}
					x.putOff(t, "deferred", at)
				}
			}
			if calls := r.google.Calls(); len(calls) != 0 {
				t.Errorf("Google was called: %v", calls)
			}
			for i, job := range c.others {
				if status := other.deliver(t, fmt.Sprint("o", i), job); status != http.StatusOK || !other.last(t).Status.Good() {
					t.Errorf("HTTP %d of %s\n%s", status, job, other.logs)
				}
			}
		})
	}
}

// putOff fails the test where the last attempt was not put off for that reason until
// about then.
func (r *rig) putOff(t *testing.T, reason string, until time.Time) {
	t.Helper()
	lines := r.logs.attempts(t)
	line := lines[len(lines)-1]
	at, err := time.Parse(time.RFC3339, fmt.Sprint(line["notBefore"]))
	if err != nil || at.Sub(until).Abs() > 10*time.Second || line["reason"] != reason || line["fault"] != string(jobs.FaultQuota) || line["called"] != (reason != "deferred") {
		t.Errorf("not put off until %v: %v", until, line)
	}
}

// A limit without a time holds for its job alone.
func TestALimitWithoutATime(t *testing.T) {
	r := setup(t, keeping(newBook()))
	if err := orderOnce(r, "429", "gmail.*"); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{http.StatusTooManyRequests, http.StatusOK, http.StatusOK} {
		if status := r.deliver(t, fmt.Sprint(i), insert(fmt.Sprint(i%2), "ada@example.com", plainLetter)); status != want {
			t.Errorf("HTTP %d, want %d", status, want)
		}
	}
}

// Who waits only for the quota that we keep to ourselves is told from whom Google has
// refused, by whichever instance, also where it is the ledger that says so.
func TestWhoWaitsForOurOwnQuota(t *testing.T) {
	at := time.Now().Add(20 * time.Minute).UTC().Truncate(time.Second)
	for name, c := range map[string]struct {
		units string
		waits bool
		until time.Time
	}{
		"our own":  {"25", true, time.Now().Add(time.Minute)}, // which one letter takes
		"Google's": {"1000", false, at},
	} {
		t.Run(name, func(t *testing.T) {
			var enough atomic.Bool
			enough.Store(c.waits)
			b := newBook()
			units := func(cfg *config.Config, _ *functions.Options) { cfg.GmailUnitsPerUser = c.units }
			r := setup(t, keeping(b), units, refuses(t, &enough, "/messages", "User-rate limit exceeded.  Retry after "+at.Format(time.RFC3339), ""))
			execute := func(x *rig, id string) functions.Outcome {
				return x.Execute(t.Context(), pubsubio.Message{ID: id, Data: []byte(insert(id, "ada@example.com", plainLetter))})
			}
			if first := execute(r, "first"); first.Waits || (first.Answer == functions.Done) != c.waits {
				t.Fatalf("the first: %+v", first)
			}
			for who, x := range []*rig{r, r.another(t, keeping(b))} { // the latter has it of the ledger
				o := execute(x, "j")
				if o.Answer != functions.Later || o.Waits != c.waits || o.NotBefore.Sub(c.until).Abs() > 10*time.Second || o.Result.Error.Fault != jobs.FaultQuota {
					t.Errorf("instance %d: %+v: %+v", who, o, o.Result.Error)
				}
			}
		})
	}
}
