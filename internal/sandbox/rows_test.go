package sandbox_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// knock makes one call of a stage as ada.
func (b *bundle) knock(stage, token string) answer {
	b.t.Helper()
	switch stage {
	case "sign":
		return b.must("POST", b.signPath(robot), map[string]any{"payload": `{"sub":"` + ada + `"}`}, bearer(b.machine())...)
	case "exchange":
		return b.must("POST", "/oauth2.googleapis.com/token", url.Values{"grant_type": {"x"}, "assertion": {"x"}})
	}
	return b.gmail(token, "GET", "/users/me/messages", nil)
}

// Every row can be ordered, arrives as the table has it, and is gone after it.
func TestRowsArrive(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.readonly")
	filled := strings.NewReplacer("${user}", ada, "${projectNumber}", "424242424242",
		"${retryAt}", "2026-11-20T12:15:00.000Z", "${grantType}", "x", "${quotaProject}", "onbehalf-sandbox", "${account}", robot)
	api := map[string]*strings.Replacer{
		"sign": strings.NewReplacer("${service}", "iamcredentials.googleapis.com", "${title}", "IAM Service Account Credentials API"),
		"call": strings.NewReplacer("${service}", "gmail.googleapis.com", "${title}", "Gmail API"),
	}
	for _, r := range b.s.Rows() {
		t.Run(r.ID, func(t *testing.T) {
			if err := b.s.Order(sandbox.Fault{Row: r.ID, Times: 1, RetryAfter: "7"}); err != nil {
				t.Fatal(err)
			}
			want := filled.Replace(r.Body)
			if names := api[r.Stage]; names != nil {
				want = names.Replace(want)
			} else {
				want = strings.ReplaceAll(want, ada, "") // the knock has no assertion to take a user from
			}
			a := b.knock(r.Stage, token)
			if r.ID == "T14" {
				a.says(t, 200, `"id_token"`)
			} else if a.status != r.Status || a.body != want {
				t.Errorf("%d %s, want %d %s", a.status, a.body, r.Status, want)
			}
			if a.header.Get("Retry-After") != "7" || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
				t.Errorf("header %v", a.header)
			}
			if again := b.knock(r.Stage, token); again.body == a.body && r.ID != "T17" {
				t.Errorf("it came twice: %s", again.body)
			}
		})
	}
}

// The table has every row of the list of Google's errors.
func TestRowsComplete(t *testing.T) {
	b := setup(t)
	have := map[string]sandbox.Row{}
	for _, r := range b.s.Rows() {
		if _, ok := have[r.ID]; ok {
			t.Errorf("%s is there twice", r.ID)
		}
		have[r.ID] = r
	}
	for stage, rows := range map[string]string{
		"exchange": "T1 T2 T3 T4 T5 T6 T7 T7b T8 T9 T10 T11 T11b T12 T13 T14 T15 T16 T17 T18 T18b T19 T20 T21 T22 T23 T24 T25 T25b T25c T26 T26b T27",
		"sign":     "S1 S2 S3 S4 S5 S6 S7 S7b S7c S8 S9 S9b S10 S11 S12 S13 S14",
		"call":     "A1 A2 A3 A3b A4 A4b A5 A6 A7 A8 A9 A10 A11 A11b A11c A11d A11e A11f A12 A13 A13b A14 A15 A16 A16b A16c A17 A17b A17c A17d A17e A18 A19 A20 A21",
	} {
		for _, id := range strings.Fields(rows) {
			if have[id].Stage != stage {
				t.Errorf("%s: stage %q, want %q", id, have[id].Stage, stage)
			}
		}
	}
}
