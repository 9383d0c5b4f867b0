package actions

import (
	"bytes"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

const ours = "<onbehalf.0@example.com>"

func TestWithMessageID(t *testing.T) {
	for name, c := range map[string]struct{ letter, want string }{
		"has one":            {"Message-ID: <1@x>\r\nSubject: s\r\n\r\nb", ""},
		"has one, last":      {"Subject: s\r\nmessage-id:<1@x>\r\n\r\nb", ""},
		"has one, folded":    {"Subject: s\r\nMESSAGE-Id:\r\n <1@x>\r\n\r\nb", ""},
		"has one, spaced":    {"Message-ID \t: <1@x>\n\nb", ""},
		"has one, no body":   {"Subject: s\nMessage-ID: <1@x>", ""},
		"has none":           {"Subject: s\r\n\r\nb", "Message-ID: " + ours + "\r\nSubject: s\r\n\r\nb"},
		"bare line feeds":    {"Subject: s\n\nb\n", "Message-ID: " + ours + "\nSubject: s\n\nb\n"},
		"only in the body":   {"Subject: s\r\n\r\nMessage-ID: <1@x>\r\n", "Message-ID: " + ours + "\r\nSubject: s\r\n\r\nMessage-ID: <1@x>\r\n"},
		"in a folded line":   {"Subject: s\r\n Message-ID: <1@x>\r\n\r\n", "Message-ID: " + ours + "\r\nSubject: s\r\n Message-ID: <1@x>\r\n\r\n"},
		"another's":          {"X-Message-ID: <1@x>\r\nIn-Reply-To: <2@x>\r\n\r\n", "Message-ID: " + ours + "\r\nX-Message-ID: <1@x>\r\nIn-Reply-To: <2@x>\r\n\r\n"},
		"blank one":          {"Message-ID:  \r\nSubject: s\r\n\r\nb", "Message-ID: " + ours + "\r\nMessage-ID:  \r\nSubject: s\r\n\r\nb"},
		"no header":          {"\r\nbody", "Message-ID: " + ours + "\r\n\r\nbody"},
		"no header, LF":      {"\nbody", "Message-ID: " + ours + "\n\nbody"},
		"no line end":        {"Subject: s", "Message-ID: " + ours + "\r\nSubject: s"},
		"from an mbox":       {"From ada Mon Nov  2\nSubject: s\n\nb", "From ada Mon Nov  2\nMessage-ID: " + ours + "\nSubject: s\n\nb"},
		"8-bit and NUL":      {"Subject: gr\xfc\xdfe\x00\r\n\r\n\xff", "Message-ID: " + ours + "\r\nSubject: gr\xfc\xdfe\x00\r\n\r\n\xff"},
		"mbox line and more": {"From x", "Message-ID: " + ours + "\r\nFrom x"},
	} {
		if c.want == "" {
			c.want = c.letter
		}
		got, err := withMessageID([]byte(c.letter), ours)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, c.want)
		}
	}
	for _, letter := range []string{"", " folded\r\n", "\tSubject: s\r\n", "From x\n folded"} {
		if _, err := withMessageID([]byte(letter), ours); err == nil {
			t.Errorf("%q was taken for a letter", letter)
		}
	}
}

func TestMessageIDDependsOnTheJobAlone(t *testing.T) {
	job := jobs.Job{ID: "welcome/ada@example.com", User: "ada@example.com"}
	first, second := messageID(job), messageID(job)
	if first != second || !strings.HasSuffix(first, "@example.com>") {
		t.Error(first, second)
	}
	if job2 := (jobs.Job{ID: "welcome/adb@example.com", User: "ada@example.com"}); messageID(job) == messageID(job2) {
		t.Error("two jobs share a Message-ID")
	}
	hostile := jobs.Job{ID: "a\r\nBcc: x@y\r\n>", User: "ada@example.com"}
	if strings.ContainsAny(strings.Trim(messageID(hostile), "<>"), "\r\n<> ") {
		t.Errorf("%q", messageID(hostile))
	}
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
	f.Fuzz(func(t *testing.T, letter []byte) {
		got, err := withMessageID(letter, ours)
		if err != nil {
			return
		}
		line := []byte("Message-ID: " + ours)
		if !bytes.Equal(got, letter) {
			at := bytes.Index(got, line)
			if at < 0 {
				t.Fatalf("%q became %q", letter, got)
			}
			end := at + bytes.IndexByte(got[at:], '\n') + 1
			if rest := append(bytes.Clone(got[:at]), got[end:]...); !bytes.Equal(rest, letter) {
				t.Fatalf("%q became %q", letter, got)
			}
		}
		again, err := withMessageID(got, "<other@example.com>")
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("a second Message-ID was put into %q: %q, %v", got, again, err)
		}
		if m, err := mail.ReadMessage(bytes.NewReader(got)); err == nil && !bytes.HasPrefix(got, []byte("From ")) && m.Header.Get("Message-ID") == "" {
			t.Errorf("the library finds none in %q", got)
		}
	})
}
