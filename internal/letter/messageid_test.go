package letter_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/mail"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/onbehalf-dev/onbehalf/internal/content"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/letter"
)

// parsedID is the Message-ID that the standard library finds; not ok is that it
// cannot read the letter. To the library a blank before the colon is a part of
// the name, which RFC 5322, 4.5.4 has otherwise.
func parsedID(raw []byte) (id string, ok bool) {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil || bytes.HasPrefix(raw, []byte("From ")) {
		return "", false
	}
	for name, values := range m.Header {
		if strings.EqualFold(strings.TrimRight(name, " \t"), "Message-ID") {
			id += strings.Join(values, "")
		}
	}
	return id, true
}

func TestWithMessageID(t *testing.T) {
	long := strings.Repeat("X-A: "+strings.Repeat("b", 995)+"\r\n", 1000)
	for name, c := range map[string]struct{ letter, want string }{
		"has one":            {"Message-ID: <1@x>\r\nSubject: s\r\n\r\nb", ""},
		"has one, last":      {"Subject: s\r\nmessage-id:<1@x>\r\n\r\nb", ""},
		"has one, folded":    {"Subject: s\r\nMESSAGE-Id:\r\n <1@x>\r\n\r\nb", ""},
		"has one, spaced":    {"Message-ID \t: <1@x>\n\nb", ""},
		"has one, no body":   {"Subject: s\nMessage-ID: <1@x>", ""},
		"has one, far down":  {long + "Message-ID: <1@x>\r\n\r\nb", ""},
		"has none":           {"Subject: s\r\n\r\nb", "Message-ID: " + ours + "\r\nSubject: s\r\n\r\nb"},
		"has none, is long":  {long + "\r\n" + long, "Message-ID: " + ours + "\r\n" + long + "\r\n" + long},
		"bare line feeds":    {"Subject: s\n\nb\n", "Message-ID: " + ours + "\nSubject: s\n\nb\n"},
		"only in the body":   {"Subject: s\r\n\r\nMessage-ID: <1@x>\r\n", "Message-ID: " + ours + "\r\nSubject: s\r\n\r\nMessage-ID: <1@x>\r\n"},
		"after mixed ends":   {"Subject: s\n\r\nMessage-ID: <1@x>\r\n", "Message-ID: " + ours + "\nSubject: s\n\r\nMessage-ID: <1@x>\r\n"},
		"in a folded line":   {"Subject: s\r\n Message-ID: <1@x>\r\n\r\n", "Message-ID: " + ours + "\r\nSubject: s\r\n Message-ID: <1@x>\r\n\r\n"},
		"another's":          {"X-Message-ID: <1@x>\r\nIn-Reply-To: <2@x>\r\n\r\n", "Message-ID: " + ours + "\r\nX-Message-ID: <1@x>\r\nIn-Reply-To: <2@x>\r\n\r\n"},
		"blank one":          {"Message-ID:  \r\nSubject: s\r\n\r\nb", "Message-ID: " + ours + "\r\nMessage-ID:  \r\nSubject: s\r\n\r\nb"},
		"no header":          {"\r\nbody", "Message-ID: " + ours + "\r\n\r\nbody"},
		"no header, LF":      {"\nbody", "Message-ID: " + ours + "\n\nbody"},
		"no line end":        {"Subject: s", "Message-ID: " + ours + "\r\nSubject: s"},
		"from an mbox":       {"From ada Mon Nov  2\nSubject: s\n\nb", "From ada Mon Nov  2\nMessage-ID: " + ours + "\nSubject: s\n\nb"},
		"mbox line alone":    {"From ada\r\n", "From ada\r\nMessage-ID: " + ours + "\r\n"},
		"8-bit and NUL":      {"Subject: gr\xfc\xdfe\x00\r\n\r\n\xff", "Message-ID: " + ours + "\r\nSubject: gr\xfc\xdfe\x00\r\n\r\n\xff"},
		"mbox line and more": {"From x", "Message-ID: " + ours + "\r\nFrom x"},
	} {
		if c.want == "" {
			c.want = c.letter
		}
		got, err := letter.WithMessageID(t.Context(), content.Bytes(c.letter), ours)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := string(whole(t, got, 0)); got != c.want {
			t.Errorf("%s: got %q; want %q", name, got, c.want)
		}
		if tail := string(whole(t, got, got.Size()-1)); tail != c.want[len(c.want)-1:] || got.Size() != int64(len(c.want)) {
			t.Errorf("%s: ends in %q after %d bytes", name, tail, got.Size())
		}
	}
}

func TestWithMessageIDRefuses(t *testing.T) {
	for _, raw := range []string{"", " folded\r\n", "\tSubject: s\r\n", "From x\n folded", strings.Repeat("a:b\n", 1<<20), strings.Repeat("a", 2<<20)} {
		_, err := letter.WithMessageID(t.Context(), content.Bytes(raw), ours)
		if field := new(jobs.FieldError); !errors.As(err, &field) || field.Path != "message" {
			t.Errorf("%.20q: %v", raw, err)
		}
	}
}

var errLost = errors.New("lost")

// lost is a letter of which only the beginning can be read.
type lost string

func (l lost) Size() int64 { return 1 << 20 }

func (l lost) Open(_ context.Context, from int64) (io.ReadCloser, error) {
	return io.NopCloser(io.MultiReader(strings.NewReader(string(l)[from:]), iotest.ErrReader(errLost))), nil
}

func TestWithMessageIDReadsTheHeaderOnly(t *testing.T) {
	if _, err := letter.WithMessageID(t.Context(), lost("Subject: s\r\n"), ours); !errors.Is(err, errLost) {
		t.Errorf("the header could not be read: %v", err)
	}
	c, err := letter.WithMessageID(t.Context(), lost("Subject: s\r\n\r\n"+strings.Repeat("b", 10000)), ours)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); !errors.Is(err, errLost) {
		t.Errorf("the body could not be read: %v", err)
	}
}

func TestIDOf(t *testing.T) {
	for raw, want := range map[string]string{
		"Message-ID: <1@x>\r\n\r\nb":                            "<1@x>",
		"message-id\t:<1@x>\nSubject: s\n\nMessage-ID: <2@x>\n": "<1@x>",
		"Subject: s\r\nMESSAGE-ID:\r\n <1@x>\r\n\r\n":           "<1@x>",
		"Message-ID: <1@x>\r\n <2@x>\r\n\r\n":                   "<1@x>\r <2@x>", // no form that an id has
		"Message-ID: <1@x>\r\nMessage-ID: <2@x>\r\n\r\n":        "",
		"Message-ID: <1@x>\r\nMessage-ID: <1@x>\r\n\r\n":        "",
		"Message-ID: \r\nMessage-ID: <2@x>\r\n\r\n":             "<2@x>",
		"Subject: s\r\n\r\nMessage-ID: <1@x>\r\n":               "",
		"From ada Mon Nov  2\nMessage-ID: <1@x>\n\n":            "<1@x>",
	} {
		if got, err := letter.IDOf(t.Context(), content.Bytes(raw)); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", raw, got, err, want)
		}
	}
	// That which is put in is the one that is found.
	named, err := letter.WithMessageID(t.Context(), content.Bytes("Message-ID: \r\nSubject: s\r\n\r\nb"), ours)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := letter.IDOf(t.Context(), named); err != nil || got != ours {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := letter.IDOf(t.Context(), lost("Subject: s\r\n")); !errors.Is(err, errLost) {
		t.Errorf("the header could not be read: %v", err)
	}
}

func TestMessageIDDependsOnTheJobAlone(t *testing.T) {
	job := jobs.Job{ID: "welcome/ada@example.com", User: ada}
	first, second := letter.MessageID(job), letter.MessageID(job)
	if first != second || !strings.HasSuffix(first, "@example.com>") {
		t.Error(first, second)
	}
	if job2 := (jobs.Job{ID: "welcome/adb@example.com", User: ada}); letter.MessageID(job) == letter.MessageID(job2) {
		t.Error("two jobs share a Message-ID")
	}
	if id := letter.MessageID(jobs.Job{ID: "x"}); !strings.HasSuffix(id, "@onbehalf.invalid>") {
		t.Error(id)
	}
	hostile := jobs.Job{ID: "a\r\nBcc: x@y\r\n>", User: ada}
	if strings.ContainsAny(strings.Trim(letter.MessageID(hostile), "<>"), "\r\n<> ") {
		t.Errorf("%q", letter.MessageID(hostile))
	}
}
