package actions_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// oneObject answers for one object in Cloud Storage.
type oneObject struct {
	data   []byte
	broken error // of each download, after half of what was asked for
}

func (b *oneObject) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := func(status int, header http.Header, body io.Reader) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(body), Request: r}, nil
	}
	if r.URL.Query().Get("alt") != "media" {
		sum := base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, crc32.Checksum(b.data, crc32.MakeTable(crc32.Castagnoli))))
		return answer(200, http.Header{}, strings.NewReader(fmt.Sprintf(`{"bucket":"b","name":"o","size":"%d","generation":"7","crc32c":%q}`, len(b.data), sum)))
	}
	from := 0
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err != nil {
		return nil, err
	}
	var body io.Reader = bytes.NewReader(b.data[from:])
	if b.broken != nil {
		body = io.MultiReader(bytes.NewReader(b.data[from:from+(len(b.data)-from)/2]), failing{b.broken})
	}
	return answer(206, http.Header{"Content-Range": {fmt.Sprintf("bytes %d-%d/%d", from, len(b.data)-1, len(b.data))}}, body)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// step is what comes of one request of an upload.
type step struct {
	reads  int // of the body, in bytes; -1 is all
	keeps  int // of what was read, in bytes; -1 is all in whole pieces of 256 KiB
	status int // 0: the connection breaks
	at     string
	body   string
}

// Steps that come often.
var (
	begun  = step{status: 200, at: "https://gmail.googleapis.com/resumable/upload/1"}
	stores = step{reads: -1, keeps: -1, status: 200, body: `{"id":"18c"}`}
	tells  = step{status: 308}
)

func breaks(after int) step { return step{reads: after, keeps: -1} }

// session is Gmail's end of an upload, which follows a script.
type session struct {
	t        *testing.T
	script   []step
	got      []byte
	requests []string
}

const grain = 256 << 10

func (s *session) RoundTrip(r *http.Request) (*http.Response, error) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	if r.Header.Get("Authorization") != "Bearer ada" {
		s.t.Errorf("%s %s: not as the user", r.Method, r.URL)
	}
	s.requests = append(s.requests, strings.TrimSpace(r.Method+" "+r.URL.Host+" "+r.Header.Get("Content-Range")))
	s.announced(r)
	if len(s.script) == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	now := s.script[0]
	s.script = s.script[1:]
	var body io.Reader = http.NoBody
	if r.Body != nil {
		body = r.Body
	}
	if now.reads >= 0 {
		body = io.LimitReader(body, int64(now.reads))
	}
	read, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	if from := 0; r.Method == http.MethodPut {
		if _, err := fmt.Sscanf(r.Header.Get("Content-Range"), "bytes %d-", &from); err == nil {
			if from != len(s.got) {
				s.t.Errorf("sends from %d on; %d bytes are there", from, len(s.got))
			}
			s.keep(now, read, r.ContentLength)
		}
	}
	if now.status == 0 {
		return nil, errors.New("connection reset by peer")
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if now.at != "" {
		header.Set("Location", now.at)
	}
	if now.status == 308 && len(s.got) > 0 {
		header.Set("Range", "bytes=0-"+strconv.Itoa(len(s.got)-1))
	}
	if now.body != "" && now.status == 308 {
		header.Set("Range", now.body)
	}
	return &http.Response{StatusCode: now.status, Header: header, Body: io.NopCloser(strings.NewReader(now.body)), Request: r}, nil
}

// announced looks whether a request says of the letter what Google is to know.
func (s *session) announced(r *http.Request) {
	if r.Method == http.MethodPut {
		if r.ContentLength > 0 && r.Header.Get("Content-Type") != "message/rfc822" {
			s.t.Errorf("a part is of type %q", r.Header.Get("Content-Type"))
		}
		return
	}
	if r.URL.Path != "/upload/gmail/v1/users/me/messages" || r.URL.Query().Get("uploadType") != "resumable" || r.Header.Get("Content-Type") != "application/json" {
		s.t.Errorf("the upload begins at %s with %q", r.URL, r.Header.Get("Content-Type"))
	}
	if r.Header.Get("X-Upload-Content-Type") != "message/rfc822" || r.Header.Get("X-Upload-Content-Length") != strconv.Itoa(6<<20) {
		s.t.Errorf("the upload announces %v", r.Header)
	}
}

func (s *session) keep(now step, read []byte, announced int64) {
	n := len(read)
	if now.keeps >= 0 {
		n = now.keeps
	} else if int64(n) < announced {
		n -= n % grain
	}
	s.got = append(s.got, read[:n]...)
}

func TestResumableUpload(t *testing.T) {
	letter := make([]byte, 6<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(letter)
	copy(letter, "Message-ID: <1@x>\r\nSubject: long\r\n\r\n")
	first, all := fmt.Sprintf("0-%d/%d", len(letter)-1, len(letter)), fmt.Sprintf("*/%d", len(letter))
	from := func(n int) string {
		return fmt.Sprintf("PUT gmail.googleapis.com bytes %d-%d/%d", n, len(letter)-1, len(letter))
	}
	put, ask := "PUT gmail.googleapis.com bytes "+first, "PUT gmail.googleapis.com bytes "+all
	post := "POST gmail.googleapis.com"
	manyTimes := func(n int, steps ...step) []step {
		var out []step
		for range n {
			out = append(out, steps...)
		}
		return out
	}
	for name, c := range map[string]struct {
		script   []step
		broken   error // of the storage
		ok       bool
		doubtful bool
		status   int
		object   string
		requests []string // nil: any
	}{
		"in one go": {script: []step{begun, stores}, ok: true, requests: []string{post, put}},
		"two breaks": {
			script: []step{begun, breaks(1<<20 + 5), tells, breaks(2 << 20), tells, stores}, ok: true,
			requests: []string{post, put, ask, from(1 << 20), ask, from(3 << 20)},
		},
		"nothing arrived":       {script: []step{begun, breaks(100), tells, stores}, ok: true, requests: []string{post, put, ask, put}},
		"the answer is lost":    {script: []step{begun, {reads: -1, keeps: -1}, {status: 200, body: `{"id":"18c"}`}}, ok: true, requests: []string{post, put, ask}},
		"the end was not kept":  {script: []step{begun, {reads: -1, keeps: 5 << 20}, tells, stores}, ok: true, requests: []string{post, put, ask, from(5 << 20)}},
		"out of order for once": {script: []step{begun, {reads: grain, keeps: -1, status: 503}, tells, stores}, ok: true, requests: []string{post, put, ask, from(grain)}},
		"asking breaks, too":    {script: []step{begun, breaks(grain), {}, {status: 503}, {status: 429}, tells, stores}, ok: true},
		"often, but it comes further": {
			script: append(append([]step{begun}, manyTimes(20, breaks(grain), tells)...), stores), ok: true,
		},
		"all there, but not taken": {script: append(append([]step{begun, {reads: -1, keeps: 6 << 20}}, manyTimes(3, tells)...), step{status: 200, body: `{"id":"18c"}`}), ok: true},

		"refused":                     {script: []step{{status: 403}}, status: 403, requests: []string{post}},
		"no beginning":                {script: []step{{}}},
		"no beginning for now":        {script: []step{{status: 503}}, status: 503},
		"no session":                  {script: []step{{status: 200}}, requests: []string{post}},
		"a session elsewhere":         {script: []step{{status: 200, at: "https://example.com/upload"}}, requests: []string{post}},
		"a session at a bucket":       {script: []step{{status: 200, at: "https://bucket.storage.googleapis.com/upload"}}, requests: []string{post}},
		"a session in clear":          {script: []step{{status: 200, at: "http://gmail.googleapis.com/upload"}}, requests: []string{post}},
		"the letter is refused":       {script: []step{begun, {reads: -1, status: 400}}, status: 400},
		"it never comes further":      {script: append([]step{begun}, manyTimes(20, breaks(grain/2), tells)...)},
		"the session ends":            {script: []step{begun, breaks(grain), {status: 404}}},
		"the session ends at the end": {script: []step{begun, {reads: -1, keeps: -1}, {status: 410}}, doubtful: true},
		"more than there is":          {script: []step{begun, breaks(grain), {status: 308, body: "bytes=0-99999999"}}},
		"a range of another form":     {script: []step{begun, breaks(grain), {status: 308, body: "bytes=5-9"}}},
		"no word at the end":          {script: append([]step{begun, {reads: -1, keeps: -1}}, manyTimes(20, step{})...), doubtful: true},
		"503 at the end":              {script: append([]step{begun, {reads: -1, keeps: -1, status: 503}}, manyTimes(20, step{status: 503})...), doubtful: true, status: 503},
		"429 at the end":              {script: append([]step{begun, {reads: -1, keeps: -1, status: 429}}, manyTimes(20, step{status: 429})...), status: 429},
		"lost, then refused":          {script: []step{begun, {reads: -1, keeps: -1}, {status: 401}}, doubtful: true, status: 401},
		"not whole, then refused":     {script: []step{begun, breaks(grain), {status: 401}}, status: 401},
		"whole, told otherwise, lost": {script: append([]step{begun, {reads: -1, keeps: 5 << 20}, tells}, manyTimes(20, breaks(grain/2))...)},
		"time is up":                  {script: []step{begun, breaks(grain)}},
		"time is up at the end":       {script: []step{begun, {reads: -1, keeps: -1}}, doubtful: true},
		"the object cannot be read":   {script: []step{begun, stores}, broken: errors.New("disk"), object: "message.uri"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				gmail := &session{t: t, script: c.script}
				own := &oneObject{data: letter, broken: c.broken}
				a, err := actions.New(t.Context(), actions.Config{HTTP: &http.Client{Transport: gmail}, Own: &http.Client{Transport: own}})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				answer, err := upload(ctx, t, a)
				if c.ok {
					if err != nil || string(answer.Response) != `{"id":"18c"}` || !bytes.Equal(gmail.got, letter) {
						t.Errorf("%s, %v; %d of %d bytes arrived", answer.Response, err, len(gmail.got), len(letter))
					}
				} else {
					var e *actions.Error
					if !errors.As(err, &e) || e.Doubtful != c.doubtful || e.Status != c.status || e.Object != c.object {
						t.Errorf("got %#v; want doubtful %t, status %d, object %q", e, c.doubtful, c.status, c.object)
					}
				}
				if c.requests != nil && strings.Join(gmail.requests, "\n") != strings.Join(c.requests, "\n") {
					t.Errorf("requests:\n%s\nwant:\n%s", strings.Join(gmail.requests, "\n"), strings.Join(c.requests, "\n"))
				}
			})
		})
	}
}

func upload(ctx context.Context, t *testing.T, a *actions.Actions) (actions.Answer, error) {
	t.Helper()
	job, err := jobs.Decode([]byte(`{"user":"ada@example.com","action":"gmail.users.messages.insert","body":{"labelIds":["INBOX"]},"message":{"uri":"gs://bucket/object"}}`), "1")
	if err != nil {
		t.Fatal(err)
	}
	call, err := a.Prepare(ctx, job)
	if err != nil {
		t.Fatal(err)
	}
	if err := call.Load(ctx); err != nil {
		t.Fatal(err)
	}
	return call.Do(ctx, func(r *http.Request) { r.Header.Set("Authorization", "Bearer ada") })
}
