package functions

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/explain"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/quota"
)

// turnPatience is how long a delivery is held for its user's turn and quota. What
// would take longer is answered at once, and comes again.
const turnPatience = 5 * time.Second

// gmail counts units, for each user and each project.
const gmail = "gmail.googleapis.com"

// limit is the name under which it is kept until when nobody is to spend what Google
// limits; empty where that does not concern the job.
func (x *Executor) limit(a *attempt, l explain.Limit) string {
	user := a.job.User
	if a.job.As == jobs.AsServiceAccount {
		user = x.google.Minter.ServiceAccount()
	}
	switch l {
	case explain.LimitProject:
		return a.call.Service
	case explain.LimitUser:
		return a.call.Service + "/" + user
	case explain.LimitSending:
		if a.call.Service == gmail && strings.HasSuffix(a.job.Action, ".send") {
			return a.call.Service + "/" + user + "/send"
		}
	}
	return ""
}

// deferred puts the job off where Google has named a time to somebody, here or in
// another instance, before which it will not do what the job asks for.
func (x *Executor) deferred(ctx context.Context, a *attempt) error {
	until := x.deferrals.Until(ctx, x.limit(a, explain.LimitProject), x.limit(a, explain.LimitUser), x.limit(a, explain.LimitSending))
	if !time.Now().Before(until) || a.job.DryRun {
		return nil
	}
	return &laterError{until, jobs.Error{
		Stage: jobs.StageCall, Fault: jobs.FaultQuota, Reason: "deferred",
		Message: "Google has named " + until.UTC().Format(time.RFC3339) + " as the time before which it does nothing more for " + a.job.User + ".",
	}}
}

// turn waits until the user's quota, and this instance's share of the project's,
// have room for one more request. Done must be called when it is answered.
func (x *Executor) turn(ctx context.Context, a *attempt, units int, alone bool) (done func(), err error) {
	if a.call.Service != gmail {
		return func() {}, nil
	}
	done, err = x.budget.Take(ctx, quota.Spend{User: a.job.User, Units: units, Alone: alone})
	var wait *quota.WaitError
	if errors.As(err, &wait) {
		return nil, &laterError{wait.Until, jobs.Error{
			Stage: jobs.StageCall, Fault: jobs.FaultQuota, Reason: "quota",
			Message: "Gmail's quota, of " + a.job.User + " or of this instance, is spent for now.",
		}}
	}
	return done, err
}

// remember keeps a time that Google has named, so that no instance asks before it.
func (x *Executor) remember(ctx context.Context, a *attempt, l explain.Limit, until time.Time) {
	name := x.limit(a, l)
	if name == "" || until.IsZero() {
		return
	}
	if err := x.deferrals.Defer(ctx, until, name); err != nil {
		x.log.WarnContext(ctx, "other instances do not learn of a limit", "limit", name, "until", until, "error", err.Error())
	}
}
