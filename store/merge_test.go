package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// mergeLimits make a store of tiny segments that merges early.
var mergeLimits = limits{full: 20, small: 5, merge: 4}

// accept accepts count new IDs in one batch, from offset on, a millisecond apart.
func accept(t *testing.T, n *Namespace, offset, count int64, epoch int32) {
	t.Helper()
	require.NoError(t, n.Update(func(b *Batch) error {
		for o := offset; o < offset+count; o++ {
			r := rec(fmt.Sprintf("id-%d", o), o, time.Duration(o)*time.Millisecond)
			r.Origin.LeaderEpoch = epoch
			d, err := b.Do(r, nil)
			require.NoError(t, err)
			require.Equal(t, New, d.Verdict, o)
		}
		return nil
	}))
}

// mergedNow lets every merge that is due end, and returns the segments.
func mergedNow(t *testing.T, s *Store, n *Namespace) []*segment {
	t.Helper()
	x := n.index.(*segments)
	for same, before := 0, 0; same < 20; same++ { // a table that is written changes no number
		require.NoError(t, s.queue.drain())
		if now := len(x.list); before != now {
			same, before = 0, now
		}
		require.NoError(t, n.Update(func(b *Batch) error { b.dirty = true; return nil }))
	}
	require.NoError(t, s.queue.drain()) // which would change the list under the reader
	return x.list
}

// segmentCount may be asked while the queue works.
func segmentCount(n *Namespace) int {
	x := n.index.(*segments)
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.list)
}

// Merged segments hold every marker of those they replace, with its origin, over
// merges of merges, changes of epoch, and a restart; the others' tables go.
func TestMerge_KeepsEveryMarker(t *testing.T) {
	const all = 3000
	dir := t.TempDir()
	s := testOpen(t, dir, mergeLimits)
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
	require.NoError(t, err)
	for o := int64(0); o < all; o += 30 {
		accept(t, n, o, 30, int32(o/400))
	}
	check := func() {
		list := mergedNow(t, s, n)
		require.LessOrEqual(t, len(list), 2*mergeLimits.merge)
		bases, merged := 0, 0
		for _, g := range list {
			if g.merged() {
				merged++
				bases = max(bases, len(g.bases))
			}
		}
		require.Positive(t, merged)
		require.Greater(t, bases, mergeMost, "no merge of merges")
		x := n.index.(*segments)
		for o := range int64(all) {
			id := keyed(appendIdent(nil, fmt.Appendf(nil, "id-%d", o)), s.secret)
			m, found, err := x.lookup(id, -1)
			require.NoError(t, err)
			require.True(t, found, o)
			require.Equal(t, Position{TopicID: ID{1}, Offset: o, LeaderEpoch: int32(o / 30 * 30 / 400)}, m.origin)
		}
		x.endBatch()
	}
	check()
	dead := 0
	require.NoError(t, s.scan([]byte{kindDead}, func(_, _ []byte) error { dead++; return nil }))
	require.Zero(t, dead, "tables of replaced segments")
	files, err := s.fs.List(s.spillDir())
	require.NoError(t, err)
	require.Empty(t, files)
	require.NoError(t, s.Close())

	s = testOpen(t, dir, mergeLimits)
	n, err = s.Namespace("a", nil)
	require.NoError(t, err)
	require.NoError(t, n.Load())
	check()
}

// However narrow the buckets, there are few segments; and none is so wide that
// it keeps its oldest markers for long.
func TestMerge_ManyBuckets(t *testing.T) {
	const all, ttl = 20_000, 8000
	s, err := open("store", nil, seams{fs: vfs.NewMem(), limits: limits{full: 1000, small: 2, merge: 8}})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	n, err := s.Namespace("a", &NamespaceOptions{
		Window: window.Of(ttl * time.Millisecond), BucketWidth: 8 * heavy * time.Millisecond, // a thousand
	})
	require.NoError(t, err)
	for o := int64(0); o < all; o += 100 {
		accept(t, n, o, 100, 0)
		// A batch of this test opens a dozen.
		require.LessOrEqual(t, segmentCount(n), 2*segmentsMost)
	}
	list := mergedNow(t, s, n)
	require.LessOrEqual(t, len(list), segmentsMost)
	for _, g := range list {
		require.LessOrEqual(t, g.high-g.low, int64(ttl/16), "segment %d", g.num)
		require.Greater(t, g.high, int64(all-ttl-ttl/16-100)+t0.UnixMilli(), "space comes back")
	}
}

// A segment that is over does not wait for the merge that reads it.
func TestMerge_CancelledByADrop(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{full: 20, small: 5, merge: 1000})
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Of(100 * time.Millisecond)})
	require.NoError(t, err)
	accept(t, n, 0, 100, 0)
	require.NoError(t, s.queue.drain())
	x := n.index.(*segments)
	x.adopt()
	var from []*segment
	for _, g := range x.list {
		if g.table != nil {
			from = append(from, g)
		}
	}
	require.Greater(t, len(from), 3)
	m := &merge{from: from}
	for _, g := range from {
		g.merging = m
	}
	job := s.mergeJob(n.num, m)
	w, err := s.newMerging(n.num, m)
	require.NoError(t, err)
	_, err = w.step()
	require.NoError(t, err)
	accept(t, n, 100, 100, 0) // the clock passes the window of the first ones
	accept(t, n, 200, 1, 0)
	require.EqualValues(t, mergeCancelled, m.state.Load())
	require.NoError(t, job())
	require.Nil(t, m.done.Load())
	require.NoError(t, s.queue.drain()) // which writes tables too
	require.NoError(t, w.abandon())
	files, err := s.fs.List(s.spillDir())
	require.NoError(t, err)
	require.Empty(t, files)
	for _, g := range x.list {
		require.NotContains(t, from, g)
	}
}

// On a full disk a merge is not begun: it would take the room in which what has
// expired is dropped.
func TestFault_B03_NothingIsMergedOnAFullDisk(t *testing.T) {
	s, err := Open("", &Options{InMemory: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	full := s.disk.error(0, 1)
	s.disk.full.Store(&full)
	begun := s.mergeJob(1, &merge{from: []*segment{{}, {}}})
	require.ErrorIs(t, begun(), ErrDiskFull)
}
