package actions_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Whatever a job says, it is refused with words, or makes a call with a scope; and
// what comes of that is an answer or an error of ours.
func FuzzWholeJob(f *testing.F) {
	a := newActions(f, &google{status: 200, body: `{"nextPageToken":"x"}`})
	for _, m := range a.List() {
		if d, err := a.Describe(m.ID); err == nil && !strings.HasPrefix(m.ID, "compute.") {
			f.Add([]byte(d.Example))
		}
	}
	for _, job := range []string{
		`{"user":"ada@example.com","action":"slides.presentations.batchUpdate","params":{"presentationId":"p"},"body":{"requests":[null,{"createSheetsChart":null}]}}`,
		`{"user":"ada@example.com","action":"drive.files.list","params":{"spaces":"appDataFolder","fields":"nextPageToken,files(id)"},"pages":{"max":3}}`,
		`{"user":"ada@example.com","action":"directory.users.photos.update","params":{"userKey":"x"},"media":{"data":"YQ==","contentType":"image/png"}}`,
		`{"as":"serviceAccount","action":"iam.projects.serviceAccounts.enable","params":{"name":"projects/-/serviceAccounts/a:enable"}}`,
		`{"user":"ada@example.com","action":"drive.files.create","params":{"fields":"id,owners(me)"},"body":{"id":"1234567890"}}`,
		`{"user":"ada@example.com","action":"drive.permissions.create","params":{"fileId":"f"},"body":{"type":"user","role":"reader","emailAddress":"a@b.c"}}`,
		`{"user":"ada@example.com","action":"gmail.users.settings.filters.create","body":{"criteria":{"from":"a"},"action":null}}`,
		`{"user":"ada@example.com","action":"people.contactGroups.create","body":{"contactGroup":null}}`,
		`{"user":"ada@example.com","action":"directory.orgunits.insert","params":{"customerId":"c"},"body":{"name":"//","parentOrgUnitPath":"/"}}`,
		`{"user":"ada@example.com","action":"drive.files.create","media":{"data":"YQ==","contentType":"text/plain; a=b"},"body":{"parents":["appDataFolder"]}}`,
	} {
		f.Add([]byte(job))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		job, err := jobs.Decode(text, "1")
		if err != nil {
			return
		}
		call, err := a.Prepare(t.Context(), job)
		if err != nil {
			if err.Error() == "" {
				t.Errorf("%s: is refused without a word", text)
			}
			return
		}
		if len(call.Scopes) == 0 {
			t.Errorf("%s: is called with no scope", text)
		}
		if strings.Contains(string(text), "gs:") {
			return // what is to be fetched first
		}
		var e *actions.Error
		if look := call.Look(); look != nil {
			if len(look.Scopes) == 0 || look.Units < 1 || look.Wait <= 0 || !call.Kept() {
				t.Errorf("%s: is looked up by %+v", text, look)
			}
			answer, sight, err := look.Do(t.Context(), func(*http.Request) {})
			if err != nil && !errors.As(err, &e) || (err != nil || sight != actions.Present) && answer.Response != nil {
				t.Errorf("%s: %v is seen: %s (%T)", text, sight, answer.Response, err)
			}
		}
		if _, err := call.Do(t.Context(), func(*http.Request) {}); err != nil && !errors.As(err, &e) {
			t.Errorf("%s: %T: %v", text, err, err)
		}
	})
}
