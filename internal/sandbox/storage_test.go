package sandbox_test

import (
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

func stored(w *sandbox.World, _ *sandbox.Options) {
	w.Objects = map[string][]byte{"letters/2026/welcome.eml": []byte(hello)}
	w.Secrets = map[string][]byte{
		"projects/onbehalf-sandbox/secrets/policy/versions/2":  []byte("two"),
		"projects/onbehalf-sandbox/secrets/policy/versions/10": []byte("123456789"),
	}
}

func TestStorage(t *testing.T) {
	b := setup(t, stored)
	token := bearer(b.machine())
	const path = "/storage.googleapis.com/storage/v1/b/letters/o/2026%2Fwelcome.eml"
	meta := b.must("GET", path, nil, token...).says(t, 200, `"size": "`, `"name": "2026/welcome.eml"`, "crc32c", "md5Hash").decode(t)
	a := b.must("GET", path+"?alt=media", nil, token...).says(t, 200)
	if a.body != hello || !strings.Contains(a.header.Get("X-Goog-Hash"), meta["crc32c"].(string)) || a.header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%v", a)
	}
	a = b.must("GET", path+"?alt=media", nil, append(token, "Range", "bytes=0-3")...).says(t, 206)
	if a.body != "From" {
		t.Errorf("range: %q", a.body)
	}
	b.must("GET", path+"?alt=media", nil, append(token, "Range", "bytes=99999-")...).says(t, 416)
	b.must("GET", path+"?alt=media&generation="+meta["generation"].(string), nil, token...).says(t, 200)
	b.must("GET", path+"?generation=1", nil, token...).says(t, 404)
	b.must("GET", "/storage.googleapis.com/storage/v1/b/letters/o/none", nil, token...).says(t, 404, "No such object: letters/none", "notFound")
	b.must("GET", path, nil).says(t, 401)
	b.must("GET", path, nil, bearer(b.as(ada, "gmail.insert"))...).says(t, 403, "insufficient authentication scopes")
}

func TestStorageUpload(t *testing.T) {
	b := setup(t)
	token := bearer(b.machine())
	const path = "/storage.googleapis.com/upload/storage/v1/b/new/o?uploadType=media"
	one := b.must("POST", path+"&name=a%2Fb", "one", append(token, "Content-Type", "text/plain")...).says(t, 200, `"name": "a/b"`).decode(t)
	two := b.must("POST", path+"&name=a%2Fb", "two", token...).says(t, 200).decode(t)
	if one["generation"] == two["generation"] {
		t.Error("one generation for two contents")
	}
	if a := b.must("GET", "/storage.googleapis.com/download/storage/v1/b/new/o/a%2Fb?alt=media", nil, token...).says(t, 200); a.body != "two" {
		t.Errorf("%q", a.body)
	}
	b.must("POST", path, "x", token...).says(t, 400, "Required parameter: name")
	b.must("POST", strings.Replace(path, "=media", "=resumable", 1)+"&name=x", "x", token...).says(t, 501)
}

// A user of the organisation has nothing in the project, whatever the scope.
func TestProjectIsForMachines(t *testing.T) {
	b := setup(t, stored, func(w *sandbox.World, _ *sandbox.Options) {
		w.ServiceAccounts[0].DelegatedScopes = []string{auth + "cloud-platform"}
	})
	token := bearer(b.as(ada, "cloud-platform"))
	b.must("GET", "/storage.googleapis.com/storage/v1/b/letters/o/x", nil, token...).says(t, 403, "storage.objects.get")
	b.must("GET", "/secretmanager.googleapis.com/v1/projects/onbehalf-sandbox/secrets/policy/versions/2:access", nil, token...).says(t, 403)
}

func TestSecrets(t *testing.T) {
	b := setup(t, stored)
	get := func(project, version string) answer {
		return b.must("GET", "/secretmanager.googleapis.com/v1/projects/"+project+"/versions/"+version+":access?%24alt=json%3Benum-encoding%3Dint", nil, bearer(b.machine())...)
	}
	// 3808858755 is the check value of CRC-32C, of the digits 1 to 9.
	for _, version := range []string{"10", "latest"} {
		get("424242424242/secrets/policy", version).says(t, 200, `"data": "MTIzNDU2Nzg5"`, `"dataCrc32c": "3808858755"`,
			`"name": "projects/424242424242/secrets/policy/versions/10"`)
	}
	get("onbehalf-sandbox/secrets/policy", "2").says(t, 200, "dHdv")
	get("onbehalf-sandbox/secrets/policy", "3").says(t, 404, "NOT_FOUND", "Secret Version [projects/424242424242/secrets/policy/versions/3] not found.")
	get("onbehalf-sandbox/secrets/none", "1").says(t, 404, "Secret [projects/424242424242/secrets/none] not found or has no versions.")
	get("other/secrets/policy", "1").says(t, 404)
}
