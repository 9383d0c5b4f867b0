package letter_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/internal/content"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/letter"
)

// Whatever stands in the fields, either their author is told which of them is
// wrong, or a reader finds what they say and not one header field more.
func FuzzCompose(f *testing.F) {
	add := func(c *jobs.Compose) {
		first := func(list []string) string { return strings.Join(list[:min(1, len(list))], "") }
		var a jobs.Attachment
		if len(c.Attachments) > 0 {
			a = c.Attachments[len(c.Attachments)-1]
		}
		var name, value string
		for name, value = range c.Headers {
			break
		}
		f.Add(c.From, first(c.To), c.Subject, c.Text, c.HTML, a.Name, a.ContentType, a.Data, a.ContentID, name, value, c.InReplyTo, first(c.References))
	}
	for _, c := range nasty {
		add(c)
	}
	const line = "a\r\nBcc: x@y.zz"
	add(&jobs.Compose{
		From: line, To: []string{line}, Subject: line, Text: line, HTML: line, Headers: map[string]string{line: line}, InReplyTo: line, References: []string{line},
		Attachments: []jobs.Attachment{{Name: line, ContentType: line, Data: line, ContentID: line}},
	})
	f.Fuzz(func(t *testing.T, from, to, subject, text, html, name, contentType, data, id, header, value, inReplyTo, reference string) {
		c := &jobs.Compose{From: from, Subject: subject, Text: text, HTML: html, InReplyTo: inReplyTo}
		if to != "" {
			c.To, c.Cc = []string{to, ada}, []string{ada, to}
		}
		if name+contentType+data+id != "" {
			c.Attachments = []jobs.Attachment{{Name: "first", Data: "MQ"}, {Name: name, ContentType: contentType, Data: data, ContentID: id}}
		}
		if header+value != "" {
			c.Headers = map[string]string{header: value, "X-Other": "o"}
		}
		if reference != "" {
			c.References = []string{reference, "<r@x>"}
		}
		for _, s := range []string{from, to, subject, text, html, name, contentType, data, id, header, value, inReplyTo, reference} {
			if !utf8.ValidString(s) {
				t.Skip("what is no UTF-8 is no JSON")
			}
		}
		c, err := checked(c)
		if err != nil {
			if field := new(jobs.FieldError); !errors.As(err, &field) {
				t.Fatal(err)
			}
			return
		}
		composed, err := compose(c)
		if err != nil {
			t.Fatal(err)
		}
		all := whole(t, composed, 0)
		if int64(len(all)) != composed.Size() {
			t.Errorf("%d bytes; Size is %d", len(all), composed.Size())
		}
		got, err := readBack(all)
		if err != nil {
			t.Fatalf("%v\n%s", err, all)
		}
		got.Tree = ""
		for i := range got.Files {
			got.Files[i].Type = ""
		}
		if diff := cmp.Diff(want(t, c), got); diff != "" {
			t.Errorf("%s\n%s", diff, all)
		}
	})
}

// What comes out is the letter with at most one line put in, and the standard
// library's parser finds a Message-ID in it where it can read it at all.
func FuzzWithMessageID(f *testing.F) {
	files, err := filepath.Glob("../../cmd/onbehalf/testdata/letters/*.eml")
	if err != nil || len(files) == 0 {
		f.Fatal("no letters", err)
	}
	for _, file := range files {
		letter, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(letter)
	}
	f.Add([]byte("From x\n\n"))
	f.Add([]byte("Message-ID:\r\n \r\n\r\n"))
	f.Add([]byte("a:b\rMessage-ID: <x@y>\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := letter.WithMessageID(t.Context(), content.Bytes(raw), ours)
		if err != nil {
			if field := new(jobs.FieldError); !errors.As(err, &field) {
				t.Fatal(err)
			}
			return
		}
		got := whole(t, c, 0)
		if !bytes.Equal(got, raw) {
			at := bytes.Index(got, []byte("Message-ID: "+ours))
			if at < 0 {
				t.Fatalf("%q became %q", raw, got)
			}
			end := at + bytes.IndexByte(got[at:], '\n') + 1
			if rest := append(bytes.Clone(got[:at]), got[end:]...); !bytes.Equal(rest, raw) || bytes.Count(got, []byte("\n")) != bytes.Count(raw, []byte("\n"))+1 {
				t.Fatalf("%q became %q", raw, got)
			}
		}
		again, err := letter.WithMessageID(t.Context(), c, "<other@example.com>")
		if err != nil || !bytes.Equal(whole(t, again, 0), got) {
			t.Fatalf("a second Message-ID was put into %q: %v", got, err)
		}
		if id, ok := parsedID(got); ok && id == "" {
			t.Errorf("the library finds none in %q", got)
		}
	})
}
