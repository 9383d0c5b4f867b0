package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

const (
	// fewJobs is what a run of more is held against.
	fewJobs = 10_000
	// runUsers is how many users the jobs are for: their tokens are in the cache.
	runUsers = 1000
	// lookEvery is after how many results the memory is looked at.
	lookEvery = 1000
)

// ran is what one run of the command came to.
type ran struct {
	seconds float64
	peak    int64 // of the process's memory, in bytes
}

// BenchmarkRun has the command do a file of jobs, with its ledger beside it, and holds
// its memory against that of 10,000 jobs. The letters are inserted as deleted, so that
// the sandbox keeps none, and the quota is as good as none. A million jobs take half an
// hour:
//
//	go test -run '^$' -bench '^BenchmarkRun$' -benchtime 1000000x -timeout 2h ./test/bench
func BenchmarkRun(b *testing.B) {
	g, binary := startGoogle(b, 0, runUsers), buildCommand(b)
	few := runJobs(b, g, binary, fewJobs)
	b.Run("jobs", func(b *testing.B) {
		many := runJobs(b, g, binary, b.N)
		b.ReportMetric(float64(b.N)/many.seconds, "jobs/s")
		b.ReportMetric(float64(few.peak)/(1<<20), "MiB-of-10000")
		b.ReportMetric(float64(many.peak)/(1<<20), "MiB")
		b.ReportMetric(float64(many.peak)/float64(few.peak), "memory/10000")
		b.ReportMetric(0, "ns/op")
	})
}

// TestTheCommandDoesItsJobs keeps the benchmark honest between its runs.
func TestTheCommandDoesItsJobs(t *testing.T) {
	const n = 2 * lookEvery // for at the last of them the process may have gone before it is looked at
	g := startGoogle(t, 0, runUsers)
	if got := runJobs(t, g, buildCommand(t), n); got.peak == 0 && peakMemory("self") > 0 {
		t.Errorf("%+v", got)
	}
	if inserts := g.calls(t)["gmail.users.messages.insert"]; inserts != n {
		t.Errorf("%d inserts", inserts)
	}
}

func buildCommand(tb testing.TB) (binary string) {
	tb.Helper()
	binary = filepath.Join(tb.TempDir(), "onbehalf")
	if out, err := exec.CommandContext(tb.Context(), "go", "build", "-o", binary, "../../cmd/onbehalf").CombinedOutput(); err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
	return binary
}

// runJobs has the command do n jobs, each of which must succeed.
func runJobs(tb testing.TB, g google, binary string, n int) ran {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), binary, "run", jobsFile(tb, n))
	cmd.Env = append(functionEnv(tb, g), "PATH="+os.Getenv("PATH"), "HOME="+tb.TempDir())
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	var got ran
	succeeded := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if bytes.Contains(lines.Bytes(), []byte(`"status":"succeeded"`)) {
			succeeded++
		}
		if succeeded%lookEvery == 0 || succeeded == n {
			got.peak = max(got.peak, peakMemory(strconv.Itoa(cmd.Process.Pid)))
		}
	}
	if err := cmd.Wait(); err != nil || succeeded != n {
		tb.Fatalf("%d of %d jobs succeeded: %v\n%s", succeeded, n, err, &said)
	}
	got.seconds = time.Since(began).Seconds()
	return got
}

// jobsFile writes n jobs.
func jobsFile(tb testing.TB, n int) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "jobs.jsonl")
	file, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer file.Close()
	w := bufio.NewWriter(file)
	for i := range n {
		fmt.Fprintf(w, `{"id":"bench/%d","user":%q,"action":"gmail.users.messages.insert","params":{"deleted":true},"message":{"raw":"U3ViamVjdDogaGkNCg0KSGVsbG8NCg"}}`+"\n", i, user(i%runUsers))
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	return path
}
