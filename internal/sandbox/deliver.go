package sandbox

import (
	"bytes"
	"cmp"
	"net/http"
	"slices"
	"sync"
	"time"
)

// deliveries are insert, import and send, which take a letter in JSON or as an
// upload.
func deliveries() []method {
	var out []method
	for _, d := range []delivery{
		{"messages.insert", maxInsert, (*call).insert},
		{"messages.import", maxInsert, (*call).importLetter},
		{"messages.send", maxSend, (*call).send},
	} {
		out = append(out, method{id: "gmail.users." + d.name, do: d.fromJSON, in: &intake{take: d.fromMedia}})
	}
	return out
}

// delivery is a method that takes a letter in.
type delivery struct {
	name  string
	limit int64 // of the letter
	file  func(*call, *mailbox, *parcel) reply
}

// parcel is a letter with what was said about it in JSON.
type parcel struct {
	meta messageIn
	raw  []byte
}

// messageIn is the Message resource as a request may hold it. Most of its
// fields are output only and ignored.
type messageIn struct {
	ID              string   `json:"id"`
	ThreadID        string   `json:"threadId"`
	LabelIDs        []string `json:"labelIds"`
	Snippet         string   `json:"snippet"`
	HistoryID       any      `json:"historyId"`
	InternalDate    any      `json:"internalDate"`
	Payload         any      `json:"payload"`
	SizeEstimate    any      `json:"sizeEstimate"`
	Raw             string   `json:"raw"`
	Classifications any      `json:"classificationLabelValues"`
}

// accept files what came and answers as Gmail does.
func (d delivery) accept(c *call, p *parcel) reply {
	if len(p.raw) == 0 {
		return c.refuse(http.StatusBadRequest, "invalidArgument",
			"'raw' RFC822 payload message string or uploading message via /upload/* URL required")
	}
	if int64(len(p.raw)) > d.limit {
		return c.tooLarge()
	}
	return d.file(c, c.tok.person.mailbox(), p)
}

func (d delivery) fromMedia(c *call, m *media) reply {
	p := parcel{raw: m.data}
	if len(m.meta) > 0 {
		if err := strictJSON(m.meta, &p.meta); err != nil {
			return badJSON(err, "message")
		}
	}
	return d.accept(c, &p)
}

func (d delivery) fromJSON(c *call) reply {
	p, refused := c.parcel(c.body)
	if refused != nil {
		return *refused
	}
	return d.accept(c, p)
}

// parcel reads a message that holds its letter.
func (c *call) parcel(body []byte) (*parcel, *reply) {
	var p parcel
	if err := strictJSON(orEmpty(body), &p.meta); err != nil {
		a := badJSON(err, "message")
		return nil, &a
	}
	var err error
	if p.raw, err = decodeBase64(p.meta.Raw); err != nil {
		a := badParam(`Invalid value at 'message.raw' (TYPE_BYTES), Base64 decoding failed for "` + head(p.meta.Raw, 40) + `"`)
		return nil, &a
	}
	return &p, nil
}

// orEmpty is an empty object where there is no body, which means the same.
func orEmpty(body []byte) []byte {
	if len(bytes.TrimSpace(body)) == 0 {
		return []byte("{}")
	}
	return body
}

func head(s string, n int) string { return s[:min(n, len(s))] }

// newLetter dates and names a letter. The mailbox's lock must be held, for the
// thread it belongs to.
func (c *call) newLetter(box *mailbox, p *parcel, via string, date time.Time) (*letter, *reply) {
	if bad := box.unknownLabel(p.meta.LabelIDs); bad != "" {
		a := c.refuse(http.StatusBadRequest, "invalidArgument", "Invalid label: "+bad)
		return nil, &a
	}
	l := &letter{
		id: c.newID(), raw: p.raw, via: via,
		date:      date.UTC().Truncate(time.Millisecond), // Gmail's own grain
		messageID: messageIDOf(p.raw),
		labels:    slices.Compact(slices.Sorted(slices.Values(p.meta.LabelIDs))),
	}
	l.content = sync.OnceValue(func() *content { return parseContent(l.raw) })
	l.thread = l.id
	if p.meta.ThreadID != "" {
		if box.threads[p.meta.ThreadID] == 0 {
			a := c.row("A14")
			return nil, &a
		}
		l.thread = p.meta.ThreadID
		return l, nil
	}
	if thread := box.threadOf(p.raw); thread != "" {
		l.thread = thread
	}
	return l, nil
}

// threadOf finds the thread of the letter that this one answers.
func (m *mailbox) threadOf(raw []byte) string {
	for _, id := range ancestors(raw) {
		if known := m.byMessageID[id]; len(known) > 0 {
			return known[0].thread
		}
	}
	return ""
}

// dateFrom honours internalDateSource.
func (c *call) dateFrom(raw []byte, normal string) time.Time {
	if cmp.Or(c.query.Get("internalDateSource"), normal) == "dateHeader" {
		return dateOf(raw, c.now())
	}
	return c.now()
}

func (c *call) insert(box *mailbox, p *parcel) reply {
	return c.take(box, p, viaInsert, "receivedTime")
}

// importLetter merges with a letter of the same Message-ID that is there, as users
// report of Gmail; insert does not.
func (c *call) importLetter(box *mailbox, p *parcel) reply {
	return c.take(box, p, viaImport, "dateHeader")
}

func (c *call) take(box *mailbox, p *parcel, via, dated string) reply {
	l, refused := c.filed(box, p, via, c.dateFrom(p.raw, dated), c.flag("deleted"))
	if refused != nil {
		return *refused
	}
	return c.ok(l)
}

// filed puts the letter where it belongs and returns what is said of it. A
// letter inserted as deleted is in no mailbox, only in Google Vault.
func (c *call) filed(box *mailbox, p *parcel, via string, date time.Time, deleted bool) (*messageOut, *reply) {
	box.mu.Lock()
	defer box.mu.Unlock()
	l, refused := c.newLetter(box, p, via, date)
	if refused != nil {
		return nil, refused
	}
	if same := box.byMessageID[l.messageID]; via == viaImport && l.messageID != "" && len(same) > 0 {
		box.relabel(same[0], l.labels, nil)
		return same[0].brief(), nil
	}
	if !deleted {
		box.put(l)
	}
	return l.brief(), nil
}
