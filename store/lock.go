package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The lock of a store keeps other processes out; the system grants it by process.
// A process that locks the file once more, by another path of the directory, is
// let in, and whoever of the two is closed first gives the lock of both up. So the
// locks of this process are known here, each by its directory, from before one is
// asked for until after it is given back. Nobody waits for a disk here.
var locks struct {
	sync.Mutex
	held []*ownLock
}

// ownLock is a lock that this process holds, or asks for, on a file of the
// operating system.
type ownLock struct {
	io.Closer
	store string
	dir   os.FileInfo // the database has it open, so that no other one is taken for it
}

// Lock implements vfs.FS.
func (p private) Lock(path string) (io.Closer, error) {
	if err := fileOnly(p.FS, path); err != nil {
		return nil, err
	}
	dir, err := statOnDisk(p.FS, p.PathDir(path))
	if err != nil {
		return nil, err
	}
	if dir == nil {
		inner, err := p.FS.Lock(path)
		if err != nil {
			return nil, refused(path, err, true)
		}
		return inner, nil
	}
	l, err := lockOwn(p.FS, path, dir, p.FS.Lock)
	if err != nil {
		return nil, err
	}
	// By its path: to open the file once more, and close it, would give the lock up.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// lockOwn asks for the lock of a directory, unless this process has one on it.
func lockOwn(
	f vfs.FS, path string, dir os.FileInfo, ask func(path string) (io.Closer, error),
) (_ io.Closer, err error) {
	l := &ownLock{store: f.PathDir(f.PathDir(path)), dir: dir}
	if other := l.enter(); other != nil {
		return nil, lockedBy("this process, as " + other.store)
	}
	if l.Closer, err = ask(path); err != nil {
		defer l.leave()
		return nil, refused(path, err, false)
	}
	return l, nil
}

// enter makes the lock known, unless this process has, or asks for, one on the same
// directory, which it returns.
func (l *ownLock) enter() *ownLock {
	locks.Lock()
	defer locks.Unlock()
	for _, other := range locks.held {
		if os.SameFile(other.dir, l.dir) {
			return other
		}
	}
	locks.held = append(locks.held, l)
	return nil
}

func (l *ownLock) leave() {
	locks.Lock()
	defer locks.Unlock()
	locks.held = slices.DeleteFunc(locks.held, func(other *ownLock) bool { return other == l })
}

func (l *ownLock) Close() error {
	defer l.leave()
	return l.Closer.Close()
}

// statOnDisk returns what the operating system says of a file, nil when it knows
// nothing of it.
func statOnDisk(f vfs.FS, path string) (os.FileInfo, error) {
	fi, err := f.Stat(path)
	if err != nil || !onDisk(fi) {
		return nil, err
	}
	return os.Stat(path)
}

// refused tells a lock that somebody else holds from one that could not be asked
// for. Of a file system that is not the operating system's nobody knows who.
func refused(path string, err error, foreign bool) error {
	switch {
	case errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.ENOTSUP):
		return fmt.Errorf("%w: %w: the file system takes no locks; put the store on a local disk", ErrUnfit, err)
	case !isHeld(err):
		return err
	case foreign:
		return lockedBy("another handle")
	}
	if pid := lockHolder(path); pid > 0 {
		return lockedBy(fmt.Sprintf("process %d", pid))
	}
	return lockedBy("another process")
}

func lockedBy(whom string) error {
	return fmt.Errorf("%w: by %s; close it there first", ErrLocked, whom)
}
