package cloud

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// api is one of Google's.
type api struct {
	host     string // such as pubsub.googleapis.com, also the service's name
	override string // gcloud's name for it in api_endpoint_overrides
	title    string // as errors call it
	methods  []method
	always   bool // answers though it is not enabled
	regional bool // answers at REGION-host, too
}

// method is one of an API's.
type method struct {
	verb string // such as POST
	// path has {name} for a segment, which is put into call.vars, and {name=**} for
	// all that is left.
	path  string
	query string // the parameters that it knows, besides those that all know
	// body is what its body is decoded into, strictly: a pointer to a struct of
	// google.golang.org/api, which are generated from the Discovery documents. Nil:
	// it takes none.
	body any
	do   func(*Server, *call) (any, error)
}

// route is a method, ready to be matched.
type route struct {
	method
	api     api
	pattern *regexp.Regexp
	names   []string
}

// call is a request under way.
type call struct {
	r                  *http.Request
	api                api
	method, host, path string
	vars               map[string]string
	query              url.Values
	raw                []byte
	body               object // raw, when the method takes JSON
	fault              error  // ordered for the operation that the call starts
	direct             bool   // came over TLS, for want of an override
	unknown            bool   // there is no such method here
}

// region is that of the host, or empty.
func (c *call) region() string {
	region, _ := strings.CutSuffix(c.host, "-"+c.api.host)
	if region == c.host {
		return ""
	}
	return region
}

// key is the full name of a resource of the called API.
func (c *call) key(format string, args ...any) string {
	return "//" + c.api.host + "/" + fmt.Sprintf(format, args...)
}

// everywhere are the parameters that every method knows.
var everywhere = []string{"alt", "prettyPrint", "fields", "key", "quotaUser", "userIp", "access_token", "$.xgafv", "trace"}

var variable = regexp.MustCompile(`\{(\w+)(=\*\*)?\}`)

// routes compiles the tables of all APIs.
func routes() []route {
	var list []route
	for _, a := range apis() {
		for _, m := range a.methods {
			r := route{method: m, api: a}
			text, last := "", 0
			for _, at := range variable.FindAllStringSubmatchIndex(m.path, -1) {
				text += regexp.QuoteMeta(m.path[last:at[0]])
				if at[4] >= 0 {
					text += "(.+)"
				} else {
					text += "([^/:]+)"
				}
				r.names = append(r.names, m.path[at[2]:at[3]])
				last = at[1]
			}
			r.pattern = regexp.MustCompile("^" + text + regexp.QuoteMeta(m.path[last:]) + "$")
			list = append(list, r)
		}
	}
	return list
}

// find is the route of a call, whose variables are put into c.
func (s *Server) find(c *call) (*route, error) {
	known := false
	for i := range s.routes {
		r := &s.routes[i]
		if c.host != r.api.host && (!r.api.regional || !strings.HasSuffix(c.host, "-"+r.api.host)) {
			continue
		}
		known = true
		match := r.pattern.FindStringSubmatch(c.path)
		if match == nil || c.method != r.verb {
			continue
		}
		c.api, c.vars = r.api, map[string]string{}
		for i, name := range r.names {
			value, err := url.PathUnescape(match[i+1])
			if err != nil {
				return nil, invalid("Invalid path: %v.", err)
			}
			c.vars[name] = value
		}
		return r, nil
	}
	// Not 501, which says it best: gcloud would try again for a minute.
	c.unknown = true
	if !known {
		return nil, precondition("%s: this stand-in for Google Cloud has no such API.", c.host)
	}
	return nil, precondition("%s %s%s: this stand-in for Google Cloud has no such method.", c.method, c.host, c.path)
}

// answer does what is asked, and returns the status that was sent.
func (s *Server) answer(w http.ResponseWriter, c *call) int {
	result, err := s.do(c)
	var refused *apiError
	var raw rawError
	switch {
	case err == nil:
	case errors.As(err, &refused):
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		w.WriteHeader(refused.code)
		_, _ = w.Write(refused.body(c.host))
		return refused.code
	case errors.As(err, &raw):
		w.WriteHeader(raw.status)
		_, _ = w.Write([]byte(raw.body))
		return raw.status
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return http.StatusInternalServerError
	}
	text, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_, _ = w.Write(text)
	return http.StatusOK
}

// do finds the method, holds the request against what all methods ask for, and calls it.
func (s *Server) do(c *call) (any, error) {
	if err := s.strike(c); err != nil {
		return nil, err
	}
	r, err := s.find(c)
	if err != nil {
		return nil, err
	}
	if c.direct && c.host != "storage.googleapis.com" { // where gcloud reads logs, whatever the override
		c.unknown = true
		return nil, precondition("%s: no endpoint override leads to this stand-in for Google Cloud.", c.host)
	}
	if signed(c) {
		return r.do(s, c)
	}
	if c.r.Header.Get("Authorization") != "Bearer "+s.token {
		return nil, refuse(http.StatusUnauthorized, "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.")
	}
	if err := s.permits(c); err != nil {
		return nil, err
	}
	for name := range c.query {
		if !slices.Contains(everywhere, name) && !slices.Contains(strings.Fields(r.query), name) {
			return nil, invalid("Invalid JSON payload received. Unknown name %q: Cannot bind query parameter. Field '%s' could not be found in request message.", name, name)
		}
	}
	if err := c.decode(r.body); err != nil {
		return nil, err
	}
	return r.do(s, c)
}

// permits says whether the caller may use the API in the project, under which he may name
// it by its number, too.
func (s *Server) permits(c *call) error {
	if project, ok := c.vars["project"]; ok {
		if project != s.config.Project && project != s.config.Number && project != "-" {
			return foreign(c.api.host, project)
		}
		c.vars["project"] = s.config.Project
	}
	if !c.api.always && !s.enabled(c.api.host) {
		return s.disabled(c.api.host)
	}
	return nil
}

// decode reads the body, and refuses what the API has no field for.
func (c *call) decode(prototype any) error {
	if prototype == nil || len(bytes.TrimSpace(c.raw)) == 0 {
		c.body = object{}
		if prototype == nil && len(bytes.TrimSpace(c.raw)) > 0 && string(bytes.TrimSpace(c.raw)) != "{}" {
			return invalid("Invalid JSON payload received. The method takes no body.")
		}
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(c.raw))
	d.DisallowUnknownFields()
	if err := d.Decode(reflect.New(reflect.TypeOf(prototype).Elem()).Interface()); err != nil {
		name, unknown := strings.CutPrefix(err.Error(), "json: unknown field ")
		if unknown {
			return invalid("Invalid JSON payload received. Unknown name %s: Cannot find field.", name)
		}
		return invalid("Invalid JSON payload received. %v", err)
	}
	if err := json.Unmarshal(c.raw, &c.body); err != nil {
		return invalid("Invalid JSON payload received. %v", err)
	}
	return nil
}

// get is a resource that is there, or a 404.
func (s *Server) get(key string) (object, error) {
	if o, ok := s.state[key]; ok {
		return o, nil
	}
	return nil, notFound(key)
}

// vacant is the 409 for what is there already.
func (s *Server) vacant(key string) error {
	if _, ok := s.state[key]; ok {
		return refuse(http.StatusConflict, "Resource already exists in the project (resource=%s).", short(key))
	}
	return nil
}

func notFound(key string) *apiError {
	return refuse(http.StatusNotFound, "Resource not found (resource=%s).", short(key))
}

// short is a full resource name without its service.
func short(key string) string {
	_, name, _ := strings.Cut(strings.TrimPrefix(key, "//"), "/")
	return name
}

// remove takes away a resource and its policy, or is a 404.
func (s *Server) remove(key string) (any, error) {
	if _, err := s.get(key); err != nil {
		return nil, err
	}
	s.forget(key)
	return object{}, nil
}

func (s *Server) forget(key string) {
	delete(s.state, key)
	delete(s.policies, key)
}

// list is all resources directly below prefix, in the order of their names.
func (s *Server) list(prefix string) []any {
	found := []any{}
	for _, key := range slices.Sorted(maps.Keys(s.state)) {
		if rest, ok := strings.CutPrefix(key, prefix); ok && !strings.Contains(rest, "/") {
			found = append(found, s.state[key])
		}
	}
	return found
}

// Resource is a resource as its API answers it, by its full name, such as
// //pubsub.googleapis.com/projects/example-project/topics/jobs. Nil: it is not there.
func (s *Server) Resource(name string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.state[name]; ok {
		return clone(o)
	}
	return nil
}

// Names are the full names of all that is there, services that are enabled included.
func (s *Server) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.state))
}

// clone is a deep copy, by way of JSON, so that numbers are as if they had been sent.
func clone(o object) object {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err) // of what was decoded or will be sent
	}
	var copied object
	if err := json.Unmarshal(text, &copied); err != nil {
		panic(err)
	}
	return copied
}

// text is a field that is a string, or empty.
func text(o object, path ...string) string {
	s, _ := dig(o, path...).(string)
	return s
}

// dig is a field in fields, or nil.
func dig(o object, path ...string) any {
	var value any = o
	for _, name := range path {
		inner, ok := value.(object)
		if !ok {
			return nil
		}
		value = inner[name]
	}
	return value
}

// put sets a field in fields; nil takes it away.
func put(o object, value any, path ...string) {
	for _, name := range path[:len(path)-1] {
		inner, ok := o[name].(object)
		if !ok {
			inner = object{}
			o[name] = inner
		}
		o = inner
	}
	if value == nil {
		delete(o, path[len(path)-1])
		return
	}
	o[path[len(path)-1]] = value
}

var underscore = regexp.MustCompile(`_[a-z]`)

// camel is a field's name as JSON has it; masks may name it either way.
func camel(name string) string {
	return underscore.ReplaceAllStringFunc(name, func(s string) string { return strings.ToUpper(s[1:]) })
}

// merge copies from change to o what the mask names and nothing else: what the mask names
// and change has not is taken away.
func merge(o, change object, mask string) error {
	if mask == "" {
		return invalid("The update_mask in the Update request must be set.")
	}
	for _, field := range strings.Split(mask, ",") {
		path := strings.Split(field, ".")
		for i := range path {
			path[i] = camel(path[i])
		}
		put(o, dig(change, path...), path...)
	}
	return nil
}

// named are the maps in which an empty value says something: who made them chose the keys.
var named = []string{"labels", "userLabels", "environmentVariables", "attributes", "annotations"}

// prune takes away what says nothing, as Google's JSON does not have it: a number that is
// 0, a text or a map of the user's that is empty, a false. A message that is empty stays.
func prune(o object) {
	for field, value := range o {
		if message, ok := value.(object); ok && !slices.Contains(named, field) {
			prune(message)
			continue
		}
		list, _ := value.([]any)
		for _, item := range list {
			if message, ok := item.(object); ok {
				prune(message)
			}
		}
		if saysNothing(value) {
			delete(o, field)
		}
	}
}

func saysNothing(value any) bool {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() == 0
	case reflect.Invalid: // null
		return true
	default:
		return v.IsZero()
	}
}
