package batch_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	admin "google.golang.org/api/admin/directory/v1"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// usual is the batch of the contract.
const usual = `name: signatures
targets:
  all: true
job:
  action: gmail.users.settings.sendAs.patch
  params: {sendAsEmail: "{{.User.PrimaryEmail}}"}
  body: {signature: "<b>{{html .User.Name.FullName}}</b>"}
notAfter: 2026-11-30T00:00:00Z
`

var info = batch.Info{ID: "signatures-1", Name: "signatures", Time: time.Date(2026, 11, 22, 7, 20, 49, 0, time.UTC), JobID: "signatures-1/ada@example.com"}

var ada = batch.Target{
	User: "ada@example.com",
	Known: []byte(`{
		"primaryEmail": "Ada@Example.com", "name": {"fullName": "Ada \"<King>\" Lovelace", "givenName": "Ada"}, "orgUnitPath": "/Sales/EU",
		"isAdmin": true, "aliases": ["a@example.com", "b@example.com"], "lastLoginTime": "2026-11-20T10:00:00.500Z",
		"phones": [{"type": "work", "value": "+1 5"}, {"type": "home", "value": null}], "organizations": [],
		"customSchemas": {"employmentData": {"floor": 3, "big": 12345678901, "share": 0.5}, "Odd-Name": {"x y": "z"}}}`),
	Row: map[string]string{"Room": "4<2", "Room number": "42", "Groups": "a,b,c", "Bad": "a\xffb", "empty": ""},
}

func decodeBatch(t testing.TB, file string) *jobs.Batch {
	t.Helper()
	b, err := jobs.DecodeBatch([]byte(file))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return b
}

func newTemplate(t testing.TB, file string) *batch.Template {
	t.Helper()
	template, err := batch.NewTemplate(decodeBatch(t, file))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return template
}

func TestRender(t *testing.T) {
	template := newTemplate(t, usual)
	got, err := template.Render(ada, info)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"signatures-1/ada@example.com","user":"ada@example.com","notAfter":"2026-11-30T00:00:00Z","action":"gmail.users.settings.sendAs.patch","params":{"sendAsEmail":"ada@example.com"},"body":{"signature":"<b>Ada &#34;&lt;King&gt;&#34; Lovelace</b>"}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if job, err := jobs.Decode(got, ""); err != nil || job.Batch() != info.ID {
		t.Errorf("batch %q, error %v", job.Batch(), err)
	}
	if fields := template.Fields(); fields != "name" || !template.UsesUser() || len(template.Columns()) != 0 {
		t.Errorf("fields %q, columns %q", fields, template.Columns())
	}
}

// A job without templates, and all that holds text and is no template, stays as it is.
func TestRenderCopiesWhatIsNoTemplate(t *testing.T) {
	const file = `{"name":"n","dryRun":true,"targets":{"all":true},"job":{"labels":{"b":"}} {%","a":"\u0000\u20ac \ud83d\ude00"},"action":"a.b","params":{"n":12345678901234567890,"f":1.50,"x":null,"y":[true,{}]}}}`
	template := newTemplate(t, file)
	got, err := template.Render(batch.Target{User: "ada@example.com"}, info)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":"signatures-1/ada@example.com","user":"ada@example.com","dryRun":true,"labels":{"b":"}} {%","a":"\u0000€ 😀"},"action":"a.b","params":{"n":12345678901234567890,"f":1.50,"x":null,"y":[true,{}]}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if template.Fields() != "" || template.UsesUser() {
		t.Errorf("fields %q", template.Fields())
	}
}

// hold is a batch whose one template is on line 9.
func hold(template string) string {
	return "name: n\ntargets: {csv: 'gs://lists/staff.csv'}\njob:\n  action: a.b\n\n\n  body:\n    deep:\n    - " + quote(template) + "\n"
}

func quote(text string) string {
	quoted, err := jsontext.AppendQuote(nil, text)
	if err != nil {
		panic(err)
	}
	return string(quoted)
}

// rendered is what comes of templates for Ada.
var rendered = []struct{ template, want string }{
	{"{{.User.PrimaryEmail}}", "ada@example.com"},
	{"{{ $.User.PrimaryEmail }}", "ada@example.com"},
	{"a {{- /* nothing */ -}} b", "ab"},
	{`{{.User.Name.FullName}}`, `Ada "<King>" Lovelace`},
	{`{{(.User.Name).FullName}}`, `Ada "<King>" Lovelace`},
	{`{{html .User.Name.FullName}}`, `Ada &#34;&lt;King&gt;&#34; Lovelace`},
	{`{{.User.Name.FullName | html | len}}`, `35`},
	{`{{.Row.Room | html}}{{upper .User.Name.GivenName}}`, `4&lt;2ADA`},
	{`{{.Batch.ID}} {{.Batch.Name}} {{.Batch.Time}}`, "signatures-1 signatures 2026-11-22T07:20:49Z"},
	{`{{date "2 January 2006" .Batch.Time}}`, "22 November 2026"},
	{`{{.User.LastLoginTime | date "15:04"}} {{date "Jan" "2026-12-24"}}`, "10:00 Dec"},
	{`{{unixMilli "2026-12-24T00:00:00+01:00"}} {{unixMilli .User.LastLoginTime}} {{unixMilli .Batch.Time}}`, "1798066800000 1795168800500 1795332049000"},
	{`{{.User.LastLoginTime | after (ago "168h" .Batch.Time)}} {{after (ago "1h" .Batch.Time) .User.LastLoginTime}} {{before .Batch.Time .User.LastLoginTime}}`, "true false true"},
	{`{{ago "90m" .Batch.Time}}`, "2026-11-22T05:50:49Z"},
	// What a user lacks is empty.
	{`<{{.User.Name.FamilyName}}{{.User.RecoveryPhone}}{{.User.Gender.Type}}{{.User.CustomSchemas.No.Such}}{{.Row.empty}}{{.Row.None}}>`, "<>"},
	{`{{.User.RecoveryPhone | default "none"}} {{default "x" .User.Name.GivenName}} {{default "no" .User.Organizations | join ","}}`, "none Ada no"},
	{`{{if .User.RecoveryPhone}}y{{else if .User.IsAdmin}}admin{{end}} {{.User.IsAdmin}} {{not .User.Suspended}}`, "admin true true"},
	{`{{with .User.Name}}{{.GivenName}} {{$.User.OrgUnitPath}}{{end}}{{with .User.Notes}}x{{else}}no notes{{end}}`, "Ada /Sales/EUno notes"},
	{`{{with .User}}{{.PrimaryEmail}}{{end}}{{with $u := .User.Name}}{{$u.GivenName}}{{end}}`, "ada@example.comAda"},
	{`{{$u := .User}}{{$u.Name.GivenName}}{{$n := $u.Name}}{{$n.GivenName}}`, "AdaAda"},
	{`{{$x := "a"}}{{if .User.IsAdmin}}{{$x = .User.OrgUnitPath}}{{end}}{{$x}}`, "/Sales/EU"},
	// Lists.
	{`{{range .User.Aliases}}<{{.}}>{{end}}{{range .User.Websites}}x{{else}}none{{end}}`, "<a@example.com><b@example.com>none"},
	{`{{range $i, $p := .User.Phones}}{{$i}}:{{$p.Type}}={{.Value}};{{end}}`, "0:work=+1 5;1:home=;"},
	{`{{range $a := .User.Aliases}}{{if eq $a "a@example.com"}}{{continue}}{{end}}{{$a}}{{break}}{{end}}`, "b@example.com"},
	{`{{$last := ""}}{{range $last = .User.Aliases}}{{end}}{{$last}}`, "b@example.com"},
	{`{{(index .User.Phones 0).Value}} {{index .User.Aliases 1}} {{len .User.Aliases}}`, "+1 5 b@example.com 2"},
	{`{{join ", " .User.Aliases}} {{join "-" .User.Websites}} {{range split "," .Row.Groups}}{{.}};{{end}}`, "a@example.com, b@example.com  a;b;c;"},
	{`{{range split "," .Row.empty}}x{{else}}none{{end}} {{index (split "," .Row.Groups) 2}}`, "none c"},
	// Custom schemas, and names that are no identifiers.
	{`{{.User.CustomSchemas.EmploymentData.Floor}} {{.User.CustomSchemas.EmploymentData.Big}} {{.User.CustomSchemas.EmploymentData.Share}}`, "3 12345678901 0.5"},
	{`{{if eq .User.CustomSchemas.EmploymentData.Floor 3}}third{{end}} {{index .User.CustomSchemas "Odd-Name" "x y"}}`, "third z"},
	{`{{range $k, $v := .User.CustomSchemas.EmploymentData}}{{$k}}={{$v}} {{end}}`, "big=12345678901 floor=3 share=0.5 "},
	{`{{index .Row "Room number"}} {{index .User "Name" "GivenName"}} {{index .Batch "ID"}}`, "42 Ada signatures-1"},
	// Texts.
	{`{{lower .User.Name.GivenName}}{{trim "  x "}}{{replace "/" " > " .User.OrgUnitPath}}`, "adax > Sales > EU"},
	{`{{contains "Sales" .User.OrgUnitPath}} {{hasPrefix "/EU" .User.OrgUnitPath}} {{.User.OrgUnitPath | hasSuffix "EU"}}`, "true false true"},
	{`{{urlquery .User.Name.FullName}}`, "Ada+%22%3CKing%3E%22+Lovelace"},
	{`{{and .User.IsAdmin (eq .Row.Room "4<2")}} {{or .Row.empty .Row.Room}} {{lt 1 (len .User.Aliases)}}`, "true 4<2 true"},
	{`{{"\"}, {\"user\": \"ceo@example.com"}}`, `"}, {"user": "ceo@example.com`},
	{`{{.Row.Bad}}`, "a\uFFFDb"},
	{"line\n{{.Row.Room}}\n", "line\n4<2\n"},
}

func TestTemplates(t *testing.T) {
	for _, c := range rendered {
		template := newTemplate(t, hold(c.template))
		job, err := template.Render(ada, info)
		if err != nil {
			t.Errorf("%s: %v", c.template, err)
			continue
		}
		if got := held(t, job); got != c.want {
			t.Errorf("%s: got %q, want %q", c.template, got, c.want)
		}
		if library, err := template.WithLibrary().Render(ada, info); err != nil || !bytes.Equal(library, job) {
			t.Errorf("%s: the library makes %s (%v) of it, and we %s", c.template, library, err, job)
		}
	}
}

// held is the string that a job has in the place of the template.
func held(t testing.TB, job []byte) string {
	t.Helper()
	var read struct {
		Body struct {
			Deep []string `json:"deep"`
		} `json:"body"`
	}
	if err := json.Unmarshal(job, &read); err != nil || len(read.Body.Deep) != 1 {
		t.Fatalf("%s: %v", job, err)
	}
	return read.Body.Deep[0]
}

// wrongTemplates are refused before there is any user.
var wrongTemplates = []struct{ template, says string }{
	{"{{.User.Nam}}", "uses .User.Nam, which is no field of the Directory's user; accepted are Addresses, AgreedToTerms,"},
	{"{{.User.primaryEmail}}", "uses .User.primaryEmail, which is no field"},
	{"{{.User.Password}}", "uses .User.Password, which is no field"},
	{"{{.User.FullName}}", "uses .User.FullName, which is no field"},
	{"{{.User.Name.Full}}", "uses .User.Name.Full, which is no field of a user's name; accepted are DisplayName, FamilyName, FullName, GivenName"},
	{"{{with .User.Name}}{{.Nick}}{{end}}", "uses .User.Name.Nick, which is no field"},
	{"{{with .User}}{{with .Name}}{{else}}{{.Nick}}{{end}}{{end}}", "uses .User.Nick, which is no field"},
	{"{{range .User.Phones}}{{$.User.Nick}}{{end}}", "uses .User.Nick, which is no field"},
	{"{{range .User.Phones}}{{else}}{{.Usr}}{{end}}", "uses .Usr, which is no field of what templates see; accepted are Batch, Row, User"},
	{"{{if .User.IsAdmin}}{{.User.Nick}}{{end}}", "uses .User.Nick"},
	{"{{if false}}{{else}}{{.User.Nick}}{{end}}", "uses .User.Nick"},
	{"{{$u := .User}}{{$u.Nick}}", "uses .User.Nick"},
	{"{{(.User).Nick}}", "uses .User.Nick"},
	{`{{index .User "Nick"}}`, "uses .User.Nick"},
	{`{{index .User "a b\n"}}`, `uses .User."a b\n"`},
	{"{{html .User.Nick}}", "uses .User.Nick"},
	{"{{lower (html .User.Nick)}}", "uses .User.Nick"},
	{"{{.Batch.Size}}", "uses .Batch.Size, which is no field of the batch; accepted are ID, Name, Time"},
	{"{{.}}", `writes ".", which has fields; name one of them; accepted are Batch, Row, User`},
	{"{{.User}}", `writes ".User", which has fields; name one of them; accepted are Addresses`},
	{"{{.Row}}", `writes ".Row", which has fields; name one of them`},
	{"{{.User.Name}}", `writes ".User.Name", which has fields; name one of them; accepted are DisplayName`},
	{"{{.User.CustomSchemas}}", `writes ".User.CustomSchemas", which has fields`},
	{"{{.User.Aliases}}", `writes ".User.Aliases", which is a list; go through it with range, or use join or index`},
	{"{{.User.Emails.Address}}", "asks .Address of a list; go through it with range, or take one with index"},
	{"{{.User.OrgUnitPath.X}}", "asks .X of a text, which has no fields"},
	{"{{.Row.Room.X}}", "asks .X of a text"},
	{"{{html .User}}", `gives ".User" to html; name one of its fields; accepted are Addresses`},
	{"{{.User | html}}", `pipes into "html" what has fields; name one of them; accepted are`},
	{"{{index .User .Row.Room}}", `takes from ".User" by index what is not named in quotes`},
	{"{{$k := \"Nick\"}}{{index .User $k}}", `takes from ".User" by index what is not named in quotes`},
	{`{{"Nick" | index .User}}`, `takes from ".User" by index what is not named in quotes`},
	{"{{range .User}}{{.}}{{end}}", `goes with range through ".User", which is no list`},
	{"{{range $k, $v := .Row}}{{end}}", `goes with range through "$k, $v := .Row", which is no list`},
	{"{{range .User.OrgUnitPath}}{{end}}", `goes with range through ".User.OrgUnitPath", which is no list`},
	{"{{range 1000000000}}x{{end}}", `goes with range through "1000000000", which is no list`},
	{"{{$x := .User}}{{$x = .Row}}", "assigns to $x what has fields; declare another variable with :="},
	{"{{$ = .User.OrgUnitPath}}", "assigns to $ what has fields"},
	{`{{printf "%1000000000d" 1}}`, `calls "printf", which is no function; accepted are after, ago, and, before,`},
	{"{{call .User.Name}}", `calls "call", which is no function`},
	{"a\nb\n{{nosuch 1}}", `calls "nosuch" in line 3 of the text, which is no function`},
	{"{{_get .User}}", `calls "_get", which is no function`},
	{"{{.User.Name.FullName 1}}", `calls ".User.Name.FullName", which is no function; accepted are`},
	{"{{1 | .User.Name}}", `calls ".User.Name", which is no function`},
	{"{{html}}", "gives 0 arguments to html, which takes 1"},
	{"{{html 1 2}}", "gives 2 arguments to html, which takes 1"},
	{"{{1 | replace 2}}", "gives 2 arguments to replace, which takes 3"},
	{"{{index .User.Phones}}", "gives 1 arguments to index, which takes 2 to 4"},
	{"{{default html 1}}", "calls html without arguments; put a call in parentheses"},
	{"{{default nil 1}}", "holds nil"},
	{`{{define "x"}}{{end}}`, "holds define or block; a template stands by itself"},
	{`{{block "x" .}}{{end}}`, "holds define or block"},
	{`{{template "x" .}}`, `holds "{{template \"x\" .}}"; a template stands by itself`},
	{"{{.User.Name.FullName", "is no template: unclosed action"},
	{"\n{{if .User.IsAdmin}}", "is no template in line 2 of the text: unexpected EOF"},
	{"{{$x}}", "is no template: undefined variable"},
	{"{{}}", "is no template: missing value"},
	{"{{break}}", "is no template: {{break}} outside {{range}}"},
}

// A batch says of each user whether it applies.
func TestWhere(t *testing.T) {
	for where, want := range map[string]bool{
		`{{eq .User.OrgUnitPath "/Sales/EU"}}`:                             true,
		`{{eq .User.OrgUnitPath "/Sales"}}`:                                false,
		`{{.User.LastLoginTime | before (ago "168h" .Batch.Time)}}`:        false,
		` {{if .User.IsAdmin}} true {{else}} false {{end}} `:               true,
		`{{and .User.IsAdmin (contains "Sales" .User.OrgUnitPath)}}`:       true,
		`{{or .User.RecoveryPhone (not (eq .User.OrgUnitPath "/Sales"))}}`: true,
	} {
		template := newTemplate(t, usual+"where: '"+where+"'\n")
		if is, err := template.Applies(ada, info); is != want || err != nil {
			t.Errorf("%s: %t, %v", where, is, err)
		}
		if !strings.Contains(template.Fields(), "name") {
			t.Errorf("%s: lost the job's fields", where)
		}
	}
	for where, says := range map[string]string{
		"{{.User.OrgUnitPath}}":                      `makes "/Sales/EU" for ada@example.com; true or false is expected`,
		`{{after "soon" .User.LastLoginTime}}`:       "fails for ada@example.com: ",
		`{{after (ago "a week" .Batch.Time) "now"}}`: "fails for ada@example.com: ",
	} {
		_, err := newTemplate(t, usual+"where: '"+where+"'\n").Applies(ada, info)
		wants(t, where, err, 9, "where", says)
	}
	_, err := batch.NewTemplate(decodeBatch(t, usual+"where: '{{.User.Nick}}'\n"))
	wants(t, "an unknown field", err, 9, "where", "uses .User.Nick, which is no field")
}

func TestNewTemplateRefuses(t *testing.T) {
	for _, c := range wrongTemplates {
		_, err := batch.NewTemplate(decodeBatch(t, hold(c.template)))
		wants(t, c.template, err, 9, "job.body.deep[0]", c.says)
	}
}

// wants looks at the error's line and field as well.
func wants(t testing.TB, what string, err error, line int, path, says string) {
	t.Helper()
	var wrong *jobs.BatchError
	if !errors.As(err, &wrong) || wrong.Line != line || wrong.Path != path || !strings.HasPrefix(wrong.Problem, says) {
		t.Errorf("%s\ngot  %v\nwant line %d: %s: %s …", what, err, line, path, says)
	}
}

func TestNewTemplateRefusesElsewhere(t *testing.T) {
	for _, c := range []struct {
		job  string
		line int
		path string
		says string
	}{
		{"  body: {\"{{.User.Id}}\": x}", 5, `job.body."{{.User.Id}}"`, "is a field's name; only values may hold templates"},
		{"  body:\n    x: '{{.Row.Room}}'", 6, "job.body.x", "uses .Row.Room, but only a batch whose targets are a csv has rows"},
		{"  labels:\n    a: b\n    room: |\n      {{.User.Nick}}", 7, "job.labels.room", "uses .User.Nick"},
		{"  message:\n    compose:\n      to:\n      - '{{.User.PrimaryEmail}}'\n      - '{{.User.Id'", 9, "job.message.compose.to[1]", "is no template: unclosed action"},
		{"  output: gs://b/{{.User.Nick}}", 5, "job.output", "uses .User.Nick"},
		{"  media: {uri: 'gs://b/{{.User.Nick}}'}", 5, "job.media.uri", "uses .User.Nick"},
	} {
		_, err := batch.NewTemplate(decodeBatch(t, "name: n\ntargets: {all: true}\njob:\n  action: a.b\n"+c.job))
		wants(t, c.job, err, c.line, c.path, c.says)
	}
}

// failing are templates that some users make fail, Ada among them.
var failing = []struct{ template, says string }{
	{"{{index .User.Aliases 2}}", "there is no number 2 of a list of 2, whose first is 0"},
	{"{{index .User.Websites 0}}", "there is no number 0 of a list of 0, whose first is 0"},
	{"{{index .User.OrgUnitPath 0}}", "there is no number 0 of what is no list"},
	{"{{index .User.Aliases 0.5}}", "index takes a name or a number"},
	{"{{index .User.Aliases \"x\"}}", "what .x is asked of is a list"},
	{"{{range .User.Phones}}{{.Type.Kind}}{{end}}", "what .Kind is asked of is text"},
	{"{{.User.CustomSchemas.EmploymentData.Floor.X}}", "what .X is asked of has no fields"},
	{"{{.User.CustomSchemas.EmploymentData}}", "what has fields is no text; name one of its fields"},
	{"{{html .User.Aliases}}", "a list is no text; go through it with range, or use join or index"},
	{"{{range .User.CustomSchemas.EmploymentData.Floor}}{{end}}", "range goes through a list, and this is none"},
	{"{{range html .Row.Room}}{{end}}", "range goes through a list, and this is text"},
	{"{{date \"2006\" .User.RecoveryPhone}}", `"" is no time; one such as 2026-11-30T00:00:00Z, or a date such as 2026-11-30, is expected`},
	{"{{unixMilli .Row.Room}}", `"4<2" is no time`},
	{"{{len .User.IsAdmin}}", "only a list and a text have a length"},
	{"{{eq .User.IsAdmin 1}}", "eq: incompatible types for comparison"},
	{"{{replace .User.CustomSchemas.EmploymentData.Floor \"\" .Row.Room}}", "wrong type for value; expected string; got int"},
	{"{{join \",\" .User.Phones}}", "what has fields is no text"},
	{"{{1i}}", "what has fields is no text"},
}

func TestRenderFails(t *testing.T) {
	for _, c := range failing {
		template := newTemplate(t, hold(c.template))
		for _, one := range []*batch.Template{template, template.WithLibrary()} {
			_, err := one.Render(ada, info)
			wants(t, c.template, err, 9, "job.body.deep[0]", "cannot be made for ada@example.com: "+c.says)
			if err != nil && strings.Contains(err.Error(), "_get") {
				t.Errorf("%s: %v shows what it was compiled to", c.template, err)
			}
		}
	}
}

// No template makes more than a job can hold, however it tries.
func TestRenderIsBounded(t *testing.T) {
	grow := `{{$x := "aaaaaaaaaa"}}` + strings.Repeat(`{{$x = replace "a" "aaaaaaaaaa" $x}}`, 9) + "{{$x}}"
	long := batch.Target{User: "ada@example.com", Row: map[string]string{"Long": strings.Repeat("<", 200<<10)}}
	items := strings.Repeat("x,", 9_000)
	long.Row["Items"] = items
	const tooLong = "cannot be made for ada@example.com: it would be longer than 262144 bytes"
	for _, c := range []struct{ template, says string }{
		{grow, tooLong},
		{"{{.Row.Long}}{{.Row.Long}}", tooLong},
		{"{{html .Row.Long}}", tooLong},
		{"{{html .Row.Long | len}}", tooLong},
		{"{{len (urlquery .Row.Long)}}", tooLong},
		{`{{range split "," .Row.Items}}{{$.Row.Long}}{{end}}`, tooLong},
		{`{{join .Row.Long (split "," .Row.Items)}}`, tooLong},
		{`{{replace "" .Row.Long .Row.Items}}`, tooLong},
		{`{{range split "," .Row.Items}}{{range split "," $.Row.Items}}{{end}}{{end}}`, "cannot be made for ada@example.com: range goes through more than 10000 items"},
	} {
		template := newTemplate(t, hold(c.template))
		for _, one := range []*batch.Template{template, template.WithLibrary()} {
			_, err := one.Render(long, info)
			wants(t, c.template[:15], err, 9, "job.body.deep[0]", c.says)
		}
	}
	three := newTemplate(t, "name: n\ntargets: {csv: x.csv}\njob:\n  action: a.b\n  body:\n    x: ['{{.Row.Long}}', '{{.Row.Long}}', '{{.Row.Long}}']\n")
	_, err := three.Render(long, info)
	wants(t, "three", err, 3, "job", "is 614")
	// The bound of items is of each string by itself.
	two := newTemplate(t, "name: n\ntargets: {csv: x.csv}\njob:\n  action: a.b\n  body:\n    x: ['{{range split \",\" .Row.Items}}{{end}}', '{{range split \",\" .Row.Items}}{{end}}']\n")
	if _, err := two.Render(long, info); err != nil {
		t.Error(err)
	}
}

func TestRenderRefusesWhatIsNoUser(t *testing.T) {
	template := newTemplate(t, usual)
	for _, known := range []string{`[]`, `{`, `"x"`, `{"name":1,"name":2}`} {
		_, err := template.Render(batch.Target{User: "ada@example.com", Known: []byte(known)}, info)
		wants(t, known, err, 4, "job", "cannot be made for ada@example.com: what the Directory says of this user is no JSON object")
	}
	if _, err := template.Render(batch.Target{User: "ada@example.com", Known: []byte(`null`)}, info); err != nil {
		t.Error(err)
	}
}

func TestFieldsAndColumns(t *testing.T) {
	for _, c := range []struct {
		template, fields string
		columns          []string
	}{
		{"none", "", nil},
		{"{{.User.PrimaryEmail}} {{.Batch.ID}}", "", nil},
		{"{{.User.OrgUnitPath}}{{with .User.Name}}{{.FullName}}{{.GivenName}}{{end}}{{$u := .User}}{{$u.Id}}", "id,name,orgUnitPath", nil},
		{`{{range .User.Emails}}{{.Address}}{{end}}{{.User.CustomSchemas.X.Y}}{{index .User "IsAdmin"}}`, "customSchemas,emails,isAdmin", nil},
		{`{{.Row.Room}}{{with .Row}}{{.Floor}}{{end}}{{index .Row "Room number"}}{{.Row.Room}}`, "", []string{"Floor", "Room", "Room number"}},
	} {
		template := newTemplate(t, hold(c.template))
		if template.Fields() != c.fields || template.UsesUser() != (c.fields != "") {
			t.Errorf("%s: fields %q, want %q", c.template, template.Fields(), c.fields)
		}
		if diff := cmp.Diff(append([]string{}, c.columns...), template.Columns()); diff != "" {
			t.Errorf("%s: %s", c.template, diff)
		}
	}
}

func TestCheckRow(t *testing.T) {
	template := newTemplate(t, "name: n\ntargets: {csv: x.csv}\njob:\n  action: a.b\n  body:\n    a: '{{.Row.Room}}'\n    b: '{{.Row.Floor}}'\n    c: '{{.Row.Floor}}'\n")
	if err := template.CheckRow([]string{"Floor", "x", "Room"}); err != nil {
		t.Error(err)
	}
	wants(t, "none", template.CheckRow(nil), 7, "job.body.b", "uses .Row.Floor, but the CSV file has no such column; it has none beside the user's")
	wants(t, "another", template.CheckRow([]string{"Floor", "room"}), 6, "job.body.a", `uses .Row.Room, but the CSV file has no such column; it has "Floor", "room"`)
	err := template.CheckRow(make([]string, 10_000))
	if err == nil || len(err.Error()) > 1000 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

// The tables have the fields of Google's own library, but for those that the Directory
// takes and never gives.
func TestUserFieldsAreTheDirectorys(t *testing.T) {
	never := map[string]bool{"password": true, "hashFunction": true}
	count := 0
	for _, field := range jsonNames(reflect.TypeFor[admin.User]()) {
		known, _ := batch.WholeUser(field)
		if known == never[field] {
			t.Errorf("%s: known %v", field, known)
		}
		if known {
			count++
		}
	}
	names := jsonNames(reflect.TypeFor[admin.UserName]())
	for _, field := range names {
		if !batch.WholeName(field) {
			t.Errorf("name.%s: is not known", field)
		}
	}
	if user, name := batch.Fields(); user != count || name != len(names) {
		t.Errorf("%d fields of a user and %d of a name are known; the Directory has %d and %d", user, name, count, len(names))
	}
	for _, of := range []any{admin.UserEmail{}, admin.UserPhone{}, admin.UserAddress{}, admin.UserOrganization{}} { // what users name most
		field := map[string]string{"UserEmail": "emails", "UserPhone": "phones", "UserAddress": "addresses", "UserOrganization": "organizations"}[reflect.TypeOf(of).Name()]
		if _, isList := batch.WholeUser(field); !isList {
			t.Errorf("%s: is no list", field)
		}
	}
}

func jsonNames(of reflect.Type) []string {
	var names []string
	for i := range of.NumField() {
		if name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ","); name != "" && name != "-" {
			names = append(names, name)
		}
	}
	return names
}

func TestTemplateIsSafeForConcurrentUse(t *testing.T) {
	template := newTemplate(t, hold("{{.User.Name.FullName}}{{range .User.Aliases}}{{.}}{{end}}{{.Row.Room}}"))
	want, err := template.Render(ada, info)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if got, err := template.Render(ada, info); err != nil || !bytes.Equal(got, want) {
					t.Errorf("got %s, %v", got, err)
				}
			}
		})
	}
	all.Wait()
}

// FuzzTemplate gives templates and values from everywhere. Whatever comes, a job that
// is made is the job of the file with one string in the place of each template, and
// it is the same by the library.
func FuzzTemplate(f *testing.F) {
	for i, c := range rendered {
		f.Add(c.template, `Ada "}],"user":"ceo@example.com"`, `{"fullName":"x`+strconv.Itoa(i)+`"}`)
	}
	for _, c := range wrongTemplates {
		f.Add(c.template, "\x00\x1b[31m\xff\u2028", `null`)
	}
	for _, c := range failing {
		f.Add(c.template, "{{.User}}", `[[["x"]]]`)
	}
	f.Fuzz(func(t *testing.T, text, value, known string) {
		file, err := json.Marshal(map[string]any{
			"name": "n", "targets": map[string]any{"csv": "gs://lists/staff.csv"},
			"job": map[string]any{"action": "a.b", "body": map[string]any{"deep": []string{strings.ToValidUTF8(text, "?")}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		template, err := batch.NewTemplate(decodeBatch(t, string(file)))
		if err != nil {
			var wrong *jobs.BatchError
			if !errors.As(err, &wrong) || wrong.Line != 1 || !strings.HasPrefix(wrong.Path, "job.body.deep[0]") {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		target := batch.Target{User: "ada@example.com", Row: map[string]string{"Room": value, "Groups": value}}
		if user, err := json.Marshal(map[string]any{"name": jsontext.Value(known), "phones": []any{jsontext.Value(known)}, "orgUnitPath": strings.ToValidUTF8(value, "?"), "isAdmin": true}); err == nil {
			target.Known = user
		}
		job, err := template.Render(target, info)
		library, libraryErr := template.WithLibrary().Render(target, info)
		if (err == nil) != (libraryErr == nil) || !bytes.Equal(job, library) {
			t.Errorf("%q: %s, %v; by the library %s, %v", text, job, err, library, libraryErr)
		}
		if err != nil {
			return
		}
		want := map[string]any{"id": info.JobID, "user": target.User, "action": "a.b", "body": map[string]any{"deep": []any{held(t, job)}}}
		var got map[string]any
		if err := json.Unmarshal(job, &got); err != nil {
			t.Fatalf("%s: %v", job, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
		if _, err := jobs.Decode(job, ""); err != nil {
			t.Errorf("%s: %v", job, err)
		}
	})
}

func BenchmarkRender(b *testing.B) {
	target := batch.Target{User: "ada@example.com", Known: []byte(`{"name":{"givenName":"Ada","familyName":"Lovelace","fullName":"Ada Lovelace"}}`)}
	for _, c := range []struct{ name, file string }{
		{"usual", usual},
		{"library", hold("{{range .User.Phones}}{{.Value}}{{end}}<b>{{html .User.Name.FullName}}</b>{{if .User.Name.GivenName}}{{.User.PrimaryEmail}}{{end}}")},
	} {
		template := newTemplate(b, c.file)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := template.Render(target, info); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleTemplate_Render() {
	b, err := jobs.DecodeBatch([]byte(`
name: vacation
targets: {orgUnit: /Sales}
job:
  action: gmail.users.settings.updateVacation
  body:
    enableAutoReply: true
    startTime: '{{unixMilli "2026-12-24T00:00:00Z"}}'
    responseBodyPlainText: "{{.User.Name.GivenName | default \"I\"}} will be back in January."
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	template, err := batch.NewTemplate(b)
	if err != nil {
		fmt.Println(err)
		return
	}
	job, err := template.Render(
		batch.Target{User: "ada@example.com", Known: []byte(`{"name": {"givenName": "Ada"}}`)},
		batch.Info{ID: "vacation-1", Name: "vacation", JobID: "vacation-1/ada@example.com"},
	)
	fmt.Println(template.Fields())
	fmt.Println(string(job), err)
	// Output:
	// name
	// {"id":"vacation-1/ada@example.com","user":"ada@example.com","action":"gmail.users.settings.updateVacation","body":{"enableAutoReply":true,"startTime":"1798070400000","responseBodyPlainText":"Ada will be back in January."}} <nil>
}
