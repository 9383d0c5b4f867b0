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
	hand := newInHand()
	executor := sync.OnceValues(func() (*Executor, error) { return start(os.Stderr, hand) })
	handlers := map[string]http.HandlerFunc{}
	for name, serve := range map[string]func(*Executor, http.ResponseWriter, *http.Request){
		"Execute": (*Executor).ServeHTTP, "DeadLetter": (*Executor).ServeDeadLetter,
		"FanOut": (*Executor).ServeFanOut, "Sweep": (*Executor).ServeSweep,
	} {
		handlers[name] = func(w http.ResponseWriter, r *http.Request) {
			x, err := executor()
			if err != nil || !hand.take() {
				http.Error(w, "not ready", http.StatusServiceUnavailable)
				return
			}
			defer hand.putDown()
			serve(x, w, r)
			_ = http.NewResponseController(w).Flush() // the process may end when this returns
		}
	}
	if target := os.Getenv("FUNCTION_TARGET"); handlers[target] != nil {
		if target != "FanOut" { // which has thousands of users in hand, and waits for Google most of its time
			tuneMemory()
		}
		if _, err := executor(); err != nil {
			os.Exit(2)
		}
		go hand.endOnSIGTERM()
	}
	return handlers
}

// breakOffAfter is how long calls in hand may go on when the instance is told to
// end. With what settling takes then, it stays within the 10 s for which Cloud Run
// waits before it kills.
const breakOffAfter = 5 * time.Second

// inHand counts the events that are being worked on, so that an instance that
// is told to end can settle them: what is killed without a word is held until its
// claim's time is up.
type inHand struct {
	ending, breakOff context.Context
	end, cut         context.CancelFunc

	mu     sync.Mutex // nothing is taken after end
	events sync.WaitGroup
}

func newInHand() *inHand {
	h := &inHand{}
	h.ending, h.end = context.WithCancel(context.Background())
	h.breakOff, h.cut = context.WithCancel(context.Background()) //nolint:gosec // endOnSIGTERM calls it
	return h
}

// take tells whether one more event may be begun.
func (h *inHand) take() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ending.Err() != nil {
		return false
	}
	h.events.Add(1)
	return true
}

func (h *inHand) putDown() { h.events.Done() }

// endOnSIGTERM ends the process when it has been told to and nothing is in
// hand: what has not begun its call is put back, what has may end it, and what takes
// too long for that is broken off, and looked up by another instance.
func (h *inHand) endOnSIGTERM() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	<-told
	h.mu.Lock()
	h.end()
	h.mu.Unlock()
	time.AfterFunc(breakOffAfter, h.cut)
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
func start(w io.Writer, hand *inHand) (*Executor, error) {
	logger := telemetry.NewLogger(w, slog.LevelInfo)
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	cfg, err := settings(os.Environ(), os.Getenv("FUNCTION_TARGET"))
	if err == nil {
		var x *Executor
		if x, err = New(ctx, cfg, Options{Logger: logger, Ending: hand.ending, BreakOff: hand.breakOff}); err == nil {
			logger.InfoContext(ctx, "ready", "entryPoint", os.Getenv("FUNCTION_TARGET"), "project", x.google.Project, "serviceAccount", x.google.Minter.ServiceAccount(),
				"identity", x.google.Own.Source(), "signer", cfg.Signer, "policy", cfg.Policy, "ledger", cfg.Ledger, "resultsTopic", cfg.ResultsTopic, "sandbox", cfg.Sandbox,
				"protectAdmins", x.policy.ProtectsAdmins())
			if x.policy != nil && x.policy.ProtectAdmins == nil && cfg.Admin == "" {
				logger.Log(ctx, telemetry.LevelNotice, "administrators are not protected: set ONBEHALF_ADMIN to an administrator, as whom the Directory is read, or say protectAdmins: false in the policy")
			}
			if _, signs := cfg.Key(); signs || x.google.Own.IsKey() {
				logger.Log(ctx, telemetry.LevelNotice, "a service-account key is in use; ONBEHALF_SIGNER=iam on Google Cloud, or with workload identity federation, needs none")
			}
			if os.Getenv("FUNCTION_TARGET") == "DeadLetter" && cfg.Ledger == "memory" {
				logger.Log(ctx, telemetry.LevelNotice, "what became of a job cannot be seen in this instance's own memory, and each ends as failed, also one that was done: set ONBEHALF_LEDGER to the one of Execute")
			}
			return x, nil
		}
	}
	logger.Log(ctx, telemetry.LevelCritical, "cannot start", "entryPoint", os.Getenv("FUNCTION_TARGET"), "problems", problems(err))
	return nil, err
}

// settings are what the environment says for an entry point. A ledger that the other
// functions do not see is refused where the function is of no use without them.
func settings(environ []string, target string) (config.Config, error) {
	cfg, err := config.Load(environ)
	if kind, _ := cfg.LedgerAt(); err == nil && kind == "memory" && (target == "FanOut" || target == "Sweep") {
		err = errors.New("ONBEHALF_LEDGER: memory is not accepted for " + target + "; batches are kept where every function sees them: firestore:DATABASE is, or file:PATH for functions on one machine")
	}
	return cfg, err
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
