package sandbox

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Ways by which a letter came.
const (
	viaInsert = "insert"
	viaImport = "import"
	viaSend   = "send"
	viaDraft  = "draft"
)

// A Letter is one message in a mailbox, as Letters shows it.
type Letter struct {
	ID           string    `json:"id"`
	ThreadID     string    `json:"threadId"`
	LabelIDs     []string  `json:"labelIds"`
	Raw          []byte    `json:"raw"` // exactly the bytes received; not to be changed
	InternalDate time.Time `json:"internalDate"`
	Via          string    `json:"via"` // insert, import, send or draft
}

// letter is a message where it lies. Labels and history belong to the
// mailbox's lock; the rest never changes.
type letter struct {
	id, thread string
	raw        []byte
	date       time.Time
	via        string
	messageID  string
	labels     []string
	history    uint64
	content    func() *content // parsed once, when first needed
}

func (l *letter) has(label string) bool { return slices.Contains(l.labels, label) }

// A mailbox is what Gmail keeps for one user.
type mailbox struct {
	owner string

	mu          sync.RWMutex
	letters     []*letter // in order of arrival
	byID        map[string]*letter
	byMessageID map[string][]*letter
	threads     map[string]int // id → number of letters
	labels      map[string]*label
	nextLabel   int
	history     uint64 // id of the newest change
	changes     []change
	forgotten   uint64  // changes up to this one are not kept any more
	drafts      []draft // in the order of their making
	nextDraft   int
}

func newMailbox(owner string) *mailbox {
	return &mailbox{
		owner:       owner,
		byID:        map[string]*letter{},
		byMessageID: map[string][]*letter{},
		threads:     map[string]int{},
		labels:      systemLabels(),
		nextLabel:   1,
		history:     firstHistory,
		forgotten:   firstHistory,
		nextDraft:   1,
	}
}

// Letters returns what lies in the user's mailbox now, in order of arrival.
func (s *Server) Letters(user string) []Letter {
	p := s.people.find(user)
	if p == nil {
		return nil
	}
	box := p.mailbox()
	box.mu.RLock()
	defer box.mu.RUnlock()
	out := make([]Letter, 0, len(box.letters))
	for _, l := range box.letters {
		out = append(out, Letter{
			ID: l.id, ThreadID: l.thread, LabelIDs: slices.Clone(l.labels),
			Raw: l.raw, InternalDate: l.date, Via: l.via,
		})
	}
	return out
}

// change counts a change of the mailbox; the lock must be held.
func (m *mailbox) change(l *letter, what string, labels []string) {
	m.history++
	l.history = m.history
	m.record(change{m.history, what, messageRef{l.id, l.thread, slices.Clone(l.labels)}, labels})
}

// put files a letter; the lock must be held.
func (m *mailbox) put(l *letter) {
	m.letters = append(m.letters, l)
	m.byID[l.id] = l
	if l.messageID != "" {
		m.byMessageID[l.messageID] = append(m.byMessageID[l.messageID], l)
	}
	m.threads[l.thread]++
	m.change(l, changeAdded, nil)
}

// remove deletes letters for good; the lock must be held.
func (m *mailbox) remove(ids map[string]bool) {
	gone := func(l *letter) bool { return ids[l.id] }
	for id := range ids {
		l := m.byID[id]
		if l == nil {
			continue
		}
		delete(m.byID, id)
		if m.threads[l.thread]--; m.threads[l.thread] == 0 {
			delete(m.threads, l.thread)
		}
		same := slices.DeleteFunc(m.byMessageID[l.messageID], gone)
		if m.byMessageID[l.messageID] = same; len(same) == 0 {
			delete(m.byMessageID, l.messageID)
		}
		m.change(l, changeDeleted, nil)
	}
	m.letters = slices.DeleteFunc(m.letters, gone)
	m.drafts = slices.DeleteFunc(m.drafts, func(d draft) bool { return gone(d.letter) })
}

// unknownLabel returns the first of ids that is no label of the mailbox, or "".
func (m *mailbox) unknownLabel(ids []string) string {
	for _, id := range ids {
		if m.labels[id] == nil {
			return id
		}
	}
	return ""
}

// relabel adds and removes labels; the lock must be held. What changes nothing
// makes no history.
func (m *mailbox) relabel(l *letter, add, remove []string) {
	set := map[string]bool{}
	for _, id := range l.labels {
		set[id] = true
	}
	for _, id := range add {
		set[id] = true
	}
	for _, id := range remove {
		delete(set, id)
	}
	before := l.labels
	l.labels = slices.Sorted(maps.Keys(set))
	if added := less(l.labels, before); len(added) > 0 {
		m.change(l, changeLabeled, added)
	}
	if removed := less(before, l.labels); len(removed) > 0 {
		m.change(l, changeUnlabeled, removed)
	}
}

// less is what of a is not in b.
func less(a, b []string) []string {
	var out []string
	for _, s := range a {
		if !slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}

// newID makes the id of a message: 16 hexadecimal digits, rising.
func (s *Server) newID() string { return fmt.Sprintf("%016x", s.ids.Add(1)) }

// isMessageID tells ids of Gmail's form from what can be none.
func isMessageID(s string) bool {
	return len(s) > 0 && len(s) <= 16 && strings.Trim(s, "0123456789abcdef") == ""
}
