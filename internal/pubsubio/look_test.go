package pubsubio_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

// permissions answers each question of who may do what alike.
type permissions struct {
	iampb.UnimplementedIAMPolicyServer
	has []string
	err error
}

func (p permissions) TestIamPermissions(context.Context, *iampb.TestIamPermissionsRequest) (*iampb.TestIamPermissionsResponse, error) {
	return &iampb.TestIamPermissionsResponse{Permissions: p.has}, p.err
}

// A topic is looked at without a message's being published, whether Pub/Sub tells
// who may do what or, as an emulator, does not.
func TestLookAt(t *testing.T) {
	const publish = "pubsub.topics.publish"
	for name, c := range map[string]struct {
		topic string
		iam   *permissions // nil: as an emulator
		want  pubsubio.Topic
		fails string
	}{
		"there":                                 {"onbehalf-jobs", &permissions{has: []string{publish}}, pubsubio.Publishable, ""},
		"there, without right":                  {"onbehalf-jobs", &permissions{}, pubsubio.Refused, ""},
		"missing":                               {"none", &permissions{err: status.Error(codes.NotFound, "Resource not found")}, pubsubio.Missing, ""},
		"missing, though no right is told":      {"none", &permissions{}, pubsubio.Missing, ""},
		"there, in an emulator":                 {"onbehalf-jobs", nil, pubsubio.There, ""},
		"missing, in an emulator":               {"none", nil, pubsubio.Missing, ""},
		"an answer that says nothing of topics": {"onbehalf-jobs", &permissions{err: status.Error(codes.PermissionDenied, "hostile")}, 0, "Pub/Sub answers PermissionDenied"},
		"no answer":                             {"onbehalf-jobs", &permissions{err: status.Error(codes.Unavailable, "hostile")}, 0, pubsubio.ErrUnreachable.Error()},
		"no answer in time":                     {"onbehalf-jobs", &permissions{err: status.Error(codes.DeadlineExceeded, "hostile")}, 0, pubsubio.ErrUnreachable.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			server := pstest.NewServerWithCallback(0, func(s *grpc.Server) {
				if c.iam != nil {
					iampb.RegisterIAMPolicyServer(s, c.iam)
				}
			})
			defer server.Close()
			if _, err := server.GServer.CreateTopic(t.Context(), &pubsubpb.Topic{Name: "projects/p/topics/onbehalf-jobs"}); err != nil {
				t.Fatal(err)
			}
			got, err := pubsubio.LookAt(t.Context(), "p", c.topic, option.WithEndpoint(server.Addr), option.WithoutAuthentication(),
				option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
			switch {
			case c.fails != "" && (err == nil || err.Error() != c.fails):
				t.Errorf("%v, want %q", err, c.fails)
			case c.fails == "" && (err != nil || got != c.want):
				t.Errorf("%v, %v; want %v", got, err, c.want)
			case err != nil && strings.Contains(err.Error(), "hostile"):
				t.Error("the error quotes what came from outside")
			}
			if n := len(server.Messages()); n != 0 {
				t.Errorf("%d messages were published", n)
			}
		})
	}
}

// What takes a connection and never answers is waited for no longer than ctx lasts.
func TestLookAtWhatIsSilent(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = pubsubio.LookAt(ctx, "p", "onbehalf-jobs", option.WithEndpoint(silent.Addr().String()), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if !errors.Is(err, pubsubio.ErrUnreachable) {
		t.Errorf("%v, want %v", err, pubsubio.ErrUnreachable)
	}
}
