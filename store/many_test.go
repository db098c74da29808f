package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// A thousand small namespaces whose markers are far more than the budget, rolling
// over and expiring: the budget holds after every batch, there is no storm of
// tables, and nothing is left of what has expired.
func TestBudget_ThousandNamespaces(t *testing.T) {
	const spaces, each, rounds, budget = 1000 / heavy, 100, 4, 1 << 20 / heavy
	now := t0.Add(24 * time.Hour)
	fs := vfs.NewMem()
	s, err := open("store", &Options{Logger: quiet(), Memory: budget, Now: func() time.Time { return now }},
		seams{fs: fs, limits: limits{full: fullSegment, small: smallSegment, merge: mergeAbove, table: 256 << 10}})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	all := make([]*Namespace, spaces)
	for i := range all {
		all[i], err = s.Namespace(fmt.Sprintf("n-%d", i), &NamespaceOptions{Window: window.Hour})
		require.NoError(t, err)
	}

	// A batch spans 50 minutes, so that it cuts segments, and drops most of what
	// the batch before it left.
	const step = 30 * time.Second
	readBack := 0
	for round := range rounds {
		for i, n := range all {
			if round > 0 && !n.loaded {
				readBack++
			}
			require.NoError(t, n.Update(func(b *Batch) error {
				for range each {
					o := b.Position().Offset
					d, err := b.Do(rec(fmt.Sprintf("%d-%d", i, o), o, time.Duration(o)*step), nil)
					require.NoError(t, err)
					require.Equal(t, New, d.Verdict)
				}
				end := b.Position().Offset
				for o := max(0, end-120); o < end-each; o++ { // the window has 120
					d, err := b.Do(Record{ID: fmt.Appendf(nil, "%d-%d", i, o)}, nil)
					require.NoError(t, err)
					require.Equal(t, Duplicate, d.Verdict)
				}
				return nil
			}))
			require.LessOrEqual(t, s.Stats().MemoryBytes, int64(budget), "round %d, namespace %d", round, i)
		}
	}
	require.NoError(t, s.queue.drain())
	require.Greater(t, readBack, spaces, "the budget was never short")
	tables := s.db.Metrics().Ingest.Count // all that were ever written
	require.LessOrEqual(t, tables, uint64(spaces*each*rounds/50_000+spaces))
	live := uint64(0)
	for _, n := range all {
		st, err := n.Status()
		require.NoError(t, err)
		live += st.Markers
	}
	// The window, the last batch, and what a segment is longer.
	require.Less(t, live, uint64(spaces*(120+each+30)), "too little has expired")
	t.Logf("%d read back, %d tables, %d markers in %d runs",
		readBack, tables, live, count(t, s, kindRun))

	for _, n := range all {
		require.NoError(t, n.Advance(now))
	}
	require.NoError(t, s.queue.drain())
	require.Zero(t, count(t, s, kindDead))
	for _, kind := range []byte{kindRun, kindCat, kindPage} {
		require.Zero(t, count(t, s, kind), "kind %d", kind)
	}
	require.Zero(t, s.Stats().MemoryBytes)
}
