package sandbox

import (
	"net/http"
	"net/mail"
	"slices"
	"strings"
)

// send files a copy for the sender and delivers to those recipients who are in
// the organisation; the others take it silently. The delivered copy has no Bcc.
func (c *call) send(box *mailbox, p *parcel) reply {
	to := recipients(p.raw)
	if len(to) == 0 {
		return c.refuse(http.StatusBadRequest, "invalidArgument", "Recipient address required")
	}
	people := c.inside(to)
	p.meta.LabelIDs = []string{labelSent} // what the request says is ignored
	if slices.Contains(people, c.person(box)) {
		p.meta.LabelIDs = []string{labelInbox, labelSent, labelUnread}
	}
	sent, refused := c.filed(box, p, viaSend, c.now(), false)
	if refused != nil {
		return *refused
	}
	copied := parcel{raw: without(p.raw, "Bcc"), meta: messageIn{LabelIDs: []string{labelInbox, labelUnread}}}
	for _, who := range people {
		if who.mailbox() != box {
			// It has only labels that every mailbox has, so that it cannot be refused.
			c.filed(who.mailbox(), &copied, viaSend, c.now(), false)
		}
	}
	return c.ok(sent)
}

func (c *call) person(box *mailbox) *person { return c.people.find(box.owner) }

// inside are those of the addresses who can get mail here, each once.
func (c *call) inside(addresses []string) []*person {
	var out []*person
	for _, a := range addresses {
		p := c.people.find(a)
		if p == nil || slices.Contains(out, p) {
			continue
		}
		if u := p.user(); !u.Suspended && !u.Archived && !u.NoMailbox {
			out = append(out, p)
		}
	}
	return out
}

// recipients are the addresses in To, Cc and Bcc. What is no list of addresses
// is passed over, so that a letter with one good field still goes out.
func recipients(raw []byte) []string {
	var out []string
	for line := range headerFields(raw) {
		key, value, _ := strings.Cut(string(line), ":")
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "to", "cc", "bcc":
		default:
			continue
		}
		list, err := mail.ParseAddressList(unfold([]byte(value)))
		if err != nil {
			continue
		}
		for _, a := range list {
			out = append(out, a.Address)
		}
	}
	return out
}
