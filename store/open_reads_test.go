package store

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// Opening a store reads no markers, and using a namespace reads those of no other.
func TestOpen_ReadsWhatIsUsed(t *testing.T) {
	const spaces, each = 50, 4000
	fs := &readsFS{FS: vfs.NewMem()}
	reopen := func() (*Store, []*Namespace) {
		s, err := open("store", &Options{Logger: quiet()},
			seams{fs: fs, limits: limits{full: 3000, small: 2500, merge: mergeAbove}})
		require.NoError(t, err)
		all := make([]*Namespace, spaces)
		for i := range all {
			all[i], err = s.Namespace(fmt.Sprintf("n-%d", i), &NamespaceOptions{Window: window.Forever})
			require.NoError(t, err)
		}
		return s, all
	}
	s, all := reopen()
	for range each / 500 { // a full segment with a table, and a thousand markers in runs
		for _, n := range all {
			st, err := n.Status()
			require.NoError(t, err)
			accept(t, n, st.Position.Offset, 500, 0)
		}
	}
	require.NoError(t, s.queue.drain())
	require.NoError(t, s.db.Flush())
	// Nothing is left to compact, which would read beside us.
	require.NoError(t, s.db.Compact(t.Context(), []byte{kindCat}, []byte{0xff}, false))
	require.NoError(t, s.Close())

	var markers int64 // bytes of them
	for o := range int64(each) {
		markers += int64(len(fmt.Sprintf("id-%d", o))) + 4
	}
	fs.bytes.Store(0)
	s, all = reopen()
	defer func() { require.NoError(t, s.Close()) }()
	opened := fs.bytes.Swap(0)
	t.Logf("%d bytes read at open, of %d", opened, markers*spaces)
	require.Less(t, opened, markers*spaces/20)

	accept(t, all[7], each, 1, 0)
	used := fs.bytes.Swap(0)
	t.Logf("%d bytes read for one namespace, of %d", used, markers)
	require.Less(t, used, markers*spaces/10)

	for _, n := range all {
		require.NoError(t, n.Load())
	}
	require.Greater(t, fs.bytes.Load(), markers*spaces/4, "the runs of all of them: a fourth of their markers")
}
