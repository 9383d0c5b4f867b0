package sandbox_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// A test starts a server of its own, orders what shall go wrong, and sends
// clients there that know nothing of it.
func Example() {
	s, err := sandbox.New(sandbox.DefaultWorld(), sandbox.Options{KeyBits: 1024})
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := httptest.NewServer(s)
	defer srv.Close()
	if err := s.Order(sandbox.Fault{Kind: "5xx", Call: "keys.jwk", Times: 1}); err != nil {
		fmt.Println(err)
		return
	}
	rewrite, err := sandbox.RewriteTransport(srv.URL, srv.Client().Transport)
	if err != nil {
		fmt.Println(err)
		return
	}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet,
		"https://www.googleapis.com/service_accounts/v1/metadata/jwk/onbehalf@onbehalf-sandbox.iam.gserviceaccount.com", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: rewrite}
	for range 2 {
		res, err := client.Do(request)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(res.Status, res.Body.Close())
	}
	fmt.Println(s.Calls())
	// Output:
	// 503 Service Unavailable <nil>
	// 200 OK <nil>
	// map[keys.jwk:2]
}
