package functions_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// ends is a rig whose instance can be told to end. What goes to a path with this in it
// waits at the gate.
func ends(t *testing.T, b *book, path string) (r *rig, g *gate, end, breakOff context.CancelFunc) {
	t.Helper()
	ending, end := context.WithCancel(t.Context())
	broken, breakOff := context.WithCancel(t.Context())
	g = &gate{arrived: make(chan struct{}, 10), open: make(chan struct{})}
	r = setup(t, keeping(b), func(cfg *config.Config, o *functions.Options) {
		o.Ending, o.BreakOff = ending, broken
		before(t, cfg, func(_ http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, path) {
				g.arrived <- struct{}{}
				<-g.open
			}
			return false
		})
	})
	return r, g, end, breakOff
}

// Told to end, an instance breaks off what has not begun its call: the job is free for
// another, and in no doubt.
func TestEndingBeforeTheCall(t *testing.T) {
	b := newBook()
	r, g, end, _ := ends(t, b, ":signJwt")
	answered := make(chan int)
	go func() { answered <- r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)) }()
	<-g.arrived
	end()
	if status := <-answered; status != http.StatusServiceUnavailable {
		t.Errorf("HTTP %d", status)
	}
	close(g.open)
	if state := b.state(t); state.Held || !state.Doubt.IsZero() || !state.NotBefore.IsZero() || state.Result != nil {
		t.Errorf("the ledger has %+v", state)
	}
	if line := r.logs.attempts(t)[0]; line["called"] != false || line["reason"] != "interrupted" {
		t.Errorf("%v", line)
	}
	if status := r.deliver(t, "2", insert("k", "ada@example.com", plainLetter)); status != http.StatusServiceUnavailable {
		t.Errorf("one that comes then: HTTP %d", status)
	}
	if _, _, inserts := r.calls(); inserts != 0 {
		t.Errorf("%d inserts", inserts)
	}
}

// One that waits for its turn in a mailbox waits no more.
func TestEndingBeforeTheTurn(t *testing.T) {
	b := newBook()
	r, g, end, _ := ends(t, b, "/gmail.googleapis.com/")
	first, second := make(chan int), make(chan int)
	go func() { first <- r.deliver(t, "1", insert("k", "ada@example.com", plainLetter)) }()
	<-g.arrived
	go func() { second <- r.deliver(t, "2", insert("j", "ada@example.com", plainLetter)) }()
	end()
	if status := <-second; status != http.StatusServiceUnavailable || b.state(t).Held || !b.state(t).Doubt.IsZero() {
		t.Errorf("HTTP %d, the ledger has %+v", status, b.state(t))
	}
	close(g.open)
	if status := <-first; status != http.StatusOK {
		t.Errorf("HTTP %d of what was in hand", status)
	}
	if _, _, inserts := r.calls(); inserts != 1 {
		t.Errorf("%d inserts", inserts)
	}
}

// A call in hand may end by itself.
func TestEndingInTheCall(t *testing.T) {
	r, g, end, _ := ends(t, newBook(), "/gmail.googleapis.com/")
	answered := make(chan int)
	go func() { answered <- r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)) }()
	<-g.arrived
	end()
	close(g.open)
	if status := <-answered; status != http.StatusOK || r.last(t).Status != jobs.Succeeded {
		t.Errorf("HTTP %d\n%s", status, r.logs)
	}
}

// What takes too long for that is broken off, and in doubt: another instance looks it up.
func TestACallIsBrokenOff(t *testing.T) {
	b := newBook()
	r, g, end, breakOff := ends(t, b, "/gmail.googleapis.com/")
	defer close(g.open)
	answered, begun := make(chan int), time.Now()
	go func() { answered <- r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)) }()
	<-g.arrived
	end()
	breakOff()
	if status := <-answered; status != http.StatusServiceUnavailable || len(r.results.all()) != 0 {
		t.Errorf("HTTP %d, %d results", status, len(r.results.all()))
	}
	if state := b.state(t); state.Held || state.Doubt.Before(begun) || !state.NotBefore.Equal(state.Doubt.Add(searchLag)) {
		t.Errorf("the ledger has %+v", state)
	}
	b.age(t)
	other := r.another(t, keeping(b))
	if status := other.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != http.StatusOK || other.last(t).Status != jobs.Succeeded {
		t.Errorf("another: HTTP %d\n%s", status, other.logs)
	}
	if n := len(r.google.Letters("ada@example.com")); n != 1 {
		t.Errorf("%d letters", n)
	}
}

// One of the two signals alone is enough.
func TestOnlyEnding(t *testing.T) {
	r := setup(t, func(_ *config.Config, o *functions.Options) { o.Ending = t.Context() })
	if status := r.deliver(t, "1", insert("j", "ada@example.com", plainLetter)); status != http.StatusOK {
		t.Errorf("HTTP %d", status)
	}
}
