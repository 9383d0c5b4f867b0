package test

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/onbehalf-dev/onbehalf/test/emulator"
)

func TestTheEmulatorDeliversWhatIsPublished(t *testing.T) {
	t.Parallel()
	ctx, client := t.Context(), pubsubClient(t, "emulator-test")
	const topic, subscription = "projects/emulator-test/topics/jobs", "projects/emulator-test/subscriptions/jobs"
	if _, err := client.TopicAdminClient.CreateTopic(ctx, &pubsubpb.Topic{Name: topic}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.SubscriptionAdminClient.CreateSubscription(ctx, &pubsubpb.Subscription{Name: subscription, Topic: topic}); err != nil {
		t.Fatal(err)
	}
	publisher := client.Publisher(topic)
	defer publisher.Stop()
	id, err := publisher.Publish(ctx, &pubsub.Message{Data: []byte("a job"), Attributes: map[string]string{"batch": "b"}}).Get(ctx)
	if err != nil {
		t.Fatal(err)
	}

	ctx, received := context.WithTimeout(ctx, startTime)
	defer received()
	var got *pubsub.Message
	var once sync.Once
	err = client.Subscriber(subscription).Receive(ctx, func(_ context.Context, m *pubsub.Message) {
		once.Do(func() { got = m })
		m.Ack()
		received()
	})
	if err != nil {
		t.Fatal(err)
	}
	if got == nil || got.ID != id || string(got.Data) != "a job" || got.Attributes["batch"] != "b" {
		t.Errorf("received %+v; want message %s", got, id)
	}
}

// pubsubClient is a client of the emulator. Tests share the emulator, so each
// has a project of its own.
func pubsubClient(t *testing.T, project string) *pubsub.Client {
	t.Helper()
	client, err := pubsub.NewClient(t.Context(), project,
		option.WithEndpoint(pubsubEmulator(t)),
		option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// pubsubEmulator is the address of Google's emulator of Pub/Sub, for
// PUBSUB_EMULATOR_HOST. It is started once for all tests. Where it is not
// installed the test is skipped, but not on CI.
func pubsubEmulator(t *testing.T) (hostPort string) {
	t.Helper()
	hostPort, err := startPubSub()
	var missing *emulator.MissingError
	switch {
	case errors.As(err, &missing) && os.Getenv("CI") != "true":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	return hostPort
}

var startPubSub = sync.OnceValues(func() (string, error) {
	e, err := emulator.PubSub().Start(run.ctx)
	if err != nil {
		return "", err
	}
	run.started.Go(e.Wait)
	return e.Address, nil
})
