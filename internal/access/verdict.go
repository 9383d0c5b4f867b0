package access

import (
	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/explain"
)

// Explain says what an answer to a minter means.
func Explain(e *delegation.Error) explain.Meaning {
	return explain.Of(explain.Mint(string(e.Stage), e.Status, e.Code, e.Untrusted()))
}

// verdict tells a minter what an answer means for others than who got it.
func verdict(e *delegation.Error) delegation.Verdict {
	m := Explain(e)
	v := delegation.Verdict{Window: m.Window, Passing: m.Passes()}
	switch {
	case !m.Lasts():
	case m.OneUser:
		v.Breadth = delegation.Perhaps
	default:
		v.Breadth = delegation.EveryUser
	}
	return v
}
