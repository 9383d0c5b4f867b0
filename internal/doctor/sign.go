package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/explain"
)

// sign really signs, something that is good for nothing.
func (e *exam) sign(ctx context.Context) {
	err := e.patiently(ctx, func() error { return trySigning(ctx, e.signer) })
	if err == nil {
		e.pass("sign", "", "a trial was signed for "+e.account)
		return
	}
	n := e.names()
	n.Service = iamCredentials
	if _, isKey := e.cfg.Key(); !isKey && len(e.cfg.Delegates) > 0 {
		n = e.brokenLink(ctx, n)
	}
	m := e.minting(err, n)
	if m.Row == "S11" && n.Account != e.account { // which link it is has been found out
		m = e.of(explain.Mint("sign", http.StatusForbidden, "IAM_PERMISSION_DENIED", "Permission 'iam.serviceAccounts.signJwt' denied"), n)
	}
	e.fail("sign", "", m)
}

// trySigning has claims signed that no endpoint of Google's accepts, for as long as
// an assertion's: if the clock is wrong, they fail alike.
func trySigning(ctx context.Context, s delegation.Signer) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": s.ServiceAccount(), "aud": "https://onbehalf.invalid/doctor", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	if err != nil {
		return err
	}
	_, err = s.SignJWT(ctx, string(claims))
	return err
}

// brokenLink names the first pair of the chain of delegates of which the second
// does not let the first sign.
func (e *exam) brokenLink(ctx context.Context, n explain.Names) explain.Names {
	chain := append(append([]string(nil), e.cfg.Delegates...), e.account)
	for i, account := range chain {
		s, err := delegation.NewIAM(delegation.IAMConfig{ServiceAccount: account, Delegates: chain[:i], Identity: e.google.Own, HTTP: e.google.HTTP})
		if err != nil {
			return n
		}
		if i > 0 {
			n.Caller = "serviceAccount:" + chain[i-1]
		}
		if n.Account = account; trySigning(ctx, s) != nil {
			break
		}
	}
	n.Project, n.ProjectNumber = explain.AccountProject(n.Account), ""
	return n
}

// patiently tries again while what is missing may be about to come true, such as a
// right that was just granted, or Google has a passing fault.
func (e *exam) patiently(ctx context.Context, try func() error) error {
	pause := e.o.Patience / 10
	for begun, told := time.Now(), false; ; {
		err := try()
		var refused *delegation.Error
		if err == nil || !errors.As(err, &refused) {
			return err
		}
		m := access.Explain(refused)
		if m.Window == 0 && !m.Passes() || time.Since(begun)+pause >= e.o.Patience {
			return err
		}
		if !told && e.o.Tell != nil {
			e.o.Tell("Not allowed to sign for " + e.account + " yet, or no answer; a right that was just granted takes a moment. Waiting for up to " + e.o.Patience.String() + ".")
			told = true
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// findClientID has an assertion without a user accepted, which shows that it is in
// order, whatever the Workspace has authorized.
func (e *exam) findClientID(ctx context.Context) {
	id, err := e.google.Minter.ClientID(ctx)
	if err != nil {
		e.fail("client id", "", e.minting(err, e.names()))
		return
	}
	e.clientID = id
	e.pass("client id", "", id+", by which the Admin console knows "+e.account)
}
