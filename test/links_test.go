package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	fencePattern   = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	linkPattern    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headingPattern = regexp.MustCompile(`(?m)^#+ (.*)$`)
	labelPattern   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	notInAnchor    = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// Links between the project's papers lead to a file that is there, and to a heading in it.
func TestLinksLeadSomewhere(t *testing.T) {
	links := 0
	for _, name := range treeFiles(t) {
		if filepath.Ext(name) != ".md" {
			continue
		}
		for _, m := range linkPattern.FindAllStringSubmatch(fencePattern.ReplaceAllString(read(t, name), ""), -1) {
			if strings.Contains(m[1], ":") { // of the web
				continue
			}
			links++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if file != "" {
				target = filepath.Join(filepath.Dir(name), file)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: %s leads nowhere: %v", name, m[1], err)
			} else if anchor != "" && !anchors(read(t, target))[anchor] {
				t.Errorf("%s: %s: there is no such heading", name, m[1])
			}
		}
	}
	if links == 0 {
		t.Error("no paper has a link")
	}
}

// anchors are a paper's headings as GitHub makes anchors of them.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, m := range headingPattern.FindAllStringSubmatch(fencePattern.ReplaceAllString(text, ""), -1) {
		heading := notInAnchor.ReplaceAllString(strings.ToLower(labelPattern.ReplaceAllString(m[1], "$1")), "")
		found[strings.ReplaceAll(strings.TrimSpace(heading), " ", "-")] = true
	}
	return found
}
