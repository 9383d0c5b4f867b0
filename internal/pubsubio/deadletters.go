package pubsubio

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The attributes that Pub/Sub puts on a message that it gives up
// (https://cloud.google.com/pubsub/docs/handling-failures#dead_letter_topic).
const (
	deadLetterPrefix    = "CloudPubSubDeadLetter"
	deadLetterCount     = deadLetterPrefix + "SourceDeliveryCount"
	deadLetterPublished = deadLetterPrefix + "SourceTopicPublishTime"
)

const (
	// atATime is how many messages are asked for at once, and how many are given back.
	atATime = 100
	// held is how long a message is kept from other subscribers while it is looked
	// at: as long as Pub/Sub does.
	held = 10 * time.Minute
	// reachTimeout is how long an answer may take that is given at once.
	reachTimeout = 5 * time.Second
	// giveBackTimeout bounds giving back what was not taken; what is not given back in
	// time comes again when it is held no more.
	giveBackTimeout = 10 * time.Second
)

// DeadLetter is a message that Pub/Sub gave up.
type DeadLetter struct {
	// ID is the dead letter's own, unlike that of the message which it was.
	ID   string
	Data []byte
	// Attributes are those that it was published with.
	Attributes map[string]string
	// Deliveries is how often it was delivered before Pub/Sub gave it up; 0 where that
	// is not said.
	Deliveries int
	// PublishTime is when it was published at first, as far as that is said.
	PublishTime time.Time
}

// DeadLetters is a pull subscription of the dead-letter topic, and the topic that
// its messages came from.
type DeadLetters struct {
	client       *pubsub.Client
	subscription string // by its whole name
	topic        *pubsub.Publisher
	patience     time.Duration
}

// NewDeadLetters connects to the subscription, and to the topic that messages may be
// published to again. It makes no call. Patience is how long is waited for one more
// message before none is there. PUBSUB_EMULATOR_HOST is honoured.
func NewDeadLetters(ctx context.Context, project, subscription, topic string, patience time.Duration, opts ...option.ClientOption) (*DeadLetters, error) {
	client, err := pubsub.NewClient(ctx, project, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to Pub/Sub: %w", err)
	}
	publisher := client.Publisher(topic)
	publisher.PublishSettings.Timeout = publishTimeout
	publisher.PublishSettings.DelayThreshold = batchDelay
	return &DeadLetters{client, fmt.Sprintf("projects/%s/subscriptions/%s", project, subscription), publisher, patience}, nil
}

// Each shows the messages that are there now, each once and at most so many, until
// none has come for a while. Show tells whether the message is done with: then it
// is taken away, and otherwise it stays. An error of show's ends it. An error of
// Pub/Sub's is ErrUnreachable, or has its status code.
func (d *DeadLetters) Each(ctx context.Context, most int, show func(DeadLetter) (done bool, err error)) (err error) {
	if err := d.reach(ctx); err != nil {
		return err
	}
	r := &round{d, show, map[string]string{}, map[string]bool{}}
	defer func() { err = cmp.Or(err, d.giveBack(ctx, r.stay)) }()
	for last := time.Now(); len(r.shown) < most && time.Since(last) < d.patience; {
		pulled, err := d.pull(ctx, min(atATime, most-len(r.shown)))
		if err != nil {
			return err
		}
		before := len(r.shown)
		if err := r.take(ctx, pulled); err != nil {
			return err
		}
		if len(r.shown) > before {
			last = time.Now()
		}
	}
	return nil
}

// round is one time through what is there.
type round struct {
	*DeadLetters
	show  func(DeadLetter) (done bool, err error)
	stay  map[string]string // message id → id to give it back by
	shown map[string]bool
}

// take shows what was not shown yet. The others were held for as long as can be.
func (r *round) take(ctx context.Context, pulled []*pubsubpb.ReceivedMessage) error {
	for _, m := range pulled {
		r.stay[m.GetMessage().GetMessageId()] = m.GetAckId()
	}
	for _, m := range pulled {
		id := m.GetMessage().GetMessageId()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case r.shown[id]:
			continue
		}
		r.shown[id] = true
		done, err := r.show(deadLetter(m.GetMessage()))
		if done {
			delete(r.stay, id)
			err = cmp.Or(err, r.remove(ctx, m.GetAckId()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// reach asks whether anybody answers: a pull that does not may just have nothing to
// say. The question takes no right, and an emulator does not know it.
func (d *DeadLetters) reach(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	_, err := d.client.SubscriptionAdminClient.TestIamPermissions(waiting, &iampb.TestIamPermissionsRequest{Resource: d.subscription, Permissions: []string{"pubsub.subscriptions.consume"}})
	switch code := status.Code(err); {
	case ctx.Err() != nil:
		return ctx.Err()
	case code == codes.Unavailable, code == codes.DeadlineExceeded, waiting.Err() != nil:
		return ErrUnreachable
	}
	return nil
}

// pull takes what is there, for a while.
func (d *DeadLetters) pull(ctx context.Context, most int) ([]*pubsubpb.ReceivedMessage, error) {
	waiting, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	answer, err := d.client.SubscriptionAdminClient.Pull(waiting, &pubsubpb.PullRequest{Subscription: d.subscription, MaxMessages: int32(most)}) //nolint:gosec // at most atATime
	pulled := answer.GetReceivedMessages()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case len(pulled) == 0 && (waiting.Err() != nil || status.Code(err) == codes.DeadlineExceeded): // whose clock is a little ahead of ours
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("pull from %s: %w", d.subscription, err)
	case len(pulled) == 0:
		return nil, nil
	}
	ids := make([]string, len(pulled))
	for i, m := range pulled {
		ids[i] = m.GetAckId()
	}
	return pulled, d.hold(ctx, ids, held)
}

// hold keeps messages from others for so long; 0 gives them back.
func (d *DeadLetters) hold(ctx context.Context, ids []string, long time.Duration) error {
	err := d.client.SubscriptionAdminClient.ModifyAckDeadline(ctx, &pubsubpb.ModifyAckDeadlineRequest{Subscription: d.subscription, AckIds: ids, AckDeadlineSeconds: int32(long.Seconds())})
	if err != nil {
		return fmt.Errorf("hold messages of %s: %w", d.subscription, err)
	}
	return nil
}

// giveBack lets others have what was not taken, also when ctx has ended.
func (d *DeadLetters) giveBack(ctx context.Context, stay map[string]string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTimeout)
	defer cancel()
	for ids := range slices.Chunk(slices.Collect(maps.Values(stay)), atATime) {
		if err := d.hold(ctx, ids, 0); err != nil {
			return err
		}
	}
	return nil
}

// remove takes the message away, also when ctx has ended: what became of it is done.
func (d *DeadLetters) remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTimeout)
	defer cancel()
	if err := d.client.SubscriptionAdminClient.Acknowledge(ctx, &pubsubpb.AcknowledgeRequest{Subscription: d.subscription, AckIds: []string{id}}); err != nil {
		return fmt.Errorf("ack a message of %s: %w", d.subscription, err)
	}
	return nil
}

// Publish publishes data to the topic that dead letters came from, and waits until
// Pub/Sub has it.
func (d *DeadLetters) Publish(ctx context.Context, data []byte, attributes map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if _, err := d.topic.Publish(ctx, &pubsub.Message{Data: data, Attributes: attributes}).Get(ctx); err != nil {
		return fmt.Errorf("publish to %s: %w", d.topic, err)
	}
	return nil
}

// Close closes the connection.
func (d *DeadLetters) Close() error {
	d.topic.Stop()
	return d.client.Close()
}

func deadLetter(m *pubsubpb.PubsubMessage) DeadLetter {
	letter := DeadLetter{
		ID: m.GetMessageId(), Data: m.GetData(), Attributes: maps.Clone(m.GetAttributes()),
		Deliveries: deliveries(m.GetAttributes()), PublishTime: m.GetPublishTime().AsTime(),
	}
	if at, err := time.Parse(time.RFC3339, letter.Attributes[deadLetterPublished]); err == nil {
		letter.PublishTime = at
	}
	maps.DeleteFunc(letter.Attributes, func(name, _ string) bool { return strings.HasPrefix(name, deadLetterPrefix) })
	return letter
}

// deliveries is how often a message was delivered before Pub/Sub gave it up; 0 of one
// that it did not, or where it does not say so as a number.
func deliveries(attributes map[string]string) int {
	n, err := strconv.Atoi(attributes[deadLetterCount])
	if err != nil {
		return 0
	}
	return max(0, n)
}
