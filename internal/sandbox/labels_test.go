package sandbox_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

func TestLabels(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.labels", "gmail.insert", "gmail.modify")
	call := func(method, path string, body any) answer {
		return b.gmail(token, method, "/users/me/labels"+path, body)
	}
	call("GET", "", nil).says(t, 200, `"INBOX"`, `"system"`)
	id := call("POST", "", map[string]any{"name": "Welcome"}).says(t, 200, `"user"`, "labelShow").decode(t)["id"].(string)
	call("POST", "", map[string]any{"name": "welcome"}).says(t, 409, "Label name exists or conflicts", "aborted")
	call("POST", "", map[string]any{"name": "inbox"}).says(t, 400, "Invalid label name")
	call("POST", "", map[string]any{"name": " "}).says(t, 400, "Invalid label name")
	call("POST", "", map[string]any{"name": "a", "labelListVisibility": "x"}).says(t, 400, "TYPE_ENUM")
	call("POST", "", map[string]any{"naem": "a"}).says(t, 400, "Unknown name")
	call("PATCH", "/"+id, map[string]any{"labelListVisibility": "labelHide"}).says(t, 200, "labelHide", "Welcome")
	call("PUT", "/"+id, map[string]any{"name": "Hello"}).says(t, 200, "Hello")
	call("PUT", "/"+id, map[string]any{}).says(t, 400)
	call("PATCH", "/INBOX", map[string]any{"name": "x"}).says(t, 400)
	call("DELETE", "/INBOX", nil).says(t, 400)
	call("GET", "/x", nil).says(t, 404)
	body := map[string]any{"raw": base64.URLEncoding.EncodeToString([]byte(hello)), "labelIds": []string{id, "UNREAD"}}
	b.gmail(token, "POST", "/users/me/messages", body).says(t, 200, id)
	call("GET", "/"+id, nil).says(t, 200, `"messagesTotal": 1`, `"messagesUnread": 1`, `"threadsUnread": 1`)
	call("DELETE", "/"+id, nil).says(t, 204)
	if l := b.s.Letters(ada)[0].LabelIDs; fmt.Sprint(l) != "[UNREAD]" {
		t.Errorf("labels after the delete: %v", l)
	}
}

func TestSend(t *testing.T) {
	b := setup(t, func(w *sandbox.World, _ *sandbox.Options) { w.Users[1].Aliases = []string{"amazing@example.com"} })
	token := b.as(ada, "gmail.send")
	const raw = "From: ada@example.com\r\nTo: Grace <amazing@example.com>, ada@example.com,\r\n far@elsewhere.example\r\n" +
		"Bcc: alan@example.com,\r\n olive.nomailbox@example.com\r\nSubject: x\r\n\r\nBcc: this stays\r\n"
	got := b.gmail(token, "POST", "/upload/gmail/v1/users/me/messages/send?uploadType=media", raw, "Content-Type", "message/rfc822").says(t, 200).decode(t)
	if fmt.Sprint(got["labelIds"]) != "[INBOX SENT UNREAD]" {
		t.Errorf("%v", got)
	}
	if l := b.s.Letters(ada); len(l) != 1 || string(l[0].Raw) != raw || l[0].Via != "send" {
		t.Errorf("the sender has %+v", l)
	}
	want := strings.Replace(raw, "Bcc: alan@example.com,\r\n olive.nomailbox@example.com\r\n", "", 1)
	for _, who := range []string{grace, "alan@example.com"} {
		l := b.s.Letters(who)
		if len(l) != 1 || string(l[0].Raw) != want || fmt.Sprint(l[0].LabelIDs) != "[INBOX UNREAD]" {
			t.Errorf("%s has %+v", who, l)
		}
	}
	b.gmail(token, "POST", "/users/me/messages/send", map[string]any{"raw": base64.URLEncoding.EncodeToString([]byte("Subject: x\r\n\r\nx"))}).
		says(t, 400, "Recipient address required")
	b.gmail(token, "POST", "/upload/gmail/v1/users/me/messages/send?uploadType=media", "To: a@b.example\r\n\r\n"+strings.Repeat("x", 35<<20), "Content-Type", "message/rfc822").
		says(t, 413)
}
