package letter_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
)

// read is a letter as a parser reads it that is not the library that wrote it.
type read struct {
	Headers []string          `json:"headers"` // names, in lower case and order
	Boxes   map[string][]box  `json:"boxes"`   // by header, likewise
	Texts   map[string]string `json:"texts"`   // of the other headers
	Bodies  map[string]string `json:"bodies"`  // by type
	Files   []file            `json:"files"`
	Tree    string            `json:"tree"`
}

type box struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

type file struct {
	Name        string `json:"name"`
	OldName     string `json:"oldName"` // as Outlook reads it
	Type        string `json:"type"`
	Disposition string `json:"disposition"`
	ID          string `json:"id"`
	Data        []byte `json:"data"`
}

var boxed = []string{"from", "to", "cc", "bcc", "reply-to"}

// readBack reads a letter with the standard library.
func readBack(letter []byte) (*read, error) {
	for i, line := range strings.SplitAfter(string(letter), "\n") {
		if len(strings.TrimSuffix(line, "\r\n")) > 998 || strings.Count(line, "\r") != strings.Count(line, "\n") || strings.HasSuffix(line, "\n") != strings.HasSuffix(line, "\r\n") {
			return nil, fmt.Errorf("line %d is no line of a mail: %q", i, line)
		}
	}
	if i := bytes.IndexFunc(letter, func(r rune) bool { return !strings.ContainsRune("\r\n\t", r) && (r < ' ' || r > '~') }); i >= 0 {
		return nil, fmt.Errorf("byte %d is not ASCII", i)
	}
	m, err := mail.ReadMessage(bytes.NewReader(letter))
	if err != nil {
		return nil, err
	}
	r := &read{Boxes: map[string][]box{}, Texts: map[string]string{}, Bodies: map[string]string{}}
	for name, values := range m.Header {
		name = strings.ToLower(name)
		for range values {
			r.Headers = append(r.Headers, name)
		}
		if slices.Contains(boxed, name) {
			list, err := m.Header.AddressList(name)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			for _, a := range list {
				r.Boxes[name] = append(r.Boxes[name], box{a.Name, a.Address})
			}
			continue
		}
		if !strings.HasPrefix(name, "content-") {
			if r.Texts[name], err = new(mime.WordDecoder).DecodeHeader(values[0]); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	slices.Sort(r.Headers)
	r.Tree, err = r.part(m.Header, m.Body)
	return r, err
}

func (r *read) part(header map[string][]string, body io.Reader) (tree string, err error) {
	get := mail.Header(header).Get
	media, params, err := mime.ParseMediaType(get("Content-Type"))
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(media, "multipart/") {
		var trees []string
		for parts := multipart.NewReader(body, params["boundary"]); ; {
			p, err := parts.NextRawPart()
			if errors.Is(err, io.EOF) {
				return strings.TrimPrefix(media, "multipart/") + "(" + strings.Join(trees, " ") + ")", nil
			}
			if err != nil {
				return "", err
			}
			for name := range maps.Keys(p.Header) {
				if !slices.Contains([]string{"Content-Type", "Content-Transfer-Encoding", "Content-Disposition", "Content-Id"}, name) {
					return "", fmt.Errorf("a part has the header %s", name)
				}
			}
			below, err := r.part(p.Header, p)
			if err != nil {
				return "", err
			}
			trees = append(trees, below)
		}
	}
	switch get("Content-Transfer-Encoding") {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	default:
		return "", fmt.Errorf("encoding %q", get("Content-Transfer-Encoding"))
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	if get("Content-Disposition") == "" {
		r.Bodies[media] += string(data)
		return media, nil
	}
	disposition, where, err := mime.ParseMediaType(get("Content-Disposition"))
	if err != nil {
		return "", err
	}
	oldName, err := new(mime.WordDecoder).DecodeHeader(params["name"])
	if err != nil {
		return "", err
	}
	r.Files = append(r.Files, file{
		Name: where["filename"], OldName: oldName, Type: media, Disposition: disposition, Data: data,
		ID: strings.Trim(get("Content-Id"), "<>"),
	})
	return media, nil
}
