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

// Sets of scopes, each as the Discovery document has it for a method.
var (
	gmailReads      = []string{scopeMail, scopeGmailMetadata, scopeGmailModify, scopeGmailReadonly}
	gmailContent    = []string{scopeMail, scopeGmailModify, scopeGmailReadonly}
	gmailModifies   = []string{scopeMail, scopeGmailModify}
	gmailDeletes    = []string{scopeMail}
	gmailInserts    = []string{scopeMail, scopeGmailInsert, scopeGmailModify}
	gmailSends      = []string{scopeMail, scopeGmailCompose, scopeGmailModify, scopeGmailSend}
	gmailLabels     = []string{scopeMail, scopeGmailLabels, scopeGmailModify}
	gmailLabelReads = []string{scopeMail, scopeGmailLabels, scopeGmailMetadata, scopeGmailModify, scopeGmailReadonly}
	gmailProfile    = []string{scopeMail, scopeGmailCompose, scopeGmailMetadata, scopeGmailModify, scopeGmailReadonly}
)

const gmailHost = "gmail.googleapis.com/"

// gmailHandler answers a call on the mailbox of the token's user.
type gmailHandler func(c *call, box *mailbox) reply

func gmailRoutes() []*route {
	r := func(name, method, path, params string, scopes []string, h gmailHandler) *route {
		return gmailRoute("gmail.users."+name, method, "gmail/v1/users/{}/"+path, params, scopes, h)
	}
	out := []*route{
		r("getProfile", "GET", "profile", "", gmailProfile, (*call).profile),
		r("messages.list", "GET", "messages", "q labelIds maxResults pageToken includeSpamTrash", gmailReads, (*call).listMessages),
		r("messages.batchModify", "POST", "messages/batchModify", "", gmailModifies, (*call).batchModify),
		r("messages.batchDelete", "POST", "messages/batchDelete", "", gmailDeletes, (*call).batchDelete),
		r("messages.get", "GET", "messages/{}", "format metadataHeaders", gmailReads, (*call).getMessage),
		r("messages.delete", "DELETE", "messages/{}", "", gmailDeletes, (*call).deleteMessage),
		r("messages.modify", "POST", "messages/{}/modify", "", gmailModifies, (*call).modifyMessage),
		r("messages.trash", "POST", "messages/{}/trash", "", gmailModifies, (*call).trashMessage),
		r("messages.untrash", "POST", "messages/{}/untrash", "", gmailModifies, (*call).untrashMessage),
		r("messages.attachments.get", "GET", "messages/{}/attachments/{}", "", gmailContent, (*call).getAttachment),
		r("labels.list", "GET", "labels", "", gmailLabelReads, (*call).listLabels),
		r("labels.create", "POST", "labels", "", gmailLabels, (*call).createLabel),
		r("labels.get", "GET", "labels/{}", "", gmailLabelReads, (*call).getLabel),
		r("labels.patch", "PATCH", "labels/{}", "", gmailLabels, (*call).patchLabel),
		r("labels.update", "PUT", "labels/{}", "", gmailLabels, (*call).updateLabel),
		r("labels.delete", "DELETE", "labels/{}", "", gmailLabels, (*call).deleteLabel),
	}
	return slices.Concat(out, deliveryRoutes())
}

func gmailRoute(name, method, path, params string, scopes []string, h gmailHandler) *route {
	return &route{
		name: name, method: method, path: gmailHost + path, params: params, scopes: scopes,
		stage: stageCall, limit: limitSmall, who: tokenUser,
		admit: (*call).admitGmail, handle: func(c *call) reply { return h(c, c.tok.person.box) },
	}
}

// admitGmail makes the checks that all methods have in common. Their order is
// assumed: the token, what it may, whom it is for, and last the mailbox.
func (c *call) admitGmail() *reply {
	if a := c.authorize(); a != nil {
		return a
	}
	if a := c.checkParams(); a != nil {
		return a
	}
	refuse := func(row string) *reply { a := c.row(row); return &a }
	if c.tok.person == nil {
		return refuse("A1")
	}
	if id := c.vars[0]; id != "me" && !strings.EqualFold(id, c.tok.person.email) {
		return refuse("A7")
	}
	if c.tok.person.user().NoMailbox {
		return refuse("A2")
	}
	return nil
}

// authorize sets c.tok to a live token with one of the method's scopes.
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
	if !anyOf(c.tok.scopes, c.route.scopes) {
		a := c.row("A8").with("Www-Authenticate", `Bearer realm="https://accounts.google.com/", error="insufficient_scope", scope="`+strings.Join(c.route.scopes, " ")+`"`)
		return &a
	}
	return nil
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
