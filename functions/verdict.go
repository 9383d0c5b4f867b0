package functions

import (
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// verdict tells the minter what an answer means.
func verdict(e *delegation.Error) delegation.Verdict {
	k := know(mintAnswer(e, false))
	v := delegation.Verdict{Passing: k.answer != Done}
	if e.Code == "IAM_PERMISSION_DENIED" || e.Code == "PERMISSION_DENIED" {
		v.Window = 10 * time.Second
	}
	switch {
	case k.fault != jobs.FaultAdmin && k.fault != jobs.FaultOperator || v.Passing:
	case e.Code == "access_denied":
		v.Breadth = delegation.Perhaps
	default:
		v.Breadth = delegation.EveryUser
	}
	return v
}
