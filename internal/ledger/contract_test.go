package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

// subject is a ledger in a time of its own, which goes on only when it is told to.
type subject struct {
	ledger.Ledger
	t      *testing.T
	began  time.Time
	passed atomic.Int64
}

// contract is what every ledger promises. open opens an empty one.
func contract(t *testing.T, open func(t *testing.T) ledger.Ledger) {
	all := maps.Clone(promises)
	maps.Copy(all, promisesOfBatches)
	for name, test := range all {
		t.Run(name, func(t *testing.T) {
			s := &subject{Ledger: open(t), t: t, began: time.Now()}
			ledger.SetClock(s.Ledger, s.now)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			test(s, t)
		})
	}
}

func (s *subject) now() time.Time       { return s.began.Add(time.Duration(s.passed.Load())) }
func (s *subject) pass(d time.Duration) { s.passed.Add(int64(d)) }
func (s *subject) soon() ledger.Terms   { return ledger.Terms{Until: s.now().Add(time.Minute)} }
func (s *subject) early() ledger.Terms {
	return ledger.Terms{Until: s.now().Add(time.Minute), Early: true}
}
func (s *subject) claim(id string) ledger.Claim { return s.claimOn(id, s.soon()) }

// claimOn claims a job that is there to be claimed.
func (s *subject) claimOn(id string, terms ledger.Terms) ledger.Claim {
	s.t.Helper()
	c, err := s.Claim(s.t.Context(), id, terms)
	if err != nil || c.ID != id || c.Result != nil {
		s.t.Fatalf("claim of %q: %+v, %v", id, c, err)
	}
	return c
}

func (s *subject) settle(c ledger.Claim, r jobs.Result) {
	s.t.Helper()
	if err := s.Settle(s.t.Context(), c, r); err != nil {
		s.t.Fatal(err)
	}
}

func (s *subject) release(c ledger.Claim, p ledger.PutOff) {
	s.t.Helper()
	if err := s.Release(s.t.Context(), c, p); err != nil {
		s.t.Fatal(err)
	}
}

func (s *subject) note(c ledger.Claim, note string) ledger.Claim {
	s.t.Helper()
	c, err := s.Note(s.t.Context(), c, note)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *subject) find(id string) ledger.State {
	s.t.Helper()
	state, err := s.Find(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return state
}

// lost sees that the claim is good for nothing.
func (s *subject) lost(c ledger.Claim) {
	s.t.Helper()
	ctx := s.t.Context()
	_, noting := s.Note(ctx, c, "n")
	for what, err := range map[string]error{
		"Settle": s.Settle(ctx, c, jobs.Result{Job: c.ID, Status: jobs.Failed}), "Release": s.Release(ctx, c, ledger.PutOff{}), "Note": noting,
	} {
		if !errors.Is(err, ledger.ErrLost) {
			s.t.Errorf("%s of a claim that was lost: %v; want ErrLost", what, err)
		}
	}
}

func done(id string) jobs.Result { return jobs.Result{Job: id, Status: jobs.Succeeded} }

var promises = map[string]func(*subject, *testing.T){
	"a settled job keeps its first result": func(s *subject, t *testing.T) {
		c := s.claim("a")
		if c.Attempt != 1 || !c.Doubt.IsZero() || c.Why != nil || c.Note != "" {
			t.Errorf("%+v", c)
		}
		s.settle(c, done("a"))
		s.lost(c)
		for range 2 {
			again, err := s.Claim(t.Context(), "a", s.soon())
			if err != nil || again.ID != "a" || again.Result == nil || again.Result.Status != jobs.Succeeded || again.Attempt != 1 {
				t.Fatalf("%+v, %v", again, err)
			}
			s.lost(again)
		}
	},
	"a job is held by one": func(s *subject, t *testing.T) {
		first := s.claim("a")
		if c, err := s.Claim(t.Context(), "a", s.early()); !errors.Is(err, ledger.ErrHeld) || c.ID != "" {
			t.Errorf("second claim: %+v, %v", c, err)
		}
		if other := s.claim("b"); other.Attempt != 1 {
			t.Errorf("another job: %+v", other)
		}
		s.settle(first, done("a"))
	},
	"a released job is claimed anew, and counted": func(s *subject, t *testing.T) {
		first := s.claim("a")
		s.release(first, ledger.PutOff{})
		second := s.claim("a")
		if second.Attempt != 2 || !second.Doubt.IsZero() || second.Why != nil {
			t.Errorf("%+v", second)
		}
		s.lost(first)
		s.settle(second, done("a"))
	},
	"of many at once one wins": func(s *subject, t *testing.T) {
		var group sync.WaitGroup
		var won atomic.Int32
		for range 100 {
			group.Go(func() {
				switch _, err := s.Claim(t.Context(), "a", s.soon()); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, ledger.ErrHeld):
					t.Error(err)
				}
			})
		}
		group.Wait()
		if won.Load() != 1 {
			t.Errorf("%d won", won.Load())
		}
	},
	"many jobs at once are kept apart": func(s *subject, t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // on a busy machine
		defer cancel()
		var group sync.WaitGroup
		for i := range 100 {
			group.Go(func() {
				id := fmt.Sprint("job ", i)
				c, err := s.Claim(ctx, id, s.soon())
				if err == nil {
					err = s.Settle(ctx, c, done(id))
				}
				if err != nil {
					t.Errorf("%s: %v", id, err)
				}
			})
		}
		group.Wait()
		for i := range 100 {
			if id := fmt.Sprint("job ", i); s.find(id).Result == nil || s.find(id).Result.Job != id {
				t.Errorf("%s: %+v", id, s.find(id))
			}
		}
	},
	"who has gone loses the job when the time is up": func(s *subject, t *testing.T) {
		terms := s.soon()
		first := s.claimOn("a", terms)
		s.pass(time.Minute - time.Second)
		if _, err := s.Claim(t.Context(), "a", s.soon()); !errors.Is(err, ledger.ErrHeld) || !s.find("a").Held {
			t.Errorf("before: %v", err)
		}
		s.pass(time.Second)
		if s.find("a").Held {
			t.Error("held by nobody any more, but found to be")
		}
		second := s.claim("a")
		if second.Attempt != 2 || !second.Doubt.Equal(terms.Until) {
			t.Errorf("%+v; want attempt 2, in doubt at %s", second, terms.Until)
		}
		s.lost(first)
		s.settle(second, done("a"))
		s.lost(first)
		if r := s.find("a").Result; r == nil || r.Status != jobs.Succeeded {
			t.Errorf("%+v", r)
		}
	},
	"who comes back before another is still in time": func(s *subject, t *testing.T) {
		c := s.claim("a")
		s.pass(time.Hour)
		s.settle(c, done("a"))
		if s.find("a").Result == nil {
			t.Error("nothing is kept")
		}
	},
	"what is put off waits for its time": func(s *subject, t *testing.T) {
		p := ledger.PutOff{
			NotBefore: s.now().Add(time.Hour), Waits: true, Doubt: s.now().Add(-time.Second),
			Why: &jobs.Error{Stage: jobs.StageCall, Fault: jobs.FaultQuota, Code: 429, Reason: "rateLimitExceeded", Message: "m", Fix: "f"},
		}
		s.release(s.claim("a"), p)
		var putOff *ledger.PutOffError
		_, err := s.Claim(t.Context(), "a", s.soon())
		if !errors.As(err, &putOff) || !cmp.Equal(putOff.PutOff, p) {
			t.Fatalf("%v; want %+v", err, p)
		}
		if state := s.find("a"); state.Attempts != 1 || state.Held || !cmp.Equal(state.PutOff, p) {
			t.Errorf("%+v", state)
		}
		early := s.claimOn("a", s.early())
		if early.Attempt != 2 || !early.Doubt.Equal(p.Doubt) || !cmp.Equal(early.Why, p.Why) {
			t.Errorf("%+v", early)
		}
		s.release(early, p)
		s.pass(time.Hour)
		if in := s.claim("a"); in.Attempt != 3 || !in.Doubt.Equal(p.Doubt) || !cmp.Equal(in.Why, p.Why) {
			t.Errorf("%+v", in)
		}
	},
	"a doubt ends with who ends it": func(s *subject, t *testing.T) {
		s.release(s.claim("a"), ledger.PutOff{Doubt: s.now()})
		s.release(s.claim("a"), ledger.PutOff{})
		if c := s.claim("a"); !c.Doubt.IsZero() {
			t.Errorf("%+v", c)
		}
	},
	"a note is for the attempts to come": func(s *subject, t *testing.T) {
		c := s.note(s.claim("a"), "draft 17")
		if c.ID != "a" || c.Attempt != 1 || c.Note != "draft 17" {
			t.Errorf("%+v", c)
		}
		if _, err := s.Claim(t.Context(), "a", s.soon()); !errors.Is(err, ledger.ErrHeld) {
			t.Errorf("a note has ended the claim: %v", err)
		}
		c = s.note(c, "draft 18")
		s.release(c, ledger.PutOff{Doubt: s.now()})
		if c = s.claim("a"); c.Note != "draft 18" || c.Doubt.IsZero() {
			t.Errorf("after a release: %+v", c)
		}
		c = s.note(c, "draft 19")
		s.pass(time.Hour)
		taken := s.claim("a")
		if taken.Note != "draft 19" || taken.Attempt != 3 {
			t.Errorf("after a take-over: %+v", taken)
		}
		s.lost(c)
		s.settle(taken, done("a"))
	},
	"a result that does not count is done again": func(s *subject, t *testing.T) {
		s.settle(s.claim("a"), jobs.Result{Job: "a", Status: jobs.Failed})
		terms := s.soon()
		terms.Again = func(r jobs.Result) bool { return r.Status == jobs.Failed }
		c := s.claimOn("a", terms)
		if c.Attempt != 2 {
			t.Errorf("%+v", c)
		}
		s.settle(c, done("a"))
		if c, err := s.Claim(t.Context(), "a", terms); err != nil || c.Result == nil || c.Result.Status != jobs.Succeeded {
			t.Errorf("%+v, %v", c, err)
		}
	},
	"what is old was never there": func(s *subject, t *testing.T) {
		s.settle(s.claim("settled"), done("settled"))
		s.release(s.claim("put off"), ledger.PutOff{Doubt: s.now()})
		s.pass(ledger.Keep - time.Second)
		if s.find("settled").Result == nil || s.find("put off").Attempts != 1 {
			t.Error("forgotten too soon")
		}
		s.pass(time.Second)
		for _, id := range []string{"settled", "put off"} {
			if state := s.find(id); !cmp.Equal(state, ledger.State{}) {
				t.Errorf("%s: %+v", id, state)
			}
			c := s.claim(id)
			if c.Attempt != 1 || !c.Doubt.IsZero() {
				t.Errorf("%s: %+v", id, c)
			}
			s.settle(c, done(id))
		}
	},
	"what is found": func(s *subject, t *testing.T) {
		if state := s.find("nobody's"); !cmp.Equal(state, ledger.State{}) {
			t.Errorf("nothing: %+v", state)
		}
		c := s.claim("a")
		if state := s.find("a"); !cmp.Equal(state, ledger.State{Attempts: 1, Held: true}) {
			t.Errorf("held: %+v", state)
		}
		s.settle(c, done("a"))
		want := done("a")
		if state := s.find("a"); !cmp.Equal(state, ledger.State{Attempts: 1, Result: &want}) {
			t.Errorf("settled: %+v", state)
		}
	},
	"a result comes back as it was": func(s *subject, t *testing.T) {
		at := time.Date(2026, 11, 21, 12, 0, 0, 123456789, time.UTC)
		want := jobs.Result{
			Job: "b/ada@example.com", Batch: "b", User: "ada@example.com", As: "serviceAccount", Action: "gmail.users.messages.insert", Status: jobs.Uncertain,
			Response:    jsontext.Value(`{"id":"18c","é":"\u00e9 <b>\/","n":1.0,"big":12345678901234567890,"twice":1,"twice":2,"odd":"` + "\xff" + `","list":[null,true]}`),
			ResponseCut: &jobs.Cut{KeptBytes: 1, TotalBytes: 1 << 40},
			Error:       &jobs.Error{Stage: jobs.StageCall, Fault: jobs.FaultGoogle, Code: 503, Reason: "r", Message: "Größe – 歓迎 😀 \u2028", Fix: "line\nline"},
			Attempts:    3, StartedAt: at, FinishedAt: at.Add(time.Second), Labels: map[string]string{"campaign": "welcome", "": "empty"},
		}
		s.settle(s.claim(want.Job), want)
		c, err := s.Claim(t.Context(), want.Job, s.soon())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, c.Result); diff != "" || string(c.Result.Response) != string(want.Response) {
			t.Error(diff)
		}
	},
	"a long result comes back": func(s *subject, t *testing.T) {
		want := done("a")
		want.Response = jsontext.Value(`"` + strings.Repeat("x", 256<<10) + `"`)
		s.settle(s.claim("a"), want)
		if got := s.find("a").Result; !cmp.Equal(got, &want) {
			t.Error("another came")
		}
	},
	"ids may be anything": func(s *subject, t *testing.T) {
		ids := []string{"/", "a/b", "a//b", ".", "..", "__x__", " ", "\x00", "ключ 歓迎 😀", "a\nb", "%2F", strings.Repeat("x", 512), strings.Repeat("ш", 256)}
		for _, id := range ids {
			s.settle(s.claim(id), done(id))
		}
		for _, id := range ids {
			if r := s.find(id).Result; r == nil || r.Job != id {
				t.Errorf("%q: %+v", id, r)
			}
		}
	},
	"what is deferred is so until its time": func(s *subject, t *testing.T) {
		ctx, soon, later := t.Context(), s.now().Add(time.Minute).UTC(), s.now().Add(time.Hour).UTC()
		for _, d := range []struct {
			key   string
			until time.Time
		}{{"ada", soon}, {"grace/gmail", soon}, {"grace/gmail", later}, {"grace/gmail", soon}, {"past", s.now().Add(-time.Second)}} {
			if err := s.Defer(ctx, d.key, d.until); err != nil {
				t.Fatal(err)
			}
		}
		deferred := func(want map[string]time.Time) {
			t.Helper()
			got, err := s.Deferred(ctx, time.Time{})
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
				t.Error(err, diff)
			}
		}
		deferred(map[string]time.Time{"ada": soon, "grace/gmail": later})
		s.pass(time.Minute)
		deferred(map[string]time.Time{"grace/gmail": later})
		s.pass(time.Hour)
		deferred(nil)
		if err := s.Defer(ctx, "ada", later.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		deferred(map[string]time.Time{"ada": later.Add(time.Hour)})
	},
	"a panic is its own caller's": func(s *subject, t *testing.T) {
		s.settle(s.claim("a"), done("a"))
		panicked := func(terms ledger.Terms) (value any) {
			defer func() { value = recover() }()
			_, err := s.Claim(t.Context(), "a", terms)
			t.Errorf("no panic, but %v", err)
			return nil
		}
		const word = "not today"
		terms := s.soon()
		terms.Again = func(jobs.Result) bool { panic(word) }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // on a busy machine
		defer cancel()
		var group sync.WaitGroup
		for i := range 10 { // among others', which go on
			group.Go(func() {
				if value := panicked(terms); value != word {
					t.Errorf("panicked with %v", value)
				}
			})
			group.Go(func() {
				id := fmt.Sprint("job ", i)
				c, err := s.Claim(ctx, id, s.soon())
				if err == nil {
					err = s.Settle(ctx, c, done(id))
				}
				if err != nil {
					t.Errorf("%s: %v", id, err)
				}
			})
		}
		group.Wait()
		terms.Again = func(jobs.Result) bool { var none *jobs.Result; return none.Status == "" }
		if _, is := panicked(terms).(runtime.Error); !is {
			t.Error("of nil there is another panic")
		}
		for i := range 10 {
			if id := fmt.Sprint("job ", i); s.find(id).Result == nil || s.find(id).Attempts != 1 {
				t.Errorf("%s: %+v", id, s.find(id))
			}
		}
		if r := s.find("a").Result; r == nil || r.Status != jobs.Succeeded {
			t.Errorf("%+v", r)
		}
	},
	"what was deferred since": func(s *subject, t *testing.T) {
		began := s.now()
		until := began.Add(time.Hour).UTC()
		defers := func(key string, until time.Time) {
			t.Helper()
			if err := s.Defer(t.Context(), key, until); err != nil {
				t.Fatal(err)
			}
		}
		since := func(at time.Time, want map[string]time.Time) {
			t.Helper()
			got, err := s.Deferred(t.Context(), at)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
				t.Error(err, diff)
			}
		}
		defers("ada", until)
		defers("grace", until)
		defers("shortly", began.Add(time.Minute))
		s.pass(time.Minute)
		defers("project", until)
		defers("ada", until.Add(time.Hour)) // whoever knows the time before is told
		all := map[string]time.Time{"ada": until.Add(time.Hour), "grace": until, "project": until}
		since(time.Time{}, all)
		since(began, all)
		since(began.Add(time.Second), map[string]time.Time{"ada": until.Add(time.Hour), "project": until})
		since(began.Add(time.Minute), map[string]time.Time{"ada": until.Add(time.Hour), "project": until})
		since(began.Add(time.Minute+time.Second), nil)
		s.pass(2 * time.Hour)
		since(time.Time{}, nil)
	},
}
