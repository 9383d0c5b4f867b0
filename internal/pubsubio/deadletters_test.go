package pubsubio_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

const deadTopic = "projects/p/topics/onbehalf-dead-letters"

// deadLetters is a dead-letter topic with a pull subscription, and a topic of jobs.
func deadLetters(t *testing.T) (*pstest.Server, *pubsubio.DeadLetters) {
	t.Helper()
	server, conn := connect(t)
	for _, name := range []string{deadTopic, "projects/p/topics/onbehalf-jobs"} {
		if _, err := server.GServer.CreateTopic(t.Context(), &pubsubpb.Topic{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := server.GServer.CreateSubscription(t.Context(), &pubsubpb.Subscription{Name: "projects/p/subscriptions/onbehalf-dead-letters", Topic: deadTopic, AckDeadlineSeconds: 10}); err != nil {
		t.Fatal(err)
	}
	d, err := pubsubio.NewDeadLetters(t.Context(), "p", "onbehalf-dead-letters", "onbehalf-jobs", time.Second, conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return server, d
}

// ids are those of what is there now; those that done tells of are taken away.
func ids(t *testing.T, d *pubsubio.DeadLetters, most int, done func(id string) bool) []string {
	t.Helper()
	var found []string
	err := d.Each(t.Context(), most, func(m pubsubio.DeadLetter) (bool, error) {
		found = append(found, m.ID)
		return done(m.ID), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return found
}

// What is shown stays, for the next one to see at once, but for what was taken.
func TestDeadLettersStay(t *testing.T) {
	t.Parallel()
	server, d := deadLetters(t)
	want := make([]string, 250) // more than are pulled at once
	for i := range want {
		want[i] = server.Publish(deadTopic, fmt.Append(nil, i), nil)
	}
	slices.Sort(want)
	none := func(string) bool { return false }
	for range 2 {
		if diff := cmp.Diff(want, ids(t, d, 1000, none)); diff != "" {
			t.Fatal(diff)
		}
	}
	if n := len(ids(t, d, 120, none)); n != 120 {
		t.Errorf("of at most 120, %d are shown", n)
	}
	taken := ids(t, d, 1000, func(id string) bool { return id != want[7] })
	if left := ids(t, d, 1000, none); len(taken) != 250 || !slices.Equal(left, want[7:8]) {
		t.Errorf("%d were shown, %q left; want %q", len(taken), left, want[7])
	}
}

func TestWhatADeadLetterSays(t *testing.T) {
	t.Parallel()
	server, d := deadLetters(t)
	server.Publish(deadTopic, []byte("a job"), map[string]string{
		"batch": "b", "CloudPubSubDeadLetterSourceDeliveryCount": "5", "CloudPubSubDeadLetterSourceSubscription": "s",
		"CloudPubSubDeadLetterSourceSubscriptionProject": "p", "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-11-21T11:00:00.123+00:00",
	})
	server.Publish(deadTopic, []byte("what somebody published there"), map[string]string{
		"CloudPubSubDeadLetterSourceDeliveryCount": "many", "CloudPubSubDeadLetterSourceTopicPublishTime": "yesterday",
	})
	found := map[string]pubsubio.DeadLetter{}
	if err := d.Each(t.Context(), 10, func(m pubsubio.DeadLetter) (bool, error) { found[string(m.Data)] = m; return false, nil }); err != nil {
		t.Fatal(err)
	}
	got := found["a job"]
	if got.ID == "" || got.Deliveries != 5 || !got.PublishTime.Equal(time.Date(2026, 11, 21, 11, 0, 0, 123e6, time.UTC)) || !maps.Equal(got.Attributes, map[string]string{"batch": "b"}) {
		t.Errorf("%+v", got)
	}
	if got := found["what somebody published there"]; got.Deliveries != 0 || time.Since(got.PublishTime) > time.Hour || len(got.Attributes) != 0 {
		t.Errorf("%+v", got)
	}
}

// Who is interrupted, or fails, gives back what was not taken.
func TestDeadLettersAreGivenBack(t *testing.T) {
	t.Parallel()
	server, d := deadLetters(t)
	for i := range 3 {
		server.Publish(deadTopic, fmt.Append(nil, i), nil)
	}
	broken := errors.New("broken")
	if err := d.Each(t.Context(), 10, func(pubsubio.DeadLetter) (bool, error) { return false, broken }); !errors.Is(err, broken) {
		t.Errorf("%v, want %v", err, broken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	// What became of the first is done, so that it is taken.
	if err := d.Each(ctx, 10, func(pubsubio.DeadLetter) (bool, error) { cancel(); return true, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	if err := d.Each(ctx, 10, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("then %v", err)
	}
	if left := ids(t, d, 10, func(string) bool { return true }); len(left) != 2 {
		t.Errorf("%q are left; want two", left)
	}
}

func TestNoDeadLetters(t *testing.T) {
	t.Parallel()
	server, d := deadLetters(t)
	if err := d.Each(t.Context(), 10, func(pubsubio.DeadLetter) (bool, error) { t.Error("shown"); return false, nil }); err != nil {
		t.Error(err)
	}
	conn, err := grpc.NewClient(server.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	missing, err := pubsubio.NewDeadLetters(t.Context(), "p", "none", "onbehalf-jobs", time.Second, option.WithGRPCConn(conn))
	if err != nil {
		t.Fatal(err)
	}
	defer missing.Close()
	if err := missing.Each(t.Context(), 10, nil); status.Code(err) != codes.NotFound {
		t.Errorf("a subscription that is not there: %v", err)
	}
}

// Nobody who answers is another thing than nothing there.
func TestDeadLettersOutOfReach(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	for name, address := range map[string]string{"silent": silent.Addr().String(), "nobody": "127.0.0.1:1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, err := pubsubio.NewDeadLetters(t.Context(), "p", "onbehalf-dead-letters", "onbehalf-jobs", time.Second, option.WithEndpoint(address), option.WithoutAuthentication(),
				option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if err := d.Each(t.Context(), 10, nil); !errors.Is(err, pubsubio.ErrUnreachable) {
				t.Errorf("%v, want %v", err, pubsubio.ErrUnreachable)
			}
		})
	}
}

func TestPublishingADeadLetterAgain(t *testing.T) {
	server, d := deadLetters(t)
	if err := d.Publish(t.Context(), []byte("a job"), map[string]string{"batch": "b"}); err != nil {
		t.Fatal(err)
	}
	if m := server.Messages(); len(m) != 1 || string(m[0].Data) != "a job" || m[0].Attributes["batch"] != "b" || m[0].Topic != "projects/p/topics/onbehalf-jobs" {
		t.Errorf("%+v", m)
	}
}
