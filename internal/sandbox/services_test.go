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
