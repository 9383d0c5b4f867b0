package actions_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
)

// roundTripper answers by a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// answering is a server whose every answer has that body.
func answering(status int, body io.Reader) roundTripper {
	return func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(body), Request: r}, nil
	}
}

const get = `{"user":"ada@example.com","action":"gmail.users.messages.get","params":{"id":"1"}}`

// padded is a JSON object of that length.
func padded(length int) string {
	const before, after = `{"id":"`, `"}`
	return before + strings.Repeat("x", length-len(before)-len(after)) + after
}

func TestAnswersAtTheEdge(t *testing.T) {
	for length, whole := range map[int]bool{100: true, actions.MaxAnswer - 1: true, actions.MaxAnswer: true, actions.MaxAnswer + 1: false} {
		answer, err := do(t, newActions(t, answering(200, strings.NewReader(padded(length)))), get)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case whole && (answer.Cut != nil || string(answer.Response) != padded(length)):
			t.Errorf("%d bytes: cut %v", length, answer.Cut)
		case !whole && (answer.Cut == nil || string(answer.Response) != `{"id":null}` || answer.Cut.KeptBytes != len(`{"id":null}`) || answer.Cut.TotalBytes != int64(length)):
			t.Errorf("%d bytes: %.100s, cut %v", length, answer.Response, answer.Cut)
		}
	}
}

func TestAnswersThatAreNoJSON(t *testing.T) {
	// Without a response in its document a method may answer with nothing.
	const remove = `{"user":"ada@example.com","action":"gmail.users.messages.delete","params":{"id":"1"}}`
	for _, c := range []struct {
		job    string
		status int
		body   string
		want   string // "!" is an error
	}{
		{remove, 204, "", ""},
		{remove, 200, "", ""},
		{remove, 200, " \n", ""},
		{remove, 200, "{}", "{}"},
		{get, 204, "", ""},
		{get, 200, "", "!"},
		{get, 200, " ", "!"},
		{get, 200, "{", "!"},
		{get, 200, "<html>", "!"},
		{get, 200, `{"a":1}x`, "!"},
		{get, 200, `{"a":1,"a":2}`, "!"},
		{get, 200, "{\"a\":\"\xff\"}", "!"},
		{get, 200, "\ufeff{}", "!"},
		{remove, 200, "gone", "!"},
		{get, 200, "{\"a\":1}\r\n", `{"a":1}`},
		{get, 206, `{"a":1}`, `{"a":1}`},
		{get, 200, "null", "null"},
		{get, 200, "[1]", "[1]"},
		{get, 299, "1", "1"},
		{get, 304, "", "!"},
		{get, 100, "{}", "!"},
		{get, 302, "{}", "!"},
		{get, 200, strings.Repeat(" ", actions.MaxAnswer+9), "!"},
		{get, 200, `{"a":1}` + strings.Repeat(" ", actions.MaxAnswer), `{"a":1}`},
		{get, 200, `{"a":1}` + strings.Repeat(" ", 999) + "x" + strings.Repeat(" ", actions.MaxAnswer), "!"},
		{get, 200, `{"a":1}{"b":"` + strings.Repeat("x", actions.MaxAnswer) + `"}`, "!"},
		{get, 200, `{"a":x` + strings.Repeat(" ", actions.MaxAnswer), "!"},
		{get, 200, `{"a":"` + strings.Repeat("x", actions.MaxAnswer) + `",x`, `{"a":null}`}, // what is wrong lies behind the cut
		{get, 200, `"` + strings.Repeat("x", actions.MaxAnswer) + `"`, `null`},
		{get, 200, strings.Repeat("1", actions.MaxAnswer+9), `null`},
		{get, 200, `[` + strings.Repeat(" ", 99) + strings.Repeat("1", actions.MaxAnswer+9), `[]`},
	} {
		answer, err := do(t, newActions(t, answering(c.status, strings.NewReader(c.body))), c.job)
		var e *actions.Error
		switch {
		case c.want == "!" && (!errors.As(err, &e) || e.Status != c.status || e.Object != ""):
			t.Errorf("%d %.40q: %#v", c.status, c.body, err)
		case c.want != "!" && (err != nil || string(answer.Response) != c.want):
			t.Errorf("%d %.40q: %.100s, %v; want %s", c.status, c.body, answer.Response, err, c.want)
		}
	}
}

// counted counts what is read of an endless answer, and how much of it was read
// at once.
type counted struct {
	io.Reader
	read int64
	most int
}

func (c *counted) Read(p []byte) (int, error) {
	c.most = max(c.most, len(p))
	n, err := c.Reader.Read(p)
	c.read += int64(n)
	return n, err
}

// repeated gives a text again and again, so many bytes in all.
func repeated(before, text string, length int64) io.Reader {
	return io.LimitReader(io.MultiReader(strings.NewReader(before), &again{text: text}), length)
}

type again struct {
	text string
	at   int
}

func (a *again) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m := copy(p[n:], a.text[a.at:])
		n, a.at = n+m, (a.at+m)%len(a.text)
	}
	return n, nil
}

// What is too long for a result is not held, be it one string.
func TestHugeAnswersAreNotHeld(t *testing.T) {
	for name, text := range map[string]string{"one string": "x", "escapes": `\u00e9`, "a list": `",{"a":[true,1.5]},"`} {
		body := &counted{Reader: repeated(`{"items":["`, text, 100<<20)}
		a := newActions(t, answering(200, body))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		answer, err := do(t, a, get)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 8<<20 {
			t.Errorf("%s: %d bytes were allocated for an answer of 100 MiB", name, allocated)
		}
		if body.most > 1<<20 || body.read < actions.MaxAnswer || body.read > 70<<20 {
			t.Errorf("%s: %d bytes were read, up to %d at once", name, body.read, body.most)
		}
		if answer.Cut == nil || answer.Cut.TotalBytes != 0 || answer.Cut.KeptBytes != len(answer.Response) || len(answer.Response) > actions.MaxAnswer || !answer.Response.IsValid() {
			t.Errorf("%s: %+v, %d bytes", name, answer.Cut, len(answer.Response))
		}
	}
}

// A long answer that breaks off is an error before the cut, and of unknown length
// behind it.
func TestAnswersThatBreakOff(t *testing.T) {
	broken := errors.New("connection reset")
	_, err := do(t, newActions(t, answering(200, io.MultiReader(strings.NewReader(`{"a":`), iotest.ErrReader(broken)))), get)
	var e *actions.Error
	if !errors.As(err, &e) || !errors.Is(err, broken) || e.Reason != actions.NoAnswer {
		t.Errorf("before the cut: %#v", err)
	}
	long := `{"a":1,"b":"` + strings.Repeat("x", actions.MaxAnswer)
	answer, err := do(t, newActions(t, answering(200, io.MultiReader(strings.NewReader(long), iotest.ErrReader(broken)))), get)
	if err != nil || string(answer.Response) != `{"a":1,"b":null}` || answer.Cut.TotalBytes != 0 {
		t.Errorf("behind it: %.100s, %+v, %v", answer.Response, answer.Cut, err)
	}
}

// How much is kept: nearly all that fits.
func TestCutKeepsWhatFits(t *testing.T) {
	for name, body := range map[string]string{
		"items":    `{"items":[` + strings.Repeat(`{"id":"0123456789","n":12345},`, 20000) + `1]}`,
		"strings":  `["` + strings.Repeat(strings.Repeat("é", 500)+`","`, 600) + `"]`,
		"deep":     strings.Repeat(`{"a":[`, 4900) + strings.Repeat(`1,`, 200000),
		"numbers":  `[` + strings.Repeat(`1,`, 200000) + `1]`,
		"escapes":  `["` + strings.Repeat(strings.Repeat(`\n`, 500)+`","`, 600) + `"]`,
		"one name": `{"a":1,"` + strings.Repeat("x", actions.MaxAnswer) + `":1}`,
	} {
		answer, err := do(t, newActions(t, answering(200, iotest.HalfReader(strings.NewReader(body)))), get)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkCut(t, []byte(body), answer)
		if least := actions.MaxAnswer - 20000; len(answer.Response) < least && name != "one name" {
			t.Errorf("%s: only %d bytes are kept", name, len(answer.Response))
		}
		if answer.Cut.TotalBytes != int64(len(body)) {
			t.Errorf("%s: %+v of %d", name, answer.Cut, len(body))
		}
	}
}

// checkCut sees to it that a cut answer is a beginning of the whole.
func checkCut(t *testing.T, body []byte, answer actions.Answer) {
	t.Helper()
	if answer.Cut == nil || answer.Cut.KeptBytes != len(answer.Response) || len(answer.Response) > actions.MaxAnswer || !answer.Response.IsValid() {
		t.Fatalf("%d bytes, cut %+v, valid %t", len(answer.Response), answer.Cut, answer.Response.IsValid())
	}
	cut, whole := tokens(answer.Response), tokens(body)
	same := 0
	for same < len(cut) && same < len(whole) && cut[same] == whole[same] {
		same++
	}
	rest := strings.Join(cut[same:], "")
	if strings.Trim(strings.TrimPrefix(rest, "null"), "]}") != "" {
		t.Errorf("token %d is %s; then comes %.100s", same, whole[min(same, len(whole)-1)], rest)
	}
}

// tokens are those of a JSON text, as far as it is one.
func tokens(text []byte) []string {
	var all []string
	for d := jsontext.NewDecoder(bytes.NewReader(text), jsontext.AllowDuplicateNames(true)); ; {
		token, err := d.ReadToken()
		if err != nil {
			return all
		}
		all = append(all, token.String())
	}
}

// Whatever is answered, what is cut off it leaves JSON, and its beginning.
func FuzzCut(f *testing.F) {
	f.Add(`{"a":[1,2,{"b":"`, "x", `"}]}`)
	f.Add(`[`, `1,`, `2]`)
	f.Add(`["`, `\u0000`, `"]`)
	f.Add(``, `{"a":`, ``)
	f.Add(`{"a":1}`, ` `, `x`)
	f.Add(`[12`, `3`, `4]`)
	f.Add(`["`, `é","`, `"]`)
	f.Fuzz(func(t *testing.T, before, middle, after string) {
		if middle == "" || len(before)+len(after) > actions.MaxAnswer/2 {
			t.Skip("it would be short")
		}
		body := before + strings.Repeat(middle, 1+actions.MaxAnswer/len(middle)) + after
		answer, err := do(t, newActions(t, answering(200, strings.NewReader(body))), get)
		if err != nil {
			blank := strings.TrimLeft(body, " \t\r\n")
			if jsontext.Value(body).IsValid() && len(body)-len(blank) < actions.MaxAnswer { // nobody reads on behind so many blanks
				t.Errorf("%q %q %q: %v", before, middle, after, err)
			}
			return
		}
		if len(body) <= actions.MaxAnswer {
			return
		}
		checkCut(t, []byte(body), answer)
		if answer.Cut.TotalBytes != int64(len(body)) {
			t.Errorf("%d bytes of %d", answer.Cut.TotalBytes, len(body))
		}
	})
}

// pager is a list in pages.
type pager struct {
	pages   []string // by their numbers, which the tokens are
	inBody  bool
	asked   []string
	bodies  []string
	failing map[int]int // statuses
}

func (p *pager) RoundTrip(r *http.Request) (*http.Response, error) {
	token := r.URL.Query().Get("pageToken")
	if r.Body != nil {
		sent, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		p.bodies = append(p.bodies, string(sent))
		if p.inBody {
			var body struct{ PageToken string }
			if err := json.Unmarshal(sent, &body); err != nil {
				return nil, err
			}
			token = body.PageToken
		}
	}
	p.asked = append(p.asked, token)
	n, _ := strconv.Atoi(token)
	if status := p.failing[n]; status != 0 {
		return answering(status, strings.NewReader(`{"error":{"errors":[{"reason":"backendError"}]}}`))(r)
	}
	return answering(200, strings.NewReader(p.pages[n]))(r)
}

// users is a page of n users, and the token of the next.
func users(from, n, next int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,{"id":"%d"}`, from+i)
	}
	page := `{"kind":"admin#directory#users","users":[` + strings.TrimPrefix(b.String(), ",") + `]`
	if next != 0 {
		page += `,"nextPageToken":"` + strconv.Itoa(next) + `"`
	}
	return page + "}"
}

func TestPages(t *testing.T) {
	list := func(most int, params string) string {
		return fmt.Sprintf(`{"user":"ada@example.com","action":"directory.users.list","params":{"customer":"my_customer"%s},"pages":{"max":%d}}`, params, most)
	}
	three := []string{users(0, 2, 1), users(2, 2, 2), users(4, 1, 0)}
	for name, c := range map[string]struct {
		job   string
		pages []string
		ids   string // those that are joined
		next  string // the token that is left
		asked string
	}{
		"one":             {list(9, ""), []string{users(0, 3, 0)}, "0 1 2", "", "[]"},
		"three":           {list(9, ""), three, "0 1 2 3 4", "", "[ 1 2]"},
		"just as many":    {list(3, ""), three, "0 1 2 3 4", "", "[ 1 2]"},
		"fewer":           {list(2, ""), three, "0 1 2 3", "2", "[ 1]"},
		"from a token on": {list(9, `,"pageToken":"1"`), three, "2 3 4", "", "[1 2]"},
		"nothing":         {list(9, ""), []string{`{"kind":"x"}`}, "", "", "[]"},
		"an empty page":   {list(9, ""), []string{users(0, 1, 1), users(0, 0, 2), users(1, 1, 0)}, "0 1", "", "[ 1 2]"},
		"missing items":   {list(9, ""), []string{users(0, 1, 1), `{"nextPageToken":"2"}`, `{"etag":"e"}`}, "0", "", "[ 1 2]"},
		"null":            {list(9, ""), []string{users(0, 1, 1), `{"users":null,"nextPageToken":null}`}, "0", "", "[ 1]"},
		"the same again":  {list(9, ""), []string{users(0, 1, 1), users(1, 1, 1)}, "0 1", "1", "[ 1]"},
		"from the same":   {list(9, `,"pageToken":"1"`), []string{"", users(1, 1, 1)}, "1", "1", "[1]"},
		"too much":        {list(9, ""), []string{users(0, 15000, 1), users(15000, 4000, 2), users(19000, 1, 0)}, "15000 ids", "1", "[ 1]"},
		"all too long":    {list(9, ""), []string{users(0, 4000, 1), users(4000, 20000, 2), users(24000, 1, 0)}, "4000 ids", "1", "[ 1]"},
	} {
		p := &pager{pages: c.pages}
		answer, err := do(t, newActions(t, p), c.job)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got struct {
			Users         []struct{ ID string }
			NextPageToken string
		}
		if err := json.Unmarshal(answer.Response, &got); err != nil || answer.Cut != nil || len(answer.Response) > actions.MaxAnswer {
			t.Errorf("%s: %v, %v, %d bytes", name, err, answer.Cut, len(answer.Response))
		}
		var ids []string
		for i, u := range got.Users {
			ids = append(ids, u.ID)
			if strings.HasSuffix(c.ids, " ids") && u.ID != strconv.Itoa(i) {
				t.Errorf("%s: item %d is %s", name, i, u.ID)
			}
		}
		joined := strings.Join(ids, " ")
		if len(ids) > 100 {
			joined = fmt.Sprint(len(ids), " ids")
		}
		if joined != c.ids || got.NextPageToken != c.next || fmt.Sprint(p.asked) != c.asked {
			t.Errorf("%s: %s, then %q, asked for %q; want %s, %q, %s", name, joined, got.NextPageToken, p.asked, c.ids, c.next, c.asked)
		}
	}
}

func TestPagesThatFail(t *testing.T) {
	const job = `{"user":"ada@example.com","action":"directory.users.list","pages":{"max":9}}`
	_, err := do(t, newActions(t, &pager{pages: []string{users(0, 1, 1), ""}, failing: map[int]int{1: 503}}), job)
	var e *actions.Error
	if !errors.As(err, &e) || e.Status != 503 || e.Reason != "backendError" || e.Doubtful {
		t.Errorf("a page that fails: %#v", err)
	}
	for _, page := range []string{"", "{", "[]", "1", "null", `{"users":{}}`, `{"users":"x"}`} {
		if _, err := do(t, newActions(t, &pager{pages: []string{users(0, 1, 1), page}}), job); !errors.As(err, &e) {
			t.Errorf("a page that is %q: %v", page, err)
		}
	}
	// The first page alone is too long: it is cut as any answer.
	answer, err := do(t, newActions(t, &pager{pages: []string{users(0, 30000, 1)}}), job)
	if err != nil || answer.Cut == nil {
		t.Errorf("a long first page: %v, %v", answer.Cut, err)
	}
	for _, action := range []string{`drive.files.get","params":{"fileId":"f"}`, `calendar.colors.get"`, `compute.instances.aggregatedList","params":{"project":"p"}`} {
		if got := refusal(t, newActions(t, &google{}), `{"user":"ada@example.com","action":"`+action+`,"pages":{"max":2}}`); !strings.HasPrefix(got, "pages: is given, but ") {
			t.Errorf("%s: %s", action, got)
		}
	}
}

// Where the token goes into the body, all else in it stays as it was written.
func TestPagesByBody(t *testing.T) {
	p := &pager{inBody: true, pages: []string{`{"activities":[{"a":1}],"nextPageToken":"1"}`, `{"activities":[{"a":2}]}`}}
	a := newActions(t, p)
	answer, err := do(t, a, `{"user":"ada@example.com","action":"driveactivity.activity.query","body":{"filter":"time >= \"2026\"","pageSize":7},"pages":{"max":9}}`)
	if err != nil || string(answer.Response) != `{"activities":[{"a":1},{"a":2}]}` {
		t.Errorf("%s, %v", answer.Response, err)
	}
	if want := []string{"{\"filter\":\"time \\u003e= \\\"2026\\\"\",\"pageSize\":7}\n", "{\"filter\":\"time \\u003e= \\\"2026\\\"\",\"pageSize\":7,\"pageToken\":\"1\"}\n"}; !slices.Equal(p.bodies, want) {
		t.Errorf("%q; want %q", p.bodies, want)
	}
	p = &pager{inBody: true, pages: []string{`{"operations":[],"nextPageToken":"1"}`, `{}`}}
	if _, err := do(t, newActions(t, p), `{"user":"ada@example.com","action":"driveactivity.activity.query","body":{"pageSize":2147483647,"itemName":null},"pages":{"max":9}}`); err != nil {
		t.Fatal(err)
	}
	if last := p.bodies[1]; last != "{\"itemName\":null,\"pageSize\":2147483647,\"pageToken\":\"1\"}\n" {
		t.Errorf("%s", last)
	}
}

// Beside its items a list may have others, which are not lost.
func TestPagesKeepTheOtherArrays(t *testing.T) {
	p := &pager{pages: []string{
		`{"items":[{"name":"a"},{"name":"a"}],"prefixes":["x/","y/"],"nextPageToken":"1"}`,
		`{"items":[{"name":"a"}],"prefixes":["y/","z/"],"kind":"k"}`,
	}}
	answer, err := do(t, newActions(t, p), `{"as":"serviceAccount","action":"storage.objects.list","params":{"bucket":"b","delimiter":"/"},"pages":{"max":9}}`)
	var got, want any
	_ = json.Unmarshal(answer.Response, &got)
	_ = json.Unmarshal([]byte(`{"items":[{"name":"a"},{"name":"a"},{"name":"a"}],"prefixes":["x/","y/","z/"],"kind":"k"}`), &want)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s, %v", answer.Response, err)
	}
}

// All that Google gives in pages can be followed, and it is the items that are joined.
func TestItemsOfEveryList(t *testing.T) {
	var odd []string
	lists := 0
	for _, m := range methods() {
		_, inQuery := m.Param("pageToken")
		inBody := m.Request != nil && slices.ContainsFunc(m.Request.Fields, func(f discovery.Field) bool { return f.Name == "pageToken" })
		if m.Response == nil || !inQuery && !inBody {
			continue
		}
		if _, ok := m.Response.Field("nextPageToken"); !ok {
			continue
		}
		items := actions.ItemsOf(m)
		if items == "" {
			odd = append(odd, m.ID)
			continue
		}
		lists++
		f, ok := m.Response.Field(items)
		if !ok || f.Type.Kind != discovery.Array {
			t.Errorf("%s: %s is no array", m.ID, items)
		}
		if slices.Contains([]string{"warnings", "unreachable", "unreachables", "prefixes", "defaultReminders", "results"}, items) && m.ID != "chat.spaces.messages.search" {
			t.Errorf("%s: the items are not in %s", m.ID, items)
		}
	}
	odd = slices.DeleteFunc(odd, func(id string) bool { return strings.HasSuffix(id, ".aggregatedList") }) // a map of arrays
	if len(odd) > 0 {
		t.Errorf("lists whose items are not known: %q", odd)
	}
	if lists < 250 {
		t.Errorf("only %d lists", lists)
	}
}
