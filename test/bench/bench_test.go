package bench

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// measured is what an arm came to, per job.
type measured struct{ rate, cpu, allocs, calls float64 }

// BenchmarkJobs measures the three arms at two latencies, for users seen before
// and for new ones, and reports ours against the other two.
func BenchmarkJobs(b *testing.B) {
	arms := []struct {
		name string
		make func(testing.TB, google) arm
	}{{"limit", limitArm}, {"relay", relayArm}, {"peer", peerArm}, {"ours", oursArm}}
	for _, latency := range []time.Duration{0, 20 * time.Millisecond} {
		for _, kind := range []string{"seen", "new"} {
			b.Run(fmt.Sprintf("latency=%s/users=%s", latency, kind), func(b *testing.B) {
				g := startGoogle(b, latency, users)
				got := make(map[string]measured)
				for _, a := range arms {
					it := a.make(b, g)
					if a.name != "limit" {
						warm(b, it)
					}
					b.Run(a.name, func(b *testing.B) { got[a.name] = measure(b, g, it, kind == "new") })
				}
				b.Run("ratios", func(b *testing.B) { ratios(b, got) })
			})
		}
	}
}

// warm lets an arm meet the users who then count as seen before.
func warm(b *testing.B, a arm) {
	b.Helper()
	for n := range workers {
		if err := a.do(b.Context(), jobNumber(), user(n)); err != nil {
			b.Fatal(err)
		}
	}
}

var jobs atomic.Int64

func jobNumber() int { return int(jobs.Add(1)) }

// measure does b.N jobs, workers at a time.
func measure(b *testing.B, g google, a arm, fresh bool) measured {
	var group sync.WaitGroup
	var taken atomic.Int64
	callsBefore, costBefore := total(g.calls(b)), a.cost()
	b.ResetTimer()
	for w := range workers {
		group.Go(func() {
			for taken.Add(1) <= int64(b.N) {
				u := user(w)
				if fresh {
					u = user(workers + int(newest.Add(1)))
				}
				if err := a.do(b.Context(), jobNumber(), u); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.StopTimer()
	spent := a.cost().since(costBefore)
	calls := total(g.calls(b)) - callsBefore
	n := float64(b.N)
	m := measured{n / b.Elapsed().Seconds(), float64(spent.CPU.Microseconds()) / n, float64(spent.Allocs) / n, float64(calls) / n}
	b.ReportMetric(m.rate, "jobs/s")
	b.ReportMetric(m.cpu, "µs-CPU/job")
	b.ReportMetric(m.allocs, "allocs/job")
	b.ReportMetric(m.calls, "calls/job")
	b.ReportMetric(0, "ns/op")
	return m
}

func total(calls map[string]int) int {
	n := calls["signJwt"] + calls["token"] + calls["gmail.users.messages.insert"]
	return n
}

func ratios(b *testing.B, got map[string]measured) {
	for b.Loop() {
	}
	limit, peer, ours := got["limit"], got["peer"], got["ours"]
	b.ReportMetric(ours.rate/limit.rate, "rate/limit")
	b.ReportMetric(ours.rate/peer.rate, "rate/peer")
	b.ReportMetric(ours.cpu/limit.cpu, "CPU/limit")
	b.ReportMetric(ours.cpu/peer.cpu, "CPU/peer")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkOneNewUser has 150 jobs for one new user arrive at once, which one after
// the other take the time for which a delivery is held: what they cost is one
// signature and one exchange.
func BenchmarkOneNewUser(b *testing.B) {
	const crowd = 150
	g := startGoogle(b, 20*time.Millisecond, users)
	a := oursArm(b, g)
	warm(b, a)
	before := g.calls(b)
	for b.Loop() {
		u := user(workers + int(newest.Add(1)))
		var group sync.WaitGroup
		for range crowd {
			group.Go(func() {
				if err := a.do(b.Context(), jobNumber(), u); err != nil {
					b.Error(err)
				}
			})
		}
		group.Wait()
	}
	after := g.calls(b)
	for _, call := range []string{"signJwt", "token", "gmail.users.messages.insert"} {
		b.ReportMetric(float64(after[call]-before[call])/float64(b.N), call+"/crowd")
	}
}

// TestEachArmDoesItsJob keeps the benchmark honest between its runs.
func TestEachArmDoesItsJob(t *testing.T) {
	g := startGoogle(t, 0, 1)
	for name, of := range map[string]func(testing.TB, google) arm{"limit": limitArm, "relay": relayArm, "peer": peerArm, "ours": oursArm} {
		a := of(t, g)
		before := g.calls(t)["gmail.users.messages.insert"]
		if err := a.do(t.Context(), jobNumber(), user(0)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := g.calls(t)["gmail.users.messages.insert"] - before; n != 1 {
			t.Errorf("%s: %d inserts", name, n)
		}
	}
}
