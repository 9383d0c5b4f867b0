package delegation

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Verdict is what is known of an error: by this alone, and not by its status, a
// minter decides whether to ask again, and whom else an answer concerns.
type Verdict struct {
	// Passing says that it may be over soon.
	Passing bool
	// Window is for how long it is worth asking again because what is missing may
	// be about to come true, such as a grant that was just made.
	Window time.Duration
	// Breadth is whom the error concerns beside the user.
	Breadth Breadth
}

// Breadth is whom an error concerns.
type Breadth int

// The breadths.
const (
	OneUser   Breadth = iota // this user
	Perhaps                  // this user, or all of the domain
	EveryUser                // all of the domain, with these scopes
)

const (
	// patience is for how long a passing fault is met with another try, at most:
	// what lasts longer is better waited for where no function is kept busy.
	patience = 30 * time.Second
	// tryTimeout bounds one call. Each takes some 100 ms; one that hangs is
	// given up and made again, since nothing is done twice by it.
	tryTimeout = 10 * time.Second
	// firstPause and lastPause bound the pauses between tries.
	firstPause, lastPause = 250 * time.Millisecond, 5 * time.Second
)

// patiently makes a call until it succeeds, or asking again is of no use, or
// would outlast the caller's deadline: then the caller gets the error at once,
// while there is time to act on it.
func patiently[T any](ctx context.Context, judge func(*Error) Verdict, call func(context.Context) (T, error)) (none T, err error) {
	begun := time.Now()
	var refused *Error // by the try before, which says more than that the time is up
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		answer, err := try(ctx, call)
		switch {
		case err == nil:
			return answer, nil
		case ctx.Err() != nil && refused != nil:
			return none, refused.unfinished()
		case ctx.Err() != nil:
			return none, ctx.Err()
		case !errors.As(err, &refused):
			return none, err
		}
		// Half of it at random: callers who failed together must not come back so.
		wait := max(pause/2+rand.N(pause/2+1), refused.RetryAfter) //nolint:gosec // no secret depends on it
		switch v, after := judge(refused), time.Since(begun)+wait; {
		case (!v.Passing || after > patience) && after > v.Window:
			return none, err
		case !sleep(ctx, wait):
			return none, refused.unfinished()
		}
	}
}

// try makes one call, in bounded time.
func try[T any](ctx context.Context, call func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	return call(ctx)
}

// sleep waits, and tells whether the context lasted so long. If it will not, it
// does not wait.
func sleep(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
