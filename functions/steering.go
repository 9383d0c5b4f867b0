package functions

import (
	"context"
	"errors"

	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

// Steering is for who starts batches, looks at them and has them stop and go on, but does
// nothing of theirs. What works on them is FanOut.
type Steering struct {
	*batch.Batches
	topic topic
	close []func() error
}

// UntoldError says that what has been asked of a batch is kept, but that FanOut could not
// be told. Sweep does so within a minute.
type UntoldError struct{ err error }

func (e *UntoldError) Error() string { return e.err.Error() }

func (e *UntoldError) Unwrap() error { return e.err }

// NewSteering makes a Steering for the batches of a ledger, whose owner closes it. GoOn
// stands in for the topic of batches, as Continue does in [Options]; nil is the topic.
// Nothing is asked of Google before that is needed.
func NewSteering(cfg config.Config, google *access.Access, l ledger.Ledger, goOn func(ctx context.Context, id string) error) (s *Steering, err error) {
	s = &Steering{}
	s.topic = newTopic(google, cfg, "ONBEHALF_BATCHES_TOPIC", cfg.BatchesTopic, func(p *pubsubio.Publisher) { s.close = append(s.close, p.Close) })
	if goOn == nil {
		goOn = func(ctx context.Context, id string) error {
			if err := s.topic.goOn(ctx, id); err != nil {
				return &UntoldError{err}
			}
			return nil
		}
	}
	s.Batches, err = batch.New(batch.Config{Store: store{l}, Continue: goOn})
	return s, err
}

// Publish publishes a batch, for FanOut to begin it.
func (s *Steering) Publish(ctx context.Context, data []byte) error {
	to, err := s.topic.connect()
	if err != nil {
		return err
	}
	return to.Publish(ctx, data, nil)
}

// Close ends the connections.
func (s *Steering) Close() error {
	var problems []error
	for _, end := range s.close {
		problems = append(problems, end())
	}
	return errors.Join(problems...)
}
