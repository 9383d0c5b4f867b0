package ledger_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

// inBatch claims a job of the batch b.
func (s *subject) inBatch(id string) ledger.Claim {
	s.t.Helper()
	return s.claimOn(id, s.ofBatch("b"))
}

func (s *subject) ofBatch(batch string) ledger.Terms {
	return ledger.Terms{Until: s.now().Add(time.Minute), Early: true, Batch: batch}
}

// counts sees what is counted of the batch b; what is to be none is not to be there.
func (s *subject) counts(want map[string]int) {
	s.t.Helper()
	s.countsOf("b", want)
}

func (s *subject) countsOf(batch string, want map[string]int) {
	s.t.Helper()
	maps.DeleteFunc(want, func(_ string, n int) bool { return n == 0 })
	got, err := s.Tally(s.t.Context(), batch)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
		s.t.Error(err, diff)
	}
}

func (s *subject) supersede(id, by string) {
	s.t.Helper()
	if err := s.Supersede(s.t.Context(), id, by); err != nil {
		s.t.Fatal(err)
	}
}

// failures are the jobs of all pages, which hold so many each.
func (s *subject) failures(limit int) (ids []string) {
	s.t.Helper()
	for after := ""; ; {
		results, next, err := s.Failures(s.t.Context(), "b", after, limit)
		if err != nil || len(results) > limit || next != "" && len(results) < limit {
			s.t.Fatalf("%d results, next %q, %v", len(results), next, err)
		}
		for _, r := range results {
			ids = append(ids, r.Job)
		}
		if after = next; after == "" {
			return ids
		}
	}
}

func (s *subject) load(name string) ledger.Part {
	s.t.Helper()
	p, err := s.Load(s.t.Context(), "b", name)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// save saves a part as it is to be, and gives it as it is then.
func (s *subject) save(p ledger.Part) ledger.Part {
	s.t.Helper()
	version, err := s.Save(s.t.Context(), p)
	if err != nil || version == "" || version == p.Version {
		s.t.Fatalf("%q, %v", version, err)
	}
	p.Version = version
	return p
}

// changed sees that a part cannot be saved any more.
func (s *subject) changed(p ledger.Part) {
	s.t.Helper()
	if version, err := s.Save(s.t.Context(), p); !errors.Is(err, ledger.ErrChanged) || version != "" {
		s.t.Errorf("%q, %v; want ErrChanged", version, err)
	}
}

// names are the parts that are listed.
func (s *subject) names(prefix string, limit int) (names []string) {
	s.t.Helper()
	parts, err := s.List(s.t.Context(), prefix, limit)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range parts {
		names = append(names, p.Batch+"/"+p.Name)
	}
	return names
}

func failed(id string, fault jobs.Fault) jobs.Result {
	return jobs.Result{Job: id, Status: jobs.Failed, Error: &jobs.Error{Stage: jobs.StageCall, Fault: fault, Reason: "r", Message: "m"}}
}

func ended(id string, status jobs.Status) jobs.Result {
	return jobs.Result{Job: id, Status: status, Error: &jobs.Error{Stage: jobs.StagePolicy, Fault: jobs.FaultJob}}
}

// promisesOfBatches are what every ledger promises besides.
var promisesOfBatches = map[string]func(*subject, *testing.T){
	"a job counts as what it is": func(s *subject, _ *testing.T) {
		s.counts(nil)
		c := s.inBatch("a")
		s.counts(nil)
		s.release(c, ledger.PutOff{NotBefore: s.now().Add(time.Hour)})
		s.counts(map[string]int{"putOff": 1})
		c = s.note(s.inBatch("a"), "n")
		s.counts(nil)
		s.release(c, ledger.PutOff{Doubt: s.now()})
		s.counts(map[string]int{"putOff": 1})
		s.settle(s.inBatch("a"), done("a"))
		s.counts(map[string]int{"succeeded": 1})
	},
	"each result has its count": func(s *subject, _ *testing.T) {
		for i, r := range []jobs.Result{
			done("0"), done("1"), failed("2", jobs.FaultAdmin), failed("3", jobs.FaultUser), failed("4", jobs.FaultUser),
			ended("5", jobs.Refused), ended("6", jobs.Expired), ended("7", jobs.Cancelled), ended("8", jobs.Uncertain),
			{Job: "9", Status: jobs.Previewed},
		} {
			s.settle(s.inBatch(fmt.Sprint(i)), r)
		}
		s.settle(s.claim("other"), done("other"))
		s.settle(s.claimOn("c's", s.ofBatch("c")), done("c's"))
		s.counts(map[string]int{"succeeded": 2, "failed/admin": 1, "failed/user": 2, "refused": 1, "expired": 1, "cancelled": 1, "uncertain": 1, "previewed": 1})
		s.countsOf("c", map[string]int{"succeeded": 1})
		s.countsOf("", nil)
	},
	"a job counts once, however often it comes": func(s *subject, t *testing.T) {
		first := s.inBatch("a")
		for range 3 {
			if _, err := s.Claim(t.Context(), "a", s.ofBatch("b")); !errors.Is(err, ledger.ErrHeld) {
				t.Errorf("%v", err)
			}
		}
		s.pass(time.Hour)
		second := s.inBatch("a") // of who has gone nothing is known
		s.counts(nil)
		s.lost(first)
		s.settle(second, failed("a", jobs.FaultGoogle))
		s.lost(second)
		for range 3 {
			if c, err := s.Claim(t.Context(), "a", s.ofBatch("b")); err != nil || c.Result == nil {
				t.Errorf("%+v, %v", c, err)
			}
		}
		s.counts(map[string]int{"failed/google": 1})
	},
	"a job that ended before its batch counts": func(s *subject, t *testing.T) {
		s.settle(s.claim("good"), done("good"))
		s.settle(s.claim("bad"), failed("bad", jobs.FaultUser))
		s.counts(nil)
		for range 2 {
			for _, id := range []string{"good", "bad"} {
				if c, err := s.Claim(t.Context(), id, s.ofBatch("b")); err != nil || c.Result == nil || c.Result.Job != id || c.Attempt != 1 {
					t.Errorf("%+v, %v", c, err)
				}
			}
			s.counts(map[string]int{"succeeded": 1, "failed/user": 1})
		}
		if got := s.failures(1); !slices.Equal(got, []string{"bad"}) {
			t.Errorf("%q", got)
		}
	},
	"a job stays in its batch": func(s *subject, t *testing.T) {
		s.release(s.inBatch("a"), ledger.PutOff{})
		s.settle(s.claim("a"), done("a"))
		if _, err := s.Claim(t.Context(), "a", s.ofBatch("c")); err != nil {
			t.Error(err)
		}
		s.counts(map[string]int{"succeeded": 1})
		s.countsOf("c", nil)
	},
	"a job that was put off before its batch counts": func(s *subject, _ *testing.T) {
		s.release(s.claim("a"), ledger.PutOff{})
		c := s.inBatch("a")
		s.counts(nil)
		s.release(c, ledger.PutOff{})
		s.counts(map[string]int{"putOff": 1})
	},
	"a result that does not count is counted anew": func(s *subject, t *testing.T) {
		s.settle(s.inBatch("a"), failed("a", jobs.FaultAdmin))
		terms := s.soon()
		terms.Again = func(r jobs.Result) bool { return r.Status == jobs.Failed }
		c := s.claimOn("a", terms)
		s.counts(nil)
		if got := s.failures(10); got != nil {
			t.Errorf("%q", got)
		}
		s.settle(c, done("a"))
		s.counts(map[string]int{"succeeded": 1})
	},
	"who is superseded counts no more": func(s *subject, t *testing.T) {
		for _, r := range []jobs.Result{failed("a", jobs.FaultAdmin), failed("b", jobs.FaultAdmin), ended("c", jobs.Cancelled), done("good")} {
			s.settle(s.inBatch(r.Job), r)
		}
		for range 2 {
			s.supersede("a", "a~1")
			s.supersede("c", "c~1")
			s.counts(map[string]int{"failed/admin": 1, "succeeded": 1})
		}
		if got := s.failures(10); !slices.Equal(got, []string{"b"}) {
			t.Errorf("%q", got)
		}
		if state := s.find("a"); state.By != "a~1" || state.Result == nil || state.Result.Status != jobs.Failed {
			t.Errorf("%+v", state)
		}
		s.settle(s.inBatch("a~1"), done("a~1"))
		want := map[string]int{"failed/admin": 1, "succeeded": 2}
		s.counts(want)

		s.release(s.inBatch("waits"), ledger.PutOff{})
		want["putOff"] = 1
		s.inBatch("held")
		for id, by := range map[string]string{"a": "a~2", "good": "good~1", "waits": "waits~1", "held": "held~1", "unknown": "unknown~1", "b": ""} {
			if err := s.Supersede(t.Context(), id, by); err == nil || !strings.Contains(err.Error(), `"`+id+`"`) {
				t.Errorf("%s by %s: %v", id, by, err)
			}
		}
		s.counts(want)
		terms := s.ofBatch("b")
		terms.Again = func(jobs.Result) bool { return true }
		s.settle(s.claimOn("a", terms), failed("a", jobs.FaultUser)) // it has its place no more
		s.supersede("a", "a~1")
		s.counts(want)
		if got := s.failures(10); !slices.Equal(got, []string{"b"}) || s.find("a").By != "a~1" {
			t.Errorf("%q, %+v", got, s.find("a"))
		}
	},
	"who is superseded outside a batch": func(s *subject, t *testing.T) {
		s.settle(s.claim("a"), failed("a", jobs.FaultAdmin))
		s.supersede("a", "a~1")
		if c, err := s.Claim(t.Context(), "a", s.ofBatch("b")); err != nil || c.Result == nil || s.find("a").By != "a~1" {
			t.Errorf("%+v, %v, %+v", c, err, s.find("a"))
		}
		s.counts(nil)
	},
	"counts are exact under many": func(s *subject, t *testing.T) {
		ctx := t.Context()
		attempt := func(id string, n int) error {
			c, err := s.Claim(ctx, id, s.ofBatch("b"))
			switch {
			case errors.Is(err, ledger.ErrHeld) || err == nil && c.Result != nil:
				return nil
			case err != nil:
				return err
			case n%3 == 0:
				return s.Release(ctx, c, ledger.PutOff{})
			case strings.HasSuffix(id, "7"):
				return s.Settle(ctx, c, failed(id, jobs.FaultUser))
			}
			return s.Settle(ctx, c, done(id))
		}
		const many = 40
		var group sync.WaitGroup
		for worker := range 8 {
			group.Go(func() {
				for i := range many {
					if err := attempt(fmt.Sprint("job ", (i+5*worker)%many), worker); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		for i := range many { // who was held whenever somebody came
			if err := attempt(fmt.Sprint("job ", i), 1); err != nil {
				t.Error(err)
			}
		}
		s.counts(map[string]int{"succeeded": many - many/10, "failed/user": many / 10})
		if got := s.failures(3); len(got) != many/10 {
			t.Errorf("%q", got)
		}
	},
	"failures are told, the last first": func(s *subject, t *testing.T) {
		var want []string
		for i, r := range []jobs.Result{failed("0", jobs.FaultUser), ended("1", jobs.Refused), ended("2", jobs.Uncertain), ended("3", jobs.Expired), failed("4", jobs.FaultAdmin)} {
			s.settle(s.inBatch(r.Job), r)
			s.settle(s.inBatch(fmt.Sprint("good ", i)), done("good"))
			s.settle(s.inBatch(fmt.Sprint("cancelled ", i)), ended("cancelled", jobs.Cancelled))
			s.settle(s.claimOn(fmt.Sprint("c's ", i), s.ofBatch("c")), failed("c's", jobs.FaultUser))
			s.settle(s.claim(fmt.Sprint("nobody's ", i)), failed("nobody's", jobs.FaultUser))
			want = slices.Insert(want, 0, r.Job)
			s.pass(time.Second)
		}
		for limit := range 7 {
			if got := s.failures(max(limit, 1)); !slices.Equal(got, want) {
				t.Errorf("by %d: %q; want %q", limit, got, want)
			}
		}
		results, next, err := s.Failures(t.Context(), "b", "", 0)
		if diff := cmp.Diff([]jobs.Result{failed("4", jobs.FaultAdmin)}, results); err != nil || diff != "" {
			t.Error(err, diff)
		}
		s.settle(s.inBatch("5"), failed("5", jobs.FaultUser)) // what is new moves nothing
		if results, _, err := s.Failures(t.Context(), "b", next, 1); err != nil || len(results) != 1 || results[0].Job != "3" {
			t.Errorf("%+v, %v", results, err)
		}
		for _, after := range []string{"x", next + "0", strings.ToUpper(next) + "zz", strings.Repeat("x", len(next))} {
			if _, _, err := s.Failures(t.Context(), "b", after, 1); err == nil || !strings.Contains(err.Error(), "only after what") {
				t.Errorf("%q: %v", after, err)
			}
		}
		if results, next, err := s.Failures(t.Context(), "none", "", 10); err != nil || results != nil || next != "" {
			t.Errorf("%+v, %q, %v", results, next, err)
		}
	},
	"batches may be called anything": func(s *subject, t *testing.T) {
		names := []string{"b\x00", "b\x000", "b/c", ".", "__x__", "ключ", "B", strings.Repeat("x", 512)}
		for i, batch := range names {
			id := fmt.Sprint(i)
			s.settle(s.claimOn(id, s.ofBatch(batch)), failed(id, jobs.FaultUser))
		}
		for i, batch := range names {
			s.countsOf(batch, map[string]int{"failed/user": 1})
			if results, next, err := s.Failures(t.Context(), batch, "", 9); err != nil || len(results) != 1 || results[0].Job != fmt.Sprint(i) || next != "" {
				t.Errorf("%q: %+v, %q, %v", batch, results, next, err)
			}
		}
		s.counts(nil)
	},
	"what is known of many": func(s *subject, t *testing.T) {
		var ids []string
		var want []ledger.State
		for i := range 240 {
			id := fmt.Sprint("job ", i)
			ids = append(ids, id)
			r := done(id)
			switch i % 60 {
			case 0:
				r.Response = jsontext.Value(`{"long":true}`)
				s.settle(s.inBatch(id), r)
				r.Response = nil
				want = append(want, ledger.State{Attempts: 1, Result: &r})
			case 1:
				p := ledger.PutOff{NotBefore: s.now().Add(time.Hour), Why: &jobs.Error{Reason: "r"}}
				s.release(s.inBatch(id), p)
				want = append(want, ledger.State{Attempts: 1, PutOff: p})
			case 2:
				bad := failed(id, jobs.FaultUser)
				s.settle(s.inBatch(id), bad)
				s.supersede(id, id+"~1")
				want = append(want, ledger.State{Attempts: 1, Result: &bad, By: id + "~1"})
			default:
				want = append(want, ledger.State{})
			}
		}
		got, err := s.States(t.Context(), ids)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Error(err, diff)
		}
		if state := s.find("job 0"); string(state.Result.Response) != `{"long":true}` {
			t.Errorf("%+v", state.Result)
		}
		if got, err := s.States(t.Context(), []string{"job 1", "unknown", "job 1"}); err != nil || !cmp.Equal(got, []ledger.State{want[1], {}, want[1]}) {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err := s.States(t.Context(), nil); err != nil || len(got) != 0 {
			t.Errorf("%+v, %v", got, err)
		}
		s.pass(ledger.Keep)
		if got, err := s.States(t.Context(), ids[:1]); err != nil || !cmp.Equal(got, []ledger.State{{}}) {
			t.Errorf("%+v, %v", got, err)
		}
	},
	"what is old counts as nothing": func(s *subject, t *testing.T) {
		s.settle(s.inBatch("old"), failed("old", jobs.FaultUser))
		s.release(s.inBatch("waits"), ledger.PutOff{})
		s.pass(ledger.Keep - time.Second)
		s.settle(s.inBatch("late"), done("late"))
		s.counts(map[string]int{"failed/user": 1, "putOff": 1, "succeeded": 1})
		s.pass(time.Second)
		if err := s.Supersede(t.Context(), "old", "old~1"); err == nil {
			t.Error("what is forgotten was superseded")
		}
		s.settle(s.inBatch("old"), done("old"))
		s.settle(s.inBatch("waits"), done("waits"))
		s.counts(map[string]int{"failed/user": 1, "putOff": 1, "succeeded": 3}) // as what was, and what is
		if got := s.failures(10); got != nil {
			t.Errorf("%q", got)
		}
		s.settle(s.inBatch("bad"), failed("bad", jobs.FaultUser))
		s.pass(ledger.Keep)
		s.counts(nil)
		if got := s.failures(10); got != nil {
			t.Errorf("%q", got)
		}
		s.settle(s.inBatch("bad"), done("bad"))
		s.counts(map[string]int{"succeeded": 1})
	},
	"a part is kept as it is": func(s *subject, t *testing.T) {
		none := ledger.Part{Batch: "b", Name: "spec"}
		if got := s.load("spec"); !cmp.Equal(got, none) {
			t.Errorf("nothing: %+v", got)
		}
		for _, data := range [][]byte{nil, {}, []byte("\x00\xff\n"), bytes.Repeat([]byte("x"), ledger.MaxPart)} {
			p := s.load("spec")
			p.Data = data
			want := s.save(p)
			if got := s.load("spec"); !bytes.Equal(got.Data, data) || got.Version != want.Version || got.Batch != "b" || got.Name != "spec" || got.Key != "" {
				t.Errorf("of %d bytes there are %d, %+v", len(data), len(got.Data), got.Version)
			}
		}
		p := s.load("spec")
		p.Data = make([]byte, ledger.MaxPart+1)
		var is *ledger.Error
		if _, err := s.Save(t.Context(), p); !errors.As(err, &is) || is.Reason != "tooLong" || !strings.Contains(is.Message, `"spec" of the batch is 921601 bytes long; at most 921600`) || is.Fix == "" {
			t.Errorf("%v", err)
		}
		if got := s.load("spec"); got.Version != p.Version {
			t.Errorf("%+v", got)
		}
	},
	"parts are nobody else's": func(s *subject, t *testing.T) {
		for _, p := range []ledger.Part{{Batch: "b", Name: "page/00000000"}, {Batch: "b", Name: "page/00000001"}, {Batch: "c", Name: "page/00000000"}} {
			p.Data = []byte(p.Batch + p.Name)
			s.save(p)
		}
		for _, name := range []string{"page/00000000", "page/00000001"} {
			if got := s.load(name); string(got.Data) != "b"+name || got.Batch != "b" || got.Name != name {
				t.Errorf("%+v", got)
			}
		}
		got := s.load("page/00000000")
		got.Data[0] = 'x'
		if got := s.load("page/00000000"); string(got.Data) != "bpage/00000000" {
			t.Errorf("%s: who reads it has changed it", got.Data)
		}
		data := []byte("mine")
		s.save(ledger.Part{Batch: "b", Name: "mine", Data: data})
		copy(data, "hers")
		if got := s.load("mine"); string(got.Data) != "mine" {
			t.Errorf("%s: who saved it has changed it", got.Data)
		}
	},
	"a part that was changed is not overwritten": func(s *subject, t *testing.T) {
		fresh := ledger.Part{Batch: "b", Name: "control", Data: []byte("0")}
		first := s.save(fresh)
		s.changed(fresh)
		odd := first
		odd.Version = "odd"
		s.changed(odd)
		second := s.save(first)
		s.changed(first)
		never := second
		never.Name = "never"
		s.changed(never)
		if got := s.load("control"); got.Version != second.Version {
			t.Errorf("%+v", got)
		}
		s.save(second)
	},
	"of many writers one is first": func(s *subject, t *testing.T) {
		const writers, times = 8, 5
		var group sync.WaitGroup
		for range writers {
			group.Go(func() {
				for won := 0; won < times; {
					p, err := s.Load(t.Context(), "b", "control")
					if err != nil {
						t.Error(err)
						return
					}
					p.Data = append(p.Data, 'x')
					switch _, err := s.Save(t.Context(), p); {
					case err == nil:
						won++
					case !errors.Is(err, ledger.ErrChanged):
						t.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
		if got := s.load("control"); len(got.Data) != writers*times {
			t.Errorf("%d were kept", len(got.Data))
		}
	},
	"parts are listed by their keys": func(s *subject, t *testing.T) {
		for _, p := range []ledger.Part{
			{Batch: "1", Name: "control", Key: "batch/2026-11-01"},
			{Batch: "3", Name: "control", Key: "batch/2026-11-03"},
			{Batch: "2", Name: "control", Key: "batch/2026-11-02"},
			{Batch: "4", Name: "control", Key: "batcher"},
			{Batch: "5", Name: "control", Key: "bat"},
			{Batch: "6", Name: "control"},
			{Batch: "1", Name: "twin", Key: "twins"},
			{Batch: "2", Name: "twin", Key: "twins"},
		} {
			p.Data = []byte(p.Key)
			s.save(p)
		}
		for _, c := range []struct {
			prefix string
			limit  int
			want   []string
		}{
			{"batch/", 9, []string{"3/control", "2/control", "1/control"}},
			{"batch/", 2, []string{"3/control", "2/control"}},
			{"batch/", 0, []string{"3/control"}},
			{"batch/2026-11-02", 9, []string{"2/control"}},
			{"bat", 9, []string{"4/control", "3/control", "2/control", "1/control", "5/control"}},
			{"zoo", 9, nil},
		} {
			if got := s.names(c.prefix, c.limit); !slices.Equal(got, c.want) {
				t.Errorf("%d of %s: %q; want %q", c.limit, c.prefix, got, c.want)
			}
		}
		if all := s.names("", 99); len(all) != 7 {
			t.Errorf("%q", all)
		}
		parts, err := s.List(t.Context(), "batch/2026-11-03", 1)
		if err != nil {
			t.Fatal(err)
		}
		last := parts[0]
		if loaded, err := s.Load(t.Context(), "3", "control"); err != nil || !cmp.Equal(loaded, last) {
			t.Errorf("%+v, %v; listed is %+v", loaded, err, last)
		}
		last.Key = "batch/2026-10-31"
		last = s.save(last)
		if got := s.names("batch/", 9); !slices.Equal(got, []string{"2/control", "1/control", "3/control"}) {
			t.Errorf("after another key: %q", got)
		}
		last.Key = ""
		s.save(last)
		if got := s.names("batch/", 9); !slices.Equal(got, []string{"2/control", "1/control"}) {
			t.Errorf("without a key: %q", got)
		}
	},
	"parts are kept for a time": func(s *subject, t *testing.T) {
		old := s.save(ledger.Part{Batch: "b", Name: "old", Key: "key/3", Data: []byte("old")})
		touched := s.save(ledger.Part{Batch: "b", Name: "touched", Key: "key/1"})
		for i := range 5 {
			s.save(ledger.Part{Batch: "b", Name: fmt.Sprint("old ", i), Key: "key/2"})
		}
		s.pass(ledger.Keep - time.Second)
		s.save(touched)
		if got := s.load("old"); got.Version != old.Version || len(s.names("key/", 9)) != 7 {
			t.Errorf("too soon: %+v, %q", got, s.names("key/", 9))
		}
		s.pass(time.Second)
		if got := s.load("old"); !cmp.Equal(got, ledger.Part{Batch: "b", Name: "old"}) {
			t.Errorf("%+v", got)
		}
		if got := s.names("key/", 2); !slices.Equal(got, []string{"b/touched"}) {
			t.Errorf("%q", got)
		}
		fresh := s.save(ledger.Part{Batch: "b", Name: "old", Data: []byte("new")})
		s.changed(old)
		if got := s.load("old"); !cmp.Equal(got, fresh) {
			t.Errorf("%+v; want %+v", got, fresh)
		}
		if got := s.names("key/", 9); !slices.Equal(got, []string{"b/touched"}) {
			t.Errorf("%q", got)
		}
	},
}
