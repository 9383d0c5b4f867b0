package functions

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/telemetry"
)

// startTimeout bounds what an entry point does before it serves: asking the
// metadata server who it is, and reading its policy.
const startTimeout = 30 * time.Second

// EntryPoints are the functions by the names under which they are deployed.
// Where FUNCTION_TARGET, as the framework has it, picks one of them, that one
// is made ready now: with a wrong setting the process ends, and the deployment
// fails, before the first event could be lost. Otherwise each is made ready
// when it is first called.
//
// They are HTTP functions and not CloudEvent functions, though events trigger
// them: docs/http-functions.md says why.
func EntryPoints() map[string]http.HandlerFunc {
	execute := sync.OnceValues(func() (*Executor, error) { return start(os.Stderr) })
	var hand inHand
	if os.Getenv("FUNCTION_TARGET") == "Execute" {
		tuneMemory()
		if _, err := execute(); err != nil {
			os.Exit(2)
		}
		go hand.endOnSIGTERM()
	}
	return map[string]http.HandlerFunc{
		"Execute": func(w http.ResponseWriter, r *http.Request) {
			x, err := execute()
			if err != nil || !hand.take() {
				http.Error(w, "not ready", http.StatusServiceUnavailable)
				return
			}
			defer hand.putDown()
			x.ServeHTTP(w, r)
			_ = http.NewResponseController(w).Flush() // the process may end when this returns
		},
	}
}

// inHand counts the events that are being worked on, so that an instance that
// is told to end can finish them: a call that is broken off may have taken
// effect, and would be made again elsewhere.
type inHand struct {
	mu     sync.Mutex
	ending bool
	events sync.WaitGroup
}

// take tells whether one more event may be begun.
func (h *inHand) take() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ending {
		h.events.Add(1)
	}
	return !h.ending
}

func (h *inHand) putDown() { h.events.Done() }

// endOnSIGTERM ends the process when it has been told to and nothing is in
// hand. Cloud Run waits 10 s before it kills.
func (h *inHand) endOnSIGTERM() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	<-told
	h.mu.Lock()
	h.ending = true
	h.mu.Unlock()
	h.events.Wait()
	os.Exit(0)
}

// tuneMemory lets garbage gather where there is room for it. What lives on is a
// few megabytes, and at Go's default the collector would run for each few
// megabytes more: some thirty times a second under load. GOGC and GOMEMLIMIT,
// where they are set, count.
func tuneMemory() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(400)
		debug.SetMemoryLimit(256 << 20) // from here on it collects as often as it takes
	}
}

// start makes an Executor from the environment, and says in the log what it is
// or why there is none.
func start(w io.Writer) (*Executor, error) {
	logger := telemetry.NewLogger(w, slog.LevelInfo)
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	cfg, err := config.Load(os.Environ())
	if err == nil {
		var x *Executor
		if x, err = New(ctx, cfg, Options{Logger: logger}); err == nil {
			logger.InfoContext(ctx, "ready", "entryPoint", "Execute", "project", x.google.Project, "serviceAccount", x.google.Minter.ServiceAccount(),
				"identity", x.google.Own.Source(), "signer", cfg.Signer, "policy", cfg.Policy, "ledger", cfg.Ledger, "resultsTopic", cfg.ResultsTopic, "sandbox", cfg.Sandbox,
				"protectAdmins", x.policy.ProtectsAdmins())
			if x.policy != nil && x.policy.ProtectAdmins == nil && cfg.Admin == "" {
				logger.Log(ctx, telemetry.LevelNotice, "administrators are not protected: set ONBEHALF_ADMIN to an administrator, as whom the Directory is read, or say protectAdmins: false in the policy")
			}
			if _, signs := cfg.Key(); signs || x.google.Own.IsKey() {
				logger.Log(ctx, telemetry.LevelNotice, "a service-account key is in use; ONBEHALF_SIGNER=iam on Google Cloud, or with workload identity federation, needs none")
			}
			return x, nil
		}
	}
	logger.Log(ctx, telemetry.LevelCritical, "cannot start", "entryPoint", "Execute", "problems", problems(err))
	return nil, err
}

// problems lists what errors.Join has joined.
func problems(err error) []string {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return []string{err.Error()}
	}
	var list []string
	for _, e := range joined.Unwrap() {
		list = append(list, e.Error())
	}
	return list
}
