package main

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

const (
	// mostCaused is how many results that are not good are grouped by their cause: the
	// latest.
	mostCaused = 100
	// mostExamples is how many users a cause is shown with.
	mostExamples = 3
)

// cause is what several jobs of a batch did not succeed for.
type cause struct {
	Status jobs.Status
	jobs.Error
	Count int
	Users []string // of the latest of them, some
}

// values are what differs between two messages of one cause, and what stands for it.
var values = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`"[^"]*"`), `""`},
	{regexp.MustCompile(`[\pL\pN.!#$%&'*+/=?^_{|}~-]+@[\pL\pN.-]+`), "@"},
	{regexp.MustCompile(`[\pL_-]*\pN[\pL\pN_:.-]*`), "0"},
}

// shape is a message without the values in it.
func shape(message string) string {
	for _, v := range values {
		message = v.pattern.ReplaceAllString(message, v.instead)
	}
	return message
}

// causes groups results, the latest first, by what they did not succeed for: the most
// frequent first, and of those the latest.
func causes(results []jobs.Result) []cause {
	type key struct {
		status        jobs.Status
		stage         jobs.Stage
		fault         jobs.Fault
		reason, shape string
	}
	var found []cause
	at := make(map[key]int)
	for _, r := range results {
		e := jobs.Error{}
		if r.Error != nil {
			e = *r.Error
		}
		k := key{r.Status, e.Stage, e.Fault, e.Reason, shape(e.Message)}
		i, known := at[k]
		if !known {
			i = len(found)
			at[k] = i
			found = append(found, cause{Status: r.Status, Error: e})
		}
		found[i].Count++
		if len(found[i].Users) < mostExamples {
			found[i].Users = append(found[i].Users, cmp.Or(r.User, r.Job))
		}
	}
	slices.SortStableFunc(found, func(a, b cause) int { return cmp.Compare(b.Count, a.Count) })
	return found
}

// title is a cause in a few words.
func (c *cause) title() string {
	var parts []string
	for _, part := range []string{string(c.Status), string(c.Fault), string(c.Stage), printable(c.Reason)} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return fmt.Sprintf("%4d  %s", c.Count, strings.Join(parts, " · "))
}

// examples name some of the users.
func (c *cause) examples() string {
	users := printable(strings.Join(c.Users, ", "))
	if c.Count > len(c.Users) {
		users += ", …"
	}
	return users
}

// write shows a cause, an example of what was said, and what mends it.
func (c *cause) write(w io.Writer) {
	fmt.Fprintln(w, c.title())
	for _, text := range []string{c.examples(), c.Message, c.Fix} {
		writeIndented(w, "      ", text)
	}
}

// writeIndented writes the lines of a text that may come from elsewhere.
func writeIndented(w io.Writer, indent, text string) {
	if text == "" {
		return
	}
	for line := range strings.Lines(printable(text)) {
		fmt.Fprintf(w, "%s%s\n", indent, strings.TrimRight(line, "\n"))
	}
}

// printable is a text without what a terminal would obey, but for the ends of lines.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
