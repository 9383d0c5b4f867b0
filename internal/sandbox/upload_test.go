package sandbox_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
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

// openLetter begins a resumable upload and returns where it goes on.
func (b *bundle) openLetter(token string, size int) string {
	b.t.Helper()
	a := b.gmail(token, "POST", "/resumable/upload/gmail/v1/users/me/messages?uploadType=resumable", `{"labelIds": ["STARRED"]}`,
		"X-Upload-Content-Type", "message/rfc822", "X-Upload-Content-Length", fmt.Sprint(size)).says(b.t, 200)
	u, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		b.t.Fatal(err)
	}
	return u.RequestURI()
}

// A connection that breaks twice costs what had not arrived, less than a grain
// of what had, and nothing else: the letter is whole in the end.
func TestUploadKeepsWhatArrived(t *testing.T) {
	const grain = 256 << 10
	raw := hello + strings.Repeat("0123456789abcde\n", 5*grain/16)
	all := fmt.Sprint(len(raw))
	for name, header := range map[string]func(from int) string{
		"one request": func(int) string { return "" },
		"one request with its range": func(int) string {
			return fmt.Sprintf("bytes 0-%d/%s", len(raw)-1, all)
		},
		"what is missing": func(from int) string { return fmt.Sprintf("bytes %d-%d/%s", from, len(raw)-1, all) },
	} {
		t.Run(name, func(t *testing.T) {
			b := setup(t)
			at := b.openLetter(b.as(ada, "gmail.insert"), len(raw))
			ask := func() answer { return b.must("PUT", at, "", "Content-Range", "bytes */"+all) }
			send := func(from int) (answer, error) {
				span := header(from)
				if span == "" {
					return b.do("PUT", at, raw)
				}
				if strings.HasPrefix(span, "bytes 0-") {
					from = 0
				}
				return b.do("PUT", at, raw[from:], "Content-Range", span)
			}
			for _, f := range []sandbox.Fault{
				{Kind: "cutUpload", Call: "*.chunk", After: grain + 100, Times: 1},
				{Kind: "cutUpload", Call: "gmail.*", User: ada, After: 3*grain + 5, Times: 1},
			} {
				if err := b.s.Order(f); err != nil {
					t.Fatal(err)
				}
			}
			if a, err := send(0); err == nil {
				t.Fatalf("answered %v", a)
			}
			if got := ask().says(t, 308).header.Get("Range"); got != fmt.Sprintf("bytes=0-%d", grain-1) {
				t.Fatalf("Range %q", got)
			}
			if a, err := send(grain); err == nil {
				t.Fatalf("answered %v", a)
			}
			got := ask().says(t, 308).header.Get("Range")
			var last int
			if _, err := fmt.Sscanf(got, "bytes=0-%d", &last); err != nil || (last+1)%grain != 0 || last+1 < 3*grain {
				t.Fatalf("Range %q", got)
			}
			a, err := send(last + 1)
			if err != nil {
				t.Fatal(err)
			}
			a.says(t, 200, "STARRED")
			if again := ask().says(t, 200); again.body != a.body {
				t.Errorf("asked again: %s", again.body)
			}
			if l := b.s.Letters(ada); len(l) != 1 || string(l[0].Raw) != raw {
				t.Errorf("%d letters", len(l))
			}
		})
	}
}

// A chunk that is refused is read to its end, so that the client gets the answer.
func TestUploadChunkRefused(t *testing.T) {
	b := setup(t)
	const size = 8 << 20
	at := b.openLetter(b.as(ada, "gmail.insert"), size)
	if err := b.s.Order(sandbox.Fault{Kind: "429", Call: "*.chunk", Times: 1}); err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat("x", size)
	b.must("PUT", at, body).says(t, 429)
	b.must("PUT", at, body, "Content-Range", "bytes x").says(t, 400)
	b.must("PUT", at+"0", body).says(t, 404)
	b.must("PUT", at, "", "Content-Range", fmt.Sprintf("bytes */%d", size)).says(t, 308)
	b.must("PUT", at, body).says(t, 200)
}

// The client's own going away is a broken connection too.
func TestUploadClientGoesAway(t *testing.T) {
	const grain = 256 << 10
	b := setup(t)
	at := b.openLetter(b.as(ada, "gmail.insert"), 4*grain)
	left, right := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, b.url+at, left)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 4 * grain
	go func() {
		_, err := io.WriteString(right, strings.Repeat("x", grain+1))
		right.CloseWithError(errors.Join(err, errors.New("gone")))
	}()
	if res, err := b.c.Do(req); err == nil {
		res.Body.Close()
		t.Fatal("answered")
	}
	// The server may learn of it later than the client: ask until it has.
	for {
		a := b.must("PUT", at, "", "Content-Range", fmt.Sprintf("bytes */%d", 4*grain)).says(t, 308)
		if a.header.Get("Range") == fmt.Sprintf("bytes=0-%d", grain-1) {
			break
		}
	}
}

// A part that is not the last is kept in whole grains; what the length of is
// not known ends where it ends.
func TestUploadParts(t *testing.T) {
	const grain = 256 << 10
	b := setup(t)
	token := b.as(ada, "gmail.insert")
	raw := hello + strings.Repeat("0123456789abcde\n", 2*grain/16)
	at := b.openLetter(token, len(raw))
	a := b.must("PUT", at, raw[:grain+9], "Content-Range", fmt.Sprintf("bytes 0-%d/%d", grain+8, len(raw))).says(t, 308)
	if got := a.header.Get("Range"); got != fmt.Sprintf("bytes=0-%d", grain-1) {
		t.Errorf("Range %q", got)
	}
	b.must("PUT", at, "", "Content-Range", "bytes */5").says(t, 400, "Content-Range")
	b.must("PUT", at, raw[grain:], "Content-Range", fmt.Sprintf("bytes %d-%d/%d", grain, len(raw)-2, len(raw)-1)).says(t, 400)

	at = b.openLetter(token, len(raw))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, b.url+at, io.MultiReader(strings.NewReader(raw))) // without a length
	if err != nil {
		t.Fatal(err)
	}
	res, err := b.c.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	res.Body.Close()
	if l := b.s.Letters(ada); len(l) != 1 || string(l[0].Raw) != raw {
		t.Errorf("%d letters", len(l))
	}
}
