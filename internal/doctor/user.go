package doctor

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/directory"
	"github.com/onbehalf-dev/onbehalf/internal/explain"
)

// administrator reads the user in the Directory, as the administrator that the
// settings name.
func (e *exam) administrator(ctx context.Context) {
	if e.cfg.Admin == "" {
		e.skip("administrator", "", "ONBEHALF_ADMIN is not set")
		return
	}
	n := e.names(directory.Scope)
	n.User, n.Service = e.cfg.Admin, directory.Service
	d, err := e.google.Directory(e.cfg.Admin)
	if err == nil {
		e.found, err = d.User(ctx, e.o.User)
	}
	var refused *directory.Error
	var m explain.Meaning
	e.entry = err == nil || errors.As(err, &refused) // who asks the Directory has a token
	switch {
	case err == nil || directory.NotFound(err):
		e.exists = err == nil
		e.pass("administrator", "", "the Directory can be read as "+e.cfg.Admin)
		return
	case errors.As(err, &refused):
		m = shown(explain.Of(explain.Answer{Stage: "call", Status: refused.Status, Code: refused.Reason, Text: refused.Untrusted()}), refused.Error()).For(n)
	default:
		m = e.minting(err, n)
	}
	of := ""
	switch about := aboutOf(err); {
	case about == theScope:
		of = directory.Scope
		e.missing = append(e.missing, of)
	case m.Fault == theUser || m.Fault == author: // whom the operator has chosen
		m.Fault = operator
		m.Fix = "Set ONBEHALF_ADMIN to the primary address of an administrator of the organisation, and not " + e.cfg.Admin + "."
	}
	e.fail("administrator", of, m)
	e.broken["administrator"] = e.firstFailed("administrator")
}

// lookAtUser says what the Directory knows of the user.
func (e *exam) lookAtUser(ctx context.Context) {
	user, u := e.o.User, e.found
	switch cause := e.cause([]string{"administrator"}); {
	case e.cfg.Admin == "":
		e.skip("user", "", "set ONBEHALF_ADMIN to have "+user+" looked up; the steps below show most of it")
	case cause != "":
		e.skip("user", "", "because of "+cause+"; the steps below show most of it")
	case !e.exists:
		e.fail("user", "", e.of(explain.Mint("exchange", http.StatusBadRequest, "invalid_grant", "Invalid email or User ID"), e.names()))
	case !strings.EqualFold(u.PrimaryEmail, user):
		e.fail("user", "", explain.Meaning{Fault: author, Message: user + " is an alias of " + primary(u.PrimaryEmail) + "; only a primary address can be acted as.", Fix: "Name the primary address: onbehalf doctor --user " + primary(u.PrimaryEmail)})
	case u.Suspended:
		e.fail("user", "", explain.Meaning{Fault: theUser, Message: user + " is suspended.", Fix: "Leave " + user + " out, or have the Workspace administrator reactivate the account: Admin console › Directory › Users."})
	case u.Archived:
		e.fail("user", "", explain.Meaning{Fault: theUser, Message: user + " is archived.", Fix: "Leave " + user + " out, or have the Workspace administrator unarchive the account: Admin console › Directory › Users."})
	case !u.IsMailboxSetup && slices.Contains(e.services(), gmail):
		e.fail("user", "", e.of(explain.Answer{Stage: "call", Status: http.StatusBadRequest, Code: "failedPrecondition", Text: "Mail service not enabled"}, e.names()))
	default:
		e.pass("user", "", user+" exists, is active"+mailbox(u))
		e.spare(ctx, u.IsAdmin || u.IsDelegatedAdmin)
	}
}

const gmail = "gmail.googleapis.com"

func mailbox(u directory.User) string {
	if u.IsMailboxSetup {
		return ", and has a mailbox"
	}
	return ", and has no mailbox, which no action needs"
}

// scopes mints each scope by itself, so that the one that is missing is named.
func (e *exam) scopes(ctx context.Context) {
	all := e.allScopes()
	for i, scope := range all {
		if cause := e.broken["administrator "+scope]; cause != "" { // the same is missing
			e.skip("scope", scope, "because of "+cause)
			e.broken["scope "+scope] = cause
			continue
		}
		_, err := e.google.Minter.Token(ctx, e.o.User, scope)
		if err == nil {
			e.granted[scope], e.entry = true, true
			e.pass("scope", scope, "is authorized, and acting as "+e.o.User+" works")
			continue
		}
		m := e.minting(err, e.names(scope))
		switch about := aboutOf(err); {
		case about == theScope:
			e.fail("scope", scope, m)
			e.missing = append(e.missing, scope)
			continue
		case about == otherScope:
			e.fail("scope", scope, m)
			continue
		case m.Fault == theUser || m.Fault == author:
			e.fail("user", "", m)
		default: // of everything alike: it is said once
			e.fail("scope", scope, m)
			e.broken["scope"] = "scope " + scope
			all[i] = ""
		}
		e.skipScopes(all[i:])
		return
	}
}

// skipScopes says of those that were not asked for because of what.
func (e *exam) skipScopes(scopes []string) {
	cause := e.cause([]string{"user", "scope"})
	for _, scope := range scopes {
		if scope != "" {
			e.skip("scope", scope, "because of "+cause)
			e.broken["scope "+scope] = cause
		}
	}
}

// allScopes are those of all the actions, each once.
func (e *exam) allScopes() []string {
	var all []string
	for _, w := range e.wants {
		all = append(all, w.scopes...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// about is what a refusal is about.
type about int

const (
	anything   about = iota
	theScope         // it is not authorized
	otherScope       // this scope alone has another fault
)

// ofScopes are the rows of the table that are about the scope that was asked for.
var ofScopes = map[string]about{
	"T1": theScope, "T2": theScope, "T3": theScope, "T4": theScope,
	"T14": otherScope, "T15": otherScope, "T20": otherScope,
}

func aboutOf(err error) about {
	var refused *delegation.Error
	if !errors.As(err, &refused) {
		return anything
	}
	return ofScopes[access.Explain(refused).Row]
}

// mendScopes gives every missing scope the one remedy that mends them all.
func (e *exam) mendScopes() {
	if len(e.missing) == 0 {
		return
	}
	n := e.names(e.missing...)
	m := e.of(explain.Mint("exchange", http.StatusUnauthorized, "unauthorized_client", ""), n)
	none := ""
	if !e.entry {
		none = " None is: there may be no entry at all, or one of another client id than " + e.clientID + "."
	}
	for i := range e.report.Checks {
		c := &e.report.Checks[i]
		if c.Status == Failed && slices.Contains(e.missing, c.Of) {
			c.Says += none
			c.Fix = prefix(c.Fix) + m.Fix
		}
	}
}

// prefix is what a remedy says before it comes to the authorization.
func prefix(fix string) string {
	before, _, _ := strings.Cut(fix, "A Workspace administrator of ")
	return before
}
