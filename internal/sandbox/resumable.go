package sandbox

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"sync"
)

// uploadsKept bounds the resumable uploads that are open at a time; the oldest is
// dropped, as Google drops those of more than a week.
const uploadsKept = 1000

// uploadGrain is what every chunk but the last must be a multiple of.
const uploadGrain = 256 << 10

// uploads are the resumable uploads that have begun.
type uploads struct {
	mu    sync.Mutex
	open  map[string]*upload
	order []string
}

// upload is one of them. Its address is all that is needed to go on with it.
type upload struct {
	mu    sync.Mutex
	who   *person
	meta  messageIn
	query url.Values // of the request that began it
	total int64      // announced, or -1
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
		return up.who.email
	}
	return ""
}

// open begins a resumable upload. The address it gives lies on this server,
// whatever name the client knows it by.
func (d delivery) open(c *call) reply {
	up := &upload{who: c.tok.person, query: c.query, total: -1}
	if len(c.body) > 0 {
		if err := strictJSON(c.body, &up.meta); err != nil {
			return badJSON(err, "message")
		}
	}
	if media := c.req.Header.Get("X-Upload-Content-Type"); media != "" && !isLetter(media) {
		return c.badMedia(media)
	}
	if n, err := strconv.ParseInt(c.req.Header.Get("X-Upload-Content-Length"), 10, 64); err == nil {
		up.total = n
	}
	if up.total > d.limit {
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

// fromChunk takes a part of the letter, or tells how much is there.
func (d delivery) fromChunk(c *call) reply {
	up := c.uploads.find(c.query.Get("upload_id"))
	if up == nil {
		return c.row("A14")
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	if up.done != nil {
		return *up.done // asked again: the answer may have been lost
	}
	span, ok := parseRange(c.req.Header.Get("Content-Range"), int64(len(c.body)))
	if !ok || span.total > d.limit || int64(len(up.got))+int64(len(c.body)) > d.limit {
		return c.badChunk(ok)
	}
	have := int64(len(up.got))
	switch {
	case len(c.body) > 0 && span.from > have:
		return up.incomplete(c) // a gap: the client is told where to go on
	case len(c.body) > 0 && span.from+int64(len(c.body)) > have:
		if span.total < 0 && len(c.body)%uploadGrain != 0 {
			return c.refuse(http.StatusBadRequest, "badRequest", fmt.Sprintf("Chunk size %d is no multiple of %d.", len(c.body), uploadGrain))
		}
		up.got = append(up.got, c.body[have-span.from:]...)
	}
	if span.total < 0 || int64(len(up.got)) < span.total {
		return up.incomplete(c)
	}
	return d.finish(c, up)
}

// badChunk refuses a range that is too large, or that cannot be understood.
func (c *call) badChunk(understood bool) reply {
	if understood {
		return c.tooLarge()
	}
	return c.refuse(http.StatusBadRequest, "badRequest", "Failed to parse Content-Range header.")
}

// finish files the letter under the parameters with which the upload began.
func (d delivery) finish(c *call, up *upload) reply {
	c.query = up.query
	a := d.accept(c, up.who.box, &parcel{meta: up.meta, raw: up.got})
	up.done, up.got = &a, nil
	return a
}

// incomplete is 308 with the part that is there; clients that ask for it get 200
// with the 308 in a header, since proxies take a 308 for a redirect.
func (up *upload) incomplete(c *call) reply {
	a := reply{status: http.StatusPermanentRedirect}
	if len(up.got) > 0 {
		a = a.with("Range", fmt.Sprintf("bytes=0-%d", len(up.got)-1))
	}
	if c.req.Header.Get("X-GUploader-No-308") == "yes" {
		a.status = http.StatusOK
		a = a.with("X-Http-Status-Code-Override", "308")
	}
	return a
}

// contentRange is a Content-Range; total is -1 where it stands as *.
type contentRange struct{ from, total int64 }

// parseRange takes "bytes a-b/total", "bytes a-b/*", "bytes */total", and no
// header at all, which sends everything at once.
func parseRange(header string, length int64) (contentRange, bool) {
	if header == "" {
		return contentRange{0, length}, true
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
	last, err := strconv.ParseInt(m[2], 10, 64)
	return out, err == nil && last-out.from+1 == length
}
