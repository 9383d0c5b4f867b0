package content_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/googleapi"

	"github.com/onbehalf-dev/onbehalf/internal/content"
)

const anObject = "gs://letters/a b/ü"

// read reads a file from an offset on.
func read(t *testing.T, files content.Files, name string, from int64) (text, version string) {
	t.Helper()
	body, version, err := files.Open(t.Context(), name, from)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	data, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data), version
}

func TestFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.csv")
	write := func(text string, at time.Time) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	s := &store{data: []byte("0123456789")}
	files := content.Files{Storage: service(t, s), Local: true}
	day := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	write("0123456789", day)
	for _, name := range []string{anObject, path} {
		_, was := read(t, files, name, 0)
		for from, want := range map[int64]string{0: "0123456789", 4: "456789", 10: "", 11: ""} {
			if text, version := read(t, files, name, from); text != want || version != was || strings.ContainsAny(version, " \n") || version == "" {
				t.Errorf("%s from %d: %q, version %q after %q", name, from, text, version, was)
			}
		}
	}
	for name, change := range map[string]func(){
		"longer":       func() { write("0123456789a", day) },
		"another time": func() { write("9876543210a", day.Add(time.Millisecond)) },
	} {
		_, was := read(t, files, path, 0)
		change()
		if _, is := read(t, files, path, 0); is == was {
			t.Errorf("%s: still version %s", name, is)
		}
	}
	_, was := read(t, files, anObject, 10)
	s.about = map[string]any{"generation": "18"}
	if _, is := read(t, files, anObject, 10); is == was {
		t.Errorf("another generation: still version %s", is)
	}
}

func TestFilesThatAreNot(t *testing.T) {
	s := &store{data: []byte("0123456789")}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		local bool
		about map[string]any
		is    error
		text  string
	}{
		"gs://letters/none":            {false, nil, fs.ErrNotExist, "Cloud Storage answered with HTTP 404"},
		anObject:                       {false, map[string]any{"contentEncoding": "gzip"}, nil, "is stored with a Content-Encoding; store it as it is"},
		filepath.Join(dir, "none.csv"): {true, nil, fs.ErrNotExist, "is not there"},
		dir:                            {true, nil, fs.ErrNotExist, "is not there"},
		filepath.Join(dir, "here.csv"): {false, nil, errors.ErrUnsupported, "is on another machine; gs://BUCKET/OBJECT is expected"},
	} {
		s.about = c.about
		_, _, err := content.Files{Storage: service(t, s), Local: c.local}.Open(t.Context(), name, 0)
		var e *content.FileError
		if !errors.As(err, &e) || e.Name != name || err.Error() != fmt.Sprintf("file %q: %s", name, c.text) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := (content.Files{Storage: service(t, s)}).Open(ctx, anObject, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up: %v", err)
	}
}

// What Cloud Storage says of an error may be anything.
func TestFileErrorsLetNothingOut(t *testing.T) {
	const secret = "something secret of Google's"
	svc := service(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"error": {"code": 403, "message": "`+secret+`"}}`, http.StatusForbidden)
	}))
	_, _, err := content.Files{Storage: svc}.Open(t.Context(), anObject, 0)
	var answer *googleapi.Error
	if said := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(said, secret) || !errors.As(err, &answer) || answer.Code != http.StatusForbidden {
		t.Error(said)
	}
}
