package store

import (
	"errors"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Where nothing can be written (EROFS: a file system that is mounted for reading
// only, a snapshot), the lock's file cannot be made, nor opened to be locked for
// one alone. Whoever looks into a store there takes a lock for which reading is
// enough, and which is shared. The system keeps it with the file, not with the
// mount: a process that has the directory open by another mount, where it can
// write, excludes those who look, and they exclude it. Any number of processes may
// look at once.
//
// Without the file, as in a checkpoint, nobody has the store open: whoever opens it
// to write makes the file, and it stays. Then there is no lock. If the store is
// opened by another mount meanwhile, who looks may miss files, and call that
// damage, or see an older state. He does no harm.
//
// A directory in which this user may not write (EACCES, EPERM) is another thing:
// its owner may, and what is looked into there is refused.
type mounted struct{ vfs.FS }

// Lock implements vfs.FS.
func (m mounted) Lock(path string) (io.Closer, error) {
	dir, err := statOnDisk(m.FS, m.PathDir(path))
	switch {
	case err != nil:
		return nil, err
	case dir == nil:
		return unlocked{}, nil // known to this process alone
	}
	return lockOwn(m.FS, path, dir, func(path string) (io.Closer, error) {
		l, err := lockShared(path)
		if errors.Is(err, fs.ErrNotExist) {
			return unlocked{}, nil
		}
		return l, err
	})
}

// unlocked is a lock that nobody needs.
type unlocked struct{}

func (unlocked) Close() error { return nil }
