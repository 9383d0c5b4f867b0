package sandbox

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// deliveryRoutes are insert, import and send, each at its four addresses: JSON,
// upload, resumable upload, and the chunks of the latter.
func deliveryRoutes() []*route {
	var out []*route
	for _, m := range []delivery{
		{name: "insert", path: "messages", params: "internalDateSource deleted", scopes: gmailInserts, limit: maxInsert, file: (*call).insert},
		{name: "import", path: "messages/import", params: "internalDateSource deleted neverMarkSpam processForCalendar", scopes: gmailInserts, limit: maxInsert, file: (*call).importLetter},
		{name: "send", path: "messages/send", scopes: gmailSends, limit: maxSend, file: (*call).send},
	} {
		out = append(out, m.routes()...)
	}
	return out
}

// delivery is a method that takes a letter in.
type delivery struct {
	name, path, params string
	scopes             []string
	limit              int64 // of the letter
	file               func(*call, *mailbox, *parcel) reply
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

func (d delivery) routes() []*route {
	name, users := "gmail.users.messages."+d.name, "gmail/v1/users/{}/"+d.path
	plain := gmailRoute(name, http.MethodPost, users, d.params, d.scopes, d.fromJSON)
	plain.limit = d.limit/3*4 + limitSmall
	in := &intake{accept: "message/*", limit: d.limit, check: checkMessage, take: d.fromMedia}
	return append(in.routes(plain), plain)
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
	return d.file(c, c.tok.person.box, p)
}

func checkMessage(_ *call, meta []byte) *reply {
	if len(meta) == 0 {
		return nil
	}
	if err := strictJSON(meta, new(messageIn)); err != nil {
		a := badJSON(err, "message")
		return &a
	}
	return nil
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

func (d delivery) fromJSON(c *call, _ *mailbox) reply {
	var p parcel
	if err := strictJSON(c.body, &p.meta); err != nil {
		return badJSON(err, "message")
	}
	var err error
	if p.raw, err = decodeBase64(p.meta.Raw); err != nil {
		return badParam(`Invalid value at 'message.raw' (TYPE_BYTES), Base64 decoding failed for "` + head(p.meta.Raw, 40) + `"`)
	}
	return d.accept(c, &p)
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
func (c *call) dateFrom(raw []byte, normal string) (time.Time, *reply) {
	source := c.query.Get("internalDateSource")
	if source == "" {
		source = normal
	}
	switch source {
	case "dateHeader", "DATE_HEADER":
		return dateOf(raw, c.now()), nil
	case "receivedTime", "RECEIVED_TIME":
		return c.now(), nil
	}
	a := badParam("Invalid value at 'internal_date_source' (type.googleapis.com/caribou.api.proto.InternalDateSource), \"" + source + `"`)
	return time.Time{}, &a
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
	date, refused := c.dateFrom(p.raw, dated)
	if refused != nil {
		return *refused
	}
	deleted, refused := c.boolParam("deleted")
	if refused != nil {
		return *refused
	}
	l, refused := c.filed(box, p, via, date, deleted)
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
