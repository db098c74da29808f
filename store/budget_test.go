package store

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

func openMem(t *testing.T, o Options, l limits) *Store {
	t.Helper()
	s, err := open("store", &o, seams{fs: vfs.NewMem(), limits: l})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// Many namespaces share one budget: those that are idle are unloaded, small ones
// never get a table, and each answers as if it were alone.
func TestBudget_ManyNamespaces(t *testing.T) {
	const spaces, budget = 100, 256 << 10
	s := openMem(t, Options{Memory: budget}, limits{full: 1000, small: 500, merge: mergeAbove, share: 500})
	all := make([]*Namespace, spaces)
	for i := range all {
		n, err := s.Namespace(fmt.Sprintf("n-%d", i), &NamespaceOptions{Window: window.Forever})
		require.NoError(t, err)
		all[i] = n
	}
	unloaded := 0
	for round := range int64(4) {
		for _, n := range all {
			if !n.loaded {
				unloaded++
			}
			accept(t, n, round*100, 100, 0)
			require.LessOrEqual(t, s.Stats().MemoryBytes, int64(budget))
		}
	}
	require.Greater(t, unloaded, 2*spaces)
	for _, n := range all {
		require.NoError(t, n.Update(func(b *Batch) error {
			for o := range int64(400) {
				d, err := b.Do(Record{ID: fmt.Appendf(nil, "id-%d", o)}, nil)
				require.NoError(t, err)
				require.Equal(t, Duplicate, d.Verdict)
				require.Equal(t, o, d.Origin.Offset)
			}
			return nil
		}))
	}
	tables := 0
	for _, n := range all {
		if n.loaded {
			for _, g := range n.index.(*segments).list {
				if g.table != nil {
					tables++
				}
			}
		}
	}
	require.Zero(t, tables)
}

// What loaded namespaces hold is what the budget was told: beside it they hold
// next to nothing, and unloading gives all of it back.
func TestBudget_TellsAll(t *testing.T) {
	const spaces, size, rounds = 800 / heavy, 200, 3
	s := openMem(t, Options{Logger: quiet()}, limits{full: fullSegment, small: smallSegment, merge: mergeAbove})
	for i := range spaces {
		n, err := s.Namespace(fmt.Sprintf("n-%d", i), &NamespaceOptions{Window: window.Hour})
		require.NoError(t, err)
		for range rounds {
			require.NoError(t, n.Update(func(b *Batch) error {
				recs, ids := make([]Record, size), make([][]byte, size)
				from := b.Position().Offset
				for j := range recs {
					o := from + int64(j)
					recs[j] = rec(fmt.Sprintf("id-%012d", o), o, time.Duration(o)*5*time.Second)
					ids[j] = recs[j].ID
				}
				b.Prepare(ids)
				for _, r := range recs {
					_, err := b.Do(r, nil)
					require.NoError(t, err)
				}
				return nil
			}))
		}
	}
	heap := func() int64 {
		runtime.GC() // twice, for what was lent is kept over one
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	told, before := s.memory.Load(), heap()
	s.ask(nil, 1<<40, (*Namespace).unload)
	require.Zero(t, s.memory.Load())
	held := before - heap()
	t.Logf("%d bytes were told, %d given back, of %d markers", told, held, spaces*size*rounds)
	require.InEpsilon(t, told, held, 0.15)
	require.Less(t, told, int64(spaces*size*rounds*70))
}

// Filters over their budget are halved, then dropped, the oldest first. The
// store reads more and answers the same. (B17)
func TestFault_B17_FilterBudget(t *testing.T) {
	for _, budget := range []int64{1, 3000, 6000} {
		s := openMem(t, Options{FilterMemory: budget}, limits{full: 200, small: 50, merge: mergeAbove})
		n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
		require.NoError(t, err)
		for o := int64(0); o < 4000; o += 100 {
			accept(t, n, o, 100, 0)
			require.NoError(t, s.queue.drain())
		}
		accept(t, n, 4000, 100, 0)
		require.NoError(t, s.queue.drain())
		accept(t, n, 4100, 1, 0) // a table that came after a batch is counted by the next one
		told := s.Stats()
		require.LessOrEqual(t, told.FilterBytes, budget)
		require.Equal(t, budget >= 3000, told.FilterBytes > 0)
		require.Positive(t, told.CacheBytes)
		x := n.index.(*segments)
		x.release(1 << 40)
		whole, half, none := 0, 0, 0
		for _, g := range x.list {
			switch {
			case g.table == nil:
			case len(g.table.filter.words) == 0:
				none++
			case len(g.table.filter.words) < int(g.words):
				half++
			default:
				whole++
			}
		}
		t.Logf("budget %d: %d whole, %d halved, %d dropped", budget, whole, half, none)
		require.Equal(t, budget == 1, whole+half == 0)
		require.Positive(t, half+none)
		require.NoError(t, n.Update(func(b *Batch) error {
			for o := range int64(4100) {
				d, err := b.Do(Record{ID: fmt.Appendf(nil, "id-%d", o)}, nil)
				require.NoError(t, err)
				require.Equal(t, Duplicate, d.Verdict, o)
			}
			return nil
		}))
		accept(t, n, 4101, 100, 0)
	}
}

// A folded filter holds every marker (I7), and still rules most absent IDs out.
func TestFilter_Folded(t *testing.T) {
	const n = 50_000
	f := newFilter(make([]uint64, filterWords(n)))
	for i := range n {
		f.add(hashOf(i))
	}
	half := f.folded()
	require.Equal(t, len(f.words), 2*len(half.words))
	wrong := 0
	for i := range 2 * n {
		if got := half.maybe(hashOf(i)); i < n {
			require.True(t, got)
		} else if got {
			wrong++
		}
	}
	require.Less(t, wrong, n/20)
	t.Logf("halved: %d of %d absent IDs", wrong, n)
}
