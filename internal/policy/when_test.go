package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
)

// open allows everything, so that the condition alone decides.
const open = "domains: [example.com]\nactions: ['*']\nserviceAccountActions: ['*']\n"

func conditional(t testing.TB, when string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse(fmt.Appendf([]byte(open), "when: |\n  %s\n", strings.ReplaceAll(when, "\n", "\n  ")))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func decode(t testing.TB, data string) jobs.Job {
	t.Helper()
	job, err := jobs.Decode([]byte(data), "4711")
	if err != nil {
		t.Fatal(err)
	}
	return job
}

const (
	adas   = `{"id":"b/ada@example.com","user":"Ada@example.com","action":"gmail.users.messages.list","params":{"maxResults":10,"q":"from:bot"},"labels":{"campaign":"welcome"}}`
	graces = `{"user":"grace@example.com","action":"gmail.users.labels.create","body":{"name":"Invoices","color":{"textColor":"#000000"},"parts":[1,2.5,{"x":null}]},"dryRun":true}`
	own    = `{"as":"serviceAccount","action":"drive.files.export","params":{"fileId":"f"},"output":"gs://bucket/o"}`
)

func TestWhen(t *testing.T) {
	const yes, not, failed = "", "whenNotMet", "whenFailed"
	for _, c := range []struct{ when, job, reason string }{
		{`job.user == "ada@example.com"`, adas, yes},
		{`job.user == "Ada@example.com"`, adas, not},
		{`job.domain == "example.com" && job.action.startsWith("gmail.")`, adas, yes},
		{`job.id.startsWith("b/") && job.as == "" && !job.dryRun`, adas, yes},
		{`job.id == "4711" && job.dryRun`, graces, yes},
		{`job.user.startsWith("bot-") || job.action != "gmail.users.messages.send"`, adas, yes},
		{`job.params.maxResults <= 10`, adas, yes},
		{`job.params.maxResults < 10`, adas, not},
		{`job.params["q"].contains("bot")`, adas, yes},
		{`job.labels.campaign in ["welcome", "farewell"]`, adas, yes},
		{`job.labels.owner == "ada"`, adas, failed},
		{`has(job.labels.owner) && job.labels.owner == "ada"`, adas, not},
		{`!has(job.labels.owner)`, adas, yes},
		{`has(job.user) && has(job.params) && !has(job.body) && !has(job.output)`, adas, yes},
		{`job.body.name.lowerAscii() == "invoices"`, graces, yes},
		{`job.body.color.textColor == "#000000"`, graces, yes},
		{`job.body.color.backgroundColor == "#000000"`, graces, failed},
		{`job.body.parts[1] == 2.5 && job.body.parts[2].x == null`, graces, yes},
		{`job.body.parts.all(p, p != 3)`, graces, yes},
		{`job.body.name > 5`, graces, failed},
		{`job.body.parts[7] == 1`, graces, failed},
		{`1 / size(job.params) == 1`, graces, failed},
		{`job.user == ""`, own, yes},
		{`job.as == "serviceAccount" && job.output.startsWith("gs://bucket/")`, own, yes},
		{`job.as != "serviceAccount"`, own, not},
		{`job.params.maxResults == 1`, own, failed},
		// What cannot be evaluated does not matter where it changes nothing.
		{`job.params.none == 1 || true`, own, yes},
		{"job.user != ''\n  && size(job.labels) > 0", adas, yes},
	} {
		p := conditional(t, c.when)
		err := p.Allow(t.Context(), decode(t, c.job))
		var refusal *policy.Refusal
		switch {
		case c.reason == "" && err != nil:
			t.Errorf("%s: %v", c.when, err)
		case c.reason != "" && (!errors.As(err, &refusal) || refusal.Reason != c.reason || refusal.Fix == ""):
			t.Errorf("%s: got %#v, want %s", c.when, err, c.reason)
		}
	}
}

// Why a condition failed is published: that may say where, in the condition's
// own words, and nothing that stands in the job.
func TestWhyWhenFailed(t *testing.T) {
	const secret = "a-secret-of-the-job"
	job := decode(t, `{"user":"ada@example.com","action":"a.b","params":{"s":"`+secret+`","n":5},"body":{"list":["`+secret+`"]}}`)
	for when, says := range map[string]string{
		`job.params.none == 1`:                                "at job.params.none the job has nothing",
		`job.labels[job.params.s] == ""`:                      "at job.labels[job.params.s] the job has nothing",
		`job.params.s > 5`:                                    "at job.params.s > 5 the job has nothing, or not what",
		`int(job.params.s) == 1`:                              "at int(job.params.s)",
		`timestamp(job.params.s) > timestamp(0)`:              "at timestamp(job.params.s)",
		`job.body.list[5] == ""`:                              "at job.body.list[5]",
		`job.body.list.all(x, x.foo == 1)`:                    "at x.foo",
		`job.params.n.matches("5")`:                           `at job.params.n.matches("5")`,
		`job == job`:                                          "does not have what the condition needs",
		`job.params.s.a == ""`:                                "at job.params.s.a",
		`job.params["` + strings.Repeat("é", 200) + `"] == 1`: "…",
	} {
		err := conditional(t, when).Allow(t.Context(), job)
		var refusal *policy.Refusal
		if !errors.As(err, &refusal) || refusal.Reason != "whenFailed" || !strings.Contains(refusal.Message, says) {
			t.Errorf("%s: %v, want … %s …", when, err, says)
			continue
		}
		if strings.Contains(refusal.Message+refusal.Fix, secret) || len(refusal.Message) > 300 {
			t.Errorf("%s: lets out %s", when, refusal.Message)
		}
	}
}

// A condition that is wrong stops at start, and says where and what is accepted.
func TestWhenIsCheckedAtStart(t *testing.T) {
	const names = "accepted is a condition in CEL over job.id, job.user, job.domain, job.as, job.action, job.params, job.body, job.output, job.dryRun, job.labels"
	bomb := "0"
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		bomb = "[1,2,3,4,5,6,7,8,9,10].map(" + name + ", " + bomb + ")"
	}
	for _, c := range []struct{ text, says string }{
		{`when: job.usr == ""`, "when: line 1: undefined field 'usr'; " + names},
		{"domains: [a.bc]\nwhen: |\n\n  job.user == '' ||\n  job.usr == ''", "when: line 5: undefined field 'usr'"},
		{"when: >\n  job.usr == ''", "when: line 1: undefined field 'usr'"},
		{`when: jobs.user == ""`, "undeclared reference to 'jobs' (did you mean 'job'?)"},
		{`when: job.message.raw == ""`, "undefined field 'message'"},
		{`when: job.media.data == ""`, "undefined field 'media'"},
		{`when: job.user == 5`, "no matching overload"},
		{`when: job.params.startsWith("x")`, "no matching overload"},
		{`when: job.user ==`, "Syntax error"},
		{`when: job.user.matches("(")`, "missing closing )"},
		{`when: job.user`, "the result is of type string; a condition that is true or false is expected"},
		{`when: job.params.flag`, "the result is of type dyn"},
		{`when: job.user.replace("a", "b") == ""`, "replace is not accepted"},
		{`when: '"%s".format([job.user]) == ""'`, "format is not accepted"},
		{`when: job.body.list.map(x, x.join(job.user)) == []`, "join is not accepted"},
		{`when: job.user.indexOf("@") == 3`, "indexOf is not accepted; compare with contains"},
		{`when: job.user.lastIndexOf(job.domain) == 3`, "lastIndexOf is not accepted"},
		{`when: job.user.matches(job.labels.pattern)`, "when: line 1: matches is accepted with a pattern that stands in the condition itself"},
		{`when: '[job.user].exists(x, matches("a", "^" + x))'`, "matches is accepted with a pattern that stands in the condition itself"},
		{`when: job.user.matches("(a{0,30}){30}b")`, "exceeds limit of 1000"},
		{"when: |\n " + bomb + " != []", "units of work for any job; at most 1000000 are accepted"},
		{"when: '" + strings.Repeat(" ", 16<<10) + "true'", "16388 bytes long; at most 16384 are accepted"},
		{"when: ''", "line 1: a condition in CEL is expected"},
		{"when:", "line 1: a condition in CEL is expected"},
		{"when: true", "line 1: a condition in CEL is expected"},
		{"when: [job.user]", "line 1: a condition in CEL is expected"},
	} {
		if _, err := policy.Parse([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.200q: got %v, want … %s …", c.text, err, c.says)
		}
	}
}

// However a job is made, no condition takes long over it: what takes too much
// work refuses it.
func TestWhenIsBounded(t *testing.T) {
	list := func(item string, n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
	}
	job := decode(t, `{"user":"ada@example.com","action":"a.b","body":{"ints":`+list("1", 60_000)+`,"deep":{"x":`+list(`{"a":[1]}`, 15_000)+`},"text":"`+strings.Repeat("ab", 80_000)+`"}}`)
	for _, when := range []string{
		`job.body.ints.all(a, job.body.ints.all(b, a == b))`,
		`job.body.ints.all(a, job.body.deep == job.body.deep)`,
		`job.body.ints.all(a, job.body.deep in [job.body.deep])`,
		`job.body.ints.all(a, {"k": job.body.deep} == {"k": job.body.deep})`,
		`job.body.ints.all(a, !job.body.text.contains("abb"))`,
		`job.body.ints.all(a, job.body.text + "x" != job.body.text + "y")`,
		`size(job.body.ints.map(a, job.body.text + string(a))) > 0`,
		`size(job.body.ints.map(a, job.body.text.split(""))) > 0`,
		`job.body.text.matches("(a{0,20}){20}c")`,
		`matches(job.body.text, "(a{0,20}){20}c")`,
		`job.body.ints.all(a, !job.user.matches("(a{0,20}){20}Z"))`,
		`job.body.ints.exists(a, job.body.deep.x.exists(b, b == {"a": [a + 1]}))`,
	} {
		err := conditional(t, when).Allow(t.Context(), job)
		if err == nil || !strings.Contains(err.Error(), "too much work") {
			t.Errorf("%s: %v", when, err)
		}
	}
	// What looks at a long job once is no bomb.
	for _, when := range []string{
		`job.body.ints.all(a, a == 1)`,
		`!job.body.text.contains("abb")`,
		`job.body.text.matches("^(ab)+$")`,
		`matches(job.body.text, "(?i)ABAB$|^abba")`,
		`job.user.matches("^(a{0,20}){20}da@")`,
		`job.body.deep == job.body.deep`,
		`size(job.body.text.split("b")) > 5`,
	} {
		if err := conditional(t, when).Allow(t.Context(), job); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
}

// A number is what it is in the job, and not the nearest double.
func TestWhenReadsNumbersExactly(t *testing.T) {
	job := decode(t, `{"user":"ada@example.com","action":"a.b","params":{"i":9007199254740993,"u":18446744073709551615,"n":-1,"f":1.5,"e":1e2,"huge":1e999}}`)
	for _, when := range []string{
		"job.params.i == 9007199254740993 && job.params.i != 9007199254740992", "job.params.u == 18446744073709551615u", "job.params.n + 1 == 0",
		"job.params.f == 1.5", "job.params.e == 100", "job.params.huge > 1e300",
	} {
		if err := conditional(t, when).Allow(t.Context(), job); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
}

func BenchmarkAllow(b *testing.B) {
	for _, when := range []string{
		`job.user.startsWith("bot-") || job.action != "gmail.users.messages.send"`,
		`job.params.maxResults <= 10 && job.labels.campaign in ["welcome", "farewell"]`,
	} {
		p, job := conditional(b, when), decode(b, adas)
		b.Run(when, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Allow(b.Context(), job); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Whatever is asked of whatever job, the answer is yes or a refusal, and soon.
func FuzzWhen(f *testing.F) {
	for _, job := range []string{adas, graces, own} {
		for _, when := range []string{`job.params.q == "x"`, `job.body.parts.exists(p, p == job.params.x)`, `job.user.matches("^a(d|b)*@")`, `has(job.body.a.b)`, `[job.body].map(x, x.y + x.z)[0] == 5`} {
			f.Add(when, job)
		}
	}
	f.Fuzz(func(t *testing.T, when, data string) {
		text, err := yaml.Marshal(map[string]any{"domains": []string{"example.com"}, "actions": []string{"*"}, "serviceAccountActions": []string{"*"}, "when": when})
		if err != nil {
			t.Skip() // no text
		}
		p, err := policy.Parse(text)
		if err != nil {
			return
		}
		job, err := jobs.Decode([]byte(data), "1")
		if err != nil {
			return
		}
		var refusal *policy.Refusal
		if err := p.Allow(t.Context(), job); err != nil && !errors.As(err, &refusal) {
			t.Errorf("%v", err)
		}
	})
}
