package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/test/emulator"
)

// Against Google's emulator, which is started once for all of this.
func TestFirestore(t *testing.T) {
	address := firestoreEmulator(t)
	var projects atomic.Int32
	open := func(t *testing.T, w *wire) *ledger.Firestore { // each project is a world of its own
		l := openFirestore(t, address, fmt.Sprint("world-", projects.Add(1)), w)
		l.SetLongest(30 * time.Second) // for the emulator on a busy machine
		return l
	}
	warm := open(t, &wire{counts: make(map[string]bool)}) // the first answer of a Java program may take long
	for err := warm.Check(t.Context()); err != nil; err = warm.Check(t.Context()) {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if err := warm.Close(); err != nil {
		t.Fatal(err)
	}
	contract(t, func(t *testing.T) ledger.Ledger { return open(t, &wire{counts: make(map[string]bool)}) })
	for name, test := range map[string]func(*testing.T, *ledger.Firestore, *wire){
		"what it costs":              testFirestoreCosts,
		"answers are lost":           testFirestoreAnswersAreLost,
		"one takes over":             testFirestoreTakesOverOnce,
		"it is checked":              testFirestoreCheck,
		"nobody waits for an answer": testFirestoreHangsUp,
		"an answer does not end":     testFirestoreStops,
		"what a batch costs":         testFirestoreBatchCosts,
		"a batch is contended":       testFirestoreBatchIsContended,
		"counts are spread":          testFirestoreSpreadsCounts,
	} {
		t.Run(name, func(t *testing.T) {
			w := &wire{counts: make(map[string]bool)}
			l := open(t, w)
			defer l.Close()
			test(t, l, w)
		})
	}
}

// wire is the connection to Firestore: it counts what is asked, and loses answers.
type wire struct {
	mu     sync.Mutex
	asked  map[string]int
	wrote  int             // documents, by writes that took effect
	lose   int             // so many answers to writes
	abort  int             // so many writes, which take no effect
	lie    int             // so many answers to writes say that they took none
	counts map[string]bool // the documents with counts that were written
	during func()          // happens during each write
	silent int             // after so many messages of an answer; 0 is never
}

func (w *wire) count(method string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked == nil {
		w.asked = make(map[string]int)
	}
	w.asked[path.Base(method)]++
}

// costs is what was asked since it was last told.
func (w *wire) costs() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked, w.wrote = nil, 0
	return asked
}

// documents is how many were written since costs was last told.
func (w *wire) documents() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.wrote
}

// takes takes one of what is to happen so many times.
func (w *wire) takes(times *int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	*times--
	return *times >= 0
}

// trouble is what happens to the writes that come next, in this order.
type trouble struct{ abort, lose, lie int }

func (w *wire) next(t trouble) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.abort, w.lose, w.lie = t.abort, t.lose, t.lie
}

func (w *wire) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	w.count(method)
	if w.during != nil {
		w.during()
	}
	if w.takes(&w.abort) {
		return status.Error(codes.Aborted, "too much contention on these documents")
	}
	err := invoke(ctx, method, req, reply, cc, opts...)
	if r, is := req.(*firestorepb.CommitRequest); is && err == nil {
		w.note(r)
	}
	if w.takes(&w.lose) {
		return status.Error(codes.Unavailable, "the connection was lost")
	}
	if w.takes(&w.lie) {
		return status.Error(codes.Aborted, "too much contention on these documents")
	}
	return err
}

// note notes what was written.
func (w *wire) note(r *firestorepb.CommitRequest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrote += len(r.GetWrites())
	for _, write := range r.GetWrites() {
		if name := write.GetUpdate().GetName(); strings.Contains(name, "/onbehalf-counts/") {
			w.counts[name] = true
		}
	}
}

func (w *wire) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	w.count(method)
	s, err := open(ctx, desc, cc, method, opts...)
	if err != nil || w.silent == 0 {
		return s, err
	}
	return &stops{s, w.silent}, nil
}

// stops is an answer of which the rest does not come.
type stops struct {
	grpc.ClientStream
	left int
}

func (s *stops) RecvMsg(m any) error {
	if s.left--; s.left < 0 {
		<-s.Context().Done()
		return status.FromContextError(s.Context().Err()).Err()
	}
	return s.ClientStream.RecvMsg(m)
}

func openFirestore(t *testing.T, address, project string, w *wire) *ledger.Firestore {
	t.Helper()
	l, err := ledger.OpenFirestore(t.Context(), project, "(default)", option.WithEndpoint(address), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		option.WithGRPCDialOption(grpc.WithUnaryInterceptor(w.unary)), option.WithGRPCDialOption(grpc.WithStreamInterceptor(w.stream)))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// firestoreEmulator is the address of one. Where it is not installed the test is
// skipped, but not on CI.
func firestoreEmulator(t *testing.T) string {
	t.Helper()
	e, err := emulator.Firestore().Start(t.Context())
	var missing *emulator.MissingError
	switch {
	case errors.As(err, &missing) && os.Getenv("CI") != "true":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(e.Wait)
	return e.Address
}

// What the comment of [ledger.Firestore] says of its costs.
func testFirestoreCosts(t *testing.T, l *ledger.Firestore, w *wire) {
	ctx := t.Context()
	claim := func(id string) (ledger.Claim, error) { return l.Claim(ctx, id, soon()) }
	must := func(c ledger.Claim, err error) ledger.Claim {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	later := ledger.PutOff{NotBefore: time.Now().Add(time.Hour)}
	const write, read, search = "Commit", "BatchGetDocuments", "RunQuery"
	for _, step := range []struct {
		what string
		do   func() error
		want map[string]int
	}{
		{"a job that is done at once", func() error { return l.Settle(ctx, must(claim("a")), done("a")) }, map[string]int{write: 2}},
		{"a further delivery", func() error { return ignore(claim("a")) }, map[string]int{write: 1, read: 1}},
		{"one that is put off", func() error { return l.Release(ctx, must(claim("b")), later) }, map[string]int{write: 2}},
		{"before its time", func() error {
			if _, err := claim("b"); err == nil {
				return errors.New("it was claimed")
			}
			return nil
		}, map[string]int{write: 1, read: 1}},
		{"one that is tried again", func() error { return l.Release(ctx, must(claim("c")), ledger.PutOff{}) }, map[string]int{write: 2}},
		{"and again", func() error { return l.Settle(ctx, must(claim("c")), done("c")) }, map[string]int{write: 3, read: 1}},
		{"a note", func() error { return ignore(l.Note(ctx, must(claim("d")), "n")) }, map[string]int{write: 2}},
		{"a look", func() error { _, err := l.Find(ctx, "a"); return err }, map[string]int{read: 1}},
		{"a deferral", func() error { return l.Defer(ctx, "ada", later.NotBefore) }, map[string]int{write: 1}},
		{"what is deferred", func() error { _, err := l.Deferred(ctx, time.Time{}); return err }, map[string]int{search: 1}},
	} {
		w.costs()
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.what, err)
		}
		if diff := cmp.Diff(step.want, w.costs()); diff != "" {
			t.Errorf("%s: %s", step.what, diff)
		}
	}
}

func ignore(_ ledger.Claim, err error) error { return err }

// A write that took effect and whose answer was lost is made again by Google's
// library; and is known for what it is.
func testFirestoreAnswersAreLost(t *testing.T, l *ledger.Firestore, w *wire) {
	ctx := t.Context()
	lose := func() { w.next(trouble{lose: 1}) }
	lose()
	c, err := l.Claim(ctx, "a", soon())
	if err != nil || c.Attempt != 1 {
		t.Fatalf("a new claim: %+v, %v", c, err)
	}
	lose()
	if c, err = l.Note(ctx, c, "noted"); err != nil {
		t.Fatalf("a note: %v", err)
	}
	lose()
	if err := l.Release(ctx, c, ledger.PutOff{Doubt: time.Now(), Why: &jobs.Error{Reason: "r"}}); err != nil {
		t.Fatalf("a release: %v", err)
	}
	lose()
	if c, err = l.Claim(ctx, "a", soon()); err != nil || c.Attempt != 2 || c.Note != "noted" || c.Doubt.IsZero() {
		t.Fatalf("another claim: %+v, %v", c, err)
	}
	lose()
	if err := l.Settle(ctx, c, done("a")); err != nil {
		t.Fatalf("a result: %v", err)
	}
	lose()
	if err := l.Defer(ctx, "ada", time.Now().Add(time.Hour)); err != nil {
		t.Fatalf("a deferral: %v", err)
	}
	if s, err := l.Find(ctx, "a"); err != nil || s.Attempts != 2 || s.Result == nil {
		t.Errorf("%+v, %v", s, err)
	}

	// A caller who does not know that the claim went further can still end it.
	c, err = l.Claim(ctx, "b", soon())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Note(ctx, c, "noted"); err != nil {
		t.Fatal(err)
	}
	if err := l.Settle(ctx, c, done("b")); err != nil {
		t.Error(err)
	}
}

// Of many who find the same dead attempt one takes its job over.
func testFirestoreTakesOverOnce(t *testing.T, l *ledger.Firestore, _ *wire) {
	ctx := t.Context()
	dead, err := l.Claim(ctx, "a", ledger.Terms{Until: time.Now().Add(-time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	var won atomic.Int32
	for range 20 {
		group.Go(func() {
			switch c, err := l.Claim(ctx, "a", soon()); {
			case err == nil && c.Attempt == 2 && !c.Doubt.IsZero():
				won.Add(1)
			case !errors.Is(err, ledger.ErrHeld):
				t.Errorf("%+v, %v", c, err)
			}
		})
	}
	group.Wait()
	if won.Load() != 1 {
		t.Errorf("%d took it over", won.Load())
	}
	if err := l.Settle(ctx, dead, done("a")); !errors.Is(err, ledger.ErrLost) {
		t.Errorf("%v", err)
	}
}

func testFirestoreCheck(t *testing.T, l *ledger.Firestore, w *wire) {
	if err := l.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]int{"BatchGetDocuments": 1, "Commit": 1}, w.costs()); diff != "" {
		t.Error(diff)
	}
	if s, err := l.Find(t.Context(), ""); err != nil || s.Attempts != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// Who hangs up has nothing begun, and breaks no claim off that has begun; but what
// ends a claim ends with its context, for that is who settles' own.
func testFirestoreHangsUp(t *testing.T, l *ledger.Firestore, w *wire) {
	ctx, cancel := context.WithCancel(t.Context())
	w.during = cancel
	c, err := l.Claim(ctx, "a", soon())
	if err != nil || ctx.Err() == nil {
		t.Fatal(err, ctx.Err())
	}
	if c, err = l.Note(ctx, c, "noted"); err != nil {
		t.Error(err)
	}
	w.costs()
	if _, err := l.Claim(ctx, "b", soon()); !errors.Is(err, context.Canceled) || len(w.costs()) > 0 {
		t.Errorf("%v", err)
	}
	for what, err := range map[string]error{"Settle": l.Settle(ctx, c, done("a")), "Release": l.Release(ctx, c, ledger.PutOff{})} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if s, err := l.Find(t.Context(), "a"); err != nil || !s.Held {
		t.Errorf("%+v, %v", s, err)
	}
}

// Of more keys than arrive in time there are those that were deferred last.
func testFirestoreStops(t *testing.T, l *ledger.Firestore, w *wire) {
	began := time.Now()
	for i := range 4 {
		ledger.SetClock(l, func() time.Time { return began.Add(time.Duration(i) * time.Second) })
		if err := l.Defer(t.Context(), fmt.Sprint(i), began.Add(time.Duration(4-i)*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	w.silent = 2
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	got, err := l.Deferred(ctx, began)
	if !errors.Is(err, context.DeadlineExceeded) || len(got) != 2 || got["3"].IsZero() || got["2"].IsZero() {
		t.Errorf("%v, %v; want the last two", got, err)
	}
}

// A Firestore that takes connections and never answers is waited for no longer than
// the caller has time; and for a claim or a note, which who ends cannot break off, for
// 4 s at most.
func TestFirestoreIsSilent(t *testing.T) {
	t.Parallel()
	listening, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listening.Close()
	l := openFirestore(t, listening.Addr().String(), "silent", &wire{})
	defer l.Close()
	var group sync.WaitGroup
	silent := func(what string, limit, atMost time.Duration, do func(context.Context) error) {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			before := time.Now()
			err := do(ctx)
			var is *ledger.Error
			if !errors.As(err, &is) || is.Fault != jobs.FaultGoogle || !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("%s: %v", what, err)
			}
			if took := time.Since(before); took > atMost {
				t.Errorf("%s took %v; want %v at most", what, took, atMost)
			}
		})
	}
	claim := func(ctx context.Context) error { return ignore(l.Claim(ctx, "a", soon())) }
	held, err := ledger.NewMemory(0).Claim(t.Context(), "a", soon())
	if err != nil {
		t.Fatal(err)
	}
	note := func(ctx context.Context) error { return ignore(l.Note(ctx, held, "n")) }
	const short, long, soonEnough = 100 * time.Millisecond, time.Minute, 8 * time.Second // a busy machine is late
	silent("Claim", short, soonEnough, claim)
	silent("Find", short, soonEnough, func(ctx context.Context) error { _, err := l.Find(ctx, "a"); return err })
	silent("Claim with time", long, soonEnough, claim)
	silent("Note with time", long, soonEnough, note)
	group.Wait()
}
