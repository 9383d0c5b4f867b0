package pubsubio

import (
	"context"
	"errors"
	"fmt"

	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Topic is what a topic looks like to who would publish to it.
type Topic int

// The ways that a topic can look.
const (
	Missing     Topic = iota + 1 // there is none of that id
	Refused                      // it may not be published to
	Publishable                  // it may
	There                        // it is there, and whether it may is not told, as by an emulator
)

// ErrUnreachable is of a Pub/Sub that does not answer.
var ErrUnreachable = errors.New("Pub/Sub does not answer")

// LookAt sees whether a topic exists and may be published to, without publishing
// anything. PUBSUB_EMULATOR_HOST is honoured. An error is ErrUnreachable also where
// ctx ends first; otherwise it holds no more of Google's answer than its code.
func LookAt(ctx context.Context, project, id string, opts ...option.ClientOption) (Topic, error) {
	client, err := pubsub.NewClient(ctx, project, opts...)
	if err != nil {
		return 0, fmt.Errorf("connect to Pub/Sub: %w", err)
	}
	defer client.Close()
	const publish = "pubsub.topics.publish"
	name := fmt.Sprintf("projects/%s/topics/%s", project, id)
	// This question takes no right of its own.
	may, err := client.TopicAdminClient.TestIamPermissions(ctx, &iampb.TestIamPermissionsRequest{Resource: name, Permissions: []string{publish}})
	switch {
	case err == nil && len(may.GetPermissions()) > 0:
		return Publishable, nil
	case err == nil: // which is also said of a topic that is not there
		_, err = client.TopicAdminClient.GetTopic(ctx, &pubsubpb.GetTopicRequest{Topic: name})
		if code := status.Code(err); code == codes.OK || code == codes.PermissionDenied {
			return Refused, nil
		}
	case status.Code(err) == codes.Unimplemented: // by an emulator
		_, err = client.TopicAdminClient.GetTopic(ctx, &pubsubpb.GetTopicRequest{Topic: name})
	}
	switch code := status.Code(err); {
	case code == codes.OK:
		return There, nil
	case code == codes.NotFound:
		return Missing, nil
	case code == codes.Unavailable, code == codes.DeadlineExceeded, ctx.Err() != nil:
		return 0, ErrUnreachable
	default:
		return 0, errors.New("Pub/Sub answers " + code.String())
	}
}
