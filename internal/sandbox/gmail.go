package sandbox

import (
	"net/http"
	"slices"
	"strings"
)

// Sizes that Gmail takes, from its Discovery document's mediaUpload.maxSize.
const (
	maxInsert = 150 << 20
	maxSend   = 35 << 20
)

// onlyMetadata tells whether nothing that the token may shows what letters hold.
func (c *call) onlyMetadata() bool {
	return !slices.ContainsFunc(c.tok.scopes, func(s string) bool {
		return slices.Contains(c.route.scopes, s) && !strings.HasSuffix(s, "metadata")
	})
}

// gmailHandler answers a call on the mailbox of the token's user.
type gmailHandler func(c *call, box *mailbox) reply

func gmailMethods() []method {
	m := func(name string, h gmailHandler) method {
		return method{id: "gmail.users." + name, do: func(c *call) reply { return h(c, c.tok.person.mailbox()) }}
	}
	return behind((*call).gmailDoor, append(slices.Concat(deliveries(), draftMethods(), settingMethods()),
		m("getProfile", (*call).profile),
		m("messages.list", (*call).listMessages),
		m("messages.batchModify", (*call).batchModify),
		m("messages.batchDelete", (*call).batchDelete),
		m("messages.get", (*call).getMessage),
		m("messages.delete", (*call).deleteMessage),
		m("messages.modify", (*call).modifyMessage),
		m("messages.trash", (*call).trashMessage),
		m("messages.untrash", (*call).untrashMessage),
		m("messages.attachments.get", (*call).getAttachment),
		m("labels.list", (*call).listLabels),
		m("labels.create", (*call).createLabel),
		m("labels.get", (*call).getLabel),
		m("labels.patch", (*call).patchLabel),
		m("labels.update", (*call).updateLabel),
		m("labels.delete", (*call).deleteLabel),
		m("drafts.get", (*call).getDraft),
		m("drafts.list", (*call).listDrafts),
		m("drafts.delete", (*call).deleteDraft),
		m("threads.list", (*call).listThreads),
		m("threads.get", (*call).getThread),
		m("threads.modify", (*call).modifyThread),
		m("threads.trash", (*call).trashThread),
		m("threads.untrash", (*call).untrashThread),
		m("threads.delete", (*call).deleteThread),
		m("history.list", (*call).listHistory),
		m("watch", (*call).watch),
		m("stop", (*call).stop),
	)...)
}

// gmailDoor lets a user in to the own mailbox, if there is one.
func (c *call) gmailDoor() *reply {
	refuse := func(row string) *reply { a := c.row(row); return &a }
	if c.tok.person == nil {
		return refuse("A1")
	}
	if id := c.arg("userId"); id != "me" && !strings.EqualFold(id, c.tok.person.email) {
		return refuse("A7")
	}
	if c.tok.person.user().NoMailbox {
		return refuse("A2")
	}
	return nil
}

// authorize sets c.tok to a live token with one of the method's scopes, for an API
// that is on.
func (c *call) authorize() *reply {
	c.tok = c.presented()
	if !c.tok.live(c.now()) {
		a := c.row("A5")
		if c.bearer() == "" {
			a = c.loginRequired()
		}
		a = a.with("Www-Authenticate", `Bearer realm="https://accounts.google.com/", error="invalid_token"`)
		return &a
	}
	if len(c.route.scopes) > 0 && !anyOf(c.tok.scopes, c.route.scopes) {
		a := c.row("A8").with("Www-Authenticate", `Bearer realm="https://accounts.google.com/", error="insufficient_scope", scope="`+strings.Join(c.route.scopes, " ")+`"`)
		return &a
	}
	return c.apiDoor()
}

func (c *call) loginRequired() reply {
	const message = "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other valid authentication credential. " +
		"See https://developers.google.com/identity/sign-in/web/devconsole-project."
	return errorReply(apiError{
		Code: http.StatusUnauthorized, Message: message, Status: canonical(http.StatusUnauthorized),
		Errors:  []errorItem{{Message: "Login Required.", Domain: "global", Reason: "required"}},
		Details: []any{info("CREDENTIALS_MISSING", "googleapis.com")},
	})
}

func (c *call) profile(box *mailbox) reply {
	box.mu.RLock()
	defer box.mu.RUnlock()
	return c.ok(map[string]any{
		"emailAddress":  box.owner,
		"messagesTotal": len(box.letters),
		"threadsTotal":  len(box.threads),
		"historyId":     decimal(box.history),
	})
}
