package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// embeddedPubSub is Pub/Sub in this process: Google's own fake of it, and what
// that lacks, push subscriptions.
type embeddedPubSub struct {
	project string
	server  *pstest.Server
	conn    *grpc.ClientConn
	client  *pubsub.Client
}

func startPubSub(ctx context.Context, project string) (*embeddedPubSub, error) {
	p := &embeddedPubSub{project: project, server: pstest.NewServer()}
	var err error
	if p.conn, err = grpc.NewClient(p.server.Addr, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		return nil, err
	}
	p.client, err = pubsub.NewClient(ctx, project, p.option())
	return p, err
}

// option connects a client to this Pub/Sub.
func (p *embeddedPubSub) option() option.ClientOption { return option.WithGRPCConn(p.conn) }

// topic makes a topic and a subscription of the same name.
func (p *embeddedPubSub) topic(ctx context.Context, id string) error {
	topic, subscription := p.path("topics", id), p.path("subscriptions", id)
	if _, err := p.client.TopicAdminClient.CreateTopic(ctx, &pubsubpb.Topic{Name: topic}); err != nil {
		return err
	}
	_, err := p.client.SubscriptionAdminClient.CreateSubscription(ctx, &pubsubpb.Subscription{
		Name: subscription, Topic: topic, AckDeadlineSeconds: 600,
		RetryPolicy: &pubsubpb.RetryPolicy{},
	})
	return err
}

func (p *embeddedPubSub) path(kind, id string) string {
	return fmt.Sprintf("projects/%s/%s/%s", p.project, kind, id)
}

// push delivers what is published to the topic to url until ctx ends: a 2xx
// acks, anything else brings the message again.
func (p *embeddedPubSub) push(ctx context.Context, id, url string) error {
	return p.client.Subscriber(id).Receive(ctx, func(ctx context.Context, m *pubsub.Message) {
		if err := p.post(ctx, url, id, m); err != nil {
			m.Nack()
			return
		}
		m.Ack()
	})
}

// post makes one push request, as https://cloud.google.com/pubsub/docs/push has it.
func (p *embeddedPubSub) post(ctx context.Context, url, id string, m *pubsub.Message) error {
	body, err := json.Marshal(map[string]any{
		"subscription": p.path("subscriptions", id),
		"message": map[string]any{
			"data": m.Data, "attributes": m.Attributes, "messageId": m.ID,
			"publishTime": m.PublishTime.Format(time.RFC3339Nano), "orderingKey": m.OrderingKey,
		},
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("HTTP %d", res.StatusCode)
	}
	return nil
}

func (p *embeddedPubSub) close() {
	_ = p.client.Close()
	_ = p.server.Close()
}
