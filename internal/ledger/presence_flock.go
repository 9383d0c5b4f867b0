//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package ledger

import (
	"os"
	"syscall"
)

// announce makes a new presence beside the ledger.
func announce(ledger string) (*presence, error) {
	p := &presence{name: newHolder()}
	var err error
	if p.file, err = os.OpenFile(presenceFile(ledger, p.name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	return p, flock(p.file)
}

// dead tells whether a presence has ended, and its file is still there.
func dead(ledger, name string) bool {
	file, err := os.OpenFile(presenceFile(ledger, name), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer file.Close()
	return flock(file) == nil
}

// flock locks a file that nobody has locked, until it is closed.
func flock(file *os.File) error {
	connection, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var locking error
	if err := connection.Control(func(fd uintptr) { locking = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) }); err != nil {
		return err
	}
	return locking
}
