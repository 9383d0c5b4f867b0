package pubsubio

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/api/option"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// batchDelay is how long a result waits for company. Jobs end in bunches,
// so even this little saves most requests, and it is lost in the time that
// a call to Google takes.
const batchDelay = 100 * time.Microsecond

// Results publishes results of jobs, and summaries of batches, to a topic.
type Results struct{ *Publisher }

// NewResults connects to the topic, as [NewPublisher] does.
func NewResults(ctx context.Context, project, topic string, opts ...option.ClientOption) (*Results, error) {
	t, err := NewPublisher(ctx, project, topic, batchDelay, opts...)
	if err != nil {
		return nil, err
	}
	return &Results{t}, nil
}

// Publish publishes a result, and waits until Pub/Sub has it.
func (r *Results) Publish(ctx context.Context, result jobs.Result) error {
	data, err := result.Encode()
	if err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	return r.Publisher.Publish(ctx, data, result.Attributes())
}

// Tell publishes a summary, likewise.
func (r *Results) Tell(ctx context.Context, s jobs.Summary) error {
	data, err := s.Encode()
	if err != nil {
		return fmt.Errorf("encode the summary: %w", err)
	}
	return r.Publisher.Publish(ctx, data, s.Attributes())
}
