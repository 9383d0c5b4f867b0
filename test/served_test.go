package test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
	"github.com/onbehalf-dev/onbehalf/test/process"
)

// startTime is how long anything may take that is waited for. It is long, for
// the machine may be busy.
const startTime = time.Minute

// run is what lasts as long as one run of the tests.
var run struct {
	ctx     context.Context
	dir     string         // removed at the end
	started sync.WaitGroup // what ends with ctx
}

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	var err error
	if run.dir, err = os.MkdirTemp("", "onbehalf-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(run.dir) }()
	defer run.started.Wait()
	var stop context.CancelFunc
	run.ctx, stop = context.WithCancel(context.Background())
	defer stop()
	return m.Run()
}

func TestAWrongEntryPointEndsTheProcess(t *testing.T) {
	t.Parallel()
	exit, logs := serveFails(t, "FUNCTION_TARGET=Nobody")
	if want := `no matching function found with name: "Nobody"`; exit == 0 || !strings.Contains(logs, want) {
		t.Errorf("exit status %d, log %q; want another than 0, and %q", exit, logs, want)
	}
}

func TestAWrongSettingEndsTheProcess(t *testing.T) {
	t.Parallel()
	exit, logs := serveFails(t, "ONBEHALF_LEDGER=paper")
	if exit == 0 {
		t.Error("exit status 0; want another, so that the deployment fails")
	}
	for _, want := range []string{"ONBEHALF_LEDGER", "paper", "memory is", `"severity":"CRITICAL"`} {
		if !strings.Contains(logs, want) {
			t.Errorf("log %q; want the variable, its value and what is accepted: %q", logs, want)
		}
	}
}

func TestItServesUntilItIsToldToEnd(t *testing.T) {
	t.Parallel()
	const nobody = "127.0.0.1:1" // it may start without its peers, for it asks them only when it has a job
	s := serve(t, "GOOGLE_CLOUD_PROJECT=served-test", "ONBEHALF_SERVICE_ACCOUNT=onbehalf@served-test.iam.gserviceaccount.com",
		"GCE_METADATA_HOST="+nobody, "PUBSUB_EMULATOR_HOST="+nobody, "ONBEHALF_SANDBOX=http://"+nobody)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader("no event"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("what is no event is answered %s; want 400", res.Status)
	}
	logs := s.end(t)
	for _, want := range []string{`"message":"ready"`, `"message":"not a Pub/Sub message"`} {
		if !strings.Contains(logs, want) {
			t.Errorf("log %q; want %s", logs, want)
		}
	}
}

// Whether administrators are protected is said at start, and where nobody has
// decided that they are not, it is said aloud.
func TestItSaysWhetherAdministratorsAreProtected(t *testing.T) {
	t.Parallel()
	const nobody, aloud = "127.0.0.1:1", "administrators are not protected: set ONBEHALF_ADMIN"
	for name, c := range map[string]struct {
		policy, admin string
		protects      bool
		notice        bool
	}{
		"no administrator": {"domains: [example.com]", "", false, true},
		"by default":       {"domains: [example.com]", "admin@example.com", true, false},
		"not wanted":       {"protectAdmins: false", "", false, false},
		"no policy":        {"", "", false, false},
	} {
		env := []string{
			"GOOGLE_CLOUD_PROJECT=served-test", "ONBEHALF_SERVICE_ACCOUNT=onbehalf@served-test.iam.gserviceaccount.com", "ONBEHALF_ADMIN=" + c.admin,
			"GCE_METADATA_HOST=" + nobody, "PUBSUB_EMULATOR_HOST=" + nobody, "ONBEHALF_SANDBOX=http://" + nobody,
		}
		if c.policy != "" {
			file := filepath.Join(t.TempDir(), "policy.yaml")
			if err := os.WriteFile(file, []byte(c.policy), 0o600); err != nil {
				t.Fatal(err)
			}
			env = append(env, "ONBEHALF_POLICY="+file)
		}
		logs := serve(t, env...).end(t)
		if !strings.Contains(logs, fmt.Sprintf(`"protectAdmins":%t`, c.protects)) || strings.Contains(logs, aloud) != c.notice {
			t.Errorf("%s: %s", name, logs)
		}
	}
}

// A key is never in use without anybody's knowing: the log says at start what
// signs, and whose identity it is.
func TestItSaysWhatSigns(t *testing.T) {
	t.Parallel()
	const nobody, aloud = "127.0.0.1:1", "a service-account key is in use"
	google, err := sandbox.New(sandbox.DefaultWorld(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := google.KeyFile(sandbox.DefaultWorld().Runtime)
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(key, data, 0o600); err != nil {
		t.Fatal(err)
	}
	account := "ONBEHALF_SERVICE_ACCOUNT=" + sandbox.DefaultWorld().Runtime
	for setting, c := range map[string]struct {
		logs   []string
		notice bool
	}{
		account:                                 {[]string{`"signer":"iam"`, `"identity":"metadata"`}, false},
		"ONBEHALF_SIGNER=key:" + key:            {[]string{`"signer":"key:` + key, `"identity":"metadata"`, `"serviceAccount":"` + sandbox.DefaultWorld().Runtime}, true},
		"GOOGLE_APPLICATION_CREDENTIALS=" + key: {[]string{`"signer":"iam"`, `"identity":"service_account from ` + key}, true},
	} {
		env := []string{"GOOGLE_CLOUD_PROJECT=served-test", "GCE_METADATA_HOST=" + nobody, "PUBSUB_EMULATOR_HOST=" + nobody, "ONBEHALF_SANDBOX=http://" + nobody, setting}
		logs := serve(t, env...).end(t)
		for _, want := range c.logs {
			if !strings.Contains(logs, want) {
				t.Errorf("%s: no %s in %s", setting, want, logs)
			}
		}
		if strings.Contains(logs, aloud) != c.notice {
			t.Errorf("%s: %s", setting, logs)
		}
		for _, secret := range google.Secrets() {
			if strings.Contains(logs, secret) {
				t.Error("the key is in the log")
			}
		}
	}
}

// served is the function in a process of its own, as Cloud Run starts it.
type served struct {
	URL  string
	cmd  *exec.Cmd
	log  process.Log
	done chan struct{} // closed when the process has ended
}

// serve starts the function and waits until it listens. It has env and nothing
// else of this process's environment, so none of a developer's credentials. It
// ends with the test, which it fails where it has a data race.
func serve(t *testing.T, env ...string) *served {
	t.Helper()
	return serveBinary(t, servedBinary(t), env...)
}

func serveBinary(t *testing.T, binary string, env ...string) *served {
	t.Helper()
	s, address := start(t, binary, env)
	s.URL = "http://" + address
	t.Cleanup(func() { // by now the test's context has ended, and so has the process been told to
		<-s.done
		if strings.Contains(s.logs(), "WARNING: DATA RACE") {
			t.Errorf("the function has a data race:\n%s", s.logs())
		}
	})
	if err := process.Listening(t.Context(), address, s.done); err != nil {
		t.Fatalf("the function does not start: %v\n%s", err, s.logs())
	}
	return s
}

// serveFails starts the function, which must end by itself, and returns its
// exit status and what it wrote.
func serveFails(t *testing.T, env ...string) (exit int, logs string) {
	t.Helper()
	s, _ := start(t, servedBinary(t), env)
	select {
	case <-s.done:
	case <-time.After(startTime):
		t.Fatalf("the function goes on; want it to end at start\n%s", s.logs())
	}
	return s.cmd.ProcessState.ExitCode(), s.logs()
}

// end ends the function, which must do so in an orderly way, and returns all
// that it has written: only now is nothing of it still on its way.
func (s *served) end(t *testing.T) string {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.done:
	case <-time.After(startTime):
		t.Fatalf("the function goes on; want it to end\n%s", s.logs())
	}
	if exit := s.cmd.ProcessState.ExitCode(); exit != 0 {
		t.Errorf("exit status %d; want 0", exit)
	}
	return s.logs()
}

// logs is what the function has written so far.
func (s *served) logs() string { return s.log.String() }

// start starts the function, to be told to end when the test does.
func start(t *testing.T, binary string, env []string) (s *served, address string) {
	t.Helper()
	address, err := process.FreeAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	port := address[strings.LastIndex(address, ":")+1:]
	s = &served{cmd: command(t, t.TempDir(), binary), done: make(chan struct{})}
	s.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.cmd.Dir, "FUNCTION_TARGET=Execute", "PORT=" + port}, env...)
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) } // as Cloud Run does
	s.cmd.WaitDelay = 10 * time.Second                                           // and then it is killed
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait() // how it ended is in ProcessState
	}()
	return s, address
}
