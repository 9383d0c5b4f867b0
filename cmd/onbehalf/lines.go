package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

// maxLine is the longest line that is read, in bytes: a job that is too long
// gets its failed result, up to here.
const maxLine = 16 << 20

// input is what the jobs are read from.
type input struct {
	io.ReadCloser
	name  string // which is in the ids of jobs that have none
	total int    // how many jobs; 0 where that is not known
	// file tells that it is a file that is there again when the same command is
	// given again, and not a pipe.
	file bool
	// batch tells that it is a batch, and no jobs.
	batch bool
}

// openInput opens the file, or standard input where it is "-", and counts its jobs.
func openInput(cmd *cobra.Command, file string) (*input, error) {
	in := &input{name: strings.ToValidUTF8(filepath.Base(file), "?")}
	from, err := open(cmd, file)
	if err != nil {
		return nil, err
	}
	f, ok := from.(*os.File)
	if !ok {
		in.ReadCloser, in.batch = sniff(from)
		return in, nil
	}
	in.ReadCloser = f
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return in, err
	}
	in.file = true
	if in.batch, err = isBatch(f, file); err != nil || in.batch {
		return in, err
	}
	for _, err := range jobLines(f) {
		if err != nil {
			break // which is said when the jobs are read
		}
		in.total++
	}
	_, err = f.Seek(0, io.SeekStart)
	return in, err
}

// isBatch tells whether a file holds a batch and no jobs: by its name, or its first object.
func isBatch(f *os.File, name string) (bool, error) {
	switch filepath.Ext(name) {
	case ".yaml", ".yml":
		return true, nil
	}
	is := beginsBatch(f)
	_, err := f.Seek(0, io.SeekStart)
	return is, err
}

// sniff is isBatch for what can be read only once: it gives all of it to read.
func sniff(from io.ReadCloser) (io.ReadCloser, bool) {
	var read bytes.Buffer
	is := beginsBatch(io.TeeReader(from, &read))
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(&read, from), from}, is
}

// beginsBatch tells whether the first thing there is a JSON object with targets, which no
// job has. It reads little more than that object.
func beginsBatch(from io.Reader) bool {
	d := jsontext.NewDecoder(io.LimitReader(from, jobs.MaxData))
	if d.PeekKind() != '{' {
		return false
	}
	_, err := d.ReadToken()
	for err == nil && d.PeekKind() == '"' {
		var name jsontext.Token
		if name, err = d.ReadToken(); err == nil && name.String() == "targets" {
			return true
		}
		if err == nil {
			err = d.SkipValue()
		}
	}
	return false
}

func open(cmd *cobra.Command, file string) (io.ReadCloser, error) {
	if file == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	return os.Open(file)
}

// jobLines goes through the lines that are not blank, by their number from 1; the
// last may be an error. A line is valid until the next.
func jobLines(in io.Reader) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		lines := bufio.NewScanner(in)
		lines.Buffer(make([]byte, 64<<10), maxLine)
		n := 0
		for lines.Scan() {
			n++
			text := bytes.TrimSpace(bytes.TrimPrefix(lines.Bytes(), []byte("\ufeff"))) // as some editors begin a file
			if len(text) > 0 && !yield(line{n, text}, nil) {
				return
			}
		}
		err := lines.Err()
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("is longer than %d bytes", maxLine)
		}
		if err != nil {
			yield(line{}, fmt.Errorf("line %d: %w", n+1, err))
		}
	}
}

type line struct {
	n    int
	text []byte
}

// message is the line as the function would get it. A job without an id is known by
// file, line and content: the same when the file is read again, and not that of
// another file of that name.
func (l line) message(name string) pubsubio.Message {
	sum := sha256.Sum256(l.text)
	return pubsubio.Message{ID: fmt.Sprintf("%s:%d:%x", name, l.n, sum[:6]), Data: bytes.Clone(l.text), PublishTime: time.Now()}
}

// send sends a message for each line that is not blank.
func (in *input) send(ctx context.Context, to chan<- pubsubio.Message) error {
	for line, err := range jobLines(in) {
		if err != nil {
			return fmt.Errorf("%s: %w", in.name, err)
		}
		select {
		case to <- line.message(in.name):
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
