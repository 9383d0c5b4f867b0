package letter_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/internal/content"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/letter"
)

const (
	ada  = "ada@example.com"
	ours = "<onbehalf.0@example.com>"
)

var written = time.Date(2026, 11, 2, 9, 30, 0, 0, time.FixedZone("", 3600))

// checked is a letter that went the way of all letters: as JSON in a job.
func checked(c *jobs.Compose) (*jobs.Compose, error) {
	data, err := json.Marshal(map[string]any{"user": ada, "action": "a.b", "message": map[string]any{"compose": c}})
	if err != nil {
		return nil, err
	}
	job, err := jobs.Decode(data, "4711")
	if err != nil {
		return nil, err
	}
	return job.Message.Compose, nil
}

// compose composes a checked letter, whose attachments are all in it.
func compose(c *jobs.Compose) (content.Content, error) {
	parts := letter.Parts{User: ada, MessageID: ours, Date: written, Seed: "welcome/ada@example.com"}
	for i := range c.Attachments {
		parts.Attachments = append(parts.Attachments, content.Bytes(c.Attachments[i].Bytes()))
	}
	return letter.Compose(c, parts)
}

func whole(t testing.TB, c content.Content, from int64) []byte {
	t.Helper()
	r, err := c.Open(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// want is what a reader finds in the letter.
func want(t testing.TB, c *jobs.Compose) *read {
	t.Helper()
	r := &read{
		Boxes:  map[string][]box{},
		Texts:  map[string]string{"date": "Mon, 02 Nov 2026 09:30:00 +0100", "message-id": ours, "mime-version": "1.0"},
		Bodies: map[string]string{},
	}
	from := c.From
	if from == "" {
		from = ada
	}
	for name, list := range map[string][]string{"from": {from}, "to": c.To, "cc": c.Cc, "bcc": c.Bcc, "reply-to": c.ReplyTo} {
		for _, mailbox := range list {
			a, err := mail.ParseAddress(mailbox)
			if err != nil {
				t.Fatal(err)
			}
			r.Boxes[name] = append(r.Boxes[name], box{a.Name, a.Address})
		}
	}
	set := func(name, value string) {
		if value != "" {
			r.Texts[name] = value
		}
	}
	bracketed := func(ids ...string) string {
		for i, id := range ids {
			if ids[i] = id; !strings.HasPrefix(id, "<") {
				ids[i] = "<" + id + ">"
			}
		}
		return strings.Join(ids, " ")
	}
	set("subject", c.Subject)
	if c.InReplyTo != "" {
		set("in-reply-to", bracketed(c.InReplyTo))
		set("references", bracketed(c.InReplyTo))
	}
	if len(c.References) > 0 {
		set("references", bracketed(slices.Clone(c.References)...))
	}
	for name, value := range c.Headers {
		set(strings.ToLower(name), value)
	}
	for name := range r.Boxes {
		r.Headers = append(r.Headers, name)
	}
	for name := range r.Texts {
		r.Headers = append(r.Headers, name)
	}
	lines := strings.NewReplacer("\r\n", "\r\n", "\r", "\r\n", "\n", "\r\n")
	if c.Text != "" {
		r.Bodies["text/plain"] = lines.Replace(c.Text)
	}
	if c.HTML != "" {
		r.Bodies["text/html"] = lines.Replace(c.HTML)
	}
	r.Headers = append(r.Headers, "content-type")
	if len(c.Attachments) == 0 && (c.Text == "" || c.HTML == "") {
		r.Headers = append(r.Headers, "content-transfer-encoding")
	}
	slices.Sort(r.Headers)
	for _, disposition := range []string{"inline", "attachment"} {
		for i := range c.Attachments {
			a := &c.Attachments[i]
			if (a.ContentID != "") == (disposition == "inline") {
				r.Files = append(r.Files, file{Name: a.Name, OldName: a.Name, Disposition: disposition, ID: a.ContentID, Data: append([]byte{}, a.Bytes()...)})
			}
		}
	}
	return r
}

func long(n int) string { return strings.Repeat("x", n) }

// nasty are letters that something gets wrong easily.
var nasty = map[string]*jobs.Compose{
	"text":             {Text: "Dear Charles,\r\nhello\r\n"},
	"no end of line":   {Text: "hello"},
	"html":             {HTML: "<b>hello</b>"},
	"both":             {Text: "hello", HTML: "<b>hello</b>"},
	"Cyrillic":         {From: "Ада Лавлейс <ada@example.com>", To: []string{"Мария Склодовская-Кюри <maria@example.com>"}, Subject: "Приветствие и приглашение на обед в пятницу", Text: "Привет, Мария", HTML: "<p>Привет</p>"},
	"Japanese":         {To: []string{"山田太郎 <taro@example.com>"}, Subject: strings.Repeat("請求書について", 30), Text: strings.Repeat("こんにちは。", 500)},
	"emoji":            {Subject: "👩‍👩‍👧‍👦 " + strings.Repeat("🏳️‍🌈", 30), Text: "👍🏽", To: []string{`"👑 Queen" <queen@example.com>`}},
	"line separators":  {From: "A\u2028B <ada@example.com>", Subject: "a\u2028b\u2029c", Text: "a\u2028b\u2029c", Headers: map[string]string{"X-A": "a\u2028b"}},
	"right to left":    {Subject: "שלום \u202eexe.fdp مرحبا", Text: "مرحبا", To: []string{"ליאור <lior@example.com>"}},
	"long subject":     {Subject: strings.Repeat("a word and another ", 100) + "end", Text: "t"},
	"one long word":    {Subject: long(3000), Text: "t"},
	"words at edges":   {Subject: long(60) + " " + long(61) + " " + long(59), Text: "t"},
	"looks encoded":    {Subject: "=?utf-8?q?=41?= and =?broken", From: `"=?utf-8?q?=41?=" <ada@example.com>`, Headers: map[string]string{"X-Note": "=?utf-8?b?QQ==?="}, Text: "=?utf-8?q?=41?= =41 =\n"},
	"blanks at edges":  {Subject: "  two  spaces ", Text: " x \t\n\t \n", To: []string{`" Ada  L " <ada@example.com>`}},
	"only a blank":     {Subject: " ", Text: " "},
	"names":            {From: `"Lovelace, Ada (\"Countess\") \\ <x@y.zz>; @:[]" <ada@example.com>`, To: []string{`"O'Neil, Zoë, <é>" <o'neil@example.com>`, "bare@example.com", "mary@example.com (Somerville)"}, Text: "t"},
	"a dot in a name":  {From: "Charles J. Babbage <charles@example.com>", To: []string{`"." <a@example.com>`}, Text: "t"},
	"long name":        {From: `"` + strings.Repeat("Ada ", 100) + `L" <ada@example.com>`, To: []string{long(500) + " <ada@example.com>"}, Text: "t"},
	"long address":     {To: []string{long(64) + "@" + strings.Repeat("a23456789.", 18) + "example", "ada@example.com"}, Text: "t"},
	"quoted dots":      {To: []string{`"a..b"@example.com`}, Text: "t"},
	"many recipients":  {To: slices.Repeat([]string{"Мария <maria@example.com>", "b@example.com"}, 250), Text: "t"},
	"thread":           {InReplyTo: "1@example.com", Text: "t"},
	"long thread":      {InReplyTo: "<1@example.com>", References: append(slices.Repeat([]string{"0@example.com", "<" + long(70) + "@x>"}, 49), long(890)), Text: "t"},
	"headers":          {Headers: map[string]string{"List-Unsubscribe": "<mailto:leave@example.com?subject=leave>, <https://example.com/" + long(800) + ">", "x-sMALL": "très bien", "X-Long": strings.Repeat("word ", 300) + "end", "X-Non-Breaking": "a\u00a0b"}, Text: "t"},
	"dots":             {Text: ".\r\n..\r\n.x\n", HTML: ".\n"},
	"From lines":       {Text: "From me\nFrom you\n\nFrom us", HTML: "From\n"},
	"line ends":        {Text: "a\nb\rc\r\nd\n\re\r\r\nf\ré\n\r", HTML: "\r\n\r\n"},
	"long lines":       {Text: long(10000) + "\n" + strings.Repeat("ю", 5000), HTML: long(10000)},
	"control":          {Text: "a\x00b\x1b[31m\x7f\u0085\u2028"},
	"like a boundary":  {Text: "\n--=_\n--\n\n--=_--\n", Attachments: []jobs.Attachment{{Name: "a", Data: "LS09Xw"}}},
	"like a header":    {Text: "Subject: x\nBcc: y@z.ab\n\nb"},
	"attachments":      {Text: "t", Attachments: []jobs.Attachment{{Name: "a.pdf", Data: "YQ"}, {Name: "B.PNG", Data: "YWI="}, {Name: "pdf", Data: "YWJj"}, {Name: "x.y", ContentType: "Text/CSV; Charset=koi8-r; header=\"a b\"", Data: "YQ"}}},
	"names of files":   {Text: "t", Attachments: []jobs.Attachment{{Name: "Отчёт за 2026 год.pdf", Data: "YQ"}, {Name: `a "b"; c='d' =?utf-8?q?=41?= 100%.txt`, Data: "YQ"}, {Name: ".", Data: "YQ"}, {Name: strings.Repeat("請", 150) + ".docx", Data: "YQ"}, {Name: long(490) + ".gz", Data: "YQ"}, {Name: "a  b\u202efdp.exe", Data: "YQ"}, {Name: "%41*0*=utf-8''.zip", Data: "YQ"}}},
	"picture":          {HTML: `<img src="cid:logo">`, Attachments: []jobs.Attachment{{Name: "logo.png", ContentID: "logo", Data: "YQ"}}},
	"everything":       {Text: "t", HTML: `<img src="cid:logo"><img src="cid:a@b">`, Attachments: []jobs.Attachment{{Name: "a.pdf", Data: "YQ"}, {Name: "logo.png", ContentID: "logo", Data: "YQ"}, {Name: "b.zip", Data: "YQ"}, {Name: "я.gif", ContentID: "a@b", Data: "YQ"}}},
	"text and picture": {Text: "t", HTML: "cid:x", Attachments: []jobs.Attachment{{Name: "x", ContentID: "x", Data: "YQ"}}},
}

// The fields come back as they were given, by the standard library and by
// Python's, neither of which wrote the letter.
func TestComposeComesBack(t *testing.T) {
	var names []string
	var letters [][]byte
	for name, c := range nasty {
		c, err := checked(c)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		composed, err := compose(c)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		data := whole(t, composed, 0)
		got, err := readBack(data)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, data)
			continue
		}
		compare(t, name, want(t, c), got)
		names, letters = append(names, name), append(letters, data)
	}
	t.Run("Python", func(t *testing.T) {
		for i, got := range python(t, letters) {
			c, err := checked(nasty[names[i]])
			if err != nil {
				t.Fatal(err)
			}
			want := want(t, c)
			dropBlanks(want)
			dropBlanks(got)
			compare(t, names[i], want, got)
		}
	})
}

// dropBlanks takes those out of names of people, where Python shows too many or
// too few of them (https://github.com/python/cpython/issues/128110).
func dropBlanks(r *read) {
	for _, list := range r.Boxes {
		for i := range list {
			list[i].Name = strings.ReplaceAll(list[i].Name, " ", "")
		}
	}
}

// compare leaves out what only other tests know.
func compare(t *testing.T, name string, want, got *read) {
	t.Helper()
	got.Tree = ""
	for i := range got.Files {
		got.Files[i].Type = ""
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

// python reads letters with Python's email package.
func python(t *testing.T, letters [][]byte) []*read {
	t.Helper()
	program, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 on the PATH: its email package is not tried")
	}
	in, err := json.Marshal(letters)
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, "-I", filepath.Join("testdata", "read.py"))
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var read []*read
	if err := json.Unmarshal(out, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

func TestComposeHasNoNeedlessLevels(t *testing.T) {
	for name, want := range map[string]string{
		"text":             "text/plain",
		"html":             "text/html",
		"both":             "alternative(text/plain text/html)",
		"attachments":      "mixed(text/plain application/pdf image/png application/octet-stream text/csv)",
		"picture":          "related(text/html image/png)",
		"text and picture": "alternative(text/plain related(text/html application/octet-stream))",
		"everything":       "mixed(alternative(text/plain related(text/html image/png image/gif)) application/pdf application/zip)",
	} {
		c, err := checked(nasty[name])
		if err != nil {
			t.Fatal(err)
		}
		composed, err := compose(c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readBack(whole(t, composed, 0))
		if err != nil || got.Tree != want {
			t.Errorf("%s: %s, %v; want %s", name, got.Tree, err, want)
		}
	}
}

// An upload that goes on elsewhere, or in another process, gets the rest of the
// same letter, and was told its length before.
func TestComposeIsTheSameFromEveryOffset(t *testing.T) {
	for name, c := range nasty {
		c, err := checked(c)
		if err != nil {
			t.Fatal(err)
		}
		first, err := compose(c)
		if err != nil {
			t.Fatal(err)
		}
		all := whole(t, first, 0)
		if int64(len(all)) != first.Size() {
			t.Errorf("%s: %d bytes were read; Size is %d", name, len(all), first.Size())
		}
		second, err := compose(c)
		if err != nil {
			t.Fatal(err)
		}
		for from := 0; from <= len(all); from += 1 + len(all)/50 {
			if got := whole(t, second, int64(from)); !bytes.Equal(got, all[from:]) {
				t.Fatalf("%s: another letter from byte %d on", name, from)
			}
		}
	}
}

// Around 57 bytes a line of base64 is full.
func TestComposeCarriesFilesOfEveryLength(t *testing.T) {
	for n := range 200 {
		data := bytes.Repeat([]byte{0xff, 0, '-'}, 70)[:n]
		c := &jobs.Compose{Text: "t", Attachments: make([]jobs.Attachment, 2)}
		c.Attachments[0].Name, c.Attachments[1].Name = "a", "b"
		composed, err := letter.Compose(c, letter.Parts{User: ada, Date: written, Attachments: []content.Content{content.Bytes(data), content.Bytes(nil)}})
		if err != nil {
			t.Fatal(err)
		}
		all := whole(t, composed, 0)
		got, err := readBack(all)
		if err != nil || len(got.Files) != 2 || !bytes.Equal(got.Files[0].Data, data) || len(got.Files[1].Data) != 0 || int64(len(all)) != composed.Size() {
			t.Fatalf("%d bytes: %+v, %v", n, got, err)
		}
	}
}

func TestComposeRefuses(t *testing.T) {
	var field *jobs.FieldError
	if _, err := letter.Compose(&jobs.Compose{Text: "t"}, letter.Parts{}); !errors.As(err, &field) || field.Path != "message.compose.from" {
		t.Errorf("nobody wrote it: %v", err)
	}
	if _, err := letter.Compose(&jobs.Compose{Text: "t"}, letter.Parts{User: ada, Attachments: []content.Content{content.Bytes("a")}}); err == nil {
		t.Error("a content has no attachment")
	}
	// No check of jobs stands before these.
	for name, c := range map[string]*jobs.Compose{
		"header": {Text: "t", Headers: map[string]string{"X-A: b\r\nBcc": "x@y.zz"}},
		"thread": {Text: "t", InReplyTo: "1\r\nBcc: x@y.zz"},
	} {
		if composed, err := letter.Compose(c, letter.Parts{User: ada}); err == nil {
			t.Errorf("%s: %q", name, whole(t, composed, 0))
		}
	}
}

// blank is a file of zeros that is nowhere.
type blank int64

func (b blank) Size() int64 { return int64(b) }

func (b blank) Open(_ context.Context, from int64) (io.ReadCloser, error) {
	return io.NopCloser(io.LimitReader(zeros{}, int64(b)-from)), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// The bytes that are allocated do not grow with the files.
func BenchmarkCompose(b *testing.B) {
	for _, size := range []int64{0, 64 << 10, 40 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			c, err := checked(nasty["everything"])
			if err != nil {
				b.Fatal(err)
			}
			parts := letter.Parts{User: ada, MessageID: ours, Date: written, Attachments: slices.Repeat([]content.Content{content.Content(blank(size / 4))}, 4)}
			b.ReportAllocs()
			for b.Loop() {
				composed, err := letter.Compose(c, parts)
				if err != nil {
					b.Fatal(err)
				}
				r, err := composed.Open(b.Context(), 0)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, r)
				if err != nil || n != composed.Size() {
					b.Fatal(n, err)
				}
				b.SetBytes(n)
			}
		})
	}
}
