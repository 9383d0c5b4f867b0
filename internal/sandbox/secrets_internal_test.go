package sandbox

import (
	"fmt"
	"slices"
	"testing"
)

func TestSecretLogForgetsTheOldest(t *testing.T) {
	l := newSecretLog(3)
	for _, s := range []string{"a", "b", "b", "", "c", "d", "e"} {
		l.add(s)
	}
	if got := l.all(); !slices.Equal(got, []string{"c", "d", "e"}) {
		t.Errorf("%v", got)
	}
	l.add("a") // forgotten, so it is new
	if got := l.all(); !slices.Equal(got, []string{"d", "e", "a"}) || len(l.seen) != 3 {
		t.Errorf("%v %v", got, l.seen)
	}
}

func TestHeaderFields(t *testing.T) {
	raw := []byte("A: 1\r\nB: 2\r\n\t3\r\nb: 4\r\n\r\nC: 5\r\n")
	for name, want := range map[string]string{"a": "1", "B": "2\t3", "C": ""} {
		if got := field(raw, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := string(without(raw, "B")); got != "A: 1\r\n\r\nC: 5\r\n" {
		t.Errorf("%q", got)
	}
	if got := fmt.Sprint(messageIDs("<a@b> x <c@d> <> <e")); got != "[a@b c@d]" {
		t.Errorf("%s", got)
	}
	for _, odd := range []string{"", "\n", "A", "A:", " A: 1", ":\n\n", "A: 1\n B"} {
		field([]byte(odd), "A")
		without([]byte(odd), "A")
		ancestors([]byte(odd))
	}
}

// Sweeping throws out ended tokens and keeps the others.
func TestTokenSweep(t *testing.T) {
	s, err := New(DefaultWorld(), Options{KeyBits: 1024})
	if err != nil {
		t.Fatal(err)
	}
	live := s.issue("a", nil, nil, tokenLife)
	for range tokenShards * tokenSweepMin * 2 {
		s.issue("a", nil, nil, -1)
	}
	total := 0
	for i := range s.tokens.shards {
		total += len(s.tokens.shards[i].issued)
	}
	if total > tokenShards*tokenSweepMin || s.tokens.get(live.value) == nil {
		t.Errorf("%d tokens kept", total)
	}
}
