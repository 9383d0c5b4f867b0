package content

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
)

// A line of base64 in a mail: 57 bytes become 76 characters (RFC 2045, 6.8) and
// a line break.
const (
	lineBytes = 57
	lineChars = 76
	lineWhole = lineChars + len("\r\n")
)

// Base64 is c as a mail carries it: base64 in lines, with no line break after the
// last one.
func Base64(c Content) Content { return encoded{c} }

type encoded struct{ of Content }

func (e encoded) Size() int64 {
	lines, rest := e.of.Size()/lineBytes, int(e.of.Size()%lineBytes)
	switch {
	case rest > 0:
		return lines*int64(lineWhole) + int64(base64.StdEncoding.EncodedLen(rest))
	case lines > 0:
		return lines*int64(lineWhole) - int64(len("\r\n"))
	}
	return 0
}

func (e encoded) Open(ctx context.Context, from int64) (io.ReadCloser, error) {
	if err := within(e, from); err != nil {
		return nil, err
	}
	start := from / int64(lineWhole) * lineBytes
	src, err := e.of.Open(ctx, start)
	if err != nil {
		return nil, err
	}
	return &base64Reader{src: src, left: e.of.Size() - start, skip: int(from % int64(lineWhole))}, nil
}

type base64Reader struct {
	src  io.ReadCloser
	left int64 // of src. Only so a source that breaks off is told from one that ends
	skip int   // of the first line
	out  []byte
	err  error

	in  [lineBytes * 96]byte
	buf [lineWhole * 96]byte
}

func (r *base64Reader) Read(p []byte) (int, error) {
	if len(r.out) == 0 && r.err == nil {
		r.err = r.fill()
	}
	if len(r.out) == 0 && len(p) > 0 {
		return 0, r.err
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

// fill encodes the next lines.
func (r *base64Reader) fill() error {
	in := r.in[:min(int64(len(r.in)), r.left)]
	if len(in) == 0 {
		return io.EOF
	}
	if _, err := io.ReadFull(r.src, in); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	r.left -= int64(len(in))
	out := r.buf[:0]
	for len(in) > 0 {
		line := in[:min(lineBytes, len(in))]
		in = in[len(line):]
		out = base64.StdEncoding.AppendEncode(out, line)
		if len(in) > 0 || r.left > 0 {
			out = append(out, "\r\n"...)
		}
	}
	r.out, r.skip = out[r.skip:], 0
	if len(r.out) == 0 {
		return r.fill()
	}
	return nil
}

func (r *base64Reader) Close() error { return r.src.Close() }
