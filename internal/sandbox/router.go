package sandbox

import (
	"net/url"
	"strings"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
)

// A route is one address of a call.
type route struct {
	name   string // of the call, as in Calls
	method string
	path   string // "host/literal/{x}/{}:verb/{+y}"; {x} and {} take one segment, {+y} at least one
	needs  string // a query parameter without which the route does not match
	stage  string // whose rows of errors fit: exchange, sign, call, or none
	limit  int64  // of the request body in bytes
	scopes []string
	names  []string          // of the parameters in the path
	facts  *discovery.Method // nil: it is no method of Discovery's
	// who says whom the call concerns, for faults ordered for one user.
	who    func(*call) string
	admit  func(*call) *reply // who may come in; nil lets everybody in
	handle func(*call) reply
	// streams leaves the body to handle, which takes it in as it arrives: the
	// part of a broken upload that came is kept.
	streams    bool
	takesMedia bool
	segs       []string
	wild       *wildcard // where the path has a {+y}
}

// router finds routes by the number of segments of the escaped path.
type router struct {
	byLength map[int][]*route
	wild     []*route
	list     []*route
}

func newRouter(list []*route) *router {
	r := &router{byLength: map[int][]*route{}, list: list}
	for _, rt := range list {
		if strings.Contains(rt.path, "{+") {
			rt.wild = newWildcard(rt.path, rt.facts)
			r.wild = append(r.wild, rt)
			continue
		}
		rt.segs = strings.Split(placeholders.ReplaceAllString(rt.path, "{}"), "/")
		r.byLength[len(rt.segs)] = append(r.byLength[len(rt.segs)], rt)
	}
	return r
}

// stages are the calls by name, each with its stage.
func (r *router) stages() map[string]string {
	out := map[string]string{}
	for _, rt := range r.list {
		out[rt.name] = rt.stage
	}
	return out
}

// find matches an escaped path without its first slash and returns what
// stood for each {}. Literal segments come before {} in the list's order.
func (r *router) find(method, path, query string) (*route, []string) {
	var buf [16]string
	segs := splitInto(buf[:0], path)
	for _, rt := range r.byLength[len(segs)] {
		if rt.method != method || !strings.Contains(query, rt.needs) {
			continue
		}
		if vars, ok := rt.match(segs); ok {
			return rt, vars
		}
	}
	for _, rt := range r.wild {
		if rt.method != method || !strings.Contains(query, rt.needs) {
			continue
		}
		if vars, ok := rt.wild.match(path); ok {
			return rt, vars
		}
	}
	return nil, nil
}

func splitInto(segs []string, path string) []string {
	for {
		head, tail, more := strings.Cut(path, "/")
		segs = append(segs, head)
		if !more {
			return segs
		}
		path = tail
	}
}

func (rt *route) match(segs []string) ([]string, bool) {
	for i, pattern := range rt.segs {
		if _, ok := capture(pattern, segs[i]); !ok {
			return nil, false
		}
	}
	var vars []string
	for i, pattern := range rt.segs {
		if v, _ := capture(pattern, segs[i]); strings.HasPrefix(pattern, "{}") {
			plain, err := url.PathUnescape(v)
			if err != nil {
				return nil, false
			}
			vars = append(vars, plain)
		}
	}
	return vars, true
}

// capture matches one segment. Google's verbs stand behind a colon, which
// some clients escape.
func capture(pattern, seg string) (string, bool) {
	verb, wild := strings.CutPrefix(pattern, "{}")
	if !wild {
		return "", pattern == seg
	}
	if verb == "" {
		return seg, seg != ""
	}
	if v, ok := strings.CutSuffix(seg, verb); ok {
		return v, v != ""
	}
	v, ok := strings.CutSuffix(seg, "%3A"+verb[1:])
	return v, ok && v != ""
}
