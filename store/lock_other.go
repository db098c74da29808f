//go:build !unix

package store

import (
	"errors"
	"syscall"
)

const sharingViolation = syscall.Errno(32)

// isHeld reports whether a lock was refused because somebody holds it.
func isHeld(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, sharingViolation)
}

// lockHolder knows nobody: the system does not say.
func lockHolder(string) int { return 0 }
