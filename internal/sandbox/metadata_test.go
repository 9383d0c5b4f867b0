package sandbox_test

import (
	"strings"
	"testing"
	"time"
)

func TestMetadata(t *testing.T) {
	b := setup(t)
	const base = "/computeMetadata/v1/"
	for path, want := range map[string]string{
		"/":                                                        "computeMetadata/\n",
		base + "project/project-id":                                "onbehalf-sandbox",
		base + "project/numeric-project-id":                        "424242424242",
		base + "universe/universe-domain":                          "googleapis.com",
		base + "instance/zone":                                     "projects/424242424242/zones/us-central1-1",
		base + "instance/region":                                   "projects/424242424242/regions/us-central1",
		base + "instance/service-accounts/":                        "default/\n" + robot + "/\n",
		base + "instance/service-accounts/default/email":           robot,
		base + "instance/service-accounts/" + robot + "/email":     robot,
		base + "instance/service-accounts/default/scopes":          auth + "cloud-platform\n",
		base + "instance/service-accounts/default/aliases":         "default\n",
		base + "instance/service-accounts/default/?recursive=true": `{"aliases":["default"],"email":"` + robot + `","scopes":["` + auth + `cloud-platform"]}` + "\n",
	} {
		a := b.must("GET", path, nil, "Metadata-Flavor", "Google").says(t, 200)
		if a.body != want || a.header.Get("Metadata-Flavor") != "Google" {
			t.Errorf("%s: %q %v", path, a.body, a.header)
		}
		b.must("GET", path, nil).says(t, 403, "Missing Metadata-Flavor")
	}
	b.must("GET", base+"instance/service-accounts/other@example.com/email", nil, "Metadata-Flavor", "Google").says(t, 404)
	b.must("GET", base+"instance/attributes/", nil, "Metadata-Flavor", "Google").says(t, 501)
}

func TestMetadataToken(t *testing.T) {
	b := setup(t)
	first := b.machine()
	if b.machine() != first {
		t.Error("a fresh token before the old one ended")
	}
	b.now = b.now.Add(56 * time.Minute)
	if b.machine() == first {
		t.Error("the same token with less than five minutes left")
	}
	if n := b.s.Calls()["metadata.token"]; n != 3 {
		t.Errorf("metadata.token = %d", n)
	}
}

func TestMetadataIdentity(t *testing.T) {
	b := setup(t)
	const path = "/computeMetadata/v1/instance/service-accounts/default/identity"
	a := b.must("GET", path+"?audience=https://example.com", nil, "Metadata-Flavor", "Google").says(t, 200)
	if strings.Count(a.body, ".") != 2 {
		t.Errorf("no JWT: %s", a.body)
	}
	b.must("GET", path, nil, "Metadata-Flavor", "Google").says(t, 400)
	b.must("GET", "/www.googleapis.com/oauth2/v3/certs", nil).says(t, 200, `"kid"`)
	b.must("GET", "/www.googleapis.com/oauth2/v1/certs", nil).says(t, 200, "BEGIN CERTIFICATE")
}
