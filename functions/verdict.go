package functions

import (
	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/explain"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Verdict tells a minter what an answer of Google's means for others than who
// got it.
func Verdict(e *delegation.Error) delegation.Verdict {
	m := explain.Of(mintAnswer(e, false).Answer)
	v := delegation.Verdict{Window: m.Window}
	switch m.Fault {
	case jobs.FaultGoogle, jobs.FaultQuota:
		v.Passing = true
	case jobs.FaultOperator, jobs.FaultAdmin:
		v.Breadth = delegation.EveryUser
		if m.OneUser {
			v.Breadth = delegation.Perhaps
		}
	case jobs.FaultJob, jobs.FaultUser: // this user's alone
	}
	return v
}
