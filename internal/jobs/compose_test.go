package jobs_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// composed is a job whose letter has these fields.
func composed(compose string) []byte {
	return []byte(`{"user":"ada@example.com","action":"a.b","message":{"compose":` + compose + `}}`)
}

const wholeCompose = `{
	"from": "Ada Lovelace <ada@example.com>",
	"to": ["\"Babbage, Charles\" <charles@example.com>", "Мария <maria@example.com>"],
	"cc": ["mary@example.com"], "bcc": ["luigi@example.com (Menabrea)"], "replyTo": ["=?utf-8?q?Zo=C3=AB?= <zoe@example.com>"],
	"subject": "Note G", "text": "Dear Charles", "html": "<img src=\"CID:plan%40x\"> <img src='cid:seal'>",
	"attachments": [
		{"name": "g.txt", "data": "_-8"},
		{"name": "план.png", "contentType": "image/png", "uri": "gs://letters/plan.png", "contentId": "plan@x"},
		{"name": "seal", "data": "+/8=", "contentId": "seal", "contentType": "text/plain; charset=koi8-r"}
	],
	"headers": {"X-Campaign": "très bien", "List-Unsubscribe": "<mailto:leave@example.com>"},
	"inReplyTo": "<1@example.com>", "references": ["0@example.com", "<without-at>"]
}`

func TestDecodeCompose(t *testing.T) {
	job, err := jobs.Decode(composed(wholeCompose), "4711")
	if err != nil {
		t.Fatal(err)
	}
	want := &jobs.Compose{
		From: "Ada Lovelace <ada@example.com>",
		To:   []string{`"Babbage, Charles" <charles@example.com>`, "Мария <maria@example.com>"},
		Cc:   []string{"mary@example.com"}, Bcc: []string{"luigi@example.com (Menabrea)"}, ReplyTo: []string{"=?utf-8?q?Zo=C3=AB?= <zoe@example.com>"},
		Subject: "Note G", Text: "Dear Charles", HTML: `<img src="CID:plan%40x"> <img src='cid:seal'>`,
		Attachments: []jobs.Attachment{
			{Name: "g.txt", Data: "_-8"},
			{Name: "план.png", ContentType: "image/png", URI: "gs://letters/plan.png", ContentID: "plan@x"},
			{Name: "seal", Data: "+/8=", ContentID: "seal", ContentType: "text/plain; charset=koi8-r"},
		},
		Headers:   map[string]string{"X-Campaign": "très bien", "List-Unsubscribe": "<mailto:leave@example.com>"},
		InReplyTo: "<1@example.com>", References: []string{"0@example.com", "<without-at>"},
	}
	got := job.Message.Compose
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(jobs.Attachment{})); diff != "" {
		t.Error(diff)
	}
	for i, want := range []string{"\xff\xef", "", "\xfb\xff"} {
		if data := got.Attachments[i].Bytes(); string(data) != want {
			t.Errorf("attachment %d: %q; want %q", i, data, want)
		}
	}
}

func repeated(n int, value string) string {
	return "[" + strings.TrimSuffix(strings.Repeat(value+",", n), ",") + "]"
}

// file is a letter with one attachment of these fields.
func file(fields string) string { return `{"html":"<img src=cid:a>","attachments":[{` + fields + `}]}` }

// wrongCompose are letters that must be refused, with what their author is told.
var wrongCompose = []struct{ name, compose, path, says string }{
	{"nothing", `{}`, "", "has no text; give text, html or both"},
	{"null", `null`, "", "is null"},
	{"only a subject", `{"subject":"s","text":"","html":""}`, "", "has no text"},
	{"unknown field", `{"text":"t","body":"b"}`, "body", "accepted here are from, to, cc, bcc, replyTo, subject, text, html, attachments, headers, inReplyTo, references"},
	{"to a string", `{"text":"t","to":"ada@example.com"}`, "to", "is a string; an array of strings is expected"},
	{"to a null", `{"text":"t","to":[null]}`, "to[0]", "is null"},
	{"attachments an object", `{"text":"t","attachments":{}}`, "attachments", "is an object; an array is expected"},
	{"attachment null", `{"text":"t","attachments":[null]}`, "attachments[0]", "is null"},

	{"no mailbox", `{"text":"t","from":"Ada"}`, "from", `is "Ada"; one mailbox is expected`},
	{"empty mailbox", `{"text":"t","to":["a@b.cd",""]}`, "to[1]", `is ""; one mailbox is expected`},
	{"two mailboxes", `{"text":"t","cc":["a@b.cd, c@d.ef"]}`, "cc[0]", "one mailbox is expected"},
	{"group", `{"text":"t","bcc":["all: a@b.cd;"]}`, "bcc[0]", "one mailbox is expected"},
	{"group after a mailbox", `{"text":"t","to":["a@b.cd;, all:"]}`, "to[0]", "one mailbox is expected"},
	{"mailbox with a line", `{"text":"t","replyTo":["a@b.cd\r\nBcc: x@y.zz"]}`, "replyTo[0]", `is "a@b.cd\r\nBcc: x@y.zz"; it may not hold control characters`},
	{"line in an encoded word", `{"text":"t","to":["=?utf-8?q?A=0D=0ABcc:x?= <a@b.cd>"]}`, "to[0]", "one mailbox is expected"},
	{"broken encoded word", `{"text":"t","to":["=?utf-8?q?=FF?= <a@b.cd>"]}`, "to[0]", "one mailbox is expected"},
	{"domain beyond ASCII", `{"text":"t","to":["ada@bücher.example"]}`, "to[0]", "begins with xn--"},
	{"domain without a dot", `{"text":"t","to":["root@localhost"]}`, "to[0]", "an address such as ada@example.com"},
	{"quoted blanks", `{"text":"t","to":["\"a b\"@example.com"]}`, "to[0]", "an address such as"},
	{"long mailbox", `{"text":"t","to":["` + strings.Repeat("x", 1000) + ` <a@b.cd>"]}`, "to[0]", "is 1009 bytes long; at most 1000 are accepted"},
	{"too many to", `{"text":"t","to":` + repeated(501, `"a@b.cd"`) + `}`, "", "has 501 recipients in all; Gmail accepts 500"},
	{"too many in all", `{"text":"t","to":` + repeated(250, `"a@b.cd"`) + `,"cc":` + repeated(250, `"a@b.cd"`) + `,"bcc":["a@b.cd"]}`, "", "has 501 recipients in all"},
	{"too many to answer", `{"text":"t","replyTo":` + repeated(101, `"a@b.cd"`) + `}`, "replyTo", "has 101 entries; at most 100 are accepted"},

	{"subject in lines", `{"text":"t","subject":"secret\nBcc: x@y.zz"}`, "subject", "holds a control character or line break"},
	{"no message id", `{"text":"t","inReplyTo":"<1@x> <2@x>"}`, "inReplyTo", "one Message-ID is expected"},
	{"half a message id", `{"text":"t","inReplyTo":"<1@x"}`, "inReplyTo", "one Message-ID is expected"},
	{"empty message id", `{"text":"t","references":["<>"]}`, "references[0]", "one Message-ID is expected"},
	{"long message id", `{"text":"t","references":["1@x","` + strings.Repeat("x", 901) + `"]}`, "references[1]", "one Message-ID is expected"},
	{"many references", `{"text":"t","references":` + repeated(101, `"1@x"`) + `}`, "references", "has 101 entries"},

	{"own header", `{"text":"t","headers":{"bCc":"x@y.zz"}}`, "headers.bCc", "is not for headers to say: give it in bcc"},
	{"own kind of header", `{"text":"t","headers":{"Content-Type":"text/html"}}`, "headers.Content-Type", "the program builds the MIME"},
	{"header name in lines", `{"text":"t","headers":{"X: y\r\nBcc":"x@y.zz"}}`, `headers."X: y\r\nBcc"`, "is no name of a header field"},
	{"header without a name", `{"text":"t","headers":{"":"x"}}`, `headers.""`, "is no name of a header field"},
	{"header value in lines", `{"text":"t","headers":{"X-A":"secret\r\nBcc: x@y.zz"}}`, "headers.X-A", "is no single line of words"},
	{"header value empty", `{"text":"t","headers":{"X-A":""}}`, "headers.X-A", "is no single line of words"},
	{"header value with blanks", `{"text":"t","headers":{"X-A":"a  b"}}`, "headers.X-A", "one blank between them"},
	{"header of one long word", `{"text":"t","headers":{"X-A":"` + strings.Repeat("x", 901) + `"}}`, "headers.X-A", "words of at most 900 bytes"},
	{"header twice", `{"text":"t","headers":{"X-A":"1","x-a":"2"}}`, "headers.x-a", "in another spelling, too"},
	{"header null", `{"text":"t","headers":{"X-A":null}}`, "headers.X-A", "is null"},

	{"attachment without name", file(`"data":"YQ"`), "attachments[0].name", "is 0 bytes long; 1 to 500 are accepted"},
	{"attachment in a folder", file(`"name":"../a","data":"YQ"`), "attachments[0].name", `is "../a"; a file's name without folders`},
	{"attachment's name in lines", file(`"name":"a\r\nb","data":"YQ"`), "attachments[0].name", "without folders, control characters"},
	{"attachment's name with a blank", file(`"name":" a","data":"YQ"`), "attachments[0].name", "blanks around it"},
	{"attachment without content", file(`"name":"a","data":""`), "attachments[0]", "has no content; give exactly one of data"},
	{"attachment with two", file(`"name":"a","data":"YQ","uri":"gs://abc/b"`), "attachments[0]", "has both data and uri"},
	{"data no base64", file(`"name":"a","data":"Y"`), "attachments[0].data", "is not base64"},
	{"data in lines", file(`"name":"a","data":"YWFh\nYWFh"`), "attachments[0].data", "holds a line break"},
	{"uri of a bucket", file(`"name":"a","uri":"gs://bucket"`), "attachments[0].uri", "gs://BUCKET/OBJECT is expected"},
	{"no type", file(`"name":"a","data":"YQ","contentType":"pdf"`), "attachments[0].contentType", "a MIME type such as application/pdf"},
	{"type in lines", file(`"name":"a","data":"YQ","contentType":"a/b\r\nX: y"`), "attachments[0].contentType", "a MIME type such as"},
	{"multipart", file(`"name":"a","data":"YQ","contentType":"Multipart/Mixed; boundary=b"`), "attachments[0].contentType", "no attachment can have the type multipart/*"},
	{"letter", file(`"name":"a","data":"YQ","contentType":"message/rfc822"`), "attachments[0].contentType", "give application/octet-stream"},
	{"type with a name", file(`"name":"a","data":"YQ","contentType":"a/b; name=c"`), "attachments[0].contentType", "name stands in the attachment's own name"},
	{"type with an encoded line", file(`"name":"a","data":"YQ","contentType":"a/b; c*=utf-8''%0d%0ad"`), "attachments[0].contentType", "parameters in ASCII"},
	{"no content id", file(`"name":"a","data":"YQ","contentId":"a>\r\nX: y"`), "attachments[0].contentId", "accepted are letters, digits"},
	{"content id of nothing", file(`"name":"a","data":"YQ","contentId":"b"`), "attachments[0].contentId", `is "b", but html has no cid:b`},
	{"content id twice", `{"html":"cid:a","attachments":[{"name":"a","data":"YQ","contentId":"a"},{"name":"b","data":"YQ","contentId":"a"}]}`, "attachments[1].contentId", "as that of another attachment is"},
	{"many attachments", `{"text":"t","attachments":` + repeated(101, `{"name":"a","data":"YQ"}`) + `}`, "attachments", "has 101 entries"},
}

func TestDecodeRefusesCompose(t *testing.T) {
	for _, c := range wrongCompose {
		t.Run(c.name, func(t *testing.T) {
			_, err := jobs.Decode(composed(c.compose), "4711")
			var field *jobs.FieldError
			if !errors.As(err, &field) {
				t.Fatalf("error %v", err)
			}
			path := strings.TrimSuffix("message.compose."+c.path, ".")
			if field.Path != path || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got  %q: %s\nwant %q: … %s …", field.Path, err, path, c.says)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error has what the letter says: %s", err)
			}
		})
	}
}
