package sandbox

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"sync"
)

// uploadsKept bounds the resumable uploads that are open at a time; the oldest is
// dropped, as Google drops those of more than a week.
const uploadsKept = 1000

// uploadGrain is what every chunk but the last must be a multiple of, and what
// is kept of one that breaks off.
const uploadGrain = 256 << 10

// uploads are the resumable uploads that have begun.
type uploads struct {
	mu    sync.Mutex
	open  map[string]*upload
	order []string
}

// upload is one of them. Its address is all that is needed to go on with it.
type upload struct {
	in    *intake
	began *call // with the parameters that the media go under
	meta  []byte
	mime  string

	mu    sync.Mutex
	total int64 // announced, or -1
	got   []byte
	done  *reply
}

func newUploads() *uploads { return &uploads{open: map[string]*upload{}} }

func (u *uploads) add(id string, up *upload) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.open[id] = up
	u.order = append(u.order, id)
	if len(u.order) > uploadsKept {
		delete(u.open, u.order[0])
		u.order = u.order[1:]
	}
}

func (u *uploads) find(id string) *upload {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.open[id]
}

func uploadUser(c *call) string {
	if up := c.uploads.find(c.query.Get("upload_id")); up != nil {
		return up.began.tok.principal()
	}
	return ""
}

// open begins a resumable upload. The address it gives lies on this server,
// whatever name the client knows it by.
func (in *intake) open(c *call) reply {
	up := &upload{in: in, began: c, meta: c.body, mime: c.req.Header.Get("X-Upload-Content-Type"), total: -1}
	if a := in.checked(c, up.meta); a != nil {
		return *a
	}
	if up.mime != "" && !in.accepts(up.mime) {
		return in.badMedia(c, up.mime)
	}
	if n, err := strconv.ParseInt(c.req.Header.Get("X-Upload-Content-Length"), 10, 64); err == nil {
		up.total = n
	}
	if up.total > in.limit {
		return c.tooLarge()
	}
	id := c.newID() + c.newID()
	c.uploads.add(id, up)
	scheme := "http"
	if c.req.TLS != nil {
		scheme = "https"
	}
	q := url.Values{"uploadType": {"resumable"}, "upload_id": {id}}
	where := url.URL{Scheme: scheme, Host: c.req.Host, Path: c.req.URL.Path, RawPath: c.req.URL.RawPath, RawQuery: q.Encode()}
	return reply{status: http.StatusOK}.with("Location", where.String()).with("X-GUploader-UploadID", id)
}

// takeChunk takes a part of the media, or tells how much is there.
func (c *call) takeChunk() reply {
	defer c.drain()
	up := c.uploads.find(c.query.Get("upload_id"))
	if up == nil {
		return c.row("A14")
	}
	span, ok := parseRange(c.req.Header.Get("Content-Range"), c.req.ContentLength)
	switch {
	case !ok:
		return c.badRange()
	case max(span.total, span.from+span.length) > up.in.limit:
		return c.tooLarge().with("Connection", "close")
	case span.total < 0 && span.length%uploadGrain > 0:
		return c.refuse(http.StatusBadRequest, "badRequest", fmt.Sprintf("Chunk size %d is no multiple of %d.", span.length, uploadGrain))
	}
	at, err := up.receive(c.req.Body, span)
	switch {
	case errors.Is(err, errTooLarge):
		return c.tooLarge().with("Connection", "close")
	case err != nil:
		return reply{cut: true}
	case span.length == lengthUnknown:
		span.total = at
	}
	return up.state(c, span.total)
}

// drain reads what is left of a body, so that a client that is still sending gets
// the answer.
func (c *call) drain() {
	io.Copy(io.Discard, io.LimitReader(c.req.Body, limitObject)) //nolint:errcheck // what breaks off here is not wanted
}

func (c *call) badRange() reply {
	return c.refuse(http.StatusBadRequest, "badRequest", "Failed to parse Content-Range header.")
}

// receive takes in what the request brings of the media as it comes, and tells
// how far it came. Of a part that is not the last whole grains are kept, whether
// it breaks off or ends.
func (up *upload) receive(body io.Reader, span contentRange) (at int64, err error) {
	at = span.from
	piece := make([]byte, 64<<10)
	for {
		n, err := body.Read(piece)
		if err := up.add(at, piece[:n], span.total); err != nil {
			return at, err
		}
		at += int64(n)
		if errors.Is(err, io.EOF) {
			if at != span.total && span.length != lengthUnknown {
				up.settle(at)
			}
			return at, nil
		}
		if err != nil {
			up.settle(at)
			return at, err
		}
	}
}

// add keeps what is not there yet. What does not join on is passed over: the
// client is told where to go on.
func (up *upload) add(at int64, data []byte, total int64) error {
	up.mu.Lock()
	defer up.mu.Unlock()
	have := int64(len(up.got))
	if up.done != nil || at > have || at+int64(len(data)) <= have {
		return nil
	}
	if at+int64(len(data)) > up.in.limit {
		return errTooLarge
	}
	fresh := data[have-at:]
	up.got = append(room(up.got, len(fresh), max(total, up.total)), fresh...)
	return nil
}

// settle drops what is no whole grain behind the part that ended at a place,
// unless another request has gone on from there.
func (up *upload) settle(at int64) {
	up.mu.Lock()
	defer up.mu.Unlock()
	if int64(len(up.got)) == at {
		up.got = up.got[:whole(at)]
	}
}

// whole is a length less what is no whole grain.
func whole(n int64) int64 { return n - n%uploadGrain }

// state is the answer to the upload when all is there, and again when it is asked
// again, for it may have been lost; until then it is how much there is.
func (up *upload) state(c *call, total int64) reply {
	up.mu.Lock()
	defer up.mu.Unlock()
	have := int64(len(up.got))
	switch {
	case up.done != nil:
		return *up.done
	case total < 0 || have < total:
		return up.incomplete(c)
	case have > total:
		return c.badRange()
	}
	a := up.in.take(up.began, &media{up.meta, up.mime, present(up.got)})
	up.done, up.got = &a, nil
	return a
}

// incomplete is 308 with the part that is there; clients that ask for it get 200
// with the 308 in a header, since proxies take a 308 for a redirect.
func (up *upload) incomplete(c *call) reply {
	a := reply{status: http.StatusPermanentRedirect}
	if have := whole(int64(len(up.got))); have > 0 {
		a = a.with("Range", fmt.Sprintf("bytes=0-%d", have-1))
	}
	if c.req.Header.Get("X-GUploader-No-308") == "yes" {
		a.status = http.StatusOK
		a = a.with("X-Http-Status-Code-Override", "308")
	}
	return a
}

// contentRange is a Content-Range; total is -1 where it stands as *.
type contentRange struct{ from, length, total int64 }

// lengthUnknown is that of a body whose length no header tells.
const lengthUnknown = -1

// parseRange takes "bytes a-b/total", "bytes a-b/*", "bytes */total", and no
// header at all, which sends everything at once. The length is the body's.
func parseRange(header string, length int64) (contentRange, bool) {
	if header == "" {
		return contentRange{0, length, length}, true
	}
	m := regexp.MustCompile(`^bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)$`).FindStringSubmatch(header)
	if m == nil {
		return contentRange{}, false
	}
	out := contentRange{total: -1}
	if m[3] != "*" {
		out.total, _ = strconv.ParseInt(m[3], 10, 64) // digits, by the pattern
	}
	if m[1] == "" {
		return out, length == 0
	}
	out.from, _ = strconv.ParseInt(m[1], 10, 64) // digits, by the pattern
	last, _ := strconv.ParseInt(m[2], 10, 64)    // likewise
	out.length = last - out.from + 1
	fits := out.length > 0 && (out.total < 0 || last < out.total)
	return out, fits && (length == out.length || length == lengthUnknown)
}
