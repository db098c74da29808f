package store

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// inspected are the directories that somebody inspects on a file system that is
// mounted for reading only.
var inspected = []struct {
	name   string
	sealed bool // it is a checkpoint: Open refuses it everywhere
	make   func(t *testing.T, dir string)
}{
	{"closed", false, func(t *testing.T, dir string) {
		s := toLookInto(t, dir, vfs.Default)
		require.NoError(t, s.Close())
	}},
	{"closed, without the lock's file", false, func(t *testing.T, dir string) {
		s := toLookInto(t, dir, vfs.Default)
		require.NoError(t, errors.Join(s.Close(), os.Remove(filepath.Join(dir, dataDir, "LOCK"))))
	}},
	{"crashed", false, func(t *testing.T, dir string) {
		mem := vfs.NewCrashableMem()
		s := toLookInto(t, "store", mem)
		left := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(1, 1))})
		require.NoError(t, s.Close())
		for _, suffix := range []string{"", witnessSuffix} {
			there, err := vfs.Clone(left, vfs.Default, "store"+suffix, dir+suffix)
			require.NoError(t, err)
			require.True(t, there)
		}
	}},
	{"checkpoint", true, func(t *testing.T, dir string) {
		s := toLookInto(t, dir+".of", vfs.Default)
		require.NoError(t, errors.Join(s.Checkpoint(t.Context(), dir), s.Close()))
		require.NoFileExists(t, filepath.Join(dir, dataDir, "LOCK"))
	}},
}

// toLookInto returns a store with markers in tables and in the log alone, and an
// output.
func toLookInto(t *testing.T, dir string, f vfs.FS) *Store {
	t.Helper()
	s, err := open(dir, nil, seams{fs: f, limits: vaultLimits})
	require.NoError(t, err)
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	for i := range int64(10) {
		accept(t, n, 50*i, 50, int32(i))
	}
	require.NoError(t, s.queue.drain())
	_, err = n.Do(rec("last", 500, 0), func(tx *Tx) error { return tx.Stage([]byte("out")) })
	require.NoError(t, err)
	return s
}

// sight is all that there is to see in a directory.
type sight struct {
	report   *Report
	status   Status
	bytes    uint64
	segments []SegmentStats
	markers  []MarkerEntry
	pending  []Output
	why      Why
}

func lookAt(t *testing.T, dir string, f vfs.FS, sealed bool) (g sight) {
	t.Helper()
	var err error
	g.report, err = verifyDir(t.Context(), dir, nil, seams{fs: f})
	require.NoError(t, err)
	require.NoError(t, g.report.Err())
	s, err := open(dir, &Options{ReadOnly: true}, seams{fs: f})
	if sealed {
		require.ErrorIs(t, err, ErrSealed)
		return g
	}
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	require.NoError(t, n.Load())
	g.status, err = n.Status()
	require.NoError(t, err)
	g.bytes, err = n.DiskBytes()
	require.NoError(t, err)
	g.segments, err = n.Segments()
	require.NoError(t, err)
	require.NoError(t, n.Markers(func(m MarkerEntry) error { g.markers = append(g.markers, m); return nil }))
	require.NoError(t, n.Pending(func(o Output) error { g.pending = append(g.pending, o); return nil }))
	g.why, err = n.Why([]byte("id-7"))
	require.NoError(t, err)
	again, err := s.Verify(t.Context(), nil)
	require.NoError(t, err)
	require.Equal(t, g.report, again)

	require.Len(t, g.markers, 501)
	require.Len(t, g.pending, 1)
	require.Greater(t, len(g.segments), 1)
	refusesWrites(t, s, n)
	return g
}

// noWrites is a file system that is mounted for reading only: whoever would write
// gets EROFS. It returns, too, what was asked for in vain.
func noWrites(f vfs.FS, code error) (_ vfs.FS, asked func() []string) {
	var mu sync.Mutex
	var all []string
	return errorfs.Wrap(f, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() != errorfs.OpIsWrite || op.Kind == errorfs.OpFileClose {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, f.PathBase(op.Path))
			return &fs.PathError{Op: "write", Path: op.Path, Err: code}
		})), func() []string {
			mu.Lock()
			defer mu.Unlock()
			return all
		}
}

// Where nothing can be written, whoever looks sees what he would see elsewhere,
// and but for the lock does not even try to write.
func TestFault_B20_LooksWhereNothingCanBeWritten(t *testing.T) {
	for _, c := range inspected {
		t.Run(c.name, func(t *testing.T) {
			above := t.TempDir()
			dir := filepath.Join(above, "store")
			c.make(t, dir)
			before := image(t, above)
			f, asked := noWrites(vfs.Default, syscall.EROFS)
			seen := lookAt(t, dir, f, c.sealed)
			for _, name := range asked() {
				require.Equal(t, "LOCK", name)
			}
			require.NotEmpty(t, asked())
			require.Equal(t, before, image(t, above))
			require.Equal(t, lookAt(t, dir, vfs.Default, c.sealed), seen)
		})
	}
}
