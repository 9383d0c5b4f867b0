package sandbox_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Of each kind of token: whose it is, and what for.
func TestTokenInfo(t *testing.T) {
	b := setup(t, signedIn)
	user := b.must("GET", "/admin.googleapis.com/admin/directory/v1/users/"+ada, nil, bearer(b.as(admin, "admin.directory.user.readonly"))...).decode(t)["id"].(string)
	info := func(client, subject, email, scope string) map[string]any {
		out := map[string]any{
			"azp": client, "aud": client, "sub": subject, "scope": scope, "exp": "1795179599", "expires_in": "3599", "access_type": "online",
		}
		if email != "" {
			out["email"], out["email_verified"] = email, "true"
		}
		return out
	}
	signedIn := b.refresh(nil).decode(t)["access_token"].(string)
	operatorInfo := b.must("GET", "/oauth2.googleapis.com/tokeninfo?access_token="+signedIn, nil).says(t, 200).decode(t)
	for token, want := range map[string]map[string]any{
		b.machine():             info(robotID, robotID, robot, auth+"cloud-platform"),
		b.as(ada, "gmail.send"): info(robotID, user, "", auth+"gmail.send"),
		b.as(ada, "gmail.send", "userinfo.email"): info(robotID, user, ada, auth+"gmail.send "+auth+"userinfo.email"),
		signedIn: info("client", operatorInfo["sub"].(string), operator, auth+"cloud-platform "+auth+"userinfo.email openid"),
	} {
		for _, path := range []string{"/oauth2.googleapis.com/tokeninfo", "/www.googleapis.com/oauth2/v3/tokeninfo"} {
			if d := cmp.Diff(want, b.must("GET", path+"?access_token="+token, nil).says(t, 200).decode(t)); d != "" {
				t.Errorf("%s (-want +got):\n%s", path, d)
			}
			if d := cmp.Diff(want, b.must("POST", path, url.Values{"access_token": {token}}).says(t, 200).decode(t)); d != "" {
				t.Errorf("POST %s (-want +got):\n%s", path, d)
			}
		}
	}
	b.must("GET", "/oauth2.googleapis.com/tokeninfo?access_token=forged", nil).says(t, 400, "invalid_token")
	b.must("GET", "/oauth2.googleapis.com/tokeninfo", nil).says(t, 400, "invalid_token")
	b.now = b.now.Add(time.Hour)
	b.must("GET", "/oauth2.googleapis.com/tokeninfo?access_token="+signedIn, nil).says(t, 400, "invalid_token")
}
