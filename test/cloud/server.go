// Package cloud stands in for Google Cloud's control plane, for the real gcloud and bq: it
// records what they ask for, keeps it, and answers and refuses as the real APIs do.
//
// gcloud sends every API to a host of its own, Cloud Run to one in each region, and no
// override of an endpoint can say that with a port of this machine. So the server is also
// gcloud's proxy: the overrides name the real hosts below [top] in place of googleapis.com,
// over plain HTTP. Nobody has that domain, so what goes past the proxy goes nowhere; and
// who asks the proxy for googleapis.com itself, for want of an override, is told so.
package cloud

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// top is the domain that the overrides have in place of googleapis.com. Nothing in .test
// ever resolves (RFC 6761).
const top = "googleapis.test"

// Config is a project before anybody has done anything in it.
type Config struct {
	Project string   // its id, such as example-project
	Number  string   // its number
	Enabled []string // the services that are on, such as pubsub.googleapis.com
	// Log is told of each request when it is answered. Nil: nobody is.
	Log func(Request)
}

// Empty is a project as it is made, with what is always on.
func Empty() Config {
	return Config{
		Project: "example-project",
		Number:  "123456789012",
		Enabled: []string{
			"bigquery.googleapis.com", "cloudapis.googleapis.com", "cloudresourcemanager.googleapis.com",
			"datastore.googleapis.com", "logging.googleapis.com", "monitoring.googleapis.com",
			"servicemanagement.googleapis.com", "serviceusage.googleapis.com", "storage.googleapis.com",
		},
	}
}

// Server is Google Cloud, with one project.
type Server struct {
	URL string // such as http://127.0.0.1:8080

	config    Config
	token     string // what a caller must show
	secret    string // what the URLs for uploads are signed with
	routes    []route
	authority *authority
	http      *http.Server

	mu         sync.Mutex
	requests   []Request
	faults     []*Fault
	state      map[string]object  // by full resource name
	policies   map[string]*policy // likewise
	operations map[string]*operation
	uploads    map[string][]byte // objects of the bucket for sources
	published  map[string][]delivery
	serial     int            // of whatever needs a new name
	unseen     map[string]int // how often what was just made is not yet known
	youth      int            // that of what is made now
}

// object is a resource as its API has it.
type object = map[string]any

// Start serves the project on a loopback address, such as 127.0.0.1:0, until ctx ends.
func Start(ctx context.Context, address string, config Config) (*Server, error) {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("address %q: want a loopback address with a port, such as 127.0.0.1:0", address)
	}
	authority, err := newAuthority()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &Server{
		URL:        "http://" + listener.Addr().String(),
		config:     config,
		token:      "placeholder-" + rand.Text(),
		secret:     rand.Text(),
		routes:     routes(),
		authority:  authority,
		state:      map[string]object{},
		policies:   map[string]*policy{},
		operations: map[string]*operation{},
		uploads:    map[string][]byte{},
		published:  map[string][]delivery{},
		unseen:     map[string]int{},
	}
	s.makeProject()
	for _, name := range config.Enabled {
		s.enable(name)
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	context.AfterFunc(ctx, func() { _ = s.http.Close() })
	go func() { _ = s.http.Serve(listener) }()
	return s, nil
}

// Environ is what must be in the environment of a process that runs gcloud or bq, and the
// files for it, which are written into dir: nothing of the machine's own configuration or
// credentials is read, and every way out leads to s.
func (s *Server) Environ(dir string) ([]string, error) {
	token, bigqueryrc, trusted := filepath.Join(dir, "access-token"), filepath.Join(dir, "bigqueryrc"), filepath.Join(dir, "authority.pem")
	files := map[string]string{token: s.token, bigqueryrc: s.bigqueryrc(), trusted: s.authority.pem()}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	env := []string{
		"CLOUDSDK_CONFIG=" + filepath.Join(dir, "gcloud"),
		"CLOUDSDK_AUTH_ACCESS_TOKEN_FILE=" + token,
		"CLOUDSDK_CORE_ACCOUNT=admin@example.com",
		"CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE=" + trusted,
		"CLOUDSDK_CORE_CHECK_GCE_METADATA=false",
		"CLOUDSDK_CORE_DISABLE_PROMPTS=1",
		"CLOUDSDK_CORE_DISABLE_USAGE_REPORTING=true",
		"CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK=true",
		"CLOUDSDK_SURVEY_DISABLE_PROMPTS=true",
		"GOOGLE_APPLICATION_CREDENTIALS=",
		"NO_GCE_CHECK=true",
		"GCE_METADATA_HOST=metadata." + top,
		"BIGQUERYRC=" + bigqueryrc,
		"NO_PROXY=", "no_proxy=", "ALL_PROXY=", "all_proxy=",
	}
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		env = append(env, name+"="+s.URL)
	}
	for _, api := range apis() {
		if api.override != "" {
			env = append(env, fmt.Sprintf("CLOUDSDK_API_ENDPOINT_OVERRIDES_%s=http://%s/", strings.ToUpper(api.override), strings.Replace(api.host, "googleapis.com", top, 1)))
		}
	}
	return env, nil
}

// bigqueryrc is bq's configuration: its endpoint and the token, for which it has no
// variables. At any endpoint but Google's bq would ask for the description of the API, so
// it is told to take the one that it brings, which lies beside it.
func (s *Server) bigqueryrc() string {
	lines := fmt.Sprintf("api = http://bigquery.%s\noauth_access_token = %s\n", top, s.token)
	bq, err := exec.LookPath("bq")
	if err == nil {
		bq, err = filepath.EvalSymlinks(bq)
	}
	if err != nil {
		return lines
	}
	return lines + "discovery_file = " + filepath.Join(filepath.Dir(bq), "..", "platform", "bq", "discovery_next", "bigquery.json") + "\n"
}

// Request is one that arrived.
type Request struct {
	Method string
	Host   string // of googleapis.com, such as europe-west1-run.googleapis.com
	Path   string // as it arrived, still escaped
	Query  url.Values
	Body   []byte
	Status int // of the answer
	// Unknown is set where there is no such API or method here, and so the answer is not
	// what Google's would be.
	Unknown bool
}

// String is the request as one line, without what it carries.
func (r Request) String() string {
	query := ""
	if len(r.Query) > 0 {
		query = "?" + r.Query.Encode()
	}
	return fmt.Sprintf("%s %s%s%s %d", r.Method, r.Host, r.Path, query, r.Status)
}

// reading are the methods that change nothing though they are sent by POST.
var reading = regexp.MustCompile(`:(getIamPolicy|testIamPermissions|queryGrantableRoles|queryTestablePermissions|list)$`)

// Mutates says whether the request asks for a change.
func (r Request) Mutates() bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead && !reading.MatchString(r.Path)
}

// Requests are all that arrived, in their order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Fault is an answer in place of the true one.
type Fault struct {
	Method string         // of the requests that get it; empty: of any
	Path   *regexp.Regexp // of host and path, such as pubsub.googleapis.com/v1/projects/…
	After  int            // how many of them are spared before
	Times  int            // how many of them get it; 0: one
	// Status is that of the answer, such as 403. What is 429, or 500 and above, gcloud
	// asks again for, seven times.
	Status int
	Body   string // empty: one in Google's form
	// Later lets the request itself be taken, and the operation fail that it starts.
	Later bool
}

// Fail orders a fault. Of several that fit a request the first one strikes.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Times = max(f.Times, 1)
	s.faults = append(s.faults, &f)
}

// strike is the answer of a fault that was ordered, or nil.
func (s *Server) strike(c *call) error {
	for _, f := range s.faults {
		switch {
		case f.Times == 0 || f.Method != "" && f.Method != c.method || !f.Path.MatchString(c.host+c.path):
			continue
		case f.After > 0:
			f.After--
			continue
		}
		f.Times--
		var fault error = refuse(f.Status, "The fault that was ordered.")
		if f.Body != "" {
			fault = rawError{status: f.Status, body: f.Body}
		}
		if f.Later {
			c.fault = fault
			return nil
		}
		return fault
	}
	return nil
}

// ServeHTTP answers a request to the proxy, or one whose path begins with the host, as in
// http://127.0.0.1:8080/pubsub.googleapis.com/v1/….
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		s.connect(w, r)
		return
	}
	host, path := r.URL.Host, r.URL.EscapedPath()
	if host == "" {
		host, path, _ = strings.Cut(strings.TrimPrefix(path, "/"), "/")
		path = "/" + path
	}
	host, _, _ = strings.Cut(host, ":")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	c := &call{r: r, method: r.Method, host: host, path: path, query: r.URL.Query(), raw: body}
	if under, ours := strings.CutSuffix(host, top); ours {
		c.host = under + "googleapis.com"
	}
	c.direct = r.TLS != nil
	status := s.answer(w, c)
	s.record(Request{Method: c.method, Host: c.host, Path: c.path, Query: c.query, Body: body, Status: status, Unknown: c.unknown})
}

func (s *Server) record(r Request) {
	s.requests = append(s.requests, r)
	if s.config.Log != nil {
		s.config.Log(r)
	}
}
