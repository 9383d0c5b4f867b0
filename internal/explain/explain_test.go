package explain_test

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/explain"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// known are names in full.
func known() explain.Names {
	return explain.Names{
		Account: "robot@acme-tools.iam.gserviceaccount.com", ClientID: "100000000000000000042", User: "ada@example.com",
		Scopes: []string{"https://www.googleapis.com/auth/gmail.insert", "https://www.googleapis.com/auth/gmail.send"}, Caller: "serviceAccount:runner@acme-tools.iam.gserviceaccount.com",
		Project: "acme-tools", ProjectNumber: "424242424242", Service: "gmail.googleapis.com",
	}
}

// answers are what a row's answer can look like: each code with each wording.
func answers(r explain.Row) []explain.Answer {
	var all []explain.Answer
	for _, code := range strings.Fields(cmp.Or(r.Codes, "someCode")) {
		for text := range strings.SplitSeq(r.Google, " · ") {
			if text == "" {
				text = r.Says
			}
			a := explain.Answer{Stage: r.Stage, Status: r.Status, Code: code, Text: strings.ReplaceAll(text, "…", "x"), Self: r.Self}
			if r.Status != 0 {
				a.Object = cmp.Or(r.Object, "message.uri")
			}
			all = append(all, a)
		}
	}
	return all
}

// Each row is reached by what Google says in its case: none is hidden behind
// one that is more general.
func TestEachRowIsFoundByItsOwnAnswer(t *testing.T) {
	for _, r := range explain.Rows() {
		for _, a := range answers(r) {
			a.Stage = cmp.Or(a.Stage, jobs.StageCall)
			m := explain.Of(a)
			if m.Row != r.ID || m.Message != r.Message || m.Fix != r.Fix || m.Fault != r.Fault || m.Retry != r.Retry || m.Window != r.Window || m.OneUser != r.OneUser {
				t.Errorf("%s: %+v is read as %+v", r.ID, a, m)
			}
		}
	}
}

func TestTheTableIsWhole(t *testing.T) {
	faults := []jobs.Fault{jobs.FaultJob, jobs.FaultUser, jobs.FaultAdmin, jobs.FaultOperator, jobs.FaultGoogle, jobs.FaultQuota}
	for _, r := range explain.Rows() {
		if r.ID == "" || r.Message == "" || r.Fix == "" || r.Says != strings.ToLower(r.Says) || !strings.Contains(joined(faults), " "+string(r.Fault)+" ") {
			t.Errorf("%+v", r)
		}
		if (r.Retry == explain.Briefly) != (r.Window > 0) || (r.Retry == explain.Later) != (r.Fault == jobs.FaultQuota) || r.OneUser && r.Fault != jobs.FaultAdmin && r.Fault != jobs.FaultOperator {
			t.Errorf("%s: cannot be: retry %q, window %v, fault %s, one user %v", r.ID, r.Retry, r.Window, r.Fault, r.OneUser)
		}
		for name, n := range map[string]explain.Names{"all names": known(), "no name": {}} {
			m := r.Meaning().For(n)
			if text := m.Message + m.Fix; strings.ContainsAny(text, "{}") || strings.Contains(text, "overwriteClientId") || strings.Contains(text, "  ") {
				t.Errorf("%s with %s: %q", r.ID, name, text)
			}
			if _, command, _ := strings.Cut(m.Fix, "gcloud "); strings.Contains(command+" ", ". ") {
				t.Errorf("%s: the command does not end the remedy: %q", r.ID, m.Fix)
			}
		}
	}
}

// Whoever is to be granted a right, the command names one member, and the remedy says
// what is to be filled in.
func TestWhoIsGrantedARight(t *testing.T) {
	const pool = "principal://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/subject/"
	for caller, want := range map[string][2]string{
		known().Caller: {"Let " + known().Caller + " sign", "--member=" + known().Caller + " "},
		pool + "ci":    {"Let " + pool + "ci sign", "--member=" + pool + "ci "},
		pool + explain.Subject: {
			"Let " + pool + "SUBJECT (SUBJECT is the identity's own, which the pool's provider maps to google.subject) sign",
			"--member=" + pool + "SUBJECT ",
		},
		"": {"Let the caller (CALLER is serviceAccount:ADDRESS", "--member=CALLER "},
	} {
		n := known()
		n.Caller = caller
		m := explain.Of(explain.Mint("sign", 403, "IAM_PERMISSION_DENIED", "Permission 'iam.serviceAccounts.signJwt' denied")).For(n)
		for _, part := range want {
			if !strings.Contains(m.Fix, part) {
				t.Errorf("%s: %s; want %s", caller, m.Fix, part)
			}
		}
	}
}

func joined(faults []jobs.Fault) string {
	var b strings.Builder
	for _, f := range faults {
		b.WriteString(" " + string(f) + " ")
	}
	return b.String()
}

func TestUnknownAnswers(t *testing.T) {
	for _, c := range []struct {
		stage  jobs.Stage
		status int
		fault  jobs.Fault
		retry  explain.Retry
	}{
		{jobs.StageSign, 0, jobs.FaultGoogle, explain.Soon},
		{jobs.StageSign, 401, jobs.FaultGoogle, explain.Renew},
		{jobs.StageSign, 403, jobs.FaultOperator, explain.Never},
		{jobs.StageSign, 429, jobs.FaultQuota, explain.Later},
		{jobs.StageSign, 502, jobs.FaultGoogle, explain.Soon},
		{jobs.StageExchange, 200, jobs.FaultGoogle, explain.Soon},
		{jobs.StageExchange, 400, jobs.FaultOperator, explain.Never},
		{jobs.StageExchange, 401, jobs.FaultOperator, explain.Never},
		{jobs.StageExchange, 408, jobs.FaultGoogle, explain.Soon},
		{jobs.StageExchange, 429, jobs.FaultQuota, explain.Later},
		{jobs.StageCall, 400, jobs.FaultJob, explain.Never},
		{jobs.StageCall, 401, jobs.FaultGoogle, explain.Renew},
		{jobs.StageCall, 403, jobs.FaultUser, explain.Never},
		{jobs.StageCall, 418, jobs.FaultJob, explain.Never},
		{jobs.StageCall, 429, jobs.FaultQuota, explain.Later},
		{jobs.StageCall, 599, jobs.FaultGoogle, explain.Soon},
		{"", 403, jobs.FaultOperator, explain.Never},
	} {
		m := explain.Of(explain.Answer{Stage: c.stage, Status: c.status, Code: "newAtGoogle", Text: "words of 2030"}).For(known())
		if m.Row != "" || m.Stage != c.stage || m.Fault != c.fault || m.Retry != c.retry || !strings.Contains(m.Message, "not known here") {
			t.Errorf("%s %d: %+v", c.stage, c.status, m)
		}
	}
}

// A limit is a limit, whatever else its answer is known for.
func TestTooManyRequestsIsALimit(t *testing.T) {
	m := explain.Of(explain.Answer{Stage: jobs.StageCall, Status: 429, Code: "forbidden", Text: "Forbidden"})
	if m.Row != "" || m.Fault != jobs.FaultQuota || m.Retry != explain.Later {
		t.Errorf("%+v", m)
	}
}

// What is no user's is nobody's but the operator's.
func TestOfTheServiceAccountItself(t *testing.T) {
	a := explain.Answer{Stage: jobs.StageCall, Status: 400, Code: "failedPrecondition", Text: "Precondition check failed.", Self: true}
	if m := explain.Of(a).For(known()); m.Row != "A1" || m.Fault != jobs.FaultOperator || !strings.Contains(m.Message, known().Account) {
		t.Errorf("%+v", m)
	}
	a.Self = false
	if m := explain.Of(a); m.Fault != jobs.FaultUser {
		t.Errorf("%+v", m)
	}
}

func TestNotBefore(t *testing.T) {
	at := time.Date(2026, 9, 11, 20, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"User-rate limit exceeded.  Retry after 2026-09-11T20:00:00.000Z (Mail sending)":            at,
		"User-rate limit exceeded. Retry after 2026-09-11T20:00:00Z":                                at,
		"user-rate limit exceeded. retry after 2026-09-11T22:00:00+02:00":                           at,
		"User-rate limit exceeded.  Retry after 18:18:23Z":                                          {},
		"User-rate limit exceeded.  Retry after 2026-13-41T20:00:00Z":                               {},
		"User-rate limit exceeded.  Retry after " + strings.Repeat("9", 40) + "-09-11T20:00:00.000": {},
		"User-rate limit exceeded.":                                                                 {},
	} {
		m := explain.Of(explain.Answer{Stage: jobs.StageCall, Status: 429, Code: "rateLimitExceeded", Text: text}).For(known())
		if m.Row != "A13" || !m.NotBefore.Equal(want) {
			t.Errorf("%q: %s, not before %v", text, m.Row, m.NotBefore)
		}
		if named := strings.Contains(m.Message, "until 2026-09-11T20:00:00Z"); named == want.IsZero() {
			t.Errorf("%q: %s", text, m.Message)
		}
	}
}

// Which limit it is decides who has to wait: where that is not said it is the user's.
func TestLimit(t *testing.T) {
	const metric = "Quota exceeded for quota metric 'Queries' and limit '%s' of service 'gmail.googleapis.com' for consumer 'project_number:424242424242'."
	for _, c := range []struct {
		stage      jobs.Stage
		code, text string
		want       explain.Limit
	}{
		{jobs.StageCall, "rateLimitExceeded", "User-rate limit exceeded.  Retry after 2026-09-11T20:00:00.000Z (Mail sending)", explain.LimitSending},
		{jobs.StageCall, "rateLimitExceeded", "User-rate limit exceeded.  Retry after 2026-09-11T20:00:00.000Z", explain.LimitUser},
		{jobs.StageCall, "rateLimitExceeded", "Too many concurrent requests for user", explain.LimitUser},
		{jobs.StageCall, "rateLimitExceeded", fmt.Sprintf(metric, "Queries per minute per user"), explain.LimitUser},
		{jobs.StageCall, "RATE_LIMIT_EXCEEDED", fmt.Sprintf(metric, "Queries per minute per user"), explain.LimitUser},
		{jobs.StageCall, "rateLimitExceeded", fmt.Sprintf(metric, "Queries per minute"), explain.LimitProject},
		{jobs.StageCall, "RESOURCE_EXHAUSTED", fmt.Sprintf(metric, "Queries per day"), explain.LimitProject},
		{jobs.StageCall, "dailyLimitExceeded", "Daily Limit Exceeded", explain.LimitProject},
		{jobs.StageCall, "userRateLimitExceeded", "User Rate Limit Exceeded", explain.LimitUser},
		{jobs.StageCall, "rateLimitExceeded", "Rate Limit Exceeded", explain.LimitUser},
		{jobs.StageCall, "newAtGoogle", "words of 2030", explain.LimitUser},
		{jobs.StageSign, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).", explain.LimitProject},
		{jobs.StageExchange, "newAtGoogle", "words of 2030", ""},
	} {
		a := explain.Answer{Stage: c.stage, Status: 429, Code: c.code, Text: c.text}
		if m := explain.Of(a); m.Retry != explain.Later || m.Limit != c.want {
			t.Errorf("%s %s %q: the limit is %q, want %q", c.stage, c.code, c.text, m.Limit, c.want)
		}
		a.Object = "message.uri"
		if m := explain.Of(a); m.Limit != "" {
			t.Errorf("of Cloud Storage: the limit is %q", m.Limit)
		}
	}
	if m := explain.Of(explain.Answer{Stage: jobs.StageCall, Status: 400, Code: "badRequest", Text: "At most 1000 filters per user"}); m.Limit != "" {
		t.Errorf("no rate: the limit is %q", m.Limit)
	}
	if m := explain.Find("User-rate limit exceeded.  Retry after 2026-09-11T20:00:00.000Z (Mail sending)", explain.Names{}); m[0].Limit != explain.LimitSending {
		t.Errorf("found: the limit is %q", m[0].Limit)
	}
}

// What is off, and where, is read from Google's text where that is well-formed.
func TestWhatGoogleNames(t *testing.T) {
	const words = "Drive API has not been used in project 515151515151 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/drive.googleapis.com/overview?project=515151515151 then retry."
	for text, want := range map[string]string{
		words: "gcloud services enable drive.googleapis.com --project=515151515151",
		strings.ReplaceAll(words, "515151515151", "424242424242"): "gcloud services enable drive.googleapis.com --project=acme-tools",
		"It is off.": "gcloud services enable gmail.googleapis.com --project=acme-tools",
		"off in project 1;rm -rf / for --.googleapis.com and drive.googleapis.com;reboot": "gcloud services enable drive.googleapis.com --project=acme-tools",
	} {
		m := explain.Of(explain.Answer{Stage: jobs.StageCall, Status: 403, Code: "accessNotConfigured", Text: text}).For(known())
		if !strings.HasSuffix(m.Fix, ": "+want) {
			t.Errorf("%q: %s", text, m.Fix)
		}
	}
}

// Nothing of Google's text is shown.
func TestGooglesTextStaysOut(t *testing.T) {
	const hostile = "{account} $(reboot) <script> ya29.EXAMPLE"
	for _, r := range explain.Rows() {
		a := answers(r)[0]
		a.Text += hostile
		if m := explain.Of(a).For(explain.Names{}); strings.Contains(m.Message+m.Fix, "reboot") || strings.Contains(m.Message+m.Fix, "EXAMPLE") || strings.Contains(m.Message+m.Fix, "<script>") {
			t.Errorf("%s: %+v", r.ID, m)
		}
	}
}

// The administrator gets a link that adds, and never one that replaces; who
// does not know the client id is told how it is read.
func TestDelegation(t *testing.T) {
	link, err := url.Parse(explain.DelegationLink("42", known().Scopes))
	if err != nil || link.Scheme+"://"+link.Host+link.Path != "https://admin.google.com/ac/owl/domainwidedelegation" {
		t.Fatal(link, err)
	}
	if q := link.Query(); len(q) != 2 || q.Get("clientIdToAdd") != "42" || q.Get("clientScopeToAdd") != strings.Join(known().Scopes, ",") {
		t.Errorf("%v", q)
	}
	a := explain.Answer{Stage: jobs.StageExchange, Status: 401, Code: "unauthorized_client"}
	if m := explain.Of(a).For(known()); !strings.HasSuffix(m.Fix, " "+explain.DelegationLink(known().ClientID, known().Scopes)) || !strings.Contains(m.Fix, "administrator of example.com") {
		t.Error(m.Fix)
	}
	n := known()
	n.ClientID = ""
	if m := explain.Of(a).For(n); !strings.HasSuffix(m.Fix, ": gcloud iam service-accounts describe robot@acme-tools.iam.gserviceaccount.com --format='value(uniqueId)'") {
		t.Error(m.Fix)
	}
}

func TestAccountProject(t *testing.T) {
	for account, want := range map[string]string{
		"robot@acme-tools.iam.gserviceaccount.com":           "acme-tools",
		"424242424242-compute@developer.gserviceaccount.com": "",
		"ada@example.com": "",
		"":                "",
	} {
		if got := explain.AccountProject(account); got != want {
			t.Errorf("AccountProject(%q) = %q, want %q", account, got, want)
		}
	}
}
