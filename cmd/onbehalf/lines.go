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

	"github.com/spf13/cobra"

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
}

// openInput opens the file, or standard input where it is "-", and counts its jobs.
func openInput(cmd *cobra.Command, file string) (*input, error) {
	in := &input{name: strings.ToValidUTF8(filepath.Base(file), "?")}
	switch filepath.Ext(file) {
	case ".yaml", ".yml":
		return nil, fmt.Errorf("run: %s is not accepted; a file of jobs is, one JSON object a line (JSONL)", file)
	}
	var err error
	if in.ReadCloser, err = open(cmd, file); err != nil {
		return nil, err
	}
	f, ok := in.ReadCloser.(*os.File)
	if !ok {
		return in, nil
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return in, err
	}
	in.file = true
	for _, err := range jobLines(f) {
		if err != nil {
			break // which is said when the jobs are read
		}
		in.total++
	}
	_, err = f.Seek(0, io.SeekStart)
	return in, err
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
