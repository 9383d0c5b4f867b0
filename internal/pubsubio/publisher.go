package pubsubio

import (
	"context"
	"fmt"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"google.golang.org/api/option"
)

const (
	// publishTimeout bounds one publish with all its retries. The library's own
	// default, 60 s, outlives the time that a function has left to settle.
	publishTimeout = 15 * time.Second
	// mostTogether is how many messages make one request at most: Pub/Sub takes 1,000.
	mostTogether = 500
)

// Publisher publishes messages to a topic.
type Publisher struct {
	client    *pubsub.Client
	publisher *pubsub.Publisher
}

// NewPublisher connects to the topic. It makes no call, so a topic that does not exist
// shows only at the first publish. A message waits for company for delay.
// PUBSUB_EMULATOR_HOST is honoured.
func NewPublisher(ctx context.Context, project, topic string, delay time.Duration, opts ...option.ClientOption) (*Publisher, error) {
	client, err := pubsub.NewClient(ctx, project, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to Pub/Sub: %w", err)
	}
	publisher := client.Publisher(topic)
	publisher.PublishSettings.Timeout = publishTimeout
	publisher.PublishSettings.DelayThreshold = delay
	publisher.PublishSettings.CountThreshold = mostTogether
	return &Publisher{client: client, publisher: publisher}, nil
}

// Begin begins to publish a message. Wait waits until Pub/Sub has it, for at most
// [publishTimeout]: nothing may be left to send when the function has answered.
func (p *Publisher) Begin(ctx context.Context, data []byte, attributes map[string]string) (wait func(context.Context) error) {
	result := p.publisher.Publish(ctx, &pubsub.Message{Data: data, Attributes: attributes})
	return func(ctx context.Context) error {
		select {
		case <-result.Ready(): // as most are, where many wait for the last of them
		default:
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, publishTimeout)
			defer cancel()
		}
		if _, err := result.Get(ctx); err != nil {
			return fmt.Errorf("publish to %s: %w", p.publisher, err)
		}
		return nil
	}
}

// Publish publishes a message.
func (p *Publisher) Publish(ctx context.Context, data []byte, attributes map[string]string) error {
	return p.Begin(ctx, data, attributes)(ctx)
}

// Close sends what is still to be sent and closes the connection.
func (p *Publisher) Close() error {
	p.publisher.Stop()
	return p.client.Close()
}
