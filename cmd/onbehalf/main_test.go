package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"onbehalf": func() { os.Exit(run(os.Args[1:])) }})
}

// The command as a user has it: what it prints, and how it exits.
func TestScripts(t *testing.T) {
	methods, err := filepath.Abs("../../internal/actions/examples/runnable.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("METHODS", methods)
			return nil
		},
	})
}
