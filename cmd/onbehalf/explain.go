package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8/cwriter"

	"github.com/onbehalf-dev/onbehalf/internal/explain"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

type explainFlags struct {
	names explain.Names
	list  bool
	json  bool
}

func newExplain() *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain [TEXT...]",
		Short: "Say what an error of Google's means, and how to mend it",
		Long: `Recognises Google's answer in a text, and says what it means, who must act, and
what mends it. The text is an argument or standard input: Google's JSON, a line
of a log, a result, what another tool or library printed, or just some words of
it. Nothing is sent anywhere, and nothing of the text is printed but addresses
and the project that it names.

Exit status: 0 recognised · 1 not recognised · 2 nothing to look at.`,
		Example: `  onbehalf explain unauthorized_client
  onbehalf explain 'Precondition check failed.' --user ada@example.com
  gcloud functions logs read onbehalf-execute --gen2 | grep ERROR | head -1 | onbehalf explain
  onbehalf explain --list                        # all that is known`,
		RunE: func(cmd *cobra.Command, args []string) error { return explainText(cmd, args, f) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.names.User, "user", "", "e-mail address of the user who was acted as")
	flags.StringVar(&f.names.Account, "service-account", "", "e-mail address of the delegated service account (default: ONBEHALF_SERVICE_ACCOUNT)")
	flags.StringVar(&f.names.ClientID, "client-id", "", "its numeric client id")
	flags.StringArrayVar(&f.names.Scopes, "scope", nil, "a scope that was asked for; may be repeated")
	flags.StringVar(&f.names.Project, "project", "", "id of the service account's project")
	flags.BoolVar(&f.list, "list", false, "print the whole table")
	flags.BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

func explainText(cmd *cobra.Command, args []string, f explainFlags) error {
	if notDigits := func(r rune) bool { return r < '0' || r > '9' }; strings.ContainsFunc(f.names.ClientID, notDigits) {
		return fmt.Errorf("--client-id: %s is not accepted; a number such as 100000000000000000042 is, the uniqueId of the service account", jobs.Quote(f.names.ClientID))
	}
	f.names.Account = cmp.Or(f.names.Account, os.Getenv("ONBEHALF_SERVICE_ACCOUNT"))
	if f.list {
		if len(args) > 0 {
			return errors.New("--list: prints the whole table; it takes no TEXT")
		}
		return show(cmd.OutOrStdout(), listed(f.names), f.json, table)
	}
	text, err := pasted(cmd, args)
	if err != nil {
		return err
	}
	found := explain.Find(text, f.names)
	if len(found) == 0 {
		return &exitError{exitSomeFailed, errors.New("no answer of Google's is recognised in this text. Paste all of the answer, with its status and its JSON; onbehalf explain --list prints what is known. Until it is known who must act, make no such call again")}
	}
	if err := show(cmd.OutOrStdout(), explained(found), f.json, explanations); err != nil {
		return err
	}
	if found[0].Row == "" {
		return &exitError{exitSomeFailed, errors.New("this answer is not in the table; what is said of it goes by its status alone")}
	}
	return nil
}

// pasted is the text that the user gives: the arguments, or standard input.
func pasted(cmd *cobra.Command, args []string) (string, error) {
	text := strings.Join(args, " ")
	if len(args) == 0 || text == "-" {
		if in, ok := cmd.InOrStdin().(*os.File); ok && cwriter.IsTerminal(int(in.Fd())) {
			fmt.Fprintln(cmd.ErrOrStderr(), "Paste the error, then press Ctrl-D:")
		}
		data, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), explain.MaxText))
		if err != nil {
			return "", err
		}
		text = string(data)
	}
	if strings.TrimSpace(text) == "" {
		return "", errors.New("explain: there is no text; give one as an argument or on standard input")
	}
	return text, nil
}

// explanation is what is printed of one meaning.
type explanation struct {
	Row     string     `json:"row,omitzero"`
	Stage   jobs.Stage `json:"stage,omitzero"`
	Fault   jobs.Fault `json:"fault"`
	Message string     `json:"message"`
	Fix     string     `json:"fix"`
	// Retry is "never" where trying again does not help.
	Retry     string    `json:"retry"`
	Seconds   float64   `json:"windowSeconds,omitzero"`
	NotBefore time.Time `json:"notBefore,omitzero"`
	Tell      string    `json:"tell,omitzero"`
	// Codes are Google's, any one of them, and Google is what it says; in a list.
	Codes  []string `json:"codes,omitzero"`
	Google string   `json:"google,omitzero"`
}

func explained(found []explain.Meaning) []explanation {
	all := make([]explanation, 0, len(found))
	for _, m := range found {
		all = append(all, explanation{
			Row: m.Row, Stage: m.Stage, Fault: m.Fault, Message: m.Message, Fix: m.Fix, Tell: m.Tell,
			Retry: cmp.Or(string(m.Retry), "never"), Seconds: m.Window.Seconds(), NotBefore: m.NotBefore,
		})
	}
	return all
}

// listed is the whole table.
func listed(n explain.Names) []explanation {
	var meanings []explain.Meaning
	rows := explain.Rows()
	for _, r := range rows {
		meanings = append(meanings, r.Meaning().For(n))
	}
	all := explained(meanings)
	for i, r := range rows {
		all[i].Codes, all[i].Google = strings.Fields(r.Codes), r.Google
	}
	return all
}

// What people are told in place of the words of the contract.
var (
	stages = map[jobs.Stage]string{
		jobs.StageSign:     "while signing, before there was a token",
		jobs.StageExchange: "while asking for a token",
		jobs.StageCall:     "at the call itself",
	}
	actors = map[jobs.Fault]string{
		jobs.FaultJob:      "the author of the job",
		jobs.FaultUser:     "who looks after that user's account",
		jobs.FaultAdmin:    "a Workspace administrator",
		jobs.FaultOperator: "the operator of the Google Cloud project",
		jobs.FaultGoogle:   "nobody",
		jobs.FaultQuota:    "nobody",
	}
	retries = map[string]string{
		"never":                 "no, not before it is mended",
		string(explain.Soon):    "yes, with growing pauses",
		string(explain.Later):   "yes, later",
		string(explain.Briefly): "for a short while, in case it is just coming true",
		string(explain.Renew):   "yes, with another token",
	}
)

func explanations(w io.Writer, all []explanation) error {
	if len(all) > 1 {
		fmt.Fprintf(w, "%d answers of Google's fit.\n\n", len(all))
	}
	for i, e := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		title := cmp.Or(e.Row, "not in the table")
		if where := stages[e.Stage]; where != "" {
			title += ", " + where
		}
		again := retries[e.Retry]
		if !e.NotBefore.IsZero() {
			again += ", not before " + e.NotBefore.Format(time.RFC3339)
		}
		fmt.Fprintln(w, title)
		for _, line := range [][2]string{{"it is this if", e.Tell}, {"means", e.Message}, {"who must act", actors[e.Fault]}, {"try again", again}, {"to mend it", e.Fix}} {
			if line[1] != "" {
				fmt.Fprintf(w, "  %-16s%s\n", line[0]+":", line[1])
			}
		}
	}
	return nil
}

// table prints a line for each row.
func table(w io.Writer, rows []explanation) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ROW\tSTAGE\tFAULT\tRETRY\tGOOGLE SAYS")
	for _, r := range rows {
		says := strings.Join(r.Codes, " ")
		if says != "" && r.Google != "" {
			says += ": "
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", r.Row, cmp.Or(r.Stage, "any"), r.Fault, r.Retry, says+r.Google)
	}
	return t.Flush()
}
