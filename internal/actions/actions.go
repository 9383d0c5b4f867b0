// Package actions turns a job into one call of a Google API, and the call's
// answer back into JSON. A job is checked here against its method before
// anything is sent: what cannot be right never leaves.
//
// What Google states of its methods is in package discovery; what is known
// beyond that stands in knowledge.go, and in lookups.go how it is found out what
// came of a call whose answer was lost.
package actions

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
	"github.com/onbehalf-dev/onbehalf/internal/content"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Actions makes calls. One serves all jobs and all users at once.
type Actions struct {
	*Methods
	http    *http.Client
	storage *storage.Service
}

// Config is what [New] needs.
type Config struct {
	// HTTP sends requests as they are. The user's token is put on each of them
	// by [Call.Do]; it must add no credentials of its own.
	HTTP *http.Client
	// Own sends requests as the function itself, to read and write Cloud Storage.
	Own *http.Client
	// StorageEmulator is the base URL of an emulator of Cloud Storage to use
	// instead, which is shown no token; mostly empty.
	StorageEmulator string
}

// New makes the services. It makes no call.
func New(ctx context.Context, cfg Config) (*Actions, error) {
	if cfg.HTTP == nil || cfg.Own == nil {
		return nil, errors.New("actions: both HTTP and Own are needed")
	}
	// The generated client logs whole requests and answers where an environment
	// variable asks for it: letters have no place in a log.
	opts := []option.ClientOption{option.WithHTTPClient(cfg.Own), option.WithLogger(slog.New(slog.DiscardHandler))}
	if cfg.StorageEmulator != "" {
		opts = append(opts, option.WithHTTPClient(cfg.HTTP), option.WithEndpoint(cfg.StorageEmulator+"/storage/v1/"))
	}
	objects, err := storage.NewService(ctx, opts...)
	if err != nil {
		return nil, err
	}
	return &Actions{NewMethods(), cfg.HTTP, objects}, nil
}

// Files opens files beside those of calls, with the same identity; local: of this
// machine, too.
func (a *Actions) Files(local bool) content.Files {
	return content.Files{Storage: a.storage, Local: local}
}

// Call is one checked call: it is loaded, then done.
type Call struct {
	// Scopes are the narrowest that the method accepts for this job.
	Scopes []string
	// Class says what it means to make the call twice.
	Class Class
	// Units are the quota units of the call, where the API counts in them;
	// otherwise 1, a request.
	Units int
	// Service is the API's name for gcloud services, such as
	// "gmail.googleapis.com".
	Service string

	*Actions
	job    jobs.Job
	method *discovery.Method
	path   map[string]string
	query  url.Values
	body   []byte // nil where the method takes none
	// media is what is uploaded, and mediaType its type; nil where there is nothing,
	// and until it is loaded.
	media     content.Content
	mediaType string
	loaded    bool
	kept      bool
	// ours says that what the call makes has an id that no other call gives, and
	// noID that it can have none; theirs, that it has one of the author's choice, with
	// which Google refuses a second call.
	ours, noID, theirs bool
}

// Prepare checks the job against its method and gives the call that it asks
// for. An error is a [*jobs.FieldError].
func (a *Actions) Prepare(ctx context.Context, job jobs.Job) (*Call, error) {
	c, err := a.prepare(job)
	if err != nil {
		return nil, err
	}
	if c.remote() {
		return c, nil
	}
	// What stands in the job itself is looked into now, before anything is asked
	// of Google.
	return c, c.Load(ctx)
}

func (a *Actions) prepare(job jobs.Job) (*Call, error) {
	m, err := a.find(job.Action)
	if err != nil {
		return nil, err
	}
	c := &Call{Actions: a, job: job, method: m, Service: m.Service(), Units: unitsOf(m.ID)}
	if c.path, c.query, err = checkParams(m, job); err != nil {
		return nil, err
	}
	c.Class = classOf(m, job, c.query)
	c.kept = kept(m, c.Class)
	if err := a.checkVerb(m, c.path); err != nil {
		return nil, err
	}
	if err := checkBody(m, job.Body, c.takesLetter() || job.Media != nil); err != nil {
		return nil, err
	}
	c.identify()
	if m.Request != nil {
		c.body = encode(c.job.Body)
	}
	for _, check := range []func() error{c.checkLetter, c.checkMedia, c.checkOutput, c.checkPages} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	c.Scopes = scopesFor(m, job, c.query)
	return c, nil
}

// encode writes a body as Google's generated clients do.
func encode(body jsontext.Value) []byte {
	if body == nil {
		return []byte("{}\n")
	}
	body = slices.Clone(body)
	if err := body.Format(jsontext.EscapeForHTML(true), jsontext.PreserveRawStrings(false)); err != nil {
		panic("actions: a body that was checked is no JSON") // jobs.Decode has read it
	}
	return append(body, '\n')
}

func (c *Call) checkOutput() error {
	switch bytes := c.method.Download && c.method.Response == nil; {
	case c.job.Output == "" && bytes:
		return jobs.Errorf("output", "is missing; %s answers with a file: give gs://BUCKET/OBJECT to put it there", c.method.ID)
	case c.job.Output == "" || c.method.Download:
		return nil
	}
	return jobs.Errorf("output", "is given, but %s answers with JSON only, which comes in the result", c.method.ID)
}
