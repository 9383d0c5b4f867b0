package actions_test

import (
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "abc", 0},
		{"abc", "abd", 1},
		{"abc", "acb", 1},
		{"abc", "bca", 2},
		{"kitten", "sitting", 3},
		{"labelIds", "labelsId", 2},
		{"ab", "ba", 1},
		{"a", "b", 1},
		{"ca", "abc", 3}, // optimal string alignment: no letter is touched twice
	} {
		if got := actions.Distance(c.a, c.b); got != c.want {
			t.Errorf("from %q to %q: %d; want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestSuggestions(t *testing.T) {
	known := []string{"maxResults", "pageToken", "q", "labelIds", "includeSpamTrash", "id"}
	for name, want := range map[string]string{
		"maxResult": "maxResults", "MAXRESULTS": "maxResults", "max_results": "maxResults", "pagetoken": "pageToken", "lableIds": "labelIds", "ID": "id", "ids": "id", "Q": "q",
		"x": "", "": "", "xy": "", "somethingElse": "", "query": "", strings.Repeat("maxResults", 13): "",
	} {
		if want != "" {
			want = " (did you mean " + want + "?)"
		}
		if got := actions.DidYouMean(name, known); got != want {
			t.Errorf("%q: %q; want %q", name, got, want)
		}
	}
	a := newActions(t, &google{})
	for action, says := range map[string]string{
		"gmail.users.messages.Insert":  `action: is "gmail.users.messages.Insert", which is no method that is known here (did you mean gmail.users.messages.insert?); onbehalf actions lists them`,
		"gmail.users.message.insert":   `action: is "gmail.users.message.insert", which is no method that is known here (did you mean gmail.users.messages.insert?); onbehalf actions lists them`,
		"gmial.users.messages.insert":  `action: is "gmial.users.messages.insert", which is no method that is known here (did you mean gmail.users.messages.insert?); onbehalf actions lists them`,
		"admin.directory.users.list":   `action: is "admin.directory.users.list", which is no method that is known here (did you mean directory.users.list?); onbehalf actions lists them`,
		"Gmail.users.messages.list":    `action: is "Gmail.users.messages.list", which is no method that is known here (did you mean gmail.users.messages.list?); onbehalf actions lists them`,
		"nothing.like.it":              `action: is "nothing.like.it", which is no method that is known here; onbehalf actions lists them`,
		"drive.files.generateCseToken": `action: is drive.files.generateCseToken, which answers with a secret; results are published, and no place for one`,
	} {
		if got := refusal(t, a, `{"user":"ada@example.com","action":"`+action+`"}`); strings.ReplaceAll(got, `"`, "") != strings.ReplaceAll(says, `"`, "") {
			t.Errorf("%s: %s; want %s", action, got, says)
		}
	}
	// Of all methods, one letter left out is found again.
	for _, m := range methods("gmail", "drive", "calendar") {
		api, _ := discovery.New().API(strings.Split(m.ID, ".")[0])
		i := len(m.ID) - 2
		wrong := m.ID[:i] + m.ID[i+1:]
		if _, ok := api.Method(wrong); ok {
			continue
		}
		if got := refusal(t, a, `{"user":"ada@example.com","action":"`+wrong+`"}`); !strings.Contains(got, "(did you mean ") {
			t.Errorf("%s: %s", wrong, got)
		}
	}
}

func FuzzDistance(f *testing.F) {
	f.Add("labelIds", "lableIds", "x")
	f.Add("", "é\xff", strings.Repeat("a", 200))
	f.Fuzz(func(t *testing.T, a, b, c string) {
		if len(a)+len(b)+len(c) > 1000 {
			t.Skip("names are not that long")
		}
		d := actions.Distance(a, b)
		switch {
		case d != actions.Distance(b, a):
			t.Errorf("from %q to %q it is %d, and back %d", a, b, d, actions.Distance(b, a))
		case (d == 0) != (a == b):
			t.Errorf("from %q to %q: %d", a, b, d)
		case d > max(len(a), len(b)) || d < len(a)-len(b) || d < len(b)-len(a):
			t.Errorf("from %q to %q: %d is out of bounds", a, b, d)
		}
		if hint := actions.DidYouMean(a, []string{b, c}); hint != "" && !strings.Contains(hint, b) && !strings.Contains(hint, c) {
			t.Errorf("%q: %q", a, hint)
		}
	})
}
