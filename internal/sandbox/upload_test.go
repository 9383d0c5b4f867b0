package sandbox_test

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

const multipartURL = "/upload/gmail/v1/users/me/messages?uploadType=multipart"

func multipartBody(meta, media, letter, eol string) string {
	return strings.Join([]string{
		"--b", "Content-Type: application/json", "", meta,
		"--b", "Content-Type: " + media, "", letter, "--b--", "",
	}, eol)
}

func TestUploadMultipart(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert")
	post := func(body, contentType string) answer {
		return b.gmail(token, "POST", multipartURL, body, "Content-Type", contentType)
	}
	letter := hello + "--b is no boundary\r\n--bc\r\n"
	for i, eol := range []string{"\r\n", "\n"} {
		post(multipartBody(`{"labelIds": ["INBOX"]}`, "message/rfc822", letter, eol), "multipart/related; boundary=b").says(t, 200, "INBOX")
		if l := b.s.Letters(ada)[i]; string(l.Raw) != letter {
			t.Errorf("%q", l.Raw)
		}
	}
	folded := base64.StdEncoding.EncodeToString([]byte(hello))
	post(multipartBody("", "message/rfc822\r\nContent-Transfer-Encoding: base64", folded[:40]+"\r\n"+folded[40:], "\r\n"), `multipart/related; boundary="b"`).says(t, 200)
	if l := b.s.Letters(ada)[2]; string(l.Raw) != hello {
		t.Errorf("%q", l.Raw)
	}
	post(multipartBody("{}", "text/plain", letter, "\r\n"), "multipart/related; boundary=b").says(t, 400, "Media type 'text/plain' is not supported")
	post(multipartBody(`{"x": 1}`, "message/rfc822", letter, "\r\n"), "multipart/related; boundary=b").says(t, 400, "Unknown name")
	post("--b\r\n\r\n{}\r\n--b--", "multipart/related; boundary=b").says(t, 400, "boundary")
	post(hello, "multipart/related").says(t, 400, "boundary")
	post("", "multipart/related; boundary=b").says(t, 400)
}

func TestUploadResumable(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert")
	const chunk = 256 << 10
	raw := hello + strings.Repeat("0123456789abcde\n", 3*chunk/16)
	open := b.gmail(token, "POST", "/resumable/upload/gmail/v1/users/me/messages?uploadType=resumable&internalDateSource=dateHeader",
		`{"labelIds": ["STARRED"]}`, "X-Upload-Content-Type", "message/rfc822", "X-Upload-Content-Length", fmt.Sprint(len(raw))).says(t, 200)
	u, err := url.Parse(open.header.Get("Location"))
	if err != nil || !strings.HasPrefix(u.String(), b.url) {
		t.Fatalf("Location %q %v", open.header.Get("Location"), err)
	}
	put := func(data, span string, header ...string) answer {
		return b.must("PUT", u.RequestURI(), data, append(header, "Content-Range", span)...)
	}
	if a := put("", "bytes */*").says(t, 308); a.header.Get("Range") != "" {
		t.Errorf("Range %q", a.header.Get("Range"))
	}
	all := fmt.Sprint(len(raw))
	if a := put(raw[:chunk], fmt.Sprintf("bytes 0-%d/%s", chunk-1, all)).says(t, 308); a.header.Get("Range") != fmt.Sprintf("bytes=0-%d", chunk-1) {
		t.Errorf("Range %q", a.header.Get("Range"))
	}
	put(raw[2*chunk:], fmt.Sprintf("bytes %d-%d/%s", 2*chunk, len(raw)-1, all)).says(t, 308) // a gap
	put(raw[chunk:chunk+5], fmt.Sprintf("bytes %d-%d/*", chunk, chunk+4)).says(t, 400, "multiple")
	put("x", "bytes x").says(t, 400, "Content-Range")
	put("x", "bytes 0-5/*").says(t, 400, "Content-Range")
	put("", "bytes */999999999").says(t, 413)
	if a := put("", "bytes */"+all, "X-GUploader-No-308", "yes").says(t, 200); a.header.Get("X-Http-Status-Code-Override") != "308" {
		t.Errorf("%v", a.header)
	}
	done := put(raw[100:], fmt.Sprintf("bytes 100-%d/%s", len(raw)-1, all)).says(t, 200, "STARRED") // overlaps
	if again := put("", "bytes */"+all); again.body != done.body {
		t.Errorf("asked again: %s", again.body)
	}
	l := b.s.Letters(ada)
	if len(l) != 1 || string(l[0].Raw) != raw || l[0].InternalDate.Year() != 2006 {
		t.Errorf("%d letters", len(l))
	}
	calls := b.s.Calls()
	if calls["gmail.users.messages.insert"] != 1 || calls["gmail.users.messages.insert.chunk"] != 10 {
		t.Errorf("%v", calls)
	}
	b.must("PUT", "/gmail.googleapis.com/upload/gmail/v1/users/me/messages?upload_id=none", "x").says(t, 404)
}

func TestUploadResumableRefusals(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert")
	open := func(meta string, header ...string) answer {
		return b.gmail(token, "POST", "/upload/gmail/v1/users/me/messages?uploadType=resumable", meta, header...)
	}
	open("", "X-Upload-Content-Length", fmt.Sprint(151<<20)).says(t, 413, "Request Entity Too Large")
	open("", "X-Upload-Content-Type", "text/plain").says(t, 400, "Media type")
	open(`{"x": 1}`).says(t, 400, "Unknown name")
}
