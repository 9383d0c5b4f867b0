package functions_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"cloud.google.com/go/auth"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// says answers in Google's place.
func says(w http.ResponseWriter, status int, body string) bool {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
	return true
}

// exchangeFor tells whether it is an exchange for that user; r can still be read.
func exchangeFor(t *testing.T, r *http.Request, user string) bool {
	t.Helper()
	if !strings.HasSuffix(r.URL.Path, "oauth2.googleapis.com/token") {
		return false
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	if err != nil {
		t.Error(err)
	}
	_, rest, _ := strings.Cut(form.Get("assertion"), ".")
	claims, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(claims)
	return err == nil && strings.Contains(string(text), user)
}

// One user's answer, in words that nobody knows, fails that user's job and no
// other's.
func TestAnUnknownAnswerIsOneUsers(t *testing.T) {
	r := setup(t, func(cfg *config.Config, _ *functions.Options) {
		before(t, cfg, func(w http.ResponseWriter, r *http.Request) bool {
			return exchangeFor(t, r, "gone@example.com") && says(w, 400, `{"error": "invalid_grant", "error_description": "The account is asleep."}`)
		})
	})
	for i, c := range []struct {
		user string
		want jobs.Status
	}{{"ada@example.com", jobs.Succeeded}, {"gone@example.com", jobs.Failed}, {"grace@example.com", jobs.Succeeded}} {
		id := fmt.Sprint(i)
		r.deliver(t, id, insert(id, c.user, plainLetter))
		if got := r.last(t); got.Status != c.want {
			t.Errorf("%s: %+v %+v", c.user, got, got.Error)
		}
	}
}

// What five new accounts were answered may be theirs alone: the job of another is
// put off, and done when somebody is asked again. Nothing stops for good.
func TestAGuessEndsNobodysJob(t *testing.T) {
	r := setup(t)
	for i := range 5 {
		user, id := fmt.Sprintf("new%d@example.com", i), fmt.Sprint(i)
		if err := r.google.Order(sandbox.Fault{Row: "T4", User: user}); err != nil {
			t.Fatal(err)
		}
		if status := r.deliver(t, id, insert(id, user, plainLetter)); status != http.StatusOK || r.last(t).Status != jobs.Failed {
			t.Errorf("%s: HTTP %d %+v", user, status, r.last(t))
		}
	}
	o := r.Execute(t.Context(), pubsubio.Message{ID: "6", Data: []byte(insert("j6", "ada@example.com", plainLetter))})
	if o.Answer != functions.Later || o.Stops || o.NotBefore.IsZero() || o.Result.Error.Reason != "access_denied" {
		t.Errorf("ada's job: %+v %+v", o, o.Result.Error)
	}
	r.wantCalls(t, 6, 6, 0) // and one for the numeric client id, which the remedy names
}

// A caller who is gone when a token is refused is not called for once more, and
// nothing is in doubt: the first call did nothing.
func TestTheCallerIsGoneWhenTheTokenIsRefused(t *testing.T) {
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	var inserts atomic.Int32
	r := setup(t, func(cfg *config.Config, _ *functions.Options) {
		before(t, cfg, func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "gmail.googleapis.com") || inserts.Add(1) > 1 {
				return false
			}
			hangUp()
			return says(w, 401, `{"error": {"code": 401, "message": "Invalid Credentials", "errors": [{"reason": "authError"}]}}`)
		})
	})
	job := pubsubio.Message{ID: "1", Data: []byte(insert("j", "ada@example.com", plainLetter))}
	if o := r.Execute(ctx, job); o.Answer != functions.Again || inserts.Load() != 1 {
		t.Errorf("%+v %+v, %d inserts", o, o.Result.Error, inserts.Load())
	}
	if o := r.Execute(t.Context(), job); o.Result.Status != jobs.Succeeded {
		t.Errorf("then %+v %+v", o, o.Result.Error)
	}
}

// What the Directory says of one user's address stops nobody else.
func TestALookUpOfOneUserStopsNobody(t *testing.T) {
	r := protecting(t, "admin@example.com", func(cfg *config.Config, _ *functions.Options) {
		before(t, cfg, func(w http.ResponseWriter, r *http.Request) bool {
			return strings.Contains(r.URL.Path, "/admin/directory/v1/users/odd") &&
				says(w, 400, `{"error": {"code": 400, "message": "Invalid Input: userKey", "errors": [{"reason": "invalid"}]}}`)
		})
	})
	o := r.Execute(t.Context(), pubsubio.Message{ID: "1", Data: []byte(insert("j", "odd@example.com", plainLetter))})
	if o.Stops || o.Answer != functions.Done || o.Result.Error.Fault != jobs.FaultJob || o.Result.Error.Stage != jobs.StagePolicy {
		t.Errorf("%+v %+v", o, o.Result.Error)
	}
}

// nobody has no credentials.
type nobody struct{}

func (nobody) Token(context.Context) (*auth.Token, error) { return nil, errors.New("no credentials") }

// Without an identity of the runtime's own every job would fail, whether or not
// a look-up comes first: who runs them is told to stop.
func TestWithoutAnIdentityEverythingStops(t *testing.T) {
	own := func(_ *config.Config, o *functions.Options) {
		o.Credentials = func() (*auth.Credentials, error) {
			return auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: nobody{}}), nil
		}
	}
	for name, r := range map[string]*rig{"at once": setup(t, own), "with a look-up": protecting(t, "admin@example.com", own)} {
		o := r.Execute(t.Context(), pubsubio.Message{ID: "1", Data: []byte(insert("j", "ada@example.com", plainLetter))})
		if !o.Stops || o.Answer != functions.Again || o.Result.Error.Fault != jobs.FaultOperator {
			t.Errorf("%s: %+v %+v", name, o, o.Result.Error)
		}
	}
}

// full is a ledger whose disk is full, from the claim on or only when it is to settle.
type full struct {
	ledger.Ledger
	claims bool
}

func (f full) Claim(ctx context.Context, id string, t ledger.Terms) (ledger.Claim, error) {
	if f.claims {
		return f.Ledger.Claim(ctx, id, t)
	}
	return ledger.Claim{}, &ledger.Error{Fault: jobs.FaultOperator, Reason: "full", Message: "there is no room", Fix: "Make room."}
}

func (full) Settle(context.Context, ledger.Claim, jobs.Result) error {
	return &ledger.Error{Fault: jobs.FaultOperator, Reason: "full", Message: "there is no room", Fix: "Make room."}
}

// A ledger that an operator must mend would not keep any other job either.
func TestWithoutRoomInTheLedgerEverythingStops(t *testing.T) {
	for name, claims := range map[string]bool{"at once": false, "after the call": true} {
		r := setup(t, func(_ *config.Config, o *functions.Options) { o.Ledger = full{ledger.NewMemory(0), claims} })
		o := r.Execute(t.Context(), pubsubio.Message{ID: "1", Data: []byte(insert("j", "ada@example.com", plainLetter))})
		if e := o.Result.Error; !o.Stops || o.Answer != functions.Again || e.Fault != jobs.FaultOperator || e.Reason != "full" || e.Fix != "Make room." {
			t.Errorf("%s: %+v %+v", name, o, o.Result.Error)
		}
	}
}
