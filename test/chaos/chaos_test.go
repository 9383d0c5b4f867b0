package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/test/emulator"
)

// A small run, in which no promise may be broken: of each call to Google 20 % meet one
// of the six kinds of faults. The report counts the calls of a job.
func TestFunctions(t *testing.T) {
	t.Parallel()
	try(t, "--jobs", "2000", "--kills", "10", "--share", "0.0334", "--waiting", "1000")
}

// The same for a batch, whose users are served once, counted right and told of once.
func TestBatch(t *testing.T) {
	t.Parallel()
	try(t, "--batch", "--users", "1000", "--kills", "9", "--share", "0.002", "--waiting", "1000")
}

// The same for onbehalf run, which needs no emulator.
func TestCommand(t *testing.T) {
	t.Parallel()
	try(t, "--run", "--jobs", "2000", "--kills", "10", "--share", "0.0334")
}

// What cannot be is refused, by the name of the flag.
func TestFlagsAreChecked(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--share", "0.2"},
		{"--share", "-0.1"},
		{"--share", "NaN"},
		{"--store-share", "1"},
		{"--jobs", "0"},
		{"--kills", "-1"},
		{"--processes", "0"},
		{"--waiting", "0"},
		{"--rate", "0.5"},
		{"--batch", "--run"},
		{"jobs.jsonl"},
	} {
		var out strings.Builder
		if err := run(t.Context(), args, &out, t.Output()); err == nil || errors.Is(err, errBroken) || !strings.Contains(err.Error(), args[0]) || out.Len() > 0 {
			t.Errorf("%q: %v, %q", args, err, out.String())
		}
	}
}

func try(t *testing.T, args ...string) {
	t.Helper()
	var out strings.Builder
	err := run(t.Context(), append([]string{"--within", "15m", "--logs", t.TempDir()}, args...), &out, t.Output())
	var missing *emulator.MissingError
	if errors.As(err, &missing) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
}
