// Package emulator starts Google's emulators, which come with the Cloud SDK, for
// tests and for programs that try the whole.
package emulator

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/onbehalf-dev/onbehalf/test/process"
)

// Kind is one of the emulators.
type Kind struct {
	name      string
	component string // of the Cloud SDK
	binary    string // below the SDK's platform folder
	args      []string
}

// PubSub is for PUBSUB_EMULATOR_HOST.
func PubSub() Kind {
	return Kind{name: "Pub/Sub", component: "pubsub-emulator", binary: "pubsub-emulator/bin/cloud-pubsub-emulator"}
}

// Firestore is for FIRESTORE_EMULATOR_HOST. It has any project and database that it is
// asked for.
func Firestore() Kind {
	return Kind{
		name: "Firestore", component: "cloud-firestore-emulator", binary: "cloud-firestore-emulator/cloud_firestore_emulator",
		args: []string{"start", "--database-mode=firestore-native"},
	}
}

// Emulator is one that runs.
type Emulator struct {
	Address string // HOST:PORT
	ended   chan struct{}
}

// Start starts an emulator that ends with ctx. [MissingError] where this machine has
// none.
func (k Kind) Start(ctx context.Context) (*Emulator, error) {
	binary, err := k.find(ctx)
	if err != nil {
		return nil, err
	}
	e := &Emulator{ended: make(chan struct{})}
	if e.Address, err = process.FreeAddress(ctx); err != nil {
		return nil, err
	}
	host, port, _ := strings.Cut(e.Address, ":")
	// Not by gcloud, which would be one more process between it and us: the script
	// becomes the emulator, and so ends as we tell it or with Ctrl-C.
	cmd := exec.CommandContext(ctx, binary, append(k.args, "--host="+host, "--port="+port)...) //nolint:gosec // it is the one that was found
	cmd.Env = append(os.Environ(), "JAVA=exec java")                                           // which is what Firestore's script calls
	var log startLog
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(e.ended)
		_ = cmd.Wait() // it is killed
	}()
	if err := process.Listening(ctx, e.Address, e.ended); err != nil {
		return nil, fmt.Errorf("the %s emulator does not start: %w\n%s", k.name, err, log.String())
	}
	log.started.Store(true)
	return e, nil
}

// startLog keeps what is written until the emulator has started: later there are lines
// for each request, gigabytes in a long run.
type startLog struct {
	process.Log
	started atomic.Bool
}

func (l *startLog) Write(p []byte) (int, error) {
	if l.started.Load() {
		return len(p), nil
	}
	return l.Log.Write(p)
}

// Wait waits until the emulator has ended, which it does with Start's context.
func (e *Emulator) Wait() { <-e.ended }

// find asks gcloud where it keeps it, without touching the user's own configuration.
func (k Kind) find(ctx context.Context) (string, error) {
	gcloud, err := exec.LookPath("gcloud")
	if err != nil {
		return "", k.missing("gcloud is not installed", err)
	}
	dir, err := os.MkdirTemp("", "onbehalf-gcloud-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cmd := exec.CommandContext(ctx, gcloud, "info", "--format=value(installation.sdk_root)") //nolint:gosec // it is the one on PATH
	cmd.Env = append(os.Environ(), "CLOUDSDK_CONFIG="+dir, "CLOUDSDK_CORE_DISABLE_PROMPTS=1")
	sdk, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", cmd, err)
	}
	binary := filepath.Join(strings.TrimSpace(string(sdk)), "platform", filepath.FromSlash(k.binary))
	if _, err := os.Stat(binary); err != nil {
		return "", k.missing("the emulator is not installed", err)
	}
	if _, err := exec.LookPath("java"); err != nil {
		return "", k.missing("the emulator needs Java", err)
	}
	return binary, nil
}

func (k Kind) missing(what string, err error) error {
	return &MissingError{fmt.Sprintf("no %s emulator: %s (%v); install it with: gcloud components install %s, or apt-get install google-cloud-cli-%s",
		k.name, what, err, k.component, strings.TrimPrefix(k.component, "cloud-")), err}
}

// MissingError says that this machine has no such emulator.
type MissingError struct {
	text string
	err  error
}

func (e *MissingError) Error() string { return e.text }

// Unwrap gives what is missing.
func (e *MissingError) Unwrap() error { return e.err }
