package jobs_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// usual is the batch of the contract.
const usual = `name: signatures              # id = name + publish time, unless id is given
targets:
  all: true
exclude: [CEO@example.com]
job:                          # a job without user; strings may hold Go templates
  action: gmail.users.settings.sendAs.patch
  params: {sendAsEmail: "{{.User.PrimaryEmail}}"}
  body: {signature: "<b>{{html .User.Name.FullName}}</b>"}
canary: 10                    # this many first; go on only if all of them succeed
stopAfter: {failures: 50}     # or {percent: 5}
rate: 50                      # jobs a second
notAfter: 2026-11-30T00:00:00Z
dryRun: false
`

func TestDecodeBatch(t *testing.T) {
	got, err := jobs.DecodeBatch([]byte(usual))
	if err != nil {
		t.Fatal(err)
	}
	want := &jobs.Batch{
		Name: "signatures", Targets: jobs.Targets{All: true}, Exclude: []string{"ceo@example.com"},
		Job:    []byte(`{"action":"gmail.users.settings.sendAs.patch","params":{"sendAsEmail":"{{.User.PrimaryEmail}}"},"body":{"signature":"<b>{{html .User.Name.FullName}}</b>"}}`),
		Canary: 10, StopAfter: jobs.StopAfter{Failures: 50}, Rate: 50, NotAfter: time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC),
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(jobs.Batch{})); diff != "" {
		t.Error(diff)
	}
}

// wholeBatch has every field, in JSON as it comes from a program: with tabs, a slash
// that is escaped and a surrogate pair, which YAML does not know.
const wholeBatch = "{\n\t\"id\": \"Signatures_2026.11\",\n\t\"name\": \"signatures\",\n\t\"targets\": {\"csv\": \"gs:\\/\\/lists\\/staff.csv\"},\n" +
	"\t\"exclude\": [\"CEO@example.com\", \"cfo@example.com\"],\n\t\"include\": [\"suspended\", \"archived\", \"noMailbox\"],\n" +
	"\t\"job\": {\"action\": \"a.b\", \"params\": {\"x\": \"\\ud83d\\ude00\"}},\n\t\"canary\": 0, \"stopAfter\": {\"percent\": 0.5}, \"rate\": 0.25,\n" +
	"\t\"notAfter\": \"2026-11-30T01:00:00+01:00\",\n\t\"dryRun\": true\n}"

func TestDecodeBatchReadsJSON(t *testing.T) {
	got, err := jobs.DecodeBatch([]byte(wholeBatch))
	if err != nil {
		t.Fatal(err)
	}
	want := &jobs.Batch{
		ID: "Signatures_2026.11", Name: "signatures", Targets: jobs.Targets{CSV: "gs://lists/staff.csv"},
		Exclude: []string{"ceo@example.com", "cfo@example.com"}, Include: []string{"suspended", "archived", "noMailbox"},
		Job:       []byte(`{"action":"a.b","params":{"x":"😀"}}`),
		StopAfter: jobs.StopAfter{Percent: 0.5}, Rate: 0.25, NotAfter: time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC), DryRun: true,
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(jobs.Batch{}), cmpopts.EquateApproxTime(0)); diff != "" {
		t.Error(diff)
	}
	for path, line := range map[string]int{"": 1, "targets": 4, "targets.csv": 4, "exclude[1]": 5, "job.params.x": 7, "job.body.none": 7, "canary": 8, "dryRun": 10, "none": 1} {
		if got := got.At(path, errors.New("x")); got.Line != line {
			t.Errorf("%s is on line %d, want %d", path, got.Line, line)
		}
	}
}

// What a job says in YAML is what it would say in JSON.
func TestDecodeBatchTakesTheJobAsItStands(t *testing.T) {
	for _, c := range []struct{ yaml, json string }{
		{"{i: 5, big: 12345678901234567890123, neg: -0, f: 1.50, e: 1e3}", `{"i":5,"big":12345678901234567890123,"neg":-0,"f":1.50,"e":1e3}`},
		{"{t: true, T: TRUE, f: False, yes: yes, no: 'no', off: off}", `{"t":true,"T":true,"f":false,"yes":"yes","no":"no","off":"off"}`},
		{"{day: 2026-11-30, at: 2026-11-30T00:00:00Z, hour: 12:30:45, v: 1.2.3}", `{"day":"2026-11-30","at":"2026-11-30T00:00:00Z","hour":"12:30:45","v":"1.2.3"}`},
		{"{s: '5', u: \"\\u20ac\\n\\0\", plus: '+49 5', phone: '0176'}", `{"s":"5","u":"€\n\u0000","plus":"+49 5","phone":"0176"}`},
		{"{n: null, tilde: ~, empty: , seq: [~]}", `{"n":null,"tilde":null,"empty":null,"seq":[null]}`},
		{"{5: a, true: b, 1.0: c, ~: d, 2026-11-30: e}", `{"5":"a","true":"b","1.0":"c","~":"d","2026-11-30":"e"}`},
		{"{s: !!str 5, i: !!int 5, merge: <<}", `{"s":"5","i":5,"merge":"<<"}`},
		{"{z: 1, a: {y: [], b: {}}}", `{"z":1,"a":{"y":[],"b":{}}}`},
		{"\n      text: |\n        one\n        two\n      folded: >-\n        one\n        two\n", `{"text":"one\ntwo\n","folded":"one two"}`},
	} {
		b, err := jobs.DecodeBatch([]byte("name: n\ntargets: {all: true}\njob:\n    action: a.b\n    body: " + c.yaml + "\n"))
		if err != nil {
			t.Errorf("%s: %v", c.yaml, err)
			continue
		}
		if want := `{"action":"a.b","body":` + c.json + `}`; string(b.Job) != want {
			t.Errorf("%s\ngot  %s\nwant %s", c.yaml, b.Job, want)
		}
	}
}

// targeted is a batch with those targets, on line 3.
func targeted(targets string) string {
	return "name: n\njob: {action: a.b}\n" + targets + "\n"
}

func TestDecodeBatchReadsTargets(t *testing.T) {
	for _, c := range []struct {
		targets string
		want    jobs.Targets
		local   bool
	}{
		{"{all: true}", jobs.Targets{All: true}, false},
		{"{orgUnit: /Sales/Süd}", jobs.Targets{OrgUnit: "/Sales/Süd"}, false},
		{"{orgUnit: /}", jobs.Targets{OrgUnit: "/"}, false},
		{"{group: All@Example.com}", jobs.Targets{Group: "all@example.com"}, false},
		{"{query: \"orgDepartment=Sales isAdmin=false\"}", jobs.Targets{Query: "orgDepartment=Sales isAdmin=false"}, false},
		{"{users: [Ada@Example.com, bob@example.com]}", jobs.Targets{Users: []string{"ada@example.com", "bob@example.com"}}, false},
		{"{csv: gs://lists/staff.csv}", jobs.Targets{CSV: "gs://lists/staff.csv"}, false},
		{"{csv: ../lists/staff 2.csv}", jobs.Targets{CSV: "../lists/staff 2.csv"}, true},
		{"{failuresOf: signatures-20261122T072049.123Z}", jobs.Targets{FailuresOf: "signatures-20261122T072049.123Z"}, false},
		{"{failuresOf: x-dryrun}", jobs.Targets{FailuresOf: "x-dryrun"}, false},
	} {
		b, err := jobs.DecodeBatch([]byte(targeted("targets: " + c.targets)))
		if err != nil {
			t.Errorf("%s: %v", c.targets, err)
			continue
		}
		if diff := cmp.Diff(c.want, b.Targets); diff != "" || b.Targets.Local() != c.local {
			t.Errorf("%s: local %v, %s", c.targets, b.Targets.Local(), diff)
		}
	}
}

// with is a batch that ends with that, from line 4 on.
func with(rest string) string {
	return "name: n\ntargets: {all: true}\njob: {action: a.b}\n" + rest + "\n"
}

// wrongBatches must be refused, with what their author is told.
var wrongBatches = []struct {
	name, batch string
	line        int
	path, says  string
}{
	{"nothing", "", 0, "", "the batch is empty"},
	{"comments", "# nothing\n", 0, "", "the batch is empty"},
	{"no YAML", "name: n\n  targets: {", 2, "", "the batch is not valid YAML"},
	{"no YAML at all", "\x00", 0, "", "the batch is not valid YAML"},
	{"broken UTF-8", "name: \"\xff\"", 0, "", "the batch is not valid YAML"},
	{"null", "~", 1, "name", "is missing; give the batch a name"},
	{"a list", "- name: n", 1, "", "the batch is an array; an object is expected"},
	{"text", "hello", 1, "", "the batch is a string \"hello\"; an object is expected"},
	{"two documents", with("---\nname: m"), 0, "", "the batch is followed by another YAML document"},
	{"a broken second document", with("---\n{"), 5, "", "the batch is not valid YAML"},
	{"two in JSON", `{"name":"n"} {}`, 0, "", "the batch is not valid YAML"},
	{"unknown field", with("targts: {}"), 4, "targts", "is not a known field; accepted here are id, name, targets, exclude, include, where, job, canary, stopAfter, rate, notAfter, dryRun"},
	{"unknown in targets", targeted("targets:\n  al: true"), 4, "targets.al", "is not a known field; accepted here are all, orgUnit, group, query, users, csv, failuresOf"},
	{"unknown in stopAfter", with("stopAfter:\n\n  failure: 5"), 6, "stopAfter.failure", "accepted here are failures, percent"},
	{"unknown in job", "name: n\ntargets: {all: true}\njob:\n  action: a.b\n  parms: {}", 5, "job.parms", "is not a known field; accepted here are action, params, body, message, media, pages, output, labels"},
	{"unknown in compose", "name: n\ntargets: {all: true}\njob:\n  action: a.b\n  message:\n    compose:\n      txt: x", 7, "job.message.compose.txt", "is not a known field"},
	{"hostile field", with("\"x\\ny\\e[31m\": 1"), 4, `"x\ny\x1b[31m"`, "is not a known field"},
	{"doubled", with("canary: 1\ncanary: 2"), 5, "canary", "is given twice"},
	{"doubled in depth", "name: n\ntargets: {all: true}\njob:\n  action: a.b\n  body:\n    x: 1\n    y: 2\n    x: 3", 8, "job.body.x", "is given twice"},
	{"doubled in JSON", "{\"name\":\"n\",\n\"name\":\"m\"}", 2, "name", "is given twice"},
	{"doubled as text and number", with("5: a\n'5': b"), 5, `5`, "is given twice"},
	{"an alias", "name: &n x\ntargets: {all: true}\njob: {action: a.b, labels: {a: *n}}", 3, "job.labels.a", `is an alias, "*n"; write out what it stands for`},
	{"many aliases", "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n", 2, "b[0]", "is an alias"},
	{"an alias of itself", "name: &n [*n]", 1, "name[0]", "is an alias"},
	{"an alias of nothing", "name: *n", 0, "", "the batch is not valid YAML"},
	{"an alias as a name", "name: &n x\n*n : y", 2, "", "the batch has a name that is not text"},
	{"a merge", "name: &n {a: b}\n<<: *n", 2, "", "the batch has a merge key, <<; write out"},
	{"a list as a name", "? [a]\n: b", 1, "", "has a name that is not text"},
	{"a tag", with("canary: !!binary aGk="), 4, "canary", `has the tag "!!binary"; leave it out`},
	{"a tag of one's own", with("exclude: !mine [a@b.cd]"), 4, "exclude", `has the tag "!mine"`},
	{"a set", with("stopAfter: !!set {failures}"), 4, "stopAfter", `has the tag "!!set"`},
	{"a tag that does not fit", with("dryRun: !!bool maybe"), 4, "dryRun", `has the tag "!!bool"`},
	{"an octal number", with("canary: 017"), 4, "canary", `is "017", which YAML takes for a number that JSON does not have; write it in decimals, or in quotes if it is text`},
	{"a phone number", "name: n\ntargets: {all: true}\njob:\n  action: a.b\n  body:\n    phone: 0176", 6, "job.body.phone", `is "0176", which YAML takes for a number`},
	{"a hexadecimal number", with("canary: 0x1F"), 4, "canary", `is "0x1F", which`},
	{"a grouped number", with("canary: 1_000"), 4, "canary", `is "1_000", which`},
	{"a signed number", with("canary: +5"), 4, "canary", `is "+5", which`},
	{"no number", with("rate: .nan"), 4, "rate", `is ".nan", which`},

	{"name missing", "targets: {all: true}\njob: {action: a.b}", 1, "name", "is missing"},
	{"name null", "name:\ntargets: {all: true}", 1, "name", "is null; give a value or leave the field out"},
	{"name a number", "name: 5", 1, "name", `is a number "5"; a string is expected`},
	{"name empty", "name: ''", 1, "name", `is ""; 1 to 100 letters, digits and ._- are accepted, a letter or digit first`},
	{"name with a slash", "name: a/b", 1, "name", `is "a/b"; 1 to 100`},
	{"name with a tilde", "name: a~1", 1, "name", `is "a~1"`},
	{"name with a dot first", "name: .a", 1, "name", `is ".a"`},
	{"name with a line break", "name: \"a\\n\"", 1, "name", `is "a\n"`},
	{"name too long", "name: " + strings.Repeat("a", 101), 1, "name", "1 to 100 letters"},
	{"id with a slash", with("id: a/b"), 4, "id", `is "a/b"; 1 to 200 letters`},
	{"id empty", with("id: ''"), 4, "id", `is ""`},
	{"id too long", with("id: " + strings.Repeat("a", 201)), 4, "id", "1 to 200 letters"},
	{"id of a dry run", with("id: a-dryrun"), 4, "id", `is "a-dryrun"; only the id of a dry run ends with -dryrun`},

	{"targets missing", "name: n\njob: {action: a.b}", 1, "targets", "is missing; give exactly one of all, orgUnit, group, query, users, csv and failuresOf"},
	{"targets null", targeted("targets:"), 3, "targets", "is null"},
	{"targets text", targeted("targets: all"), 3, "targets", `is a string "all"; an object is expected`},
	{"no target", targeted("targets: {}"), 3, "targets", "is missing; give exactly one"},
	{"two targets", targeted("targets:\n  all: true\n  users: [a@b.cd]"), 5, "targets.users", "is given beside all; give exactly one of"},
	{"two targets, one empty", targeted("targets:\n  all: false\n  group: ''"), 5, "targets.group", "is given beside all"},
	{"all false", targeted("targets: {all: false}"), 3, "targets.all", "is false; true is expected, or another of"},
	{"all text", targeted("targets: {all: yes}"), 3, "targets.all", `is a string "yes"; true or false is expected`},
	{"orgUnit without a slash", targeted("targets: {orgUnit: Sales}"), 3, "targets.orgUnit", `is "Sales"; the path of an organisational unit such as /Sales is expected`},
	{"orgUnit with a line break", targeted("targets: {orgUnit: \"/a\\nb\"}"), 3, "targets.orgUnit", `is "/a\nb"`},
	{"orgUnit too long", targeted("targets: {orgUnit: /" + strings.Repeat("a", 2000) + "}"), 3, "targets.orgUnit", "is 2001 bytes long; at most 2000"},
	{"group no address", targeted("targets: {group: staff}"), 3, "targets.group", `is "staff"; an e-mail address`},
	{"query empty", targeted("targets: {query: ''}"), 3, "targets.query", `is ""; a query as the Directory's users.list has it`},
	{"no users", targeted("targets:\n  users: []"), 4, "targets.users", "is empty; name at least one user"},
	{"users null", targeted("targets:\n  users:"), 4, "targets.users", "is null"},
	{"user null", targeted("targets:\n  users:\n  - a@b.cd\n  -"), 6, "targets.users[1]", "is null"},
	{"user no address", targeted("targets:\n  users:\n  - a@b.cd\n  - ada"), 6, "targets.users[1]", `is "ada"; an e-mail address such as ada@example.com is expected`},
	{"user twice", targeted("targets:\n  users:\n  - a@b.cd\n  - c@b.cd\n  - A@b.cd"), 7, "targets.users[2]", `is "a@b.cd", which is given twice: see targets.users[0]`},
	{"csv empty", targeted("targets: {csv: ''}"), 3, "targets.csv", "gs://BUCKET/OBJECT is expected"},
	{"csv elsewhere", targeted("targets: {csv: 'https://x/y'}"), 3, "targets.csv", `is "https://x/y"; gs://BUCKET/OBJECT, or the path of a file is expected`},
	{"csv without an object", targeted("targets: {csv: 'gs://lists/'}"), 3, "targets.csv", "gs://BUCKET/OBJECT is expected"},
	{"failuresOf a job", targeted("targets: {failuresOf: a/b@c.de}"), 3, "targets.failuresOf", `is "a/b@c.de"; 1 to 200 letters`},

	{"exclude text", with("exclude: a@b.cd"), 4, "exclude", `is a string "a@b.cd"; an array of strings is expected`},
	{"exclude no address", with("exclude:\n- a@b.cd\n- b"), 6, "exclude[1]", `is "b"; an e-mail address`},
	{"exclude twice", with("exclude: [a@b.cd,\n  A@B.cd]"), 5, "exclude[1]", `is "a@b.cd", which is given twice: see exclude[0]`},
	{"include unknown", with("include: [suspended, deleted]"), 4, "include[1]", `is "deleted"; accepted are suspended, archived and noMailbox`},
	{"where of no template", with("where: 'true'"), 4, "where", `is "true", which says the same of every user; a template is expected`},
	{"include twice", with("include:\n- archived\n- archived"), 6, "include[1]", "is archived, which is given twice"},

	{"canary below", with("canary: -1"), 4, "canary", "is -1; a number of jobs from 0 to 100000 is expected"},
	{"canary above", with("canary: 100001"), 4, "canary", "is 100001"},
	{"canary half", with("canary: 1.5"), 4, "canary", `is a number "1.5"; an integer is expected`},
	{"stopAfter empty", with("stopAfter: {}"), 4, "stopAfter", "needs exactly one of failures, after how many the batch stops, and percent"},
	{"stopAfter both", with("stopAfter:\n  failures: 5\n  percent: 5"), 4, "stopAfter", "needs exactly one of"},
	{"stopAfter null", with("stopAfter:"), 4, "stopAfter", "is null"},
	{"stopAfter a number", with("stopAfter: 5"), 4, "stopAfter", `is a number "5"; an object is expected`},
	{"no failures", with("stopAfter: {failures: 0}"), 4, "stopAfter.failures", "is 0; a number from 1 is expected"},
	{"no percent", with("stopAfter:\n  percent: 0"), 5, "stopAfter.percent", "is 0; a number above 0 and up to 100 is expected"},
	{"percent above", with("stopAfter: {percent: 100.5}"), 4, "stopAfter.percent", "is 100.5; a number above 0"},
	{"percent text", with("stopAfter: {percent: 5%}"), 4, "stopAfter.percent", `is a string "5%"; a number is expected`},
	{"rate 0", with("rate: 0"), 4, "rate", "is 0; a number of jobs a second from 0.001 to 10000 is expected"},
	{"rate above", with("rate: 10001"), 4, "rate", "is 10001; a number of jobs"},
	{"rate null", with("rate: ~"), 4, "rate", "is null"},
	{"rate huge", with("rate: 1e400"), 4, "rate", "a number is expected"},
	{"notAfter no time", with("notAfter: tomorrow"), 4, "notAfter", `is a string "tomorrow"; a time as RFC 3339 has it`},
	{"notAfter a date", with("notAfter: 2026-11-30"), 4, "notAfter", `is a string "2026-11-30"; a time as RFC 3339 has it`},
	{"dryRun text", with("dryRun: yes"), 4, "dryRun", `is a string "yes"; true or false is expected`},
	{"labels", with("labels: {a: b}"), 4, "labels", "is not a known field"},

	{"job missing", "name: n\ntargets: {all: true}", 1, "job", "is missing; give a job without user"},
	{"job null", "name: n\ntargets: {all: true}\njob:", 3, "job", "is null; an object is expected: a job without user"},
	{"job text", "name: n\ntargets: {all: true}\njob: a.b", 3, "job", "is a string; an object is expected"},
	{"job with a user", "name: n\ntargets: {all: true}\njob:\n  action: a.b\n  user: '{{.User.PrimaryEmail}}'", 5, "job.user", "is not for a batch's job: targets says as whom it acts"},
	{"job as the service account", "name: n\ntargets: {all: true}\njob:\n  as: serviceAccount\n  action: a.b", 4, "job.as", "is not for a batch's job, which acts as users"},
	{"job with an id", "name: n\ntargets: {all: true}\njob:\n  id: x\n  action: a.b", 4, "job.id", "is not for a batch's job: its id is that of the batch, a slash and the user"},
	{"job with notAfter", "name: n\ntargets: {all: true}\njob:\n  action: a.b\n  notAfter: 2026-11-30T00:00:00Z", 5, "job.notAfter", "is not for a batch's job; give it to the batch, beside job"},
	{"job with dryRun", "name: n\ntargets: {all: true}\njob:\n  action: a.b\n  dryRun: true", 5, "job.dryRun", "is not for a batch's job; give it to the batch, beside job"},
	{"job without action", "name: n\ntargets: {all: true}\njob:\n  body: {}", 3, "job.action", "is missing; give a method id"},
	{"action a template", "name: n\ntargets: {all: true}\njob: {action: 'a.{{.Row.b}}'}", 3, "job.action", `is "a.{{.Row.b}}"; a method id`},
	{"params a list", "name: n\ntargets: {all: true}\njob:\n  action: a.b\n  params: []", 5, "job.params", "is an array; an object is expected"},
	{"body null", "name: n\ntargets: {all: true}\njob:\n  action: a.b\n  body:", 5, "job.body", "is null; an object is expected"},
	{"pages", "name: n\ntargets: {all: true}\njob:\n  action: a.b\n  pages:\n    max: 0", 6, "job.pages.max", "is 0; a number of pages"},
	{"label a number", "name: n\ntargets: {all: true}\njob:\n  action: a.b\n  labels:\n    year: 2026", 6, "job.labels.year", `is a number "2026"; a string is expected`},
	{"message null", "name: n\ntargets: {all: true}\njob:\n  action: a.b\n  message: ~", 5, "job.message", "is null"},
}

func TestDecodeBatchRefuses(t *testing.T) {
	for _, c := range wrongBatches {
		t.Run(c.name, func(t *testing.T) {
			_, err := jobs.DecodeBatch([]byte(c.batch))
			var wrong *jobs.BatchError
			if !errors.As(err, &wrong) {
				t.Fatalf("error %v", err)
			}
			if wrong.Line != c.line || wrong.Path != c.path || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got  line %d, %q: %s\nwant line %d, %q: … %s …", wrong.Line, wrong.Path, err, c.line, c.path, c.says)
			}
		})
	}
}

func TestBatchErrorsShowWhereTheyAre(t *testing.T) {
	for want, e := range map[string]*jobs.BatchError{
		"line 7: job.params.sendAsEmail: is wrong": {Line: 7, Path: "job.params.sendAsEmail", Problem: "is wrong"},
		"job: is wrong":               {Path: "job", Problem: "is wrong"},
		"line 1: the batch is a list": {Line: 1, Problem: "is a list"},
	} {
		if e.Error() != want {
			t.Errorf("got %q, want %q", e.Error(), want)
		}
	}
}

// What is wrong with a job that was made of the batch is shown where the batch has it.
func TestAt(t *testing.T) {
	b, err := jobs.DecodeBatch([]byte("name: n\ntargets: {all: true}\njob:\n  action: a.b\n  params:\n    userId: me\n    \"a.b\": c\n  message:\n    compose:\n      to: [\n        x,\n        y]\n"))
	if err != nil {
		t.Fatal(err)
	}
	already := &jobs.BatchError{Line: 99, Path: "x", Problem: "y"}
	for _, c := range []struct {
		path string
		err  error
		line int
		want string
	}{
		{"job.params.userId", errors.New("is wrong"), 6, "job.params.userId: is wrong"},
		{"job", jobs.Errorf("params.userId", "is wrong"), 6, "job.params.userId: is wrong"},
		{"job", fmt.Errorf("of Ada: %w", jobs.Errorf("message.compose.to[1]", "is wrong")), 12, "job.message.compose.to[1]: is wrong"},
		{"job.message.compose.to", jobs.Errorf("[0]", "is wrong"), 11, "job.message.compose.to[0]: is wrong"},
		{"job", jobs.Errorf("", "is too long"), 3, "job: is too long"},
		{"", jobs.Errorf("targets.users[5]", "is wrong"), 2, "targets.users[5]: is wrong"},
		{"job", jobs.Errorf("user", "is wrong"), 3, "job.user: is wrong"},
		{`job.params."a.b"`, errors.New("is wrong"), 7, `job.params."a.b": is wrong`},
		{"job.params.userIdentity", errors.New("is wrong"), 5, "job.params.userIdentity: is wrong"},
		{"", errors.New("is wrong"), 1, "the batch is wrong"},
		{"job", fmt.Errorf("again: %w", already), 99, "x: y"},
	} {
		if got := b.At(c.path, c.err); got.Error() != fmt.Sprintf("line %d: %s", c.line, c.want) {
			t.Errorf("%s: got %v, want line %d: %s", c.path, got, c.line, c.want)
		}
	}
	if got := (&jobs.Batch{}).At("job", errors.New("is wrong")); got.Line != 0 {
		t.Errorf("a batch of no file has line %d", got.Line)
	}
}

func TestNameAt(t *testing.T) {
	at := time.Date(2026, 11, 22, 8, 20, 49, 123_999_999, time.FixedZone("", 3600))
	for _, c := range []struct {
		batch jobs.Batch
		want  string
	}{
		{jobs.Batch{Name: "n"}, "n-20261122T072049.123Z"},
		{jobs.Batch{Name: "n", DryRun: true}, "n-20261122T072049.123Z-dryrun"},
		{jobs.Batch{Name: "n", ID: "x"}, "x"},
		{jobs.Batch{Name: "n", ID: "x", DryRun: true}, "x-dryrun"},
	} {
		if got := c.batch.NameAt(at); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	// The longest id leaves room for the longest user and the number of a round.
	long := jobs.Batch{ID: strings.Repeat("a", 200), DryRun: true}
	user := strings.Repeat("u", 64) + "@" + strings.Repeat("d.", 93) + "com"
	if _, err := jobs.Decode([]byte(`{"id":"`+long.NameAt(at)+"/"+user+`~9999999","user":"`+user+`","action":"a.b"}`), ""); err != nil {
		t.Errorf("%d bytes: %v", len(user), err)
	}
}

// The digest knows the same batch again, and only that.
func TestDigest(t *testing.T) {
	digest := func(text string) string {
		t.Helper()
		b, err := jobs.DecodeBatch([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return b.Digest()
	}
	first := digest(usual)
	for _, same := range []string{
		usual + "id: x\n",
		"# again\n" + strings.ReplaceAll(usual, "CEO@", "ceo@"),
		`{"job":{"action":"gmail.users.settings.sendAs.patch","params":{"sendAsEmail":"{{.User.PrimaryEmail}}"},"body":{"signature":"<b>{{html .User.Name.FullName}}</b>"}},
			"name":"signatures","targets":{"all":true},"exclude":["ceo@example.com"],"canary":10,"stopAfter":{"failures":50},"rate":50.0,"notAfter":"2026-11-30T00:00:00Z"}`,
	} {
		if got := digest(same); got != first {
			t.Errorf("%s: is another", same)
		}
	}
	seen := map[string]string{first: usual}
	for _, change := range [][2]string{
		{"name: signatures", "name: other"},
		{"  all: true", "  orgUnit: /"},
		{"CEO@", "cfo@"},
		{"html .User", "upper .User"},
		{"canary: 10", "canary: 11"},
		{"failures: 50", "percent: 50"},
		{"rate: 50", "rate: 51"},
		{"2026-11-30", "2026-11-29"},
		{"dryRun: false", "dryRun: true"},
		{"dryRun: false", "include: [archived]"},
	} {
		other := strings.Replace(usual, change[0], change[1], 1)
		got := digest(other)
		if before, known := seen[got]; known {
			t.Errorf("%s\nhas the digest of\n%s", other, before)
		}
		seen[got] = other
	}
}

func TestDecodeBatchRefusesWhatIsTooLong(t *testing.T) {
	fits := usual + strings.Repeat("#", jobs.MaxData-len(usual))
	if _, err := jobs.DecodeBatch([]byte(fits)); err != nil {
		t.Errorf("%d bytes: %v", len(fits), err)
	}
	_, err := jobs.DecodeBatch([]byte(fits + "#"))
	if err == nil || !strings.Contains(err.Error(), "the batch is 524289 bytes long; at most 524288 are read: put many users into a CSV file") {
		t.Errorf("%d bytes: %v", len(fits)+1, err)
	}
}

// However deep and long what is wrong is, what is said of it stays short.
func TestBatchErrorsAreShort(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("{a: ", 20_000), strings.Repeat("[", 200_000), strings.Repeat("- ", 5_000),
		with(strings.Repeat(`{"`+strings.Repeat("k", 60)+`": `, 500) + "{a: 1, a: 2}" + strings.Repeat("}", 500)),
		with(`job2: ` + strings.Repeat(`{"`+strings.Repeat("k", 60)+`": `, 500) + "{a: 1, a: 2}" + strings.Repeat("}", 500)),
		"name: *" + strings.Repeat("n", 10_000),
		strings.Repeat("n", 10_000) + ": 5",
		"name: !" + strings.Repeat("n", 10_000) + " x",
	} {
		if _, err := jobs.DecodeBatch([]byte(text)); err == nil || len(err.Error()) > 1000 {
			t.Errorf("%.20s…: an error of %d bytes", text, len(fmt.Sprint(err)))
		}
	}
}

// agreeOnBatch tells whether the schema and the decoder say the same of a batch.
func agreeOnBatch(t testing.TB, s *jsonschema.Schema, data []byte) {
	t.Helper()
	text := data
	if !jsontext.Value(text).IsValid() {
		var v any
		if yaml.Unmarshal(data, &v) != nil {
			return // the schema says nothing of it
		}
		var err error
		if text, err = json.Marshal(v); err != nil {
			return
		}
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return
	}
	_, decodeErr := jobs.DecodeBatch(text) // what YAML alone has is not there any more
	schemaErr := s.Validate(doc)
	if schemaErr == nil && decodeErr != nil && !beyondBatchSchema(decodeErr) || schemaErr != nil && decodeErr == nil {
		t.Errorf("%s\ndecoder: %v\nschema:  %v", text, decodeErr, schemaErr)
	}
}

// beyondBatchSchema tells whether JSON Schema cannot express what is wrong: that two
// spellings are of one user, or what counts bytes.
func beyondBatchSchema(err error) bool {
	return strings.Contains(err.Error(), "is given twice: see") || strings.Contains(err.Error(), "bytes long")
}

func TestBatchSchemaAgreesWithDecoder(t *testing.T) {
	s := schema(t, "batch.json", jobs.BatchSchema)
	good := []string{usual, wholeBatch, with("stopAfter: {percent: 100}"), with("rate: 0.001"), with("include: []"), with("where: '{{eq 1 1}}'"), with("exclude: []"), with("canary: 0")}
	for _, targets := range []string{"{all: true}", "{orgUnit: /}", "{group: a@b.cd}", "{query: x}", "{users: [A@b.cd]}", "{csv: gs://lists/x}", "{csv: x}", "{failuresOf: x}"} {
		good = append(good, targeted("targets: "+targets))
	}
	for _, text := range good {
		if _, err := jobs.DecodeBatch([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		agreeOnBatch(t, s, []byte(text))
	}
	for _, c := range wrongBatches {
		agreeOnBatch(t, s, []byte(c.batch))
	}
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add([]byte(usual))
	f.Add([]byte(wholeBatch))
	for _, c := range wrongBatches {
		f.Add([]byte(c.batch))
	}
	s := schema(f, "batch.json", jobs.BatchSchema)
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := jobs.DecodeBatch(data)
		if err != nil {
			var wrong *jobs.BatchError
			if !errors.As(err, &wrong) || !utf8.ValidString(err.Error()) || strings.ContainsAny(err.Error(), "\x00\x1b\n") || len(err.Error()) > 1500 {
				t.Errorf("error %q", err)
			}
			return
		}
		agreeOnBatch(t, s, data)
		// What was read is read again, and is the same.
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := jobs.DecodeBatch(text)
		if err != nil || again.Digest() != b.Digest() || again.NameAt(time.Time{}) != b.NameAt(time.Time{}) {
			t.Errorf("%s: %v", text, err)
		}
	})
}
