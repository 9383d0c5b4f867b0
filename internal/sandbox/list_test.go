package sandbox_test

import (
	"encoding/base64"
	"fmt"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

func ids(t testing.TB, a answer) []string {
	t.Helper()
	out := []string{}
	list, _ := a.says(t, 200).decode(t)["messages"].([]any)
	for _, m := range list {
		out = append(out, m.(map[string]any)["id"].(string))
	}
	return out
}

func TestListAndSearch(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert", "gmail.modify")
	file := func(raw string, labels ...string) string {
		b.now = b.now.Add(time.Second)
		body := map[string]any{"raw": base64.URLEncoding.EncodeToString([]byte(raw)), "labelIds": labels}
		return b.gmail(token, "POST", "/users/me/messages", body).says(t, 200).decode(t)["id"].(string)
	}
	work := b.gmail(token, "POST", "/users/me/labels", map[string]any{"name": "My Work"}).says(t, 200).decode(t)["id"].(string)
	one := file(hello, "INBOX", "UNREAD")
	two := file("From: Alan <alan@example.com>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <two@example.com>\r\n\r\nBombe", "INBOX", work)
	junk := file("From: x@y.example\r\nSubject: Win\r\n\r\nnow", "SPAM")
	gone := file("From: x@y.example\r\nSubject: Old\r\n\r\nthen", "TRASH")
	for query, want := range map[string][]string{
		"":                                       {two, one},
		"includeSpamTrash=true":                  {gone, junk, two, one},
		"labelIds=INBOX":                         {two, one},
		"labelIds=INBOX&labelIds=UNREAD":         {one},
		"labelIds=SPAM":                          {junk},
		"q=rfc822msgid:<hello@example.com>":      {one},
		"q=rfc822msgid:two@example.com":          {two},
		"q=rfc822msgid:none@example.com":         {},
		"q=from:alan":                            {two},
		"q=-from:alan":                           {one},
		"q=subject:gr%C3%BC%C3%9Fe":              {two},
		"q=bombe":                                {two},
		"q=label:my-work":                        {two},
		"q=in:inbox+is:unread":                   {one},
		"q=is:read":                              {two},
		"q=in:spam":                              {junk},
		"q=in:anywhere":                          {gone, junk, two, one},
		"q=label:none":                           {},
		`q=subject:"hello"`:                      {one},
		"q=to:ada@example.com":                   {one},
		"maxResults=1":                           {two},
		"q=in:inbox+rfc822msgid:none@x&alt=json": {},
	} {
		got := ids(t, b.gmail(token, "GET", "/users/me/messages?"+query, nil))
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	braces := b.insert(token, "Message-ID: <{1-2}@example.com>\r\n\r\n")["id"].(string)
	if got := ids(t, b.gmail(token, "GET", "/users/me/messages?q=rfc822msgid:{1-2}@example.com", nil)); fmt.Sprint(got) != "["+braces+"]" {
		t.Errorf("braces: %v", got)
	}
	b.gmail(token, "GET", "/users/me/messages?q=larger:5M", nil).says(t, 501, "larger")
	b.gmail(token, "GET", "/users/me/messages?q=(a)", nil).says(t, 501)
	b.gmail(token, "GET", "/users/me/messages?labelIds=x", nil).says(t, 400, "Invalid label: x")
	b.gmail(token, "GET", "/users/me/messages?maxResults=x", nil).says(t, 400)
	b.gmail(token, "GET", "/users/me/messages?pageToken=x", nil).says(t, 400, "pageToken")
}

// What arrives between two pages neither doubles nor hides anything.
func TestListPages(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert", "gmail.readonly")
	for range 7 {
		b.insert(token, hello)
	}
	seen, next := map[string]bool{}, ""
	for range 10 {
		a := b.gmail(token, "GET", "/users/me/messages?maxResults=2&pageToken="+next, nil)
		for _, id := range ids(t, a) {
			if seen[id] {
				t.Errorf("%s came twice", id)
			}
			seen[id] = true
		}
		b.now = b.now.Add(time.Second)
		b.insert(token, hello)
		if next, _ = a.decode(t)["nextPageToken"].(string); next == "" {
			break
		}
	}
	if len(seen) != 7 {
		t.Errorf("%d letters on all pages, want 7", len(seen))
	}
}

func TestMetadataScope(t *testing.T) {
	b := setup(t, func(w *sandbox.World, _ *sandbox.Options) {
		w.ServiceAccounts[0].DelegatedScopes = append(w.ServiceAccounts[0].DelegatedScopes, auth+"gmail.metadata")
	})
	id := b.insert(b.as(ada, "gmail.insert"), hello)["id"].(string)
	token := b.as(ada, "gmail.metadata")
	b.gmail(token, "GET", "/users/me/messages", nil).says(t, 200, id)
	b.gmail(token, "GET", "/users/me/messages?q=x", nil).says(t, 403, "Metadata scope does not support 'q' parameter")
	b.gmail(token, "GET", "/users/me/messages/"+id, nil).says(t, 403, "Metadata scope doesn't allow format FULL")
	b.gmail(token, "GET", "/users/me/messages/"+id+"?format=metadata&metadataHeaders=subject", nil).says(t, 200, `"value": "Hello"`)
}
