package sandbox

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Stages of a delegated call, in the order in which they can fail.
const (
	stageSign     = "sign"     // IAM Credentials
	stageExchange = "exchange" // the token endpoint
	stageCall     = "call"     // the API itself
)

// A Row is one of Google's errors on the delegated path, as it arrives.
// Where Google has several wordings or codes for one meaning, the first has the
// plain id ("A11") and the others a letter behind it ("A11b").
type Row struct {
	ID     string      `json:"id"`
	Stage  string      `json:"stage"` // sign, exchange or call
	Status int         `json:"status"`
	Body   string      `json:"body"` // JSON; ${user}, ${projectNumber}, ${retryAt}, ${idToken}, ${grantType}, ${service}, ${title}, ${quotaProject}, ${account} are filled at use
	Header http.Header `json:"header,omitempty"`
}

// rowTable is the table with an index. It is never changed.
type rowTable struct {
	list []Row
	byID map[string]int
}

func newRowTable() *rowTable {
	t := &rowTable{byID: map[string]int{}}
	t.list = slices.Concat(exchangeRows(), signRows(), callRows())
	for i, r := range t.list {
		t.byID[r.ID] = i
	}
	return t
}

// Rows returns the whole table of errors. Any of them can be ordered.
func (s *Server) Rows() []Row {
	out := slices.Clone(s.rows.list)
	for i := range out {
		out[i].Header = out[i].Header.Clone()
	}
	return out
}

// row answers with a row of the table. An id that is not in it is a mistake
// in this package and is answered as one.
func (c *call) row(id string) reply {
	i, ok := c.rows.byID[id]
	if !ok {
		return refuseRPC(http.StatusInternalServerError, "sandbox: there is no row "+id)
	}
	r := c.rows.list[i]
	return reply{status: r.Status, header: r.Header, body: []byte(c.fill(r.Body))}
}

// mailPause is how long Gmail usually stops a user who sent too much, row A13.
const mailPause = 15 * time.Minute

func (c *call) fill(body string) string {
	if !strings.Contains(body, "${") {
		return body
	}
	var idToken string
	if strings.Contains(body, "${idToken}") {
		idToken = c.idTokenFor(c.route.who(c), "sandbox")
	}
	return strings.NewReplacer(
		"${user}", insideJSON(c.route.who(c)),
		"${projectNumber}", c.projectNumber,
		"${retryAt}", c.now().Add(mailPause).UTC().Format("2006-01-02T15:04:05.000Z"),
		"${grantType}", insideJSON(grantOf(c)),
		"${idToken}", idToken,
		"${service}", c.route.service(),
		"${quotaProject}", insideJSON(cmp.Or(c.req.Header.Get(quotaHeader), c.project)),
		"${account}", insideJSON(c.signedFor()),
		"${title}", services[c.route.service()],
	).Replace(body)
}

// signedFor is the account that a call of the stage sign is about, as it is called there.
func (c *call) signedFor() string {
	if c.route.stage != stageSign {
		return ""
	}
	return c.vars[1]
}

// insideJSON escapes s for a place between two quotation marks.
func insideJSON(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return string(b[1 : len(b)-1])
}

// oauthRow has the shape of the token endpoint's errors.
func oauthRow(id string, status int, code, description string) Row {
	return makeRow(id, stageExchange, status, oauthError{code, description})
}

func makeRow(id, stage string, status int, body any) Row {
	b, err := marshal(body, true)
	if err != nil { // cannot be: rows are made of strings and numbers
		b = nil
	}
	return Row{ID: id, Stage: stage, Status: status, Body: string(b)}
}
