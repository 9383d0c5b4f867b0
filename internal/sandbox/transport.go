package sandbox

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// RewriteTransport sends what is meant for https://HOST/PATH to base/HOST/PATH,
// for clients whose addresses cannot be set. Requests to base itself, such as
// the parts of a resumable upload, pass unchanged. A nil next is
// http.DefaultTransport.
func RewriteTransport(base string, next http.RoundTripper) (http.RoundTripper, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, fmt.Errorf("sandbox: base: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("sandbox: base: %q is not http://HOST:PORT", base)
	}
	if next == nil {
		next = http.DefaultTransport
	}
	return &rewrite{base: u, next: next}, nil
}

type rewrite struct {
	base *url.URL
	next http.RoundTripper
}

func (t *rewrite) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == t.base.Host {
		return t.next.RoundTrip(r)
	}
	to := r.Clone(r.Context())
	prefix := strings.TrimSuffix(t.base.EscapedPath(), "/") + "/" + r.URL.Host
	escaped := prefix + r.URL.EscapedPath()
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, fmt.Errorf("sandbox: address: %w", err)
	}
	// With both set, the escaping of the original goes out as it is: a %2F
	// within a name must not become a slash.
	to.URL.Scheme, to.URL.Host, to.Host = t.base.Scheme, t.base.Host, ""
	to.URL.Path, to.URL.RawPath, to.URL.Opaque = path, escaped, ""
	return t.next.RoundTrip(to)
}
