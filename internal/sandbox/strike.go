package sandbox

import (
	"io"
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
		if !f.fits(o, c.route, user) || !o.bears(c) || o.Kind == kindExpireTokens && !shows {
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
		f.struck[o.Kind+o.Row]++ // of which it has one
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

// bears tells whether the call has what the fault cuts.
func (o *ordered) bears(c *call) bool {
	switch o.Kind {
	case kindCutUpload:
		return c.route.streams && (c.req.ContentLength < 0 || c.req.ContentLength > o.After)
	case kindCutDownload:
		return c.isDownload()
	}
	return true
}

// showsToken is false for calls that need no token of ours, the exchange among
// them: there is nothing that "expireTokens" could end.
func (c *call) showsToken() bool {
	return (c.route.stage == stageSign || c.route.stage == stageCall) && c.presented() != nil
}

// meet lets a fault strike the call.
func (c *call) meet(f *Fault) reply {
	var a reply
	switch {
	case f.Row != "":
		c.drain()
		a = c.row(f.Row)
	case f.Kind == kindCut:
		return reply{cut: true}
	case f.Kind == kindLost:
		c.do()
		return reply{cut: true}
	case f.Kind == kindCutUpload:
		c.req.Body = &shortBody{c.req.Body, f.After}
		return c.do()
	case f.Kind == kindCutDownload:
		a = c.do()
		a.after = f.After
	case f.Kind == kindLate:
		a = c.do()
		if !c.wait(f.Delay) {
			return reply{cut: true}
		}
	case f.Kind == kindExpireTokens:
		if t := c.presented(); t != nil {
			t.revoked.Store(true)
		}
		a = c.do()
	default:
		c.drain()
		a = c.overload(f.Kind)
	}
	if f.RetryAfter != "" {
		a = a.with("Retry-After", f.RetryAfter)
	}
	return a
}

// shortBody breaks off as a body does whose connection is cut.
type shortBody struct {
	io.ReadCloser
	left int64
}

func (b *shortBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
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
