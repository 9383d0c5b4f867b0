package ledger

import "time"

// SetClock has a ledger take the time from now.
func SetClock(l Ledger, now func() time.Time) {
	switch l := l.(type) {
	case *Memory:
		l.now = now
	case *File:
		l.now = now
	case *Firestore:
		l.now = now
	}
}
