package store

import (
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// toMerge returns a namespace of three tables, and the two of them that might be
// merged.
func toMerge(t *testing.T, s *Store) (n *Namespace, from []*segment) {
	t.Helper()
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
	require.NoError(t, err)
	for o := int64(0); o < 300; o += 100 {
		accept(t, n, o, 100, 0)
	}
	require.NoError(t, s.queue.drain())
	indexOf(n).adopt()
	return n, indexOf(n).list[:2]
}

// A merge is cancelled on a full disk, when a part of its table is written and a
// part is not: the file goes, and that it could not be ended is nobody's concern.
// (The queue would try again for ever to give it up, and call that a backlog.)
func TestMerge_AbandonedOnAFullDisk(t *testing.T) {
	var armed atomic.Bool
	var refused atomic.Int64
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed.Load() && intoMerged(op, errorfs.OpFileWrite) {
			refused.Add(1)
			return syscall.ENOSPC
		}
		return nil
	}))
	s, err := open("store", &Options{Logger: quiet()}, seams{fs: fs, limits: limits{full: 100, small: 5, merge: 1000}})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	n, from := toMerge(t, s)
	w, err := s.newMerging(n.num, &merge{from: from})
	require.NoError(t, err)
	_, err = w.step()
	require.NoError(t, err)
	armed.Store(true)
	require.NoError(t, w.abandon())
	require.Positive(t, refused.Load(), "there was nothing left to be written")
	files, err := fs.List(s.spillDir())
	require.NoError(t, err)
	require.Empty(t, files)
}

// A merge that is over gives its file up late: the next merge of the same segments
// writes its own already.
func TestMerge_BesideOneThatIsOver(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{full: 100, small: 5, merge: 1000})
	n, from := toMerge(t, s)
	over, err := s.newMerging(n.num, &merge{from: from})
	require.NoError(t, err)
	next, err := s.newMerging(n.num, &merge{from: from})
	require.NoError(t, err)
	for more := true; more; {
		more, err = next.step()
		require.NoError(t, err)
	}
	require.NoError(t, over.abandon())
	require.NoError(t, next.finish())
	require.NoError(t, next.abandon())
}
