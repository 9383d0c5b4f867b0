package functions

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
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
	if os.Getenv("FUNCTION_TARGET") == "Execute" {
		tuneMemory()
		if _, err := execute(); err != nil {
			os.Exit(2)
		}
	}
	return map[string]http.HandlerFunc{
		"Execute": func(w http.ResponseWriter, r *http.Request) {
			x, err := execute()
			if err != nil {
				http.Error(w, "not configured", http.StatusServiceUnavailable)
				return
			}
			x.ServeHTTP(w, r)
		},
	}
}

// tuneMemory lets garbage gather where there is room for it. What lives on is a
// few megabytes, and at Go's default the collector would run for each few
// megabytes more: some thirty times a second under load. GOGC and GOMEMLIMIT,
// where they are set, count.
func tuneMemory() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(800)
		debug.SetMemoryLimit(128 << 20) // from here on it collects as often as it takes
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
			logger.InfoContext(ctx, "ready", "entryPoint", "Execute", "project", x.project, "serviceAccount", x.minter.ServiceAccount(),
				"signer", cfg.Signer, "policy", cfg.Policy, "ledger", cfg.Ledger, "resultsTopic", cfg.ResultsTopic, "sandbox", cfg.Sandbox)
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
