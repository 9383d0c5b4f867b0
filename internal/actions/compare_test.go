package actions_test

import (
	"encoding/json"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
)

// What comes back is what was given, though written otherwise; and nothing else is.
func TestShows(t *testing.T) {
	for _, c := range []struct {
		want, got string
		shown     bool
	}{
		{`{"a":1}`, `{"a":1,"b":2}`, true},
		{`{"a":1,"b":2}`, `{"a":1}`, false},
		{`{"a":{"b":"x"}}`, `{"a":{"b":"x","c":null}}`, true},
		{`{"a":{"b":"x"}}`, `{"a":"x"}`, false},
		{`{"a":{}}`, `{}`, true},
		{`{"a":{"b":false}}`, `{}`, true},
		{`{"a":{"b":true}}`, `{}`, false},
		{`{"a":[]}`, `{}`, true},
		{`{"a":[1]}`, `{}`, false},
		{`{"a":[1,2]}`, `{"a":[3,2,1]}`, true},
		{`{"a":[1,4]}`, `{"a":[3,2,1]}`, false},
		{`{"a":[{"b":1}]}`, `{"a":[{"b":1,"c":2}]}`, true},
		{`{"a":[1]}`, `{"a":1}`, false},
		{`{"a":1}`, `{"a":[1]}`, false},
		{`{"a":null}`, `{}`, true},
		{`{"a":null}`, `{"a":null}`, true},
		{`{"a":null}`, `{"a":"x"}`, false},
		{`{"a":""}`, `{}`, true},
		{`{"a":0}`, `{}`, true},
		{`{"a":"0"}`, `{}`, true},
		{`{"a":"SIZE_UNSPECIFIED"}`, `{}`, true},
		{`{"a":"x"}`, `{}`, false},
		{`{"a":1000}`, `{"a":"1000"}`, true},
		{`{"a":"1000"}`, `{"a":1000}`, true},
		{`{"a":1000}`, `{"a":"1001"}`, false},
		{`{"a":true}`, `{"a":"true"}`, true},
		{`{"a":"Ada@Example.com"}`, `{"a":"ada@example.com"}`, true},
		{`{"a":"Ada"}`, `{"a":"ada"}`, false},
		{`{"a":"2026-11-30T10:00:00+01:00"}`, `{"a":"2026-11-30T09:00:00Z"}`, true},
		{`{"a":"2026-11-30T10:00:00.0Z"}`, `{"a":"2026-11-30T10:00:00Z"}`, true},
		{`{"a":"2026-11-30T10:00:00+01:00"}`, `{"a":"2026-11-30T10:00:00Z"}`, false},
		{`{"a":"2026-11-30"}`, `{"a":"2026-12-01"}`, false},
	} {
		var want, got any
		if err := json.Unmarshal([]byte(c.want), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(c.got), &got); err != nil {
			t.Fatal(err)
		}
		if actions.Shows(want, got) != c.shown {
			t.Errorf("%s shows %s: %v", c.got, c.want, !c.shown)
		}
	}
}

func TestSelected(t *testing.T) {
	const answer = `{"a":1,"b":{"c":2,"d":{"e":3,"f":4}},"g":[{"h":5,"i":9007199254740993},{"h":7}],"j":"x"}`
	for fields, want := range map[string]string{
		"a":                 `{"a":1}`,
		"a,j":               `{"a":1,"j":"x"}`,
		" a , j ":           `{"a":1,"j":"x"}`,
		"b/c":               `{"b":{"c":2}}`,
		"b.c":               `{"b":{"c":2}}`,
		"b(c,d/e)":          `{"b":{"c":2,"d":{"e":3}}}`,
		"b(c, d( f ) )":     `{"b":{"c":2,"d":{"f":4}}}`,
		"b/c,b/d":           `{"b":{"c":2,"d":{"e":3,"f":4}}}`,
		"b/d/e,b/d":         `{"b":{"d":{"e":3,"f":4}}}`,
		"b/d,b/d/e":         `{"b":{"d":{"e":3,"f":4}}}`,
		"b/d(e)":            `{"b":{"d":{"e":3}}}`,
		"g/i":               `{"g":[{"i":9007199254740993},{}]}`,
		"g(h)":              `{"g":[{"h":5},{"h":7}]}`,
		"*":                 answer,
		"b/*/e":             `{"b":{"c":2,"d":{"e":3}}}`,
		"unknown":           `{}`,
		"a/below":           `{"a":1}`,
		"b(c),g(h),b(d(f))": `{"b":{"c":2,"d":{"f":4}},"g":[{"h":5},{"h":7}]}`,
	} {
		if got := actions.Selected(answer, fields); got != want {
			t.Errorf("%s: %s; want %s", fields, got, want)
		}
	}
}
