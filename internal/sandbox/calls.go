package sandbox

import (
	"sync"
	"sync/atomic"
)

// callTokenAuthorization counts token requests with an Authorization header:
// the endpoint takes none, and one that is sent there has leaked.
const callTokenAuthorization = "token.withAuthorization"

// counters counts calls by name. The names of what is implemented never change,
// so that counting is one atomic addition.
type counters struct {
	byName map[string]*atomic.Int64
	others sync.Map // of methods that are answered with 501: name → *atomic.Int64
}

func newCounters(names []string) *counters {
	c := &counters{byName: map[string]*atomic.Int64{callTokenAuthorization: {}}}
	for _, n := range names {
		c.byName[n] = new(atomic.Int64)
	}
	return c
}

func (c *counters) add(name string) {
	if n, ok := c.byName[name]; ok {
		n.Add(1)
		return
	}
	n, _ := c.others.LoadOrStore(name, new(atomic.Int64))
	n.(*atomic.Int64).Add(1) //nolint:errcheck // nothing else is stored
}

func (c *counters) reset() {
	for _, n := range c.byName {
		n.Store(0)
	}
	c.others.Clear()
}

// all leaves out what was never called.
func (c *counters) all() map[string]int {
	out := map[string]int{}
	for name, n := range c.byName {
		if v := n.Load(); v != 0 {
			out[name] = int(v)
		}
	}
	c.others.Range(func(name, n any) bool {
		out[name.(string)] = int(n.(*atomic.Int64).Load()) //nolint:errcheck // nothing else is stored
		return true
	})
	return out
}
