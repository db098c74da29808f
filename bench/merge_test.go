package bench

import (
	"log/slog"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/internal/storehook"
	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// BenchmarkMerge measures batches of 500 while segments are merged, beside the same
// stream of batches in a store in which merging is held back, in turn. Segments are
// of the usual size; merging begins at half as many of them as usual, so that less
// has to be filled before. The merge that then begins is of all of them, and runs
// beside most of the batches. It reports the middle and the slowest percent of the
// batches of either, and how many segments were merged away.
func BenchmarkMerge(b *testing.B) {
	var merged, held []time.Duration
	gone := 0
	for b.Loop() {
		all, n := mergeBatches(b, mergeAt)
		merged, gone = append(merged, all...), gone+n
		all, n = mergeBatches(b, math.MaxInt)
		held = append(held, all...)
		require.Zero(b, n, "merging was not held back")
	}
	require.Positive(b, gone)
	report := func(took []time.Duration, what string) (p99 float64) {
		slices.Sort(took)
		p99 = took[len(took)*99/100].Seconds() * 1000
		b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms-"+what)
		b.ReportMetric(p99, "p99-ms-"+what)
		return p99
	}
	b.ReportMetric(report(merged, "merging")-report(held, "held-back"), "p99-ms-shift")
	b.ReportMetric(float64(gone)/float64(b.N), "segments-merged")
}

// mergeAt is the number of segments above which the store merges.
const mergeAt = 12

// mergeBatches fills a store up to shortly before its first merge, and returns how
// long each batch takes from there on, and how many segments were merged away.
func mergeBatches(b *testing.B, above int) (took []time.Duration, gone int) {
	b.StopTimer()
	opened, err := storehook.Open(b.TempDir(), &store.Options{Logger: slog.New(slog.DiscardHandler)}, storehook.Hooks{
		FullSegment: segment, SmallSegment: 50_000, MergeAbove: above,
	})
	require.NoError(b, err)
	st := opened.(*store.Store)
	ns, err := st.Namespace("bench", &store.NamespaceOptions{Window: window.Forever})
	require.NoError(b, err)
	s := &stream{live: 1_000_000_000, reach: 50_000} // all within one bucket
	fill, run := runner(b, ns, s, 5000), runner(b, ns, s, 500)
	for s.fresh < mergeAt*segment+segment*9/10 {
		fill()
	}
	b.StartTimer()
	took = make([]time.Duration, 8000)
	for i := range took {
		start := time.Now()
		run()
		took[i] = time.Since(start)
	}
	b.StopTimer()
	require.NoError(b, storehook.Drain(st))
	run() // which takes up what was merged
	segments, err := ns.Segments()
	require.NoError(b, err)
	for _, g := range segments {
		gone += int(g.Places) - 1
	}
	require.NoError(b, st.Close())
	b.StartTimer()
	return took, gone
}
