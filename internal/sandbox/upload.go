package sandbox

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// fromUpload takes a letter from an upload address: simple, multipart, or the
// start of a resumable one. Facts:
// https://developers.google.com/workspace/gmail/api/guides/uploads.
func (d delivery) fromUpload(c *call, box *mailbox) reply {
	media, params, err := mime.ParseMediaType(c.req.Header.Get("Content-Type"))
	kind := c.query.Get("uploadType")
	if kind == "" && strings.HasPrefix(media, "multipart/") {
		kind = "multipart"
	}
	switch kind {
	case "resumable":
		return d.open(c)
	case "multipart":
		if err != nil || params["boundary"] == "" {
			return c.refuse(http.StatusBadRequest, "badContent", "Missing end boundary in multipart body.")
		}
		return d.fromMultipart(c, box, params["boundary"])
	case "", "media":
		if !isLetter(media) {
			return c.badMedia(c.req.Header.Get("Content-Type"))
		}
		return d.accept(c, box, &parcel{raw: c.body})
	}
	return c.refuse(http.StatusBadRequest, "badRequest", fmt.Sprintf("Invalid upload type: %q", kind))
}

// isLetter is the Discovery document's mediaUpload.accept: message/*.
func isLetter(media string) bool { return strings.HasPrefix(media, "message/") }

func (c *call) badMedia(media string) reply {
	return c.refuse(http.StatusBadRequest, "badContent",
		fmt.Sprintf("Media type '%s' is not supported. Valid media types: [message/*]", media))
}

func (d delivery) fromMultipart(c *call, box *mailbox, boundary string) reply {
	parts, ok := related(c.body, boundary)
	if !ok {
		return c.refuse(http.StatusBadRequest, "badContent", "Missing end boundary in multipart body.")
	}
	var p parcel
	if len(bytes.TrimSpace(parts[0].body)) > 0 {
		if err := strictJSON(parts[0].body, &p.meta); err != nil {
			return badJSON(err, "message")
		}
	}
	letter := parts[1]
	if media, _, err := mime.ParseMediaType(letter.field("Content-Type")); err != nil || !isLetter(media) {
		return c.badMedia(letter.field("Content-Type"))
	}
	p.raw = letter.body
	if strings.EqualFold(letter.field("Content-Transfer-Encoding"), "base64") {
		raw, err := decodeBase64(strings.Map(dropSpace, string(letter.body)))
		if err != nil {
			return c.refuse(http.StatusBadRequest, "badContent", "Invalid base64 in multipart body.")
		}
		p.raw = raw
	}
	return d.accept(c, box, &p)
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
