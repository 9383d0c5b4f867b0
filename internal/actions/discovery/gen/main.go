// Command gen writes the facts of internal/actions/discovery, one file for each
// first word of the methods' ids, from the Discovery documents in the module
// google.golang.org/api.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// documents are the APIs of Workspace, and those that are called as the service
// account itself. Where an API has several versions, whose methods share their
// ids, it is the one that Google recommends.
var documents = []string{
	"admin/datatransfer/v1", "admin/directory/v1", "admin/reports/v1",
	"alertcenter/v1beta1", "calendar/v3", "chat/v1", "chromemanagement/v1", "chromepolicy/v1",
	"classroom/v1", "cloudidentity/v1", "cloudsearch/v1", "docs/v1", "drive/v3", "driveactivity/v2",
	"drivelabels/v2", "forms/v1", "gmail/v1", "gmailpostmastertools/v2", "groupsmigration/v1",
	"groupssettings/v1", "keep/v1", "licensing/v1", "meet/v2", "people/v1", "reseller/v1", "script/v1",
	"sheets/v4", "siteverification/v1", "slides/v1", "tasks/v1", "vault/v1", "verifiedaccess/v2",
	"workspaceevents/v1",

	"cloudresourcemanager/v3", "compute/v1", "datastore/v1", "iam/v1", "sqladmin/v1", "storage/v1",
}

// doubled is the one id that two documents have, and whose it is here: the
// Directory's channels are those that people stop.
const doubled, doubledOf = "admin.channels.stop", "admin/directory/v1"

func main() {
	log.SetFlags(0)
	files, err := generate(context.Background())
	if err != nil {
		log.Fatal("gen: ", err)
	}
	if err := write("facts", files); err != nil {
		log.Fatal("gen: ", err)
	}
}

// generate makes the files, by name.
func generate(ctx context.Context) (map[string][]byte, error) {
	dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "google.golang.org/api").Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	docs := map[string]*document{}
	for _, name := range documents {
		doc, err := read(filepath.Join(strings.TrimSpace(string(dir)), filepath.FromSlash(name)))
		if err != nil {
			return nil, err
		}
		docs[name] = doc
	}
	opens := opened(docs)
	files := map[string][]byte{}
	for name, doc := range docs {
		if err := doc.writeTo(files, name, opens); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return files, nil
}

// opened counts the methods that each scope opens.
func opened(docs map[string]*document) map[string]int {
	opens := map[string]int{}
	for _, doc := range docs {
		for _, methods := range doc.byPrefix() {
			for _, m := range methods {
				for _, scope := range m.Scopes {
					opens[scope]++
				}
			}
		}
	}
	return opens
}

// writeTo adds a file for each first word of the document's method ids. opens is
// how many methods each scope opens.
func (doc *document) writeTo(files map[string][]byte, name string, opens map[string]int) error {
	for prefix, methods := range doc.byPrefix() {
		if len(methods) == 1 && methods[0].ID == doubled && name != doubledOf {
			continue
		}
		file := prefix + ".txt"
		if files[file] != nil {
			return fmt.Errorf("the ids of another document's methods begin with %s, too", prefix)
		}
		text, err := newFile(doc, methods).write(prefix, name, opens)
		if err != nil {
			return err
		}
		files[file] = text
	}
	return nil
}

func read(dir string) (*document, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*-api.json"))
	if err != nil || len(names) != 1 {
		return nil, fmt.Errorf("%s: one Discovery document is expected, there are %q", dir, names)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		return nil, err
	}
	var doc document
	return &doc, json.Unmarshal(data, &doc)
}

// byPrefix are the methods by the first word of their ids.
func (r resource) byPrefix() map[string][]method {
	found := map[string][]method{}
	for _, m := range r.Methods {
		prefix, _, _ := strings.Cut(m.ID, ".")
		found[prefix] = append(found[prefix], m)
	}
	for _, below := range r.Resources {
		for prefix, methods := range below.byPrefix() {
			found[prefix] = append(found[prefix], methods...)
		}
	}
	return found
}

// write makes the folder hold these files and no others. A file that would stay
// as it is is not touched.
func write(folder string, files map[string][]byte) error {
	old, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if files[filepath.Base(path)] == nil {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(folder, name)
		if was, err := os.ReadFile(path); err == nil && bytes.Equal(was, files[name]) {
			continue
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil { //nolint:gosec // source, for all to read
			return err
		}
	}
	return nil
}
