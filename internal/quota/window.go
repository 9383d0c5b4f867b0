package quota

import (
	"math"
	"slices"
	"time"
)

const (
	// span is for how many whole seconds what was spent counts, its own included:
	// one more than the minute of Google's limits, for within its second it may have
	// been spent last.
	span = 61
	// late is how many seconds after the time that it was told somebody may come, about:
	// Retry-After has whole seconds, and a delivery takes its while. By so much longer
	// counts what is planned. Otherwise, where many minutes are planned, each is a
	// little later than the one before, and who comes at its time comes in vain.
	late = 2
	// never is later than any time that is asked for.
	never = time.Duration(math.MaxInt64)
)

// window counts what is spent of one limit: in the last minute, and in the seconds to
// come by those who were promised their turn then. Times are since the budget began.
// It takes about 400 bytes while nothing is promised.
type window struct {
	limit    int         // units in any minute; 0 is none
	second   int         // that is now
	flying   int         // units of calls that are not answered yet
	lag      int         // seconds from now within which they will be, about
	due      int         // units that were promised for now
	sum      int         // of settled
	settled  [span]int32 // units by the second of their answer, at second%span
	promised []int32     // units by second, from the next one on
}

func newWindow(limit, second int) window {
	if limit < 0 || limit > math.MaxInt32 {
		limit = 0 // nobody spends so much
	}
	return window{limit: limit, second: second}
}

// claimed is how much of the limit may be taken, in advance, by those who come at the
// time that they were told. Where some of them came late all are late, and would not
// fit in between the others to the last unit; so they wait, some 4 s at most.
func (w *window) claimed() int { return w.limit + w.limit/16 }

func secondOf(t time.Duration) int { return int(t / time.Second) }

// advance forgets what has passed. What was promised becomes due.
func (w *window) advance(second int) {
	if w.limit == 0 || second <= w.second {
		return
	}
	passed := min(second-w.second, len(w.promised))
	for _, units := range w.promised[:passed] {
		w.due += int(units)
	}
	if w.promised = w.promised[passed:]; len(w.promised) == 0 {
		w.promised = nil
	}
	for s := max(w.second+1, second-span+1); s <= second; s++ {
		w.sum -= int(w.settled[s%span])
		w.settled[s%span] = 0
	}
	w.second = second
}

// most is what counts of units: what is more than the limit could never be spent.
func (w *window) most(units int) int { return min(units, w.limit) }

func (w *window) take(units int) { w.flying += w.most(units) }

// settle ends what was taken, at this second. What was not spent counts no more.
func (w *window) settle(units int, spent bool) {
	units = w.most(units)
	w.flying -= units
	if spent && w.limit > 0 {
		w.settled[w.second%span] += int32(units) //nolint:gosec // limit is no more
		w.sum += units
	}
}

// promise keeps units for a time to come; sign -1 takes that back.
func (w *window) promise(at time.Duration, units, sign int) {
	i := secondOf(at) - w.second - 1
	if w.limit == 0 {
		return
	}
	if i < 0 {
		w.due = max(0, w.due+sign*w.most(units))
		return
	}
	for len(w.promised) <= i {
		w.promised = append(w.promised, 0)
	}
	w.promised[i] += int32(sign * w.most(units)) //nolint:gosec // as above
}

// in is what was spent in one second, or is promised for it.
func (w *window) in(second int) int {
	ahead := second - w.second
	switch {
	case ahead > len(w.promised) || ahead <= -span:
		return 0
	case ahead > 0:
		return int(w.promised[ahead-1])
	}
	return int(w.settled[second%span])
}

// fits tells whether units can be spent in a second, now or to come: now without going
// over the limit, and later without going over the limit that is given when those come
// who were promised their turn. What is spent counts for so many seconds.
func (w *window) fits(second, units, limit, seconds int) bool {
	if w.limit == 0 {
		return true
	}
	units = w.most(units)
	now := w.sum + w.flying + w.due
	if second == w.second && now+units > w.limit {
		return false
	}
	room, used, landed := max(0, limit-units), now, w.second+w.lag+seconds
	if second > w.second {
		used = 0
		for s := second - seconds + 1; s <= second; s++ {
			used += w.in(s)
		}
		if second < landed {
			used += w.flying + w.due
		}
	}
	last := min(second+seconds-1, w.second+len(w.promised)) // from then on it only gets less
	for s := second; used <= room; used += w.in(s) - w.in(s-seconds) {
		if s++; s > last {
			return true
		}
		if s == landed {
			used -= w.flying + w.due
		}
	}
	return false
}

// first is the first time from then on when units fit; [never] where that is after
// the last that is of interest.
func (w *window) first(from, last time.Duration, units, limit, seconds int) time.Duration {
	for t := from; t <= last; t = time.Duration(secondOf(t)+1) * time.Second {
		if w.fits(secondOf(t), units, limit, seconds) {
			return t
		}
	}
	return never
}

// pace is how long it takes until the limit allows so many units more.
func (w *window) pace(units int) time.Duration {
	if w.limit == 0 {
		return 0
	}
	return time.Duration(float64(span*time.Second) * float64(w.most(units)) / float64(w.limit))
}

// free is the first time from then on at which units can be promised to one who is put
// off. In each second a little more is promised than the limit comes to in one, or nearly as
// much as was done in one: who was put off together comes back one after the other, no faster
// than it goes, however suddenly there are units again.
func (w *window) free(from time.Duration, units int) time.Duration {
	if w.limit == 0 {
		return from
	}
	most := max(w.limit/40, w.peak()*3/4, w.most(units))
	for {
		from = w.first(from, never, units, w.limit, span+late)
		second := secondOf(from)
		promised := w.in(second)
		if second > w.second && promised+w.most(units) <= most {
			return max(from, time.Duration(second)*time.Second+time.Duration(promised)*time.Second/time.Duration(most))
		}
		from = time.Duration(second+1) * time.Second
	}
}

// peak is the most that was spent in one second of the last minute.
func (w *window) peak() int { return int(slices.Max(w.settled[:])) }
