package main

import (
	"context"
	"fmt"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	// resultsTopic is where the function publishes.
	resultsTopic = "chaos-results"
	// ackTime is longer than a message can be held and then take.
	ackTime = 60
)

// messages is Pub/Sub, on the side of who publishes jobs and reads results.
//
// The jobs are spread over many topics, for the emulator has no more than two messages
// of a push subscription on their way at a time.
type messages struct {
	project string
	topics  int // of jobs
	client  *pubsub.Client
}

func newMessages(ctx context.Context, s settings, project, host string) (*messages, error) {
	m := &messages{project: project, topics: s.waiting/3 + 1}
	var err error
	m.client, err = pubsub.NewClient(ctx, project, option.WithEndpoint(host), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	return m, err
}

// create makes the topics, and subscriptions that push what is on those of jobs.
func (m *messages) create(ctx context.Context, endpoint string) error {
	if err := m.topic(ctx, resultsTopic, nil); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for n := range m.topics {
		g.Go(func() error { return m.topic(ctx, jobsTopic(n), &pubsubpb.PushConfig{PushEndpoint: endpoint}) })
	}
	return g.Wait()
}

func jobsTopic(n int) string { return fmt.Sprintf("chaos-jobs-%04d", n) }

// topic makes a topic and a subscription of the same name. It has no retry policy: with
// one, the emulator stops to deliver what was refused when it is much.
func (m *messages) topic(ctx context.Context, id string, push *pubsubpb.PushConfig) error {
	if _, err := m.client.TopicAdminClient.CreateTopic(ctx, &pubsubpb.Topic{Name: m.path("topics", id)}); err != nil {
		return err
	}
	_, err := m.client.SubscriptionAdminClient.CreateSubscription(ctx, &pubsubpb.Subscription{
		Name: m.path("subscriptions", id), Topic: m.path("topics", id), AckDeadlineSeconds: ackTime, PushConfig: push,
	})
	return err
}

func (m *messages) path(kind, id string) string {
	return "projects/" + m.project + "/" + kind + "/" + id
}

// publish publishes the nth job, and waits until Pub/Sub has it.
func (m *messages) publish(ctx context.Context, n int, data []byte) error {
	_, err := m.client.TopicAdminClient.Publish(ctx, &pubsubpb.PublishRequest{
		Topic: m.path("topics", jobsTopic(n%m.topics)), Messages: []*pubsubpb.PubsubMessage{{Data: data}},
	})
	return err
}

// results hands over each result that is published, until ctx ends.
func (m *messages) results(ctx context.Context, take func(data []byte)) error {
	return m.client.Subscriber(m.path("subscriptions", resultsTopic)).Receive(ctx, func(_ context.Context, msg *pubsub.Message) {
		take(msg.Data)
		msg.Ack()
	})
}

func (m *messages) close() { _ = m.client.Close() }
