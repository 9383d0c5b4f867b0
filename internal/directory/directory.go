// Package directory reads the Directory of a Workspace organisation, as one of
// its administrators.
package directory

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"google.golang.org/api/googleapi"
)

const (
	// Scope is what the administrator's token must be for.
	Scope = "https://www.googleapis.com/auth/admin.directory.user.readonly"
	// Service is the API's name for gcloud services.
	Service = "admin.googleapis.com"

	usersURL = "https://" + Service + "/admin/directory/v1/users/"
	// userFields are those of [User].
	userFields = "primaryEmail,suspended,archived,isAdmin,isDelegatedAdmin,isMailboxSetup"
	// timeout bounds one call: much longer than the Directory ever takes, and short
	// enough that what waits for it can come again.
	timeout = 20 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 1 << 20
)

// Config is what a [Directory] needs.
type Config struct {
	// HTTP makes the calls. It must add no credentials of its own.
	HTTP *http.Client
	// Authorize makes a request one of the administrator's, with a token for [Scope].
	// What it returns is called when the API does not accept that token.
	Authorize func(ctx context.Context, r *http.Request) (refused func(), err error)
}

// Directory reads the Directory. It is safe for concurrent use.
type Directory struct{ cfg Config }

// New makes a Directory. It makes no call.
func New(cfg Config) (*Directory, error) {
	if cfg.HTTP == nil || cfg.Authorize == nil {
		return nil, errors.New("directory: both HTTP and Authorize are needed")
	}
	return &Directory{cfg}, nil
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
	err := d.get(ctx, usersURL+url.PathEscape(email)+"?fields="+url.QueryEscape(userFields), &user)
	if err == nil && user.PrimaryEmail == "" { // an answer without a user says nothing about one
		err = &Error{Status: http.StatusOK, Reason: NoAnswer}
	}
	return user, err
}

// get asks once more with another token where the first is not accepted: it may
// have been revoked, and another one be good.
func (d *Directory) get(ctx context.Context, address string, answer any) error {
	refused, err := d.ask(ctx, address, answer)
	if !unauthorized(err) {
		return err
	}
	refused()
	if refused, err = d.ask(ctx, address, answer); unauthorized(err) {
		refused()
	}
	return err
}

func (d *Directory) ask(ctx context.Context, address string, answer any) (refused func(), err error) {
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(within, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	if refused, err = d.cfg.Authorize(ctx, req); err != nil { // which takes the time that it needs
		return nil, err
	}
	res, err := d.cfg.HTTP.Do(req)
	if err != nil {
		return nil, given(ctx, &Error{Reason: NoAnswer, err: err})
	}
	defer res.Body.Close()
	res.Body = io.NopCloser(io.LimitReader(res.Body, maxAnswer))
	if err := googleapi.CheckResponse(res); err != nil {
		return refused, given(ctx, newError(res.StatusCode, err))
	}
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		return nil, given(ctx, &Error{Status: res.StatusCode, Reason: NoAnswer, err: err})
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
