package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
)

const version = "0.1.0"

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "onbehalf",
		Short: "Act as Google Workspace users, without any service-account key",
		Long: `onbehalf makes one call of a Google Workspace API as one user for each job,
without any service-account key, and says what came of it.

Exit status: 0 all succeeded · 1 some jobs did not · 2 wrong use or
configuration · 3 stopped by a fault that an operator or administrator must
mend · 130 interrupted.`,
		Example: `  onbehalf demo                                  # see it work: no account, no network
  onbehalf run --sandbox jobs.jsonl              # try your jobs in an embedded Workspace
  onbehalf run --policy policy.yaml jobs.jsonl   # the real thing
  onbehalf batch list                            # the batches of the functions, and how they are
  onbehalf doctor --user ada@example.com         # what is wrong with the set-up
  onbehalf actions vacation                      # what can be called
  onbehalf explain unauthorized_client           # what an error means, and what mends it
  onbehalf schema job                            # what a job may hold`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newActions(), newBatch(), newDeadLetter(), newDemo(), newDoctor(), newExplain(), newPolicy(), newRun(), newSandbox(), newSchema(), newToken())
	return root
}

func newSchema() *cobra.Command {
	schemas := map[string][]byte{
		"job": jobs.JobSchema, "result": jobs.ResultSchema, "batch": jobs.BatchSchema, "summary": jobs.SummarySchema, "policy": policy.Schema,
	}
	names := []cobra.Completion{
		cobra.CompletionWithDesc("job", "what is published to the topic of jobs"),
		cobra.CompletionWithDesc("result", "what comes back on the topic of results"),
		cobra.CompletionWithDesc("batch", "what is published to the topic of batches"),
		cobra.CompletionWithDesc("summary", "what comes back of a batch on the topic of results"),
		cobra.CompletionWithDesc("policy", "who may be acted for, and with what"),
	}
	return &cobra.Command{
		Use:       "schema job|result|batch|summary|policy",
		Short:     "Print a JSON Schema",
		Example:   "  onbehalf schema job > job.schema.json",
		ValidArgs: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || schemas[args[0]] == nil {
				return fmt.Errorf("schema: %q is not accepted; one of job, result, batch, summary and policy is", args)
			}
			_, err := fmt.Fprint(cmd.OutOrStdout(), string(schemas[args[0]]))
			return err
		},
	}
}
