package actions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// maxGathered is the longest request, in bytes, that is put together before it
// is sent. Then it leaves in one write.
const maxGathered = 1 << 20

// sendMedia sends the body and the media in one request, or the media alone where
// the method takes no body.
func (s *sending) sendMedia(ctx context.Context) (*http.Response, error) {
	before, after, contentType, uploadType := []byte(nil), []byte(nil), s.mediaType, "media"
	if s.method.Request != nil {
		var err error
		if before, after, contentType, err = s.frame(); err != nil {
			return nil, err
		}
		uploadType = "multipart"
	}
	media, err := s.open(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer media.Close()
	size := int64(len(before)) + s.media.Size() + int64(len(after))
	body := io.MultiReader(bytes.NewReader(before), media, bytes.NewReader(after))
	if size <= maxGathered {
		gathered := make([]byte, size)
		if _, err := io.ReadFull(body, gathered); err != nil {
			return nil, err
		}
		body = bytes.NewReader(gathered)
	}
	more := url.Values{"alt": {"json"}, "uploadType": {uploadType}}
	req, err := s.request(ctx, s.method.Upload.Simple, s.query, more, size, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	return s.success(s.do(req, true))
}

// frame is what stands around the media in a multipart request.
func (s *sending) frame() (before, after []byte, contentType string, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	meta, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/json"}})
	if err == nil {
		_, err = meta.Write(s.body)
	}
	if err == nil {
		_, err = w.CreatePart(textproto.MIMEHeader{"Content-Type": {s.mediaType}})
	}
	at := b.Len()
	err = errors.Join(err, w.Close())
	return b.Bytes()[:at], b.Bytes()[at:], "multipart/related; boundary=" + w.Boundary(), err
}

// mediaField is the field of the job that the media comes from.
func (c *Call) mediaField() string {
	switch {
	case c.job.Media != nil:
		return "media.uri"
	case c.job.Message.Compose != nil:
		return "message.compose.attachments"
	}
	return "message.uri"
}

// open opens the media for a request.
func (s *sending) open(ctx context.Context, from int64) (*mediaReader, error) {
	ctx, stop := context.WithCancel(ctx)
	media, err := s.media.Open(ctx, from)
	if err != nil {
		stop()
		return nil, &objectError{s.mediaField(), err}
	}
	return &mediaReader{media: media, stop: stop, field: s.mediaField()}, nil
}

// mediaReader says of an error that it came up while reading the media. A transport
// may go on reading after it has answered, and close at the same time: one thing
// happens at a time here, and nothing after Close.
type mediaReader struct {
	stop  context.CancelFunc // ends a read that waits
	field string

	mu     sync.Mutex
	media  io.ReadCloser
	closed bool
}

func (r *mediaReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, fs.ErrClosed
	}
	n, err := r.media.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &objectError{r.field, err}
	}
	return n, err
}

func (r *mediaReader) Close() error {
	r.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	return r.media.Close()
}

// How a resumable upload goes on.
const (
	// maxBroken is how often in a row it may break without having come further.
	maxBroken = 6
	// firstPause is how long it waits after a break, and maxPause how long at most.
	firstPause = 500 * time.Millisecond
	maxPause   = 16 * time.Second
)

// sendResumable sends the media by the resumable protocol: after a broken connection
// it asks how much has arrived, and goes on from there
// (https://developers.google.com/workspace/gmail/api/guides/uploads#resumable).
func (s *sending) sendResumable(ctx context.Context) (*http.Response, error) {
	session, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	for at, broken := int64(0), 0; broken <= maxBroken; broken++ {
		res, err := s.putOrAsk(ctx, session, at, &broken)
		if err != nil {
			return nil, err
		}
		switch res.StatusCode {
		case http.StatusPermanentRedirect:
		case http.StatusNotFound, http.StatusGone:
			return nil, s.lost(res)
		default:
			return s.success(res, nil)
		}
		there, err := s.arrived(res)
		if err != nil {
			return nil, err
		}
		if there > at {
			broken = -1
		}
		at = there
	}
	return nil, errSession
}

// putOrAsk sends the media from there on. Where that breaks it asks how far it came,
// until there is an answer or it has broken too often.
func (s *sending) putOrAsk(ctx context.Context, session *url.URL, at int64, broken *int) (*http.Response, error) {
	res, err := s.put(ctx, session, at)
	for ; err != nil || passing(res.StatusCode); *broken++ {
		s.doubt = s.doubt || s.whole.Load() && (err != nil || unclear(res.StatusCode))
		if err := s.pause(ctx, *broken, res, err); err != nil {
			return nil, err
		}
		res, err = s.ask(ctx, session)
	}
	return res, nil
}

// lost says that the session is no more. What it says is no answer to the call: that
// may have been carried out before, if all of the media had arrived.
func (s *sending) lost(res *http.Response) error {
	s.whole.Store(s.doubt)
	return errors.Join(errSession, res.Body.Close())
}

// passing tells whether a status says to try again.
func passing(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusRequestTimeout ||
		status >= http.StatusInternalServerError && status != http.StatusNotImplemented
}

// pause waits after a break. It gives what broke where that was once too often, or
// is not the connection's fault.
func (s *sending) pause(ctx context.Context, broken int, res *http.Response, err error) error {
	if err == nil && broken >= maxBroken {
		_, err := s.success(res, nil) //nolint:bodyclose // it closes what is no success
		return err
	}
	if res != nil {
		_ = res.Body.Close()
	}
	var media *objectError
	if err != nil && (broken >= maxBroken || errors.As(err, &media)) {
		return err
	}
	wait := min(maxPause, firstPause<<broken)
	timer := time.NewTimer(wait/2 + rand.N(wait/2)) //nolint:gosec // jitter is no secret
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), err)
	}
}

var errSession = errors.New("the upload's session is not as the protocol has it")

// begin opens a session, with the body, and gives its address.
func (s *sending) begin(ctx context.Context) (*url.URL, error) {
	more := url.Values{"alt": {"json"}, "uploadType": {"resumable"}}
	req, err := s.request(ctx, s.method.Upload.Simple, s.query, more, int64(len(s.body)), bytes.NewReader(s.body))
	if err != nil {
		return nil, err
	}
	if s.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("X-Upload-Content-Type", s.mediaType)
	req.Header.Set("X-Upload-Content-Length", strconv.FormatInt(s.media.Size(), 10))
	res, err := s.success(s.do(req, false))
	if err != nil {
		return nil, err
	}
	_ = res.Body.Close()
	session, err := res.Location()
	if err != nil {
		return nil, errSession
	}
	// A letter goes to whom it was announced to, and to no other.
	if to := res.Request.URL; session.Scheme != to.Scheme || session.Host != to.Host {
		return nil, errSession
	}
	return session, nil
}

// put sends the media from there on.
func (s *sending) put(ctx context.Context, session *url.URL, at int64) (*http.Response, error) {
	size := s.media.Size()
	if at == size {
		return s.ask(ctx, session)
	}
	media, err := s.open(ctx, at)
	if err != nil {
		return nil, err
	}
	defer media.Close()
	req, err := s.chunk(ctx, session, size-at, media)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", s.mediaType)
	req.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", at, size-1, size))
	return s.do(req, true)
}

// ask asks how much has arrived.
func (s *sending) ask(ctx context.Context, session *url.URL) (*http.Response, error) {
	req, err := s.chunk(ctx, session, 0, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Range", fmt.Sprintf("bytes */%d", s.media.Size()))
	return s.do(req, false)
}

func (s *sending) chunk(ctx context.Context, session *url.URL, size int64, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, session.String(), body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = size
	return req, nil
}

var rangeForm = regexp.MustCompile(`^bytes=0-([0-9]{1,18})$`)

// arrived is how many bytes an answer says are there.
func (s *sending) arrived(res *http.Response) (int64, error) {
	_ = res.Body.Close()
	there := int64(0)
	if header := res.Header.Get("Range"); header != "" {
		m := rangeForm.FindStringSubmatch(header)
		if m == nil {
			return 0, errSession
		}
		last, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return 0, err
		}
		there = last + 1
	}
	switch size := s.media.Size(); {
	case there > size:
		return 0, errSession
	case there < size: // so that nothing can have been carried out
		s.whole.Store(false)
		s.doubt = false
	}
	return there, nil
}
