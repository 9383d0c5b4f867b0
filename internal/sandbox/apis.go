package sandbox

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
)

// A method is one of Discovery's that works here. All that Discovery states of it
// is checked before, of each alike.
type method struct {
	id   string
	door func(*call) *reply // who may come in; nil lets everybody in who has a scope
	do   func(*call) reply
	in   *intake // of methods that take media
}

// methods are all that work. Of the others that Discovery lists calls are
// checked, and then answered with 501.
func methods() []method {
	return slices.Concat(gmailMethods(), directoryMethods(), storageMethods(), calendarMethods(), taskMethods(), driveMethods(),
		documentMethods(), sheetMethods(), workspaceMethods(), cloudMethods())
}

// behind sets whom a group of methods lets in.
func behind(door func(*call) *reply, list ...method) []method {
	for i := range list {
		list[i].door = door
	}
	return list
}

// An apiSet makes the routes of each API when it is first called: most callers
// need one or two, and the facts of all take a while to read.
type apiSet struct {
	methods map[string]*method
	routers map[string]func() *router // by the API's name
}

func newAPISet() *apiSet {
	a := &apiSet{methods: map[string]*method{}, routers: map[string]func() *router{}}
	for _, m := range methods() {
		a.methods[m.id] = &m
	}
	table := discovery.New()
	for _, name := range table.Names() {
		a.routers[name] = sync.OnceValue(func() *router {
			api, _ := table.API(name)
			var list []*route
			for _, facts := range api.Methods {
				list = append(list, a.routesOf(facts)...)
			}
			slices.SortStableFunc(list, moreLiteral)
			return newRouter(list)
		})
	}
	return a
}

// stages are the calls that are implemented, as newFaults wants them.
func (a *apiSet) stages() map[string]string {
	out := map[string]string{}
	for id, m := range a.methods {
		out[id] = stageCall
		if m.in != nil {
			out[id+chunkSuffix] = stageCall
		}
	}
	return out
}

// sharedHosts are those of which the first label does not name the API, by what
// their paths begin with.
var sharedHosts = []struct{ host, prefix, api string }{
	{"admin.googleapis.com", "admin/directory", "directory"},
	{"admin.googleapis.com", "admin/directory", "admin"},
	{"admin.googleapis.com", "admin/reports", "reports"},
	{"admin.googleapis.com", "admin/datatransfer", "datatransfer"},
	{"sqladmin.googleapis.com", "", "sql"},
	{"www.googleapis.com", "calendar/v3", "calendar"},
	{"www.googleapis.com", "drive/v3", "drive"},
	{"www.googleapis.com", "groups/v1", "groupsSettings"},
	{"www.googleapis.com", "siteVerification/v1", "siteVerification"},
}

// find is the route of a call, whose address is "host/path".
func (a *apiSet) find(method, address, query string) (*route, []string) {
	host, path, _ := strings.Cut(address, "/")
	for _, prefix := range []string{"resumable/", "upload/", "download/"} {
		path = strings.TrimPrefix(path, prefix)
	}
	if name, ok := strings.CutSuffix(host, ".googleapis.com"); ok && a.routers[name] != nil {
		if rt, vars := a.routers[name]().find(method, address, query); rt != nil {
			return rt, vars
		}
	}
	for _, s := range sharedHosts {
		if s.host == host && strings.HasPrefix(path, s.prefix) {
			if rt, vars := a.routers[s.api]().find(method, address, query); rt != nil {
				return rt, vars
			}
		}
	}
	return nil, nil
}

// placeholders are what stands for a parameter in a path.
var placeholders = regexp.MustCompile(`\{\+?([A-Za-z0-9_]+)\}`)

// routesOf are the addresses of one method: its own, that for downloads, and those
// for uploads.
func (a *apiSet) routesOf(facts *discovery.Method) []*route {
	host := strings.TrimPrefix(facts.Root, "https://")
	own := &route{
		name: facts.ID, method: facts.HTTPMethod, path: host + facts.Path, facts: facts,
		stage: stageCall, limit: limitSmall, who: tokenUser, handle: (*call).methodMissing,
	}
	for _, m := range placeholders.FindAllStringSubmatch(facts.Path, -1) {
		own.names = append(own.names, m[1])
	}
	for _, s := range facts.Scopes {
		own.scopes = append(own.scopes, s.URL)
	}
	m := a.methods[facts.ID]
	if m == nil {
		return []*route{own}
	}
	own.admit, own.handle = m.door, m.do
	out := []*route{own}
	if facts.Download {
		download := *own
		download.path = host + "download/" + facts.Path
		out = append(out, &download)
	}
	if m.in != nil {
		in := *m.in
		in.accept = facts.Upload.Accept[0]
		in.limit = min(cmp.Or(facts.Upload.MaxSize, limitObject), limitObject)
		own.limit = in.limit/3*4 + limitSmall // base64 in JSON
		out = append(out, in.routes(own, host+facts.Upload.Simple, host+facts.Upload.Resumable)...)
	}
	return out
}

// moreLiteral puts an address with a word in some place before those with a
// parameter there, and the longer before the shorter.
func moreLiteral(a, b *route) int {
	as, bs := strings.Split(a.path, "/"), strings.Split(b.path, "/")
	for i := range min(len(as), len(bs)) {
		aw, bw := strings.HasPrefix(as[i], "{"), strings.HasPrefix(bs[i], "{")
		if aw != bw {
			if aw {
				return 1
			}
			return -1
		}
	}
	return cmp.Compare(len(b.path), len(a.path))
}

// admission makes the checks that all methods have in common. Their order is
// assumed: the token, what it may, the quota, the parameters, whom it is for, the body.
func (c *call) admission() *reply {
	if a := c.authorize(); a != nil {
		return a
	}
	if a := c.unitsDoor(); a != nil {
		return a
	}
	if a := c.checkParams(c.route.facts); a != nil {
		return a
	}
	if c.route.admit != nil {
		if a := c.route.admit(c); a != nil {
			return a
		}
	}
	if a := c.serviceDoor(); a != nil {
		return a
	}
	if c.route.takesMedia { // what is said of the media is checked where it is found
		return nil
	}
	return checkBody(c.route.facts, c.body)
}

// methodMissing is loud: nothing may seem to be done that is not.
func (c *call) methodMissing() reply {
	c.log.Error("sandbox: not implemented", "call", c.route.name)
	return refuseRPC(http.StatusNotImplemented, "sandbox: not implemented: "+c.route.name)
}

// arg is what stood in the path for a parameter.
func (c *call) arg(name string) string {
	if i := slices.Index(c.route.names, name); i >= 0 {
		return c.vars[i]
	}
	return ""
}

// wildcard is a path in which a parameter may hold slashes.
type wildcard struct {
	path *regexp.Regexp
	each []*regexp.Regexp // what the parameters must match; nil is anything
}

// newWildcard makes one of a template such as "v1/{+name}:close". What the
// parameters may be tells such paths from each other.
func newWildcard(path string, facts *discovery.Method) *wildcard {
	w := &wildcard{}
	var b strings.Builder
	end := 0
	for _, at := range placeholders.FindAllStringSubmatchIndex(path, -1) {
		b.WriteString(regexp.QuoteMeta(path[end:at[0]]))
		one := `([^/]+)`
		if path[at[0]+1] == '+' {
			one = `(.+)`
		}
		b.WriteString(one)
		end = at[1]
		var pattern *regexp.Regexp
		if p, ok := facts.Param(path[at[2]:at[3]]); ok && p.Type.Pattern != "" {
			pattern = regexp.MustCompile("^(?:" + p.Type.Pattern + ")$")
		}
		w.each = append(w.each, pattern)
	}
	b.WriteString(regexp.QuoteMeta(path[end:]))
	w.path = regexp.MustCompile("^" + b.String() + "$")
	return w
}

func (w *wildcard) match(path string) ([]string, bool) {
	m := w.path.FindStringSubmatch(strings.ReplaceAll(path, "%3A", ":"))
	if m == nil {
		return nil, false
	}
	vars := m[1:]
	for i, re := range w.each {
		plain, err := url.PathUnescape(vars[i])
		if err != nil || re != nil && !re.MatchString(plain) {
			return nil, false
		}
		vars[i] = plain
	}
	return vars, true
}
