package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/test/process"
)

func TestServesUntilItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, in := io.Pipe()
	var log process.Log
	ended := make(chan error)
	go func() {
		ended <- run(ctx, []string{"--project", "another-project", "--enable", "pubsub.googleapis.com"}, in, &log)
	}()
	url := ""
	for lines := bufio.NewScanner(out); url == "" && lines.Scan(); {
		url, _ = strings.CutPrefix(lines.Text(), "HTTPS_PROXY=")
		if !strings.HasPrefix(url, "http://127.0.0.1:") {
			url = ""
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/pubsub.googleapis.com/v1/projects/another-project/topics", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("a request without the token: %d; want 401", response.StatusCode)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("run() = %v; want nil once it is stopped", err)
	}
	if want := "GET pubsub.googleapis.com/v1/projects/another-project/topics 401\n"; log.String() != want {
		t.Errorf("the log is %q; want %q", log.String(), want)
	}
}

func TestRefusesWhatItCannotServe(t *testing.T) {
	for _, args := range [][]string{{"--listen", "0.0.0.0:0"}, {"--nothing"}} {
		if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
			t.Errorf("run(%q) = nil; want an error", args)
		}
	}
}
