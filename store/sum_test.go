package store

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// A segment whose runs are gone, every one of them, leaves nothing that does not
// prove; only the sum that the newest batch wrote misses it (R16, B06).
func TestFault_B06_ASegmentIsGone(t *testing.T) {
	dir := t.TempDir()
	s := testOpen(t, dir, mergeLimits)
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
	require.NoError(t, err)
	accept(t, n, 0, 4, 0)
	accept(t, n, 4, 4, 1) // another epoch, another segment
	require.NoError(t, n.Load())
	gone := n.index.(*segments).list[0]
	require.Nil(t, gone.table)
	from := segKey(kindRun, n.num, gone.num)
	require.NoError(t, s.db.DeleteRange(from, after(from), pebble.Sync))
	require.NoError(t, s.Close())
	s = testOpen(t, dir, mergeLimits)
	n, err = s.Namespace("a", nil)
	require.NoError(t, err)
	err = n.Load()
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "4 markers are there, 8 were acknowledged")
}
