package doctor

import (
	"context"
	"errors"
	"slices"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/explain"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// calls makes one harmless read of each API as the user, with a token for what an
// action takes.
func (e *exam) calls(ctx context.Context) {
	all, err := actions.New(ctx, actions.Config{HTTP: e.google.HTTP, Own: e.google.OwnHTTP})
	if err != nil { // it makes no call
		e.fail("call", "", operators(err.Error(), ""))
		return
	}
	for _, service := range e.services() {
		e.callAPI(ctx, all, service)
	}
}

func (e *exam) callAPI(ctx context.Context, all *actions.Actions, service string) {
	if cause := e.cause([]string{"api " + service}); cause != "" {
		e.skip("call", service, "because of "+cause)
		return
	}
	p, scopes := e.probe(service)
	switch {
	case len(scopes) == 0:
		e.skip("call", service, "because of "+e.missingOf(service))
		return
	case p.Job.Action == "":
		e.skip("call", service, "it has no read that needs nothing but the user; a job shows it")
		return
	}
	token, err := e.google.Minter.Token(ctx, e.o.User, scopes...)
	if err != nil {
		e.fail("call", service, e.minting(err, e.names(scopes...)))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	call, err := all.Prepare(ctx, p.Job)
	if err == nil {
		_, err = call.Do(ctx, token.Authorize)
	}
	e.called(service, p, scopes, err)
}

// probe is a read of the API for which there is a token: one that its scopes
// permit, if any of the actions' do.
func (e *exam) probe(service string) (p actions.Probe, scopes []string) {
	for _, w := range e.wants {
		if w.service != service || slices.ContainsFunc(w.scopes, func(s string) bool { return !e.granted[s] }) {
			continue
		}
		if found, ok := e.methods.Probe(w.action, e.o.User, w.scopes); ok && found.Permitted {
			return found, w.scopes
		} else if scopes == nil {
			p, scopes = found, w.scopes
		}
	}
	return p, scopes
}

// missingOf is the check because of which there is no token for the API.
func (e *exam) missingOf(service string) string {
	for _, w := range e.wants {
		for _, s := range w.scopes {
			if cause := e.broken["scope "+s]; w.service == service && cause != "" {
				return cause
			}
		}
	}
	return "scope"
}

// called says what came of a read.
func (e *exam) called(service string, p actions.Probe, scopes []string, err error) {
	var refused *actions.Error
	if err == nil {
		e.pass("call", service, p.Job.Action+" as "+e.o.User+" was answered")
		return
	}
	if !errors.As(err, &refused) { // the job is ours
		e.skip("call", service, p.Job.Action+" cannot be called: "+err.Error())
		return
	}
	n := e.names(scopes...)
	n.Service = service
	m := explain.Of(explain.Answer{Stage: jobs.StageCall, Status: refused.Status, Code: refused.Reason, Text: refused.Untrusted()})
	switch {
	case m.Row == "A8" && !p.Permitted:
		e.pass("call", service, "takes the token, which permits no read that needs nothing but the user; whether "+e.o.User+" has what a job then needs shows only there, or in the Directory")
	case m.Fault == author: // which is not the set-up's
		e.skip("call", service, "it takes the token, but "+p.Job.Action+" was not answered: "+m.For(n).Message)
	default:
		e.fail("call", service, shown(m, refused.Error()).For(n))
	}
}
