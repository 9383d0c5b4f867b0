package sandbox

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
)

// draft is a letter that is not sent yet. Its letter is replaced with each change.
type draft struct {
	id      string
	letter  *letter
	sending bool // by another request: it goes out once
}

// draftIn is the Draft resource as a request may hold it.
type draftIn struct {
	ID      string          `json:"id"`
	Message json.RawMessage `json:"message"`
}

// draftMethods take a letter in JSON or as an upload, as deliveries do.
func draftMethods() []method {
	var out []method
	for name, do := range map[string]func(*call, *mailbox, string, *parcel) reply{
		"create": (*call).createDraft, "update": (*call).updateDraft, "send": (*call).sendDraft,
	} {
		take := func(c *call, meta, data []byte) reply {
			var in draftIn
			if err := strictJSON(orEmpty(meta), &in); err != nil {
				return badJSON(err, "draft")
			}
			p, refused := c.parcel(in.Message)
			if refused != nil {
				return *refused
			}
			if data != nil {
				p.raw = data
			}
			if int64(len(p.raw)) > maxSend {
				return c.tooLarge()
			}
			return do(c, c.tok.person.mailbox(), in.ID, p)
		}
		out = append(out, method{
			id: "gmail.users.drafts." + name,
			do: func(c *call) reply { return take(c, c.body, nil) },
			in: &intake{take: func(c *call, m *media) reply { return take(c, m.meta, m.data) }},
		})
	}
	return out
}

func (d *draft) brief() doc { return doc{"id": d.id, "message": d.letter.brief()} }

// findDraft is the place of a draft, or -1; the lock must be held.
func (m *mailbox) findDraft(id string) int {
	return slices.IndexFunc(m.drafts, func(d draft) bool { return d.id == id })
}

func (c *call) createDraft(box *mailbox, _ string, p *parcel) reply {
	box.mu.Lock()
	defer box.mu.Unlock()
	l, refused := c.draftLetter(box, p)
	if refused != nil {
		return *refused
	}
	d := draft{id: "r" + strconv.Itoa(box.nextDraft), letter: l}
	box.nextDraft++
	box.drafts = append(box.drafts, d)
	box.put(l)
	return c.ok(d.brief())
}

// draftLetter makes the letter of a draft; what labels the request says is ignored.
func (c *call) draftLetter(box *mailbox, p *parcel) (*letter, *reply) {
	if len(p.raw) == 0 {
		a := c.refuse(http.StatusBadRequest, "invalidArgument", "Missing draft message")
		return nil, &a
	}
	p.meta.LabelIDs = []string{labelDraft}
	return c.newLetter(box, p, viaDraft, c.now())
}

func (c *call) updateDraft(box *mailbox, _ string, p *parcel) reply {
	box.mu.Lock()
	defer box.mu.Unlock()
	i := box.findDraft(c.arg("id"))
	if i < 0 {
		return c.row("A14")
	}
	old := box.drafts[i].letter
	p.meta.ThreadID = cmp.Or(p.meta.ThreadID, old.thread)
	l, refused := c.draftLetter(box, p)
	if refused != nil {
		return *refused
	}
	box.put(l)
	box.drafts[i].letter = l // before the old one goes, and the draft with it
	box.remove(map[string]bool{old.id: true})
	return c.ok(box.drafts[i].brief())
}

// sendDraft sends an existing draft, as it is or as the request has it now, or a
// letter that never was one.
func (c *call) sendDraft(box *mailbox, id string, p *parcel) reply {
	if id != "" {
		old := box.claimDraft(id)
		if old == nil {
			return c.row("A14")
		}
		if len(p.raw) == 0 {
			p.raw = old.raw
		}
		p.meta.ThreadID = cmp.Or(p.meta.ThreadID, old.thread)
	}
	if len(p.raw) == 0 {
		return c.refuse(http.StatusBadRequest, "invalidArgument", "Missing draft message")
	}
	a := c.send(box, p)
	switch {
	case id == "":
	case a.status == http.StatusOK:
		box.dropDraft(id)
	default:
		box.releaseDraft(id)
	}
	return a
}

// claimDraft is the letter of a draft that nobody else sends, or nil.
func (m *mailbox) claimDraft(id string) *letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.findDraft(id)
	if i < 0 || m.drafts[i].sending {
		return nil
	}
	m.drafts[i].sending = true
	return m.drafts[i].letter
}

func (m *mailbox) releaseDraft(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := m.findDraft(id); i >= 0 {
		m.drafts[i].sending = false
	}
}

// dropDraft removes a draft with its letter; false where there is none.
func (m *mailbox) dropDraft(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.findDraft(id)
	if i < 0 {
		return false
	}
	m.remove(map[string]bool{m.drafts[i].letter.id: true})
	return true
}

func (c *call) deleteDraft(box *mailbox) reply {
	if !box.dropDraft(c.arg("id")) {
		return c.row("A14")
	}
	return noContent()
}

func (c *call) getDraft(box *mailbox) reply {
	show, refused := c.messageFormat(true)
	if refused != nil {
		return *refused
	}
	box.mu.RLock()
	i := box.findDraft(c.arg("id"))
	if i < 0 {
		box.mu.RUnlock()
		return c.row("A14")
	}
	d := box.drafts[i]
	l := seen{d.letter, d.letter.minimal()}
	box.mu.RUnlock()
	return c.ok(doc{"id": d.id, "message": show(l)})
}

func (c *call) listDrafts(box *mailbox) reply {
	const normal, most = 100, 500
	found, refused := c.search(box, []string{labelDraft})
	if refused != nil {
		return *refused
	}
	box.mu.RLock()
	defer box.mu.RUnlock()
	var all []any
	for _, l := range found {
		if i := slices.IndexFunc(box.drafts, func(d draft) bool { return d.letter == l.letter }); i >= 0 {
			all = append(all, doc{"id": box.drafts[i].id, "message": messageRef{ID: l.id, ThreadID: l.thread}})
		}
	}
	return c.listed(doc{"resultSizeEstimate": len(all)}, "drafts", all, normal, most)
}
