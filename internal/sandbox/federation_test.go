package sandbox_test

import (
	"net/url"
	"strings"
	"testing"
)

func TestFederation(t *testing.T) {
	b := setup(t, foreign)
	ask := func(edit map[string]string) answer {
		form := url.Values{
			"grant_type":           {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"audience":             {"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/ci"},
			"requested_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
			"subject_token_type":   {"urn:ietf:params:oauth:token-type:jwt"},
			"subject_token":        {"sandbox-subject"},
			"scope":                {auth + "cloud-platform"},
		}
		for name, value := range edit {
			form.Set(name, value)
		}
		return b.must("POST", "/sts.googleapis.com/v1/token", form)
	}
	got := ask(nil).says(t, 200, "urn:ietf:params:oauth:token-type:access_token").decode(t)
	token := got["access_token"].(string)
	if got["expires_in"] != 3599.0 || got["token_type"] != "Bearer" {
		t.Errorf("%v", got)
	}
	b.must("POST", b.signPath(robot), map[string]any{"payload": "{}"}, bearer(token)...).says(t, 200)
	b.must("GET", "/oauth2.googleapis.com/tokeninfo?access_token="+token, nil).says(t, 400, "invalid_token")
	for name, tc := range map[string][3]string{
		"grant":      {"grant_type", "x", "unsupported_grant_type"},
		"audience":   {"audience", "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/other", "invalid_target"},
		"requested":  {"requested_token_type", "x", "invalid_request"},
		"type":       {"subject_token_type", "x", "invalid_request"},
		"subject":    {"subject_token", "sandbox-other", "invalid_grant"},
		"no subject": {"subject_token", "", "invalid_grant"},
		"scope":      {"scope", "", "invalid_scope"},
	} {
		if a := ask(map[string]string{tc[0]: tc[1]}); a.status != 400 || !strings.Contains(a.body, `"`+tc[2]+`"`) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if !strings.Contains(strings.Join(b.s.Secrets(), " "), "sandbox-other") {
		t.Error("the subject token is not among the secrets")
	}
	b.must("PUT", "/_sandbox/services/sts.googleapis.com", false).says(t, 204)
	ask(nil).says(t, 403, "Security Token Service API has not been used", "SERVICE_DISABLED")
}
