// Command onbehalf runs jobs as Workspace users, here and now: in an embedded
// Workspace (demo), or with the same code as the deployed function (run).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Exit statuses, as the README lists them.
const (
	exitOK          = 0
	exitSomeFailed  = 1
	exitUsage       = 2
	exitStopped     = 3
	exitInterrupted = 130
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// What the first signal ends in an orderly way, the second ends at once.
	again := make(chan os.Signal, 2)
	signal.Notify(again, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-again
		<-again
		os.Exit(exitInterrupted)
	}()

	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{exitUsage, err}
	}
	if exit.err != nil {
		fmt.Fprintln(os.Stderr, "onbehalf:", exit.err)
	}
	return exit.status
}

// exitError ends the command with a status; err, unless nil, is shown.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }
