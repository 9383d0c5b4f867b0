package sandbox_test

import (
	"net/http"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRewriteTransport(t *testing.T) {
	for from, want := range map[string]string{
		"https://a.example/b/c%2Fd?q=%2F": "http://127.0.0.1:1/a.example/b/c%2Fd?q=%2F",
		"https://a.example":               "http://127.0.0.1:1/a.example",
		"https://a.example/x:verb":        "http://127.0.0.1:1/a.example/x:verb",
		"http://127.0.0.1:1/a.example/up": "http://127.0.0.1:1/a.example/up",
	} {
		rt, err := sandbox.RewriteTransport("http://127.0.0.1:1/", tripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.String() != want || r.Host != "" && r.Host != "127.0.0.1:1" {
				t.Errorf("%s → %s (%s), want %s", from, r.URL, r.Host, want)
			}
			return &http.Response{StatusCode: http.StatusOK}, nil
		}))
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, from, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := rt.RoundTrip(r) //nolint:bodyclose // it has none
		if err != nil || res.StatusCode != http.StatusOK || r.URL.String() != from {
			t.Errorf("%v, request now %s", err, r.URL)
		}
	}
	for _, bad := range []string{"", "127.0.0.1:1", "ftp://x", "http://x?y", "http://x#y", "://"} {
		if _, err := sandbox.RewriteTransport(bad, nil); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
