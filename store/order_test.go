package store

import (
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// markersFS counts the marker files that come into a directory, and keeps the
// names there that a crash which keeps the marker file would lose.
type markersFS struct {
	*vfs.MemFS
	markers int
	lost    []string
	failed  error
}

func (f *markersFS) Create(path string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(f.PathBase(path), "marker.") {
		f.markers++
		there, err := f.List(f.PathDir(path))
		left := f.CrashClone(vfs.CrashCloneCfg{})
		for _, name := range there {
			if _, err := left.Stat(f.PathJoin(f.PathDir(path), name)); err != nil {
				f.lost = append(f.lost, name)
			}
		}
		f.failed = errors.Join(f.failed, err)
	}
	return f.MemFS.Create(path, c)
}

// Whatever a directory holds when a marker file comes into it survives a crash
// that keeps the marker file: the manifest that it names above all.
func TestFault_B11_MarkerFileComesLast(t *testing.T) {
	fs := &markersFS{MemFS: vfs.NewCrashableMem()}
	for i := range int64(3) {
		before := fs.markers
		s, err := open("store", &Options{Logger: quiet()}, seams{fs: fs})
		require.NoError(t, err)
		n, err := s.Namespace("a", nil)
		require.NoError(t, err)
		accept(t, n, i*10, 10, 0)
		require.NoError(t, s.Close())
		require.Greater(t, fs.markers, before, "an open that makes no manifest")
		require.NoError(t, fs.failed)
		require.Empty(t, fs.lost, "open %d", i)
	}
}
