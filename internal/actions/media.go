package actions

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"mime"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/onbehalf-dev/onbehalf/internal/content"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/letter"
)

const letterType = "message/rfc822"

// takesLetter tells whether what the method uploads is a letter.
func (c *Call) takesLetter() bool {
	return c.method.Upload != nil && strings.HasPrefix(c.method.Upload.Accept[0], "message/")
}

func (c *Call) checkLetter() error {
	id := c.method.ID
	switch {
	case c.job.Message != nil && !c.takesLetter():
		return jobs.Errorf("message", "is given, but %s takes no letter", id)
	case !c.takesLetter():
		return nil
	case names(c.job.Body, "raw") || names(member(c.job.Body, "message"), "raw"):
		return jobs.Errorf("body", "has the letter in raw; give it in message, where it gets the Message-ID by which it can be found again")
	case c.job.Message == nil && id == "gmail.users.drafts.send" && names(c.job.Body, "id"):
		return nil // a draft that is there
	case c.job.Message == nil:
		return jobs.Errorf("message", "is missing; %s needs a letter: give one of raw, uri and compose", id)
	}
	return nil
}

// mediaNeeded are the methods that upload, and do nothing else.
var mediaNeeded = []string{"*.media.upload", "storage.objects.insert"}

func (c *Call) checkMedia() error {
	id := c.method.ID
	field := mediaFields[id]
	switch {
	case c.job.Media == nil && anyMatches(mediaNeeded, id):
		return jobs.Errorf("media", "is missing; %s needs a file: give data and contentType, or uri", id)
	case c.job.Media == nil:
		return nil
	case c.takesLetter():
		return jobs.Errorf("media", "is given, but %s takes a letter: give it in message", id)
	case field != "" && member(c.job.Body, field) != nil: // null, too, or the field would be there twice
		return jobs.Errorf("media", "is given beside body.%s; give one of them", field)
	case field == "" && c.method.Upload == nil:
		return jobs.Errorf("media", "is given, but %s uploads nothing", id)
	}
	return nil
}

// remote tells whether a part of what is uploaded lies in Cloud Storage.
func (c *Call) remote() bool {
	if c.job.Media != nil {
		return c.job.Media.URI != ""
	}
	m := c.job.Message
	if m == nil || m.Compose == nil {
		return m != nil && m.URI != ""
	}
	for _, a := range m.Compose.Attachments {
		if a.URI != "" {
			return true
		}
	}
	return false
}

// Load gets hold of what the call uploads. It reads no more of it than a letter's
// header. An error is an [*Error] or a [*jobs.FieldError].
func (c *Call) Load(ctx context.Context) error {
	if c.loaded {
		return nil // Prepare had it at hand
	}
	err := c.load(ctx)
	c.loaded = err == nil
	return err
}

func (c *Call) load(ctx context.Context) (err error) {
	switch {
	case c.job.Message != nil:
		c.media, err = c.letter(ctx)
		c.mediaType = letterType
	case c.job.Media != nil:
		c.media, err = c.file(ctx)
	default:
		return nil
	}
	if err != nil {
		return loadError(err)
	}
	if err := c.checkSize(); err != nil {
		return err
	}
	if field := mediaFields[c.method.ID]; field != "" {
		return loadError(c.putIntoBody(ctx, field))
	}
	return nil
}

// letter is the job's letter with a Message-ID, by which it can be found again.
func (c *Call) letter(ctx context.Context) (content.Content, error) {
	m, id := c.job.Message, letter.MessageID(c.job)
	if m.Compose != nil {
		return c.compose(ctx, m.Compose, id)
	}
	var original content.Content = content.Bytes(m.Letter())
	if m.URI != "" {
		stored, err := c.object(ctx, "message.uri", m.URI)
		if err != nil {
			return nil, err
		}
		original = stored
	}
	named, err := letter.WithMessageID(ctx, original, id)
	if err != nil && m.URI != "" { // its header could not be read, or is none
		err = &objectError{"message.uri", err}
	}
	return named, err
}

func (c *Call) compose(ctx context.Context, fields *jobs.Compose, id string) (content.Content, error) {
	parts := letter.Parts{User: c.job.User, MessageID: id, Date: time.Now(), Seed: c.job.ID}
	for i := range fields.Attachments {
		a := &fields.Attachments[i]
		var attached content.Content = content.Bytes(a.Bytes())
		if a.URI != "" {
			stored, err := c.object(ctx, "message.compose.attachments["+strconv.Itoa(i)+"].uri", a.URI)
			if err != nil {
				return nil, err
			}
			attached = stored
		}
		parts.Attachments = append(parts.Attachments, attached)
	}
	return letter.Compose(fields, parts)
}

// file is the job's media, and sets its type.
func (c *Call) file(ctx context.Context) (content.Content, error) {
	m := c.job.Media
	c.mediaType = m.ContentType
	if m.URI == "" {
		return content.Bytes(m.Content()), c.checkType()
	}
	stored, err := c.object(ctx, "media.uri", m.URI)
	if err != nil {
		return nil, err
	}
	if c.mediaType == "" {
		c.mediaType = stored.ContentType
	}
	return stored, c.checkType()
}

// checkType sees to it that the type is one, for it stands in headers: that of an
// object may be anything.
func (c *Call) checkType() error {
	if c.mediaType == "" {
		return jobs.Errorf("media.contentType", "is missing, and the object has none; give the media type, such as image/png")
	}
	kind, _, err := mime.ParseMediaType(c.mediaType)
	if err != nil || strings.ContainsFunc(c.mediaType, unicode.IsControl) {
		return jobs.Errorf("media.contentType", "is %s, here or at the object; give a media type such as image/png", jobs.Quote(c.mediaType))
	}
	if c.method.Upload == nil || anyMatches(c.method.Upload.Accept, kind) {
		return nil
	}
	return jobs.Errorf("media.contentType", "is %s; %s accepts %s", jobs.Quote(c.mediaType), c.method.ID, enumerate(c.method.Upload.Accept))
}

// object is an object in Cloud Storage, as the field at that path names it.
func (c *Call) object(ctx context.Context, field, uri string) (*content.StoredObject, error) {
	bucket, name, err := jobs.ObjectOf(field, uri)
	if err != nil {
		return nil, err
	}
	stored, err := content.Object(ctx, c.storage, bucket, name)
	if err != nil {
		return nil, &objectError{field, err}
	}
	if stored.ContentEncoding != "" {
		return nil, jobs.Errorf(field, "names an object with Content-Encoding %s; store it as it is", jobs.Quote(stored.ContentEncoding))
	}
	return stored, nil
}

// maxField is the largest file that goes into a body's field, in bytes: a photo. It
// is held in memory, and once more in base64.
const maxField = 2 << 20

// checkSize sees to it that nothing is sent that would be refused for its size.
func (c *Call) checkSize() error {
	most, field, what := int64(maxField), "media", "a file"
	if c.method.Upload != nil {
		most = c.method.Upload.MaxSize
	}
	if c.job.Message != nil {
		field, what = "message", "a letter"
	}
	size := c.media.Size()
	if most > 0 && size > most {
		return jobs.Errorf(field, "is %s of %d bytes; %s accepts at most %d", what, size, c.method.ID, most)
	}
	return nil
}

// putIntoBody puts the media into a field of the body, as base64url.
func (c *Call) putIntoBody(ctx context.Context, field string) error {
	r, err := c.media.Open(ctx, 0)
	if err != nil {
		return &objectError{"media.uri", err}
	}
	defer r.Close()
	data := make([]byte, c.media.Size())
	if _, err := io.ReadFull(r, data); err != nil {
		return &objectError{"media.uri", err}
	}
	rest := bytes.TrimPrefix(c.body, []byte("{"))
	body := make([]byte, 0, len(field)+len(rest)+base64.URLEncoding.EncodedLen(len(data))+len(`{"":"",`))
	body = append(append(append(body, `{"`...), field...), `":"`...)
	body = append(base64.URLEncoding.AppendEncode(body, data), '"')
	if rest[0] != '}' {
		body = append(body, ',')
	}
	body = append(body, rest...)
	c.body, c.media = body, nil
	return nil
}

// member is a member of a JSON object; nil where there is none.
func member(object jsontext.Value, name string) jsontext.Value {
	var members map[string]jsontext.Value
	if object == nil || json.Unmarshal(object, &members) != nil {
		return nil
	}
	return members[name]
}
