package sandbox

import "sync"

// secretsKept bounds the memory of what was issued; the oldest are forgotten.
const secretsKept = 100_000

// secretLog remembers the newest secrets, each once, for leak scans in tests.
type secretLog struct {
	mu    sync.Mutex
	seen  map[string]struct{}
	ring  []string
	start int // the oldest, once the ring is full
	limit int
}

func newSecretLog(limit int) *secretLog {
	return &secretLog{seen: map[string]struct{}{}, limit: limit}
}

func (l *secretLog) add(s string) {
	if s == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.seen[s]; ok {
		return
	}
	l.seen[s] = struct{}{}
	if len(l.ring) < l.limit {
		l.ring = append(l.ring, s)
		return
	}
	delete(l.seen, l.ring[l.start])
	l.ring[l.start] = s
	l.start = (l.start + 1) % l.limit
}

func (l *secretLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]string, 0, len(l.ring))
	out = append(out, l.ring[l.start:]...)
	return append(out, l.ring[:l.start]...)
}
