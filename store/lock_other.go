//go:build !unix

package store

import (
	"errors"
	"io"
	"syscall"
)

const sharingViolation = syscall.Errno(32)

// isHeld reports whether a lock was refused because somebody holds it.
func isHeld(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, sharingViolation)
}

// lockHolder knows nobody: the system does not say.
func lockHolder(string) int { return 0 }

// lockShared is not asked: no file is known to be the system's, see onDisk.
func lockShared(string) (io.Closer, error) { return nil, errors.ErrUnsupported }
