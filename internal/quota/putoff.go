package quota

import "time"

const (
	// horizon is how far ahead units are kept for those who were put off, which bounds
	// what that takes: some 24 bytes for each of them. Who is to come later is just told
	// a time that is later than the others'.
	horizon = time.Hour
	// grace is how late may come who was told a time.
	grace = late * time.Second
)

// appointment is a time that somebody was told, and the units that are kept for then.
type appointment struct {
	at    time.Duration
	units int
}

// claim has whoever comes, and may have been told a time, take the place of the next who
// was told to come by now, and tells whether there was one. Who does not come for a while
// has lost it.
func (u *user) claim(now time.Duration, isNew bool) (claimed bool) {
	for len(u.told) > 0 && u.told[0].at <= now && !claimed {
		next := u.told[0]
		inTime := next.at+grace >= now
		if inTime && isNew {
			break
		}
		u.told = u.told[1:]
		u.promise(next.at, next.units, -1)
		claimed = inTime
	}
	return claimed
}

// putOff finds the time at which the call has its turn behind all of the user's who
// were told one before, when there are units and a slot.
func (b *Budget) putOff(t *turn, now, from time.Duration) *WaitError {
	u := t.user
	at := max(from, u.last+time.Millisecond, u.slotted[t.lane])
	for next := never; at != next; {
		next = u.free(at, t.units)
		at = b.free(t, now, next)
	}
	gap := t.each()
	if t.at = at; at < now+horizon {
		t.promise(1)
		u.told = append(u.told, appointment{at, t.units})
	} else {
		gap = max(gap, u.pace(t.units), b.project.pace(t.units))
	}
	u.last, u.slotted[t.lane] = at, max(at+gap, u.slotted[t.lane])
	return &WaitError{Until: time.Now().Add(at - now).Round(0)}
}

// free is when the project has units for one who is put off. Until full it has none for
// any, and the seconds until then are not looked at again.
func (b *Budget) free(t *turn, now, from time.Duration) time.Duration {
	b.full = max(b.full, now+b.patience)
	start := max(from, b.full)
	at := b.project.free(start, t.units)
	if second := time.Duration(secondOf(at)) * time.Second; second > start && from <= b.full+time.Second {
		b.full = second
	}
	return at
}
