package sandbox_test

import (
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// Each API that is off says so itself, in the name that switches it on.
func TestDisabledAPIs(t *testing.T) {
	b := setup(t)
	token := b.as(admin, "gmail.readonly", "calendar.readonly", "drive.readonly", "admin.directory.user.readonly")
	for _, tc := range []struct{ service, title, path string }{
		{"gmail.googleapis.com", "Gmail API", "/gmail.googleapis.com/gmail/v1/users/me/messages"},
		{"calendar-json.googleapis.com", "Google Calendar API", "/www.googleapis.com/calendar/v3/users/me/calendarList"},
		{"drive.googleapis.com", "Google Drive API", "/www.googleapis.com/drive/v3/files"},
		{"admin.googleapis.com", "Admin SDK API", "/admin.googleapis.com/admin/directory/v1/users?customer=my_customer"},
	} {
		get := func() answer { return b.must("GET", tc.path, nil, bearer(token)...) }
		get().says(t, 200)
		b.must("PUT", "/_sandbox/services/"+tc.service, false).says(t, 204)
		get().says(t, 403, tc.title+" has not been used in project 424242424242 before or it is disabled.", `"reason": "accessNotConfigured"`,
			"apis/api/"+tc.service+"/overview?project=424242424242", `"SERVICE_DISABLED"`, `"service": "`+tc.service+`"`, `"consumer": "projects/424242424242"`)
		b.must("PUT", "/_sandbox/services/"+tc.service, true).says(t, 204)
		get().says(t, 200)
	}
	b.must("PUT", "/_sandbox/services/www.googleapis.com", false).says(t, 404, "no API that is known here")
	b.must("PUT", "/_sandbox/services/gmail.googleapis.com", "off").says(t, 400)
}

// Signing and secrets have APIs of their own.
func TestDisabledCloudAPIs(t *testing.T) {
	b := setup(t, func(w *sandbox.World, _ *sandbox.Options) {
		w.DisabledAPIs = []string{"iamcredentials.googleapis.com", "secretmanager.googleapis.com"}
		w.Secrets = map[string][]byte{"projects/onbehalf-sandbox/secrets/s/versions/1": []byte("x")}
	})
	machine := bearer(b.machine())
	for _, verb := range []string{"signJwt", "signBlob", "generateAccessToken", "generateIdToken"} {
		b.must("POST", strings.Replace(b.signPath(robot), "signJwt", verb, 1), map[string]any{}, machine...).
			says(t, 403, "IAM Service Account Credentials API has not been used in project", "SERVICE_DISABLED", `"service": "iamcredentials.googleapis.com"`)
	}
	b.must("POST", b.signPath(robot), map[string]any{}, bearer("forged")...).says(t, 401)
	secret := func() answer {
		return b.must("GET", "/secretmanager.googleapis.com/v1/projects/onbehalf-sandbox/secrets/s/versions/1:access", nil, machine...)
	}
	secret().says(t, 403, "Secret Manager API has not been used")
	if err := b.s.SetAPI("secretmanager.googleapis.com", true); err != nil {
		t.Fatal(err)
	}
	secret().says(t, 200)
}

// Whatever can be called can be off: every method's API has a title here.
func TestEveryAPICanBeOff(t *testing.T) {
	b, table := setup(t), discovery.New()
	for _, name := range table.Names() {
		api, _ := table.API(name)
		if err := b.s.SetAPI(api.Methods[0].Service(), false); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A service that is off for a user refuses that user alone, each in its own words.
func TestServicesOff(t *testing.T) {
	b := setup(t, func(w *sandbox.World, _ *sandbox.Options) {
		w.Users[0].ServicesOff = []string{"gmail", "drive", "calendar", "tasks"}
	})
	scopes := []string{"gmail.readonly", "calendar.readonly", "drive.readonly", "tasks.readonly"}
	ada, grace := b.as(ada, scopes...), b.as(grace, scopes...)
	for _, tc := range []struct {
		path   string
		status int
		words  string
	}{
		{"/gmail.googleapis.com/gmail/v1/users/me/messages", 400, "Mail service not enabled"},
		{"/www.googleapis.com/drive/v3/files", 401, "Active session is invalid. Error code: 4"},
		{"/www.googleapis.com/calendar/v3/users/me/calendarList", 403, "the authenticated user cannot access this service"},
		{"/tasks.googleapis.com/tasks/v1/users/@me/lists", 403, "the authenticated user cannot access this service"},
	} {
		b.must("GET", tc.path, nil, bearer(ada)...).says(t, tc.status, tc.words)
		b.must("GET", tc.path, nil, bearer(grace)...).says(t, 200)
	}
	b.must("PATCH", "/_sandbox/users/ada@example.com", `{"servicesOff": ["mail"]}`).says(t, 400, `"mail\" is none of`)
	b.must("PATCH", "/_sandbox/users/ada@example.com", `{"servicesOff": ["gmail"]}`).says(t, 200)
	b.must("GET", "/www.googleapis.com/drive/v3/files", nil, bearer(ada)...).says(t, 200)
	b.must("PATCH", "/_sandbox/users/ada@example.com", `{"servicesOff": []}`).says(t, 200)
	b.gmail(ada, "GET", "/users/me/messages", nil).says(t, 200)
}

// Service Usage tells the project's viewers what is on.
func TestServiceUsage(t *testing.T) {
	b := setup(t, func(w *sandbox.World, _ *sandbox.Options) {
		w.DisabledAPIs = []string{"gmail.googleapis.com"}
		w.ServiceAccounts = append(w.ServiceAccounts, sandbox.ServiceAccount{Email: middle, Signers: []string{robot}})
	})
	const base = "/serviceusage.googleapis.com/v1/projects/"
	get := func(path string) answer { return b.must("GET", base+path, nil, bearer(b.machine())...) }
	get("onbehalf-sandbox/services/gmail.googleapis.com").says(t, 200, `"state": "DISABLED"`, `"projects/424242424242/services/gmail.googleapis.com"`, "Gmail API")
	get("424242424242/services/pubsub.googleapis.com").says(t, 200, `"state": "ENABLED"`)
	const both = "onbehalf-sandbox/services:batchGet?names=projects/onbehalf-sandbox/services/gmail.googleapis.com&names=projects/onbehalf-sandbox/services/drive.googleapis.com"
	list := get(both).says(t, 200).decode(t)["services"].([]any)
	if len(list) != 2 || list[0].(map[string]any)["state"] != "DISABLED" || list[1].(map[string]any)["state"] != "ENABLED" {
		t.Errorf("%v", list)
	}
	get("onbehalf-sandbox/services:batchGet").says(t, 400)
	get("onbehalf-sandbox/services:batchGet?names=projects/other/services/gmail.googleapis.com").says(t, 400, "not of projects/onbehalf-sandbox")
	get("onbehalf-sandbox/services/nothing.googleapis.com").says(t, 403, "Not found or permission denied for service(s): nothing.googleapis.com.")
	get("other/services/gmail.googleapis.com").says(t, 403, "AUTH_PERMISSION_DENIED")

	b.must("GET", base+both, nil, bearer(b.own(middle, "cloud-platform"))...).says(t, 403, "Permission denied to get service", "PERMISSION_DENIED")
	b.must("GET", base+both, nil, bearer(b.own(robot, "gmail.insert"))...).says(t, 403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
	b.must("GET", base+both, nil, bearer("forged")...).says(t, 401)
	b.must("PUT", "/_sandbox/services/serviceusage.googleapis.com", false).says(t, 204)
	get(both).says(t, 403, "Service Usage API has not been used", "SERVICE_DISABLED")
}

// own is a token of an account itself, which the runtime may have made.
func (b *bundle) own(account string, scopes ...string) string {
	b.t.Helper()
	for i := range scopes {
		scopes[i] = auth + scopes[i]
	}
	a := b.must("POST", strings.Replace(b.signPath(account), "signJwt", "generateAccessToken", 1), map[string]any{"scope": scopes}, bearer(b.machine())...)
	return a.says(b.t, 200).decode(b.t)["accessToken"].(string)
}
