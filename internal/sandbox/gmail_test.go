package sandbox_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

func TestInsertAndRead(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert", "gmail.readonly")
	got := b.insert(token, hello)
	id := got["id"].(string)
	if len(id) != 16 || got["threadId"] != id {
		t.Errorf("%v", got)
	}
	letters := b.s.Letters("ADA@example.com")
	if len(letters) != 1 || string(letters[0].Raw) != hello || letters[0].Via != "insert" || !letters[0].InternalDate.Equal(b.now) {
		t.Errorf("%+v", letters)
	}
	raw := b.gmail(token, "GET", "/users/ada@example.com/messages/"+id+"?format=raw", nil).decode(t)
	if r, err := base64.URLEncoding.DecodeString(raw["raw"].(string)); err != nil || string(r) != hello {
		t.Errorf("raw %s %v", r, err)
	}
	if raw["sizeEstimate"] != float64(len(hello)) || raw["internalDate"] != fmt.Sprint(b.now.UnixMilli()) || raw["snippet"] != "Hello, Ada." || raw["historyId"] == "" {
		t.Errorf("%v", raw)
	}
	b.gmail(token, "GET", "/users/me/profile", nil).says(t, 200, `"messagesTotal": 1`, `"threadsTotal": 1`)
}

func TestInsertDates(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert")
	header := time.Date(2006, 1, 2, 15, 4, 5, 0, time.UTC)
	for _, tc := range []struct {
		path string
		want time.Time
	}{
		{"messages?uploadType=media", b.now},
		{"messages?uploadType=media&internalDateSource=dateHeader", header},
		{"messages/import?uploadType=media&internalDateSource=receivedTime", b.now},
		{"messages/import?uploadType=media", header},
	} {
		raw := strings.Replace(hello, "hello@", fmt.Sprint(len(tc.path))+"@", 1)
		b.gmail(token, "POST", "/upload/gmail/v1/users/me/"+tc.path, raw, "Content-Type", "message/rfc822").says(t, 200)
		l := b.s.Letters(ada)
		if got := l[len(l)-1].InternalDate; !got.Equal(tc.want) {
			t.Errorf("%s: %v, want %v", tc.path, got, tc.want)
		}
	}
	b.gmail(token, "POST", insertURL+"&internalDateSource=x", hello, "Content-Type", "message/rfc822").says(t, 400, "internal_date_source")
}

// Insert is not idempotent, import merges by Message-ID.
func TestImportMerges(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert")
	first, second := b.insert(token, hello), b.insert(token, hello)
	if first["id"] == second["id"] {
		t.Error("insert merged")
	}
	body := map[string]any{"raw": base64.URLEncoding.EncodeToString([]byte(hello)), "labelIds": []string{"STARRED"}}
	got := b.gmail(token, "POST", "/users/me/messages/import?neverMarkSpam=true", body).says(t, 200, "STARRED").decode(t)
	if got["id"] != first["id"] || len(b.s.Letters(ada)) != 2 {
		t.Errorf("import: %v", got)
	}
}

func TestInsertRefusals(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert")
	raw := base64.URLEncoding.EncodeToString([]byte(hello))
	const path = "/users/me/messages"
	b.gmail(token, "POST", path, map[string]any{}).says(t, 400, "'raw' RFC822 payload message string or uploading message via /upload/* URL required")
	b.gmail(token, "POST", path, map[string]any{"raw": "!"}).says(t, 400, "Base64 decoding failed")
	b.gmail(token, "POST", path, map[string]any{"raw": raw, "x": 1}).says(t, 400, `Unknown name \"x\" at 'message': Cannot find field.`)
	b.gmail(token, "POST", path, map[string]any{"raw": raw, "labelIds": []string{"Label_9"}}).says(t, 400, "Invalid label: Label_9", "invalidArgument")
	b.gmail(token, "POST", path, map[string]any{"raw": raw, "threadId": "12"}).says(t, 404, "Requested entity was not found.")
	b.gmail(token, "POST", path+"?deleted=maybe", map[string]any{"raw": raw}).says(t, 400, "TYPE_BOOL")
	b.gmail(token, "POST", path+"?x=1", map[string]any{"raw": raw}).says(t, 400,
		`Invalid JSON payload received. Unknown name \"x\": Cannot bind query parameter. Field 'x' could not be found in request message.`)
	b.gmail(token, "POST", insertURL, hello, "Content-Type", "text/plain").says(t, 400, "Media type 'text/plain' is not supported")
	b.gmail(token, "POST", insertURL, "", "Content-Type", "message/rfc822").says(t, 400, "'raw' RFC822 payload")
	b.gmail(token, "POST", "/upload/gmail/v1/users/me/messages?uploadType=x", hello, "Content-Type", "message/rfc822").says(t, 400, "upload type")
	if n := len(b.s.Letters(ada)); n != 0 {
		t.Errorf("%d letters were filed all the same", n)
	}
	b.gmail(token, "POST", path+"?deleted=true", map[string]any{"raw": raw}).says(t, 200)
	if n := len(b.s.Letters(ada)); n != 0 {
		t.Errorf("a letter inserted as deleted is in the mailbox")
	}
}

func TestGmailAdmission(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert")
	const path = "/users/me/messages"
	b.must("GET", "/gmail.googleapis.com/gmail/v1"+path, nil).says(t, 401, "Login Required.", "UNAUTHENTICATED")
	b.gmail("forged", "GET", path, nil).says(t, 401, "Invalid Credentials")
	b.gmail(token, "GET", path, nil).says(t, 403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "insufficientPermissions")
	b.gmail(token, "POST", "/users/grace@example.com/messages", map[string]any{}).says(t, 403, "Delegation denied for ada@example.com")
	olive := b.as("olive.nomailbox@example.com", "gmail.insert")
	b.gmail(olive, "POST", path, map[string]any{}).says(t, 400, "Mail service not enabled", "FAILED_PRECONDITION")
	b.gmail(token, "GET", "/users/me/settings/cse/keypairs", nil).says(t, 403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
	basic := b.as(ada, "gmail.settings.basic")
	b.gmail(basic, "GET", "/users/me/settings/cse/keypairs?x=1", nil).says(t, 400, "Unknown name")
	b.gmail(basic, "GET", "/users/me/settings/cse/keypairs", nil).says(t, 501, "not implemented: gmail.users.settings.cse.keypairs.list")
	b.gmail(basic, "GET", "/users/me/nothing", nil).says(t, 501, "gmail.googleapis.com", "GET", "/gmail/v1/users/me/nothing")
	b.gmail(token, "PATCH", path, nil).says(t, 501)
	b.gmail(token, "POST", path+"?alt=proto", map[string]any{}).says(t, 501)
	b.must("PATCH", "/_sandbox/users/"+ada, map[string]any{"suspended": true}).says(t, 200)
	b.gmail(token, "POST", path, map[string]any{}).says(t, 401, "Invalid Credentials")
}

func TestThreads(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert", "gmail.modify")
	first := b.insert(token, hello)["threadId"]
	reply := "In-Reply-To: <hello@example.com>\r\nMessage-ID: <2@example.com>\r\n\r\nx"
	refs := "References: <0@example.com>\r\n <2@example.com>\r\n\r\nx"
	for _, raw := range []string{reply, refs} {
		if got := b.insert(token, raw)["threadId"]; got != first {
			t.Errorf("thread %v, want %v", got, first)
		}
	}
	other := b.insert(token, "Subject: other\r\n\r\nx")["threadId"]
	body := map[string]any{"raw": base64.RawURLEncoding.EncodeToString([]byte("Subject: x\r\n\r\nx")), "threadId": other}
	if got := b.gmail(token, "POST", "/users/me/messages", body).says(t, 200).decode(t)["threadId"]; got != other {
		t.Errorf("thread %v, want %v", got, other)
	}
	b.gmail(token, "GET", "/users/me/profile", nil).says(t, 200, `"threadsTotal": 2`)
}

func TestChangeMessages(t *testing.T) {
	b := setup(t, func(w *sandbox.World, _ *sandbox.Options) {
		w.ServiceAccounts[0].DelegatedScopes = []string{"https://mail.google.com/"}
	})
	token := b.as(ada, "https://mail.google.com/")
	one, two := b.insert(token, hello)["id"].(string), b.insert(token, hello)["id"].(string)
	post := func(path string, body any) answer { return b.gmail(token, "POST", "/users/me/messages/"+path, body) }
	post(one+"/modify", map[string]any{"addLabelIds": []string{"INBOX", "UNREAD"}}).says(t, 200, "INBOX", "UNREAD")
	post(one+"/modify", map[string]any{"addLabelIds": []string{"x"}}).says(t, 400, "Invalid label: x")
	post(one+"/modify", map[string]any{"addLabelIds": []string{"SENT"}}).says(t, 400, "Invalid label: SENT")
	if a := post(one+"/trash", nil).says(t, 200, "TRASH"); strings.Contains(a.body, "INBOX") {
		t.Errorf("in the inbox and in the trash: %s", a.body)
	}
	if a := post(one+"/untrash", nil).says(t, 200); strings.Contains(a.body, "TRASH") {
		t.Errorf("still in the trash: %s", a.body)
	}
	post("batchModify", map[string]any{"ids": []string{one, two, "ff"}, "addLabelIds": []string{"STARRED"}}).says(t, 204)
	post("batchModify", map[string]any{"ids": make([]string, 1001)}).says(t, 400)
	if got := ids(t, b.gmail(token, "GET", "/users/me/messages?labelIds=STARRED", nil)); len(got) != 2 {
		t.Errorf("starred: %v", got)
	}
	post("zz/modify", map[string]any{}).says(t, 400, "Invalid id value")
	b.gmail(token, "GET", "/users/me/messages/ffff", nil).says(t, 404, "notFound")
	b.gmail(token, "GET", "/users/me/messages/zz", nil).says(t, 400, "Invalid id value")
	b.gmail(token, "DELETE", "/users/me/messages/"+one, nil).says(t, 204)
	b.gmail(token, "DELETE", "/users/me/messages/"+one, nil).says(t, 404)
	post("batchDelete", map[string]any{"ids": []string{one, two}}).says(t, 204)
	b.gmail(token, "GET", "/users/me/profile", nil).says(t, 200, `"messagesTotal": 0`, `"threadsTotal": 0`)
	if got := ids(t, b.gmail(token, "GET", "/users/me/messages?q=rfc822msgid:hello@example.com", nil)); len(got) != 0 {
		t.Errorf("deleted and found: %v", got)
	}
}

func TestHistoryRises(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert", "gmail.modify")
	history := func() string {
		return b.gmail(token, "GET", "/users/me/profile", nil).decode(t)["historyId"].(string)
	}
	before := history()
	id := b.insert(token, hello)["id"].(string)
	after := history()
	modify := func() {
		b.gmail(token, "POST", "/users/me/messages/"+id+"/modify", map[string]any{"addLabelIds": []string{"STARRED"}})
	}
	modify()
	if changed := history(); before >= after || after >= changed {
		t.Errorf("history %s, %s, %s", before, after, changed)
	}
	before = history()
	if modify(); history() != before {
		t.Error("a change that changed nothing made history")
	}
}
