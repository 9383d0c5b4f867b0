package sandbox

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// System labels, https://developers.google.com/workspace/gmail/api/guides/labels.
const (
	labelInbox  = "INBOX"
	labelSpam   = "SPAM"
	labelTrash  = "TRASH"
	labelUnread = "UNREAD"
	labelSent   = "SENT"
	labelDraft  = "DRAFT"
)

// label is the Label resource less the counts, which are made when asked for.
type label struct {
	ID       string      `json:"id"`
	Name     string      `json:"name"`
	Messages string      `json:"messageListVisibility,omitempty"`
	Labels   string      `json:"labelListVisibility,omitempty"`
	Type     string      `json:"type"`
	Color    *labelColor `json:"color,omitempty"`
	serial   int         // order of creation
}

type labelColor struct {
	Text       string `json:"textColor,omitempty"`
	Background string `json:"backgroundColor,omitempty"`
}

// labelIn is what a request may hold.
type labelIn struct {
	ID             string      `json:"id"`
	Name           *string     `json:"name"`
	Messages       *string     `json:"messageListVisibility"`
	Labels         *string     `json:"labelListVisibility"`
	Type           string      `json:"type"`
	Color          *labelColor `json:"color"`
	MessagesTotal  any         `json:"messagesTotal"`
	MessagesUnread any         `json:"messagesUnread"`
	ThreadsTotal   any         `json:"threadsTotal"`
	ThreadsUnread  any         `json:"threadsUnread"`
}

// labelOut is a label with its counts, as labels.get answers.
type labelOut struct {
	label
	MessagesTotal  int `json:"messagesTotal"`
	MessagesUnread int `json:"messagesUnread"`
	ThreadsTotal   int `json:"threadsTotal"`
	ThreadsUnread  int `json:"threadsUnread"`
}

func systemLabels() map[string]*label {
	out := map[string]*label{}
	for i, id := range []string{
		"CHAT", labelSent, labelInbox, "IMPORTANT", labelTrash, labelDraft, labelSpam,
		"CATEGORY_FORUMS", "CATEGORY_UPDATES", "CATEGORY_PERSONAL", "CATEGORY_PROMOTIONS", "CATEGORY_SOCIAL",
		"STARRED", labelUnread,
	} {
		out[id] = &label{ID: id, Name: id, Type: "system", serial: i - 100}
	}
	return out
}

func (c *call) listLabels(box *mailbox) reply {
	box.mu.RLock()
	defer box.mu.RUnlock()
	all := make([]*label, 0, len(box.labels))
	for _, l := range box.labels {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *label) int { return cmp.Compare(a.serial, b.serial) })
	return c.ok(map[string]any{"labels": all})
}

func (c *call) getLabel(box *mailbox) reply {
	box.mu.RLock()
	defer box.mu.RUnlock()
	l := box.labels[c.vars[1]]
	if l == nil {
		return c.row("A14")
	}
	return c.ok(box.count(l))
}

func (m *mailbox) count(l *label) labelOut {
	out := labelOut{label: *l}
	threads, unread := map[string]bool{}, map[string]bool{}
	for _, letter := range m.letters {
		if !letter.has(l.ID) {
			continue
		}
		out.MessagesTotal++
		threads[letter.thread] = true
		if letter.has(labelUnread) {
			out.MessagesUnread++
			unread[letter.thread] = true
		}
	}
	out.ThreadsTotal, out.ThreadsUnread = len(threads), len(unread)
	return out
}

func (c *call) createLabel(box *mailbox) reply {
	var in labelIn
	if err := strictJSON(c.body, &in); err != nil {
		return badJSON(err, "label")
	}
	if in.Name == nil || strings.TrimSpace(*in.Name) == "" {
		return c.refuse(http.StatusBadRequest, "invalidArgument", "Invalid label name")
	}
	box.mu.Lock()
	defer box.mu.Unlock()
	l := &label{Type: "user", Messages: "show", Labels: "labelShow", serial: box.nextLabel}
	if a := c.edit(box, l, in); a != nil {
		return *a
	}
	l.ID = "Label_" + strconv.Itoa(box.nextLabel)
	box.nextLabel++
	box.history++
	box.labels[l.ID] = l
	return c.ok(l)
}

// edit checks all before it changes anything.
func (c *call) edit(box *mailbox, l *label, in labelIn) *reply {
	if a := c.checkName(box, l, in.Name); a != nil {
		return a
	}
	for field, v := range map[string]*string{"message_list_visibility": in.Messages, "label_list_visibility": in.Labels} {
		if v != nil && !slices.Contains(visibilities(field), *v) {
			a := badParam(fmt.Sprintf("Invalid value at 'label.%s' (TYPE_ENUM), %q", field, *v))
			return &a
		}
	}
	if in.Name != nil {
		l.Name = strings.TrimSpace(*in.Name)
	}
	set(&l.Messages, in.Messages)
	set(&l.Labels, in.Labels)
	if in.Color != nil {
		l.Color = in.Color
	}
	return nil
}

func visibilities(field string) []string {
	if field == "message_list_visibility" {
		return []string{"show", "hide"}
	}
	return []string{"labelShow", "labelShowIfUnread", "labelHide"}
}

// checkName refuses empty names, those of Gmail's own labels, and row A16: those
// of the user's other labels, whatever their case.
func (c *call) checkName(box *mailbox, l *label, name *string) *reply {
	if name == nil {
		return nil
	}
	wanted := strings.TrimSpace(*name)
	for _, other := range box.labels {
		if other == l || !strings.EqualFold(other.Name, wanted) {
			continue
		}
		a := c.row("A16")
		if other.Type == "system" {
			a = c.refuse(http.StatusBadRequest, "invalidArgument", "Invalid label name")
		}
		return &a
	}
	if wanted == "" {
		a := c.refuse(http.StatusBadRequest, "invalidArgument", "Invalid label name")
		return &a
	}
	return nil
}

func (c *call) patchLabel(box *mailbox) reply { return c.changeLabel(box, false) }

func (c *call) updateLabel(box *mailbox) reply { return c.changeLabel(box, true) }

// changeLabel replaces the label, so that answers being written keep the old.
func (c *call) changeLabel(box *mailbox, whole bool) reply {
	var in labelIn
	if err := strictJSON(c.body, &in); err != nil {
		return badJSON(err, "label")
	}
	box.mu.Lock()
	defer box.mu.Unlock()
	old := box.labels[c.vars[1]]
	if old == nil {
		return c.row("A14")
	}
	if old.Type == "system" {
		return c.refuse(http.StatusBadRequest, "invalidArgument", "Invalid update request")
	}
	if whole && in.Name == nil {
		return c.refuse(http.StatusBadRequest, "invalidArgument", "Invalid label name")
	}
	next := *old
	box.labels[old.ID] = &next // so that the name does not conflict with its own
	if a := c.edit(box, &next, in); a != nil {
		box.labels[old.ID] = old
		return *a
	}
	box.history++
	return c.ok(&next)
}

func (c *call) deleteLabel(box *mailbox) reply {
	box.mu.Lock()
	defer box.mu.Unlock()
	l := box.labels[c.vars[1]]
	if l == nil {
		return c.row("A14")
	}
	if l.Type == "system" {
		return c.refuse(http.StatusBadRequest, "invalidArgument", "Invalid delete request")
	}
	delete(box.labels, l.ID)
	for _, letter := range box.letters {
		box.relabel(letter, nil, []string{l.ID})
	}
	box.history++
	return noContent()
}
