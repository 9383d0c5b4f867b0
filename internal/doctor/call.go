package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/directory"
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
	if e.cfg.Admin == "" && !e.showsUser() {
		e.miss("user", "", "set ONBEHALF_ADMIN to have "+e.o.User+" looked up; no call has shown what the account has")
	}
}

// showsUser tells whether a call that was answered has shown what the user must have:
// a mailbox, where there is anything to be done in it.
func (e *exam) showsUser() bool {
	services := e.services()
	if slices.Contains(services, gmail) {
		services = []string{gmail}
	}
	return slices.ContainsFunc(services, func(s string) bool { return e.is("call "+s, Passed) })
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
		e.missCall(service, "it has no read that needs nothing but the user; a job shows it")
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

// missCall says why no call shows what there is of the API, so that whether it is on
// is not seen either, unless that was told.
func (e *exam) missCall(service, why string) {
	e.miss("call", service, why)
	read := service == directory.Service && e.is("administrator", Passed)
	for i, c := range e.report.Checks {
		if c.ID() == "api "+service && c.Status == NotReached && !read {
			e.report.Checks[i].Unseen = true
		}
	}
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
		e.missCall(service, p.Job.Action+" cannot be called: "+err.Error())
		return
	}
	n := e.names(scopes...)
	n.Service = service
	m := explain.Of(explain.Answer{Stage: jobs.StageCall, Status: refused.Status, Code: refused.Reason, Text: refused.Untrusted()})
	switch {
	case m.Row == "A8" && !p.Permitted:
		e.missCall(service, e.notPermitted(service, scopes))
	case m.Fault == author: // which is not the set-up's
		e.missCall(service, "it takes the token, but "+p.Job.Action+" was not answered: "+m.For(n).Message)
	default:
		e.fail("call", service, shown(m, refused.Error()).For(n))
	}
}

// notPermitted says what a token for scopes that permit no read leaves open: the API
// refuses it for that before it looks any further.
func (e *exam) notPermitted(service string, scopes []string) string {
	left := "whether " + service + " is on for " + e.o.User
	if !e.is("api "+service, Passed) {
		left = "whether the API is on, and " + left + ","
	}
	return "the token was taken; no read that needs nothing but the user is permitted by " + strings.Join(scopes, " ") +
		", so " + left + " shows only in a job"
}
