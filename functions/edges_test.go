package functions_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// answering has Google do what the first POST to such a path asks for, and answer that.
func answering(t *testing.T, status int, body, path string) func(*config.Config, *functions.Options) {
	return func(cfg *config.Config, _ *functions.Options) {
		var answered atomic.Bool
		between(t, cfg, func(http.ResponseWriter, *http.Request) bool { return false }, func(res *http.Response) error {
			if !strings.HasSuffix(res.Request.URL.Path, path) || res.Request.Method != http.MethodPost || answered.Swap(true) {
				return nil
			}
			res.StatusCode, res.ContentLength, res.Body = status, int64(len(body)), io.NopCloser(strings.NewReader(body))
			res.Header.Set("Content-Length", fmt.Sprint(len(body)))
			return nil
		})
	}
}

// rateLimited is what Gmail answers whom it lets in again then.
func rateLimited(until string) string {
	return `{"error": {"code": 429, "message": "User-rate limit exceeded.  Retry after ` + until + `", "errors": [{"reason": "rateLimitExceeded"}]}}`
}

// A time that cannot be meant puts a job off for a day, and not until the end of days.
func TestATimeThatIsFarOff(t *testing.T) {
	for _, at := range []string{"9999-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"} {
		file, err := ledger.OpenFile(filepath.Join(t.TempDir(), "ledger"))
		if err != nil {
			t.Fatal(err)
		}
		b := newBook()
		b.Ledger = file
		r := setup(t, keeping(b), answering(t, http.StatusTooManyRequests, rateLimited(at), "/messages"))
		if status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != http.StatusTooManyRequests {
			t.Errorf("%s: HTTP %d", at, status)
		}
		if s := b.state(t); s.Held || time.Until(s.NotBefore) > 25*time.Hour || time.Until(s.NotBefore) < 23*time.Hour {
			t.Errorf("%s: %+v", at, s)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What took effect, and was changed by somebody since, is not said to have failed.
func TestWhatWasMadeAndChangedSince(t *testing.T) {
	b := newBook()
	r := setup(t, keeping(b), answering(t, http.StatusInternalServerError, `{"error": {"code": 500, "message": "Backend Error"}}`, "/labels"))
	job := `{"id":"j","user":"ada@example.com","action":"gmail.users.labels.create","body":{"name":"X","labelListVisibility":"labelShow"}}`
	do := func(id, job string, want int) jobs.Result {
		t.Helper()
		if status := r.deliver(t, id, job); status != want {
			t.Fatalf("HTTP %d, want %d\n%s", status, want, r.logs)
		}
		if want != http.StatusOK {
			return jobs.Result{}
		}
		return r.last(t)
	}
	do("1", job, http.StatusServiceUnavailable)
	b.age(t)
	list := string(do("2", `{"id":"l","user":"ada@example.com","action":"gmail.users.labels.list","params":{"fields":"labels(id,name)"}}`, http.StatusOK).Response)
	made, _, found := strings.Cut(list, `","name":"X"`)
	if !found {
		t.Fatalf("the labels are %s", list)
	}
	id := made[strings.LastIndexByte(made, '"')+1:]
	do("3", `{"id":"m","user":"ada@example.com","action":"gmail.users.labels.patch","params":{"id":"`+id+`"},"body":{"labelListVisibility":"labelHide"}}`, http.StatusOK)
	if got := do("1", job, http.StatusOK); got.Status != jobs.Uncertain || got.Error.Code != http.StatusConflict {
		t.Errorf("%+v %+v", got, got.Error)
	}
}

// deaf is a ledger to which nobody can tell what is deferred.
type deaf struct{ *book }

func (deaf) Defer(ctx context.Context, _ string, _ time.Time) error {
	<-ctx.Done()
	return ctx.Err()
}

func (d deaf) Release(ctx context.Context, c ledger.Claim, p ledger.PutOff) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return d.book.Release(ctx, c, p)
}

// To tell others of a limit does not keep the job from being put off.
func TestALimitThatNobodyLearnsOf(t *testing.T) {
	b := newBook()
	ending, end := context.WithCancel(t.Context())
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	r := setup(t, keeping(b), answering(t, http.StatusTooManyRequests, rateLimited(until), "/messages"),
		func(_ *config.Config, o *functions.Options) { o.Ledger, o.Ending = deaf{b}, ending },
		func(cfg *config.Config, _ *functions.Options) {
			before(t, cfg, func(_ http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/messages") {
					end() // so that little time is left
				}
				return false
			})
		})
	if status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != http.StatusTooManyRequests {
		t.Errorf("HTTP %d\n%s", status, r.logs)
	}
	if s := b.state(t); s.Held || !s.Doubt.IsZero() || s.NotBefore.Format(time.RFC3339) != until {
		t.Errorf("%+v", s)
	}
}

// A scope that only looks need stops no run: jobs that are not in doubt do without.
func TestAScopeForLooksStopsNobody(t *testing.T) {
	b, world := newBook(), sandbox.DefaultWorld()
	world.ServiceAccounts[0].DelegatedScopes = []string{"https://www.googleapis.com/auth/gmail.insert"}
	r := setupIn(t, world, keeping(b))
	b.died(t, "j", time.Now().Add(-time.Hour))
	for id, want := range map[string]jobs.Status{"j": jobs.Uncertain, "k": jobs.Succeeded} {
		o := r.Execute(t.Context(), pubsubio.Message{ID: id, Data: []byte(insert(id, "ada@example.com", plainLetter)), PublishTime: time.Now()})
		if o.Stops || o.Result.Status != want {
			t.Errorf("%s: %+v %+v", id, o, o.Result.Error)
		}
	}
}

// mute is a ledger that does not answer while it is to settle, when the instance is
// told to end.
type mute struct {
	*book
	end context.CancelFunc
}

func (m mute) Settle(ctx context.Context, _ ledger.Claim, _ jobs.Result) error {
	m.end()
	<-ctx.Done()
	return ctx.Err()
}

// What was being settled when the instance is told to end has a few seconds more, and
// not all that there was.
func TestSettlingEndsWithTheInstance(t *testing.T) {
	b := newBook()
	ending, end := context.WithCancel(t.Context())
	r := setup(t, keeping(b), func(_ *config.Config, o *functions.Options) { o.Ledger, o.Ending = mute{b, end}, ending })
	if status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != http.StatusServiceUnavailable {
		t.Errorf("HTTP %d", status)
	}
	if line := r.logs.attempts(t)[0]; line["seconds"].(float64) > 9 {
		t.Errorf("it took %v s", line["seconds"])
	}
}
