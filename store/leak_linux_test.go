package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/firstseen/firstseen/window"
)

// What a store opens, starts or puts down for the time being is gone when Close
// returns: goroutines, descriptors, files of tables that are not in use yet.
func TestFault_F09_NothingIsLeftBehind(t *testing.T) {
	top := t.TempDir()
	merged := false
	use := func(round int) {
		dir := filepath.Join(top, "store")
		s, err := open(dir, &Options{Logger: quiet()}, seams{limits: limits{full: 20, small: 4, merge: 3}})
		require.NoError(t, err)
		n, err := s.Namespace("a", &NamespaceOptions{
			Window: window.Of(10 * time.Minute), BucketWidth: 5 * time.Minute,
		})
		require.NoError(t, err)
		fill := func(records int) {
			require.NoError(t, n.Update(func(b *Batch) error {
				for range records {
					o := b.Position().Offset
					if _, err := b.Do(rec(fmt.Sprint(o), o, time.Duration(o)*5*time.Second), nil); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		for range 4 { // 27 minutes
			fill(80)
			require.NoError(t, s.queue.drain())
			for _, g := range n.index.(*segments).list {
				merged = merged || g.merged()
			}
		}
		require.NoError(t, n.View(func(v *View) error {
			_, err := v.Get([]byte("nothing"))
			return err
		}))
		picture := filepath.Join(top, fmt.Sprint("picture-", round))
		require.NoError(t, s.Checkpoint(t.Context(), picture))
		fill(100) // tables wait, or are being written, as it closes
		if round == 0 {
			require.Positive(t, s.db.Metrics().Ingest.Count)
			st, err := n.Status()
			require.NoError(t, err)
			require.Less(t, st.Markers, uint64(st.Position.Offset), "nothing was dropped")
		}
		require.NoError(t, s.Close())
		files, err := vfs.Default.List(s.spillDir())
		require.NoError(t, err)
		require.Empty(t, files)
		_, err = Open(picture, nil) // refused once it has been looked at
		require.ErrorIs(t, err, ErrSealed)
		_, err = Open(filepath.Dir(picture), nil)
		require.ErrorIs(t, err, ErrFormat)
	}
	use(0) // what is made once in a process is made
	require.True(t, merged, "nothing was merged")
	goroutines, descriptors := goleak.IgnoreCurrent(), len(heldOpen(t))
	for round := range max(3, 20/heavy) {
		use(round + 1)
	}
	goleak.VerifyNone(t, goroutines)
	files := heldOpen(t)
	for _, name := range files {
		require.False(t, strings.HasPrefix(name, top), "still open: %s", name)
	}
	require.Len(t, files, descriptors)
}

// heldOpen returns what the process has open.
func heldOpen(t *testing.T) (names []string) {
	t.Helper()
	const dir = "/proc/self/fd"
	all, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range all {
		name, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err == nil { // not the descriptor of dir itself
			names = append(names, name)
		}
	}
	return names
}
