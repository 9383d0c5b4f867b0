// Package letter makes letters as Gmail takes them: it builds the MIME of one
// that is given in fields, and sees to it that each has a Message-ID, by which
// it can be found again.
package letter

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"github.com/onbehalf-dev/onbehalf/internal/content"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// MessageID derives a Message-ID from the job's id, so that every attempt of
// the job stores the same letter.
func MessageID(job jobs.Job) string {
	domain := job.Domain()
	if domain == "" { // of a job without a user; RFC 2606 keeps the name free
		domain = "onbehalf.invalid"
	}
	sum := sha256.Sum256([]byte(job.ID))
	return "<onbehalf." + hex.EncodeToString(sum[:16]) + "@" + domain + ">"
}

// maxHeader is the longest header that is read, in bytes; Gmail takes none of
// this length.
const maxHeader = 1 << 20

// WithMessageID gives the letter with that Message-ID, unless it has one. The
// field goes to the top, where a relay would put its own; every other byte is
// left as it is, for a signature over the letter must stay whole. A letter that
// is none is a [*jobs.FieldError].
func WithMessageID(ctx context.Context, c content.Content, id string) (content.Content, error) {
	header, err := readHeader(ctx, c)
	if err != nil {
		return nil, err
	}
	if len(header) == 0 {
		return nil, jobs.Errorf("message", "is an empty letter")
	}
	top := 0
	if bytes.HasPrefix(header, []byte("From ")) { // the first line of an mbox file's letter
		top = bytes.IndexByte(header, '\n') + 1
	}
	if rest := header[top:]; len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
		return nil, jobs.Errorf("message", "begins with a blank; a letter begins with a header field, as RFC 5322 has it")
	}
	if idsIn(header[top:]) != nil {
		return c, nil
	}
	return content.Insert(c, int64(top), []byte("Message-ID: "+id+lineEnd(header))), nil
}

// readHeader reads until the first blank line, which it includes.
func readHeader(ctx context.Context, c content.Content) ([]byte, error) {
	letter, err := c.Open(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer letter.Close()
	var header []byte
	for lines := bufio.NewReader(io.LimitReader(letter, maxHeader+1)); ; {
		line, err := lines.ReadBytes('\n')
		header = append(header, line...)
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		case len(header) > maxHeader:
			return nil, jobs.Errorf("message", "has a header of more than %d bytes; a blank line ends it", maxHeader)
		case err != nil || len(bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))) == 0:
			return header, nil
		}
	}
}

// idsIn are the Message-IDs in a header that are not blank: most letters have
// one.
func idsIn(header []byte) []string {
	var ids []string
	for len(header) > 0 {
		line, rest, _ := bytes.Cut(header, []byte("\n"))
		name, value, found := bytes.Cut(line, []byte(":"))
		if found && bytes.EqualFold(bytes.TrimRight(name, " \t"), []byte("Message-ID")) {
			if id := bytes.TrimSpace(unfold(value, rest)); len(id) > 0 {
				ids = append(ids, string(id))
			}
		}
		header = rest
	}
	return ids
}

// IDOf is the letter's Message-ID as it stands there, which may be anything; empty
// where the letter has none, or several.
func IDOf(ctx context.Context, c content.Content) (string, error) {
	header, err := readHeader(ctx, c)
	if err != nil {
		return "", err
	}
	if ids := idsIn(header); len(ids) == 1 {
		return ids[0], nil
	}
	return "", nil
}

// unfold gives a field's value with the lines that continue it.
func unfold(value, rest []byte) []byte {
	for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		value = append(value[:len(value):len(value)], line...)
	}
	return value
}

// lineEnd is how the letter ends its first line.
func lineEnd(letter []byte) string {
	if i := bytes.IndexByte(letter, '\n'); i == 0 || i > 0 && letter[i-1] != '\r' {
		return "\n"
	}
	return "\r\n"
}
