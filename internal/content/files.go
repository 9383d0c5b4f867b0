package content

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"google.golang.org/api/googleapi"
	"google.golang.org/api/storage/v1"
)

// Files opens files, each as gs://BUCKET/OBJECT or, where Local is set, as a path of
// this machine.
type Files struct {
	Storage *storage.Service
	Local   bool
}

// FileError is why a file could not be read. Its text holds nothing that came from
// Cloud Storage.
type FileError struct {
	// Name is the file's, as it was given.
	Name string

	text string
	err  error
}

func (e *FileError) Error() string { return fmt.Sprintf("file %q: %s", e.Name, e.text) }

// GoString keeps what Cloud Storage says out of %#v, too.
func (e *FileError) GoString() string { return e.Error() }

// Unwrap gives the [*googleapi.Error], the [fs.ErrNotExist] or the connection's error.
func (e *FileError) Unwrap() error { return e.err }

// Open reads a file from an offset on; behind its end there is nothing. The version is
// another when the content is; it has no blanks. An error is a [*FileError] or ctx's own.
func (f Files) Open(ctx context.Context, name string, from int64) (body io.ReadCloser, version string, err error) {
	object, stored := strings.CutPrefix(name, "gs://")
	switch {
	case stored:
		body, version, err = f.openObject(ctx, object, from)
	case f.Local:
		body, version, err = openLocal(name, from)
	default:
		return nil, "", &FileError{Name: name, text: "is on another machine; gs://BUCKET/OBJECT is expected", err: errors.ErrUnsupported}
	}
	if err == nil {
		return body, version, nil
	}
	if ctx.Err() != nil {
		return nil, "", ctx.Err()
	}
	return nil, "", newFileError(name, err)
}

func newFileError(name string, err error) *FileError {
	e := &FileError{Name: name, text: "could not be read", err: err}
	var answer *googleapi.Error
	switch {
	case errors.As(err, &answer):
		e.text = fmt.Sprintf("Cloud Storage answered with HTTP %d", answer.Code)
		if answer.Code == http.StatusNotFound {
			e.err = errors.Join(err, fs.ErrNotExist)
		}
	case errors.Is(err, fs.ErrNotExist):
		e.text = "is not there"
	case errors.Is(err, errEncoded):
		e.text = "is stored with a Content-Encoding; store it as it is"
	}
	return e
}

var errEncoded = errors.New("content: the object has a Content-Encoding")

func (f Files) openObject(ctx context.Context, path string, from int64) (io.ReadCloser, string, error) {
	bucket, object, _ := strings.Cut(path, "/")
	o, err := Object(ctx, f.Storage, bucket, object)
	switch {
	case err != nil:
		return nil, "", err
	case o.ContentEncoding != "":
		return nil, "", errEncoded
	}
	body, err := o.Open(ctx, min(from, o.size))
	return body, fmt.Sprintf("%d-%d", o.generation, o.size), err
}

func openLocal(name string, from int64) (io.ReadCloser, string, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, "", err
	}
	about, err := file.Stat()
	switch {
	case err != nil:
	case about.IsDir():
		err = fs.ErrNotExist
	default:
		_, err = file.Seek(from, io.SeekStart)
	}
	if err != nil {
		return nil, "", errors.Join(err, file.Close())
	}
	return file, fmt.Sprintf("%d-%d", about.ModTime().UnixNano(), about.Size()), nil
}
