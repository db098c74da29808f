package store

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// explained adds the way out to what the operating system says when a directory
// is opened, in whatever way: its words tell what could not be done, and not
// what to do.
func explained(err error) error {
	switch {
	case errors.Is(err, syscall.EROFS):
		return unfitFor(err, "mount it writable: as it is, a store in it can only be looked into")
	case unwritable(err):
		return unfitFor(err, "user %d has to read and write the directory and all in it: run it as the store's user, "+
			"or give this one the rights", os.Geteuid())
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return unfitFor(err, "raise the limit (ulimit -n, LimitNOFILE= of systemd)")
	case noRoom(err):
		return fmt.Errorf("%w: %w; make room, then try again", ErrDiskFull, err)
	case errors.Is(err, syscall.EIO):
		return diskFails(err)
	case errors.Is(err, ErrCorrupt), errors.Is(err, ErrFormat):
		return err // whoever met it has said what to do
	case errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENOTDIR):
		return corruptf("%v", err)
	default:
		return err
	}
}

// diskError is what a disk says that fails, with the way out.
type diskError struct{ err error }

func (d *diskError) Error() string {
	return d.err.Error() + "; the disk fails: see to it, then try again in a new process"
}

func (d *diskError) Unwrap() error { return d.err }

// diskFails adds the way out once, wherever it is met first.
func diskFails(err error) error {
	if said := new(diskError); errors.As(err, &said) {
		return err
	}
	return &diskError{err}
}

func unfitFor(err error, way string, args ...any) error {
	way = fmt.Sprintf(way, args...)
	if errors.Is(err, ErrUnfit) {
		return fmt.Errorf("%w; %s", err, way)
	}
	return fmt.Errorf("%w: %w; %s", ErrUnfit, err, way)
}
