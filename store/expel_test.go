package store

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// A namespace that is read back again and again while tables of what it dropped
// are still to be removed has each of them removed once.
func TestStore_EachTableIsRemovedOnce(t *testing.T) {
	s, err := open("store", &Options{Logger: quiet(), Now: func() time.Time { return t0.Add(24 * time.Hour) }},
		seams{fs: vfs.NewMem(), limits: limits{full: 20, small: 5, merge: 1000}})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Of(100 * time.Millisecond)})
	require.NoError(t, err)
	accept(t, n, 0, 90, 0)
	require.NoError(t, s.queue.drain())
	accept(t, n, 90, 1, 0)
	require.NoError(t, s.queue.drain())
	require.NoError(t, s.lockTables(t.Context())) // no table goes
	require.NoError(t, n.Advance(t0.Add(time.Second)))
	more := func(o int64) {
		require.NoError(t, n.Update(func(b *Batch) error {
			_, err := b.Do(rec(string(fmtID(o)), o, time.Second), nil)
			return err
		}))
	}
	more(91) // memory has something to be read back
	dead := count(t, s, kindDead)
	require.Greater(t, dead, 3)
	waiting := func() int {
		for range 5 {
			require.NoError(t, n.own())
			n.unload(0)
			require.False(t, n.loaded)
			n.disown()
			require.NoError(t, n.Load())
		}
		s.queue.mu.Lock()
		defer s.queue.mu.Unlock()
		if s.queue.busy {
			return len(s.queue.later) + 1
		}
		return len(s.queue.later)
	}
	require.Equal(t, dead, waiting())
	s.unlockTables()
	require.NoError(t, s.queue.drain())
	require.NoError(t, s.lockTables(t.Context()))
	require.Zero(t, waiting(), "they are gone, and no batch has said so yet")
	s.unlockTables()
	more(92)
	require.Zero(t, count(t, s, kindDead))
}
