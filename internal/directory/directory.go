// Package directory reads the Directory of a Workspace organisation, as one of
// its administrators.
package directory

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"google.golang.org/api/googleapi"

	"github.com/onbehalf-dev/onbehalf/internal/apierror"
)

const (
	// Scope is what the administrator's token must be for.
	Scope = "https://www.googleapis.com/auth/admin.directory.user.readonly"
	// GroupScope is what it must be for where the members of groups are read.
	GroupScope = "https://www.googleapis.com/auth/admin.directory.group.member.readonly"
	// Service is the API's name for gcloud services.
	Service = "admin.googleapis.com"

	usersURL  = "https://" + Service + "/admin/directory/v1/users"
	groupsURL = "https://" + Service + "/admin/directory/v1/groups/"
	// userFields are those of [User].
	userFields = "primaryEmail,suspended,archived,isAdmin,isDelegatedAdmin,isMailboxSetup"
	// timeout bounds one call: much longer than the Directory ever takes, and short
	// enough that what waits for it can come again.
	timeout = 20 * time.Second
	// maxAnswer bounds what is read of an answer about one user, and maxList of a page
	// of 500: some 60 KB each, which only very many custom fields come to.
	maxAnswer, maxList = 1 << 20, 32 << 20
)

// Config is what a [Directory] needs.
type Config struct {
	// HTTP makes the calls. It must add no credentials of its own.
	HTTP *http.Client
	// Authorize makes a request one of the administrator's, with a token for the scope:
	// [Scope], or [GroupScope]. What it returns is called when the API does not accept
	// that token.
	Authorize func(ctx context.Context, r *http.Request, scope string) (refused func(), err error)
}

// Directory reads the Directory. It is safe for concurrent use.
type Directory struct {
	cfg Config
	// reads is set once the organisation's users could be listed.
	reads atomic.Bool
}

// New makes a Directory. It makes no call.
func New(cfg Config) (*Directory, error) {
	if cfg.HTTP == nil || cfg.Authorize == nil {
		return nil, errors.New("directory: both HTTP and Authorize are needed")
	}
	return &Directory{cfg: cfg}, nil
}

// User is what the Directory knows of a user.
type User struct {
	PrimaryEmail string `json:"primaryEmail"`
	Suspended    bool   `json:"suspended"`
	Archived     bool   `json:"archived"`
	// IsAdmin is of a super administrator, IsDelegatedAdmin of one who has an
	// administrator's role.
	IsAdmin          bool `json:"isAdmin"`
	IsDelegatedAdmin bool `json:"isDelegatedAdmin"`
	// IsMailboxSetup is whether there is a Gmail mailbox.
	IsMailboxSetup bool `json:"isMailboxSetup"`
}

// User reads one user, by the primary address or an alias
// (https://developers.google.com/workspace/admin/directory/reference/rest/v1/users/get).
// An error is an [*Error], ctx's own, or that of Authorize.
func (d *Directory) User(ctx context.Context, email string) (User, error) {
	var user User
	q := question{address: usersURL + "/" + url.PathEscape(email), query: map[string]string{"fields": userFields}, most: maxAnswer}
	err := d.get(ctx, q, &user)
	if err == nil && user.PrimaryEmail == "" { // an answer without a user says nothing about one
		err = &Error{Status: http.StatusOK, Reason: NoAnswer}
	}
	return user, err
}

// question is what is asked.
type question struct {
	address string
	query   map[string]string // without those that are empty
	scope   string            // empty: [Scope]
	most    int64             // bytes of an answer
}

func (q question) url() string {
	values := url.Values{"prettyPrint": {"false"}} // a list is half blanks otherwise
	for name, value := range q.query {
		if value != "" {
			values.Set(name, value)
		}
	}
	return q.address + "?" + values.Encode()
}

// get asks once more with another token where the first is not accepted: it may
// have been revoked, and another one be good.
func (d *Directory) get(ctx context.Context, q question, answer any) error {
	refused, err := d.ask(ctx, q, answer)
	if !unauthorized(err) {
		return err
	}
	refused()
	if refused, err = d.ask(ctx, q, answer); unauthorized(err) {
		refused()
	}
	return err
}

func (d *Directory) ask(ctx context.Context, q question, answer any) (refused func(), err error) {
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(within, http.MethodGet, q.url(), nil)
	if err != nil {
		return nil, err
	}
	scope := cmp.Or(q.scope, Scope)
	if refused, err = d.cfg.Authorize(ctx, req, scope); err != nil { // which takes the time that it needs
		return nil, &TokenError{Scope: scope, err: err}
	}
	res, err := d.cfg.HTTP.Do(req)
	if err != nil {
		return nil, given(ctx, &Error{Reason: NoAnswer, err: err})
	}
	defer res.Body.Close()
	body := &io.LimitedReader{R: res.Body, N: q.most}
	res.Body = io.NopCloser(body)
	if err := googleapi.CheckResponse(res); err != nil {
		return refused, given(ctx, newError(res.StatusCode, apierror.RetryAfter(res.StatusCode, res.Header), err))
	}
	if err := json.UnmarshalRead(body, answer, json.MatchCaseInsensitiveNames(true)); err != nil {
		e := &Error{Status: res.StatusCode, Reason: NoAnswer, err: err}
		if body.N == 0 {
			e.Reason = TooLarge
		}
		return nil, given(ctx, e)
	}
	return refused, nil
}

// given is err, or ctx's own where the caller has given up.
func given(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
