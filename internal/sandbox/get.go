package sandbox

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
)

// seen is a letter with what was said of it when it was looked at.
type seen struct {
	*letter
	out *messageOut
}

// getMessage answers in one of four formats.
func (c *call) getMessage(box *mailbox) reply {
	show, refused := c.messageFormat(true)
	if refused != nil {
		return *refused
	}
	l, refused := c.look(box)
	if refused != nil {
		return *refused
	}
	return c.ok(show(*l))
}

// messageFormat is how the call wants messages to be shown; threads have no raw.
func (c *call) messageFormat(raw bool) (func(seen) *messageOut, *reply) {
	format := cmp.Or(c.query.Get("format"), "full")
	if (format == "full" || format == "raw") && c.onlyMetadata() {
		a := c.refuse(http.StatusForbidden, "forbidden", "Metadata scope doesn't allow format "+strings.ToUpper(format))
		return nil, &a
	}
	return func(l seen) *messageOut {
		l.out.Snippet = l.content().snippet
		switch {
		case format == "full":
			l.out.Payload = parsePayload(l.letter)
		case format == "metadata":
			l.out.Payload = headersOf(parsePayload(l.letter), c.query["metadataHeaders"])
		case format == "raw" && raw:
			l.out.Raw = base64.URLEncoding.EncodeToString(l.raw)
		}
		return l.out
	}, nil
}

// look takes what may change under the lock; the caller parses without it.
func (c *call) look(box *mailbox) (*seen, *reply) {
	if !isMessageID(c.vars[1]) {
		a := c.row("A4")
		return nil, &a
	}
	box.mu.RLock()
	defer box.mu.RUnlock()
	l := box.byID[c.vars[1]]
	if l == nil {
		a := c.row("A14")
		return nil, &a
	}
	return &seen{l, l.minimal()}, nil
}

// headersOf leaves a payload with its headers alone, all or those named.
func headersOf(p *partOut, names []string) *partOut {
	out := &partOut{MimeType: p.MimeType}
	for _, h := range p.Headers {
		if len(names) == 0 || slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, h.Name) }) {
			out.Headers = append(out.Headers, h)
		}
	}
	return out
}

func (c *call) getAttachment(box *mailbox) reply {
	l, refused := c.look(box)
	if refused != nil {
		return *refused
	}
	data, ok := attachmentOf(l.letter, c.vars[2])
	if !ok {
		return c.refuse(http.StatusBadRequest, "invalidArgument", "Invalid attachment token")
	}
	return c.ok(bodyOut{Size: len(data), Data: base64.URLEncoding.EncodeToString(data)})
}
