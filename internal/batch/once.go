package batch

import (
	"context"
	"crypto/sha256"
)

// userHash stands for a user where very many are remembered: two that share one are
// not to be found.
type userHash [16]byte

func hashOf(user string) userHash {
	sum := sha256.Sum256([]byte(user))
	return userHash(sum[:])
}

// once sees to it that nobody is on two pages. A page may be read again, when it could
// not be kept: those who are on no other are new on it again.
type once struct {
	on      bool // otherwise everybody is new
	earlier func(ctx context.Context, each func(user string)) error

	known    map[userHash]struct{} // nil: not yet
	last     []userHash            // who were new on the page that was read last
	at, next string                // the cursors of that page, and of the one after it
}

// turn begins a page.
func (o *once) turn(ctx context.Context, cursor, next string) error {
	switch {
	case o.known != nil && cursor == o.at:
		for _, h := range o.last {
			delete(o.known, h)
		}
	case o.known != nil && cursor == o.next:
	default:
		o.known = make(map[userHash]struct{})
		if cursor == "" || o.earlier == nil {
			break
		}
		if err := o.earlier(ctx, func(user string) { o.known[hashOf(user)] = struct{}{} }); err != nil {
			o.known = nil
			return err
		}
	}
	o.last, o.at, o.next = o.last[:0], cursor, next
	return nil
}

// has tells whether somebody is on a page before this one.
func (o *once) has(user string) bool {
	_, known := o.known[hashOf(user)]
	return known && o.on
}

// add is false for one who is on a page already.
func (o *once) add(user string) bool {
	if !o.on {
		return true
	}
	h := hashOf(user)
	if _, known := o.known[h]; known {
		return false
	}
	o.known[h] = struct{}{}
	o.last = append(o.last, h)
	return true
}
