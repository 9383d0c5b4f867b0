package access

import (
	"net"
	"net/http"
	"net/url"
	"time"
)

// newTransport makes the one transport that all calls to Google share, so that
// all users share its connections. sandbox, unless empty, is the base URL that
// they go to instead.
func newTransport(sandbox string) http.RoundTripper {
	shared := &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		DialContext:       (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		ForceAttemptHTTP2: true,
		// A connection may die while the function's CPU is stopped. Without a ping
		// every later call on it would hang, too, and end in doubt.
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       90 * time.Second,
		// The library's default of 2 would open and close a connection for almost
		// each of an instance's concurrent calls.
		MaxIdleConnsPerHost: 256,
	}
	if sandbox == "" {
		return shared
	}
	shared.Proxy = nil // the sandbox is on this machine
	base, err := url.Parse(sandbox)
	if err != nil { // config has checked it
		panic("access: " + sandbox + " is no URL")
	}
	return sandboxTransport{base, shared}
}

// sandboxTransport sends a call to https://HOST/PATH to BASE/HOST/PATH. What is
// asked by plain http is not Google: an emulator that the settings name, or the
// sandbox itself.
type sandboxTransport struct {
	base *url.URL
	next http.RoundTripper
}

func (t sandboxTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return t.next.RoundTrip(r)
	}
	out, to := *r, *r.URL // a RoundTripper may not change the request that it is given
	to.Scheme, to.Host = t.base.Scheme, t.base.Host
	to.Path = t.base.Path + "/" + r.URL.Host + r.URL.Path
	if to.RawPath != "" {
		to.RawPath = t.base.EscapedPath() + "/" + r.URL.Host + r.URL.EscapedPath()
	}
	out.URL, out.Host = &to, to.Host
	return t.next.RoundTrip(&out)
}

// ownTransport makes each request the runtime's own.
type ownTransport struct {
	own  *Identity
	next http.RoundTripper
}

func (t ownTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	out := *r
	out.Header = r.Header.Clone()
	if err := t.own.Authorize(r.Context(), &out); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must
		}
		return nil, err
	}
	return t.next.RoundTrip(&out)
}

// noRedirect takes a redirect for the answer: no API of Google's sends one, and
// a token must not follow it.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
