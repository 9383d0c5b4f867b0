package bench

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// BenchmarkColdStart measures from exec to the first answered event, beside a
// function of the same framework that does nothing. The event of ours is a
// whole job, with its signature, exchange, call and published result.
func BenchmarkColdStart(b *testing.B) {
	g := startGoogle(b, 0, 1)
	job := event("1", user(0), base64.RawURLEncoding.EncodeToString(letter(b)))
	env := functionEnv(b, g)
	got := make(map[string]time.Duration)
	for _, name := range []string{"hello", "function"} {
		binary := filepath.Join(b.TempDir(), name)
		if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", binary, "./"+name).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				coldStart(b, binary, env, job)
			}
			got[name] = b.Elapsed() / time.Duration(b.N)
			b.ReportMetric(float64(got[name].Microseconds())/1000, "ms/start")
			b.ReportMetric(0, "ns/op")
		})
	}
	b.Run("ratio", func(b *testing.B) {
		for b.Loop() { // one number is reported, nothing is timed
		}
		b.ReportMetric(float64(got["function"])/float64(got["hello"]), "function/hello")
		b.ReportMetric(0, "ns/op")
	})
}

// coldStart starts the binary, has it answer one event, and ends it.
func coldStart(b *testing.B, binary string, env []string, job []byte) {
	b.Helper()
	b.StopTimer()
	port := freePort(b)
	cmd := exec.CommandContext(b.Context(), binary)
	cmd.Env = append(slices.Clone(env), "PORT="+port, "FUNCTION_TARGET=Execute", "PATH="+os.Getenv("PATH"), "HOME="+b.TempDir())
	c := client()
	b.StartTimer()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	await(b, port)
	if err := send(b.Context(), c, "http://127.0.0.1:"+port+"/", job, "Content-Type", "application/json"); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	b.StartTimer()
}
