package actions_test

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// What is too long, or of no use to the method, is refused before anything is sent.
func TestMediaIsCheckedBeforeItIsSent(t *testing.T) {
	letter := func(size int) []byte {
		data := make([]byte, size)
		copy(data, "Message-ID: <1@x>\r\n\r\n")
		return data
	}
	for name, c := range map[string]struct {
		job    string
		stored []byte
		says   string
	}{
		"too long to send":    {`"gmail.users.messages.send","message":{"uri":"gs://bucket/object"}`, letter(35<<20 + 1), "message: is a letter of 36700161 bytes; gmail.users.messages.send accepts at most 36700160"},
		"too long to insert":  {`"gmail.users.messages.insert","message":{"uri":"gs://bucket/object"}`, letter(150<<20 + 1), "message: is a letter of 157286401 bytes; gmail.users.messages.insert accepts at most 157286400"},
		"too long for drafts": {`"gmail.users.drafts.create","message":{"uri":"gs://bucket/object"}`, letter(36 << 20), "gmail.users.drafts.create accepts at most 36700160"},
		"too long with its attachments": {
			`"gmail.users.messages.send","message":{"compose":{"to":["g@example.com"],"text":"x","attachments":[{"name":"a.bin","uri":"gs://bucket/object"}]}}`,
			letter(26 << 20), "message: is a letter of 37",
		},
		"no letter":                 {`"gmail.users.messages.insert"`, nil, "message: is missing; gmail.users.messages.insert needs a letter"},
		"an empty letter":           {`"gmail.users.messages.insert","message":{"uri":"gs://bucket/object"}`, []byte{}, "message: is an empty letter"},
		"a letter in the body":      {`"gmail.users.messages.insert","body":{"raw":"YQ"}`, nil, "body: has the letter in raw; give it in message"},
		"a draft's in the body":     {`"gmail.users.drafts.create","body":{"message":{"raw":"YQ"}}`, nil, "body: has the letter in raw; give it in message"},
		"a letter for no letter":    {`"gmail.users.labels.list","message":{"uri":"gs://bucket/object"}`, nil, "message: is given, but gmail.users.labels.list takes no letter"},
		"a file for a letter":       {`"gmail.users.messages.send","media":{"uri":"gs://bucket/object"}`, nil, "message: is missing"},
		"a file beside a letter":    {`"gmail.users.messages.send","message":{"uri":"gs://bucket/object"},"media":{"uri":"gs://bucket/object"}`, nil, "media: is given, but gmail.users.messages.send takes a letter"},
		"a file for nothing":        {`"drive.files.list","media":{"uri":"gs://bucket/object"}`, nil, "media: is given, but drive.files.list uploads nothing"},
		"no file":                   {`"chat.media.upload","params":{"parent":"spaces/a"}`, nil, "media: is missing; chat.media.upload needs a file"},
		"a file without a type":     {`"drive.files.create","media":{"uri":"gs://bucket/object"}`, []byte("x"), "media.contentType: is missing, and the object has none"},
		"a photo of the body, too":  {`"people.people.updateContactPhoto","params":{"resourceName":"people/c1"},"body":{"photoBytes":"YQ=="},"media":{"data":"YQ==","contentType":"image/png"}`, nil, "media: is given beside body.photoBytes"},
		"a photo that is null, too": {`"people.people.updateContactPhoto","params":{"resourceName":"people/c1"},"body":{"photoBytes":null},"media":{"data":"YQ==","contentType":"image/png"}`, nil, "media: is given beside body.photoBytes"},
		"a type with a line break":  {`"drive.files.create","media":{"data":"YQ==","contentType":"text/plain; a=\"\u0001\""}`, nil, "media.contentType: is"},
		"too long a photo":          {`"people.people.updateContactPhoto","params":{"resourceName":"people/c1"},"media":{"uri":"gs://bucket/object","contentType":"image/png"}`, make([]byte, 2<<20+1), "media: is a file of 2097153 bytes; people.people.updateContactPhoto accepts at most 2097152"},
		"an output of JSON":         {`"gmail.users.labels.list","output":"gs://bucket/object"`, nil, "output: is given, but gmail.users.labels.list answers with JSON only"},
		"an export to nowhere":      {`"drive.files.export","params":{"fileId":"f","mimeType":"text/plain"}`, nil, "output: is missing; drive.files.export answers with a file"},
	} {
		t.Run(name, func(t *testing.T) {
			mail := &google{status: 200, body: "{}"}
			a, err := actions.New(t.Context(), actions.Config{HTTP: &http.Client{Transport: mail}, Own: &http.Client{Transport: &oneObject{data: c.stored}}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = do(t, a, `{"user":"ada@example.com","action":`+c.job+`}`)
			var field *jobs.FieldError
			if !errors.As(err, &field) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want … %s …", err, c.says)
			}
			if mail.request != nil {
				t.Errorf("%s was asked all the same", mail.request.URL)
			}
		})
	}
}

// A photo goes into the body's field, from the job as from Cloud Storage.
func TestPhotosGoIntoTheBody(t *testing.T) {
	photo := []byte("\x89PNG\xff\xfe\xfd")
	want := `"photoData":"` + base64.URLEncoding.EncodeToString(photo) + `"`
	for _, media := range []string{`{"data":"` + base64.StdEncoding.EncodeToString(photo) + `","contentType":"image/png"}`, `{"uri":"gs://bucket/object","contentType":"image/png"}`} {
		directory := &google{status: 200, body: "{}"}
		a, err := actions.New(t.Context(), actions.Config{HTTP: &http.Client{Transport: directory}, Own: &http.Client{Transport: &oneObject{data: photo}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := do(t, a, `{"user":"ada@example.com","action":"directory.users.photos.update","params":{"userKey":"grace@example.com"},"body":{"height":96},"media":`+media+`}`); err != nil {
			t.Errorf("%s: %v", media, err)
			continue
		}
		if !strings.Contains(directory.sent, want) || !strings.Contains(directory.sent, `"height":96`) || directory.request.Method != http.MethodPut || strings.Contains(directory.request.URL.Path, "upload") {
			t.Errorf("%s: %s %s %s", media, directory.request.Method, directory.request.URL, directory.sent)
		}
	}
}

// An object that cannot be had says of which field it is.
func TestObjectsThatCannotBeHad(t *testing.T) {
	for field, job := range map[string]string{
		"message.uri": `"gmail.users.messages.insert","message":{"uri":"gs://bucket/object"}`,
		"media.uri":   `"drive.files.create","media":{"uri":"gs://bucket/object"}`,
		"message.compose.attachments[1].uri": `"gmail.users.messages.send","message":{"compose":{"to":["g@example.com"],"text":"x","attachments":[
			{"name":"a.txt","data":"YQ=="},{"name":"b.txt","uri":"gs://bucket/object"}]}}`,
	} {
		mail := &google{status: 200, body: "{}"}
		storage := &google{status: 404, body: `{"error":{"errors":[{"reason":"notFound"}]}}`}
		a, err := actions.New(t.Context(), actions.Config{HTTP: &http.Client{Transport: mail}, Own: &http.Client{Transport: storage}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = do(t, a, `{"user":"ada@example.com","action":`+job+`}`)
		var e *actions.Error
		if !errors.As(err, &e) || e.Object != field || e.Status != 404 || e.Doubtful || mail.request != nil {
			t.Errorf("%s: got %#v", field, err)
		}
	}
}
