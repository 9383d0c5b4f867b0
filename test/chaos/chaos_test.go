package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/test/emulator"
)

// A small run, in which no promise may be broken.
func TestFunctions(t *testing.T) {
	t.Parallel()
	try(t, "--jobs", "2000", "--kills", "10", "--share", "0.05", "--waiting", "1000")
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
