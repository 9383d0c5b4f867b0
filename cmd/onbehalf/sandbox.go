package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

func newSandbox() *cobra.Command {
	var listen, worldFile string
	var options sandbox.Options
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Serve the embedded Workspace",
		Long: `Serves a fake Google on one port of this machine: the metadata server, the IAM
Credentials API, the token endpoint, Secret Manager, and two hundred methods of
Gmail, Calendar, Drive, the Directory and other APIs. It signs with real keys and
really verifies, and checks every call against Google's Discovery documents.

Faults are ordered with POST /_sandbox/faults; GET /_sandbox/ says what there is.`,
		Example: `  onbehalf sandbox --listen 127.0.0.1:8085
  export ONBEHALF_SANDBOX=http://127.0.0.1:8085 GCE_METADATA_HOST=127.0.0.1:8085
  curl -d '{"row": "T1", "times": 3}' 127.0.0.1:8085/_sandbox/faults`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if options.Latency < 0 {
				return fmt.Errorf("--latency: %s is not accepted; a time such as 20ms is", options.Latency)
			}
			options.Logger = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			world, err := loadWorld(worldFile)
			if err != nil {
				return err
			}
			s, err := sandbox.New(world, options)
			if err != nil {
				return err
			}
			listener, err := listenLocal(listen)
			if err != nil {
				return err
			}
			address := listener.Addr().String()
			fmt.Fprintf(cmd.OutOrStdout(), "ONBEHALF_SANDBOX=http://%s\nGCE_METADATA_HOST=%s\n", address, address)
			return serve(cmd.Context(), listener, s)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8085", "address on this machine to serve at; port 0 takes a free one")
	cmd.Flags().StringVar(&worldFile, "world", "", "YAML file of users, service accounts and objects (default: a small example.com)")
	cmd.Flags().DurationVar(&options.Latency, "latency", 0, "how long each answer takes")
	cmd.Flags().DurationVar(&options.Skew, "clock-offset", 0, "how far the sandbox's clock runs ahead of this machine's, such as 2h or -2h")
	cmd.Flags().Uint64Var(&options.Seed, "seed", 1, "seed of the faults that are ordered by share")
	return cmd
}

func loadWorld(file string) (sandbox.World, error) {
	if file == "" {
		return sandbox.DefaultWorld(), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return sandbox.World{}, err
	}
	defer f.Close()
	return sandbox.LoadWorld(f)
}

// listenLocal listens on this machine only: what is served here gives tokens
// to whoever asks, if only for a fake Workspace.
func listenLocal(address string) (net.Listener, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := listener.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		_ = listener.Close()
		return nil, fmt.Errorf("--listen: %s is not accepted; a loopback address such as 127.0.0.1:8085 is", address)
	}
	return listener, nil
}

// serve serves until the context ends.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
