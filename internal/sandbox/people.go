package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A person is a user of the organisation with what Google keeps for them.
type person struct {
	id    string
	email string // primary
	info  atomic.Pointer[User]
	box   atomic.Pointer[mailbox] // see mailbox
	since time.Time
}

// mailbox is made when somebody first looks: most users of a large organisation are
// only ever listed.
func (p *person) mailbox() *mailbox {
	if p.box.Load() == nil {
		p.box.CompareAndSwap(nil, newMailbox(p.email))
	}
	return p.box.Load()
}

// user returns the present state; the result is shared and must not be changed.
func (p *person) user() *User { return p.info.Load() }

// people is the directory of the organisation.
type people struct {
	mu        sync.RWMutex
	list      []*person // by primary address
	byAddress map[string]*person
	byID      map[string]*person
}

func newPeople() *people {
	return &people{byAddress: map[string]*person{}, byID: map[string]*person{}}
}

// find takes a primary address, an alias, or a numeric id.
func (p *people) find(key string) *person {
	key = strings.ToLower(key)
	p.mu.RLock()
	defer p.mu.RUnlock()
	if found := p.byAddress[key]; found != nil {
		return found
	}
	return p.byID[key]
}

// all returns everybody, ordered by primary address.
func (p *people) all() []*person {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Clone(p.list)
}

// some returns those of whom fits is true, as many as there is room for, in the order
// of their primary addresses or against it; from the one behind an address on, unless
// that is empty.
func (p *people) some(after string, descending bool, room int, fits func(*person) bool) []*person {
	p.mu.RLock()
	defer p.mu.RUnlock()
	at, step := 0, 1
	if descending {
		at, step = len(p.list)-1, -1
	}
	if after != "" {
		var there bool
		at, there = slices.BinarySearchFunc(p.list, after, byEmail)
		switch {
		case descending:
			at--
		case there:
			at++
		}
	}
	var out []*person
	for ; at >= 0 && at < len(p.list) && len(out) < room; at += step {
		if fits(p.list[at]) {
			out = append(out, p.list[at])
		}
	}
	return out
}

func byEmail(p *person, email string) int { return strings.Compare(p.email, email) }

// add admits a normalized and valid user.
func (p *people) add(u User, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	addresses := append([]string{u.PrimaryEmail}, u.Aliases...)
	for _, a := range addresses {
		if p.byAddress[a] != nil {
			return fmt.Errorf("%q is an address of %s already", a, p.byAddress[a].email)
		}
	}
	who := &person{id: numericID(u.PrimaryEmail), email: u.PrimaryEmail, since: now}
	who.info.Store(&u)
	for _, a := range addresses {
		p.byAddress[a] = who
	}
	p.byID[who.id] = who
	at, _ := slices.BinarySearchFunc(p.list, who.email, byEmail)
	p.list = slices.Insert(p.list, at, who)
	return nil
}

// change replaces the state of one person; addresses stay as they are.
func (p *people) change(who *person, edit func(*User)) User {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := *who.user()
	edit(&u)
	who.info.Store(&u)
	return u
}

// remove deletes a person with all addresses; tokens for them end.
func (p *people) remove(who *person) {
	p.change(who, func(u *User) { u.Suspended = true })
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range append([]string{who.email}, who.user().Aliases...) {
		delete(p.byAddress, a)
	}
	delete(p.byID, who.id)
	p.list = slices.DeleteFunc(p.list, func(one *person) bool { return one == who })
}
