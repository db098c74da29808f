package store

import (
	"errors"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// private is a file system whose files and directories are their owner's alone,
// whatever the umask: IDs are often order numbers or addresses. Pebble asks for
// 0666 and 0755.
type private struct{ vfs.FS }

func (p private) Unwrap() vfs.FS { return p.FS }

func (p private) Create(path string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := p.FS.Create(path, c)
	return closedTo(f, err)
}

func (p private) OpenReadWrite(path string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := p.FS.OpenReadWrite(path, c, o...)
	return closedTo(f, err)
}

// closedTo takes the rights of others from a file that was just made. Nobody had
// a chance to open it: its directory was private before.
func closedTo(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	if fd := f.Fd(); fd != vfs.InvalidFd {
		if err := makePrivate(fd); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

func (p private) MkdirAll(path string, mode os.FileMode) error {
	return p.FS.MkdirAll(path, mode&^0o077)
}
