package sandbox

import (
	"fmt"
	"net/http"
	"slices"
)

// batchMost is how many ids a batch may have, by the methods' documentation.
const batchMost = 1000

type modifyIn struct {
	IDs    []string `json:"ids"`
	Add    []string `json:"addLabelIds"`
	Remove []string `json:"removeLabelIds"`
	// Classification labels, which are not kept.
	Classify   []any    `json:"addClassificationLabels"`
	Declassify []string `json:"removeClassificationLabelIds"`
}

// withLetter holds the mailbox while h works on the letter that the call names.
func (c *call) withLetter(box *mailbox, h func(*letter) reply) reply {
	if !isMessageID(c.vars[1]) {
		return c.row("A4")
	}
	box.mu.Lock()
	defer box.mu.Unlock()
	l := box.byID[c.vars[1]]
	if l == nil {
		return c.row("A14")
	}
	return h(l)
}

func (c *call) modifyMessage(box *mailbox) reply {
	var in modifyIn
	if err := strictJSON(c.body, &in); err != nil {
		return badJSON(err, "")
	}
	return c.withLetter(box, func(l *letter) reply {
		if a := c.checkLabels(box, in); a != nil {
			return *a
		}
		box.relabel(l, in.Add, in.Remove)
		return c.ok(l.brief())
	})
}

// checkLabels refuses labels that are none, and those that Gmail alone sets.
func (c *call) checkLabels(box *mailbox, in modifyIn) *reply {
	if len(in.Classify)+len(in.Declassify) > 0 {
		a := c.notImplemented("classification labels")
		return &a
	}
	bad := box.unknownLabel(slices.Concat(in.Add, in.Remove))
	for _, id := range slices.Concat(in.Add, in.Remove) {
		if id == labelSent || id == labelDraft {
			bad = id
		}
	}
	if bad == "" {
		return nil
	}
	a := c.refuse(http.StatusBadRequest, "invalidArgument", "Invalid label: "+bad)
	return &a
}

func (c *call) trashMessage(box *mailbox) reply {
	return c.withLetter(box, func(l *letter) reply {
		box.relabel(l, []string{labelTrash}, []string{labelInbox})
		return c.ok(l.brief())
	})
}

func (c *call) untrashMessage(box *mailbox) reply {
	return c.withLetter(box, func(l *letter) reply {
		box.relabel(l, nil, []string{labelTrash})
		return c.ok(l.brief())
	})
}

func (c *call) deleteMessage(box *mailbox) reply {
	return c.withLetter(box, func(l *letter) reply {
		box.remove(map[string]bool{l.id: true})
		return noContent()
	})
}

// batchModify passes over ids that are not there; that Gmail does too is assumed.
func (c *call) batchModify(box *mailbox) reply {
	in, refused := c.batch()
	if refused != nil {
		return *refused
	}
	box.mu.Lock()
	defer box.mu.Unlock()
	if a := c.checkLabels(box, in); a != nil {
		return *a
	}
	for _, id := range in.IDs {
		if l := box.byID[id]; l != nil {
			box.relabel(l, in.Add, in.Remove)
		}
	}
	return noContent()
}

// batchDelete gives no guarantee that the messages were there, by its
// documentation.
func (c *call) batchDelete(box *mailbox) reply {
	in, refused := c.batch()
	if refused != nil {
		return *refused
	}
	ids := map[string]bool{}
	for _, id := range in.IDs {
		ids[id] = true
	}
	box.mu.Lock()
	defer box.mu.Unlock()
	box.remove(ids)
	return noContent()
}

func (c *call) batch() (modifyIn, *reply) {
	var in modifyIn
	if err := strictJSON(c.body, &in); err != nil {
		a := badJSON(err, "")
		return in, &a
	}
	if len(in.IDs) > batchMost {
		a := c.refuse(http.StatusBadRequest, "invalidArgument", fmt.Sprintf("Too many message IDs: %d, at most %d", len(in.IDs), batchMost))
		return in, &a
	}
	return in, nil
}
