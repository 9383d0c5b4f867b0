package actions

import (
	"bytes"
	"context"

	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

const insertMethod = "gmail.users.messages.insert"

// insertParams are the parameters of gmail.users.messages.insert
// (https://developers.google.com/workspace/gmail/api/reference/rest/v1/users.messages/insert).
type insertParams struct {
	UserID             string `json:"userId"`
	InternalDateSource string `json:"internalDateSource"`
	Deleted            bool   `json:"deleted"`
}

// insertBody are the fields of a Message that insert reads beside the letter.
type insertBody struct {
	LabelIDs []string `json:"labelIds"`
	ThreadID string   `json:"threadId"`
}

// inserted is the answer.
type inserted struct {
	ID       string   `json:"id"`
	ThreadID string   `json:"threadId"`
	LabelIDs []string `json:"labelIds,omitempty"`
}

// insert puts a letter into the user's mailbox, as IMAP's APPEND does.
func (a *Actions) insert(job jobs.Job) (*Call, error) {
	params, body, err := checkInsert(job)
	if err != nil {
		return nil, err
	}
	load, err := a.letter(job)
	if err != nil {
		return nil, err
	}
	return &Call{
		Scopes: []string{gmail.GmailInsertScope},
		once:   true,
		load:   load,
		send: func(ctx context.Context, letter []byte) (any, error) {
			call := a.gmail.Users.Messages.
				Insert("me", &gmail.Message{LabelIds: body.LabelIDs, ThreadId: body.ThreadID}).
				// Without the type the library would guess, and take a letter for
				// plain text; without the size it would keep 16 MiB free for each.
				Media(bytes.NewReader(letter), googleapi.ContentType("message/rfc822"), googleapi.ChunkSize(0)).
				Context(ctx)
			if params.InternalDateSource != "" {
				call.InternalDateSource(params.InternalDateSource)
			}
			if params.Deleted {
				call.Deleted(true)
			}
			m, err := call.Do()
			if err != nil {
				return nil, err
			}
			// What Gmail answers an insert with; nothing of the letter itself.
			return inserted{ID: m.Id, ThreadID: m.ThreadId, LabelIDs: m.LabelIds}, nil
		},
	}, nil
}

// checkInsert reads what the job says beside the letter.
func checkInsert(job jobs.Job) (params insertParams, body insertBody, err error) {
	if job.Params != nil {
		if err := jobs.Strict("params", job.Params, &params); err != nil {
			return params, body, err
		}
	}
	if job.Body != nil {
		if err := jobs.Strict("body", job.Body, &body); err != nil {
			return params, body, err
		}
	}
	switch params.InternalDateSource {
	case "", "receivedTime", "dateHeader":
	default:
		return params, body, jobs.Errorf("params.internalDateSource", "is %s; accepted are receivedTime, dateHeader", jobs.Quote(params.InternalDateSource))
	}
	if err := checkUserID(params.UserID, job.User); err != nil {
		return params, body, err
	}
	if job.Message == nil {
		return params, body, jobs.Errorf("message", "is missing; %s needs a letter", insertMethod)
	}
	return params, body, nil
}
