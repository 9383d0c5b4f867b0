package functions

import (
	"cmp"
	"context"
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
}

func mintAnswer(e *delegation.Error, self bool) answer {
	a := explain.Mint(string(e.Stage), e.Status, e.Code, e.Untrusted())
	a.Self = self
	return answer{Answer: a}
}

func callAnswer(e *actions.Error, self bool, age time.Duration) answer {
	return answer{
		Answer: explain.Answer{Stage: jobs.StageCall, Status: e.Status, Code: e.Reason, Text: e.Untrusted(), Object: e.Object, Self: self},
		words:  e.Words(), age: age,
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
// older than that moment.
func (a answer) reply(m explain.Meaning) Answer {
	if m.Retry == explain.Briefly && a.Stage == jobs.StageCall && a.age.Abs() < m.Window {
		return Again
	}
	return replies[m.Retry]
}

// nameTimeout bounds what is asked to put a name into a message.
const nameTimeout = 5 * time.Second

// names are what the message is filled in with. What only Google knows is asked
// for where the message has a place for it; without it the text says how it is read.
func (x *Executor) names(ctx context.Context, a *attempt, m explain.Meaning) explain.Names {
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	account := x.google.Minter.ServiceAccount()
	n := explain.Names{
		Account: account, User: a.job.User, Domain: a.job.Domain(), Scopes: a.scopes, Service: a.service,
		// APIs have to be on where the delegated service account lives.
		Project: cmp.Or(explain.AccountProject(account), x.google.Project),
	}
	if a.job.As == jobs.AsServiceAccount {
		n.User = account
	}
	if m.WantsClientID() {
		n.ClientID, _ = x.google.Minter.ClientID(ctx)
	}
	if m.WantsCaller() {
		who, _ := x.google.Own.Who(ctx)
		n.Caller = who.Member()
	}
	return n
}
