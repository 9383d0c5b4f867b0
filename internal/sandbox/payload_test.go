package sandbox_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

const mixed = "From: =?utf-8?q?J=C3=BCrgen?= <j@example.com>\r\nX-oDd: Kept\r\nSubject: =?iso-8859-1?q?caf=E9?=\r\n" +
	"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n" +
	"--o\r\nContent-Type: multipart/alternative; boundary=i\r\n\r\n" +
	"--i\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9 & more\r\n" +
	"--i\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>café</p>\r\n--i--\r\n" +
	"--o\r\nContent-Type: application/pdf; name=\"a.pdf\"\r\nContent-Disposition: attachment; filename=\"a.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n--o--\r\n"

func TestPayload(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert", "gmail.readonly")
	id := b.insert(token, mixed)["id"].(string)
	m := b.gmail(token, "GET", "/users/me/messages/"+id, nil).says(t, 200,
		`"name": "X-oDd"`, `"value": "Jürgen <j@example.com>"`, `"value": "café"`, `"snippet": "café &amp; more"`).decode(t)
	p := m["payload"].(map[string]any)
	if p["mimeType"] != "multipart/mixed" || p["partId"] != "" {
		t.Errorf("%v %v", p["mimeType"], p["partId"])
	}
	part := func(p map[string]any, i int) map[string]any { return p["parts"].([]any)[i].(map[string]any) }
	body := func(p map[string]any) map[string]any { return p["body"].(map[string]any) }
	text := part(part(p, 0), 0)
	if data, err := base64.URLEncoding.DecodeString(body(text)["data"].(string)); err != nil || string(data) != "café & more" || text["partId"] != "0.0" {
		t.Errorf("%q %v %v", data, err, text["partId"])
	}
	pdf := part(p, 1)
	if pdf["filename"] != "a.pdf" || pdf["partId"] != "1" || body(pdf)["size"] != 5.0 || body(pdf)["data"] != nil {
		t.Errorf("%v", pdf)
	}
	path := "/users/me/messages/" + id + "/attachments/"
	b.gmail(token, "GET", path+body(pdf)["attachmentId"].(string), nil).says(t, 200, "aGVsbG8=", `"size": 5`)
	b.gmail(token, "GET", path+"x", nil).says(t, 400, "Invalid attachment token")
	b.gmail(token, "GET", "/users/me/messages/"+id+"?format=x", nil).says(t, 400)
	a := b.gmail(token, "GET", "/users/me/messages/"+id+"?format=metadata&metadataHeaders=Subject&metadataHeaders=x", nil).says(t, 200, "café")
	if strings.Contains(a.body, "parts") || strings.Contains(a.body, "Jürgen") {
		t.Errorf("%s", a.body)
	}
}

// What is no proper message is shown as far as it goes.
func TestPayloadBroken(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert", "gmail.readonly")
	deep := "Subject: x\r\n"
	for i := range 60 {
		deep += fmt.Sprintf("Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	for _, raw := range []string{
		"x", "\r\n", "\x00\xff", "no colon\r\n\r\nbody", mixed[:len(mixed)-40], deep,
		"Content-Type: text/plain; charset=klingon\r\n\r\nnuqneH", "Content-Transfer-Encoding: base64\r\n\r\n????",
		"Content-Type: ;;;\r\n\r\nx", strings.Repeat("A: b\r\n", 5000) + "\r\nx",
	} {
		id := b.insert(token, raw)["id"].(string)
		for _, format := range []string{"full", "metadata", "minimal"} {
			b.gmail(token, "GET", "/users/me/messages/"+id+"?format="+format, nil).says(t, 200, id)
		}
	}
	b.gmail(token, "GET", "/users/me/messages?q=nuqneh", nil).says(t, 200)
}

func TestFields(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert", "gmail.readonly")
	id := b.insert(token, hello)["id"].(string)
	for mask, want := range map[string]string{
		"id":                           `{"id":"` + id + `"}`,
		"threadId,payload/mimeType":    `{"payload":{"mimeType":"text/plain"},"threadId":"` + id + `"}`,
		"payload(body/size,partId),id": `{"id":"` + id + `","payload":{"body":{"size":13},"partId":""}}`,
		"raw":                          `{}`, // known, and not there
	} {
		a := b.gmail(token, "GET", "/users/me/messages/"+id+"?prettyPrint=false&fields="+mask, nil).says(t, 200)
		if strings.TrimSpace(a.body) != want {
			t.Errorf("%s: %s", mask, a.body)
		}
	}
	b.gmail(token, "GET", "/users/me/messages?prettyPrint=false&fields=messages/id", nil).says(t, 200, `{"messages":[{"id":"`+id+`"}]}`)
	b.gmail(token, "GET", "/users/me/messages?prettyPrint=false&fields=*", nil).says(t, 200, `"resultSizeEstimate":1`)
	for _, bad := range []string{"nothing", "messages/nothing", "id(", "id)", ",", "messages//id", "messages(id", strings.Repeat("a(", 50)} {
		b.gmail(token, "GET", "/users/me/messages?fields="+bad, nil).says(t, 400, "Invalid field selection")
	}
}
