package store

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// tabled returns how often each ID stands in the tables of a namespace, on disk,
// tombstones apart.
func tabled(t *testing.T, s *Store, n *Namespace) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, g := range n.index.(*segments).list {
		pages := tableKey(nil, n.num, g.num, partPage, 0)
		require.NoError(t, s.scan(pages[:len(pages)-4], func(_, page []byte) error {
			require.True(t, g.eachIn(page, s.secret, func(e *stored) {
				if !e.tombstone() {
					all[string(e.text)]++
				}
			}))
			return nil
		}))
	}
	return all
}

// Nothing ever leaves a window of forever, so what is swept there goes by merges
// alone: those at its end, which must go on hiding what stands below them, and the
// one that holds the oldest segment. When the last of them is done the sweeps are
// gone, and nothing of what they forgot is on disk.
func TestSweep_MergesOfAForeverWindow(t *testing.T) {
	sm := seams{fs: vfs.NewMem(), limits: mergeLimits}
	s, err := open("store", nil, sm)
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
	require.NoError(t, err)
	next := int64(0)
	more := func(count int64) {
		require.NoError(t, s.queue.drain()) // what is merged with what must not hang on the queue's pace
		accept(t, n, next, count, 0)
		next += count
	}
	for next < 600 {
		more(30)
	}
	mergedNow(t, s, n)
	// One that is hidden three times over: forgotten, accepted again, swept.
	there, err := n.Forget([]byte("id-7"))
	require.NoError(t, err)
	require.True(t, there)
	more(25)
	r := rec("id-7", next, time.Duration(next)*time.Millisecond)
	next++
	d, err := n.Do(r, nil)
	require.NoError(t, err)
	require.Equal(t, New, d.Verdict)
	more(5)
	require.NoError(t, n.ForgetOrigins(ID{1}, 0, r.Origin.Offset, math.MaxInt64)) // those behind it; not what comes
	require.NoError(t, n.ForgetTimes(t0.Add(100*time.Millisecond), t0.Add(110*time.Millisecond)))
	gone := slices.Concat([]string{"id-7"}, idsOf(100, 110), idsOf(int(r.Origin.Offset)+1, int(next)))
	x := n.index.(*segments)
	require.Len(t, x.sweeps, 2)

	atTheEnd := false
	for len(x.sweeps) > 0 {
		require.Less(t, next, int64(6000), "the sweeps do not go")
		more(30)
		for i, g := range mergedNow(t, s, n) {
			atTheEnd = atTheEnd || i > 0 && g.merged() && g.ruled > 0 && x.list[0].ruled < g.ruled
		}
		require.Empty(t, duplicates(t, n, gone...), "at %d", next)
	}
	require.True(t, atTheEnd, "no merge swept in front of an older segment")
	check := func() {
		require.Empty(t, duplicates(t, n, gone...))
		all := idsOf(0, int(next))
		all = slices.DeleteFunc(all, func(id string) bool {
			return slices.Contains(gone, id) || id == fmt.Sprintf("id-%d", r.Origin.Offset)
		})
		require.Equal(t, all, duplicates(t, n, idsOf(0, int(next))...))
		stand := tabled(t, s, n)
		require.Greater(t, len(stand), 500)
		for _, id := range gone {
			require.Zero(t, stand[string(appendIdent(nil, []byte(id)))], "%s is on disk", id)
		}
	}
	check()
	v, err := s.get(nsKey(kindSweeps, n.num))
	require.NoError(t, err)
	require.Empty(t, v)
	require.NoError(t, s.Close())
	s, err = open("store", nil, sm)
	require.NoError(t, err)
	n, err = s.Namespace("a", nil)
	require.NoError(t, err)
	require.NoError(t, n.Load())
	require.Empty(t, n.index.(*segments).sweeps)
	check()
}
