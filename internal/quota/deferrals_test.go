package quota_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/quota"
)

// shared is a store for several instances, which can be slow or away.
type shared struct {
	mu           sync.Mutex
	deferred     map[string]time.Time
	set          map[string]time.Time
	asked, told  int
	gave         int                  // keys to who asked
	soon         map[string]time.Time // is given also where there is no time for more
	slow         time.Duration
	away, panics bool
}

var errAway = errors.New("the store is away")

func (s *shared) wait(ctx context.Context) error {
	s.mu.Lock()
	slow, away := s.slow, s.away
	s.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return ctx.Err()
	}
	if away {
		return errAway
	}
	return nil
}

func (s *shared) Defer(ctx context.Context, key string, until time.Time) error {
	s.mu.Lock()
	s.told++
	s.mu.Unlock()
	if err := s.wait(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if until.After(s.deferred[key]) {
		s.deferred[key], s.set[key] = until, time.Now()
	}
	return nil
}

func (s *shared) Deferred(ctx context.Context, since time.Time) (map[string]time.Time, error) {
	s.mu.Lock()
	s.asked++
	s.mu.Unlock()
	if s.panics {
		panic("the store panics")
	}
	if err := s.wait(ctx); err != nil {
		return s.soon, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	news := map[string]time.Time{}
	for key, until := range s.deferred {
		if !s.set[key].Before(since) {
			news[key] = until
		}
	}
	s.gave += len(news)
	return news, nil
}

func newShared() *shared {
	return &shared{deferred: map[string]time.Time{}, set: map[string]time.Time{}}
}

func deferTo(t *testing.T, d *quota.Deferrals, until time.Time, key string) {
	t.Helper()
	if err := d.Defer(t.Context(), until, key); err != nil {
		t.Fatal(err)
	}
}

// left is how long it is until any of the keys may be spent.
func left(t *testing.T, d *quota.Deferrals, keys ...string) time.Duration {
	t.Helper()
	until := d.Until(t.Context(), keys...)
	if until.IsZero() {
		return 0
	}
	return time.Until(until)
}

// What one instance has met others know within 10 s, until its time has come.
func TestDeferrals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared()
		here, there := quota.NewDeferrals(s), quota.NewDeferrals(s)
		if left(t, there, "ada", "project") != 0 {
			t.Error("nothing is deferred")
		}
		deferTo(t, here, time.Now().Add(time.Minute), "ada")
		deferTo(t, here, time.Now().Add(30*time.Second), "ada") // no later
		deferTo(t, here, time.Now().Add(-time.Second), "grace")
		if left(t, here, "ada") != time.Minute || left(t, there, "ada") != 0 {
			t.Error("known here at once, and there when the store is asked")
		}
		<-time.After(10 * time.Second)
		if left(t, there, "grace", "", "ada") != 50*time.Second || left(t, there, "grace") != 0 {
			t.Error("known there within 10 s")
		}
		deferTo(t, there, time.Now().Add(time.Hour), "project")
		if left(t, there, "ada", "project") != time.Hour {
			t.Error("the latest counts")
		}
		<-time.After(50 * time.Second)
		if left(t, here, "ada") != 0 || left(t, here, "project") == 0 {
			t.Error("the time has come")
		}
	})
}

// The store is asked every 10 s, by one at a time, who waits for 2 s at most.
func TestDeferralsAskSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared()
		s.slow = time.Minute
		d := quota.NewDeferrals(s)
		var g sync.WaitGroup
		var waited sync.Map
		start := time.Now()
		for range 100 {
			g.Go(func() {
				d.Until(t.Context(), "ada")
				waited.Store(time.Since(start), true)
			})
		}
		g.Wait()
		if took := time.Since(start); took != 2*time.Second {
			t.Errorf("it took %v", took)
		}
		kinds := 0
		waited.Range(func(any, any) bool { kinds++; return true })
		if kinds != 2 || s.asked != 1 {
			t.Errorf("%d asked the store, with %d times to wait", s.asked, kinds)
		}
		s.slow = 0
		for range 100 {
			<-time.After(time.Second)
			d.Until(t.Context(), "ada")
		}
		if s.asked != 11 {
			t.Errorf("the store was asked %d times in 100 s", s.asked)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		<-time.After(10 * time.Second)
		d.Until(ctx, "ada")
		d.Until(t.Context(), "ada")
		if s.asked != 13 {
			t.Error("one who gave up kept the next from asking")
		}
	})
}

// Where the store is away what is known here goes on to count, and is told later.
func TestDeferralsWithoutTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared()
		s.away = true
		d, until := quota.NewDeferrals(s), time.Now().Add(time.Hour)
		for range 2 {
			if err := d.Defer(t.Context(), until, "ada"); !errors.Is(err, errAway) {
				t.Errorf("%v", err)
			}
		}
		if left(t, d, "ada") != time.Hour {
			t.Error("it is known here")
		}
		s.away = false
		deferTo(t, d, until.Add(-time.Minute), "ada")
		if !s.deferred["ada"].Equal(until) {
			t.Errorf("the store has %v, want %v", s.deferred["ada"], until)
		}
		s.panics = true
		<-time.After(10 * time.Second)
		func() {
			defer func() { _ = recover() }()
			d.Until(t.Context(), "ada")
		}()
		s.panics = false
		s.deferred["grace"], s.set["grace"] = until, time.Now()
		<-time.After(10 * time.Second)
		if left(t, d, "grace") == 0 {
			t.Error("after a panic nobody asks any more")
		}
	})
}

// Who meets the same limit does not write the same time again.
func TestDeferralsTellOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared()
		s.slow = time.Second
		d := quota.NewDeferrals(s)
		var g sync.WaitGroup
		for i := range 100 {
			g.Go(func() {
				if err := d.Defer(t.Context(), time.Now().Add(time.Hour+time.Duration(i)*time.Millisecond), "ada"); err != nil {
					t.Error(err)
				}
			})
		}
		g.Wait()
		if s.told > 2 {
			t.Errorf("the store was told %d times", s.told)
		}
	})
}

// What is deferred for long is told once, with what overlaps, and not every 10 s; what
// is deferred anew, or for longer, is told within 10 s.
func TestDeferralsAskForNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared()
		here, there := quota.NewDeferrals(s), quota.NewDeferrals(s)
		const users = 1000
		for i := range users {
			deferTo(t, here, time.Now().Add(20*time.Hour), fmt.Sprint(i))
		}
		<-time.After(10 * time.Hour)
		if left(t, there, "0") != 10*time.Hour || s.gave != users {
			t.Errorf("%d were told at first, and 0 is stopped for %v", s.gave, left(t, there, "0"))
		}
		for range 360 {
			<-time.After(10 * time.Second)
			left(t, there, "0")
		}
		if s.gave != users {
			t.Errorf("%d were told again", s.gave-users)
		}
		deferTo(t, here, time.Now().Add(23*time.Hour), "0")
		deferTo(t, here, time.Now().Add(time.Hour), "project")
		for range 100 {
			<-time.After(10 * time.Second)
			left(t, there, "0")
		}
		if s.gave > users+2*8 {
			t.Errorf("of two %d were told", s.gave-users)
		}
		if left(t, there, "0") < 22*time.Hour || left(t, there, "project") == 0 || left(t, there, "1") == 0 {
			t.Error("not all is known there")
		}
	})
}

// A write that comes late, or of a clock that is, is not missed.
func TestDeferralsOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared()
		d := quota.NewDeferrals(s)
		<-time.After(time.Hour)
		left(t, d, "ada")
		s.deferred["ada"], s.set["ada"] = time.Now().Add(time.Hour), time.Now().Add(-45*time.Second)
		<-time.After(10 * time.Second)
		if left(t, d, "ada") == 0 {
			t.Error("it was missed")
		}
	})
}

// Of more than the store can tell in time what came counts, and is not asked for again;
// where nothing came, or who asked gave up, the next one asks for all.
func TestDeferralsAskForAllOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared()
		until := time.Now().Add(20 * time.Hour)
		for _, key := range []string{"ada", "project"} {
			s.deferred[key], s.set[key] = until, time.Now()
		}
		<-time.After(time.Hour)
		cut := map[string]time.Time{"project": until}
		for name, c := range map[string]struct {
			soon map[string]time.Time
			slow time.Duration
			away bool
			time time.Duration // of who asks first
			want int           // told to who asks next
		}{
			"some came":              {soon: cut, slow: time.Minute, time: time.Hour},
			"none came":              {slow: time.Minute, time: time.Hour, want: 2},
			"it is away":             {away: true, time: time.Hour, want: 2},
			"it broke off":           {soon: cut, away: true, time: time.Hour, want: 2},
			"some came, who gave up": {soon: cut, slow: time.Minute, time: time.Second, want: 2},
		} {
			d := quota.NewDeferrals(s)
			s.soon, s.slow, s.away = c.soon, c.slow, c.away
			ctx, cancel := context.WithTimeout(t.Context(), c.time)
			if stopped := !d.Until(ctx, "project").IsZero(); stopped != (c.soon != nil) {
				t.Errorf("%s: the project is stopped: %t", name, stopped)
			}
			cancel()
			s.soon, s.slow, s.away, s.gave = nil, 0, false, 0
			<-time.After(10 * time.Second)
			if left(t, d, "ada"); s.gave != c.want {
				t.Errorf("%s: %d were told next; want %d", name, s.gave, c.want)
			}
		}
	})
}

// A limit whose time moves on with each answer, as of the whole project, is written
// every 10 s; and is known here in full, and elsewhere as far as it was.
func TestDeferralsTellSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared()
		all := []*quota.Deferrals{quota.NewDeferrals(s), quota.NewDeferrals(s), quota.NewDeferrals(s)}
		for range 600 {
			for _, d := range all {
				deferTo(t, d, time.Now().Add(30*time.Second), "project")
				if left(t, d, "project") < 30*time.Second {
					t.Error("an instance does not know what it has met itself")
				}
			}
			if stored := time.Until(s.deferred["project"]); stored <= 20*time.Second {
				t.Fatalf("the store has a time in %v only", stored)
			}
			<-time.After(time.Second)
		}
		if s.told > 3*62 {
			t.Errorf("the store was told %d times in 600 s by three", s.told)
		}
	})
}

// A time that the store could not be told is told by who meets the limit next, also
// where it has an earlier one.
func TestDeferralsTellAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared()
		d, until := quota.NewDeferrals(s), time.Now().Add(time.Hour)
		deferTo(t, d, until, "ada")
		s.away = true
		if err := d.Defer(t.Context(), until.Add(time.Minute), "ada"); !errors.Is(err, errAway) {
			t.Error(err)
		}
		s.away = false
		deferTo(t, d, until, "ada")
		if got := s.deferred["ada"]; !got.Equal(until.Add(time.Minute)) {
			t.Errorf("the store has %v", got)
		}
	})
}

// No text stops anybody for more than a day, whoever has read it.
func TestDeferralsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShared()
		d := quota.NewDeferrals(s)
		const day = 24*time.Hour + time.Second
		deferTo(t, d, time.Now().AddDate(9, 0, 0), "ada")
		s.deferred["grace"], s.set["grace"] = time.Now().AddDate(9, 0, 0), time.Now().AddDate(9, 0, 0)
		if a, g := left(t, d, "ada"), left(t, d, "grace"); a > day || g > day || a == 0 || g == 0 {
			t.Errorf("stopped for %v and %v", a, g)
		}
		for range 25 * 60 { // the store says it again and again
			<-time.After(time.Minute)
			left(t, d, "grace")
		}
		if g := left(t, d, "grace"); g != 0 {
			t.Errorf("stopped for another %v after a day", g)
		}
		deferTo(t, d, time.Now().Add(time.Hour), "grace")
		if g := left(t, d, "grace"); g != time.Hour {
			t.Errorf("stopped for %v, by what was met an hour before", g)
		}
	})
}
