// Package actions turns a job into one call of a Google API, and the call's
// answer back into JSON. A job is checked here against its method before
// anything is sent: what cannot be right never leaves.
package actions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/semaphore"
	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Actions makes calls. One serves all jobs and all users at once.
type Actions struct {
	gmail   *gmail.Service
	storage *storage.Service
	room    *semaphore.Weighted // for the bytes of letters from Cloud Storage
}

// Config is what [New] needs.
type Config struct {
	// HTTP sends requests as they are. The user's token is put on each of them
	// by [Call.Do]; it must add no credentials of its own.
	HTTP *http.Client
	// Own sends requests as the function itself, to read Cloud Storage.
	Own *http.Client
	// StorageEmulator is the base URL of an emulator of Cloud Storage to read
	// from instead, which is shown no token; mostly empty.
	StorageEmulator string
}

// New makes the services. It makes no call.
func New(ctx context.Context, cfg Config) (*Actions, error) {
	if cfg.HTTP == nil || cfg.Own == nil {
		return nil, errors.New("actions: both HTTP and Own are needed")
	}
	// The generated clients log whole requests and answers where an
	// environment variable asks for it: letters have no place in a log.
	quiet := option.WithLogger(slog.New(slog.DiscardHandler))
	asUser := *cfg.HTTP
	asUser.Transport = userTransport{next: cfg.HTTP.Transport}
	mail, err := gmail.NewService(ctx, option.WithHTTPClient(&asUser), quiet)
	if err != nil {
		return nil, err
	}
	from := []option.ClientOption{option.WithHTTPClient(cfg.Own), quiet}
	if cfg.StorageEmulator != "" {
		from = []option.ClientOption{option.WithHTTPClient(cfg.HTTP), quiet, option.WithEndpoint(cfg.StorageEmulator + "/storage/v1/")}
	}
	objects, err := storage.NewService(ctx, from...)
	if err != nil {
		return nil, err
	}
	return &Actions{gmail: mail, storage: objects, room: semaphore.NewWeighted(maxHeld)}, nil
}

// Call is one checked call: it is loaded, then done, then closed.
type Call struct {
	// Scopes are the narrowest that the method accepts.
	Scopes []string
	// load gets the letter, as the function itself; done lets go of it.
	load func(ctx context.Context) (letter []byte, done func(), err error)
	// send makes the call, and gives what the API answered.
	send func(ctx context.Context, letter []byte) (answer any, err error)
	// once says that making it twice is not the same as making it once, so
	// that a lost answer leaves it open what has happened.
	once bool

	letter []byte
	done   func()
}

// Prepare checks the job against its method and gives the call that it asks
// for. An error is a [*jobs.FieldError].
func (a *Actions) Prepare(job jobs.Job) (*Call, error) {
	if job.Action == insertMethod {
		return a.insert(job)
	}
	return nil, jobs.Errorf("action", "is %s, which is not known here; accepted is %s", jobs.Quote(job.Action), insertMethod)
}

// Load gets what the call needs before it can be made. An error is an [*Error]
// or a [*jobs.FieldError].
func (c *Call) Load(ctx context.Context) (err error) {
	if c.letter, c.done, err = c.load(ctx); err != nil {
		return loadError(err)
	}
	return nil
}

// Close lets go of what Load has got.
func (c *Call) Close() { c.done() }

// Do makes the call as the user whose token authorize puts on a request, and
// gives the answer as JSON. An error is an [*Error].
func (c *Call) Do(ctx context.Context, authorize func(*http.Request)) (jsontext.Value, error) {
	s := &sending{authorize: authorize}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { s.connected.Store(true) }})
	answer, err := c.send(context.WithValue(ctx, sendingKey{}, s), c.letter)
	if err != nil {
		return nil, sendError(err, int(s.status.Load()), c.once && s.connected.Load())
	}
	return json.Marshal(answer)
}

// sending is one call on its way: as whom, and how far it has come.
type sending struct {
	authorize func(*http.Request)
	// connected says that a connection is at hand; before, nothing can have been sent.
	connected atomic.Bool
	// status is that of the answer. The generated client would rather believe what
	// the answer's body says of it.
	status atomic.Int32
}

type sendingKey struct{}

// userTransport puts the user's token on each request. It does so below the
// generated client, whose debug log therefore never sees it.
type userTransport struct{ next http.RoundTripper }

// maxWhole is the longest body, in bytes, that is gathered before it is sent,
// and usualWhole is what most fit into.
const (
	maxWhole   = 1 << 20
	usualWhole = 8 << 10
)

func (t userTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	s, ok := r.Context().Value(sendingKey{}).(*sending)
	if !ok { // only by a mistake of ours
		return nil, errors.Join(errors.New("actions: a request without a user"), closeBody(r))
	}
	out := *r // a RoundTripper may not change the request that it is given
	out.Header = r.Header.Clone()
	if err := whole(&out); err != nil {
		return nil, errors.Join(err, closeBody(r))
	}
	// With it the transport would send the call again by itself, also where the
	// other end has read all of it and only then reset the stream.
	out.GetBody = nil
	s.authorize(&out)
	res, err := t.next.RoundTrip(&out)
	if err == nil {
		s.status.Store(int32(res.StatusCode)) //nolint:gosec // three digits
	}
	return res, err
}

// closeBody does what a RoundTripper must, also where it sends nothing.
func closeBody(r *http.Request) error {
	if r.Body == nil {
		return nil
	}
	return r.Body.Close()
}

// whole gathers the body, which the generated client hands over in pieces of
// unknown length, if it is not too long. Then it leaves in one write.
func whole(r *http.Request) error {
	if r.Body == nil || r.ContentLength > 0 {
		return nil
	}
	var b bytes.Buffer
	b.Grow(usualWhole)
	n, err := io.CopyN(&b, r.Body, maxWhole)
	switch {
	case err == nil:
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(&b, r.Body), r.Body}
		return nil
	case !errors.Is(err, io.EOF):
		return err
	}
	if err := r.Body.Close(); err != nil {
		return err
	}
	r.ContentLength, r.Body = n, io.NopCloser(&b)
	return nil
}
