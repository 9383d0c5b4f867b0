package functions_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

const (
	lookUp         = "directory.users.get"
	directoryScope = "https://www.googleapis.com/auth/admin.directory.user.readonly"
)

// protecting makes a rig whose policy protects administrators, who are looked
// up as this one.
func protecting(t *testing.T, admin string, change ...func(*config.Config, *functions.Options)) *rig {
	t.Helper()
	return setup(t, append([]func(*config.Config, *functions.Options){func(cfg *config.Config, o *functions.Options) {
		cfg.Admin = admin
		o.Policy = &policy.Policy{Domains: []string{"example.com"}, Actions: []string{"gmail.users.messages.*"}}
	}}, change...)...)
}

// wantNobody wants that the job's user was never become: no attempt had a token
// of theirs or began a call, and no letter was stored.
func (r *rig) wantNobody(t *testing.T) {
	t.Helper()
	for _, line := range r.logs.attempts(t) {
		if line["token"] != "" || line["called"] != false {
			t.Errorf("token %v, called %v", line["token"], line["called"])
		}
	}
	if _, _, inserts := r.calls(); inserts != 0 {
		t.Errorf("%d inserts", inserts)
	}
}

// delegate gives a user an administrator's role.
func (r *rig) delegate(t *testing.T, user string) {
	t.Helper()
	w := httptest.NewRecorder()
	r.google.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPatch, "/_sandbox/users/"+user, strings.NewReader(`{"isDelegatedAdmin": true}`)))
	if w.Code != http.StatusOK {
		t.Fatalf("HTTP %d %s", w.Code, w.Body)
	}
}

func TestAdministratorsAreProtected(t *testing.T) {
	for _, user := range []string{"admin@example.com", "grace@example.com"} {
		t.Run(user, func(t *testing.T) {
			r := protecting(t, "admin@example.com")
			r.delegate(t, "grace@example.com")
			for _, job := range []string{insert("j", user, plainLetter), insert("dry", user, plainLetter, "dryRun", true)} {
				if status := r.deliver(t, "1", job); status != http.StatusOK {
					t.Fatalf("HTTP %d\n%s", status, r.logs)
				}
				got := r.last(t)
				if got.Status != jobs.Refused || got.Error.Stage != jobs.StagePolicy || got.Error.Reason != "adminProtected" || !strings.HasPrefix(got.Error.Message, user+" is an administrator") || got.Error.Fix == "" {
					t.Errorf("%+v %+v", got, got.Error)
				}
			}
			r.wantNobody(t)
			if sign, exchange, _ := r.calls(); sign > 1 || exchange > 1 {
				t.Errorf("%d signatures and %d exchanges, with the look-up's", sign, exchange)
			}
		})
	}
}

func TestOthersAreActedFor(t *testing.T) {
	r := protecting(t, "admin@example.com")
	r.delegate(t, "grace@example.com")
	if status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != http.StatusOK || r.last(t).Status != jobs.Succeeded {
		t.Errorf("HTTP %d\n%s", status, r.logs)
	}
	r.wantCalls(t, 2, 2, 1)
}

// Whom the Directory does not know may be an administrator elsewhere: of another
// organisation, whose domain the policy lists, too, and which trusts the account.
func TestWhomTheDirectoryDoesNotKnow(t *testing.T) {
	for user, fix := range map[string]string{
		"nobody@example.com": "Name the user's primary address.",
		"boss@example.net":   "If example.net is a domain of another organisation, its users cannot be looked up: take it out of domains",
	} {
		r := protecting(t, "admin@example.com", func(cfg *config.Config, o *functions.Options) {
			o.Policy.Domains = append(o.Policy.Domains, "example.net")
			before(t, cfg, func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/users/boss@example.net") {
					return false
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusNotFound)
				_, _ = io.WriteString(w, `{"error": {"code": 404, "message": "Domain not found.", "errors": [{"domain": "global", "reason": "notFound", "message": "Domain not found."}]}}`)
				return true
			})
		})
		for i := range 2 { // it is not remembered that there is no such administrator
			o := r.Execute(t.Context(), pubsubio.Message{ID: fmt.Sprint(i), Data: []byte(insert(fmt.Sprint(user, i), user, plainLetter))})
			e := o.Result.Error
			if o.Result.Status != jobs.Failed || e.Stage != jobs.StagePolicy || e.Fault != jobs.FaultUser || !strings.Contains(e.Message, "does not know "+user) || !strings.Contains(e.Message, "admin@example.com") || !strings.Contains(e.Fix, fix) || o.Stops {
				t.Errorf("%s: %+v %+v", user, o, e)
			}
		}
		r.wantNobody(t)
		r.wantCalls(t, 1, 1, 0) // the administrator's
	}
}

// A look-up costs what the other limits allow alone, and each user one an hour.
func TestLookUpsAreFew(t *testing.T) {
	r := protecting(t, "admin@example.com", func(cfg *config.Config, o *functions.Options) {
		cfg.GmailUnitsPerUser = "1000000" // which is not what this is about
		o.Policy.DenyUsers = []string{"grace@example.com"}
	})
	for i, job := range []string{
		insert("", "ada@example.org", plainLetter), insert("", "grace@example.com", plainLetter),
		`{"user":"ada@example.com","action":"gmail.users.labels.list"}`, `{"as":"serviceAccount","action":"sql.instances.list","params":{"project":"p"}}`,
	} {
		r.deliver(t, fmt.Sprint("refused", i), job)
		if got := r.last(t); got.Status != jobs.Refused {
			t.Errorf("%s: %+v", job, got)
		}
	}
	if n := r.google.Calls()[lookUp]; n != 0 {
		t.Errorf("%d look-ups for what is refused anyway", n)
	}
	var group sync.WaitGroup
	for worker := range 20 {
		group.Go(func() {
			for i := range 50 {
				id := fmt.Sprint(worker, "-", i)
				for status := 0; status != http.StatusOK; { // one change at a time in a mailbox
					if status = r.deliver(t, id, insert(id, "ada@example.com", plainLetter)); status != http.StatusOK && status != http.StatusTooManyRequests {
						t.Errorf("HTTP %d", status)
						return
					}
				}
			}
		})
	}
	group.Wait()
	if n := r.google.Calls()[lookUp]; n != 1 {
		t.Errorf("%d look-ups for 1,000 jobs of one user", n)
	}
	r.wantCalls(t, 2, 2, 1000)
}

// Where it cannot be found out who is an administrator, and that lasts, those
// who can mend it are told how, with the administrator's name.
func TestTheDirectoryCannotBeRead(t *testing.T) {
	for name, c := range map[string]struct {
		admin     string
		breaks    func(*sandbox.Server) error
		fault     jobs.Fault
		code      int
		says, fix string
		lasts     bool // it is not ordered for one call alone
	}{
		"no administrator":  {"grace@example.com", nil, jobs.FaultOperator, 403, "grace@example.com is not an administrator", "Act as an administrator of example.com", true},
		"nobody":            {"nobody@example.com", nil, jobs.FaultOperator, 400, "nobody@example.com", "primary address", true},
		"scope not allowed": {"admin@example.com", row("T1", "token"), jobs.FaultAdmin, 401, directoryScope, "domainwidedelegation?clientScopeToAdd=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fadmin.directory.user.readonly", false},
		"API off": {
			"admin@example.com", func(s *sandbox.Server) error { return s.SetAPI("admin.googleapis.com", false) },
			jobs.FaultOperator, 403, "The API admin.googleapis.com is off", "gcloud services enable admin.googleapis.com --project=424242424242", true,
		},
		"may not sign":   {"admin@example.com", row("S6", "signJwt"), jobs.FaultOperator, 403, "VPC", "iamcredentials.googleapis.com", false},
		"suspended, say": {"admin@example.com", row("A15", lookUp), jobs.FaultOperator, 403, "admin@example.com", "admin@example.com", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := protecting(t, c.admin)
			if c.breaks != nil {
				if err := c.breaks(r.google); err != nil {
					t.Fatal(err)
				}
			}
			if status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != http.StatusOK {
				t.Fatalf("HTTP %d\n%s", status, r.logs)
			}
			got := r.last(t)
			begins := "Whether ada@example.com is an administrator could not be found out in the Directory as " + c.admin + ", whom ONBEHALF_ADMIN names: "
			e := got.Error
			if got.Status != jobs.Failed || e.Stage != jobs.StagePolicy || e.Fault != c.fault || e.Code != c.code || !strings.HasPrefix(e.Message, begins) || !strings.Contains(e.Message, c.says) || !strings.Contains(e.Fix, c.fix) {
				t.Errorf("%+v %+v", got, e)
			}
			if strings.ContainsAny(e.Message+e.Fix, "{}") {
				t.Errorf("a name is missing: %+v", e)
			}
			if c.lasts {
				if o := r.Execute(t.Context(), pubsubio.Message{ID: "2", Data: []byte(insert("j2", "alan@example.com", plainLetter))}); o.Answer != functions.Done || !o.Stops {
					t.Errorf("the next user's: %+v", o)
				}
			}
			r.wantNobody(t)
		})
	}
}

func row(id, call string) func(*sandbox.Server) error {
	return func(s *sandbox.Server) error { return s.Order(sandbox.Fault{Row: id, Call: call, Times: 1}) }
}

// What passes brings the job again, and then it is done.
func TestTheDirectoryIsAway(t *testing.T) {
	for kind, answer := range map[string]int{"5xx": 503, "429": 429} {
		t.Run(kind, func(t *testing.T) {
			r := protecting(t, "admin@example.com")
			if err := r.google.Order(sandbox.Fault{Kind: kind, Call: lookUp, Times: 1}); err != nil {
				t.Fatal(err)
			}
			job := insert("j", "ada@example.com", plainLetter)
			if status := r.deliver(t, "1", job); status != answer || len(r.results.all()) != 0 {
				t.Fatalf("HTTP %d, want %d\n%s", status, answer, r.logs)
			}
			if line := r.logs.attempts(t)[0]; line["stage"] != "policy" || !strings.HasPrefix(fmt.Sprint(line["error"]), "Whether ada@example.com is an administrator") {
				t.Errorf("%v", line)
			}
			r.wantNobody(t)
			if status := r.deliver(t, "1", job); status != http.StatusOK || r.last(t).Status != jobs.Succeeded {
				t.Errorf("then HTTP %d\n%s", status, r.logs)
			}
		})
	}
}

// A token of the administrator's that has ended is replaced at once.
func TestTheAdministratorsTokenHasEnded(t *testing.T) {
	r := protecting(t, "admin@example.com")
	if err := r.google.Order(sandbox.Fault{Kind: "expireTokens", Call: lookUp, Times: 1}); err != nil {
		t.Fatal(err)
	}
	if status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != http.StatusOK || r.last(t).Status != jobs.Succeeded {
		t.Errorf("HTTP %d\n%s", status, r.logs)
	}
	r.wantCalls(t, 3, 3, 1) // twice as the administrator, once as ada
}

// A policy that protects administrators must be able to.
func TestProtectAdminsNeedsAnAdministrator(t *testing.T) {
	file := policyFile(t, "domains: [example.com]\nprotectAdmins: true\n")
	if err := newExecutor(t, straight, "ONBEHALF_POLICY="+file); err == nil || !strings.Contains(err.Error(), "ONBEHALF_POLICY: protectAdmins: is true") || !strings.Contains(err.Error(), "set ONBEHALF_ADMIN to") {
		t.Errorf("%v", err)
	}
	if err := newExecutor(t, straight, "ONBEHALF_POLICY="+file, "ONBEHALF_ADMIN=admin@example.com"); err != nil {
		t.Error(err)
	}
}
