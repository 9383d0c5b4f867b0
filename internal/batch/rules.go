package batch

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// leastSample is how many results a percentage is taken of: the first few say little.
const leastSample = 100

// judge holds a batch that runs against its own rules: it stops it where too much has
// failed, and notes that the canary has succeeded. It gives the batch's control as it is
// then.
func (b *Batches) judge(ctx context.Context, id string) (control, error) {
	c, _, err := b.load(ctx, id)
	if err != nil || c.State != Running {
		return c, err
	}
	tally, err := b.cfg.Store.Tally(ctx, id)
	if err != nil {
		return c, err
	}
	t := jobs.CountsOf(tally)
	at := c
	return b.change(ctx, id, func(c *control) (bool, error) {
		if c.State != Running || c.Round != at.Round || c.Retry != at.Retry { // what was counted is of before
			return false, nil
		}
		if why := c.breach(t); why != nil {
			c.State, c.Error = Stopped, why
			return true, nil
		}
		if !c.CanaryPassed && c.Canary > 0 && t.Done() >= c.Canary && c.Retry == 0 {
			c.CanaryPassed = true
			return true, nil
		}
		return false, nil
	})
}

// Failed is told that a job of the batch has ended badly.
func (b *Batches) Failed(ctx context.Context, id string) error {
	if c, ok := b.gates.get(id); ok && (c.State != Running || !c.ruled()) {
		return nil
	}
	_, err := b.judge(ctx, id)
	return err
}

// ruled tells whether there is anything that failures do to it.
func (c *control) ruled() bool {
	return c.Canary > 0 && !c.CanaryPassed || c.StopAfter != (jobs.StopAfter{})
}

// breach is why what came of a batch's jobs stops it; nil where it does not.
func (c *control) breach(t jobs.Counts) *jobs.Error {
	bad := t.Bad() - c.Accepted
	var reason, message string
	switch {
	case bad <= 0:
		return nil
	case c.Canary > 0 && !c.CanaryPassed:
		reason, message = "canary", fmt.Sprintf("canary: %d of the first %d jobs did not succeed, and no further one was begun.", bad, c.Canary)
	case c.StopAfter.Failures > 0 && bad >= c.StopAfter.Failures:
		reason, message = "stopAfter", fmt.Sprintf("stopAfter: failures: %d of %d jobs did not succeed; the batch allows fewer than %d.", bad, t.Done(), c.StopAfter.Failures)
	case c.StopAfter.Percent > 0 && t.Done() >= leastSample && float64(bad)*100 > c.StopAfter.Percent*float64(t.Done()):
		reason = "stopAfter"
		message = fmt.Sprintf("stopAfter: percent: %d of %d jobs did not succeed; the batch allows %s %%.", bad, t.Done(), strconv.FormatFloat(c.StopAfter.Percent, 'f', -1, 64))
	default:
		return nil
	}
	return &jobs.Error{
		Stage: jobs.StageCall, Fault: c.worst(t), Reason: reason, Message: message,
		Fix: fmt.Sprintf("See what failed and what mends it: onbehalf batch status %[1]s\nThen do those again, and go on: onbehalf batch retry %[1]s\nOr go on without them: onbehalf batch resume %[1]s", c.ID),
	}
}

// worst is who must act on most of what failed.
func (c *control) worst(t jobs.Counts) jobs.Fault {
	worst, most := jobs.FaultOperator, t.Refused
	for _, fault := range []jobs.Fault{jobs.FaultJob, jobs.FaultUser, jobs.FaultAdmin, jobs.FaultOperator, jobs.FaultGoogle, jobs.FaultQuota} {
		if n := t.Failed[fault]; n > most {
			worst, most = fault, n
		}
	}
	return worst
}

const (
	// mostOpen bounds the batches that one Sweep looks after.
	mostOpen = 1000
	// stalledAfter is how long nothing has come of any job before those that have no result
	// are published again: Pub/Sub waits 600 s at most before it delivers once more.
	stalledAfter = 30 * time.Minute
	// tellTime bounds the publishing of a summary; then another may try.
	tellTime = time.Minute
)
