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

// whose is whose quota the job spends.
func (x *Executor) whose(a *attempt) string {
	if a.job.As == jobs.AsServiceAccount {
		return x.google.Minter.ServiceAccount()
	}
	return a.job.User
}

// limit is the name under which it is kept until when nobody is to spend what Google
// limits; empty where that does not concern the job.
func (x *Executor) limit(a *attempt, l explain.Limit) string {
	switch {
	case l == explain.LimitProject:
		return a.call.Service
	case l == explain.LimitUser:
		return a.call.Service + "/" + x.whose(a)
	case l == explain.LimitSending && a.call.Service == gmail && strings.HasSuffix(a.job.Action, ".send"):
		return a.call.Service + "/" + x.whose(a) + "/send"
	}
	return ""
}

// deferred puts the job off where Google has named a time to somebody, here or in
// another instance, before which it will not do what the job asks for.
func (x *Executor) deferred(ctx context.Context, a *attempt) error {
	if a.job.DryRun {
		return nil
	}
	var until time.Time
	var of explain.Limit
	for _, l := range []explain.Limit{explain.LimitProject, explain.LimitUser, explain.LimitSending} {
		if t := x.deferrals.Until(ctx, x.limit(a, l)); t.After(until) {
			until, of = t, l
		}
	}
	if !time.Now().Before(until) {
		return nil
	}
	whose := map[explain.Limit]string{explain.LimitProject: "this project", explain.LimitUser: x.whose(a), explain.LimitSending: x.whose(a) + ", who has sent as much mail as may be"}
	return &laterError{until: until, why: jobs.Error{
		Stage: jobs.StageCall, Fault: jobs.FaultQuota, Reason: "deferred",
		Message: "Google has named " + until.UTC().Format(time.RFC3339) + " as the time before which " + a.call.Service + " does nothing more for " + whose[of] + ".",
	}}
}

// turn waits until the user's quota, and this instance's share of the project's,
// have room for one more request. Done must be called when it is answered.
func (x *Executor) turn(ctx context.Context, a *attempt, units int, alone bool) (done func(), err error) {
	if a.call.Service != gmail {
		return func() {}, nil
	}
	first := a.claim != nil && a.claim.Attempt == 1
	done, err = x.budget.Take(ctx, quota.Spend{User: x.whose(a), Units: units, Alone: alone, New: first})
	var wait *quota.WaitError
	if errors.As(err, &wait) {
		return nil, &laterError{wait.Until, true, jobs.Error{
			Stage: jobs.StageCall, Fault: jobs.FaultQuota, Reason: "quota",
			Message: "Gmail's quota, of " + x.whose(a) + " or of this instance, is spent for now.",
		}}
	}
	return done, err
}

// remember keeps a time that Google has named, so that no instance asks before it. It
// comes after the job is put off: what it may take must not be missing there.
func (x *Executor) remember(ctx context.Context, a *attempt, o Outcome) {
	if o.limit == "" || o.NotBefore.IsZero() {
		return
	}
	name := x.limit(a, o.limit)
	if name == "" { // a limit on sending, said of what sends nothing
		return
	}
	if err := x.deferrals.Defer(ctx, o.NotBefore, name); err != nil {
		x.log.WarnContext(ctx, "other instances do not learn of a limit", "limit", name, "until", o.NotBefore, "error", err.Error())
	}
}
