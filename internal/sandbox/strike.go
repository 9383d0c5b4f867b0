package sandbox

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

// strike takes the fault that the call is to meet, if any.
func (f *faults) strike(c *call) *Fault {
	if !f.any.Load() {
		return nil
	}
	user := c.route.who(c) // before the lock: it may parse the body
	shows := c.showsToken()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, o := range f.list {
		if !f.fits(o, c.route, user) || o.Kind == kindExpireTokens && !shows {
			continue
		}
		if o.Share > 0 && o.Share < 1 && o.rng.Float64() >= o.Share {
			continue
		}
		if o.Times > 0 {
			o.left--
			if o.left == 0 {
				f.list = slices.Delete(f.list, i, i+1)
				f.any.Store(len(f.list) > 0)
			}
		}
		struck := o.Fault
		return &struck
	}
	return nil
}

func (f *faults) fits(o *ordered, rt *route, user string) bool {
	if ok, _ := path.Match(o.Call, rt.name); !ok {
		return false
	}
	if o.User != "" && !strings.EqualFold(o.User, user) {
		return false
	}
	return o.Row == "" || f.rows.list[f.rows.byID[o.Row]].Stage == rt.stage
}

// showsToken is false for calls that need no token of ours, the exchange among
// them: there is nothing that "expireTokens" could end.
func (c *call) showsToken() bool {
	return (c.route.stage == stageSign || c.route.stage == stageCall) && c.presented() != nil
}

// meet lets a fault strike the call. The answer is nil when the connection
// is to be cut without one.
func (c *call) meet(f *Fault) *reply {
	var a reply
	switch {
	case f.Row != "":
		a = c.row(f.Row)
	case f.Kind == kindCut:
		return nil
	case f.Kind == kindLost:
		c.route.handle(c)
		return nil
	case f.Kind == kindLate:
		a = c.route.handle(c)
		if !c.wait(f.Delay) {
			return nil
		}
	case f.Kind == kindExpireTokens:
		if t := c.presented(); t != nil {
			t.revoked.Store(true)
		}
		a = c.route.handle(c)
	default:
		a = c.overload(f.Kind)
	}
	if f.RetryAfter != "" {
		a = a.with("Retry-After", f.RetryAfter)
	}
	return &a
}

// overload is the refusal of a busy Google in the form of each stage. The token
// endpoint's 429 is assumed: none is on record.
func (c *call) overload(kind string) reply {
	rows := map[string][2]string{
		stageCall: {"A12", "A17d"}, stageSign: {"S7", "S7b"}, stageExchange: {"T25c", "T25c"},
	}
	pair, ok := rows[c.route.stage]
	switch {
	case !ok && kind == kind429:
		return reply{status: http.StatusTooManyRequests, mime: mimeText, body: []byte("Too Many Requests\n")}
	case !ok:
		return reply{status: http.StatusServiceUnavailable, mime: mimeText, body: []byte("Service Unavailable\n")}
	case kind == kind429:
		a := c.row(pair[0])
		a.status = http.StatusTooManyRequests
		return a
	}
	return c.row(pair[1])
}

const mimeText = "text/plain; charset=utf-8"

// wait is false when the client went away meanwhile.
func (c *call) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.req.Context().Done():
		return false
	}
}
