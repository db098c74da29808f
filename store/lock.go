package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"syscall"
)

// The lock of a store keeps other processes out; the system grants it by process.
// A process that locks the file once more, by another path of the directory, is
// let in, and whoever of the two is closed first gives the lock of both up. So the
// locks of this process are known here, each by its file.
var locks struct {
	sync.Mutex // held while one is taken or given back
	held       []*ownLock
}

// ownLock is a lock that this process holds on a file of the operating system.
type ownLock struct {
	io.Closer
	dir  string
	file os.FileInfo // of a file that is open, so that no other one is taken for it
}

// Lock implements vfs.FS.
func (p private) Lock(path string) (io.Closer, error) {
	locks.Lock()
	defer locks.Unlock()
	if err := fileOnly(p.FS, path); err != nil {
		return nil, err
	}
	if l, err := p.ours(path); err != nil {
		return nil, err
	} else if l != nil {
		return nil, lockedBy("this process, as " + l.dir)
	}
	inner, err := p.FS.Lock(path)
	if err != nil {
		return nil, p.refused(path, err)
	}
	fi, err := p.onDisk(path)
	if err == nil && fi == nil {
		return inner, nil // the file system is this process's own, and knows better
	}
	if err == nil {
		// By its path: to open the file once more, and close it, would give the lock up.
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, inner.Close())
	}
	l := &ownLock{inner, p.PathDir(p.PathDir(path)), fi}
	locks.held = append(locks.held, l)
	return l, nil
}

// ours returns the lock that this process holds on a file, nil when it holds none.
func (p private) ours(path string) (*ownLock, error) {
	fi, err := p.onDisk(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, l := range locks.held {
		if fi != nil && os.SameFile(l.file, fi) {
			return l, nil
		}
	}
	return nil, err
}

// onDisk returns what the operating system says of a file, nil when it knows
// nothing of it.
func (p private) onDisk(path string) (os.FileInfo, error) {
	fi, err := p.Stat(path)
	if err != nil || !onDisk(fi) {
		return nil, err
	}
	return os.Stat(path)
}

func (l *ownLock) Close() error {
	locks.Lock()
	defer locks.Unlock()
	locks.held = slices.DeleteFunc(locks.held, func(other *ownLock) bool { return other == l })
	return l.Closer.Close()
}

// refused tells a lock that somebody else holds from one that could not be asked
// for.
func (p private) refused(path string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.ENOTSUP):
		return fmt.Errorf("%w: %w: the file system takes no locks; put the store on a local disk", ErrUnfit, err)
	case !isHeld(err):
		return err
	}
	if fi, err := p.onDisk(path); err == nil && fi == nil {
		return lockedBy("this process")
	}
	if pid := lockHolder(path); pid > 0 {
		return lockedBy(fmt.Sprintf("process %d", pid))
	}
	return lockedBy("another process")
}

func lockedBy(whom string) error {
	return fmt.Errorf("%w: by %s; close it there first", ErrLocked, whom)
}
