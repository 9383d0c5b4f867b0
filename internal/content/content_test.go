package content_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"

	"github.com/onbehalf-dev/onbehalf/internal/content"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// some is n bytes, each of which tells where it is.
func some(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i/251)
	}
	return b
}

// lines is base64 as RFC 2045 has it, by another way than ours.
func lines(data []byte) []byte {
	var out []string
	for s := base64.StdEncoding.EncodeToString(data); s != ""; {
		n := min(76, len(s))
		out, s = append(out, s[:n]), s[n:]
	}
	return []byte(strings.Join(out, "\r\n"))
}

// TestContract holds for whatever is content.
func TestContract(t *testing.T) {
	same := func(data []byte) []byte { return data }
	for _, kind := range []struct {
		name string
		of   func(t *testing.T, data []byte) content.Content
		want func(data []byte) []byte
	}{
		{"bytes", func(_ *testing.T, data []byte) content.Content { return content.Bytes(data) }, same},
		{"join", func(_ *testing.T, data []byte) content.Content {
			third, half := len(data)/3, len(data)/2
			none := content.Bytes(nil)
			return content.Join(none, content.Bytes(data[:third]), none, none, content.Bytes(data[third:half]), content.Join(), content.Bytes(data[half:]), none)
		}, same},
		{"insert first", func(_ *testing.T, data []byte) content.Content {
			return content.Insert(content.Bytes(data), 0, []byte("new"))
		}, func(data []byte) []byte { return append([]byte("new"), data...) }},
		{"insert last", func(_ *testing.T, data []byte) content.Content {
			return content.Insert(content.Bytes(data), int64(len(data)), []byte("new"))
		}, func(data []byte) []byte { return append(bytes.Clone(data), "new"...) }},
		{"insert nothing", func(_ *testing.T, data []byte) content.Content {
			return content.Insert(content.Bytes(data), int64(len(data)/2), nil)
		}, same},
		{"insert between", func(_ *testing.T, data []byte) content.Content {
			half := len(data) / 2
			cut := append(bytes.Clone(data[:half]), data[min(half+5, len(data)):]...)
			return content.Insert(content.Bytes(cut), int64(half), data[half:min(half+5, len(data))])
		}, same},
		{"base64", func(_ *testing.T, data []byte) content.Content { return content.Base64(content.Bytes(data)) }, lines},
		{"object", func(t *testing.T, data []byte) content.Content { return (&store{data: data}).object(t) }, same},
		{"object that breaks", func(t *testing.T, data []byte) content.Content {
			return (&store{data: data, breakAfter: 31}).object(t)
		}, same},
		{"base64 of an object in a letter", func(t *testing.T, data []byte) content.Content {
			return content.Join(content.Bytes("top\r\n"), content.Base64((&store{data: data, breakAfter: 50}).object(t)), content.Bytes("\r\nend"))
		}, func(data []byte) []byte { return []byte("top\r\n" + string(lines(data)) + "\r\nend") }},
	} {
		for _, size := range []int{0, 1, 2, 56, 57, 58, 114, 300} {
			t.Run(fmt.Sprintf("%s/%d", kind.name, size), func(t *testing.T) {
				t.Parallel()
				data := some(size)
				contract(t, kind.of(t, data), kind.want(data))
			})
		}
	}
	t.Run("base64/of many lines", func(t *testing.T) {
		data := some(100_000)
		c, want := content.Base64(content.Bytes(data)), lines(data)
		for _, from := range []int{0, 1, 7487, 7488, 7489, 50_000, len(want) - 1, len(want)} {
			if got := rest(t, c, from); !bytes.Equal(got, want[from:]) {
				t.Errorf("from %d: other bytes", from)
			}
		}
	})
}

func contract(t *testing.T, c content.Content, want []byte) {
	t.Helper()
	if c.Size() != int64(len(want)) {
		t.Fatalf("size %d; want %d", c.Size(), len(want))
	}
	for from := range len(want) + 1 {
		if got := rest(t, c, from); !bytes.Equal(got, want[from:]) {
			t.Fatalf("from %d: %q; want %q", from, got, want[from:])
		}
	}
	for _, from := range []int64{-1, c.Size() + 1, 1 << 40} {
		if r, err := c.Open(t.Context(), from); err == nil {
			r.Close()
			t.Errorf("from %d of %d: no error", from, c.Size())
		}
	}
	r, err := c.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, part := range bytes.SplitAfter(want, []byte{0}) { // two readers in turns
		got := make([]byte, len(part))
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, part) {
			t.Fatalf("%q, %v; want %q", got, err, part)
		}
		if got := rest(t, c, len(want)/2); !bytes.Equal(got, want[len(want)/2:]) {
			t.Fatal("another reader got other bytes")
		}
	}
	early, err := c.Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, early, int64(len(want)/2)); err != nil {
		t.Error(err)
	}
	if err := early.Close(); err != nil {
		t.Errorf("closed early: %v", err)
	}
}

// rest reads the rest, byte by byte where that is not too much.
func rest(t *testing.T, c content.Content, from int) []byte {
	t.Helper()
	r, err := c.Open(t.Context(), int64(from))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var in io.Reader = r
	if from%2 == 0 {
		in = iotest.OneByteReader(r)
	}
	got, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d, %v", n, err)
	}
	return got
}

// short is content that is not as long as it says.
type short struct{ content.Bytes }

func (s short) Size() int64 { return s.Bytes.Size() + 1 }

func TestBase64OfWhatBreaksOffIsNoEnd(t *testing.T) {
	for _, n := range []int{0, 1, 57, 10_000} {
		r, err := content.Base64(short{some(n)}).Open(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: %v", n, err)
		}
		r.Close()
	}
}

// failing is content that cannot be opened.
type failing struct{ content.Bytes }

func (failing) Open(context.Context, int64) (io.ReadCloser, error) { return nil, io.ErrClosedPipe }

func TestErrorsPassThrough(t *testing.T) {
	bad := failing{content.Bytes("abc")}
	r, err := content.Join(content.Bytes("a"), bad).Open(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); !errors.Is(err, io.ErrClosedPipe) || string(got) != "a" {
		t.Errorf("join: %q, %v", got, err)
	}
	for name, c := range map[string]content.Content{"base64": content.Base64(bad), "insert": content.Insert(bad, 1, []byte("x"))} {
		if _, err := c.Open(t.Context(), 0); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
