package batch

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

const (
	// maxRow bounds a row of a CSV file, in bytes: a quotation mark that is never closed
	// must not bring the whole file into memory.
	maxRow = 64 << 10
	// readAhead is how far it is read beyond the row, in bytes.
	readAhead = 4 << 10
	// maxRows bounds the rows of one page together, but for the last of them.
	maxRows = 512 << 10
)

// byteOrderMark begins a file as some programs save it.
const byteOrderMark = "\uFEFF"

// userColumns are what the column of the user may be called, in lower case.
var userColumns = []string{"user", "email", "primaryemail"}

// rows are those of a CSV file: text in UTF-8, with commas and a header.
type rows struct {
	files   Files
	uri     string
	header  []string // nil: not read yet
	user    int      // which column is the user's
	version string   // of the file that the header is of
}

func newRows(files Files, uri string) *rows { return &rows{files: files, uri: uri} }

func (f *rows) list() targetList {
	return targetList{field: "targets.csv", named: true, page: f.page, check: f.check}
}

// place is where in a file a row begins.
type place struct {
	offset  int64
	line    int // counting from 0
	version string
}

func (p place) String() string { return fmt.Sprintf("%d:%d:%s", p.offset, p.line, p.version) }

func parsePlace(cursor string) (p place, err error) {
	if _, err := fmt.Sscanf(cursor, "%d:%d:%s", &p.offset, &p.line, &p.version); err != nil || p.String() != cursor || p.offset < 0 {
		return p, fmt.Errorf("batch: %s is no place in a file", jobs.Quote(cursor))
	}
	return p, nil
}

// page reads rows from a cursor on.
func (f *rows) page(ctx context.Context, cursor string) (entries []entry, next string, err error) {
	r, err := f.open(ctx, cursor)
	if err != nil {
		return nil, "", err
	}
	defer r.Close()
	for size := 0; ; {
		begins := r.place
		row, err := r.next()
		switch {
		case errors.Is(err, io.EOF):
			return entries, "", nil
		case err != nil:
			return nil, "", err
		case len(entries) == pageLength || size > maxRows:
			return entries, begins.String(), nil
		}
		e, err := f.entry(r, row)
		if err != nil {
			return nil, "", err
		}
		entries = append(entries, e)
		size += int(r.offset - begins.offset)
	}
}

func (f *rows) entry(r *rowReader, row []string) (entry, error) {
	user, err := f.userOf(r, row)
	if err != nil {
		return entry{}, err
	}
	e := entry{user: user, row: make(map[string]string, len(row)-1)}
	for i, value := range row {
		if i != f.user {
			e.row[f.header[i]] = value
		}
	}
	return e, nil
}

func (f *rows) userOf(r *rowReader, row []string) (string, error) {
	user, err := jobs.ParseUser(row[f.user])
	if err != nil {
		return "", r.problem("%s is %s; a primary e-mail address such as ada@example.com is expected", f.header[f.user], jobs.Quote(row[f.user]))
	}
	return user, nil
}

// check reads the whole file. Of each user it remembers some 40 bytes.
func (f *rows) check(ctx context.Context) (columns []string, err error) {
	r, err := f.open(ctx, "")
	if err != nil {
		return nil, err
	}
	defer r.Close()
	lines := make(map[userHash]int32)
	for ctx.Err() == nil {
		row, err := r.next()
		if errors.Is(err, io.EOF) {
			return slices.Delete(slices.Clone(f.header), f.user, f.user+1), nil
		}
		if err != nil {
			return nil, err
		}
		user, err := f.userOf(r, row)
		if err != nil {
			return nil, err
		}
		h := hashOf(user)
		if line, known := lines[h]; known {
			return nil, r.problem("%s is in line %d already; name each user once", user, line)
		}
		lines[h] = int32(r.row) //nolint:gosec // no file has so many lines that it can be read here
	}
	return nil, ctx.Err()
}

// open goes to a place in the file; at first behind its header.
func (f *rows) open(ctx context.Context, cursor string) (*rowReader, error) {
	from := place{}
	if cursor != "" {
		var err error
		if from, err = parsePlace(cursor); err != nil {
			return nil, err
		}
	}
	if f.header == nil && from.offset > 0 {
		r, err := f.begin(ctx)
		if err != nil {
			return nil, err
		}
		r.Close()
	}
	if from.offset == 0 {
		return f.begin(ctx)
	}
	return f.at(ctx, from)
}

// begin reads the header.
func (f *rows) begin(ctx context.Context) (*rowReader, error) {
	r, err := f.at(ctx, place{version: f.version})
	if err != nil {
		return nil, err
	}
	header, err := r.next()
	if errors.Is(err, io.EOF) {
		err = listErrorf("is %s, which is empty; a header and rows are expected", jobs.Quote(f.uri))
	}
	if err == nil {
		f.user, err = userColumn(r, header)
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	f.header, f.version = slices.Clone(header), r.version
	return r, nil
}

// userColumn finds the column of the user in a header.
func userColumn(r *rowReader, header []string) (int, error) {
	at := -1
	for i, name := range header {
		if slices.Contains(header[:i], name) {
			return 0, r.problem("the column %s is there twice; give each column a name of its own", jobs.Quote(name))
		}
		if !slices.Contains(userColumns, strings.ToLower(name)) {
			continue
		}
		if at >= 0 {
			return 0, r.problem("the columns %s and %s could both be the user's; exactly one may be called user, email or primaryEmail", jobs.Quote(header[at]), jobs.Quote(name))
		}
		at = i
	}
	if at < 0 {
		return 0, r.problem("no column is the user's: one called user, email or primaryEmail is expected, with commas between the columns, and there are %s", jobs.Quote(strings.Join(header, ", ")))
	}
	return at, nil
}

// at opens the file at a place. A version that is not empty must be the file's.
func (f *rows) at(ctx context.Context, from place) (*rowReader, error) {
	body, version, err := f.files.Open(ctx, f.uri, from.offset)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, listErrorf("is %s, and there is no such file", jobs.Quote(f.uri))
	case err != nil:
		return nil, err
	case from.version != "" && version != from.version:
		return nil, errors.Join(listErrorf("is %s, which has changed since the batch began; leave such files as they are, and start another batch with the new one", jobs.Quote(f.uri)), body.Close())
	}
	from.version = version
	r := &rowReader{place: from, uri: f.uri, body: body, begin: from}
	r.left = maxRow + readAhead
	text := bufio.NewReaderSize(io.Reader(r), readAhead)
	if mark, _ := text.Peek(len(byteOrderMark)); from.offset == 0 && string(mark) == byteOrderMark {
		_, _ = text.Discard(len(byteOrderMark)) // it is there
		r.begin.offset = int64(len(byteOrderMark))
	}
	r.csv = csv.NewReader(text)
	r.csv.ReuseRecord = true
	r.csv.FieldsPerRecord = len(f.header)
	return r, nil
}

// rowReader reads one row after the other.
type rowReader struct {
	place // of the row that is read next
	uri   string
	row   int // the line of the row that was read last, counting from 1
	begin place
	body  io.ReadCloser
	left  int // bytes of this row that may be read
	csv   *csv.Reader
}

var errLongRow = errors.New("the row is too long")

// Read is what the rows are read from.
func (r *rowReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, errLongRow
	}
	n, err := r.body.Read(p)
	r.left -= n
	return n, err
}

func (r *rowReader) Close() { _ = r.body.Close() } // nothing was written

// next reads a row, which is good until the one after it is read.
func (r *rowReader) next() ([]string, error) {
	row, err := r.csv.Read()
	var wrong *csv.ParseError
	switch {
	case errors.Is(err, csv.ErrFieldCount) && errors.As(err, &wrong):
		r.row = r.begin.line + wrong.StartLine
		return nil, r.problem("has %d columns, and the header %d", len(row), r.csv.FieldsPerRecord)
	case errors.As(err, &wrong):
		r.row = r.begin.line + wrong.StartLine
		return nil, r.problem("%s, at column %d of line %d", wrong.Err, wrong.Column, r.begin.line+wrong.Line)
	case errors.Is(err, errLongRow):
		r.row = r.line + 1
		return nil, r.problem("the row that begins here has more than %d bytes; a quotation mark may not be closed", maxRow)
	case err != nil:
		return nil, err
	}
	line, _ := r.csv.FieldPos(0)
	r.row = r.begin.line + line
	end, _ := r.csv.FieldPos(len(row) - 1)
	r.line = r.begin.line + end + strings.Count(row[len(row)-1], "\n")
	r.offset = r.begin.offset + r.csv.InputOffset()
	r.left = maxRow + readAhead
	for _, value := range row {
		if !utf8.ValidString(value) {
			return nil, r.problem("%s is not UTF-8; save the file as CSV in UTF-8", jobs.Quote(value))
		}
	}
	return row, nil
}

// problem says what is wrong with the row that was read last.
func (r *rowReader) problem(format string, args ...any) error {
	return listErrorf("is %s, line %d: %s", jobs.Quote(r.uri), r.row, fmt.Sprintf(format, args...))
}
