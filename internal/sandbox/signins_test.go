package sandbox_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

const operator = "op@example.com"

// signedIn has an operator who may sign for the robot, and look at the project.
func signedIn(w *sandbox.World, _ *sandbox.Options) {
	w.SignIns = []sandbox.SignIn{{Email: operator, RefreshToken: "sandbox-refresh", ClientID: "client", ClientSecret: "sandbox-client"}}
	w.ServiceAccounts[0].Signers = append(w.ServiceAccounts[0].Signers, operator)
	w.Viewers = []string{operator}
}

func (b *bundle) refresh(edit map[string]string) answer {
	b.t.Helper()
	form := url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {"sandbox-refresh"}, "client_id": {"client"}, "client_secret": {"sandbox-client"},
	}
	for name, value := range edit {
		form.Set(name, value)
	}
	return b.must("POST", "/oauth2.googleapis.com/token", form)
}

func TestSignIn(t *testing.T) {
	b := setup(t, signedIn)
	got := b.refresh(nil).says(t, 200, "cloud-platform").decode(t)
	if got["expires_in"] != 3599.0 || got["token_type"] != "Bearer" || strings.Count(got["id_token"].(string), ".") != 2 {
		t.Errorf("%v", got)
	}
	b.refresh(map[string]string{"refresh_token": "sandbox-other"}).says(t, 400, "invalid_grant", "invalid_rapt")
	b.refresh(map[string]string{"client_secret": "sandbox-other"}).says(t, 401, "invalid_client")
	b.refresh(map[string]string{"client_id": "other"}).says(t, 401, "invalid_client")
	b.refresh(map[string]string{"scope": "openid"}).says(t, 200, `"scope": "openid"`)
	b.refresh(map[string]string{"scope": auth + "gmail.send"}).says(t, 400, "invalid_scope")
	known := strings.Join(b.s.Secrets(), " ")
	for _, secret := range []string{"sandbox-refresh", "sandbox-client", got["access_token"].(string)} {
		if !strings.Contains(known, secret) {
			t.Errorf("%.7s… is not among the secrets", secret)
		}
	}
}

// Who signed in signs for accounts on the account of a project of their own, and is
// nobody else's user.
func TestSignInQuotaProject(t *testing.T) {
	b := setup(t, signedIn, func(w *sandbox.World, _ *sandbox.Options) {
		w.SignIns = append(w.SignIns, sandbox.SignIn{Email: "no@example.com", RefreshToken: "sandbox-none", ClientID: "client", ClientSecret: "sandbox-client", QuotaProjects: []string{"elsewhere"}})
	})
	token := b.refresh(nil).decode(t)["access_token"].(string)
	other := b.refresh(map[string]string{"refresh_token": "sandbox-none"}).decode(t)["access_token"].(string)
	sign := func(token, project string) answer {
		header := bearer(token)
		if project != "" {
			header = append(header, "X-Goog-User-Project", project)
		}
		return b.must("POST", b.signPath(robot), map[string]any{"payload": "{}"}, header...)
	}
	sign(token, "onbehalf-sandbox").says(t, 200, "signedJwt")
	sign(token, "").says(t, 403, "The iamcredentials.googleapis.com API requires a quota project, which is not set by default.",
		`"SERVICE_DISABLED"`, `"consumer": "projects/764086051850"`)
	sign(token, "elsewhere").says(t, 403, "Caller does not have required permission to use project elsewhere. Grant the caller", "USER_PROJECT_DENIED")
	sign(other, "onbehalf-sandbox").says(t, 403, "USER_PROJECT_DENIED")
	sign(other, "elsewhere").says(t, 403, "Permission 'iam.serviceAccounts.signJwt' denied")
	sign(b.machine(), "elsewhere").says(t, 403, "USER_PROJECT_DENIED")
	sign(b.machine(), "424242424242").says(t, 200)

	const api = "/serviceusage.googleapis.com/v1/projects/onbehalf-sandbox/services/gmail.googleapis.com"
	b.must("GET", api, nil, bearer(token)...).says(t, 403, "The serviceusage.googleapis.com API requires a quota project")
	b.must("GET", api, nil, append(bearer(token), "X-Goog-User-Project", "onbehalf-sandbox")...).says(t, 200)
	b.gmail(token, "GET", "/users/me/messages", nil).says(t, 403, "insufficient authentication scopes")
	b.gmail(b.as(ada, "gmail.readonly"), "GET", "/users/me/messages", nil, "X-Goog-User-Project", "onbehalf-sandbox").says(t, 403, "USER_PROJECT_DENIED")
	b.must("GET", "/storage.googleapis.com/storage/v1/b/letters/o/x", nil, bearer(token)...).says(t, 404)
}
