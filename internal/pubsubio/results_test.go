package pubsubio_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

func connect(t *testing.T) (*pstest.Server, option.ClientOption) {
	t.Helper()
	server := pstest.NewServer()
	t.Cleanup(func() { server.Close() })
	conn, err := grpc.NewClient(server.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return server, option.WithGRPCConn(conn)
}

func TestPublish(t *testing.T) {
	server, conn := connect(t)
	client, err := pubsub.NewClient(t.Context(), "p", conn)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	results, err := pubsubio.NewResults(t.Context(), "p", "onbehalf-results", conn)
	if err != nil {
		t.Fatal(err)
	}
	defer results.Close()
	r := jobs.Result{Job: "j", User: "ada@example.com", Action: "a.b", Status: jobs.Succeeded, Attempts: 1, StartedAt: time.Now(), FinishedAt: time.Now()}

	// Without the topic it fails, at once and in words.
	if err := results.Publish(t.Context(), r); err == nil {
		t.Error("published to a topic that is not there")
	}
	if _, err := client.TopicAdminClient.CreateTopic(t.Context(), &pubsubpb.Topic{Name: "projects/p/topics/onbehalf-results"}); err != nil {
		t.Fatal(err)
	}
	if err := results.Publish(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	messages := server.Messages()
	if len(messages) != 1 {
		t.Fatalf("%d messages", len(messages))
	}
	var got jobs.Result
	if err := json.Unmarshal(messages[0].Data, &got); err != nil || got.Job != "j" || messages[0].Attributes["status"] != "succeeded" {
		t.Errorf("%s %v, %v", messages[0].Data, messages[0].Attributes, err)
	}
}

func TestPublishEndsWithItsContext(t *testing.T) {
	_, conn := connect(t)
	results, err := pubsubio.NewResults(t.Context(), "p", "onbehalf-results", conn)
	if err != nil {
		t.Fatal(err)
	}
	defer results.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := results.Publish(ctx, jobs.Result{Job: "j"}); err == nil {
		t.Error("published on a cancelled context")
	}
}
