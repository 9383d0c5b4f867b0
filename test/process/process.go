// Package process has what it takes to start programs that listen, for tests and for
// programs that try the whole.
package process

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// FreeAddress is one of this machine that nobody listens on now.
func FreeAddress(ctx context.Context) (hostPort string, err error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// startTime is how long a program may take until it listens. It is long, for the
// machine may be busy; who is ready sooner is used sooner.
const startTime = time.Minute

// Listening waits until somebody listens on the address, for a minute at most, unless
// the one who was to do so has ended.
func Listening(ctx context.Context, address string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ended:
			return errors.New("it has ended")
		case <-ctx.Done():
			return err
		case <-again.C:
		}
	}
}

// Log is a bytes.Buffer that one may read while others write.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is all that was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
