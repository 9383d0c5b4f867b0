package main

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// What gets lost looks to gRPC's client like a broken connection: of half of it the
// request, of half the answer. What does not is carried as it is.
func TestRelay(t *testing.T) {
	t.Parallel()
	for share, want := range map[float64]codes.Code{0: codes.OK, 0.5: codes.Unavailable} {
		h := &health{}
		relay, client := relayed(t, share, h)
		for range 100 {
			if _, err := client.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); status.Code(err) != want {
				t.Fatalf("%v; want %v", err, want)
			}
		}
		counts, lost := relay.counts()
		if got := h.checks.Load(); share == 0 && (got != 100 || lost != 0) || share > 0 && (got < 20 || got > 80 || lost != 100) || counts["Check"] != 100 {
			t.Errorf("share %v: of 100 requests %d were carried out and %d lost; counted %v", share, got, lost, counts)
		}
	}
}

// relayed is a relay before h, and a client of it.
func relayed(t *testing.T, share float64, h *health) (*relay, grpc_health_v1.HealthClient) {
	t.Helper()
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, h)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l) //nolint:errcheck // it is stopped
	t.Cleanup(server.Stop)
	r, err := startRelay(t.Context(), settings{plan: plan{seed: 1}, storeShare: share}, "test", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	conn, err := grpc.NewClient(r.host, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return r, grpc_health_v1.NewHealthClient(conn)
}

type health struct {
	grpc_health_v1.UnimplementedHealthServer
	checks atomic.Int64
}

func (h *health) Check(context.Context, *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	h.checks.Add(1)
	return &grpc_health_v1.HealthCheckResponse{}, nil
}
