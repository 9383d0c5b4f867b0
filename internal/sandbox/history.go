package sandbox

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// Kinds of changes, as the fields of History name them.
const (
	changeAdded     = "messagesAdded"
	changeDeleted   = "messagesDeleted"
	changeLabeled   = "labelsAdded"
	changeUnlabeled = "labelsRemoved"
)

// firstHistory is the id of the newest change of an empty mailbox.
const firstHistory = 1000

// historyKept bounds the changes that are remembered; Gmail keeps those of about
// a week.
const historyKept = 10_000

// change is one entry of a mailbox's history.
type change struct {
	id     uint64
	what   string
	letter messageRef
	labels []string // added or removed
}

// messageRef is a message as lists show it.
type messageRef struct {
	ID       string   `json:"id"`
	ThreadID string   `json:"threadId"`
	LabelIDs []string `json:"labelIds,omitempty"`
}

// record remembers a change; the lock must be held.
func (m *mailbox) record(ch change) {
	if len(m.changes) == 2*historyKept { // seldom, so that it costs little
		m.forgotten = m.changes[historyKept-1].id
		m.changes = slices.Clone(m.changes[historyKept:])
	}
	m.changes = append(m.changes, ch)
}

// historyTypes are the values of the parameter, by what they select.
var historyTypes = map[string]string{
	changeAdded: "messageAdded", changeDeleted: "messageDeleted", changeLabeled: "labelAdded", changeUnlabeled: "labelRemoved",
}

// listHistory answers what changed since; an id that is too old is row A14, and
// the client has to look at everything again.
func (c *call) listHistory(box *mailbox) reply {
	const normal, most = 100, 500
	since, err := strconv.ParseUint(c.query.Get("startHistoryId"), 10, 64)
	if err != nil {
		return c.refuse(http.StatusBadRequest, "invalidArgument", "Missing/invalid parameter: startHistoryId")
	}
	box.mu.RLock()
	defer box.mu.RUnlock()
	if since < box.forgotten {
		return c.row("A14")
	}
	if token := c.query.Get("pageToken"); token != "" {
		b, err := base64.RawURLEncoding.DecodeString(token)
		if err == nil {
			since, err = strconv.ParseUint(string(b), 10, 64)
		}
		if err != nil {
			return c.refuse(http.StatusBadRequest, "invalidArgument", "Invalid pageToken")
		}
	}
	limit := c.count("maxResults", normal, most)
	out := doc{"historyId": decimal(box.history)}
	var entries []doc
	for _, ch := range box.changes {
		if ch.id <= since || !c.wants(ch) {
			continue
		}
		if len(entries) == limit {
			out["nextPageToken"] = base64.RawURLEncoding.EncodeToString([]byte(decimal(since)))
			break
		}
		entries = append(entries, ch.entry())
		since = ch.id
	}
	if entries != nil {
		out["history"] = entries
	}
	return c.ok(out)
}

func (c *call) wants(ch change) bool {
	if types := c.query["historyTypes"]; len(types) > 0 && !slices.Contains(types, historyTypes[ch.what]) {
		return false
	}
	label := c.query.Get("labelId")
	return label == "" || slices.Contains(ch.letter.LabelIDs, label) || slices.Contains(ch.labels, label)
}

func (ch *change) entry() doc {
	what := doc{"message": ch.letter}
	if ch.labels != nil {
		what["labelIds"] = ch.labels
	}
	return doc{
		"id": decimal(ch.id), ch.what: []doc{what},
		"messages": []messageRef{{ID: ch.letter.ID, ThreadID: ch.letter.ThreadID}},
	}
}

// watchLife is how long a watch lasts, by the documentation of users.watch.
const watchLife = 7 * 24 * time.Hour

// watchTopics are the names that a topic may have.
var watchTopics = regexp.MustCompile(`^projects/([^/]+)/topics/[A-Za-z][A-Za-z0-9._~%+-]{2,254}$`)

// watch begins to watch. The sandbox publishes nothing: history.list tells what a
// notification would have led to.
func (c *call) watch(box *mailbox) reply {
	d := c.said()
	m := watchTopics.FindStringSubmatch(d.text("topicName"))
	if m == nil || m[1] != c.project {
		return c.refuse(http.StatusBadRequest, "invalidArgument",
			fmt.Sprintf("Invalid topicName does not match projects/%s/topics/*", c.project))
	}
	box.mu.RLock()
	defer box.mu.RUnlock()
	labels, _ := d["labelIds"].([]any)
	for _, id := range labels {
		if box.labels[fmt.Sprint(id)] == nil {
			return c.refuse(http.StatusBadRequest, "invalidArgument", fmt.Sprintf("Invalid label: %v", id))
		}
	}
	return c.ok(doc{
		"historyId":  decimal(box.history),
		"expiration": strconv.FormatInt(c.now().Add(watchLife).UnixMilli(), 10),
	})
}

func (c *call) stop(*mailbox) reply { return noContent() }
