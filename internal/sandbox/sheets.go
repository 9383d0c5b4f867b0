package sandbox

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// sheetMethods are spreadsheets and their values. Nothing is calculated: formulas
// are kept as they are written. Facts: the Discovery document and
// https://developers.google.com/workspace/sheets/api/guides/concepts.
func sheetMethods() []method {
	w := &workbooks{cells: map[string][][]any{}}
	w.kind = &kind{name: "sheets", id: "spreadsheetId", makeID: fileID, fill: fillSpreadsheet}
	return append(w.kind.methods("sheets.spreadsheets", "create", "get"),
		method{id: "sheets.spreadsheets.values.get", do: w.get},
		method{id: "sheets.spreadsheets.values.batchGet", do: w.batchGet},
		method{id: "sheets.spreadsheets.values.update", do: w.update},
		method{id: "sheets.spreadsheets.values.append", do: w.append},
		method{id: "sheets.spreadsheets.values.clear", do: w.clear},
	)
}

// workbooks are spreadsheets with their cells, under the store's lock.
type workbooks struct {
	kind  *kind
	cells map[string][][]any // by id and title of the sheet
}

func fillSpreadsheet(_ *call, d doc) {
	p := d.under("properties")
	p.fillIn("title", "Untitled spreadsheet")
	p.fillIn("locale", "en_US")
	p.fillIn("timeZone", "Etc/GMT")
	d.fillIn("spreadsheetUrl", "https://docs.google.com/spreadsheets/d/"+d.text("spreadsheetId")+"/edit")
	sheets, _ := d["sheets"].([]any)
	sheets = slices.DeleteFunc(sheets, func(one any) bool { return one == nil })
	if len(sheets) == 0 {
		sheets = []any{map[string]any{}}
	}
	d["sheets"] = sheets
	for i, one := range sheets {
		sheet, _ := one.(map[string]any)
		p := doc(sheet).under("properties")
		p.fillIn("title", "Sheet"+strconv.Itoa(i+1))
		p.fillIn("sheetId", i)
		p.fillIn("index", i)
		p.fillIn("sheetType", "GRID")
		p.fillIn("gridProperties", map[string]any{"rowCount": 1000, "columnCount": 26})
	}
}

// area is a range of cells; ends are not in it, and -1 where it has none.
type area struct {
	sheet                  string
	top, left, bottom, end int
}

// a1 are ranges such as Sheet1!A1:B2, 'My sheet'!A:C, A1 and Sheet1.
var a1 = regexp.MustCompile(`^(?:(?:'((?:[^']|'')+)'|([^'!]+))!)?([A-Za-z]{1,3})?([1-9]\d{0,6})?(?::([A-Za-z]{1,3})?([1-9]\d{0,6})?)?$`)

// parseArea finds the sheet among the titles; without one it is the first.
func parseArea(text string, titles []string) (area, bool) {
	if title := strings.Trim(text, "'"); slices.Contains(titles, title) {
		return area{sheet: title, bottom: -1, end: -1}, true
	}
	m := a1.FindStringSubmatch(text)
	if m == nil || m[3]+m[4] == "" {
		return area{}, false
	}
	out := area{sheet: titles[0], left: max(column(m[3]), 0), top: max(row(m[4]), 0)}
	if named := strings.ReplaceAll(m[1], "''", "'") + m[2]; named != "" {
		out.sheet = named
	}
	out.bottom, out.end = row(m[6])+1, column(m[5])+1
	if !strings.Contains(text[strings.LastIndexByte(text, '!')+1:], ":") {
		out.bottom, out.end = row(m[4])+1, column(m[3])+1
	}
	if out.bottom == 0 {
		out.bottom = -1
	}
	if out.end == 0 {
		out.end = -1
	}
	return out, slices.Contains(titles, out.sheet)
}

// row counts from 0; -1 is none.
func row(s string) int {
	n, _ := strconv.Atoi(s) // digits, by the pattern; none are 0
	return n - 1
}

func column(s string) int {
	n := 0
	for _, r := range strings.ToUpper(s) {
		n = n*26 + int(r-'A') + 1
	}
	return n - 1
}

func columnName(n int) string {
	const names = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if n < len(names) {
		return names[n : n+1]
	}
	return columnName(n/len(names)-1) + columnName(n%len(names))
}

// name is the range as Google writes it, as far as it goes.
func (a area) name(rows, columns int) string {
	title := a.sheet
	if strings.ContainsAny(title, " '!") {
		title = "'" + strings.ReplaceAll(title, "'", "''") + "'"
	}
	from := columnName(a.left) + strconv.Itoa(a.top+1)
	to := columnName(a.left+max(columns, 1)-1) + strconv.Itoa(a.top+max(rows, 1))
	if from == to {
		return title + "!" + from
	}
	return title + "!" + from + ":" + to
}

// within finds the spreadsheet and the range of the call.
func (w *workbooks) within(c *call, ranges ...string) (string, []area, *reply) {
	sh := w.kind.shelf(c, address{owner: c.tok.principal(), kind: w.kind.name})
	id := c.arg("spreadsheetId")
	d := sh.byID[id]
	if d == nil {
		a := c.row("A14")
		return "", nil, &a
	}
	var titles []string
	sheets, _ := d["sheets"].([]any)
	for _, one := range sheets {
		sheet, _ := one.(map[string]any)
		titles = append(titles, doc(sheet).under("properties").text("title"))
	}
	var out []area
	for _, r := range ranges {
		a, ok := parseArea(r, titles)
		if !ok {
			return "", nil, c.badSetting("Unable to parse range: " + r)
		}
		out = append(out, a)
	}
	return id, out, nil
}

// read is what the range holds, without what is empty at its ends.
func (w *workbooks) read(id string, a area, show func(any) any) doc {
	grid := w.cells[id+"/"+a.sheet]
	bottom, end := a.bottom, a.end
	if bottom < 0 {
		bottom = 1000
	}
	if end < 0 {
		end = 26
	}
	var values [][]any
	for r := a.top; r < min(bottom, len(grid)); r++ {
		values = append(values, trimmed(grid[r], a.left, end, show))
	}
	for len(values) > 0 && len(values[len(values)-1]) == 0 {
		values = values[:len(values)-1]
	}
	out := doc{"range": a.name(bottom-a.top, end-a.left), "majorDimension": "ROWS"}
	if values != nil {
		out["values"] = values
	}
	return out
}

// trimmed is a part of a row up to its last cell that holds something.
func trimmed(line []any, from, to int, show func(any) any) []any {
	out := []any{}
	for i := from; i < min(to, len(line)); i++ {
		out = append(out, show(line[i]))
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

// formatted is a value as people see it, which is how Sheets shows it unless it is
// asked otherwise.
func formatted(v any) any {
	switch v := v.(type) {
	case nil:
		return ""
	case bool:
		return strings.ToUpper(strconv.FormatBool(v))
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return v
}

func (c *call) rendering() func(any) any {
	if v := c.query.Get("valueRenderOption"); v == "" || v == "FORMATTED_VALUE" {
		return formatted
	}
	return func(v any) any {
		if v == nil {
			return ""
		}
		return v
	}
}

func (w *workbooks) get(c *call) reply {
	if a := c.cannotRender(); a != nil {
		return *a
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	id, areas, refused := w.within(c, c.arg("range"))
	if refused != nil {
		return *refused
	}
	return c.ok(w.read(id, areas[0], c.rendering()))
}

// cannotRender refuses columns, which would look otherwise.
func (c *call) cannotRender() *reply {
	if c.query.Get("majorDimension") == "COLUMNS" {
		a := c.notImplemented("majorDimension=COLUMNS")
		return &a
	}
	return nil
}

func (w *workbooks) batchGet(c *call) reply {
	if a := c.cannotRender(); a != nil {
		return *a
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	id, areas, refused := w.within(c, c.query["ranges"]...)
	if refused != nil {
		return *refused
	}
	var out []doc
	for _, a := range areas {
		out = append(out, w.read(id, a, c.rendering()))
	}
	return c.ok(doc{"spreadsheetId": id, "valueRanges": out})
}

// valuesIn reads what is to be written.
func (c *call) valuesIn() ([][]any, *reply) {
	if v := c.query.Get("valueInputOption"); v == "" || v == "INPUT_VALUE_OPTION_UNSPECIFIED" {
		return nil, c.badSetting("'valueInputOption' is required but not specified")
	}
	var in struct {
		Range          string  `json:"range"`
		MajorDimension string  `json:"majorDimension"`
		Values         [][]any `json:"values"`
	}
	if err := json.Unmarshal(orEmpty(c.body), &in); err != nil {
		a := badJSON(err, "data")
		return nil, &a
	}
	if in.MajorDimension == "COLUMNS" {
		a := c.notImplemented("majorDimension=COLUMNS")
		return nil, &a
	}
	if in.Range != "" && in.Range != c.arg("range") {
		return nil, c.badSetting(fmt.Sprintf("Requested writing within range [%s], but tried writing to range [%s]", c.arg("range"), in.Range))
	}
	return in.Values, nil
}

// write puts values down from the top left of the range; null leaves a cell as
// it is.
func (w *workbooks) write(id string, a area, values [][]any) doc {
	key, widest, cells := id+"/"+a.sheet, 0, 0
	grid := w.cells[key]
	for len(grid) < a.top+len(values) {
		grid = append(grid, nil)
	}
	for i, line := range values {
		at := &grid[a.top+i]
		for len(*at) < a.left+len(line) {
			*at = append(*at, nil)
		}
		for j, v := range line {
			if v != nil {
				(*at)[a.left+j] = v
			}
		}
		widest, cells = max(widest, len(line)), cells+len(line)
	}
	w.cells[key] = grid
	return doc{
		"spreadsheetId": id, "updatedRange": a.name(len(values), widest),
		"updatedRows": len(values), "updatedColumns": widest, "updatedCells": cells,
	}
}

// inside refuses values that reach beyond the range.
func (a area) inside(values [][]any) bool {
	return (a.bottom < 0 || a.bottom == a.top+1 || a.top+len(values) <= a.bottom) &&
		!slices.ContainsFunc(values, func(line []any) bool { return a.end >= 0 && a.end != a.left+1 && a.left+len(line) > a.end })
}

func (w *workbooks) update(c *call) reply {
	values, refused := c.valuesIn()
	if refused != nil {
		return *refused
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	id, areas, refused := w.within(c, c.arg("range"))
	if refused != nil {
		return *refused
	}
	if !areas[0].inside(values) {
		return *c.badSetting("Requested writing within range [" + c.arg("range") + "], but tried writing beyond it")
	}
	out := w.write(id, areas[0], values)
	if c.flag("includeValuesInResponse") {
		out["updatedData"] = doc{"range": out["updatedRange"], "majorDimension": "ROWS", "values": values}
	}
	return c.ok(out)
}

// append writes behind the last row that holds something.
func (w *workbooks) append(c *call) reply {
	values, refused := c.valuesIn()
	if refused != nil {
		return *refused
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	id, areas, refused := w.within(c, c.arg("range"))
	if refused != nil {
		return *refused
	}
	a := areas[0]
	out := doc{"spreadsheetId": id}
	if grid := w.cells[id+"/"+a.sheet]; len(grid) > a.top {
		widest := 0
		for _, line := range grid[a.top:] {
			widest = max(widest, len(line)-a.left)
		}
		out["tableRange"] = a.name(len(grid)-a.top, widest)
		a.top = len(grid)
	}
	out["updates"] = w.write(id, a, values)
	return c.ok(out)
}

func (w *workbooks) clear(c *call) reply {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	id, areas, refused := w.within(c, c.arg("range"))
	if refused != nil {
		return *refused
	}
	a := areas[0]
	key := id + "/" + a.sheet
	grid := w.cells[key]
	for r := a.top; r < len(grid) && (a.bottom < 0 || r < a.bottom); r++ {
		for k := a.left; k < len(grid[r]) && (a.end < 0 || k < a.end); k++ {
			grid[r][k] = nil
		}
	}
	// Rows that are empty at the end are none.
	for len(grid) > 0 && !slices.ContainsFunc(grid[len(grid)-1], func(v any) bool { return v != nil }) {
		grid = grid[:len(grid)-1]
	}
	w.cells[key] = grid
	return c.ok(doc{"spreadsheetId": id, "clearedRange": w.read(id, a, formatted)["range"]})
}
