package sandbox

import (
	"slices"
	"strconv"
)

// messageOut is the Message resource as Gmail answers with it; numbers of 64
// bits are strings, as in all of Google's JSON.
type messageOut struct {
	ID           string   `json:"id"`
	ThreadID     string   `json:"threadId"`
	LabelIDs     []string `json:"labelIds,omitempty"`
	Snippet      string   `json:"snippet,omitempty"`
	Payload      *partOut `json:"payload,omitempty"`
	SizeEstimate int      `json:"sizeEstimate,omitempty"`
	Raw          string   `json:"raw,omitempty"`
	HistoryID    string   `json:"historyId,omitempty"`
	InternalDate string   `json:"internalDate,omitempty"`
}

// partOut is MessagePart.
type partOut struct {
	PartID   string      `json:"partId"`
	MimeType string      `json:"mimeType"`
	Filename string      `json:"filename"`
	Headers  []headerOut `json:"headers,omitempty"`
	Body     bodyOut     `json:"body"`
	Parts    []*partOut  `json:"parts,omitempty"`
}

type headerOut struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// bodyOut is MessagePartBody.
type bodyOut struct {
	AttachmentID string `json:"attachmentId,omitempty"`
	Size         int    `json:"size"`
	Data         string `json:"data,omitempty"`
}

// brief is what methods that change a message answer. The mailbox's lock
// must be held.
func (l *letter) brief() *messageOut {
	return &messageOut{ID: l.id, ThreadID: l.thread, LabelIDs: slices.Clone(l.labels)}
}

// minimal is the format of that name, less the snippet, which takes parsing.
func (l *letter) minimal() *messageOut {
	m := l.brief()
	m.SizeEstimate = len(l.raw)
	m.HistoryID = decimal(l.history)
	m.InternalDate = strconv.FormatInt(l.date.UnixMilli(), 10)
	return m
}
