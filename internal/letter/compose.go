package letter

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-message/textproto"

	"github.com/onbehalf-dev/onbehalf/internal/content"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Parts are what a letter needs beside its fields.
type Parts struct {
	// User is the author where the fields name none.
	User string
	// MessageID is the letter's own, in <>.
	MessageID string
	Date      time.Time
	// Seed tells the letter from others: its parts are kept apart by what is made
	// of it. The same seed makes the same letter.
	Seed string
	// Attachments are the contents of the fields' attachments, one for each.
	Attachments []content.Content
}

// Compose builds the MIME of a letter that [jobs.Decode] has checked. Attachments
// are read when the letter is.
func Compose(c *jobs.Compose, p Parts) (content.Content, error) {
	if len(p.Attachments) != len(c.Attachments) {
		return nil, fmt.Errorf("letter: %d contents for %d attachments", len(p.Attachments), len(c.Attachments))
	}
	fields, err := letterFields(c, p)
	if err != nil {
		return nil, err
	}
	w := &writer{seed: p.Seed}
	body := w.body(c, p.Attachments)
	header, err := header(append(fields, body.fields...))
	if err != nil {
		return nil, err
	}
	if err := textproto.WriteHeader(w, header); err != nil {
		return nil, err
	}
	if err := w.write(w, body); err != nil {
		return nil, err
	}
	return content.Join(append(w.done, content.Bytes(w.text))...), nil
}

// letterFields are the header fields that do not say how the letter is built.
func letterFields(c *jobs.Compose, p Parts) ([]field, error) {
	from, references := c.From, c.References
	switch {
	case from != "":
	case p.User != "":
		from = (&mail.Address{Address: p.User}).String()
	default:
		return nil, jobs.Errorf("message.compose.from", "is missing; only a job with a user has an author without it")
	}
	if len(references) == 0 && c.InReplyTo != "" { // RFC 5322, 3.6.4
		references = []string{c.InReplyTo}
	}
	fields := []field{{"Date", p.Date.Format("Mon, 02 Jan 2006 15:04:05 -0700")}}
	for _, list := range []struct {
		name      string
		mailboxes []string
	}{{"From", []string{from}}, {"To", c.To}, {"Cc", c.Cc}, {"Bcc", c.Bcc}, {"Reply-To", c.ReplyTo}} {
		value, err := mailboxes(list.mailboxes)
		if err != nil {
			return nil, fmt.Errorf("letter: %s: %w", list.name, err)
		}
		fields = append(fields, field{list.name, value})
	}
	fields = append(fields,
		field{"Subject", text(c.Subject)},
		field{"Message-ID", p.MessageID},
		field{"In-Reply-To", messageIDs(c.InReplyTo)},
		field{"References", messageIDs(references...)},
	)
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		fields = append(fields, field{name, headerText(c.Headers[name])})
	}
	return append(fields, field{"MIME-Version", "1.0"}), nil
}

// part is a part of the letter: text, or a file, or what has parts itself.
type part struct {
	fields []field
	text   string
	file   content.Content
	kind   string // of a multipart
	parts  []part
}

// body puts the letter's parts together as mail clients expect them, without
// levels that hold one part only.
func (w *writer) body(c *jobs.Compose, contents []content.Content) part {
	var forms []part
	if c.Text != "" {
		forms = append(forms, textPart("text/plain", c.Text))
	}
	var pictures, files []part
	for i, a := range c.Attachments {
		if a.ContentID != "" {
			pictures = append(pictures, filePart(a, "inline", contents[i]))
		} else {
			files = append(files, filePart(a, "attachment", contents[i]))
		}
	}
	if c.HTML != "" {
		forms = append(forms, w.multipart("related", append([]part{textPart("text/html", c.HTML)}, pictures...)))
	}
	return w.multipart("mixed", append([]part{w.multipart("alternative", forms)}, files...))
}

func (w *writer) multipart(kind string, parts []part) part {
	if len(parts) == 1 {
		return parts[0]
	}
	contentType := "multipart/" + kind + `; boundary="` + w.boundary(kind) + `"`
	if kind == "related" {
		contentType += `; type="text/html"` // RFC 2387, 3.1
	}
	return part{fields: []field{{"Content-Type", contentType}}, kind: kind, parts: parts}
}

func textPart(contentType, text string) part {
	return part{
		fields: []field{{"Content-Type", contentType + "; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"}},
		text:   text,
	}
}

func filePart(a jobs.Attachment, disposition string, file content.Content) part {
	contentType := typeByName(a.Name)
	if media, params, err := mime.ParseMediaType(a.ContentType); err == nil {
		contentType = mime.FormatMediaType(media, params)
	}
	fields := []field{
		// Outlook reads the name that RFC 2231 has no part in, all others the other.
		{"Content-Type", contentType + `; name="` + quoted(a.Name) + `"`},
		{"Content-Transfer-Encoding", "base64"},
		{"Content-Disposition", disposition + "; " + parameter("filename", a.Name)},
	}
	if a.ContentID != "" {
		fields = append(fields, field{"Content-ID", "<" + a.ContentID + ">"})
	}
	return part{fields: fields, file: file}
}

// writer is the letter as it is written: text, and files between it that are
// read later.
type writer struct {
	seed string
	done []content.Content
	text []byte // since the last file
}

func (w *writer) Write(p []byte) (int, error) {
	w.text = append(w.text, p...)
	return len(p), nil
}

// write writes what stands below a part's header. to leads to w itself, maybe by
// way of the multiparts around it, none of which holds anything back.
func (w *writer) write(to io.Writer, p part) error {
	switch {
	case p.parts != nil:
		return w.writeParts(to, p)
	case p.file != nil:
		w.done = append(w.done, content.Bytes(w.text), content.Base64(p.file))
		w.text = nil
		return nil
	}
	// The library would do this, too, but it drops a line feed that comes after a
	// carriage return and one character that it encodes.
	lines := strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n")
	body := quotedprintable.NewWriter(to)
	if _, err := lines.WriteString(body, p.text); err != nil {
		return err
	}
	return body.Close()
}

func (w *writer) writeParts(to io.Writer, p part) error {
	m := textproto.NewMultipartWriter(to)
	if err := m.SetBoundary(w.boundary(p.kind)); err != nil {
		return err
	}
	for _, child := range p.parts {
		header, err := header(child.fields)
		if err != nil {
			return err
		}
		body, err := m.CreatePart(header)
		if err != nil {
			return err
		}
		if err := w.write(body, child); err != nil {
			return err
		}
	}
	return m.Close()
}

// boundary is what keeps the parts of a multipart apart. Neither base64 nor
// quoted-printable can hold "=_" (RFC 2045, 6.7), so no text ends its part, also
// if its author knows the seed.
func (w *writer) boundary(kind string) string {
	sum := sha256.Sum256([]byte(kind + " " + w.seed))
	return "=_" + hex.EncodeToString(sum[:20])
}

// header is what the library writes.
func header(fields []field) (h textproto.Header, err error) {
	for _, f := range slices.Backward(fields) { // it puts each above the others
		if f.value == "" {
			continue
		}
		raw, err := f.folded()
		if err != nil {
			return h, err
		}
		h.AddRaw(raw)
	}
	return h, nil
}

// typeByName is the MIME type that a file's ending says.
func typeByName(name string) string {
	ending := strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))
	if known, ok := types[ending]; ok {
		return known
	}
	return "application/octet-stream"
}

// types are those of the files that people send. Go's own table depends on the
// machine.
var types = map[string]string{
	"avif": "image/avif",
	"bmp":  "image/bmp",
	"csv":  "text/csv",
	"doc":  "application/msword",
	"docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	"epub": "application/epub+zip",
	"gif":  "image/gif",
	"gz":   "application/gzip",
	"heic": "image/heic",
	"htm":  "text/html",
	"html": "text/html",
	"ics":  "text/calendar",
	"jpeg": "image/jpeg",
	"jpg":  "image/jpeg",
	"json": "application/json",
	"m4a":  "audio/mp4",
	"md":   "text/markdown",
	"mov":  "video/quicktime",
	"mp3":  "audio/mpeg",
	"mp4":  "video/mp4",
	"odp":  "application/vnd.oasis.opendocument.presentation",
	"ods":  "application/vnd.oasis.opendocument.spreadsheet",
	"odt":  "application/vnd.oasis.opendocument.text",
	"ogg":  "audio/ogg",
	"pdf":  "application/pdf",
	"png":  "image/png",
	"ppt":  "application/vnd.ms-powerpoint",
	"pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	"rtf":  "application/rtf",
	"svg":  "image/svg+xml",
	"tar":  "application/x-tar",
	"tif":  "image/tiff",
	"tiff": "image/tiff",
	"txt":  "text/plain",
	"vcf":  "text/vcard",
	"wav":  "audio/wav",
	"webm": "video/webm",
	"webp": "image/webp",
	"xls":  "application/vnd.ms-excel",
	"xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	"xml":  "application/xml",
	"yaml": "application/yaml",
	"zip":  "application/zip",
}
