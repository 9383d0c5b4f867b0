package jobs

import (
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"unicode"
)

// Letter is the letter in raw, decoded; nil where there is none.
func (m *Message) Letter() []byte { return m.letter }

// decode reads raw. Both spellings of base64url's end are accepted: Google's
// clients pad, JSON Web tools do not.
func (m *Message) decode() error {
	encoding := base64.RawURLEncoding
	if strings.HasSuffix(m.Raw, "=") {
		encoding = base64.URLEncoding
	}
	// The library passes over line breaks; a job that holds them was not
	// written by a base64url encoder, and guessing is not for letters.
	if strings.ContainsAny(m.Raw, "\r\n") {
		return Errorf("message.raw", "holds a line break; base64url on one line is expected")
	}
	letter, err := encoding.Strict().DecodeString(m.Raw)
	if err != nil {
		var at base64.CorruptInputError
		if errors.As(err, &at) && int(at) < len(m.Raw) && strings.IndexByte("+/", m.Raw[at]) >= 0 {
			return Errorf("message.raw", "is base64 of the other alphabet (%q at byte %d); base64url has '-' and '_' in place of '+' and '/'", m.Raw[at], int64(at))
		}
		return Errorf("message.raw", "is not base64url: %s", err)
	}
	m.letter = letter
	return nil
}

// ObjectOf is the Cloud Storage bucket and object that the field at that path
// names.
func ObjectOf(path, uri string) (bucket, object string, err error) {
	parts := objectPattern.FindStringSubmatch(uri)
	if parts == nil || len(parts[2]) > maxObject || parts[2] == "." || parts[2] == ".." || strings.ContainsFunc(uri, unicode.IsControl) {
		return "", "", Errorf(path, "is %s; gs://BUCKET/OBJECT is expected", Quote(uri))
	}
	return parts[1], parts[2], nil
}

// maxObject is the longest name of an object, in bytes, and objectPattern the
// form of a bucket's (https://cloud.google.com/storage/docs/buckets#naming).
const maxObject = 1024

var objectPattern = regexp.MustCompile(`^gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])/(.+)$`)
