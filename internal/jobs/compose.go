package jobs

import (
	"fmt"
	"html"
	"maps"
	"mime"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Compose is a letter in fields, of which the program builds the MIME. No field
// can put a line of its own into the letter's header.
type Compose struct {
	// From is a mailbox as RFC 5322 has it, such as "Ada Lovelace <ada@example.com>"
	// or the bare address; empty is the job's user. So are those of To, Cc, Bcc and
	// ReplyTo.
	From    string   `json:"from,omitzero"`
	To      []string `json:"to,omitzero"`
	Cc      []string `json:"cc,omitzero"`
	Bcc     []string `json:"bcc,omitzero"`
	ReplyTo []string `json:"replyTo,omitzero"`
	Subject string   `json:"subject,omitzero"`
	// Text and HTML are the letter in two forms; at least one is given.
	Text        string       `json:"text,omitzero"`
	HTML        string       `json:"html,omitzero"`
	Attachments []Attachment `json:"attachments,omitzero"`
	// Headers are further header fields, whose values are plain text.
	Headers map[string]string `json:"headers,omitzero"`
	// InReplyTo is the Message-ID of the letter that this one answers, with or
	// without <>, and References are those of the conversation, oldest first.
	InReplyTo  string   `json:"inReplyTo,omitzero"`
	References []string `json:"references,omitzero"`
}

// Attachment is a file that goes with a letter: exactly one of Data and URI is set.
type Attachment struct {
	// Name is the file's, without folders.
	Name string `json:"name"`
	// ContentType is its MIME type; empty is what the name's ending says.
	ContentType string `json:"contentType,omitzero"`
	// Data is the file in base64, of either alphabet, with or without padding.
	Data string `json:"data,omitzero"`
	// URI is the file's place in Cloud Storage, as gs://BUCKET/OBJECT.
	URI string `json:"uri,omitzero"`
	// ContentID makes it a picture that HTML shows in its text, as cid:CONTENTID.
	ContentID string `json:"contentId,omitzero"`

	bytes []byte // data, decoded
}

// Bytes is the file in data, decoded; nil where there is none.
func (a *Attachment) Bytes() []byte { return a.bytes }

// Limits of a composed letter. Lengths are in bytes. A word of maxWord fits on
// one line of a mail, which has 998 (RFC 5322, 2.1.1).
const (
	maxRecipients = 500 // in to, cc and bcc together: Gmail's API takes no more (https://support.google.com/a/answer/166852)
	maxListed     = 100 // of replyTo, attachments, headers and references, each
	maxMailbox    = 1000
	maxWord       = 900
	maxHeaderName = 76
	maxFileName   = 500
	maxType       = 255
	maxContentID  = 200
)

func (c *Compose) check() error {
	if c.Text == "" && c.HTML == "" {
		return Errorf("message.compose", "has no text; give text, html or both")
	}
	for _, check := range []func() error{c.checkMailboxes, c.checkThread, c.checkHeaders, c.checkAttachments} {
		if err := check(); err != nil {
			return err
		}
	}
	if strings.ContainsFunc(c.Subject, unicode.IsControl) {
		return Errorf("message.compose.subject", "holds a control character or line break; one line of text is expected")
	}
	return nil
}

func (c *Compose) checkMailboxes() error {
	if n := len(c.To) + len(c.Cc) + len(c.Bcc); n > maxRecipients {
		return Errorf("message.compose", "has %d recipients in all; Gmail accepts %d in to, cc and bcc together", n, maxRecipients)
	}
	if len(c.ReplyTo) > maxListed {
		return tooMany("message.compose.replyTo", len(c.ReplyTo))
	}
	if c.From != "" {
		if err := checkMailbox("message.compose.from", c.From); err != nil {
			return err
		}
	}
	for _, list := range []struct {
		name      string
		mailboxes []string
	}{{"to", c.To}, {"cc", c.Cc}, {"bcc", c.Bcc}, {"replyTo", c.ReplyTo}} {
		for i, mailbox := range list.mailboxes {
			if err := checkMailbox(fmt.Sprintf("message.compose.%s[%d]", list.name, i), mailbox); err != nil {
				return err
			}
		}
	}
	return nil
}

func tooMany(path string, n int) error {
	return Errorf(path, "has %d entries; at most %d are accepted", n, maxListed)
}

func checkMailbox(path, mailbox string) error {
	switch {
	case len(mailbox) > maxMailbox:
		return Errorf(path, "is %d bytes long; at most %d are accepted", len(mailbox), maxMailbox)
	case strings.ContainsFunc(mailbox, unicode.IsControl):
		return Errorf(path, "is %s; it may not hold control characters", Quote(mailbox))
	}
	parsed, ok := parseMailbox(mailbox)
	switch {
	case !ok:
		return Errorf(path, `is %s; one mailbox is expected, such as ada@example.com or "Lovelace, Ada" <ada@example.com>`, Quote(mailbox))
	case strings.ContainsFunc(parsed.Address, func(r rune) bool { return r > unicode.MaxASCII }):
		return Errorf(path, "is %s; no mailbox is accepted whose address is not ASCII: write its domain in the form that begins with xn--", Quote(mailbox))
	case len(parsed.Address) > maxUser || !userPattern.MatchString(parsed.Address):
		return Errorf(path, "is %s; a mailbox with an address such as ada@example.com is expected", Quote(mailbox))
	}
	return nil
}

// parseMailbox reads exactly one mailbox. The library takes a group of one for
// one, too, but not within another group.
func parseMailbox(s string) (*mail.Address, bool) {
	mailbox, err := mail.ParseAddress(s)
	if err != nil {
		return nil, false
	}
	grouped, err := mail.ParseAddressList("group:" + s + ";")
	// A name may have come in an encoded word, which can hold anything.
	return mailbox, err == nil && len(grouped) == 1 && utf8.ValidString(mailbox.Name) && !strings.ContainsFunc(mailbox.Name, unicode.IsControl)
}

// isMessageID lets also those pass that have no @: some mailers make them.
func isMessageID(s string) bool {
	inner := s
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") {
		inner = s[1 : len(s)-1]
	}
	return inner != "" && len(s) <= maxWord && !strings.ContainsFunc(inner, invisible) && !strings.ContainsAny(inner, "<>")
}

// invisible tells of a character that is no visible one of ASCII's.
func invisible(r rune) bool { return r <= ' ' || r > '~' }

func (c *Compose) checkThread() error {
	if c.InReplyTo != "" && !isMessageID(c.InReplyTo) {
		return noMessageID("message.compose.inReplyTo", c.InReplyTo)
	}
	if len(c.References) > maxListed {
		return tooMany("message.compose.references", len(c.References))
	}
	for i, id := range c.References {
		if !isMessageID(id) {
			return noMessageID(fmt.Sprintf("message.compose.references[%d]", i), id)
		}
	}
	return nil
}

func noMessageID(path, id string) error {
	return Errorf(path, "is %s; one Message-ID is expected, such as <1234@mail.example.com>", Quote(id))
}

// ownHeaders are the header fields that Headers may not hold, in lower case;
// one that ends with - is the beginning of their names.
var ownHeaders = []struct{ name, why string }{
	{"from", "give it in from"},
	{"sender", "the sender is the user as whom the letter is stored or sent"},
	{"to", "give it in to"},
	{"cc", "give it in cc"},
	{"bcc", "give it in bcc"},
	{"reply-to", "give it in replyTo"},
	{"subject", "give it in subject"},
	{"in-reply-to", "give it in inReplyTo"},
	{"references", "give it in references"},
	{"date", "the program writes when it composes the letter"},
	{"message-id", "the program makes it of the job's id, to find the letter again"},
	{"mime-version", "the program builds the MIME"},
	{"content-", "the program builds the MIME; text, html and attachments say of what"},
	{"resent-", "it says that the letter was sent before"},
	{"return-path", "only who delivers a letter knows it"},
	{"received", "only who delivers a letter knows it"},
	{"received-spf", "only who delivers a letter knows it"},
	{"x-received", "only who delivers a letter knows it"},
	{"delivered-to", "only who delivers a letter knows it"},
	{"envelope-to", "only who delivers a letter knows it"},
	{"apparently-to", "some take it for a recipient; give those in to, cc and bcc"},
	{"authentication-results", "only who checked a letter may say so"},
	{"arc-", "only who checked a letter may say so"},
	{"dkim-signature", "it would sign another letter; Gmail signs what it sends"},
	{"domainkey-signature", "it would sign another letter; Gmail signs what it sends"},
	{"x-google-", "it is Google's own"},
	{"x-gm-", "it is Google's own"},
}

func (c *Compose) checkHeaders() error {
	if len(c.Headers) > maxListed {
		return tooMany("message.compose.headers", len(c.Headers))
	}
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		path, lower := Path("message.compose.headers", jsontext.Pointer("").AppendToken(name)), strings.ToLower(name)
		switch {
		case name == "" || len(name) > maxHeaderName || strings.ContainsFunc(name, invisible) || strings.Contains(name, ":"): // RFC 5322, 3.6.8
			return Errorf(path, "is no name of a header field; 1 to %d visible ASCII characters but the colon are accepted", maxHeaderName)
		case seen[lower]:
			return Errorf(path, "is there in another spelling, too; in names of header fields case makes no difference")
		case !isHeaderValue(c.Headers[name]):
			return Errorf(path, "is no single line of words of at most %d bytes with one blank between them", maxWord)
		}
		seen[lower] = true
		for _, own := range ownHeaders {
			if lower == own.name || strings.HasSuffix(own.name, "-") && strings.HasPrefix(lower, own.name) {
				return Errorf(path, "is not for headers to say: %s", own.why)
			}
		}
	}
	return nil
}

// isHeaderValue tells whether a value can stand in a header field. A line is
// folded between words, and readers differ in what more than one blank there becomes.
func isHeaderValue(value string) bool {
	for word := range strings.SplitSeq(value, " ") {
		if word == "" || len(word) > maxWord || strings.ContainsFunc(word, unicode.IsControl) {
			return false
		}
	}
	return true
}

func (c *Compose) checkAttachments() error {
	if len(c.Attachments) > maxListed {
		return tooMany("message.compose.attachments", len(c.Attachments))
	}
	if len(c.Attachments) == 0 {
		return nil
	}
	shown := shownIn(c.HTML)
	for i := range c.Attachments {
		a, path := &c.Attachments[i], fmt.Sprintf("message.compose.attachments[%d]", i)
		if err := a.check(path); err != nil {
			return err
		}
		if a.ContentID == "" {
			continue
		}
		unused, ok := shown[a.ContentID]
		switch {
		case !ok:
			return Errorf(path+".contentId", "is %s, but html has no cid:%s; leave contentId out to attach the file", Quote(a.ContentID), a.ContentID)
		case !unused:
			return Errorf(path+".contentId", "is %s, as that of another attachment is", Quote(a.ContentID))
		}
		shown[a.ContentID] = false
	}
	return nil
}

var (
	contentIDPattern = regexp.MustCompile(`^[A-Za-z0-9._@+=-]*$`)
	cidPattern       = regexp.MustCompile(`(?i)\bcid:([A-Za-z0-9._@+=%-]+)`)
)

// shownIn has the content ids to which a text in HTML refers (RFC 2392).
func shownIn(text string) map[string]bool {
	shown := map[string]bool{}
	for _, m := range cidPattern.FindAllStringSubmatch(html.UnescapeString(text), -1) {
		if id, err := url.PathUnescape(m[1]); err == nil {
			shown[id] = true
		}
	}
	return shown
}

func (a *Attachment) check(path string) error {
	switch {
	case a.Name == "" || len(a.Name) > maxFileName:
		return Errorf(path+".name", "is %d bytes long; 1 to %d are accepted", len(a.Name), maxFileName)
	case strings.ContainsFunc(a.Name, unicode.IsControl) || strings.ContainsAny(a.Name, `/\`) || strings.Trim(a.Name, " ") != a.Name:
		return Errorf(path+".name", "is %s; a file's name without folders, control characters and blanks around it is expected", Quote(a.Name))
	case len(a.ContentID) > maxContentID || !contentIDPattern.MatchString(a.ContentID):
		return Errorf(path+".contentId", "is %s; accepted are letters, digits and . _ @ + = - , %d at most", Quote(a.ContentID), maxContentID)
	case a.Data != "" && a.URI != "":
		return Errorf(path, "has both data and uri; give exactly one")
	case a.Data == "" && a.URI == "":
		return Errorf(path, "has no content; give exactly one of data (base64) and uri (gs://BUCKET/OBJECT)")
	}
	if err := a.checkType(path + ".contentType"); err != nil {
		return err
	}
	if a.URI != "" {
		_, _, err := ObjectOf(path+".uri", a.URI)
		return err
	}
	var err error
	a.bytes, err = decodeBase64(path+".data", a.Data)
	return err
}

func (a *Attachment) checkType(path string) error {
	if a.ContentType == "" {
		return nil
	}
	media, params, err := mime.ParseMediaType(a.ContentType)
	kind, _, ok := strings.Cut(media, "/")
	switch {
	case len(a.ContentType) > maxType:
		return Errorf(path, "is %d bytes long; at most %d are accepted", len(a.ContentType), maxType)
	case err != nil || !ok || mime.FormatMediaType(media, params) == "":
		return Errorf(path, "is %s; a MIME type such as application/pdf is expected", Quote(a.ContentType))
	case kind == "multipart" || kind == "message": // whose content may not be in base64 (RFC 2045, 6.4)
		return Errorf(path, "is %s; no attachment can have the type %s/*: give application/octet-stream for a letter in a file", Quote(a.ContentType), kind)
	}
	for key, value := range params {
		if key == "name" || strings.ContainsFunc(key+value, func(r rune) bool { return r < ' ' || r > '~' }) {
			return Errorf(path, "is %s; parameters in ASCII are accepted, and name stands in the attachment's own name", Quote(a.ContentType))
		}
	}
	return nil
}
