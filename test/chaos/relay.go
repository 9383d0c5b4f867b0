package main

import (
	"context"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"sync"

	"google.golang.org/grpc/codes"
)

// relay stands between the functions and an emulator: it counts the requests by
// method, and loses some on their way, or what is answered to them.
type relay struct {
	name   string
	server *http.Server
	host   string // HOST:PORT
	proxy  *httputil.ReverseProxy

	mu    sync.Mutex
	dice  *rand.Rand
	share float64 // of the requests that get lost, and as many of the answers
	count map[string]int
	lost  int
}

func startRelay(ctx context.Context, s settings, name, to string) (*relay, error) {
	r := &relay{name: name, dice: s.dice("relay", name), share: s.storeShare, count: map[string]int{}}
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	r.proxy = &httputil.ReverseProxy{
		Rewrite:       func(p *httputil.ProxyRequest) { p.SetURL(&url.URL{Scheme: "http", Host: to}) },
		Transport:     transport,
		FlushInterval: -1,                         // a stream's messages go on as they come
		ErrorLog:      log.New(io.Discard, "", 0), // of requests of killed processes
	}
	var err error
	r.server, r.host, err = serve(ctx, r)
	return r, err
}

// ServeHTTP carries one request, which gets lost on its way or whose answer does,
// as drawn.
func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	switch r.arrived(path.Base(req.URL.Path)) {
	case requestLost:
		_, _ = io.Copy(io.Discard, req.Body) // or HTTP/2 says that it was not wanted
		unavailable(w)
	case answerLost:
		r.proxy.ServeHTTP(&nowhere{header: http.Header{}}, req)
		unavailable(w)
	case carried:
		r.proxy.ServeHTTP(w, req)
	}
}

// fate is what becomes of a request.
type fate int

const (
	carried fate = iota
	requestLost
	answerLost
)

// arrived counts a request, and draws what becomes of it.
func (r *relay) arrived(method string) fate {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count[method]++
	x := r.dice.Float64()
	if x < 2*r.share {
		r.lost++
	}
	switch {
	case x < r.share:
		return requestLost
	case x < 2*r.share:
		return answerLost
	}
	return carried
}

// calm has nothing get lost from now on.
func (r *relay) calm() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.share = 0
}

// counts are the requests by method, and how many got lost.
func (r *relay) counts() (map[string]int, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]int{}
	for method, n := range r.count {
		out[method] = n
	}
	return out, r.lost
}

func (r *relay) close() { _ = r.server.Close() }

// unavailable is what gRPC makes of a broken connection.
func unavailable(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Grpc-Status", "14")
	w.Header().Set("Grpc-Message", codes.Unavailable.String())
	w.WriteHeader(http.StatusOK)
}

// nowhere is where a lost answer goes.
type nowhere struct{ header http.Header }

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}
