// Package doctor finds what in a set-up is wrong: whose identity this is, what
// it may do, what the Workspace has authorized, and what it then gets. It asks
// Google and does nothing; of whatever fails it says who must act, and how.
//
// One cause is one failure: what depends on it is not reached, and says because
// of what.
package doctor

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/api/option"

	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/directory"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
)

// Status is what came of a check.
type Status string

// What can come of a check.
const (
	Passed     Status = "passed"
	Failed     Status = "failed"
	NotReached Status = "notReached" // another check failed, or it may not be asked
)

// Check is one thing that was looked at.
type Check struct {
	Name string `json:"name"`
	// Of is which one, where there are several of the name: a scope, an API, a topic.
	Of     string `json:"of,omitempty"`
	Status Status `json:"status"`
	// Says is what was found, or why it was not reached.
	Says string `json:"says"`
	// Unseen says of a check that was not reached that nothing else shows what it would
	// have shown, though no other check failed.
	Unseen bool `json:"unseen,omitempty"`
	// Fault is who must act, and Fix what they do; of failed checks only.
	Fault jobs.Fault `json:"fault,omitempty"`
	Fix   string     `json:"fix,omitempty"`
}

// Who must act, as [jobs.Fault] has it.
const (
	operator = jobs.FaultOperator
	theUser  = jobs.FaultUser
	author   = jobs.FaultJob
)

// ID is the name of the check, and of what.
func (c Check) ID() string { return strings.TrimSpace(c.Name + " " + c.Of) }

// Report is what came of an examination.
type Report struct {
	// Checks are in the order in which they depend on each other.
	Checks []Check `json:"checks"`
	// Next is the one thing to do next.
	Next string `json:"next"`
}

// Failed tells whether there is anything to mend.
func (r *Report) Failed() bool {
	return slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Status == Failed })
}

// Options are what is examined.
type Options struct {
	// Environ has the settings, as os.Environ gives them.
	Environ []string
	// User is whom to act as.
	User string
	// Actions are what is to be done; none is what the policy lists.
	Actions []string
	// Policy stands in for the one that the settings name; From says where it is from.
	Policy *policy.Policy
	From   string
	// Run is the command that does jobs in this set-up.
	Run    string
	Access access.Options
	// PubSub reaches Pub/Sub in place of the settings' way; mostly empty.
	PubSub []option.ClientOption
	// Firestore likewise.
	Firestore []option.ClientOption
	// Tell, unless nil, is told what is waited for.
	Tell func(string)
	// Patience is how long a right that was just granted is waited for; 0 is not at all.
	Patience time.Duration
}

// Patience is long enough for most rights that were just granted.
const Patience = 10 * time.Second

// longest is how long an examination takes at most.
const longest = 2 * time.Minute

// steps are what is looked at, one after the other. needs are the ids of checks,
// or steps, without which there is nothing to see.
var steps = []struct {
	name  string
	needs []string
	do    func(*exam, context.Context)
}{
	{"settings", nil, (*exam).settings},
	{"identity", []string{"settings"}, (*exam).identity},
	{"project", []string{"identity"}, (*exam).project},
	{"policy", []string{"identity"}, (*exam).judge},
	{"signer", []string{"identity"}, (*exam).makeSigner},
	{"service account", []string{"signer"}, (*exam).serviceAccount},
	{"clock", []string{"service account"}, (*exam).clock},
	{"api", []string{"signer"}, (*exam).apis},
	{"sign", []string{"service account", "key", "clock", "api " + iamCredentials}, (*exam).sign},
	{"client id", []string{"sign"}, (*exam).findClientID},
	{"administrator", []string{"client id", "api " + directory.Service}, (*exam).administrator},
	{"user", []string{"client id"}, (*exam).lookAtUser},
	{"scope", []string{"client id", "policy", "user"}, (*exam).scopes},
	{"call", []string{"client id", "policy", "user"}, (*exam).calls},
	{"topic", []string{"project", "api " + pubSub}, (*exam).topics},
	{"ledger", []string{"settings"}, (*exam).ledger},
}

// Examine looks at everything. An error is of wrong use, and says what is
// accepted, or ctx's own.
func Examine(ctx context.Context, o Options) (*Report, error) {
	e, err := newExam(o)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	for _, s := range steps {
		if cause := e.cause(s.needs); cause != "" {
			e.block(s.name, cause)
			continue
		}
		s.do(e, bounded)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case e.misuse != nil:
			return nil, e.misuse
		}
	}
	e.mendScopes()
	e.report.Next = e.next()
	return &e.report, nil
}

// next is what to do first.
func (e *exam) next() string {
	var unseen []string
	for _, c := range e.report.Checks {
		switch {
		case c.Status == Failed:
			return c.Fix
		case c.Unseen:
			unseen = append(unseen, c.ID())
		}
	}
	found := "Nothing has to be mended."
	if len(unseen) > 0 {
		found = "Nothing that could be seen has to be mended; not seen: " + strings.Join(unseen, ", ") + "."
	}
	return found + " Publish a job to " + e.cfg.JobsTopic + ", or try: " + e.o.Run
}
