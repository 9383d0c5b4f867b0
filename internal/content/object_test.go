package content_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"

	"github.com/onbehalf-dev/onbehalf/internal/content"
)

// store is Cloud Storage with one object, and with faults to order.
type store struct {
	data       []byte
	breakAfter int                                                      // bytes of a body; 0 is never
	about      map[string]any                                           // in place of what it would say
	media      func(n int, w http.ResponseWriter, r *http.Request) bool // answers the n-th download, if it likes

	mu     sync.Mutex
	ranges []string
}

func sumOf(data []byte) string {
	sum := crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/b/letters/o/a b/ü" {
		http.NotFound(w, r)
		return
	}
	if r.URL.Query().Get("alt") != "media" {
		about := map[string]any{"size": fmt.Sprint(len(s.data)), "generation": "17", "contentType": "message/rfc822", "crc32c": sumOf(s.data)}
		for key, value := range s.about {
			about[key] = value
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(about)
		return
	}
	s.mu.Lock()
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	n := len(s.ranges)
	s.mu.Unlock()
	switch {
	case r.URL.Query().Get("generation") != "17" || r.Header.Get("Accept-Encoding") != "":
		http.Error(w, "another object, or packed", http.StatusTeapot)
	case s.media != nil && s.media(n, w, r):
	default:
		http.ServeContent(&breaking{w, s.breakAfter}, r, "", time.Time{}, bytes.NewReader(s.data))
	}
}

// breaking breaks the connection off when so many bytes are through.
type breaking struct {
	http.ResponseWriter
	left int // 0 is never
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.left == 0 || len(p) < b.left {
		return b.ResponseWriter.Write(p)
	}
	_, _ = b.ResponseWriter.Write(p[:b.left])
	_ = http.NewResponseController(b.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

// service is Cloud Storage's client for a handler that is really on a network.
func service(t *testing.T, h http.Handler) *storage.Service {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return client(t, server.Client(), server.URL)
}

func client(t *testing.T, c *http.Client, url string) *storage.Service {
	t.Helper()
	svc, err := storage.NewService(t.Context(), option.WithHTTPClient(c), option.WithEndpoint(url))
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

func (s *store) object(t *testing.T) *content.StoredObject {
	t.Helper()
	o, err := content.Object(t.Context(), service(t, s), "letters", "a b/ü")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// all reads an object as an upload would.
func all(t *testing.T, c content.Content, from int64) ([]byte, error) {
	t.Helper()
	r, err := c.Open(t.Context(), from)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestObjectSaysWhatItIs(t *testing.T) {
	o := (&store{data: some(3), about: map[string]any{"contentEncoding": "br"}}).object(t)
	if o.Size() != 3 || o.ContentType != "message/rfc822" || o.ContentEncoding != "br" {
		t.Errorf("%+v", o)
	}
}

func TestObjectGoesOnWhereItBroke(t *testing.T) {
	s := &store{data: some(100), breakAfter: 40}
	if got, err := all(t, s.object(t), 10); err != nil || !bytes.Equal(got, s.data[10:]) {
		t.Errorf("%q, %v", got, err)
	}
	if got := fmt.Sprint(s.ranges); got != "[bytes=10- bytes=50- bytes=90-]" {
		t.Errorf("asked for %s", got)
	}
}

// Wrong bytes do not become the whole of anything: their last one is kept.
func TestObjectThatChangedOnTheWay(t *testing.T) {
	for _, size := range []int{1, 2, 10_000} {
		data := some(size)
		s := &store{data: data, about: map[string]any{"crc32c": sumOf(some(size + 1))}}
		got, err := all(t, s.object(t), 0)
		if err == nil || len(got) != size-1 || !strings.Contains(err.Error(), "does not fit the object's checksum") {
			t.Errorf("%d of %d bytes, %v", len(got), size, err)
		}
		if got, err := all(t, s.object(t), 1); err != nil || len(got) != size-1 {
			t.Errorf("a part, of which no sum is known: %d of %d bytes, %v", len(got), size, err)
		}
	}
}

func TestObjectWithoutASum(t *testing.T) {
	if got, err := all(t, (&store{data: some(9), about: map[string]any{"crc32c": ""}}).object(t), 0); err != nil || !bytes.Equal(got, some(9)) {
		t.Errorf("%q, %v", got, err)
	}
	for _, sum := range []string{"!", "AAAA"} {
		s := &store{about: map[string]any{"crc32c": sum}}
		if _, err := content.Object(t.Context(), service(t, s), "letters", "a b/ü"); err == nil {
			t.Errorf("%q was taken for a checksum", sum)
		}
	}
}

func TestObjectErrorsAreGoogles(t *testing.T) {
	code := func(err error) int {
		var answer *googleapi.Error
		if errors.As(err, &answer) {
			return answer.Code
		}
		return 0
	}
	if _, err := content.Object(t.Context(), service(t, &store{}), "letters", "another"); code(err) != http.StatusNotFound {
		t.Errorf("metadata: %v", err)
	}
	refuse := func(status int) func(int, http.ResponseWriter, *http.Request) bool {
		return func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			http.Error(w, "no", status)
			return true
		}
	}
	if _, err := (&store{data: some(9), media: refuse(503)}).object(t).Open(t.Context(), 0); code(err) != 503 {
		t.Errorf("the first answer: %v", err)
	}
	// The generation may be gone in the middle of it.
	s := &store{data: some(100), breakAfter: 40, media: func(n int, w http.ResponseWriter, r *http.Request) bool {
		return n > 1 && refuse(404)(n, w, r)
	}}
	if got, err := all(t, s.object(t), 0); code(err) != 404 || len(got) != 40 || len(s.ranges) != 2 {
		t.Errorf("later: %d bytes, %v, %q", len(got), err, s.ranges)
	}
	s = &store{data: some(100), breakAfter: 40, media: func(n int, w http.ResponseWriter, r *http.Request) bool {
		return n == 2 && refuse(503)(n, w, r)
	}}
	if got, err := all(t, s.object(t), 0); err != nil || !bytes.Equal(got, s.data) {
		t.Errorf("once only: %d bytes, %v", len(got), err)
	}
}

func TestObjectAnswersWithAnotherRange(t *testing.T) {
	for name, c := range map[string]struct {
		from  int64
		reply func(w http.ResponseWriter)
		good  bool
	}{
		"whole, as asked":  {0, func(w http.ResponseWriter) { _, _ = w.Write(some(9)) }, true},
		"whole, not asked": {1, func(w http.ResponseWriter) { _, _ = w.Write(some(9)) }, false},
		"unknown length": {0, func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 0-8/*")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(some(9))
		}, true},
		"other length": {0, func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 0-8/10")
			w.WriteHeader(http.StatusPartialContent)
		}, false},
		"other beginning": {1, func(w http.ResponseWriter) { // with as many bytes as were asked for
			w.Header().Set("Content-Range", "bytes 0-7/9")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(some(9)[:8])
		}, false},
		"no range": {0, func(w http.ResponseWriter) { w.WriteHeader(http.StatusPartialContent) }, false},
		"nothing":  {0, func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }, false},
	} {
		s := &store{data: some(9), media: func(_ int, w http.ResponseWriter, _ *http.Request) bool {
			c.reply(w)
			return true
		}}
		got, err := all(t, s.object(t), c.from)
		if (err == nil) != c.good || c.good && !bytes.Equal(got, some(9)) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// What is packed comes as it is stored, or not at all.
func TestObjectIsNotUnpacked(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(some(500))
	z.Close()
	s := &store{data: packed.Bytes(), about: map[string]any{"contentEncoding": "gzip"}, media: func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Encoding", "gzip")
		return false
	}}
	if got, err := all(t, s.object(t), 0); err != nil || !bytes.Equal(got, packed.Bytes()) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	s.media = func(_ int, w http.ResponseWriter, _ *http.Request) bool { // as Cloud Storage does, whatever the range
		_, _ = w.Write(some(500))
		return true
	}
	if _, err := s.object(t).Open(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "Content-Encoding gzip") {
		t.Errorf("unpacked: %v", err)
	}
}

func TestObjectAfterClose(t *testing.T) {
	r, err := (&store{data: some(9)}).object(t).Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("%v", err)
	}
}

// scripted is an object of 100 bytes whose n-th download answers as download says,
// without a network, so that pauses take no time in a bubble.
func scripted(t *testing.T, download func(n int) (body io.Reader, err error)) *content.StoredObject {
	t.Helper()
	n := 0
	script := &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
		res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: r}
		if r.URL.Query().Get("alt") != "media" {
			res.Body = io.NopCloser(strings.NewReader(`{"size": "100"}`))
			return res, nil
		}
		n++
		body, err := download(n)
		if err != nil {
			return nil, err
		}
		var from int
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		res.StatusCode, res.Body = http.StatusPartialContent, io.NopCloser(body)
		res.Header.Set("Content-Range", fmt.Sprintf("bytes %d-99/100", from))
		return res, nil
	})}
	o, err := content.Object(t.Context(), client(t, script, "http://storage.invalid/"), "letters", "a")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestObjectGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries, start := 0, time.Now()
		r, err := scripted(t, func(n int) (io.Reader, error) {
			tries = n
			return strings.NewReader(map[int]string{1: "a", 3: "b"}[n]), nil
		}).Open(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		got, err := io.ReadAll(r)
		if string(got) != "ab" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q, %v", got, err)
		}
		// The third brings a byte, so five more may bring none.
		if want := 200*time.Millisecond + (200+400+800+1600)*time.Millisecond; tries != 8 || time.Since(start) != want {
			t.Errorf("%d tries in %v; want 8 in %v", tries, time.Since(start), want)
		}
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("and again: %v", err)
		}
	})
}

func TestObjectWaitsNoLongerThanItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		r, err := scripted(t, func(n int) (io.Reader, error) {
			if n == 1 {
				return strings.NewReader("a"), nil
			}
			return nil, io.ErrClosedPipe
		}).Open(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		start := time.Now()
		if _, err := io.ReadAll(r); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 300*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}
