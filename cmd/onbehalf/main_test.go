package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve":   func(ts *testscript.TestScript, _ bool, args []string) { serveSandbox(t.Context(), ts, args) },
			"control": func(ts *testscript.TestScript, _ bool, args []string) { controlSandbox(t.Context(), ts, args) },
		},
	})
}

// serveSandbox is "serve ARG...": it starts onbehalf sandbox on a free port, and
// exports what that prints.
func serveSandbox(ctx context.Context, ts *testscript.TestScript, args []string) {
	binary := ""
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if file := filepath.Join(dir, "onbehalf"); binary == "" && exec.CommandContext(ctx, file, "--version").Run() == nil {
			binary = file
		}
	}
	cmd := exec.CommandContext(ctx, binary, append([]string{"sandbox", "--listen", "127.0.0.1:0"}, args...)...)
	cmd.Dir = ts.Getenv("WORK")
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for range 2 {
		if !lines.Scan() {
			ts.Fatalf("the sandbox does not say where it is")
		}
		name, value, _ := strings.Cut(lines.Text(), "=")
		ts.Setenv(name, value)
	}
}

// controlSandbox is "control METHOD PATH BODY": a call of the control API.
func controlSandbox(ctx context.Context, ts *testscript.TestScript, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: control METHOD PATH BODY")
	}
	req, err := http.NewRequestWithContext(ctx, args[0], ts.Getenv("ONBEHALF_SANDBOX")+"/_sandbox/"+args[1], strings.NewReader(args[2]))
	ts.Check(err)
	client := http.Client{}
	res, err := client.Do(req)
	ts.Check(err)
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode/100 != 2 {
		ts.Fatalf("HTTP %d: %s", res.StatusCode, body)
	}
}
