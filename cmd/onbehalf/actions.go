package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
)

func newActions() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "actions [ID | WORD...]",
		Short: "List what can be called, or tell all of one method",
		Long: `Lists the methods that a job may name as its action; with words, those whose id
or description has all of them. Of one method, by its id, it tells the parameters,
the body's fields, the scopes, the quota units, what it means to make the call
twice, whether what came of it is kept, how it is found out where the answer is lost
and with which scope beside its own, and an example of a job.`,
		Example: `  onbehalf actions                               # all of them
  onbehalf actions vacation
  onbehalf actions gmail.users.messages.insert
  onbehalf actions calendar.events.insert --json | jq .example`,
		RunE:              func(cmd *cobra.Command, args []string) error { return showActions(cmd, args, asJSON) },
		ValidArgsFunction: completeActions,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func showActions(cmd *cobra.Command, args []string, asJSON bool) error {
	methods := actions.NewMethods()
	found := search(methods.List(), args)
	if len(args) == 1 {
		d, err := methods.Describe(args[0])
		switch {
		case err == nil:
			return show(cmd.OutOrStdout(), d, asJSON, describe)
		case len(found) == 0:
			return err
		}
	}
	if len(found) == 0 {
		return fmt.Errorf("actions: no method has all of %q in its id or description; fewer words find more", args)
	}
	return show(cmd.OutOrStdout(), found, asJSON, list)
}

func completeActions(_ *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []cobra.Completion
	for _, m := range actions.NewMethods().List() {
		if strings.HasPrefix(m.ID, typed) {
			ids = append(ids, cobra.CompletionWithDesc(m.ID, m.Summary))
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// search gives the methods that have all words, in any case.
func search(all []actions.Summary, words []string) []actions.Summary {
	var found []actions.Summary
	for _, m := range all {
		text, missing := strings.ToLower(m.ID+" "+m.Summary), false
		for _, word := range words {
			missing = missing || !strings.Contains(text, strings.ToLower(word))
		}
		if !missing {
			found = append(found, m)
		}
	}
	return found
}

// show prints a value as JSON, or as text for people.
func show[T any](w io.Writer, v T, asJSON bool, text func(io.Writer, T) error) error {
	if !asJSON {
		return text(w, v)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func list(w io.Writer, found []actions.Summary) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, m := range found {
		fmt.Fprintf(t, "%s\t%s\n", m.ID, m.Summary)
	}
	return t.Flush()
}

// What the classes and look-ups mean to who writes a job.
var (
	classes = map[actions.Class]string{
		actions.Read:       "it changes nothing; it is made again where the answer is lost",
		actions.Idempotent: "twice is as once; it is made again where the answer is lost",
		actions.Once:       "twice is not as once; where the answer is lost, it is looked for before it is made again",
	}
	lookups = map[actions.Lookup]string{
		"":                  "nobody can find out; the result is uncertain",
		actions.ByMessageID: "the mailbox is searched for the letter's Message-ID",
		actions.ByID:        "it is got by the id that it was given",
		actions.ReadBack:    "what has its key is read, and compared",
		actions.ByAbsence:   "it is not there any more",
		actions.ByRequestID: "no need: Google does a request of one id once, so that it is made again",
	}
)

func describe(w io.Writer, d *actions.Description) error {
	fmt.Fprintf(w, "%s\n  %s\n  %s\n", d.ID, d.Summary, d.Address)
	inputs(w, "params", d.Params)
	inputs(w, "body", d.Body)
	if d.Takes != "" {
		fmt.Fprintf(w, "\n%s\n  %s", d.Takes, strings.Join(d.Accepts, ", "))
		if d.MaxSize > 0 {
			fmt.Fprintf(w, " of at most %s", size(d.MaxSize))
		}
		fmt.Fprintln(w)
	}
	if d.Pages {
		fmt.Fprint(w, "\npages\n  {\"max\": N} joins the items of so many pages\n")
	}
	if d.Output {
		fmt.Fprint(w, "\noutput\n  gs://BUCKET/OBJECT takes the content itself\n")
	}
	fmt.Fprint(w, "\nscopes\n")
	for _, choice := range d.Scopes {
		when := ""
		if choice.If != "" {
			when = ", if " + choice.If
		} else if len(d.Scopes) > 1 {
			when = ", otherwise"
		}
		fmt.Fprintf(w, "  %s%s\n", strings.Join(choice.Scopes, " and "), when)
	}
	fmt.Fprintf(w, "\nunits\n  %d\n\nclass\n  %s: %s\n", d.Units, d.Class, classes[d.Class])
	afterwards(w, d)
	var example bytes.Buffer
	if err := json.Indent(&example, d.Example, "  ", "  "); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nexample\n  %s\n", example.String())
	return nil
}

// afterwards tells what is known of a call after it was made.
func afterwards(w io.Writer, d *actions.Description) {
	if d.Kept {
		fmt.Fprint(w, "\nkept\n  what came of it is kept, and a job that is delivered again gets that\n")
	} else {
		fmt.Fprint(w, "\nkept\n  nothing outside a batch; a job that is delivered again is done again\n")
	}
	if d.Lookup == "" && d.Class != actions.Once {
		return
	}
	fmt.Fprintf(w, "\nwhere the answer is lost\n  %s\n", lookups[d.Lookup])
	if d.LookupIf != "" {
		fmt.Fprintf(w, "  only if %s\n", d.LookupIf)
	}
	for _, scope := range d.LookupScopes {
		fmt.Fprintf(w, "  with %s\n", scope)
	}
}

// size writes a number of bytes in the unit that fits.
func size(n int64) string {
	for _, unit := range []string{"bytes", "KiB", "MiB", "GiB"} {
		if n < 1<<10 {
			return fmt.Sprintf("%d %s", n, unit)
		}
		n >>= 10
	}
	return fmt.Sprintf("%d TiB", n)
}

func inputs(w io.Writer, title string, all []actions.Input) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s\n", title)
	for _, in := range all {
		required := ""
		if in.Required {
			required = ", required"
		}
		fmt.Fprintf(w, "  %s: %s%s\n", in.Name, strings.TrimSuffix(in.Accepts, ","), required)
		if in.Summary != "" {
			fmt.Fprintf(w, "      %s\n", in.Summary)
		}
	}
}
