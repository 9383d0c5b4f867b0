package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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
			"serve":     func(ts *testscript.TestScript, _ bool, args []string) { serveSandbox(t.Context(), ts, args) },
			"control":   func(ts *testscript.TestScript, _ bool, args []string) { controlSandbox(t.Context(), ts, args) },
			"await":     func(ts *testscript.TestScript, _ bool, args []string) { awaitCalls(t.Context(), ts, args) },
			"onlycalls": func(ts *testscript.TestScript, _ bool, args []string) { onlyCalls(t.Context(), ts, args) },
			"calls":     func(ts *testscript.TestScript, _ bool, args []string) { countCalls(t.Context(), ts, args) },
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
	askSandbox(ctx, ts, args[0], args[1], args[2])
}

// askSandbox makes a call of the control API.
func askSandbox(ctx context.Context, ts *testscript.TestScript, method, path, body string) []byte {
	req, err := http.NewRequestWithContext(ctx, method, ts.Getenv("ONBEHALF_SANDBOX")+"/_sandbox/"+path, strings.NewReader(body))
	ts.Check(err)
	client := http.Client{}
	res, err := client.Do(req)
	ts.Check(err)
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	ts.Check(err)
	if res.StatusCode/100 != 2 {
		ts.Fatalf("HTTP %d: %s", res.StatusCode, answer)
	}
	return answer
}

// awaitCalls is "await CALL N": it waits until the sandbox has had so many.
func awaitCalls(ctx context.Context, ts *testscript.TestScript, args []string) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for n, want := 0, wantedCalls(ts, args); n < want; n = calls(ctx, ts, args[0]) {
		runtime.Gosched()
	}
}

// countCalls is "calls CALL N": the sandbox has had exactly so many.
func countCalls(ctx context.Context, ts *testscript.TestScript, args []string) {
	if n, want := calls(ctx, ts, args[0]), wantedCalls(ts, args); n != want {
		ts.Fatalf("%d calls of %s; want %d", n, args[0], want)
	}
}

// onlyCalls is "onlycalls CALL...": the sandbox has had all of these, and no other.
func onlyCalls(ctx context.Context, ts *testscript.TestScript, args []string) {
	var counts map[string]int
	ts.Check(json.Unmarshal(askSandbox(ctx, ts, http.MethodGet, "calls", ""), &counts))
	if had := slices.Sorted(maps.Keys(counts)); !slices.Equal(had, slices.Sorted(slices.Values(args))) {
		ts.Fatalf("calls of %s; want %s", had, args)
	}
}

func wantedCalls(ts *testscript.TestScript, args []string) int {
	if len(args) != 2 {
		ts.Fatalf("usage: await CALL N, calls CALL N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	return n
}

func calls(ctx context.Context, ts *testscript.TestScript, call string) int {
	var counts map[string]int
	ts.Check(json.Unmarshal(askSandbox(ctx, ts, http.MethodGet, "calls", ""), &counts))
	return counts[call]
}
