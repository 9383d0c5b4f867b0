package sandbox

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// An intake is what a method does with media. Gmail's letters, Drive's files and
// Cloud Storage's objects come by the same three ways: simple, multipart and
// resumable. Facts:
// https://developers.google.com/workspace/gmail/api/guides/uploads.
type intake struct {
	// check looks at what is said of the media, before they come; nil takes all.
	check func(c *call, meta []byte) *reply
	take  func(c *call, m *media) reply

	accept string // Discovery's: message/*, or */* for all
	limit  int64  // of the media
}

// media are what came, with what was said of them in JSON.
type media struct {
	meta []byte // empty: nothing was said
	mime string
	data []byte // nil: there are none, and not that they are empty
}

// routes are those of a method's upload addresses: for each the upload itself,
// and the parts of a resumable one, which Go's client posts and others put. Parts
// have a name of their own, so that one letter counts as one insert.
func (in *intake) routes(method *route, addresses ...string) []*route {
	var out []*route
	for _, at := range addresses {
		chunk := route{
			name: method.name + chunkSuffix, path: at, needs: "upload_id", stage: stageCall, streams: true,
			who: uploadUser, handle: (*call).takeChunk,
		}
		post, put, upload := chunk, chunk, *method
		post.method, put.method = http.MethodPost, http.MethodPut
		upload.path, upload.handle, upload.takesMedia = at, in.receive, true
		out = append(out, &post, &put, &upload)
	}
	return out
}

// receive takes what comes to an upload address.
func (in *intake) receive(c *call) reply {
	media, params, err := mime.ParseMediaType(c.req.Header.Get("Content-Type"))
	kind := c.query.Get("uploadType")
	if kind == "" && strings.HasPrefix(media, "multipart/") {
		kind = "multipart"
	}
	switch kind {
	case "resumable":
		return in.open(c)
	case "multipart":
		if err != nil || params["boundary"] == "" {
			return c.refuse(http.StatusBadRequest, "badContent", "Missing end boundary in multipart body.")
		}
		return in.multipart(c, params["boundary"])
	case "", "media":
		return in.accepted(c, nil, c.req.Header.Get("Content-Type"), c.body)
	}
	return c.refuse(http.StatusBadRequest, "badRequest", fmt.Sprintf("Invalid upload type: %q", kind))
}

// accepted hands on what has come, if it may.
func (in *intake) accepted(c *call, meta []byte, mime string, data []byte) reply {
	switch {
	case !in.accepts(mime):
		return in.badMedia(c, mime)
	case int64(len(data)) > in.limit:
		return c.tooLarge()
	}
	if a := in.checked(c, meta); a != nil {
		return *a
	}
	return in.take(c, &media{meta, mime, present(data)})
}

// present tells media that are empty from none.
func present(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}

func (in *intake) checked(c *call, meta []byte) *reply {
	if a := checkBody(c.route.facts, meta); a != nil {
		return a
	}
	if in.check == nil {
		return nil
	}
	return in.check(c, meta)
}

func (in *intake) accepts(mediaType string) bool {
	if in.accept == "*/*" {
		return true
	}
	plain, _, err := mime.ParseMediaType(mediaType)
	return err == nil && strings.HasPrefix(plain, strings.TrimSuffix(in.accept, "*"))
}

func (in *intake) badMedia(c *call, mime string) reply {
	return c.refuse(http.StatusBadRequest, "badContent",
		fmt.Sprintf("Media type '%s' is not supported. Valid media types: [%s]", mime, in.accept))
}

func (in *intake) multipart(c *call, boundary string) reply {
	parts, ok := related(c.body, boundary)
	if !ok {
		return c.refuse(http.StatusBadRequest, "badContent", "Missing end boundary in multipart body.")
	}
	data := parts[1].body
	if strings.EqualFold(parts[1].field("Content-Transfer-Encoding"), "base64") {
		var err error
		if data, err = decodeBase64(strings.Map(dropSpace, string(data))); err != nil {
			return c.refuse(http.StatusBadRequest, "badContent", "Invalid base64 in multipart body.")
		}
	}
	return in.accepted(c, bytes.TrimSpace(parts[0].body), parts[1].field("Content-Type"), data)
}

func dropSpace(r rune) rune {
	if r == '\r' || r == '\n' || r == ' ' || r == '\t' {
		return -1
	}
	return r
}

// part is one part of an upload; both slices lie in the request's body, so that
// a letter is never copied.
type part struct{ header, body []byte }

func (p part) field(name string) string { return field(p.header, name) }

// related splits an upload of two parts, metadata and media (RFC 2387). It is
// written by hand because mime/multipart copies what it reads.
func related(body []byte, boundary string) (out [2]part, ok bool) {
	delimiter := []byte("--" + boundary)
	_, rest, ok := cutDelimiter(body, delimiter)
	for i := 0; ok && i < len(out); i++ {
		var content []byte
		content, rest, ok = cutDelimiter(rest, delimiter)
		out[i] = splitPart(content)
	}
	return out, ok
}

// cutDelimiter cuts at the first line that begins with the delimiter. The line
// break before it belongs to it and not to the part (RFC 2046 section 5.1.1).
func cutDelimiter(b, delimiter []byte) (before, after []byte, ok bool) {
	for from := 0; ; {
		i := bytes.Index(b[from:], delimiter)
		if i < 0 {
			return nil, nil, false
		}
		at := from + i
		from = at + len(delimiter)
		if at > 0 && b[at-1] != '\n' {
			continue
		}
		line, rest, _ := bytes.Cut(b[from:], []byte("\n"))
		if tail := bytes.TrimSpace(line); len(tail) > 0 && string(tail) != "--" {
			continue // a longer boundary that begins like ours
		}
		before = bytes.TrimSuffix(b[:at], []byte("\n"))
		return bytes.TrimSuffix(before, []byte("\r")), rest, true
	}
}

// splitPart cuts a part at the blank line behind its header.
func splitPart(b []byte) part {
	if rest, ok := bytes.CutPrefix(b, []byte("\r\n")); ok {
		return part{body: rest}
	}
	if rest, ok := bytes.CutPrefix(b, []byte("\n")); ok {
		return part{body: rest}
	}
	crlf, before := bytes.Index(b, []byte("\r\n\r\n")), b
	if crlf >= 0 {
		before = b[:crlf]
	}
	if lf := bytes.Index(before, []byte("\n\n")); lf >= 0 {
		return part{b[:lf], b[lf+2:]}
	}
	if crlf >= 0 {
		return part{b[:crlf], b[crlf+4:]}
	}
	return part{header: b}
}
