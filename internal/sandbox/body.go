package sandbox

import (
	"errors"
	"io"
)

// eagerBody is the most that is made room for on the word of a client alone;
// what is announced as larger must arrive first.
const eagerBody = 1 << 20

// growth is by what a body's room grows. What is announced bounds it: a letter of
// 150 MiB costs half as much again while the last step is made, and then no more
// than itself.
const growth = 4

// room returns b with place for more bytes behind it. A total of -1 is unknown.
func room(b []byte, more int, total int64) []byte {
	need := int64(len(b) + more)
	if need <= int64(cap(b)) {
		return b
	}
	size := min(max(eagerBody, growth*int64(len(b))), total)
	if total < 0 { // nothing bounds it
		size = int64(len(b) + len(b)/growth)
	}
	out := make([]byte, len(b), max(need, size))
	copy(out, b)
	return out
}

// gather reads all that comes. It fails with errTooLarge beyond limit.
func gather(r io.Reader, announced, limit int64) ([]byte, error) {
	const least = 4 << 10
	b := make([]byte, 0, min(max(announced, 0), eagerBody))
	for int64(len(b)) != announced {
		if len(b) == cap(b) {
			b = room(b, least, announced)
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case int64(len(b)) > limit:
			return nil, errTooLarge
		case errors.Is(err, io.EOF):
			return b, nil
		case err != nil:
			return b, err
		}
	}
	return b, nil
}
