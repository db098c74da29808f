package store

import (
	"errors"
	"strings"
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
