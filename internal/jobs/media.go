package jobs

import (
	"encoding/base64"
	"mime"
	"strings"
)

// Media is a file to upload: exactly one of Data and URI is set.
type Media struct {
	// Data is the file in base64, of either alphabet, with or without padding.
	Data string `json:"data,omitzero"`
	// URI is the file's place in Cloud Storage, as gs://BUCKET/OBJECT.
	URI string `json:"uri,omitzero"`
	// ContentType is the file's media type. For a file in Cloud Storage, that of
	// the object serves where it is empty.
	ContentType string `json:"contentType,omitzero"`

	content []byte // data, decoded
}

// Content is the file in data, decoded; nil where there is none.
func (m *Media) Content() []byte { return m.content }

func (m *Media) check() error {
	switch {
	case m == nil:
		return nil
	case m.Data != "" && m.URI != "":
		return Errorf("media", "has both data and uri; give exactly one")
	case m.Data == "" && m.URI == "":
		return Errorf("media", "is empty; give exactly one of data (base64) and uri (gs://BUCKET/OBJECT)")
	case m.Data != "" && m.ContentType == "":
		return Errorf("media.contentType", "is missing; give the media type of the data, such as image/png")
	}
	if m.ContentType != "" {
		if kind, _, err := mime.ParseMediaType(m.ContentType); err != nil || !strings.Contains(kind, "/") {
			return Errorf("media.contentType", "is %s; a media type such as image/png is expected", Quote(m.ContentType))
		}
	}
	if m.URI != "" {
		_, _, err := ObjectOf("media.uri", m.URI)
		return err
	}
	var err error
	m.content, err = decodeBase64("media.data", m.Data)
	return err
}

// decodeBase64 reads base64 of either alphabet, with or without padding: what
// is meant is clear in each case, and programs differ in what they write.
func decodeBase64(path, text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") { // the library would pass over them
		return nil, Errorf(path, "holds a line break; base64 on one line is expected")
	}
	standard := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	if padding := len(text) - len(standard); padding > 2 || padding > 0 && len(text)%4 != 0 {
		return nil, Errorf(path, "is not base64: its padding does not fit its length")
	}
	data, err := base64.RawStdEncoding.Strict().DecodeString(standard)
	if err != nil {
		return nil, Errorf(path, "is not base64: %s", err)
	}
	return data, nil
}

// Pages asks for several pages of a list, joined into one answer.
type Pages struct {
	// Max is how many pages are asked for at most.
	Max int `json:"max"`
}

// maxPages bounds the calls that one job makes.
const maxPages = 1000

func (p *Pages) check() error {
	if p != nil && (p.Max < 1 || p.Max > maxPages) {
		return Errorf("pages.max", "is %d; a number of pages from 1 to %d is expected", p.Max, maxPages)
	}
	return nil
}
