package jobs_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// A job is published anew under an id of its own, and is otherwise what it was.
func TestAnew(t *testing.T) {
	long := strings.Repeat("x", 500)
	for name, c := range map[string]struct{ job, want, id string }{
		"plain":         {`{"id":"j","user":"ada@example.com"}`, `{"id":"j~900","user":"ada@example.com"}`, "j~900"},
		"not first":     {`{ "user" : "ada@example.com", "body": {"id":"not this"}, "id" : "j" }`, `{ "user" : "ada@example.com", "body": {"id":"not this"}, "id" : "j~900" }`, "j~900"},
		"once more":     {`{"id":"b/ada@example.com~17"}`, `{"id":"b/ada@example.com~900"}`, "b/ada@example.com~900"},
		"escaped":       {`{"\u0069d":"\u00e9\"\/1"}`, `{"\u0069d":"é\"/1~900"}`, `é"/1~900`},
		"another tilde": {`{"id":"a~b"}`, `{"id":"a~b~900"}`, "a~b~900"},
		"only a tilde":  {`{"id":"~17"}`, `{"id":"~17~900"}`, "~17~900"},
		"an open tilde": {`{"id":"a~"}`, `{"id":"a~~900"}`, "a~~900"},
		"long":          {`{"id":"` + long + `"}`, `{"id":"` + long + `~900"}`, long + "~900"},
		"large numbers": {`{"id":"j","body":{"n":12345678901234567890.10}}`, `{"id":"j~900","body":{"n":12345678901234567890.10}}`, "j~900"},
	} {
		got, id, err := jobs.Anew([]byte(c.job), "900")
		if err != nil || string(got) != c.want || id != c.id {
			t.Errorf("%s: %s as %s, %v; want %s as %s", name, got, id, err, c.want, c.id)
		}
	}
}

func TestAnewRefuses(t *testing.T) {
	for job, path := range map[string]string{
		``: "", `hello`: "", `[]`: "", `{`: "id", `{}`: "id", `{"id":1}`: "id", `{"id":"j`: "id", `{"user":"x","body":{"id":"j"}}`: "id",
		`{"id":"` + strings.Repeat("x", 510) + `"}`:                     "id",
		`{"id":"j","body":"` + strings.Repeat("x", jobs.MaxData) + `"}`: "",
	} {
		_, _, err := jobs.Anew([]byte(job), "900")
		var wrong *jobs.FieldError
		if !errors.As(err, &wrong) || wrong.Path != path {
			t.Errorf("%.40s: %v; want a FieldError of %q", job, err, path)
		}
	}
}

func TestBatch(t *testing.T) {
	for id, want := range map[string]string{
		"b/ada@example.com": "b", "b/ada@example.com~900": "b", "b/Ada@example.com~900": "b", "a/b/ada@example.com": "a/b",
		"b/ada@example.com~": "", "b/ada@example.com~x": "", "b/grace@example.com~900": "", "ada@example.com~900": "", "j~900": "", "~900": "",
	} {
		if got := (jobs.Job{ID: id, User: "ada@example.com"}).Batch(); got != want {
			t.Errorf("%s: batch %q, want %q", id, got, want)
		}
	}
}

func FuzzAnew(f *testing.F) {
	f.Add(`{"id":"j","user":"ada@example.com","action":"gmail.users.labels.list"}`)
	f.Add(`{"body":{"id":"x"},"user":"ada@example.com","action":"a.b","id":"\u00e9~1"}`)
	f.Fuzz(func(t *testing.T, data string) {
		job, err := jobs.Decode([]byte(data), "")
		if err != nil || job.ID == "" {
			return
		}
		anew, id, err := jobs.Anew([]byte(data), "900")
		if err != nil {
			return
		}
		got, err := jobs.Decode(anew, "")
		if err != nil || got.ID != id || got.User != job.User || got.Action != job.Action || string(got.Body) != string(job.Body) || got.Batch() != job.Batch() {
			t.Errorf("%s became %s: %v", data, anew, err)
		}
	})
}
