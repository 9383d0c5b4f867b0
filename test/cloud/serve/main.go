// Command serve is Google Cloud's control plane for one project that is there and has
// nothing in it, for trying gcloud's commands and the scripts that run them:
//
//	go run ./test/cloud/serve --listen 127.0.0.1:8080 > environment
//	set -a; . ./environment
//	gcloud pubsub topics list --project=example-project
//
// It prints the environment that gcloud and bq need, one variable a line, and then each
// request on standard error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/onbehalf-dev/onbehalf/test/cloud"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "serve: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	config := cloud.Empty()
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:0", "loopback `address` to listen on")
	flags.StringVar(&config.Project, "project", config.Project, "`id` of the project that is there")
	enable := flags.String("enable", "", "`services` that are enabled, too, with commas between them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *enable != "" {
		config.Enabled = append(config.Enabled, strings.Split(*enable, ",")...)
	}
	dir, err := os.MkdirTemp("", "onbehalf-cloud-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	config.Log = func(r cloud.Request) { fmt.Fprintln(stderr, r) }
	s, err := cloud.Start(ctx, *listen, config)
	if err != nil {
		return err
	}
	env, err := s.Environ(dir)
	if err != nil {
		return err
	}
	for _, line := range env {
		fmt.Fprintln(stdout, line)
	}
	<-ctx.Done()
	return nil
}
