package test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
	"github.com/onbehalf-dev/onbehalf/test/process"
)

// memoryBound is what a letter of any length may cost the process that sends it,
// at its peak, in bytes.
const memoryBound = 32 << 20

// A letter of the greatest length that Gmail takes goes from a storage server that
// is none of ours into the mailbox, unchanged, though its connection to Gmail
// breaks twice and that to the storage once; and it is never held as a whole.
func TestTheLongestLetterThroughBrokenConnections(t *testing.T) {
	t.Parallel()
	letter := make([]byte, 150<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(letter)
	copy(letter, "Message-ID: <long@example.com>\r\nFrom: archive@example.com\r\nTo: ada@example.com\r\nSubject: The scans\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n")
	storage := storageServer(t)
	store(t, storage, "short.eml", letter[:1000])
	store(t, storage, "long.eml", letter)
	breaking := httptest.NewServer(breakOnce(t, storage, 60<<20))
	t.Cleanup(breaking.Close)

	google, err := sandbox.New(sandbox.DefaultWorld(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(google)
	t.Cleanup(server.Close)
	for range 2 {
		if err := google.Order(sandbox.Fault{Kind: "cutUpload", Call: "gmail.users.messages.insert.chunk", After: 50 << 20, Times: 1}); err != nil {
			t.Fatal(err)
		}
	}

	pubsub := pstest.NewServer()
	t.Cleanup(func() { _ = pubsub.Close() })
	if _, err := pubsub.GServer.CreateTopic(t.Context(), &pubsubpb.Topic{Name: "projects/" + sandbox.DefaultWorld().Project + "/topics/onbehalf-results"}); err != nil {
		t.Fatal(err)
	}
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	write(t, policy, policyText)
	f := serveBinary(t, plainFunction(t), "ONBEHALF_POLICY="+policy, "PUBSUB_EMULATOR_HOST="+pubsub.Addr, "STORAGE_EMULATOR_HOST="+breaking.URL,
		"ONBEHALF_SANDBOX="+server.URL, "GCE_METADATA_HOST="+strings.TrimPrefix(server.URL, "http://"))

	peaks := map[string]int64{}
	for _, object := range []string{"short.eml", "long.eml"} {
		job := map[string]any{"user": "ada@example.com", "action": "gmail.users.messages.insert", "message": map[string]any{"uri": "gs://letters/" + object}}
		if status := post(t, f.URL, object, job); status != http.StatusOK {
			t.Fatalf("%s: HTTP %d\n%s", object, status, f.logs())
		}
		peaks[object] = peakMemory(t, f.cmd.Process.Pid)
	}
	letters := google.Letters("ada@example.com")
	if len(letters) != 2 || !bytes.Equal(letters[1].Raw, letter) {
		t.Fatalf("%d letters are in the mailbox, or the long one has changed\n%s", len(letters), f.logs())
	}
	calls := google.Calls()
	if calls["gmail.users.messages.insert"] != 2 || calls["gmail.users.messages.insert.chunk"] != 5 {
		t.Errorf("calls %v; want one upload in one request, and one that begins, breaks twice, and asks and goes on twice", calls)
	}
	t.Logf("the peak of memory is %.1f MiB after 1,000 bytes, and %.1f MiB after 150 MiB", mib(peaks["short.eml"]), mib(peaks["long.eml"]))
	if cost := peaks["long.eml"] - peaks["short.eml"]; cost > memoryBound {
		t.Errorf("the long letter costs %.1f MiB of memory more than a short one; at most %.0f are accepted", mib(cost), mib(memoryBound))
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// peakMemory is the most memory that a process has taken so far, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("only Linux says how much memory a process takes at its peak")
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatalf("no VmHWM in\n%s", status)
	return 0
}

// plainFunction is the function without the search for data races, which takes
// several times the memory.
func plainFunction(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "function")
	output(t, command(t, root, "go", "build", "-o", binary, "./test/bench/function"))
	return binary
}

// storageServer serves Cloud Storage, with the bucket letters.
func storageServer(t *testing.T) (url string) {
	t.Helper()
	binary, data := filepath.Join(t.TempDir(), "storage"), t.TempDir()
	output(t, command(t, filepath.Join(root, "test/storageserver"), "go", "build", "-o", binary, "github.com/fsouza/fake-gcs-server"))
	if err := os.Mkdir(filepath.Join(data, "letters"), 0o700); err != nil {
		t.Fatal(err)
	}
	address, err := process.FreeAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(address, ":")
	cmd := command(t, data, binary, "-scheme=http", "-host="+host, "-port="+port, "-backend=filesystem", "-filesystem-root="+data, "-log-level=error", "-public-host="+address)
	var log process.Log
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // it is killed
	}()
	t.Cleanup(func() { <-done })
	if err := process.Listening(t.Context(), address, done); err != nil {
		t.Fatalf("the storage server does not start: %v\n%s", err, log.String())
	}
	return "http://" + address
}

// store puts an object into the bucket letters.
func store(t *testing.T, server, name string, data []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server+"/upload/storage/v1/b/letters/o?uploadType=media&name="+name, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "message/rfc822")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s cannot be stored: %s", name, res.Status)
	}
}

// breakOnce passes on what is asked of a server, and breaks the first answer that
// is longer than so many bytes behind them.
func breakOnce(t *testing.T, to string, after int64) http.Handler {
	broken := false
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), r.Method, to+r.URL.RequestURI(), r.Body) //nolint:gosec // the test's own server
		if err != nil {
			t.Error(err)
			return
		}
		req.Header = r.Header
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		for name, values := range res.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(res.StatusCode)
		if broken {
			_, _ = io.Copy(w, res.Body)
			return
		}
		if n, _ := io.CopyN(w, res.Body, after); n == after {
			broken = true
			panic(http.ErrAbortHandler)
		}
	})
}
