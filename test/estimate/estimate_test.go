package main

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/test/emulator"
)

// The test binary is the program, too: it starts itself as Google.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == googleRole {
		main()
	}
	os.Exit(m.Run())
}

// What a job costs is counted: a token and one call, three writes, of which one is to the
// counts; and of a page one call, and what it takes to be kept, and now and then how far
// the batch is.
func TestEstimate(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	err := run(t.Context(), []string{"--jobs", "20", "--latency", "0"}, &out, t.Output())
	var missing *emulator.MissingError
	if errors.As(err, &missing) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`calls of signJwt +1\.000`, `calls of token +1\.000`, `calls of gmail\.users\.messages\.insert +1\.000`, `calls of directory\.users\.list for 500 users +1\.000`,
		`Gmail units +25\.000`, `by Execute .* 3\.000 writes \(1\.000 new\), 0\.000 deletes`, `by FanOut, for 500 users +\d reads, [12] writes \(1 new\)`,
		`units of the project +20m50s`, `signJwt of the project +16m40s`, `calls of the administrator +50s`,
		`Firestore, writes +3\.\d+e\+06 +5\.\d\d`, `\n  all +\d\.\d\d\n`,
	} {
		if !regexp.MustCompile(line).MatchString(out.String()) {
			t.Errorf("no line is like %q", line)
		}
	}
	t.Log(out.String())
}

// What cannot be is refused, by the name of the flag.
func TestFlagsAreChecked(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--jobs", "0"}, {"--at-once", "-1"}, {"--latency", "-1s"}, {"table"}} {
		var out strings.Builder
		if err := run(t.Context(), args, &out, t.Output()); err == nil || !strings.Contains(err.Error(), args[0]) || out.Len() > 0 {
			t.Errorf("%q: %v, %q", args, err, out.String())
		}
	}
}
