package actions

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/api/googleapi"

	"github.com/onbehalf-dev/onbehalf/internal/apierror"
)

// userAgent names us. Google compresses its answers only for those who say gzip
// in it (https://developers.google.com/workspace/gmail/api/guides/performance#gzip).
const userAgent = "onbehalf (gzip)"

// Do makes the call as the one whose token authorize puts on a request. An error
// is an [*Error].
func (c *Call) Do(ctx context.Context, authorize func(*http.Request)) (Answer, error) {
	s := &sending{Call: c, authorize: authorize}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { s.connected.Store(true) }})
	answer, err := s.answer(ctx)
	if err != nil {
		return Answer{}, sendError(err, s)
	}
	return answer, nil
}

// sending is a call on its way: as whom, and how far it has come.
type sending struct {
	*Call
	authorize func(*http.Request)
	// connected says that a connection is at hand; before, nothing can have been sent.
	connected atomic.Bool
	// whole says that the request was handed over to its end: before, nobody can
	// have carried it out.
	whole atomic.Bool
	// doubt says that an earlier request of the call may have carried it out.
	doubt bool
	// status is that of the last answer; 0 is none. retryAfter is what that asks for.
	status     int
	retryAfter time.Duration
}

// answer makes the call and reads what comes back.
func (s *sending) answer(ctx context.Context) (Answer, error) {
	switch {
	case s.job.Pages != nil:
		return s.pages(ctx)
	case s.job.Output != "":
		return s.download(ctx)
	}
	res, err := s.send(ctx, s.query)
	if err != nil {
		return Answer{}, err
	}
	defer res.Body.Close()
	return s.read(res)
}

// maxSimple is the longest media, in bytes, that goes in one request
// (https://developers.google.com/workspace/gmail/api/guides/uploads).
const maxSimple = 5 << 20

// send makes the request in the form that its media needs. The answer is a
// success; an error of Google's is a [*googleapi.Error].
func (s *sending) send(ctx context.Context, query url.Values) (*http.Response, error) {
	switch {
	case s.media == nil:
		return s.sendJSON(ctx, query, "json")
	case s.media.Size() <= maxSimple || s.method.Upload.Resumable == "":
		return s.sendMedia(ctx)
	}
	return s.sendResumable(ctx)
}

func (s *sending) sendJSON(ctx context.Context, query url.Values, alt string) (*http.Response, error) {
	req, err := s.request(ctx, s.method.Path, query, url.Values{"alt": {alt}}, int64(len(s.body)), bytes.NewReader(s.body))
	if err != nil {
		return nil, err
	}
	if s.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return s.success(s.do(req, true))
}

// request makes a request to the method. more are parameters that are not the
// job's.
func (s *sending) request(ctx context.Context, template string, query, more url.Values, size int64, body io.Reader) (*http.Request, error) {
	if size == 0 {
		body = http.NoBody
	}
	req, err := http.NewRequestWithContext(ctx, s.method.HTTPMethod, s.method.Root, body)
	if err != nil {
		return nil, err
	}
	req.URL.Path = "/" + template
	googleapi.Expand(req.URL, s.path)
	// Of {+x} the library leaves these as they are. net/url would then take the whole
	// path for one that is not encoded, and encode it in its own way.
	req.URL.RawPath = strings.NewReplacer("?", "%3F", "#", "%23").Replace(req.URL.RawPath)
	all := maps.Clone(query)
	all.Set("prettyPrint", "false")
	maps.Copy(all, more)
	req.URL.RawQuery = all.Encode()
	req.ContentLength = size
	return req, nil
}

// do sends one request. last says that with it, once it is whole, the call can be
// carried out.
func (s *sending) do(req *http.Request, last bool) (*http.Response, error) {
	req.Header.Set("User-Agent", userAgent)
	// With it the transport would send the call again by itself, also where the
	// other end has read all of it and only then reset the stream.
	req.GetBody = nil
	if s.Class == Once { // also where there is no body, which can always be sent again
		req = s.atMostOnce(req)
	}
	switch {
	case last && req.ContentLength == 0:
		s.whole.Store(true)
	case last:
		req.Body = &handedOver{ReadCloser: req.Body, left: req.ContentLength, whole: &s.whole}
	}
	s.authorize(req)
	s.status, s.retryAfter = 0, 0
	res, err := s.http.Do(req)
	if err != nil {
		var address *url.Error // it holds the address, in which anything may stand
		if errors.As(err, &address) {
			err = address.Err
		}
		return nil, err
	}
	s.status, s.retryAfter = res.StatusCode, apierror.RetryAfter(res.StatusCode, res.Header)
	return res, nil
}

// atMostOnce ends a request that the transport would send again. HTTP/2's does so
// without end where a stream is reset with PROTOCOL_ERROR, each time on another
// connection, though the other end may have carried it out. It does so after a
// GOAWAY, too, which cannot be told from here, and once more on the same connection
// where a stream is refused, which the other end has not looked at (RFC 9113, 8.7).
func (s *sending) atMostOnce(req *http.Request) *http.Request {
	var wrote atomic.Bool
	var conn net.Conn // of the request before
	ctx, cancel := context.WithCancel(req.Context())
	return req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders: func() { wrote.Store(true) },
		GotConn: func(got httptrace.GotConnInfo) {
			if wrote.Load() && got.Conn != conn {
				cancel()
			}
			conn = got.Conn
		},
	}))
}

// handedOver is a request's body that tells when all of it was read.
type handedOver struct {
	io.ReadCloser
	left  int64
	whole *atomic.Bool
}

func (h *handedOver) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	if h.left -= int64(n); h.left <= 0 {
		h.whole.Store(true)
	}
	return n, err
}

// maxError is how much of an error's answer is read, in bytes.
const maxError = 256 << 10

// success gives the answer if it is one; otherwise what it says.
func (s *sending) success(res *http.Response, err error) (*http.Response, error) {
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	res.Body = io.NopCloser(io.LimitReader(res.Body, maxError))
	return nil, googleapi.CheckResponse(res)
}
