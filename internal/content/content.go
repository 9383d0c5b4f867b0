// Package content is bytes that can be read again from any place: what an upload
// needs that goes on after a broken connection, without holding it in memory.
package content

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// Content is bytes of known length that can be read again, from any offset,
// always the same. It may be read by several at once.
type Content interface {
	// Size is the length in bytes. It is exact.
	Size() int64
	// Open gives the bytes from an offset on, which is at most Size. ctx must
	// last until the reader is closed. What cannot be read whole ends in an
	// error, never in [io.EOF].
	Open(ctx context.Context, from int64) (io.ReadCloser, error)
}

// within refuses to open c where it has no bytes.
func within(c Content, from int64) error {
	if from < 0 || from > c.Size() {
		return fmt.Errorf("content: byte %d of %d was asked for", from, c.Size())
	}
	return nil
}

// Bytes are content that is in memory.
type Bytes []byte

// Size is their number.
func (b Bytes) Size() int64 { return int64(len(b)) }

// Open reads them; nothing waits for ctx.
func (b Bytes) Open(_ context.Context, from int64) (io.ReadCloser, error) {
	if err := within(b, from); err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(b[from:])), nil
}

// Join is one content after the other. Each is opened when its turn comes.
func Join(parts ...Content) Content { return joined(parts) }

type joined []Content

func (j joined) Size() (size int64) {
	for _, part := range j {
		size += part.Size()
	}
	return size
}

func (j joined) Open(ctx context.Context, from int64) (io.ReadCloser, error) {
	if err := within(j, from); err != nil {
		return nil, err
	}
	for len(j) > 0 && from >= j[0].Size() {
		from -= j[0].Size()
		j = j[1:]
	}
	return &joinReader{ctx: ctx, next: j, from: from}, nil
}

type joinReader struct {
	ctx  context.Context
	next []Content
	from int64         // where in the next one to begin
	now  io.ReadCloser // nil between two
}

func (r *joinReader) Read(p []byte) (int, error) {
	for {
		if r.now == nil {
			if len(r.next) == 0 {
				return 0, io.EOF
			}
			opened, err := r.next[0].Open(r.ctx, r.from)
			if err != nil {
				return 0, err
			}
			r.now, r.next, r.from = opened, r.next[1:], 0
		}
		n, err := r.now.Read(p)
		if errors.Is(err, io.EOF) {
			err, r.now = r.now.Close(), nil
		}
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

func (r *joinReader) Close() error {
	r.next = nil
	if r.now == nil {
		return nil
	}
	return r.now.Close()
}

// Insert is c with b put in at an offset, which is at most c's size. Where it is
// read from the beginning, so is c: what c knows of itself as a whole it can check.
func Insert(c Content, at int64, b []byte) Content { return inserted{c, at, b} }

type inserted struct {
	of Content
	at int64
	b  []byte
}

func (i inserted) Size() int64 { return i.of.Size() + int64(len(i.b)) }

func (i inserted) Open(ctx context.Context, from int64) (io.ReadCloser, error) {
	if err := within(i, from); err != nil {
		return nil, err
	}
	before := max(0, i.at-from)                    // bytes of c that come first
	cut := min(max(0, from-i.at), int64(len(i.b))) // bytes of b that are passed over
	src, err := i.of.Open(ctx, from-cut)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(src, before), bytes.NewReader(i.b[cut:]), src), src}, nil
}
