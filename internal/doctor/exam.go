package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/directory"
	"github.com/onbehalf-dev/onbehalf/internal/explain"
)

// exam is one examination: what was found so far.
type exam struct {
	o       Options
	methods *actions.Methods
	report  Report
	// broken has, for each check and step that did not pass, the failed check that
	// is the cause.
	broken map[string]string
	misuse error // what is asked for cannot be examined

	cfg      config.Config
	google   *access.Access
	who      access.Who
	number   string // the project's
	signer   delegation.Signer
	account  string // the delegated service account
	keys     keySet
	clientID string
	found    directory.User
	exists   bool            // the user is in the Directory
	wants    []want          // what the policy allows of what was asked for
	missing  []string        // scopes that are not authorized
	granted  map[string]bool // scopes for which there is a token as the user
	entry    bool            // the Workspace has authorized some scope
}

// want is an action and what it takes.
type want struct {
	action  string
	service string
	scopes  []string
}

func newExam(o Options) (*exam, error) {
	e := &exam{o: o, methods: actions.NewMethods(), broken: make(map[string]string), granted: make(map[string]bool)}
	return e, e.checkUse()
}

// cause is the failed check because of which one of these cannot be had.
func (e *exam) cause(needs []string) string {
	for _, id := range needs {
		if cause := e.broken[id]; cause != "" {
			return cause
		}
	}
	return ""
}

func (e *exam) add(c Check) {
	same := func(was Check) bool { return was.ID() == c.ID() }
	if i := slices.IndexFunc(e.report.Checks, same); i >= 0 { // a later step has found out more
		e.report.Checks[i] = c
		return
	}
	e.report.Checks = append(e.report.Checks, c)
}

func (e *exam) pass(name, of, says string) {
	e.add(Check{Name: name, Of: of, Status: Passed, Says: says})
}

// fail says what is wrong, and that what needs it cannot be had.
func (e *exam) fail(name, of string, m explain.Meaning) {
	c := Check{Name: name, Of: of, Status: Failed, Says: m.Message, Fault: m.Fault, Fix: m.Fix}
	e.add(c)
	e.broken[c.ID()] = c.ID()
}

// firstFailed is the first failed check of a name.
func (e *exam) firstFailed(name string) string {
	for _, c := range e.report.Checks {
		if c.Name == name && c.Status == Failed {
			return c.ID()
		}
	}
	return ""
}

// operators is a fault that the operator mends.
func operators(message, fix string) explain.Meaning {
	return explain.Meaning{Fault: operator, Message: message, Fix: fix}
}

// skip says that a check was not reached for a reason that is nobody's fault.
func (e *exam) skip(name, of, why string) {
	e.add(Check{Name: name, Of: of, Status: NotReached, Says: why})
}

// miss says of a check what skip does, and that nothing else shows what it would have.
func (e *exam) miss(name, of, why string) {
	e.add(Check{Name: name, Of: of, Status: NotReached, Says: why, Unseen: true})
}

// is tells whether that came of the check of this id.
func (e *exam) is(id string, s Status) bool {
	return slices.ContainsFunc(e.report.Checks, func(c Check) bool { return c.ID() == id && c.Status == s })
}

// block says that a step was not reached because of a check that failed.
func (e *exam) block(step, cause string) {
	e.skip(step, "", "because of "+cause)
	e.broken[step] = cause
}

// names are what messages are filled in with.
func (e *exam) names(scopes ...string) explain.Names {
	n := explain.Names{Account: e.account, ClientID: e.clientID, User: e.o.User, Scopes: scopes, Caller: e.who.Member()}
	if e.google != nil {
		n.Project = cmp.Or(explain.AccountProject(e.account), e.google.Project)
		if n.Project == e.google.Project {
			n.ProjectNumber = e.number
		}
	}
	return n
}

// of is the meaning of an answer of Google's that was foreseen.
func (e *exam) of(a explain.Answer, n explain.Names) explain.Meaning {
	return shown(explain.Of(a), "").For(n)
}

// minting is the meaning of why there is no token or no signature.
func (e *exam) minting(err error, n explain.Names) explain.Meaning {
	var refused *delegation.Error
	if !errors.As(err, &refused) { // the time was up
		return e.of(explain.Mint("exchange", 0, "noAnswer", ""), n)
	}
	return shown(access.Explain(refused), refused.Error()).For(n)
}

// shown adds to what is not known by which words it can be looked up.
func shown(m explain.Meaning, words string) explain.Meaning {
	if m.Row == "" && words != "" {
		m.Message += " (" + words + ")"
	}
	return m
}

const (
	// askTimeout bounds one question.
	askTimeout = 20 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 1 << 20
)

// ask gets JSON. The header is that of the answer, also where the status is not 200;
// an error says that there was no answer, and holds nothing of one.
func ask(ctx context.Context, client *http.Client, url string, answer any) (status int, header http.Header, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, errNoAnswer
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil || res.StatusCode == http.StatusOK && json.Unmarshal(body, answer) != nil {
		return 0, nil, errNoAnswer
	}
	return res.StatusCode, res.Header, nil
}

var errNoAnswer = errors.New("no answer that can be read")
