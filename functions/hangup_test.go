package functions_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// gate stands before the sandbox and holds inserts up.
type gate struct{ arrived, open chan struct{} }

// gated is a rig whose inserts wait at a gate.
func gated(t *testing.T) (*rig, *gate) {
	t.Helper()
	g := &gate{arrived: make(chan struct{}, 10), open: make(chan struct{})}
	return setup(t, func(cfg *config.Config, _ *functions.Options) {
		before(t, cfg, func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.HasPrefix(r.URL.Path, "/gmail.googleapis.com/") {
				g.arrived <- struct{}{}
				<-g.open
			}
			return false
		})
	}), g
}

// before puts a server before the sandbox; answers tells whether it has
// answered the request itself.
func before(t *testing.T, cfg *config.Config, answers func(http.ResponseWriter, *http.Request) bool) {
	t.Helper()
	between(t, cfg, answers, nil)
}

// between is before, and may change what the sandbox answers.
func between(t *testing.T, cfg *config.Config, answers func(http.ResponseWriter, *http.Request) bool, change func(*http.Response) error) {
	t.Helper()
	to, err := url.Parse(cfg.Sandbox)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	proxy := &httputil.ReverseProxy{Transport: transport, ErrorLog: log.New(io.Discard, "", 0), Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }, ModifyResponse: change}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answers(w, r) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() { server.Close(); transport.CloseIdleConnections() })
	cfg.Sandbox = server.URL
}

func event(t *testing.T, ctx context.Context, job string) *http.Request { //nolint:revive // t first, as in all helpers
	t.Helper()
	body := fmt.Sprintf(`{"message":{"data":%q,"messageId":"1"}}`, base64.StdEncoding.EncodeToString([]byte(job)))
	return httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(body))
}

// A caller who hangs up in the middle of the call does not break it off: the
// job ends with a clear result.
func TestTheCallerHangsUpInTheCall(t *testing.T) {
	r, g := gated(t)
	ctx, hangUp := context.WithCancel(t.Context())
	done := make(chan int)
	go func() {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, event(t, ctx, insert("j", "ada@example.com", plainLetter)))
		done <- w.Code
	}()
	<-g.arrived
	hangUp()
	close(g.open)
	if status := <-done; status != http.StatusOK {
		t.Errorf("HTTP %d", status)
	}
	if got := r.last(t); got.Status != jobs.Succeeded || len(r.google.Letters("ada@example.com")) != 1 {
		t.Errorf("%+v %+v", got, got.Error)
	}
}

// While one delivery is at a job another is sent away, and comes again.
func TestAJobIsHeldWhileItIsDone(t *testing.T) {
	r, g := gated(t)
	job := insert("j", "ada@example.com", plainLetter)
	done := make(chan int)
	go func() {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, event(t, t.Context(), job))
		done <- w.Code
	}()
	<-g.arrived
	if status := r.deliver(t, "2", job); status != http.StatusTooManyRequests {
		t.Errorf("meanwhile HTTP %d", status)
	}
	close(g.open)
	if status := <-done; status != http.StatusOK {
		t.Errorf("HTTP %d", status)
	}
	if status := r.deliver(t, "2", job); status != http.StatusOK || len(r.results.all()) != 2 {
		t.Errorf("then HTTP %d, %d results", status, len(r.results.all()))
	}
	r.wantCalls(t, 1, 1, 1)
}

// Where the deadline is short the call ends before it, so that there is time to
// settle: in doubt, for the request had arrived.
func TestTheCallEndsBeforeTheDeadline(t *testing.T) {
	r, g := gated(t)
	defer close(g.open)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	w := httptest.NewRecorder()
	r.ServeHTTP(w, event(t, ctx, insert("j", "ada@example.com", plainLetter)))
	if w.Code != http.StatusServiceUnavailable || ctx.Err() != nil || len(r.results.all()) != 0 {
		t.Errorf("HTTP %d, the deadline: %v", w.Code, ctx.Err())
	}
	if line := r.logs.attempts(t)[0]; line["reason"] != "timedOut" || line["inDoubt"] != true || line["notBefore"] == nil {
		t.Errorf("%v", line)
	}
}

// A letter that is cut off on its way from Cloud Storage is not inserted.
func TestALetterCutOffOnItsWay(t *testing.T) {
	var whole atomic.Bool
	r := setup(t, func(cfg *config.Config, _ *functions.Options) {
		before(t, cfg, func(w http.ResponseWriter, r *http.Request) bool {
			if whole.Load() || r.URL.Query().Get("alt") != "media" {
				return false
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(plainLetter)))
			_, _ = io.WriteString(w, plainLetter[:20])
			panic(http.ErrAbortHandler)
		})
	})
	job := insert("j", "ada@example.com", "", "message", map[string]any{"uri": "gs://letters/welcome.eml"})
	if status := r.deliver(t, "1", job); status != http.StatusServiceUnavailable {
		t.Errorf("HTTP %d", status)
	}
	whole.Store(true)
	if status := r.deliver(t, "1", job); status != http.StatusOK || string(r.google.Letters("ada@example.com")[0].Raw) != plainLetter {
		t.Errorf("then HTTP %d", status)
	}
}
