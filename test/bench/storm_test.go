package bench

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/onbehalf-dev/onbehalf/test/storm"
)

// stormUnits are the quota units of a user in a minute: half of what the storm wants.
const stormUnits = 12_500

// BenchmarkStorm has 10,000 jobs for ten users arrive at once, whose quota the sandbox
// enforces, and holds the time against the shortest that the quota allows: a minute. What is
// sent away comes again when it is told to, as Cloud Tasks has it, or by Pub/Sub's back-off.
func BenchmarkStorm(b *testing.B) {
	for name, again := range map[string]storm.Again{"told": storm.AsTold, "backoff": storm.BackOff} {
		b.Run("again="+name, func(b *testing.B) {
			for b.Loop() {
				s := storm.Storm{Users: 10, Jobs: 10_000, AtOnce: 80, Again: again}
				tally, refused := runStorm(b, s)
				b.ReportMetric(tally.Took.Seconds(), "s")
				b.ReportMetric(tally.Took.Seconds()/s.Best(stormUnits).Seconds(), "time/quota's")
				b.ReportMetric(float64(tally.Statuses[http.StatusTooManyRequests])/float64(s.Jobs), "429s/job")
				b.ReportMetric(float64(tally.SentAway(2)), "sent-away-twice")
				b.ReportMetric(float64(refused), "refusals-by-Google")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}

// TestAStorm keeps the benchmark honest between its runs: what the quota has room for is
// done at once.
func TestAStorm(t *testing.T) {
	tally, refused := runStorm(t, storm.Storm{Users: 2, Jobs: 40, AtOnce: 8, Again: storm.AsTold})
	if refused != 0 || len(tally.Away) != 0 || tally.Statuses[http.StatusOK] != 40 {
		t.Errorf("%+v, Gmail refused %d", tally, refused)
	}
}

// runStorm has a storm come over a function of its own.
func runStorm(tb testing.TB, s storm.Storm) (tally storm.Tally, refused int) {
	tb.Helper()
	g := startGoogle(tb, 0, s.Users, fmt.Sprintf(`BENCH_QUOTA={"gmailUnitsPerUser": %d, "gmailConcurrentPerUser": 10}`, stormUnits))
	f := startFunction(tb, "function", append(functionEnv(tb, g), "FUNCTION_TARGET=Execute", fmt.Sprintf("ONBEHALF_GMAIL_UNITS_PER_USER=%d", stormUnits))...)
	s.URL = f.url
	tally, err := s.Run(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	calls := g.calls(tb)
	if n := calls["gmail.users.messages.insert"]; n != s.Jobs {
		tb.Errorf("%d inserts", n)
	}
	return tally, calls["gmail.users.messages.insert.refused"]
}
