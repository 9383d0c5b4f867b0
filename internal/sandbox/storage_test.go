package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/url"
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
	const path = "/storage.googleapis.com/upload/storage/v1/b/new/o"
	simple := func(name, body string, header ...string) answer {
		return b.must("POST", path+"?uploadType=media&name="+name, body, append(header, token...)...)
	}
	one := simple("a%2Fb", "one", "Content-Type", "text/plain").says(t, 200, `"name": "a/b"`, `"contentType": "text/plain"`).decode(t)
	two := simple("a%2Fb", "two").says(t, 200).decode(t)
	if one["generation"] == two["generation"] {
		t.Error("one generation for two contents")
	}
	get := func(path string, header ...string) answer {
		return b.must("GET", "/storage.googleapis.com/download/storage/v1/b/new/o/"+path, nil, append(header, token...)...)
	}
	if a := get("a%2Fb?alt=media").says(t, 200); a.body != "two" {
		t.Errorf("%q", a.body)
	}
	simple("", "x").says(t, 400, "Required parameter: name")
	b.must("POST", "/storage.googleapis.com/storage/v1/b/new/o?name=x", "{}", token...).says(t, 400, "wrongUrlForUpload")

	related := func(meta string) answer {
		return b.must("POST", path+"?uploadType=multipart", multipartBody(meta, "text/html", "<p>", "\r\n"), append(token, "Content-Type", "multipart/related; boundary=b")...)
	}
	related(`{"name": "page", "metadata": {"k": "v"}, "crc32c": "AAAA"}`).says(t, 400, "Provided CRC32C")
	related(`{"name": "page", "metadata": {"k": "v"}, "cacheControl": "no-store"}`).says(t, 200, `"k": "v"`, "no-store", `"contentType": "text/html"`)
	related(`{"title": "page"}`).says(t, 400, "Unknown name")

	// Preconditions, on what is there and on what is not.
	const failed = "At least one of the pre-conditions you specified did not hold."
	simple("a%2Fb&ifGenerationMatch=0", "x").says(t, 412, failed, "conditionNotMet")
	simple("new&ifGenerationMatch=0", "x").says(t, 200)
	g := two["generation"].(string)
	get("a%2Fb?ifGenerationMatch=1").says(t, 412, failed)
	get("a%2Fb?ifGenerationMatch="+g).says(t, 200)
	get("a%2Fb?ifGenerationNotMatch="+g).says(t, 304)
	const object = "/storage.googleapis.com/storage/v1/b/new/o/a%2Fb"
	b.must("DELETE", object+"?ifGenerationMatch=1", nil, token...).says(t, 412)
	b.must("DELETE", object, nil, token...).says(t, 204)
	b.must("DELETE", object, nil, token...).says(t, 404, "No such object: new/a/b")
}

// Objects go by the same resumable machine as letters, and may be empty.
func TestStorageResumable(t *testing.T) {
	b := setup(t)
	token := bearer(b.machine())
	for _, data := range []string{"", strings.Repeat("0123456789abcde\n", 40_000)} {
		open := b.must("POST", "/storage.googleapis.com/upload/storage/v1/b/new/o?uploadType=resumable", `{"name": "big", "contentType": "text/plain"}`, token...).says(t, 200)
		u, err := url.Parse(open.header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		b.must("PUT", u.RequestURI(), data).says(t, 200, fmt.Sprintf(`"size": "%d"`, len(data)), "text/plain")
		if a := b.must("GET", "/storage.googleapis.com/storage/v1/b/new/o/big?alt=media", nil, token...).says(t, 200); a.body != data {
			t.Errorf("%d bytes", len(a.body))
		}
	}
	b.must("POST", "/storage.googleapis.com/upload/storage/v1/b/new/o?uploadType=resumable", `{}`, token...).says(t, 400, "name")
}

func TestStorageList(t *testing.T) {
	names := []string{"a", "b/1", "b/2", "c/1", "d"}
	b := setup(t, func(w *sandbox.World, _ *sandbox.Options) {
		w.Objects = map[string][]byte{"other/x": nil}
		for _, name := range names {
			w.Objects["mine/"+name] = []byte(name)
		}
	})
	list := func(query string) (names, prefixes []string) {
		for token := ""; ; {
			var page struct {
				Items    []struct{ Name string }
				Prefixes []string
				Next     string `json:"nextPageToken"`
			}
			a := b.must("GET", "/storage.googleapis.com/storage/v1/b/mine/o?pageToken="+token+"&"+query, nil, bearer(b.machine())...).says(t, 200)
			if err := json.Unmarshal([]byte(a.body), &page); err != nil {
				t.Fatal(err)
			}
			for _, o := range page.Items {
				names = append(names, o.Name)
			}
			prefixes = append(prefixes, page.Prefixes...)
			if token = page.Next; token == "" {
				return names, prefixes
			}
		}
	}
	for query, want := range map[string][2]string{
		"":                              {"[a b/1 b/2 c/1 d]", "[]"},
		"maxResults=2":                  {"[a b/1 b/2 c/1 d]", "[]"},
		"prefix=b":                      {"[b/1 b/2]", "[]"},
		"delimiter=%2F&maxResults=1":    {"[a d]", "[b/ c/]"},
		"delimiter=%2F&prefix=b%2F":     {"[b/1 b/2]", "[]"},
		"startOffset=b%2F2&endOffset=d": {"[b/2 c/1]", "[]"},
		"prefix=none":                   {"[]", "[]"},
	} {
		names, prefixes := list(query)
		if got := [2]string{fmt.Sprint(names), fmt.Sprint(prefixes)}; got != want {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	b.must("GET", "/storage.googleapis.com/storage/v1/b/mine/o?matchGlob=*", nil, bearer(b.machine())...).says(t, 501, "matchGlob")
	b.must("GET", "/storage.googleapis.com/storage/v1/b/mine/o?pageToken=!", nil, bearer(b.machine())...).says(t, 400)
}

// A download that breaks off has told its length before, and goes on with a
// Range from where it broke.
func TestDownloadCut(t *testing.T) {
	b := setup(t, stored)
	token := bearer(b.machine())
	const path = "/storage.googleapis.com/storage/v1/b/letters/o/2026%2Fwelcome.eml"
	if err := b.s.Order(sandbox.Fault{Kind: "cutDownload", Call: "storage.*", After: 10, Times: 1}); err != nil {
		t.Fatal(err)
	}
	b.must("GET", path, nil, token...).says(t, 200) // is no download
	a, err := b.do("GET", path+"?alt=media", nil, token...)
	if err == nil || a.body != hello[:10] || a.header.Get("Content-Length") != fmt.Sprint(len(hello)) {
		t.Fatalf("%q %v", a.body, err)
	}
	rest := b.must("GET", path+"?alt=media", nil, append(token, "Range", "bytes=10-")...).says(t, 206)
	if rest.body != hello[10:] || rest.header.Get("Content-Range") != fmt.Sprintf("bytes 10-%d/%d", len(hello)-1, len(hello)) {
		t.Errorf("%q %v", rest.body, rest.header)
	}
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
