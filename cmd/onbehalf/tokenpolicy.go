package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/directory"
	"github.com/onbehalf-dev/onbehalf/internal/explain"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
)

// allowed asks the policy, and gives the scopes that were asked for, by
// themselves or by actions.
func (f *tokenFlags) allowed(ctx context.Context, a *access.Access, cfg config.Config) ([]string, error) {
	p, err := f.readPolicy(ctx, a, cfg)
	if err != nil {
		return nil, err
	}
	scopes, methods := slices.Clone(f.scopes), actions.NewMethods()
	if err := f.refused(ctx, a, cfg.Admin, f.anyAction(ctx, p)); err != nil {
		return nil, err
	}
	for _, action := range f.actions {
		d, err := methods.Describe(action)
		if err != nil {
			return nil, fmt.Errorf("--action: %w", err)
		}
		job := jobs.Job{User: f.user, Action: action}
		if f.serviceAccount {
			job.As = jobs.AsServiceAccount
		}
		if err := f.refused(ctx, a, cfg.Admin, p.Allow(ctx, job)); err != nil {
			return nil, err
		}
		scopes = append(scopes, d.Scopes[len(d.Scopes)-1].Scopes...) // those for which nothing is needed in the job
	}
	slices.Sort(scopes)
	return slices.Compact(scopes), nil
}

// anyAction asks the policy for a token that is for no action in particular.
func (f *tokenFlags) anyAction(ctx context.Context, p *policy.Policy) error {
	switch {
	case f.idToken != "":
		return p.AllowServiceAccount()
	case len(f.scopes) == 0: // each action is asked for
		return nil
	case f.user != "":
		return p.AllowUser(ctx, f.user)
	}
	if err := p.AllowServiceAccount(); err != nil {
		return err
	}
	return p.AllowScopes()
}

// readPolicy reads the policy that the flag or the setting names; nil where none does.
func (f *tokenFlags) readPolicy(ctx context.Context, a *access.Access, cfg config.Config) (*policy.Policy, error) {
	var p *policy.Policy
	var err error
	switch {
	case f.policy != "":
		p, err = readPolicy(f.policy)
	case cfg.Policy != "":
		p, err = settingsPolicy(ctx, a, cfg.Policy)
	}
	if p == nil || err != nil {
		return nil, err
	}
	var admins policy.Admins
	if cfg.Admin != "" {
		d, err := a.Directory(cfg.Admin)
		if err != nil {
			return nil, err
		}
		admins = directory.NewAdmins(d)
	}
	return p.With(admins)
}

// settingsPolicy reads the policy that ONBEHALF_POLICY names.
func settingsPolicy(ctx context.Context, a *access.Access, from string) (*policy.Policy, error) {
	data, err := a.ReadSetting(ctx, from)
	if err != nil {
		return nil, fmt.Errorf("ONBEHALF_POLICY: %w", err)
	}
	p, err := policyOf(data)
	if err != nil {
		return nil, fmt.Errorf("ONBEHALF_POLICY: %s: %w", from, err)
	}
	return p, nil
}

// refused says of a refusal how it is changed, and of a look-up that failed who
// must act.
func (f *tokenFlags) refused(ctx context.Context, a *access.Access, admin string, err error) error {
	var refusal *policy.Refusal
	var unknown *policy.UnknownError
	var read *directory.Error
	switch {
	case errors.As(err, &refusal):
		return &exitError{exitSomeFailed, fmt.Errorf("%s\n%s", refusal.Message, refusal.Fix)}
	case errors.As(err, &unknown) && directory.NotFound(err):
		message, fix := unknown.NotInDirectory(admin)
		return &exitError{exitSomeFailed, fmt.Errorf("%s\n%s", message, fix)}
	case errors.As(err, &read):
		m := explain.Of(explain.Answer{Stage: jobs.StageCall, Status: read.Status, Code: read.Reason, Text: read.Untrusted()})
		return meant(ctx, a, m, explain.Names{User: admin, Scopes: []string{directory.Scope}, Service: directory.Service}, err)
	}
	return err
}

// parseUser reads the flag of that name, where it is given.
func parseUser(address string) (string, error) {
	if address == "" {
		return "", nil
	}
	user, err := jobs.ParseUser(address)
	if err != nil {
		return "", fmt.Errorf("--%w", err)
	}
	return user, nil
}

func isScope(s string) bool {
	return strings.HasPrefix(s, "https://") && !strings.ContainsAny(s, " ,\t\n\"") || s == "openid" || s == "email" || s == "profile"
}
