package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

func fmtID(o int64) []byte { return fmt.Appendf(nil, "id-%d", o) }

// opened opens what a crash left, and asks for the IDs up to end: those from
// alive on must be duplicates, the others must not.
func opened(t *testing.T, fs *vfs.MemFS, alive, end int64) (st Status) {
	t.Helper()
	s, err := open("store", &Options{Logger: quiet()}, seams{fs: fs, limits: limits{full: 20, small: 5, merge: 1000}})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	require.NoError(t, n.Load(), "tables are gone that the durable clock keeps")
	for o := range end {
		_, found, err := n.Lookup(fmtID(o))
		require.NoError(t, err)
		require.Equal(t, o >= alive, found, "ID %d, of which those from %d on are in the window", o, alive)
	}
	st, err = n.Status()
	require.NoError(t, err)
	return st
}

// A batch moves the clock beyond a hundred markers. Until that clock is durable
// nothing of them may go, the tables least of all, as a crash takes the clock
// back; and until the batch that drops them is durable, a crash finds all or
// nothing of them.
func TestFault_B21_DroppedByTheDurableClock(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s, err := open("store", &Options{Logger: quiet()}, seams{fs: fs, limits: limits{full: 20, small: 5, merge: 1000}})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Of(100 * time.Millisecond)})
	require.NoError(t, err)
	accept(t, n, 0, 99, 0)
	require.NoError(t, s.queue.drain())
	accept(t, n, 99, 1, 0) // the tables enter the catalogue; C = 99
	require.NoError(t, s.queue.drain())
	x := n.index.(*segments)
	var old []*segment
	for _, g := range x.list {
		if g.table != nil {
			old = append(old, g)
		}
	}
	require.GreaterOrEqual(t, len(old), 4)
	image := func() *vfs.MemFS { return fs.CrashClone(vfs.CrashCloneCfg{}) }

	var undecided *vfs.MemFS
	require.NoError(t, n.Update(func(b *Batch) error {
		require.Empty(t, x.batch.drops)
		for o := int64(100); o < 220; o++ {
			if _, err := b.Do(rec(string(fmtID(o)), o, time.Duration(o)*time.Millisecond), nil); err != nil {
				return err
			}
		}
		undecided = image()
		return nil
	}))
	st := opened(t, undecided, 0, 100)
	require.Equal(t, at(99*time.Millisecond), st.Clock)
	for _, g := range old {
		require.Contains(t, x.list, g, "dropped by a clock that was not durable when its batch began")
	}
	require.NoError(t, s.queue.drain())
	moved := image() // the clock is durable, and nobody has dropped anything yet
	st = opened(t, moved, 120, 220)
	require.Equal(t, at(219*time.Millisecond), st.Clock)

	// The next batch drops them. Nothing of that is to be seen before it is durable.
	var planned *vfs.MemFS
	require.NoError(t, n.Update(func(b *Batch) error {
		require.Subset(t, x.batch.drops, old)
		require.NoError(t, s.queue.drain())
		planned = image()
		_, err := b.Do(rec("last", 220, 219*time.Millisecond), nil)
		return err
	}))
	require.Equal(t, st, opened(t, planned, 120, 220))
	for _, g := range old {
		require.NotContains(t, x.list, g)
	}
	dropped := opened(t, image(), 120, 220) // with tables that are still being removed
	require.Less(t, dropped.Markers, st.Markers-80)
	require.NoError(t, s.queue.drain())
	require.Equal(t, dropped, opened(t, image(), 120, 220))
	for _, g := range old {
		header, err := s.get(tableKey(nil, n.num, g.num, partHeader, 0))
		require.NoError(t, err)
		require.Nil(t, header, "the table of segment %d still stands", g.num)
	}
}
