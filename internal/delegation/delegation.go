// Package delegation turns (service account, user, scopes) into an access
// token of that user, without any service-account key: the IAM Credentials API
// signs a JWT that names the user as its subject, and Google's token endpoint
// exchanges it (RFC 7523, domain-wide delegation). Without a subject the token is
// the service account's own.
//
// It knows nothing of what the token is for.
package delegation

import (
	"container/list"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/auth"
)

const (
	// tokenLifetime is the longest that Google accepts for a delegated token.
	tokenLifetime = time.Hour
	// clockSkew is how far iat is dated back. Google accepts an iat up to an
	// hour old but only minutes ahead, so a clock that runs fast is the danger.
	clockSkew = 10 * time.Second
	// freshness is how long a cached token must still live to be handed out:
	// longer than any one call takes.
	freshness = 5 * time.Minute
	// refusalMemory is how long a definite refusal (4xx) is repeated from memory:
	// so long that a crowd of jobs for one dead user costs a handful of calls, so
	// short that a grant that was just made soon counts.
	refusalMemory = 30 * time.Second
	// DefaultMaxEntries is how many tokens are kept, about 1.5 KB each.
	DefaultMaxEntries = 10_000
)

// Config is what a [Minter] needs.
type Config struct {
	// ServiceAccount is the e-mail address of the delegated service account.
	ServiceAccount string
	// Delegates are the service accounts from the caller to ServiceAccount,
	// each of which may create tokens for the next; mostly none.
	Delegates []string
	// Identity is whose right to sign is used: the runtime's own credentials.
	Identity auth.TokenProvider
	// HTTP makes the calls. It must add no credentials of its own.
	HTTP *http.Client
	// MaxEntries bounds the cache; 0 is [DefaultMaxEntries].
	MaxEntries int
}

// Minter mints and keeps access tokens. It is safe for concurrent use and
// leaves nothing running when its methods have returned.
type Minter struct {
	cfg Config

	mu      sync.Mutex
	entries map[key]*list.Element // of recent
	recent  *list.List            // of *entry, the one used last in front
}

// key names a token. The user is empty for the service account itself; the
// scopes are sorted, so that their order does not matter.
type key struct{ user, scopes string }

// entry is what is known for one key: a mint under way, a token, or a refusal.
type entry struct {
	key
	*flight
	expires time.Time // when what came of the flight stops being handed out
}

// flight is one mint, which all who ask meanwhile share.
type flight struct {
	done  chan struct{} // closed when token and err are set
	token Token
	err   error
	// void says that the one who minted gave up, which says nothing to the others.
	void bool
}

// ended tells whether the mint is over.
func (f *flight) ended() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// New makes a minter. It makes no call.
func New(cfg Config) (*Minter, error) {
	switch {
	case cfg.ServiceAccount == "":
		return nil, errors.New("delegation: ServiceAccount is missing")
	case cfg.Identity == nil:
		return nil, errors.New("delegation: Identity is missing")
	case cfg.HTTP == nil:
		return nil, errors.New("delegation: HTTP is missing")
	}
	if cfg.MaxEntries == 0 {
		cfg.MaxEntries = DefaultMaxEntries
	}
	return &Minter{cfg: cfg, entries: make(map[key]*list.Element), recent: list.New()}, nil
}

// ServiceAccount is the e-mail address of the account that signs.
func (m *Minter) ServiceAccount() string { return m.cfg.ServiceAccount }

// Token gives an access token of the user for exactly these scopes. However
// many callers ask for one token at once, one of them mints it, on its own
// context; the others wait, each on its own, and if that one gives up, the next
// takes over. An error is an [*Error], or ctx's own.
func (m *Minter) Token(ctx context.Context, user string, scopes ...string) (Token, error) {
	if user == "" {
		// Without a subject the token would be the service account's own.
		return Token{}, errors.New("delegation: a user is needed")
	}
	return m.token(ctx, strings.ToLower(user), scopes)
}

// ServiceAccountToken gives an access token of the service account itself, of
// which otherwise the same holds. It is made in the same way, but names no
// subject: the right to sign is all that it takes.
func (m *Minter) ServiceAccountToken(ctx context.Context, scopes ...string) (Token, error) {
	return m.token(ctx, "", scopes)
}

func (m *Minter) token(ctx context.Context, user string, scopes []string) (Token, error) {
	if len(scopes) == 0 {
		return Token{}, errors.New("delegation: at least one scope is needed")
	}
	sorted := slices.Sorted(slices.Values(scopes))
	k := key{user: user, scopes: strings.Join(slices.Compact(sorted), " ")}
	for {
		e, f := m.look(k)
		if e != nil {
			return m.lead(ctx, e)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return Token{}, ctx.Err()
		}
		if !f.void {
			return f.token, f.err
		}
	}
}

// Drop forgets a token that an API has refused. A newer one in its place stays.
func (m *Minter) Drop(t Token) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entry(t.key); e != nil && e.ended() && e.token.secret == t.secret { // the same one, by its pointer
		m.remove(e)
	}
}

// look gives the flight that answers for k, under way or ended; or, where there
// is none, the entry for which this caller is to mint.
func (m *Minter) look(k key) (*entry, *flight) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entry(k)
	switch {
	case e == nil:
		e = &entry{key: k}
		m.entries[k] = m.recent.PushFront(e)
	case !e.ended():
		return nil, e.flight
	case time.Now().Before(e.expires):
		m.recent.MoveToFront(m.entries[k])
		return nil, e.flight
	}
	e.flight = &flight{done: make(chan struct{}), void: true}
	m.evict()
	return e, nil
}

// lead mints for everyone who waits on e, and keeps what came of it.
func (m *Minter) lead(ctx context.Context, e *entry) (Token, error) {
	f := e.flight
	defer func() { // also where the mint panics
		m.mu.Lock()
		defer m.mu.Unlock()
		kept := memory(f)
		e.expires = time.Now().Add(kept)
		if kept <= 0 {
			m.remove(e)
		}
		close(f.done)
	}()
	f.token, f.err = m.mint(ctx, e.key)
	f.void = f.err != nil && ctx.Err() != nil
	return f.token, f.err
}

// memory is how long what came of a mint is handed out again.
func memory(f *flight) time.Duration {
	var refusal *Error
	switch {
	case f.void:
		return 0
	case f.err == nil:
		return time.Until(f.token.expires) - freshness
	case errors.As(f.err, &refusal) && refusal.definite():
		return refusalMemory
	}
	return 0
}

func (m *Minter) entry(k key) *entry {
	if element := m.entries[k]; element != nil {
		return element.Value.(*entry) //nolint:errcheck,forcetypeassert // only those go in
	}
	return nil
}

// evict lets go of what was unused longest and is not being minted, until the
// rest fits.
func (m *Minter) evict() {
	for element := m.recent.Back(); element != nil && m.recent.Len() > m.cfg.MaxEntries; {
		e, newer := element.Value.(*entry), element.Prev() //nolint:errcheck,forcetypeassert // only those go in
		if e.ended() {
			m.remove(e)
		}
		element = newer
	}
}

// remove lets go of e, unless another entry has taken its place.
func (m *Minter) remove(e *entry) {
	if element := m.entries[e.key]; element != nil && element.Value == e {
		delete(m.entries, e.key)
		m.recent.Remove(element)
	}
}
