package actions_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
)

// How each mail, calendar, drive and directory call is looked up that is not to be
// made twice, one a line, to be read by people. With -update it is written anew.
func TestLookupsOfEveryMailCalendarDriveAndDirectoryMethod(t *testing.T) {
	reads := map[string]string{}
	for _, row := range actions.LookRows() {
		reads[row.Glob] = row.Read
	}
	a := actions.NewMethods()
	var b strings.Builder
	for _, m := range methods("gmail", "calendar", "drive", "directory") {
		d, err := a.Describe(m.ID)
		if err != nil || d.Lookup == "" && d.Class != actions.Once {
			continue // what cannot be called, or may be called again
		}
		fmt.Fprintf(&b, "%-46s ", m.ID)
		switch d.Lookup {
		case "":
			b.WriteString("nobody can")
		case actions.ByRequestID:
			b.WriteString("requestId")
		default:
			fmt.Fprintf(&b, "%s, %s", d.Lookup, reads[m.ID])
		}
		if d.LookupScopes != nil {
			fmt.Fprintf(&b, ", with %s", short(d.LookupScopes))
		}
		if d.LookupIf != "" {
			fmt.Fprintf(&b, ", if %s", d.LookupIf)
		}
		b.WriteByte('\n')
	}
	golden := filepath.Join("testdata", "lookups.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); d != "" {
		t.Errorf("calls are looked up otherwise than %s says; if that is meant, run go test ./internal/actions -run Lookups -update and read the difference (-want +got):\n%s", golden, d)
	}
}

// Each row names what is there: methods that read, their parameters, and fields of
// the call's body and of what is read.
func TestEveryRowOfLookupsFits(t *testing.T) {
	table := discovery.New()
	for _, row := range actions.LookRows() {
		t.Run(row.Glob, func(t *testing.T) {
			m, ok := table.Method(row.Glob)
			if !ok {
				t.Fatal("there is no such method")
			}
			if row.Conditional && row.If == "" {
				t.Error("its condition has no words")
			}
			if actions.ClassOf(m) != actions.Once && !row.Conditional {
				t.Error("it may be made again, and need not be looked up")
			}
			body := m.Request
			if row.Body != "" {
				body = fieldAt(t, body, row.Body).Schema
			}
			for _, name := range slices.Concat(row.Keys, row.But, row.Whole) {
				fieldAt(t, body, name)
			}
			scopes := actions.LookScopes(m)
			for _, id := range []string{row.Read, row.Then} {
				if id == "" {
					continue
				}
				read, ok := table.Method(id)
				if !ok || actions.ClassOf(read) != actions.Read || read.Response == nil {
					t.Fatalf("%s is no method that reads", id)
				}
				if !slices.ContainsFunc(scopes, func(s string) bool { return actions.Accepts(read, []string{s}) }) {
					t.Errorf("%s accepts none of %s", id, scopes)
				}
			}
			read, _ := table.Method(row.Read)
			checkRead(t, m, read, row)
		})
	}
}

// No method is left out that takes an id of the request.
func TestEveryRequestIDIsUsed(t *testing.T) {
	a, all := actions.NewMethods(), 0
	for _, m := range methods() {
		_, inQuery := m.Param("requestId")
		inBody := false
		if m.Request != nil {
			_, inBody = m.Request.Field("requestId")
		}
		if actions.ClassOf(m) != actions.Once || !inQuery && !inBody {
			continue
		}
		d, err := a.Describe(m.ID)
		if err != nil {
			t.Fatal(err)
		}
		all++
		if d.Lookup != actions.ByRequestID {
			t.Errorf("%s takes an id of the request, and is looked up by %q", m.ID, d.Lookup)
		}
	}
	if all < 200 {
		t.Errorf("only %d methods take one", all)
	}
}

// checkRead holds a row against the method that it reads with.
func checkRead(t *testing.T, m, read *discovery.Method, row actions.LookRow) {
	t.Helper()
	for name, template := range row.Params {
		if _, ok := read.Param(name); !ok && name != "fields" {
			t.Errorf("%s has no parameter %s", read.ID, name)
		}
		for _, place := range regexp.MustCompile(`[{|](body|params)\.([A-Za-z.]+)`).FindAllStringSubmatch(template, -1) {
			if place[1] == "body" {
				fieldAt(t, m.Request, place[2])
			} else if _, ok := m.Param(place[2]); !ok {
				t.Errorf("has no parameter %s", place[2])
			}
		}
	}
	for _, p := range read.Params {
		_, given := row.Params[p.Name]
		_, own := m.Param(p.Name)
		if p.Required && !given && !own && p.Name != "userId" {
			t.Errorf("%s needs %s", read.ID, p.Name)
		}
	}
	if row.Items == "" {
		return
	}
	items := fieldAt(t, read.Response, row.Items)
	if items.Kind != discovery.Array {
		t.Fatalf("%s is no list", row.Items)
	}
	for _, key := range slices.Concat(row.Keys, row.Whole) {
		if items.Elem.Kind != discovery.Any { // of which Discovery states no more
			fieldAt(t, items.Elem.Schema, key)
		}
	}
}

// fieldAt is the type of what stands at a path such as scope.type.
func fieldAt(t *testing.T, s *discovery.Schema, path string) *discovery.Type {
	t.Helper()
	var found *discovery.Type
	for name := range strings.SplitSeq(path, ".") {
		if s == nil {
			t.Fatalf("%s: there is nothing below", path)
		}
		f, ok := s.Field(name)
		if !ok {
			t.Fatalf("%s: %s has no field %s", path, s.Name, name)
		}
		found, s = f.Type, f.Type.Schema
	}
	return found
}
