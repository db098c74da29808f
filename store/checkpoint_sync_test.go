package store

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// A checkpoint holds what its seal counts, although the disk has not yet got it: while
// one namespace is synced, what another one writes is not even in the file.
func TestCheckpoint_WhileBatchesAreSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		disk := newHangingOn(mem, func(op errorfs.Op) bool {
			return syncsLog(op) && strings.HasPrefix(op.Path, "store")
		})
		s, err := open("store", &Options{Logger: quiet(), CommitTimeout: time.Hour}, seams{fs: disk})
		require.NoError(t, err)
		ended := make(chan error, 3)
		for _, name := range []string{"a", "b"} {
			n, err := s.Namespace(name, nil)
			require.NoError(t, err)
			disk.armed.Store(name == "b")
			go func() {
				_, err := n.Do(rec("0", 0, 0), nil)
				if err == nil {
					_, err = n.Do(rec("1", 1, 0), nil)
				}
				ended <- err
			}()
			synctest.Wait()
		}
		go func() { ended <- s.Checkpoint(t.Context(), "picture") }()
		synctest.Wait()
		close(disk.end)
		require.NoError(t, errors.Join(<-ended, <-ended, <-ended))
		require.NoError(t, s.Close())
		require.NoError(t, adopt("picture", nil, seams{fs: mem}))
	})
}

// Batches go on while a checkpoint copies the log, and some come behind the part that was
// read. The copy ends where the log did when it was opened: it is no log with zeros in
// its middle, which nothing opens.
func TestCheckpoint_CopiesNoHoleOfTheLog(t *testing.T) {
	mem := vfs.NewMem()
	var n *Namespace
	var parts atomic.Int32
	s, err := open("store", &Options{Logger: quiet()}, seams{fs: errorfs.Wrap(mem,
		errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind != errorfs.OpFileWrite || !strings.HasPrefix(op.Path, "picture") ||
				!strings.HasSuffix(op.Path, ".log") || parts.Add(1) != 1 {
				return nil
			}
			var err error
			for o := int64(1); o <= 2 && err == nil; o++ { // the second one says that the first was synced
				_, err = n.Do(rec(fmt.Sprint(o), o, 0), func(tx *Tx) error {
					return tx.Set([]byte("k"), make([]byte, 3*logStepMin))
				})
			}
			return err
		}))})
	require.NoError(t, err)
	a, err := s.Namespace("a", nil)
	require.NoError(t, err)
	_, err = a.Do(rec("0", 0, 0), nil)
	require.NoError(t, err)
	n = a
	require.NoError(t, s.Checkpoint(t.Context(), "picture"))
	require.NoError(t, s.Close())
	require.Positive(t, parts.Load())

	require.NoError(t, adopt("picture", nil, seams{fs: mem}))
	s, err = open("picture", &Options{Logger: quiet()}, seams{fs: mem})
	require.NoError(t, err)
	n, err = s.Namespace("a", nil)
	require.NoError(t, err)
	_, found, err := n.Lookup([]byte("0"))
	require.NoError(t, err)
	require.True(t, found)
	require.NoError(t, s.Close())
}
