package sandbox

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
)

// getMessage answers in one of four formats.
func (c *call) getMessage(box *mailbox) reply {
	format := cmp.Or(c.query.Get("format"), "full")
	if (format == "full" || format == "raw") && !anyOf(c.tok.scopes, gmailContent) {
		return c.refuse(http.StatusForbidden, "forbidden", "Metadata scope doesn't allow format "+strings.ToUpper(format))
	}
	l, out, refused := c.look(box)
	if refused != nil {
		return *refused
	}
	out.Snippet = l.content().snippet
	switch format {
	case "full":
		out.Payload = parsePayload(l)
	case "metadata":
		out.Payload = headersOf(parsePayload(l), c.query["metadataHeaders"])
	case "raw":
		out.Raw = base64.URLEncoding.EncodeToString(l.raw)
	}
	return c.ok(out)
}

// look takes what may change under the lock; the caller parses without it.
func (c *call) look(box *mailbox) (*letter, *messageOut, *reply) {
	if !isMessageID(c.vars[1]) {
		a := c.row("A4")
		return nil, nil, &a
	}
	box.mu.RLock()
	defer box.mu.RUnlock()
	l := box.byID[c.vars[1]]
	if l == nil {
		a := c.row("A14")
		return nil, nil, &a
	}
	return l, l.minimal(), nil
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
	l, _, refused := c.look(box)
	if refused != nil {
		return *refused
	}
	data, ok := attachmentOf(l, c.vars[2])
	if !ok {
		return c.refuse(http.StatusBadRequest, "invalidArgument", "Invalid attachment token")
	}
	return c.ok(bodyOut{Size: len(data), Data: base64.URLEncoding.EncodeToString(data)})
}
