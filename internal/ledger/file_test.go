package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

func TestFile(t *testing.T) {
	contract(t, func(t *testing.T) ledger.Ledger { return openFile(t, filepath.Join(t.TempDir(), "ledger")) })
}

func openFile(t *testing.T, path string) *ledger.File {
	t.Helper()
	l, err := ledger.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// beside are the files beside the ledger.
func beside(t *testing.T, path string) (names []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all {
		if name != path {
			names = append(names, name)
		}
	}
	return names
}

// What a process held that was killed is taken over at once, and what it may have
// done is in doubt.
func TestFileTakesOverFromTheKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l, ctx := openFile(t, path), t.Context()
	p := start(t, "hold", path, "a", "b", "c")
	p.says(t)
	if _, err := l.Claim(ctx, "a", soon()); !errors.Is(err, ledger.ErrHeld) {
		t.Fatalf("while it lives: %v", err)
	}
	if s, err := l.Find(ctx, "a"); err != nil || !s.Held {
		t.Errorf("while it lives: %+v, %v", s, err)
	}
	p.kill(t)
	before := time.Now()
	c, err := l.Claim(ctx, "a", soon())
	if err != nil || c.Attempt != 2 || c.Doubt.Before(before) || c.Doubt.After(time.Now()) {
		t.Errorf("%+v, %v; want in doubt since %s", c, err, before)
	}
	if n := len(beside(t, path)); n != 1 {
		t.Errorf("beside the ledger are %d; want the one of who is left", n)
	}
	if s, err := l.Find(ctx, "b"); err != nil || s.Held {
		t.Errorf("%+v, %v", s, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	l = openFile(t, path) // which knows it from the file
	for _, id := range []string{"a", "b", "c"} {
		if _, err := l.Claim(ctx, id, soon()); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// Who ends in order leaves what it held, and nothing else.
func TestFileIsClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	first, second := openFile(t, path), openFile(t, path)
	c, err := first.Claim(t.Context(), "a", soon())
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"Settle": first.Settle(t.Context(), c, done("a")), "Close": first.Close()} {
		if err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := second.Claim(t.Context(), "a", soon()); err != nil {
		t.Error(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if left := beside(t, path); left != nil {
		t.Errorf("left are %q", left)
	}
}

// A process is killed again and again. What it said was settled is so, and the file
// opens.
func TestFileSurvivesKills(t *testing.T) {
	path, seed := filepath.Join(t.TempDir(), "ledger"), uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // nobody gains by guessing it
	var settled []string
	for round := range 20 {
		p := start(t, "settle", path, fmt.Sprint("round ", round))
		for range random.IntN(100) {
			settled = append(settled, p.says(t))
		}
		settled = append(settled, p.kill(t)...)
	}
	l := openFile(t, path)
	for _, id := range settled {
		if s, err := l.Find(t.Context(), id); err != nil || s.Result == nil || s.Result.Job != id || s.Attempts != 1 {
			t.Errorf("seed %d: %s: %+v, %v", seed, id, s, err)
		}
	}
	if n := len(beside(t, path)); n != 1 {
		t.Errorf("seed %d: beside the ledger are %d; want those of the dead to be cleared away", seed, n)
	}
	t.Logf("%d jobs in 20 lives", len(settled))
}

// Two processes do the same jobs at the same time: each is done by one of them, and
// both come to their turn.
func TestFileOfTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	both := []*process{start(t, "share", path), start(t, "share", path)}
	by := make(map[string]int)
	for _, p := range both {
		for range 50 {
			by[p.says(t)]++
		}
	}
	for _, p := range both {
		if err := p.in.Close(); err != nil {
			t.Fatal(err)
		}
		for _, id := range p.rest() {
			by[id]++
		}
		if err := p.Wait(); err != nil {
			t.Error(err)
		}
	}
	l := openFile(t, path)
	for id, times := range by {
		if s, err := l.Find(t.Context(), id); err != nil || s.Result == nil || s.Attempts != 1 || times != 1 {
			t.Errorf("%s: done %d times; %+v, %v", id, times, s, err)
		}
	}
	t.Logf("%d jobs", len(by))
}

// A ledger that cannot be used says why, and what to do.
func TestOpenFileRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := filepath.Join(dir, "other.db")
	db, err := bbolt.Open(other, 0o600, nil)
	if err == nil {
		err = db.Update(func(tx *bbolt.Tx) error {
			_, err := tx.CreateBucket([]byte("something"))
			return err
		})
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct{ path, reason, fix string }{
		"no folder":          {filepath.Join(dir, "none", "ledger"), "noFolder", "mkdir -p " + filepath.Join(dir, "none")},
		"below a file":       {filepath.Join(other, "ledger"), "noFolder", "mkdir -p"},
		"a folder":           {dir, "noFile", dir + "/ledger"},
		"notes":              {write("notes", []byte(strings.Repeat("notes\n", 9999))), "noLedger", "Name another file"},
		"a short note":       {write("note", []byte("note")), "noLedger", "Name another file"},
		"another's database": {other, "noLedger", "Name another file"},
	}
	if runtime.GOOS == "linux" { // root may write anywhere but there
		cases["not to be written"] = struct{ path, reason, fix string }{"/sys/ledger", "notWritable", "ls -ld /sys /sys/ledger"}
	}
	for name, c := range cases {
		_, err := ledger.OpenFile(c.path)
		var is *ledger.Error
		if !errors.As(err, &is) || is.Fault != jobs.FaultOperator || is.Reason != c.reason || !strings.Contains(is.Message, filepath.Dir(c.path)) || !strings.Contains(is.Fix, c.fix) {
			t.Errorf("%s: %v %+v", name, err, is)
		}
	}
	if left := beside(t, filepath.Join(dir, "none")); len(left) != 3 {
		t.Errorf("left are %q", left)
	}
}

// A ledger of which a part is missing or wrong is not used, and ends nobody's process.
func TestFileIsDamaged(t *testing.T) {
	for name, damage := range map[string]func(file *os.File, size int64) error{
		"cut": func(file *os.File, size int64) error { return file.Truncate(size / 4) },
		"overwritten": func(file *os.File, size int64) error {
			_, err := file.WriteAt([]byte(strings.Repeat("\xff", int(size)/2)), size/8)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger")
			whole := openFile(t, path)
			for i := range 200 {
				if err := settle(whole, fmt.Sprint(i)); err != nil {
					t.Fatal(err)
				}
			}
			if err := whole.Close(); err != nil {
				t.Fatal(err)
			}
			file, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			info, err := file.Stat()
			if err == nil {
				err = errors.Join(damage(file, info.Size()), file.Close())
			}
			if err != nil {
				t.Fatal(err)
			}
			l, err := ledger.OpenFile(path)
			if err == nil {
				defer l.Close()
			}
			for i := 0; err == nil && i < 200; i++ {
				_, err = l.Find(t.Context(), fmt.Sprint(i))
			}
			var is *ledger.Error
			if !errors.As(err, &is) || is.Reason != "damaged" && is.Reason != "noLedger" || is.Fix == "" {
				t.Errorf("%v", err)
			}
		})
	}
}

// Nobody waits for a file longer than for what it is for; and while there is nothing
// to do, it is free.
func TestFileIsLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := openFile(t, path)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: 1})
	if err != nil {
		t.Fatalf("an idle ledger is not free: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	var is *ledger.Error
	if _, err := l.Claim(ctx, "a", soon()); !errors.As(err, &is) || is.Reason != "locked" || !strings.Contains(is.Fix, "lsof "+path) {
		t.Errorf("%v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := settle(l, "a"); err != nil {
		t.Error(err)
	}
	if _, err := l.Claim(ctx, "b", soon()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with no time left: %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s, %v; results are nobody else's business", info.Mode(), err)
	}
}

// What stands in the place of an entry is not taken for one.
func TestFileHoldsSomethingElse(t *testing.T) {
	l := openFile(t, filepath.Join(t.TempDir(), "ledger"))
	for _, value := range []string{"", "short", "12345678", "12345678null", `12345678{"id":`, `12345678{"id":"b","attempts":1}`, "12345678\xff\xff"} {
		if err := l.Overwrite("a", []byte(value)); err != nil {
			t.Fatal(err)
		}
		var is *ledger.Error
		if err := settle(l, "a"); !errors.As(err, &is) || is.Reason != "unreadable" || value != "" && strings.Contains(err.Error(), value) {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// Of an operation that panics nothing is kept, and the ledger goes on.
func TestFilePanics(t *testing.T) {
	l := openFile(t, filepath.Join(t.TempDir(), "ledger"))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("who asked for it does not learn of the panic")
			}
		}()
		t.Error(l.PanicAfter("a", []byte("half")))
	}()
	if err := settle(l, "a"); err != nil {
		t.Error(err)
	}
}

// A ledger that was deleted is not begun anew under who uses it.
func TestFileIsDeleted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := openFile(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	var is *ledger.Error
	if err := settle(l, "a"); !errors.As(err, &is) || is.Reason != "gone" || !strings.Contains(is.Fix, "Put it back") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("there is a new one")
	}
}

// What is old makes room for what is new.
func TestFileForgets(t *testing.T) {
	l, passed := openFile(t, filepath.Join(t.TempDir(), "ledger")), time.Duration(0)
	ledger.SetClock(l, func() time.Time { return time.Now().Add(passed) })
	for _, generation := range []string{"old ", "new "} {
		for i := range 200 {
			if err := settle(l, fmt.Sprint(generation, i)); err != nil {
				t.Fatal(err)
			}
		}
		passed += ledger.Keep + time.Hour
	}
	n, err := l.Rows()
	if err != nil || n["jobs"] > 250 {
		t.Errorf("%d entries of 200 that count, %v", n["jobs"], err)
	}
}

// The name of a holder, which is read from the file, leads to no other file.
func TestFileTrustsNoName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	l := openFile(t, path)
	for _, name := range []string{"", "x", "../x", "../../../../../../../../../../etc/passwd", strings.Repeat("A", 25), strings.Repeat("a", 26), strings.Repeat("A", 26) + "/x"} {
		victim := filepath.Join(filepath.Dir(path), "ledger."+filepath.Base(name)+".alive")
		if err := os.WriteFile(victim, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if gone, err := l.HasGone(name); err != nil || gone {
			t.Errorf("%q: %t, %v", name, gone, err)
		}
		if _, err := os.Stat(victim); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// BenchmarkFile settles jobs in an empty ledger, in a process of its own.
func BenchmarkFile(b *testing.B) {
	for _, c := range []struct{ n, batch string }{{"10000", ""}, {"100000", ""}, {"10000", "campaign-2026-11"}, {"100000", "campaign-2026-11"}} {
		b.Run(c.n+map[bool]string{true: "-of-a-batch"}[c.batch != ""], func(b *testing.B) {
			for b.Loop() {
				p := start(b, "fill", filepath.Join(b.TempDir(), "ledger"), c.n, "32", c.batch)
				var speed, memory float64
				if _, err := fmt.Sscan(p.says(b), &speed, &memory); err != nil {
					b.Fatal(err)
				}
				if err := p.Wait(); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(speed, "jobs/s")
				b.ReportMetric(memory, "peak-MB")
				b.ReportMetric(0, "ns/op")
			}
		})
	}
}
