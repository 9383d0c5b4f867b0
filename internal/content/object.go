package content

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"google.golang.org/api/googleapi"
	"google.golang.org/api/storage/v1"
)

// StoredObject is an object of Cloud Storage, in the generation that it had when
// it was asked for. An error of Google's is a [*googleapi.Error].
type StoredObject struct {
	// ContentType is as it was given by who stored the object, and may be empty.
	ContentType string
	// ContentEncoding is likewise. What is gzip cannot be read as it is stored
	// where Cloud Storage unpacks it on the way; Open refuses what it unpacks.
	ContentEncoding string

	svc          *storage.Service
	bucket, name string
	generation   int64
	size         int64
	sum          []byte // CRC32C, big-endian; nil where none is known
}

// Object asks Cloud Storage for an object's size, generation and checksum.
func Object(ctx context.Context, svc *storage.Service, bucket, object string) (*StoredObject, error) {
	about, err := svc.Objects.Get(bucket, object).Context(ctx).Do()
	if err != nil {
		return nil, err
	}
	o := &StoredObject{
		ContentType: about.ContentType, ContentEncoding: about.ContentEncoding,
		svc: svc, bucket: bucket, name: object, generation: about.Generation, size: int64(about.Size), //nolint:gosec // an object has at most 5 TiB
	}
	if about.Crc32c != "" { // Cloud Storage has one for every object; not all that stand in for it have
		if o.sum, err = base64.StdEncoding.DecodeString(about.Crc32c); err != nil || len(o.sum) != crc32.Size {
			return nil, errors.New("content: Cloud Storage gave a checksum that is none")
		}
	}
	return o, nil
}

// Size is that of what is stored.
func (o *StoredObject) Size() int64 { return o.size }

// Open asks for the object's bytes from an offset on. When the connection breaks,
// the reader asks for the rest by itself. Read from the beginning, the last byte
// is given only if the checksum fits: nobody takes wrong bytes for the whole.
func (o *StoredObject) Open(ctx context.Context, from int64) (io.ReadCloser, error) {
	if err := within(o, from); err != nil {
		return nil, err
	}
	r := &objectReader{ctx: ctx, object: o, at: from}
	if from == 0 && o.sum != nil {
		r.sum = crc32.New(crc32.MakeTable(crc32.Castagnoli))
	}
	if from == o.size { // of nothing there is no range that could be asked for
		return r, nil
	}
	if err := r.connect(); err != nil {
		return nil, err
	}
	return r, nil
}

// maxTries is how many connections in a row may bring nothing, and firstPause
// the pause before the second of them, which doubles from there.
const (
	maxTries   = 5
	firstPause = 200 * time.Millisecond
)

type objectReader struct {
	ctx    context.Context
	object *StoredObject
	at     int64         // the byte that is read next
	body   io.ReadCloser // nil where there is no connection
	sum    hash.Hash32   // of all until at; nil where it cannot be known
	tries  int           // connections since the last byte
	broke  error         // what ended the last connection
	err    error         // that ended the reading
}

func (r *objectReader) Read(p []byte) (int, error) {
	left := r.object.size - r.at
	switch {
	case r.err != nil:
		return 0, r.err
	case left == 0:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	p = p[:min(int64(len(p)), max(1, left-1))] // the last byte comes alone
	for {
		n, err := r.read(p)
		r.at += int64(n)
		if r.err = err; err == nil && r.at == r.object.size {
			r.err = r.check()
		}
		switch {
		case r.err != nil:
			return 0, r.err
		case n > 0:
			r.tries = 0
			return n, nil
		}
	}
}

// read reads once. That the connection broke is no error yet.
func (r *objectReader) read(p []byte) (int, error) {
	if r.body == nil {
		if err := r.reconnect(); err != nil {
			return 0, err
		}
	}
	n, err := r.body.Read(p)
	if r.sum != nil {
		r.sum.Write(p[:n]) // a hash has no error
	}
	if err == nil {
		return n, nil
	}
	if r.broke = err; errors.Is(err, io.EOF) {
		r.broke = io.ErrUnexpectedEOF
	}
	_ = r.body.Close() // it is broken already
	r.body = nil
	return n, nil
}

// reconnect goes on where the last connection ended.
func (r *objectReader) reconnect() error {
	for {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if r.tries == maxTries {
			return r.broke
		}
		if err := r.pause(); err != nil {
			return err
		}
		r.tries++
		err := r.connect()
		if err == nil || !passing(err) {
			return err
		}
		r.broke = err
	}
}

// pause waits before the next try, unless the last one brought something.
func (r *objectReader) pause() error {
	if r.tries == 0 {
		return nil
	}
	timer := time.NewTimer(firstPause << (r.tries - 1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

// connect asks for what is left.
func (r *objectReader) connect() error {
	o := r.object
	call := o.svc.Objects.Get(o.bucket, o.name).Context(r.ctx)
	if o.generation != 0 {
		call.Generation(o.generation)
	}
	// Also for the whole: to a request with a range Go's transport does not add
	// that it takes gzip, and so it unpacks nothing.
	call.Header().Set("Range", fmt.Sprintf("bytes=%d-", r.at))
	res, err := call.Download()
	if err != nil {
		return err
	}
	if err := o.answers(res, r.at); err != nil {
		return errors.Join(err, res.Body.Close())
	}
	r.body = res.Body
	return nil
}

// answers tells whether an answer is what was asked for.
func (o *StoredObject) answers(res *http.Response, from int64) error {
	given := res.Header.Get("Content-Range")
	end := given[strings.IndexByte(given, '/')+1:]
	switch {
	case res.StatusCode == http.StatusPartialContent && strings.HasPrefix(given, fmt.Sprintf("bytes %d-", from)) && (end == fmt.Sprint(o.size) || end == "*"):
		return nil
	case res.StatusCode == http.StatusOK && from == 0 && o.ContentEncoding == "gzip" && res.Header.Get("Content-Encoding") != "gzip":
		return errUnpacked // https://cloud.google.com/storage/docs/transcoding
	case res.StatusCode == http.StatusOK && from == 0:
		return nil
	}
	return errOtherRange
}

// What no further try would mend.
var (
	errUnpacked   = errors.New("content: the object is stored with Content-Encoding gzip, and Cloud Storage would give it unpacked")
	errOtherRange = errors.New("content: Cloud Storage answered with another range than was asked for")
	errWrongSum   = errors.New("content: what was read does not fit the object's checksum")
)

// check compares the sum of what was read, if it was all.
func (r *objectReader) check() error {
	if r.sum != nil && r.sum.Sum32() != binary.BigEndian.Uint32(r.object.sum) {
		return errWrongSum
	}
	return nil
}

// passing tells whether another try may go better.
func passing(err error) bool {
	var answer *googleapi.Error
	if errors.As(err, &answer) {
		return answer.Code >= 500 || answer.Code == http.StatusTooManyRequests || answer.Code == http.StatusRequestTimeout
	}
	return !errors.Is(err, errUnpacked) && !errors.Is(err, errOtherRange)
}

func (r *objectReader) Close() error {
	r.err = fs.ErrClosed
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}
