// Package quota keeps what is spent within what Google allows: a [Budget] counts what
// this instance spends, [Deferrals] are the times that Google has named.
package quota

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Limits are what may be spent in any 60 s, in quota units; 0 is no limit.
type Limits struct{ PerUser, PerProject int }

// Spend is one call.
type Spend struct {
	User  string
	Units int // more than a limit counts as all of it
	// Alone is a call that changes something: one at a time for each user. Others
	// run beside each other, a handful for each user.
	Alone bool
	// New is a call that was not put off before. Of others nobody knows.
	New bool
}

// WaitError says that a call's turn would not come within the budget's patience.
type WaitError struct {
	// Until is when its turn comes, if all who were told a time before come at
	// theirs.
	Until time.Time
}

func (e *WaitError) Error() string {
	return "quota: spent until " + e.Until.UTC().Format(time.RFC3339)
}

// lane is where calls of one user run beside each other.
type lane int

const (
	reads lane = iota
	alone
	lanes
)

// slots are how many calls of a user are under way at once. Gmail refuses from about
// ten on, and other instances make calls, too.
func (l lane) slots() int {
	const readsAtOnce = 5
	if l == alone {
		return 1
	}
	return readsAtOnce
}

// firstGuess is how long a call takes, until that is known.
const firstGuess = 100 * time.Millisecond

// Budget gives calls their turn, first come first served for each user, so that in no
// 60 s more is spent than the limits allow, whenever between its beginning and its
// answer Google counts a call. It is safe for concurrent use and leaves nothing
// running once nobody waits. Its clock is the monotonic one: where that stands still
// while the machine does, what was spent counts longer, and never shorter.
type Budget struct {
	patience time.Duration
	perUser  int
	start    time.Time

	mu      sync.Mutex
	project window
	full    time.Duration // until when all of the project's units are promised, about
	users   map[string]*user
	swept   int           // second in which users were last forgotten
	waiting []*turn       // in the order in which they came
	timer   *time.Timer   // rings when the first of them may have its units
	rings   time.Duration // then
	round   int           // of looking whose turn it is
	typical time.Duration // that a call takes, about
}

// user is what is known of one who spent something in the last minute, or is to.
type user struct {
	window
	busy, queued [lanes]int           // calls that have a slot, and those that wait
	told         []appointment        // to those who were put off, in the order of the times
	last         time.Duration        // of those times
	slotted      [lanes]time.Duration // when the last of those has left its slot
	stopped      int                  // the last round in which somebody had to wait for units
	until        time.Duration        // when the last of those has them
}

// turn is one call, which waits first for units and then for a slot.
type turn struct {
	budget *Budget
	user   *user
	lane   lane
	units  int
	claims bool          // it came at the time that was told
	at     time.Duration // when it has units, as far as is known
	holds  bool          // them
	come   chan struct{} // closed when its turn has come; nil where that was at once
	in     bool          // its turn has come
	begun  time.Duration // then
	over   bool
}

// NewBudget makes a Budget, in which nobody waits for longer than patience.
func NewBudget(l Limits, patience time.Duration) *Budget {
	return &Budget{
		patience: patience, perUser: l.PerUser,
		start:   time.Now().Add(-2 * span * time.Second), // so that no second that is looked at is negative
		project: newWindow(l.PerProject, 0), users: make(map[string]*user), rings: never, typical: firstGuess,
	}
}

// Take waits for the user's turn and for the units, for no longer than the patience;
// then done must be called when the call's answer is there, and may be again. Errors
// are ctx's, and *[WaitError]. That comes at once where the turn is known to be too
// far away; and when the patience has ended, for nobody knows how long the calls of
// those before will take.
func (b *Budget) Take(ctx context.Context, s Spend) (done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	patience := b.patience
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline))
	}
	t, err := b.queue(s, max(0, patience))
	if err != nil {
		return nil, err
	}
	if t.come != nil {
		if err := t.wait(ctx, patience); err != nil {
			return nil, err
		}
	}
	return t.done, nil
}

// queue puts a call in line, out of which it may come at once, or says when it is to
// come again.
func (b *Budget) queue(s Spend, patience time.Duration) (*turn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.admit(now) // whose time has come goes before
	t := &turn{budget: b, user: b.userOf(s.User, now), units: max(0, s.Units)}
	if s.Alone {
		t.lane = alone
	}
	t.claims = t.user.claim(now, s.New)
	last, from, free := now+patience, now, now+t.line()
	if t.user.stopped == b.round {
		from = t.user.until
	}
	if t.at = t.first(from, last); t.at == never || free > last {
		return nil, b.putOff(t, now, max(from, free))
	}
	t.user.queued[t.lane]++
	if t.letIn(now) {
		return t, nil
	}
	if !t.holds {
		t.promise(1)
	}
	t.come = make(chan struct{})
	b.waiting = append(b.waiting, t)
	b.setTimer(now)
	return t, nil
}

// wait waits for the turn.
func (t *turn) wait(ctx context.Context, patience time.Duration) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-t.come:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	b := t.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.admit(now) // its time may be this very moment
	err := ctx.Err()
	switch {
	case t.in && err == nil:
		return nil
	case t.in: // and no call will be made
		t.end(now, false)
	default:
		t.leave(now)
	}
	if err != nil {
		return err
	}
	return b.putOff(t, now, now+t.line())
}

// done ends the call.
func (t *turn) done() {
	t.budget.mu.Lock()
	defer t.budget.mu.Unlock()
	if !t.over {
		t.end(t.budget.now(), true)
	}
}

// end gives the slot to the next. What was spent counts for a minute from now.
func (t *turn) end(now time.Duration, spent bool) {
	b := t.budget
	t.over = true
	t.settle(now, spent)
	t.user.busy[t.lane]--
	if spent {
		// One call that hangs must not make all the others seem slow.
		took := min(now-t.begun, 2*b.typical+100*time.Millisecond)
		b.typical += (took - b.typical) / 8
	}
	b.admit(now)
}

// leave takes one who gave up out of the line. Whoever of the same user stands behind
// may have units earlier now.
func (t *turn) leave(now time.Duration) {
	b := t.budget
	b.waiting = slices.DeleteFunc(b.waiting, func(other *turn) bool { return other == t })
	t.user.queued[t.lane]--
	if t.holds {
		t.settle(now, false)
	} else {
		t.promise(-1)
	}
	for _, other := range b.waiting {
		if other.user == t.user && !other.holds {
			other.promise(-1)
			other.at = now
		}
	}
	b.admit(now)
}

// admit lets in all whose turn has come, in the order in which they came.
func (b *Budget) admit(now time.Duration) {
	b.round++
	if len(b.waiting) > 0 || b.rings != never {
		b.waiting = slices.DeleteFunc(b.waiting, func(t *turn) bool { return t.letIn(now) })
		b.setTimer(now)
	}
}

// letIn gives the call its turn if that has come: units go to who came first, and
// slots to who came first of those who run in the same lane.
func (t *turn) letIn(now time.Duration) bool {
	u := t.user
	if !t.holds && !t.obtain(now) || u.busy[t.lane] == t.lane.slots() {
		return false
	}
	u.queued[t.lane]--
	u.busy[t.lane]++
	t.in, t.begun = true, now
	if t.come != nil {
		close(t.come)
	}
	return true
}

// obtain takes the units if their time has come, and nobody of the same user who came
// earlier waits for some.
func (t *turn) obtain(now time.Duration) bool {
	u, round := t.user, t.budget.round
	if t.at <= now {
		u.advance(secondOf(now))
		if t.come != nil {
			t.promise(-1)
		}
		from := now
		if u.stopped == round {
			from = u.until
		}
		if t.at = t.first(from, never); t.at <= now {
			u.take(t.units)
			t.budget.project.take(t.units)
			t.holds = true
			return true
		}
		t.promise(1)
	}
	u.stopped, u.until = round, t.at
	return false
}

// setTimer has the timer ring when units may be there for somebody.
func (b *Budget) setTimer(now time.Duration) {
	next := never
	for _, t := range b.waiting {
		if !t.holds {
			next = min(next, t.at)
		}
	}
	switch {
	case next == b.rings:
	case b.timer == nil:
		b.timer = time.AfterFunc(next-now, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.admit(b.now())
		})
	case next == never:
		b.timer.Stop()
	default:
		b.timer.Reset(next - now)
	}
	b.rings = next
}

// now is the time since the start. The project's window is brought there, and once a
// minute the users are forgotten who have spent nothing.
func (b *Budget) now() time.Duration {
	now := time.Since(b.start)
	second := secondOf(now)
	b.project.advance(second)
	b.project.due = 0 // users change, so whoever of them is late loses to the others
	if second >= b.swept+span {
		b.swept = second
		for name, u := range b.users {
			u.advance(second)
			if u.sum+u.flying == 0 && u.busy == [lanes]int{} && u.queued == [lanes]int{} && u.last+grace <= now {
				delete(b.users, name)
			}
		}
	}
	return now
}

func (b *Budget) userOf(name string, now time.Duration) *user {
	u := b.users[name]
	if u == nil {
		u = &user{window: newWindow(b.perUser, secondOf(now))}
		b.users[name] = u
	}
	u.advance(secondOf(now))
	return u
}

// line is how long it takes, about, until a call that comes now has a slot.
func (t *turn) line() time.Duration {
	ahead := t.user.busy[t.lane] + t.user.queued[t.lane] + 1 - t.lane.slots()
	return t.each() * time.Duration(max(0, ahead))
}

// each is how long it takes, about, until one more of the lane has ended.
func (t *turn) each() time.Duration { return t.budget.typical / time.Duration(t.lane.slots()) }

// first is the first time from then on when both the user and the project have units;
// [never] where that is after the last that is of interest. What the user has under
// way is answered once those who change something have had their turn.
func (t *turn) first(from, last time.Duration) time.Duration {
	u, p := t.user, &t.budget.project
	most, mostOfAll := u.limit, p.limit
	if t.claims {
		most, mostOfAll = u.claimed(), p.claimed()
	}
	u.lag = secondOf(t.budget.typical*time.Duration(u.busy[alone]+u.queued[alone])) + 1
	for {
		at := p.first(u.first(from, last, t.units, most, span), last, t.units, mostOfAll, span)
		if at == from || at == never {
			return at
		}
		from = at
	}
}

// promise keeps the units for the turn's time, or takes that back.
func (t *turn) promise(sign int) {
	t.user.promise(t.at, t.units, sign)
	t.budget.project.promise(t.at, t.units, sign)
}

// settle ends what the turn has taken.
func (t *turn) settle(now time.Duration, spent bool) {
	t.user.advance(secondOf(now))
	t.user.settle(t.units, spent)
	t.budget.project.settle(t.units, spent)
}
