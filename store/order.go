package store

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ordered is the file system as Pebble sees it. Pebble lets a marker file name
// a new manifest before the manifest's own directory entry is synced; a crash
// may then keep the marker and lose the manifest, and nothing opens any more.
// So what a directory holds is made durable before a marker comes into it.
type ordered struct{ vfs.FS }

func (o ordered) Create(path string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(o.PathBase(path), "marker.") {
		if err := syncDir(o.FS, o.PathDir(path)); err != nil {
			return nil, err
		}
	}
	return o.FS.Create(path, c)
}

func (o ordered) Unwrap() vfs.FS { return o.FS }

// makeDir makes a directory, and those above it that are missing, and makes
// them durable: a store must not vanish with the entry that leads to it.
func makeDir(f vfs.FS, dir string) error {
	var parents []string
	for d := dir; ; d = f.PathDir(d) {
		if _, err := f.Stat(d); !errors.Is(err, fs.ErrNotExist) || d == f.PathDir(d) {
			break
		}
		parents = append(parents, f.PathDir(d))
	}
	if err := f.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range parents {
		if err := syncDir(f, d); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(f vfs.FS, dir string) error {
	d, err := f.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
