package sandbox

import (
	"cmp"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// listed is a letter with the labels it had when the list was made, and its history.
type listed struct {
	*letter
	labels []string
	seen   uint64
}

// listMessages answers newest first, as Gmail does.
func (c *call) listMessages(box *mailbox) reply {
	const normal, most = 100, 500
	found, refused := c.search(box, c.query["labelIds"])
	if refused != nil {
		return *refused
	}
	from, ok := pageStart(found, c.query.Get("pageToken"))
	if !ok {
		return c.refuse(http.StatusBadRequest, "invalidArgument", "Invalid pageToken")
	}
	return c.ok(pageOf(found, from, c.count("maxResults", normal, most)))
}

// search finds the letters with the wanted labels that fit the call's q.
func (c *call) search(box *mailbox, wanted []string) ([]listed, *reply) {
	refuse := func(a reply) ([]listed, *reply) { return nil, &a }
	if c.query.Get("q") != "" && c.onlyMetadata() {
		return refuse(c.refuse(http.StatusForbidden, "forbidden", "Metadata scope does not support 'q' parameter"))
	}
	q, err := parseQuery(c.query.Get("q"))
	if err != nil {
		return refuse(c.notImplemented(err.Error()))
	}
	found, bad := box.search(q, wanted, c.flag("includeSpamTrash"))
	if bad != "" {
		return refuse(c.refuse(http.StatusBadRequest, "invalidArgument", "Invalid label: "+bad))
	}
	return found, nil
}

type messageList struct {
	Messages []map[string]string `json:"messages,omitempty"`
	Next     string              `json:"nextPageToken,omitempty"`
	Estimate int                 `json:"resultSizeEstimate"`
}

func pageOf(found []listed, from, limit int) messageList {
	out := messageList{Estimate: len(found)}
	end := min(from+limit, len(found))
	for _, l := range found[from:end] {
		out.Messages = append(out.Messages, map[string]string{"id": l.id, "threadId": l.thread})
	}
	if end < len(found) {
		out.Next = pageToken(found[end-1].letter)
	}
	return out
}

// pageToken names the last letter of a page: what arrives between two pages
// shifts nothing.
func pageToken(l *letter) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(l.date.UnixMilli(), 10) + "." + l.id))
}

// pageStart is false for a token that we did not make.
func pageStart(found []listed, token string) (int, bool) {
	if token == "" {
		return 0, true
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	date, id, ok := strings.Cut(string(b), ".")
	ms, numErr := strconv.ParseInt(date, 10, 64)
	if err != nil || numErr != nil || !ok || !isMessageID(id) {
		return 0, false
	}
	i := slices.IndexFunc(found, func(l listed) bool {
		return newer(ms, id, l.date.UnixMilli(), l.id) < 0
	})
	if i < 0 {
		i = len(found)
	}
	return i, true
}

// newer orders by date and then by id, both falling.
func newer(aDate int64, aID string, bDate int64, bID string) int {
	return cmp.Or(cmp.Compare(bDate, aDate), strings.Compare(bID, aID))
}

// search returns the letters that fit, newest first, or the label among the
// wanted that is none. The contents are looked at without the lock.
func (m *mailbox) search(q *query, wanted []string, everywhere bool) ([]listed, string) {
	candidates, bad := m.candidates(q, wanted, everywhere)
	if bad != "" {
		return nil, bad
	}
	found := slices.DeleteFunc(candidates, func(l listed) bool { return !q.fits(l) })
	slices.SortFunc(found, func(a, b listed) int {
		return newer(a.date.UnixMilli(), a.id, b.date.UnixMilli(), b.id)
	})
	return found, ""
}

// candidates are the letters with the wanted labels. Spam and trash are left out
// unless they are asked for in one of three ways.
func (m *mailbox) candidates(q *query, wanted []string, everywhere bool) ([]listed, string) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if bad := m.unknownLabel(wanted); bad != "" {
		return nil, bad
	}
	q.bind(m.labels)
	from := m.letters
	if id := q.messageID(); id != "" {
		from = m.byMessageID[id]
	}
	everywhere = everywhere || q.everywhere || slices.Contains(wanted, labelSpam) || slices.Contains(wanted, labelTrash)
	var out []listed
	for _, l := range from {
		if !everywhere && (l.has(labelSpam) || l.has(labelTrash)) {
			continue
		}
		if !slices.ContainsFunc(wanted, func(id string) bool { return !l.has(id) }) {
			out = append(out, listed{l, slices.Clone(l.labels), l.history})
		}
	}
	return out, ""
}
