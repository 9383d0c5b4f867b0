package main

import (
	"context"
	"errors"
	"fmt"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	// resultsTopic is where Execute and Sweep publish.
	resultsTopic = "chaos-results"
	// jobsTopic is where FanOut does, batchesTopic where it is told of batches, and
	// sweepTopic where Sweep is told to look after them.
	jobsTopic, batchesTopic, sweepTopic = "chaos-jobs", "chaos-batches", "chaos-sweep"
	// ackTime is longer than a message can be held and then take.
	ackTime = 60
)

// messages is Pub/Sub, on the side of who publishes jobs and reads results.
//
// The jobs that are published here are spread over many topics, for the emulator has no
// more than two messages of a push subscription on their way at a time.
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
	if err := m.topic(ctx, resultsTopic, ""); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for n := range m.topics {
		g.Go(func() error { return m.topic(ctx, spread(n), endpoint+execute) })
	}
	return g.Wait()
}

func spread(n int) string { return fmt.Sprintf("%s-%04d", jobsTopic, n) }

// createForBatch makes the topics of a batch. What is on that of jobs is for who carries it.
func (m *messages) createForBatch(ctx context.Context, endpoint string) error {
	for topic, push := range map[string]string{resultsTopic: "", jobsTopic: "", batchesTopic: endpoint + fanOut, sweepTopic: endpoint + sweep} {
		if err := m.topic(ctx, topic, push); err != nil {
			return err
		}
	}
	return nil
}

// topic makes a topic and a subscription of the same name. It has no retry policy: with
// one, the emulator stops to deliver what was refused when it is much.
func (m *messages) topic(ctx context.Context, id, endpoint string) error {
	var push *pubsubpb.PushConfig
	if endpoint != "" {
		push = &pubsubpb.PushConfig{PushEndpoint: endpoint}
	}
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

// publish publishes a message, and waits until Pub/Sub has it.
func (m *messages) publish(ctx context.Context, topic string, data []byte) error {
	_, err := m.client.TopicAdminClient.Publish(ctx, &pubsubpb.PublishRequest{
		Topic: m.path("topics", topic), Messages: []*pubsubpb.PubsubMessage{{Data: data}},
	})
	return err
}

// results hands over each result that is published, and each summary, until ctx ends.
func (m *messages) results(ctx context.Context, take func(data []byte, summary bool)) error {
	return m.client.Subscriber(m.path("subscriptions", resultsTopic)).Receive(ctx, func(_ context.Context, msg *pubsub.Message) {
		take(msg.Data, msg.Attributes["summary"] != "")
		msg.Ack()
	})
}

// carry hands over each job that is published, until ctx ends or one cannot be carried:
// most of them at a time.
func (m *messages) carry(ctx context.Context, most int, do func(context.Context, *pubsub.Message) error) error {
	s := m.client.Subscriber(m.path("subscriptions", jobsTopic))
	s.ReceiveSettings.MaxOutstandingMessages = most
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := s.Receive(ctx, func(ctx context.Context, msg *pubsub.Message) {
		if err := do(ctx, msg); err != nil {
			cancel(err)
		}
	})
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return err
}

func (m *messages) close() { _ = m.client.Close() }
