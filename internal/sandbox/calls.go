package sandbox

import "sync/atomic"

// callTokenAuthorization counts token requests with an Authorization header:
// the endpoint takes none, and one that is sent there has leaked.
const callTokenAuthorization = "token.withAuthorization"

// counters counts calls by name. Its names never change, so that counting is
// one atomic addition.
type counters struct{ byName map[string]*atomic.Int64 }

func newCounters(names []string) *counters {
	c := &counters{byName: map[string]*atomic.Int64{callTokenAuthorization: {}}}
	for _, n := range names {
		c.byName[n] = new(atomic.Int64)
	}
	return c
}

func (c *counters) add(name string) { c.byName[name].Add(1) }

func (c *counters) reset() {
	for _, n := range c.byName {
		n.Store(0)
	}
}

// all leaves out what was never called.
func (c *counters) all() map[string]int {
	out := map[string]int{}
	for name, n := range c.byName {
		if v := n.Load(); v != 0 {
			out[name] = int(v)
		}
	}
	return out
}
