package sandbox

import (
	"crypto/rand"
	"encoding/base64"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// tokenLife is what Google answers for an hour's token.
const tokenLife = 3599 * time.Second

const (
	tokenShards   = 32
	tokenSweepMin = 4096 // a shard smaller than this is never swept
)

// A token is one access token and what it stands for.
type token struct {
	value   string
	account string  // whom it was issued to: a service account, who signed in, or a federated principal
	signIn  *SignIn // of somebody who signed in; nil for all others
	person  *person // whom it acts as; nil is the account itself
	scopes  []string
	expires time.Time
	revoked atomic.Bool
}

// principal is who Google says the caller is.
func (t *token) principal() string {
	if t.person != nil {
		return t.person.email
	}
	return t.account
}

// tokens holds the issued ones in shards, since every call looks one up.
type tokens struct {
	seed   maphash.Seed
	shards [tokenShards]tokenShard
}

type tokenShard struct {
	mu     sync.RWMutex
	issued map[string]*token
	sweep  int // size at which the ended ones are thrown out
}

func newTokens() *tokens {
	t := &tokens{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i] = tokenShard{issued: map[string]*token{}, sweep: tokenSweepMin}
	}
	return t
}

func (t *tokens) shard(value string) *tokenShard {
	return &t.shards[maphash.String(t.seed, value)%tokenShards]
}

func (t *tokens) add(tok *token, now time.Time) {
	s := t.shard(tok.value)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issued[tok.value] = tok
	if len(s.issued) < s.sweep {
		return
	}
	for value, old := range s.issued {
		if !now.Before(old.expires) {
			delete(s.issued, value)
		}
	}
	s.sweep = max(tokenSweepMin, 2*len(s.issued))
}

// get returns the token, or nil if it was never issued.
func (t *tokens) get(value string) *token {
	s := t.shard(value)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.issued[value]
}

// live tells whether a call may still use it. Google ends the tokens of a
// user who is suspended; that it does so at once is assumed.
func (t *token) live(now time.Time) bool {
	if t == nil || t.revoked.Load() || !now.Before(t.expires) {
		return false
	}
	if t.person == nil {
		return true
	}
	u := t.person.user()
	return !u.Suspended && !u.Archived
}

// issue makes a token of an account, for itself or to act as a person.
func (s *Server) issue(account string, as *person, scopes []string, life time.Duration) *token {
	return s.hand(&token{account: account, person: as, scopes: scopes}, life)
}

// hand makes the value of a token, in the style of Google's and recognisably not one
// of them, from when on it is good.
func (s *Server) hand(t *token, life time.Duration) *token {
	raw := make([]byte, 30)
	rand.Read(raw) // never fails, since Go 1.24
	now := s.now()
	t.value, t.expires = "ya29.sandbox-"+base64.RawURLEncoding.EncodeToString(raw), now.Add(life)
	s.tokens.add(t, now)
	s.secrets.add(t.value)
	return t
}
