package sandbox

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// An account is a service account with its keys.
type account struct {
	email, id      string
	disabled, long bool
	keys           *keyring
	signers        atomic.Pointer[[]string]
	delegated      atomic.Pointer[[]string] // nil: no entry in the Admin console
}

// accounts finds service accounts by e-mail or by numeric id.
type accounts struct {
	mu    sync.RWMutex
	list  []*account
	byKey map[string]*account
}

func newAccounts() *accounts { return &accounts{byKey: map[string]*account{}} }

func (a *accounts) add(sa ServiceAccount, keys *keyring) {
	acc := &account{email: sa.Email, id: sa.UniqueID, disabled: sa.Disabled, long: sa.LongLifetime, keys: keys}
	acc.signers.Store(&sa.Signers)
	if sa.DelegatedScopes != nil {
		acc.delegate(sa.DelegatedScopes)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = append(a.list, acc)
	a.byKey[acc.email], a.byKey[acc.id] = acc, acc
}

func (a *accounts) find(key string) *account {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.byKey[strings.ToLower(key)]
}

func (a *accounts) all() []*account {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return slices.Clone(a.list)
}

// delegate sets the account's entry under domain-wide delegation.
func (a *account) delegate(scopes []string) {
	if scopes == nil {
		a.delegated.Store(nil)
		return
	}
	scopes = slices.Clone(scopes)
	a.delegated.Store(&scopes)
}

func (a *account) entry() []string {
	if p := a.delegated.Load(); p != nil {
		return *p
	}
	return nil
}

func (a *account) signedBy(principal string) bool {
	return slices.Contains(*a.signers.Load(), strings.ToLower(principal))
}
