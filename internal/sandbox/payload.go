package sandbox

import (
	"bytes"
	"encoding/base64"
	"html"
	"io"
	"mime"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // text in the mails' own charsets
)

const (
	partDepth  = 30  // a hostile letter may nest without end
	snippetLen = 200 // runes, about what Gmail shows
	searchLen  = 64 << 10
)

// walker makes the payload of a letter and hands out each decoded leaf.
type walker struct {
	letter string
	leaf   func(p *partOut, data []byte)
}

// parsePayload is the "payload" of format=full. Text stands in the parts;
// attachments are fetched by their id.
func parsePayload(l *letter) *partOut {
	w := walker{letter: l.id, leaf: func(p *partOut, data []byte) {
		p.Body.Size = len(data)
		if p.Filename == "" && strings.HasPrefix(p.MimeType, "text/") {
			p.Body.Data = base64.URLEncoding.EncodeToString(data)
			return
		}
		p.Body.AttachmentID = attachmentID(l.id, p.PartID)
	}}
	return w.read(l.raw)
}

func attachmentID(letter, part string) string {
	return "ANGjdJ" + base64.RawURLEncoding.EncodeToString([]byte(letter+":"+part))
}

func attachmentOf(l *letter, id string) (data []byte, ok bool) {
	w := walker{letter: l.id, leaf: func(p *partOut, leaf []byte) {
		if attachmentID(l.id, p.PartID) == id {
			data, ok = leaf, true
		}
	}}
	w.read(l.raw)
	return data, ok
}

// read parses what can be: a letter that breaks off is shown up to there.
func (w *walker) read(raw []byte) *partOut {
	e, err := message.Read(bytes.NewReader(raw))
	if e == nil {
		_ = err // not a message at all: Gmail shows it as text
		p := &partOut{MimeType: "text/plain"}
		w.leaf(p, raw)
		return p
	}
	return w.part(e, "", 0)
}

func (w *walker) part(e *message.Entity, id string, depth int) *partOut {
	media, params, err := e.Header.ContentType()
	if err != nil || media == "" {
		media = "text/plain"
	}
	p := &partOut{PartID: id, MimeType: media, Filename: filename(e, params), Headers: headers(e)}
	if mr := e.MultipartReader(); mr != nil && depth < partDepth {
		for i := 0; ; i++ {
			child, err := mr.NextPart()
			if child == nil || err != nil && !message.IsUnknownCharset(err) && !message.IsUnknownEncoding(err) {
				return p
			}
			p.Parts = append(p.Parts, w.part(child, childID(id, i), depth+1))
		}
	}
	data, _ := io.ReadAll(e.Body) // what came before an error is shown
	w.leaf(p, data)
	return p
}

func childID(parent string, i int) string {
	if parent == "" {
		return strconv.Itoa(i)
	}
	return parent + "." + strconv.Itoa(i)
}

func filename(e *message.Entity, params map[string]string) string {
	_, disposition, err := e.Header.ContentDisposition()
	if err == nil && disposition["filename"] != "" {
		return disposition["filename"]
	}
	name, err := new(mime.WordDecoder).DecodeHeader(params["name"])
	if err != nil {
		return params["name"]
	}
	return name
}

// headers keep their order and the spelling of their names; values are decoded.
func headers(e *message.Entity) []headerOut {
	var out []headerOut
	for f := e.Header.Fields(); f.Next(); {
		name := f.Key()
		if raw, err := f.Raw(); err == nil {
			if head, _, ok := bytes.Cut(raw, []byte(":")); ok {
				name = strings.TrimSpace(string(head))
			}
		}
		value, err := f.Text()
		if err != nil {
			value = f.Value()
		}
		out = append(out, headerOut{Name: name, Value: value})
	}
	return out
}

// content is what searching and listing look at.
type content struct {
	headers []headerOut
	snippet string
	words   string // lower case: headers that a search covers, and the text
}

func (c *content) decoded(name string) string {
	for _, h := range c.headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

func parseContent(raw []byte) *content {
	var text string
	w := walker{leaf: func(p *partOut, data []byte) {
		if text == "" && p.Filename == "" && strings.HasPrefix(p.MimeType, "text/") {
			text = string(data[:min(len(data), searchLen)])
		}
	}}
	c := &content{headers: w.read(raw).Headers}
	c.words = strings.ToLower(c.decoded("Subject") + "\n" + c.decoded("From") + "\n" + c.decoded("To") + "\n" + text)
	c.snippet = html.EscapeString(shorten(strings.Join(strings.Fields(text), " ")))
	return c
}

func shorten(s string) string {
	s = strings.ToValidUTF8(s, "�")
	if utf8.RuneCountInString(s) <= snippetLen {
		return s
	}
	return string([]rune(s)[:snippetLen])
}
