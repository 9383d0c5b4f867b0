package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// The facts in the tree are those of the module in go.mod. Where they are not:
// go generate ./internal/actions/discovery
func TestFactsAreUpToDate(t *testing.T) {
	files, err := generate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	there, err := filepath.Glob("../facts/*")
	if err != nil {
		t.Fatal(err)
	}
	if len(there) != len(files) {
		t.Errorf("facts has %d files; want %d: %q", len(there), len(files), slices.Sorted(maps.Keys(files)))
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("..", "facts", name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: is not as it would be generated now (%v); run go generate ./internal/actions/discovery", name, err)
		}
	}
}

func TestRegenerationThatChangesNothingTouchesNothing(t *testing.T) {
	folder := t.TempDir()
	files := map[string][]byte{"a.txt": []byte("a"), "b.txt": []byte("b")}
	if err := write(folder, files); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(folder, "a.txt"), 0o400); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(filepath.Join(folder, "a.txt"))
	delete(files, "b.txt")
	if err := write(folder, files); err != nil {
		t.Fatal(err)
	}
	after, _ := os.Stat(filepath.Join(folder, "a.txt"))
	if !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Error("a file that stays as it is was written again")
	}
	if _, err := os.Stat(filepath.Join(folder, "b.txt")); err == nil {
		t.Error("a file that is no longer generated is still there")
	}
}

func TestSentence(t *testing.T) {
	for in, want := range map[string]string{
		"":                                 "",
		"Required. The user's name. More.": "The user's name.",
		"One\nline.":                       "One line.",
		"Output only. Optional. A thing":   "A thing",
	} {
		if got := sentence(in); got != want {
			t.Errorf("sentence(%q) = %q; want %q", in, got, want)
		}
	}
	long := sentence("This goes on and on " + string(bytes.Repeat([]byte("and on "), 50)))
	if len(long) > maxSentence+len("…") {
		t.Errorf("a long sentence is cut to %d bytes", len(long))
	}
}
