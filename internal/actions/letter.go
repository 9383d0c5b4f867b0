package actions

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"

	"google.golang.org/api/storage/v1"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Letters from Cloud Storage are held in memory, in bytes: one of them, which is
// what Gmail accepts for sending, and all of them at a time, with their copies.
const (
	maxLetter = 35 << 20
	maxHeld   = 128 << 20
)

// checkUserID sees to it that a method's own user is the job's: with another
// one Google would at best refuse, and at worst do it to somebody else.
func checkUserID(userID, user string) error {
	if userID == "" || userID == "me" || strings.EqualFold(userID, user) {
		return nil
	}
	return jobs.Errorf("params.userId", "is %s; accepted are me and the job's own user, %s", jobs.Quote(userID), user)
}

// letter gives how the job's letter is loaded, ready to be stored: with a
// Message-ID, by which it can be found again. One that is in the job is checked
// now, before anything is asked of Google.
func (a *Actions) letter(job jobs.Job) (load func(context.Context) ([]byte, func(), error), err error) {
	if job.Message.URI != "" {
		return func(ctx context.Context) ([]byte, func(), error) {
			letter, done, err := a.read(ctx, job.Message)
			if err != nil {
				return nil, nil, err
			}
			if letter, err = withMessageID(letter, messageID(job)); err != nil {
				done()
			}
			return letter, done, err
		}, nil
	}
	letter, err := withMessageID(job.Message.Letter(), messageID(job))
	return func(context.Context) ([]byte, func(), error) { return letter, func() {}, nil }, err
}

// read gets the letter from Cloud Storage, when there is room for it.
func (a *Actions) read(ctx context.Context, m *jobs.Message) (letter []byte, done func(), err error) {
	bucket, object, err := m.Object()
	if err != nil {
		return nil, nil, err
	}
	about, err := a.storage.Objects.Get(bucket, object).Context(ctx).Do()
	if err != nil {
		return nil, nil, err
	}
	switch {
	case about.Size > maxLetter:
		return nil, nil, jobs.Errorf("message.uri", "names a letter of %d bytes; at most %d are accepted", about.Size, maxLetter)
	case about.ContentEncoding != "":
		return nil, nil, jobs.Errorf("message.uri", "names an object with Content-Encoding %s; store the letter as it is", jobs.Quote(about.ContentEncoding))
	}
	size := int64(about.Size)
	room := 2 * size // for the copy that gets a Message-ID, too
	if err := a.room.Acquire(ctx, room); err != nil {
		return nil, nil, errNoRoom
	}
	if letter, err = a.download(ctx, bucket, about, size); err != nil {
		a.room.Release(room)
		return nil, nil, err
	}
	return letter, func() { a.room.Release(room) }, nil
}

// download reads the very object that about tells of, whole.
func (a *Actions) download(ctx context.Context, bucket string, about *storage.Object, size int64) ([]byte, error) {
	res, err := a.storage.Objects.Get(bucket, about.Name).Generation(about.Generation).Context(ctx).Download()
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead)) // with which it need not grow
	if _, err := b.ReadFrom(io.LimitReader(res.Body, size+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) != size {
		return nil, io.ErrUnexpectedEOF
	}
	return b.Bytes(), nil
}

// messageID derives a Message-ID from the job's id, so that every attempt of
// the job stores the same letter.
func messageID(job jobs.Job) string {
	sum := sha256.Sum256([]byte(job.ID))
	return "<onbehalf." + hex.EncodeToString(sum[:16]) + "@" + job.Domain() + ">"
}

// withMessageID gives the letter with that Message-ID, unless it has one. The
// header goes to the top, where a relay would put its own; every other byte is
// left as it is, for a signature over the letter must stay whole.
func withMessageID(letter []byte, id string) ([]byte, error) {
	if len(letter) == 0 {
		return nil, jobs.Errorf("message", "is an empty letter")
	}
	top := 0
	if bytes.HasPrefix(letter, []byte("From ")) { // the first line of an mbox file's letter
		top = bytes.IndexByte(letter, '\n') + 1
	}
	if rest := letter[top:]; len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\t') {
		return nil, jobs.Errorf("message", "begins with a blank; a letter begins with a header field, as RFC 5322 has it")
	}
	if hasMessageID(letter[top:]) {
		return letter, nil
	}
	header := "Message-ID: " + id + lineEnd(letter)
	out := make([]byte, 0, len(letter)+len(header))
	out = append(out, letter[:top]...)
	out = append(out, header...)
	return append(out, letter[top:]...), nil
}

// hasMessageID looks for a Message-ID that is not blank in the letter's header.
func hasMessageID(letter []byte) bool {
	for len(letter) > 0 {
		line, rest, _ := bytes.Cut(letter, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 {
			return false // the header's end
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if found && bytes.EqualFold(bytes.TrimRight(name, " \t"), []byte("Message-ID")) && len(bytes.TrimSpace(unfold(value, rest))) > 0 {
			return true
		}
		letter = rest
	}
	return false
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
