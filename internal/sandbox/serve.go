package sandbox

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
)

// ServeHTTP answers one request: find the call, count it, wait, let a fault
// strike or let the call take effect, answer.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	if strings.HasPrefix(path, controlPrefix) {
		s.serveControl(w, r, path)
		return
	}
	rt, vars := s.routes.find(r.Method, path, r.URL.RawQuery)
	if rt == nil {
		rt, vars = s.apis.find(r.Method, path, r.URL.RawQuery)
	}
	if rt == nil {
		s.send(w, r, s.unknown(r))
		return
	}
	s.calls.add(rt.name)
	c := &call{Server: s, req: r, route: rt, vars: vars, query: r.URL.Query()}
	a := c.answer()
	if a.cut {
		// The only way in net/http to end a connection without an answer.
		panic(http.ErrAbortHandler)
	}
	if s.log.Enabled(r.Context(), slog.LevelDebug) {
		s.log.Debug("sandbox: call", "call", rt.name, "status", a.status)
	}
	s.send(w, r, a)
}

// send dates the answer by the server's clock, since clients measure by it how
// far their own is off.
func (s *Server) send(w http.ResponseWriter, r *http.Request, a reply) {
	w.Header().Set("Date", s.now().UTC().Format(http.TimeFormat))
	a.send(w, r)
}

func (c *call) answer() reply {
	if !c.route.streams {
		if err := c.read(c.route.limit); err != nil {
			return c.unreadable(err)
		}
	}
	if user := c.mailUser(); user != "" {
		leave := c.quota.enter(user)
		if leave == nil {
			return c.overQuota("A12")
		}
		defer leave()
	}
	if c.isGoogle() && !c.wait(c.latency) {
		return reply{cut: true}
	}
	if f := c.faults.strike(c); f != nil {
		return c.meet(f)
	}
	return c.do()
}

// unreadable answers a body that is too large or that broke off.
func (c *call) unreadable(err error) reply {
	if !errors.Is(err, errTooLarge) {
		return reply{cut: true}
	}
	return c.tooLarge().with("Connection", "close") // the rest of the body is not read
}

func (c *call) tooLarge() reply {
	return c.refuse(http.StatusRequestEntityTooLarge, "uploadTooLarge", "Request Entity Too Large")
}

// isGoogle tells Google's APIs from the metadata server, whose pattern has
// no host.
func (c *call) isGoogle() bool {
	host, _, _ := strings.Cut(c.route.path, "/")
	return strings.Contains(host, ".")
}

// notImplemented is as loud where a call is known, and a part of it is not.
func (c *call) notImplemented(part string) reply {
	c.log.Error("sandbox: not implemented", "call", c.route.name, "part", part)
	return refuseRPC(http.StatusNotImplemented, "sandbox: not implemented: "+part+" of "+c.route.name)
}

// unknown is loud: what the sandbox does not know it must not seem to do.
func (s *Server) unknown(r *http.Request) reply {
	host, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	s.log.Error("sandbox: not implemented", "host", host, "method", r.Method, "path", "/"+path)
	return refuseRPC(http.StatusNotImplemented,
		fmt.Sprintf("sandbox: not implemented: host %q, method %s, path %q", host, r.Method, "/"+path))
}
