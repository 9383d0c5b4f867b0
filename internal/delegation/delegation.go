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
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
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
	// Signer signs for the delegated service account.
	Signer Signer
	// HTTP exchanges what is signed. It must add no credentials of its own.
	HTTP *http.Client
	// Judge says what an error means.
	Judge func(*Error) Verdict
	// Tripped, where it is set, is told each time that nobody of a domain is asked for
	// any more, for 30 s: then one is again, and what comes of that may trip it anew.
	Tripped func(ctx context.Context, t Trip)
	// MaxEntries bounds the cache; 0 is [DefaultMaxEntries].
	MaxEntries int
}

// Minter mints and keeps access tokens. It is safe for concurrent use and
// leaves nothing running when its methods have returned.
type Minter struct {
	cfg   Config
	gates gates

	mu      sync.Mutex
	entries map[subject]*list.Element // of recent
	recent  *list.List                // of *entry, the one used last in front
}

// subject names a token. The user is empty for the service account itself; the
// scopes are sorted, so that their order does not matter, and empty for an ID
// token, which has an audience.
type subject struct {
	user, scopes, audience string
	lifetime               time.Duration
}

// gate is by whose grant the token is had.
func (s subject) gate() gateKey {
	_, domain, _ := strings.Cut(s.user, "@")
	return gateKey{domain: domain, scopes: s.scopes, audience: s.audience, lifetime: s.lifetime}
}

// entry is what is known for one key: a mint under way, a token, or a refusal.
type entry struct {
	subject
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
	case cfg.Signer == nil:
		return nil, errors.New("delegation: Signer is missing")
	case cfg.HTTP == nil:
		return nil, errors.New("delegation: HTTP is missing")
	case cfg.Judge == nil:
		return nil, errors.New("delegation: Judge is missing")
	}
	if cfg.MaxEntries == 0 {
		cfg.MaxEntries = DefaultMaxEntries
	}
	return &Minter{cfg: cfg, gates: gates{of: make(map[gateKey]*gate), tripped: cfg.Tripped}, entries: make(map[subject]*list.Element), recent: list.New()}, nil
}

// ServiceAccount is the e-mail address of the account that signs.
func (m *Minter) ServiceAccount() string { return m.cfg.Signer.ServiceAccount() }

// Token gives an access token of the user for exactly these scopes. However
// many callers ask for one token at once, one of them mints it, on its own
// context; the others wait, each on its own, and if that one gives up, the next
// takes over. An error is an [*Error], or ctx's own.
func (m *Minter) Token(ctx context.Context, user string, scopes ...string) (Token, error) {
	if user == "" {
		// Without a subject the token would be the service account's own.
		return Token{}, errors.New("delegation: a user is needed")
	}
	return m.token(ctx, subject{user: strings.ToLower(user), lifetime: tokenLifetime}, scopes)
}

// ServiceAccountToken gives an access token of the service account itself, of
// which otherwise the same holds. A signer without a key asks the IAM Credentials
// API for it (generateAccessToken), which takes iam.serviceAccounts.getAccessToken;
// lifetime is up to an hour, or up to 12 where the organisation allows it, and
// an hour where it is 0.
func (m *Minter) ServiceAccountToken(ctx context.Context, lifetime time.Duration, scopes ...string) (Token, error) {
	if lifetime == 0 {
		lifetime = tokenLifetime
	}
	_, issues := m.cfg.Signer.(issuer)
	switch longest := 12 * time.Hour; {
	case lifetime < time.Second || lifetime > longest:
		return Token{}, fmt.Errorf("delegation: a lifetime of %s is not accepted; up to %s is", lifetime, longest)
	case lifetime != tokenLifetime && !issues:
		return Token{}, fmt.Errorf("delegation: a lifetime of %s is not accepted; with a key it is always %s", lifetime, tokenLifetime)
	}
	return m.token(ctx, subject{lifetime: lifetime}, scopes)
}

func (m *Minter) token(ctx context.Context, k subject, scopes []string) (Token, error) {
	if len(scopes) == 0 {
		return Token{}, errors.New("delegation: at least one scope is needed")
	}
	sorted := slices.Sorted(slices.Values(scopes))
	k.scopes = strings.Join(slices.Compact(sorted), " ")
	return m.obtain(ctx, k)
}

// obtain gives the token that is kept, or the one that is being minted, or mints it.
func (m *Minter) obtain(ctx context.Context, k subject) (Token, error) {
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
	if e := m.entry(t.subject); e != nil && e.ended() && e.token.secret == t.secret { // the same one, by its pointer
		m.remove(e)
	}
}

// look gives the flight that answers for k, under way or ended; or, where there
// is none, the entry for which this caller is to mint.
func (m *Minter) look(k subject) (*entry, *flight) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entry(k)
	switch {
	case e == nil:
		e = &entry{subject: k}
		m.entries[k] = m.recent.PushFront(e)
	case !e.ended():
		return nil, e.flight
	case time.Now().Before(e.expires):
		m.recent.MoveToFront(m.entries[k])
		return nil, e.flight
	}
	m.recent.MoveToFront(m.entries[k]) // lest what is about to be minted be the first to go
	e.flight = &flight{done: make(chan struct{}), void: true}
	return e, nil
}

// lead mints for everyone who waits on e, and keeps what came of it.
func (m *Minter) lead(ctx context.Context, e *entry) (Token, error) {
	f := e.flight
	defer func() { // also where the mint panics
		m.mu.Lock()
		defer m.mu.Unlock()
		kept := m.memory(f)
		e.expires = time.Now().Add(kept)
		close(f.done)
		if kept <= 0 {
			m.remove(e)
		} else {
			m.evict() // not before there is something to keep: a crowd that gets nothing costs nobody a token
		}
	}()
	f.token, f.err = m.guarded(ctx, e.subject)
	var refusal *Error
	f.void = f.err != nil && (ctx.Err() != nil || errors.As(f.err, &refusal) && refusal.Unfinished)
	return f.token, f.err
}

// guarded mints behind the gate of the domain and the scopes.
func (m *Minter) guarded(ctx context.Context, k subject) (token Token, err error) {
	leave, err := m.gates.enter(ctx, k.gate())
	if err != nil {
		return Token{}, err
	}
	came := end{user: k.user, begun: time.Now(), gone: true}
	defer func() { leave(ctx, came) }() // also where the mint panics
	token, err = m.mint(ctx, k)
	var refusal *Error
	switch {
	case err == nil:
		came.gone = false
	case errors.As(err, &refusal) && !refusal.Unfinished:
		dated := *refusal
		dated.Since = came.begun
		came.gone, came.refusal, came.breadth = false, &dated, m.cfg.Judge(&dated).Breadth
		err = &dated
	}
	return token, err
}

// memory is how long what came of a mint is handed out again.
func (m *Minter) memory(f *flight) time.Duration {
	var refusal *Error
	switch {
	case f.void:
		return 0
	case f.err == nil:
		return time.Until(f.token.expires) - freshness
	case !errors.As(f.err, &refusal) || refusal.Unfinished || refusal.Shared != OneUser || m.cfg.Judge(refusal).Passing:
		return 0 // what is shared, the gate remembers
	}
	return refusalMemory
}

func (m *Minter) entry(k subject) *entry {
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
	if element := m.entries[e.subject]; element != nil && element.Value == e {
		delete(m.entries, e.subject)
		m.recent.Remove(element)
	}
}
