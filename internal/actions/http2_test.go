package actions_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
)

// Google is spoken to over TLS and HTTP/2, where one stream can end without its
// connection: the call goes out once, and a stream that ends early is in doubt.
func TestOverHTTP2(t *testing.T) {
	var stored atomic.Int32
	var abort atomic.Bool
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.Host != "gmail.googleapis.com" || r.Header.Get("Authorization") != "Bearer ada" {
			t.Errorf("%s %s", r.Proto, r.Host)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		stored.Add(1)
		if abort.Load() {
			panic(http.ErrAbortHandler) // resets the stream
		}
		_, _ = io.WriteString(w, `{"id": "18c", "threadId": "18c"}`)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	transport := to(t, server)

	if answer, err := insert(t, transport, ""); err != nil || answer != `{"id": "18c", "threadId": "18c"}` {
		t.Errorf("%s, %v", answer, err)
	}
	abort.Store(true)
	_, err := insert(t, transport, "")
	var e *actions.Error
	if !errors.As(err, &e) || !e.Doubtful {
		t.Errorf("a stream that was reset: %#v", err)
	}
	if n := stored.Load(); n != 2 {
		t.Errorf("%d letters arrived; two calls were made", n)
	}
}

// to is a transport that takes a server for Google, over TLS.
func to(t *testing.T, server *httptest.Server) *http.Transport {
	t.Helper()
	transport, ok := server.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatal("the server's client has another transport")
	}
	transport.TLSClientConfig.ServerName = "example.com" // whom the server's certificate is for
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
	return transport
}
