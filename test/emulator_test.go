package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
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
	hostPort, err := emulator()
	var missing *missingError
	switch {
	case errors.As(err, &missing) && os.Getenv("CI") != "true":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	return hostPort
}

var emulator = sync.OnceValues(func() (string, error) {
	binary, err := findEmulator(run.ctx)
	if err != nil {
		return "", err
	}
	address, err := freeAddress(run.ctx)
	if err != nil {
		return "", err
	}
	host, port, _ := strings.Cut(address, ":")
	// Not by gcloud, which would be one more process between it and us: the
	// script becomes the emulator, and so ends as we tell it or with Ctrl-C.
	cmd := exec.CommandContext(run.ctx, binary, "--host="+host, "--port="+port)
	var log buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return "", err
	}
	done := make(chan struct{})
	run.started.Go(func() {
		defer close(done)
		_ = cmd.Wait() // it is killed
	})
	if err := listening(run.ctx, address, done); err != nil {
		return "", fmt.Errorf("the Pub/Sub emulator does not start: %w\n%s", err, log.String())
	}
	return address, nil
})

// findEmulator asks gcloud where it keeps it, without touching the user's own
// configuration.
func findEmulator(ctx context.Context) (string, error) {
	gcloud, err := exec.LookPath("gcloud")
	if err != nil {
		return "", &missingError{"gcloud is not installed", err}
	}
	cmd := exec.CommandContext(ctx, gcloud, "info", "--format=value(installation.sdk_root)")
	cmd.Env = append(os.Environ(), "CLOUDSDK_CONFIG="+filepath.Join(run.dir, "gcloud"), "CLOUDSDK_CORE_DISABLE_PROMPTS=1")
	sdk, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", cmd, err)
	}
	binary := filepath.Join(strings.TrimSpace(string(sdk)), "platform", "pubsub-emulator", "bin", "cloud-pubsub-emulator")
	if _, err := os.Stat(binary); err != nil {
		return "", &missingError{"the emulator is not installed", err}
	}
	if _, err := exec.LookPath("java"); err != nil {
		return "", &missingError{"the emulator needs Java", err}
	}
	return binary, nil
}

// missingError says that this machine has no emulator.
type missingError struct {
	what string
	err  error
}

func (e *missingError) Error() string {
	return fmt.Sprintf("no Pub/Sub emulator: %s (%v); install it with: gcloud components install pubsub-emulator, or apt-get install google-cloud-cli-pubsub-emulator", e.what, e.err)
}

func (e *missingError) Unwrap() error { return e.err }
