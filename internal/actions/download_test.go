package actions_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
)

// bucket is Cloud Storage as far as the generated client writes to it, beside an
// API that answers with a file. It keeps of an object only what it comes to.
type bucket struct {
	api    func(*http.Request) (*http.Response, error)
	status int // that it answers instead; 0 is none

	begun    int
	name     string
	mimeType string
	size     int64
	sum      uint32
	head     string
	done     bool
	most     uint64 // bytes of memory in use
}

func (b *bucket) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "storage.googleapis.com" {
		return b.api(r)
	}
	if b.status != 0 {
		return answering(b.status, strings.NewReader(`{"error":{"code":403,"message":"no","errors":[{"reason":"forbidden"}]}}`))(r)
	}
	res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}
	switch kind := r.URL.Query().Get("uploadType"); {
	case r.Method == http.MethodPost && kind == "resumable":
		b.begun++
		b.mimeType = r.Header.Get("X-Upload-Content-Type")
		res.Header.Set("Location", "https://storage.googleapis.com/session?uploadType=session")
		return res, b.about(r.Body)
	case r.Method == http.MethodPost && kind == "multipart":
		b.begun++
		if err := b.parts(r); err != nil {
			return nil, err
		}
		return b.finished(res), nil
	case r.URL.Path == "/session":
		if err := b.content(r.Body); err != nil {
			return nil, err
		}
		if _, total, _ := strings.Cut(r.Header.Get("Content-Range"), "/"); total != "*" {
			return b.finished(res), nil
		}
		res.Header.Set("Range", fmt.Sprintf("bytes=0-%d", b.size-1))
		res.Header.Set("X-Http-Status-Code-Override", "308") // so that no client follows a redirect
		return res, nil
	}
	return nil, fmt.Errorf("storage: %s %s", r.Method, r.URL)
}

func (b *bucket) about(r io.Reader) error {
	var about struct{ Name, ContentType string }
	err := json.NewDecoder(r).Decode(&about)
	b.name = about.Name
	return err
}

func (b *bucket) parts(r *http.Request) error {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	parts := multipart.NewReader(r.Body, params["boundary"])
	about, err := parts.NextPart()
	if err == nil {
		err = b.about(about)
	}
	if err != nil {
		return err
	}
	media, err := parts.NextPart()
	if err != nil {
		return err
	}
	b.mimeType = media.Header.Get("Content-Type")
	return b.content(media)
}

func (b *bucket) content(r io.Reader) error {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	b.most = max(b.most, memory.HeapInuse)
	chunk := make([]byte, 64<<10)
	for {
		n, err := r.Read(chunk)
		b.sum, b.size = crc32.Update(b.sum, crc32.IEEETable, chunk[:n]), b.size+int64(n)
		if len(b.head) < 64 {
			b.head += string(chunk[:min(n, 64)])
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (b *bucket) finished(res *http.Response) *http.Response {
	b.done = true
	res.Header.Set("Content-Type", "application/json")
	res.Body = io.NopCloser(strings.NewReader(fmt.Sprintf(`{"size":"%d","crc32c":"AAAAAA==","generation":"9007199254740993"}`, b.size)))
	return res
}

// file answers with a file of that type.
func file(contentType string, body io.Reader) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		if r.URL.Query().Get("alt") != "media" {
			return nil, fmt.Errorf("not asked for the content: %s", r.URL)
		}
		header := http.Header{}
		if contentType != "" {
			header.Set("Content-Type", contentType)
		}
		return &http.Response{StatusCode: http.StatusOK, Header: header, Body: io.NopCloser(body), Request: r}, nil
	}
}

const download = `{"user":"ada@example.com","action":"drive.files.get","params":{"fileId":"f","alt":"media"},"output":"gs://bucket/a b/ü.png"}`

func TestDownloads(t *testing.T) {
	for name, c := range map[string]struct {
		job, contentType string
		size             int64
	}{
		"a small one":        {download, "image/png", 9},
		"nothing":            {download, "image/png", 0},
		"with a charset":     {download, "text/plain; charset=latin1", 100},
		"of no type":         {download, "", 100},
		"a piece exactly":    {download, "image/png", 2 << 20},
		"a byte more":        {download, "image/png", 2<<20 + 1},
		"an export":          {`{"user":"ada@example.com","action":"drive.files.export","params":{"fileId":"f","mimeType":"application/pdf"},"output":"gs://bucket/a b/ü.png"}`, "application/pdf", 3 << 20},
		"many times a piece": {download, "video/mp4", 50 << 20},
	} {
		sum := crc32.NewIEEE()
		b := &bucket{api: file(c.contentType, io.TeeReader(repeated("", "0123456789abcde\xff", c.size), sum))}
		runtime.GC()
		answer, err := do(t, newActions(t, b), c.job)
		if err != nil {
			t.Errorf("%s: %v: %v", name, err, errors.Unwrap(err))
			continue
		}
		wantType := c.contentType
		if wantType == "" {
			wantType = "application/octet-stream"
		}
		if !b.done || b.begun != 1 || b.size != c.size || b.sum != sum.Sum32() || b.name != "a b/ü.png" || b.mimeType != wantType {
			t.Errorf("%s: %+v", name, b)
		}
		want := fmt.Sprintf(`{"output":"gs://bucket/a b/ü.png","bytes":%d,"contentType":%q,"crc32c":"AAAAAA==","generation":"9007199254740993"}`, c.size, wantType)
		var got, wanted map[string]any
		if json.Unmarshal(answer.Response, &got) != nil || json.Unmarshal([]byte(want), &wanted) != nil || fmt.Sprint(got) != fmt.Sprint(wanted) {
			t.Errorf("%s: %s; want %s", name, answer.Response, want)
		}
		if b.most > 40<<20 {
			t.Errorf("%s: %d MiB of memory are in use", name, b.most>>20)
		}
	}
}

// What comes in half is not stored, and whose fault it is can be told.
func TestDownloadsThatFail(t *testing.T) {
	broken := io.ErrUnexpectedEOF // as the transport has it, and not to be taken for an end
	for name, size := range map[string]int64{"at once": 0, "early": 100, "late": 7 << 20, "between two pieces": 4 << 20} {
		b := &bucket{api: file("image/png", io.MultiReader(repeated("", "x", size), iotest.ErrReader(broken)))}
		_, err := do(t, newActions(t, b), download)
		var e *actions.Error
		if !errors.As(err, &e) || !errors.Is(err, broken) || e.Object != "" || e.Reason != actions.NoAnswer || e.Doubtful {
			t.Errorf("%s: %#v, object %q", name, err, e.Object)
		}
		if b.done {
			t.Errorf("%s: half an object was stored: %d bytes", name, b.size)
		}
	}
	for _, size := range []int64{9, 5 << 20} {
		_, err := do(t, newActions(t, &bucket{status: 403, api: file("image/png", repeated("", "x", size))}), download)
		var e *actions.Error
		if !errors.As(err, &e) || e.Object != "output" || e.Status != 403 || e.Reason != "forbidden" || e.Doubtful {
			t.Errorf("storage refuses %d bytes: %#v", size, err)
		}
	}
	b := &bucket{api: answering(404, strings.NewReader(`{"error":{"errors":[{"reason":"notFound"}]}}`))}
	_, err := do(t, newActions(t, b), download)
	var e *actions.Error
	if !errors.As(err, &e) || e.Object != "" || e.Status != 404 || e.Reason != "notFound" || b.begun != 0 {
		t.Errorf("no such file: %#v", err)
	}
}

// Where it goes is checked with the job, and what the job may ask for with it.
func TestOutput(t *testing.T) {
	a := newActions(t, &google{})
	for job, says := range map[string]string{
		`"drive.files.get","params":{"fileId":"f"},"output":"gs://b/o"`:                             `output: is "gs://b/o"; gs://BUCKET/OBJECT is expected`,
		`"drive.files.get","params":{"fileId":"f"},"output":"https://bucket/o"`:                     `output: is "https://bucket/o"; `,
		`"drive.files.get","params":{"fileId":"f"},"output":"gs://bucket/.."`:                       `output: is "gs://bucket/.."; `,
		`"drive.files.get","params":{"fileId":"f","alt":"json"},"output":"gs://bucket/o"`:           `params.alt: is the string "json"; accepted is json, or media together with output`,
		`"drive.files.get","params":{"fileId":"f","alt":"media"}`:                                   `params.alt: is the string "media"; accepted is json, or media together with output`,
		`"drive.files.list","output":"gs://bucket/o"`:                                               `output: is given, but drive.files.list answers with JSON only`,
		`"drive.files.list","output":"gs://bucket/o","pages":{"max":2}`:                             `output: is given beside pages; `,
		`"drive.files.get","params":{"fileId":"f","alt":"media"},"output":"gs://bucket/a?b#c/../d"`: "",
	} {
		if got := refusal(t, a, `{"user":"ada@example.com","action":`+job+`}`); !strings.HasPrefix(got, says) || says == "" && got != "" {
			t.Errorf("%s: %s; want %s", job, got, says)
		}
	}
	// No name of an object leaves its bucket's address.
	var asked *url.URL
	b := &bucket{api: file("image/png", strings.NewReader("x"))}
	spy := roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == "storage.googleapis.com" {
			asked = r.URL
		}
		return b.RoundTrip(r)
	})
	if _, err := do(t, newActions(t, spy), strings.Replace(download, "a b/ü.png", "../../other/o/x?y#z", 1)); err != nil || asked.Path != "/upload/storage/v1/b/bucket/o" || b.name != "../../other/o/x?y#z" {
		t.Errorf("%v, %s, %q", err, asked, b.name)
	}
}
