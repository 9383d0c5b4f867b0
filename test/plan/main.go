// Command plan says what a Terraform configuration makes, as far as that can be said without its providers and
// without a network: which resources, and what is set in each.
//
//	plan DIR <VARIABLES.json
//
// It prints a [Plan] in JSON. It reads the part of the language that deploy/terraform uses, and ends with 1 at
// anything else: what it took for granted would be missing in the comparison.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "plan:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("%d arguments: one is accepted, the folder of the configuration", len(args))
	}
	var variables map[string]any
	if err := json.NewDecoder(in).Decode(&variables); err != nil {
		return fmt.Errorf("standard input: a JSON object of variables is accepted: %w", err)
	}
	plan, err := Make(args[0], variables)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(plan)
}
