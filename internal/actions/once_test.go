package actions_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
)

// A server that resets a stream with PROTOCOL_ERROR gets a call that is not to be
// made twice once, with a body and without: Go's transport would send it again, and
// again.
func TestOnceOverHTTP2(t *testing.T) {
	address, requests := resetting(t, http2.ErrCodeProtocol)
	a := newActions(t, overHTTP2(t, address))
	for _, job := range []string{
		`"calendar.events.quickAdd","params":{"calendarId":"primary","text":"Lunch"}`,
		`"calendar.calendars.insert","body":{"summary":"Mine"}`,
	} {
		requests.Store(0)
		_, err := do(t, a, `{"user":"ada@example.com","action":`+job+`}`)
		var e *actions.Error
		if !errors.As(err, &e) || !e.Doubtful || requests.Load() != 1 {
			t.Errorf("%s: %d requests, %#v; want one, in doubt", job, requests.Load(), err)
		}
	}
}

// A stream that is refused was not looked at, and is opened once more.
func TestRefusedStreamIsNoDoubt(t *testing.T) {
	address, requests := resetting(t, http2.ErrCodeRefusedStream)
	_, err := do(t, newActions(t, overHTTP2(t, address)), `{"user":"ada@example.com","action":"calendar.events.quickAdd","params":{"calendarId":"primary","text":"Lunch"}}`)
	if err != nil || requests.Load() != 2 {
		t.Errorf("%d requests, %#v; want a second one to succeed", requests.Load(), err)
	}
}

func overHTTP2(t *testing.T, address string) *http.Transport {
	t.Helper()
	transport := &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the test's own server
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// resetting is a server that takes the header of each request, and resets its stream
// so: each of them with PROTOCOL_ERROR, otherwise the first.
func resetting(t *testing.T, code http2.ErrCode) (address string, requests *atomic.Int32) {
	t.Helper()
	certified := httptest.NewUnstartedServer(nil)
	certified.EnableHTTP2 = true
	certified.StartTLS()
	t.Cleanup(certified.Close)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certified.TLS.Certificates, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	requests = new(atomic.Int32)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go reset(conn, code, requests)
		}
	}()
	return listener.Addr().String(), requests
}

func reset(conn net.Conn, code http2.ErrCode, requests *atomic.Int32) {
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	frames := http2.NewFramer(conn, conn)
	_ = frames.WriteSettings()
	for {
		frame, err := frames.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = frames.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			if requests.Add(1) == 1 || code == http2.ErrCodeProtocol {
				_ = frames.WriteRSTStream(frame.StreamID, code)
				continue
			}
			var header bytes.Buffer
			_ = hpack.NewEncoder(&header).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
			_ = frames.WriteHeaders(http2.HeadersFrameParam{StreamID: frame.StreamID, BlockFragment: header.Bytes(), EndHeaders: true})
			_ = frames.WriteData(frame.StreamID, true, []byte("{}"))
		}
	}
}

// A lost answer leaves a doubt about whatever may have changed something; what that
// doubt means goes by the class.
func TestDoubtGoesByTheClass(t *testing.T) {
	for job, doubtful := range map[string]bool{
		`"calendar.events.quickAdd","params":{"calendarId":"primary","text":"Lunch"}`:                                  true, // has no body
		`"calendar.calendars.insert","body":{"summary":"x"}`:                                                           true,
		`"calendar.events.patch","params":{"calendarId":"c","eventId":"e","sendUpdates":"all"},"body":{"summary":"x"}`: true, // mails the guests
		`"calendar.events.patch","params":{"calendarId":"c","eventId":"e"},"body":{"summary":"x"}`:                     true,
		`"calendar.events.delete","params":{"calendarId":"c","eventId":"e","sendUpdates":"none"}`:                      true,
		`"gmail.users.settings.updateVacation","body":{"enableAutoReply":true}`:                                        true,
		`"gmail.users.messages.trash","params":{"id":"1"}`:                                                             true,
		`"gmail.users.labels.list"`: false,
		`"calendar.freebusy.query","body":{"timeMin":"2026-11-30T00:00:00Z","timeMax":"2026-12-01T00:00:00Z","items":[{"id":"a"}]}`: false,
	} {
		for _, g := range []*google{{status: 503, body: "{}"}, {status: 200, body: "{"}} {
			_, err := do(t, newActions(t, g), `{"user":"ada@example.com","action":`+job+`}`)
			var e *actions.Error
			if !errors.As(err, &e) || e.Doubtful != doubtful {
				t.Errorf("%s, HTTP %d: got %#v; want doubtful %t", job, g.status, err, doubtful)
			}
		}
		// What is not there was not done, and needs no doubt.
		_, err := do(t, newActions(t, &google{status: 501, body: `{"error":{"status":"UNIMPLEMENTED"}}`}), `{"user":"ada@example.com","action":`+job+`}`)
		var e *actions.Error
		if !errors.As(err, &e) || e.Doubtful || e.Reason != "UNIMPLEMENTED" {
			t.Errorf("%s, HTTP 501: got %#v", job, err)
		}
	}
}

// Who answers before all has arrived, and closes, meets a transport that goes on
// reading a letter whose next part is still being asked for.
func TestAnEarlyAnswerWhileALetterIsRead(t *testing.T) {
	letters := &oneObject{data: make([]byte, 3<<20)}
	waiting := roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.URL.Query().Get("alt") == "media" {
			select { // longer than the answer takes
			case <-time.After(30 * time.Millisecond):
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}
		return letters.RoundTrip(r)
	})
	for _, overHTTP2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				w.Header().Set("Location", "https://gmail.googleapis.com/session")
				return
			}
			_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
			w.WriteHeader(http.StatusForbidden)
		}))
		server.EnableHTTP2 = overHTTP2
		server.StartTLS()
		a, err := actions.New(t.Context(), actions.Config{HTTP: &http.Client{Transport: to(t, server)}, Own: &http.Client{Transport: waiting}})
		if err != nil {
			t.Fatal(err)
		}
		part := `{"name":"a.bin","uri":"gs://bucket/object"}`
		for range 5 {
			_, err = do(t, a, `{"user":"ada@example.com","action":"gmail.users.messages.send","message":{"compose":{"to":["g@example.com"],"text":"x","attachments":[`+strings.Join([]string{part, part, part}, ",")+`]}}}`)
			var e *actions.Error
			if !errors.As(err, &e) || e.Doubtful {
				t.Errorf("HTTP/2 %t: got %#v", overHTTP2, err)
			}
		}
		server.Close()
	}
}
