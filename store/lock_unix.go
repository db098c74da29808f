//go:build unix

package store

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// isHeld reports whether a lock was refused because somebody holds it.
func isHeld(err error) bool { return errors.Is(err, syscall.EAGAIN) }

// lockHolder returns the process that holds the lock on a file, 0 when the system
// does not say: one of another container has no number here. The caller has seen
// to it that this process holds no lock on the file, nor takes one meanwhile:
// closing it here would give that up.
func lockHolder(path string) int {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }() // it was only read
	l := syscall.Flock_t{Type: syscall.F_WRLCK}
	if syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &l) != nil || l.Type == syscall.F_UNLCK {
		return 0
	}
	return int(l.Pid)
}

// lockShared takes a lock that several processes may hold, and none beside one
// that has the file for itself. It needs no right to write. The caller has seen to
// it that this process holds no other one on the file.
func lockShared(path string) (io.Closer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	l := syscall.Flock_t{Type: syscall.F_RDLCK}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &l); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
