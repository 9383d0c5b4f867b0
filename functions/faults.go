package functions

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/directory"
	"github.com/onbehalf-dev/onbehalf/internal/explain"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// answer is an answer of Google's that is no success.
type answer struct {
	explain.Answer
	words string        // Google's own, fit to be shown; empty where they are not
	age   time.Duration // since the job was published
	// retryAfter is how long Google asks to wait; 0 where it does not say.
	retryAfter time.Duration
	// guess says that it was others' answer, and perhaps would not be this user's;
	// unfinished, that it was not asked again for as long as is worth it.
	guess, unfinished bool
}

func mintAnswer(e *delegation.Error, self bool) answer {
	a := explain.Mint(string(e.Stage), e.Status, e.Code, e.Untrusted())
	a.Self = self
	return answer{Answer: a, guess: e.Shared == delegation.Perhaps, unfinished: e.Unfinished}
}

func callAnswer(e *actions.Error, self bool, age time.Duration) answer {
	return answer{
		Answer: explain.Answer{Stage: jobs.StageCall, Status: e.Status, Code: e.Reason, Text: e.Untrusted(), Object: e.Object, Self: self},
		words:  e.Words(), age: age, retryAfter: e.RetryAfter,
	}
}

func lookUpAnswer(e *directory.Error, age time.Duration) answer {
	return answer{Answer: explain.Answer{Stage: jobs.StageCall, Status: e.Status, Code: e.Reason, Text: e.Untrusted()}, age: age}
}

// replies are what is answered to who delivered the job.
var replies = map[explain.Retry]Answer{
	explain.Never:   Done,
	explain.Soon:    Again,
	explain.Later:   Later,
	explain.Briefly: Done, // but see reply
	explain.Renew:   Again,
}

// reply is what is answered. What may come true in a moment is final where
// the minter has waited for it; where the call said so, only once the job is
// older than that moment. A guess from others' answers ends nobody's job.
func (a answer) reply(m explain.Meaning) Answer {
	switch reply := replies[m.Retry]; {
	case a.guess:
		return Later
	case reply == Done && a.unfinished, m.Retry == explain.Briefly && a.Stage == jobs.StageCall && a.age.Abs() < m.Window:
		return Again
	default:
		return reply
	}
}

// breakerOpen leaves a line when nobody of a domain is asked for any more for a while.
// Jobs that are answered from memory meanwhile say so in their own words, but not that
// they were.
func (x *Executor) breakerOpen(ctx context.Context, t delegation.Trip) {
	e := t.Refusal
	x.log.LogAttrs(ctx, slog.LevelError, "breaker open", slog.String("domain", t.Domain), slog.Any("scopes", strings.Fields(t.Scopes)),
		slog.String("stage", string(e.Stage)), slog.Int("code", e.Status), slog.String("reason", e.Code),
		slog.Bool("guess", e.Shared == delegation.Perhaps), slog.Time("until", e.Until))
}

// names are what the message is filled in with.
func (x *Executor) names(ctx context.Context, a *attempt, m explain.Meaning) explain.Names {
	n := explain.Names{User: a.job.User, Domain: a.job.Domain(), Scopes: a.scopes, Service: a.service}
	if a.job.As == jobs.AsServiceAccount {
		n.User = x.google.Minter.ServiceAccount()
	}
	// To ask for a name must leave the time to settle.
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithTimeout(ctx, time.Until(deadline)/3)
	defer cancel()
	return x.google.Names(ctx, m, n)
}
