package pubsubio

import (
	"context"
	"fmt"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"google.golang.org/api/option"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

const (
	// publishTimeout bounds one publish with all its retries. The library's own
	// default, 60 s, outlives the time that a function has left to settle.
	publishTimeout = 15 * time.Second
	// batchDelay is how long a result waits for company. Jobs end in bunches,
	// so even this little saves most requests, and it is lost in the time that
	// a call to Google takes.
	batchDelay = 100 * time.Microsecond
)

// Results publishes results to a topic.
type Results struct {
	client *pubsub.Client
	topic  *pubsub.Publisher
}

// NewResults connects to the topic. It makes no call, so a topic that does not
// exist shows only at the first publish. PUBSUB_EMULATOR_HOST is honoured.
func NewResults(ctx context.Context, project, topic string, opts ...option.ClientOption) (*Results, error) {
	client, err := pubsub.NewClient(ctx, project, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to Pub/Sub: %w", err)
	}
	publisher := client.Publisher(topic)
	publisher.PublishSettings.Timeout = publishTimeout
	publisher.PublishSettings.DelayThreshold = batchDelay
	return &Results{client: client, topic: publisher}, nil
}

// Publish publishes the result and waits until Pub/Sub has it, for at most
// [publishTimeout]: nothing may be left to send when the function has answered.
func (r *Results) Publish(ctx context.Context, result jobs.Result) error {
	data, err := result.Encode()
	if err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if _, err := r.topic.Publish(ctx, &pubsub.Message{Data: data, Attributes: result.Attributes()}).Get(ctx); err != nil {
		return fmt.Errorf("publish to %s: %w", r.topic, err)
	}
	return nil
}

// Close sends what is still to be sent and closes the connection.
func (r *Results) Close() error {
	r.topic.Stop()
	return r.client.Close()
}
