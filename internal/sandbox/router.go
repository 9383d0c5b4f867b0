package sandbox

import (
	"net/url"
	"slices"
	"strings"
)

// A route is one method of one API.
type route struct {
	name   string // of the call, as in Calls
	method string
	path   string // "host/literal/{}/{}:verb"; {} takes one segment
	needs  string // a query parameter without which the route does not match
	stage  string // whose rows of errors fit: exchange, sign, call, or none
	limit  int64  // of the request body in bytes
	params string // query parameters beside the standard ones, separated by blanks; "*" checks none
	scopes []string
	// who says whom the call concerns, for faults ordered for one user.
	who    func(*call) string
	admit  func(*call) *reply // what is checked before; nil checks nothing
	handle func(*call) reply
	// streams leaves the body to handle, which takes it in as it arrives: the
	// part of a broken upload that came is kept.
	streams bool
	segs    []string
}

// router finds routes by the number of segments of the escaped path.
type router struct {
	byLength map[int][]*route
	list     []*route
}

func newRouter(list []*route) *router {
	r := &router{byLength: map[int][]*route{}, list: list}
	for _, rt := range list {
		rt.segs = strings.Split(rt.path, "/")
		r.byLength[len(rt.segs)] = append(r.byLength[len(rt.segs)], rt)
	}
	return r
}

// names returns each call's name once.
func (r *router) names() []string {
	var out []string
	for _, rt := range r.list {
		if !slices.Contains(out, rt.name) {
			out = append(out, rt.name)
		}
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
