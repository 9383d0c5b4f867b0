package batch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// decoded is a batch with those targets, on line 2, and more lines.
func decoded(t testing.TB, targets string, more ...string) *jobs.Batch {
	t.Helper()
	b, err := jobs.DecodeBatch([]byte("name: b\ntargets: {" + targets + "}\njob: {action: gmail.users.getProfile}\n" + strings.Join(more, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// file is one, which is read in bits.
type file struct {
	text, version string
	opened, given int
	err           error
}

func (f *file) Open(_ context.Context, _ string, from int64) (io.ReadCloser, string, error) {
	f.opened++
	if f.err != nil {
		return nil, "", f.err
	}
	text := strings.NewReader(f.text[min(int(from), len(f.text)):])
	return io.NopCloser(io.TeeReader(iotest.HalfReader(text), (*counter)(&f.given))), f.version, nil
}

type counter int

func (n *counter) Write(p []byte) (int, error) {
	*n += counter(len(p))
	return len(p), nil
}

// csvOf is the source of such a file.
func csvOf(t testing.TB, f *file) batch.Source {
	t.Helper()
	s, err := batch.NewSource(batch.SourceConfig{Batch: decoded(t, "csv: gs://lists/users.csv"), Files: f})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pages reads them all, each with a source of its own where anew makes one.
func pages(t testing.TB, s batch.Source, anew func() batch.Source) (all []batch.Page) {
	t.Helper()
	for cursor := ""; ; {
		if anew != nil {
			s = anew()
		}
		p, err := s.Page(t.Context(), cursor)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
		if cursor = p.Next; cursor == "" {
			return all
		}
		if len(all) > 10_000 {
			t.Fatal("there is no end")
		}
	}
}

func targetsOf(all []batch.Page) (targets []batch.Target, passed []batch.PassedOver) {
	for _, p := range all {
		targets, passed = append(targets, p.Targets...), append(passed, p.PassedOver...)
	}
	return targets, passed
}

func TestCSV(t *testing.T) {
	f := &file{version: "1", text: "\uFEFFName,Email,Two words\r\n\"Love\"\"lace,\nAda\",Ada@Example.com,\n\n,grace@example.com,\"x\r\ny\""}
	s := csvOf(t, f)
	columns, err := s.Check(t.Context())
	if diff := cmp.Diff([]string{"Name", "Two words"}, columns); diff != "" || err != nil {
		t.Fatal(diff, err)
	}
	got, passed := targetsOf(pages(t, s, nil))
	want := []batch.Target{
		{User: "ada@example.com", Row: map[string]string{"Name": "Love\"lace,\nAda", "Two words": ""}},
		{User: "grace@example.com", Row: map[string]string{"Name": "", "Two words": "x\ny"}},
	}
	if diff := cmp.Diff(want, got); diff != "" || passed != nil {
		t.Error(diff, passed)
	}
}

// Each problem is found before the first job, with its line.
func TestCSVProblems(t *testing.T) {
	long := strings.Repeat("x", 80_000)
	for text, want := range map[string]string{
		"":                                  `is "gs://lists/users.csv", which is empty; a header and rows are expected`,
		"name\nada\n":                       `line 1: no column is the user's: one called user, email or primaryEmail is expected, with commas between the columns, and there are "name"`,
		"user;name\n":                       `there are "user;name"`,
		"user,email\n":                      `line 1: the columns "user" and "email" could both be the user's; exactly one may be called user, email or primaryEmail`,
		"user,a,a\n":                        `line 1: the column "a" is there twice`,
		"user,a\nada@example.com\n":         `line 2: has 1 columns, and the header 2`,
		"user\n\n\nada@example.com,\n":      `line 4: has 2 columns, and the header 1`,
		"user\nada\n":                       `line 2: user is "ada"; a primary e-mail address such as ada@example.com is expected`,
		"user,a\nada@example.com,1\n,2\n":   `line 3: user is ""; a primary`,
		"EMail\na@b.example\n\nA@b.example": `line 4: a@b.example is in line 2 already; name each user once`,
		"user,a\na@b.example,\"1\n2\n":      `line 2: extraneous or missing " in quoted-field, at column 3 of line 3`,
		"user,a\na@b.example,1\"2\n":        `line 2: bare " in non-quoted-field, at column 14 of line 2`,
		"user,a\nb@b.example,\"1\n2\"\na@b.example,\xE4\n":         `line 4: "\xe4" is not UTF-8; save the file as CSV in UTF-8`,
		"user,a\nb@b.example,1\na@b.example,\"" + long:             `line 3: the row that begins here has more than 65536 bytes; a quotation mark may not be closed`,
		"user,a\nb@b.example,1\na@b.example," + long + "\n":        `line 3: the row that begins here has more than 65536 bytes`,
		"\uFEFF\"user\",a\nb@b.example,1\nb@b.example," + "2" + "": `line 3: b@b.example is in line 2 already`,
	} {
		f := &file{text: text, version: "1"}
		_, err := csvOf(t, f).Check(t.Context())
		var problem *jobs.BatchError
		if !errors.As(err, &problem) || problem.Line != 2 || problem.Path != "targets.csv" || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v\nwant %s", text, err, want)
		}
	}
}

func TestNoFile(t *testing.T) {
	for err, want := range map[error]string{
		fs.ErrNotExist:              `line 2: targets.csv: is "gs://lists/users.csv", and there is no such file`,
		errors.New("not for now"):   "targets.csv: not for now",
		context.DeadlineExceeded:    "targets.csv: " + context.DeadlineExceeded.Error(),
		fmt.Errorf("%w", io.EOF):    "targets.csv: EOF",
		errors.New("other \n line"): "targets.csv: other \n line",
	} {
		_, got := csvOf(t, &file{err: err}).Check(t.Context())
		var problem *jobs.BatchError
		if got == nil || got.Error() != want || errors.As(got, &problem) != errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// manyRows is a file of so many users, with rows of all kinds.
func manyRows(n int) string {
	var text bytes.Buffer
	text.WriteString("name,user,note\n")
	for i := range n {
		fmt.Fprintf(&text, "N%d,u%d@example.com,%s\n", i, i, []string{"", "plain", "\"a\nb\"", "\"ä\r\n\"\n"}[i%4])
	}
	return text.String()
}

// Page by page it is the same, whoever reads the next one; and no page is sought by
// reading what comes before it.
func TestCSVPages(t *testing.T) {
	const n = 1234
	f := &file{version: "a:b", text: manyRows(n)}
	s := csvOf(t, f)
	all := pages(t, s, nil)
	if len(all) != 3 || len(all[0].Targets) != 500 || len(all[2].Targets) != 234 {
		t.Errorf("%d pages", len(all))
	}
	for i, target := range must(targetsOf(all)) {
		if note := []string{"", "plain", "a\nb", "ä\n"}[i%4]; target.User != fmt.Sprintf("u%d@example.com", i) || target.Row["name"] != fmt.Sprint("N", i) || target.Row["note"] != note {
			t.Fatalf("row %d: %+v", i, target)
		}
	}
	f.given = 0
	if diff := cmp.Diff(all, pages(t, nil, func() batch.Source { return csvOf(t, f) })); diff != "" {
		t.Error(diff)
	}
	if most := len(f.text) * 3 / 2; f.given > most {
		t.Errorf("read %d bytes of a file of %d", f.given, len(f.text))
	}
}

func must(targets []batch.Target, _ []batch.PassedOver) []batch.Target { return targets }

// A page of long rows is short.
func TestCSVPagesOfLongRows(t *testing.T) {
	f := &file{version: "1", text: "user,a\n"}
	for i := range 50 {
		f.text += fmt.Sprintf("u%d@example.com,%s\n", i, strings.Repeat("x", 50_000))
	}
	all := pages(t, csvOf(t, f), nil)
	if targets, _ := targetsOf(all); len(targets) != 50 || len(all) != 5 {
		t.Errorf("%d users on %d pages", len(targets), len(all))
	}
}

// A problem on a later page has the line of the file.
func TestCSVProblemOnALaterPage(t *testing.T) {
	f := &file{version: "1", text: manyRows(700) + "x,y,\n"}
	p, err := csvOf(t, f).Page(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Count(f.text, "\n")
	if _, err := csvOf(t, f).Page(t.Context(), p.Next); err == nil || !strings.Contains(err.Error(), fmt.Sprintf(`line %d: user is "y"`, lines)) {
		t.Errorf("%v, want line %d", err, lines)
	}
}

func TestAFileThatChanges(t *testing.T) {
	const want = "has changed since the batch began"
	f := &file{version: "1", text: manyRows(1000)}
	s := csvOf(t, f)
	p, err := s.Page(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	f.version = "2"
	for name, s := range map[string]batch.Source{"the same": s, "another": csvOf(t, f)} {
		var problem *jobs.BatchError
		if _, err := s.Page(t.Context(), p.Next); !errors.As(err, &problem) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s source: %v", name, err)
		}
	}
	f.version, f.text = "1", f.text[:20]
	s = csvOf(t, f)
	if _, err := s.Check(t.Context()); err == nil {
		t.Error("half a row is accepted")
	}
	f.text, f.version = manyRows(3), "3"
	s = csvOf(t, f)
	if _, err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	f.version = "4"
	if _, err := s.Page(t.Context(), ""); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("after Check: %v", err)
	}
}

func TestNoPlaceInAFile(t *testing.T) {
	for _, cursor := range []string{"x", "1", "1:2", "-1:2:1", "1:2:1 ", " 1:2:1", "1:2:3:4"} {
		if _, err := csvOf(t, &file{version: "1", text: manyRows(3)}).Page(t.Context(), cursor); err == nil {
			t.Errorf("%q is accepted", cursor)
		}
	}
}

// What a file says is read the same, and found to be the same problem, however it
// comes; nothing makes it panic or go on for ever.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{manyRows(5), "user\n", "user,a\na@b.example,\"", "\uFEFFuser\r\na@b.example\r\n\r\n", "user,a\n\"a@b.example\",\"x\"\"\n\"\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := csvOf(t, &file{version: "1", text: text})
		columns, err := s.Check(t.Context())
		if err != nil {
			return
		}
		targets, _ := targetsOf(pages(t, s, nil))
		users := map[string]bool{}
		for _, target := range targets {
			if users[target.User] || len(target.Row) != len(columns) {
				t.Errorf("%+v", target)
			}
			users[target.User] = true
		}
	})
}
