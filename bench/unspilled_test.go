package bench

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/internal/storehook"
	"github.com/firstseen/firstseen/store"
)

// BenchmarkOpenUnspilled measures what Open to the first verdict costs for every
// marker of the namespace that is in no table and has to be read back from its
// runs: stores that are the same but for those, in turn, with everything in the
// page cache. What is decided is undone, so that each stays as it is. It reports the
// fastest of each, as opening is short and whatever else runs only adds to it, and
// the slope of the line through them.
func BenchmarkOpenUnspilled(b *testing.B) {
	type opened struct {
		dir  string
		have uint64 // markers in no table
		took []time.Duration
	}
	var all []*opened
	for _, unspilled := range []int64{100_000, 300_000, 500_000} {
		o := &opened{dir: filepath.Join(b.TempDir(), fmt.Sprint(unspilled))}
		filledTo(b, o.dir, segment+unspilled)
		all = append(all, o)
	}
	for b.Loop() {
		for _, o := range all {
			start := time.Now()
			st, ns := openBench(b, o.dir)
			firstVerdict(b, ns)
			o.took = append(o.took, time.Since(start))
			o.have = untabled(b, ns)
			require.NoError(b, st.Close())
		}
	}
	var n, x, y, xx, xy float64
	for _, o := range all {
		require.Greater(b, o.have, uint64(90_000))
		us := float64(slices.Min(o.took).Nanoseconds()) / 1000
		b.ReportMetric(us/1000, fmt.Sprintf("ms/open-of-%dk", o.have/1000))
		have := float64(o.have)
		n, x, y, xx, xy = n+1, x+have, y+us, xx+have*have, xy+have*us
	}
	b.ReportMetric((n*xy-x*y)/(n*xx-x*x), "us/unspilled-marker")
}

// filledTo makes a store of so many markers, of which those that fill no segment
// are in no table: they come within minutes, so that no bucket's end closes one.
func filledTo(b *testing.B, dir string, markers int64) {
	st, err := store.Open(dir, &store.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	ns, err := st.Namespace("bench", nil)
	require.NoError(b, err)
	s := &stream{live: markers * 100, reach: 50_000}
	run := runner(b, ns, s, 5000)
	for s.fresh < markers {
		run()
	}
	require.NoError(b, storehook.Drain(st))
	runner(b, ns, s, 1)() // the runs of what is in a table by now go with a batch
	require.NoError(b, st.Close())
}

// untabled returns how many markers of a namespace are in no table.
func untabled(b *testing.B, ns *store.Namespace) (n uint64) {
	all, err := ns.Segments()
	require.NoError(b, err)
	for _, g := range all {
		if g.State == store.SegmentOpen || g.State == store.SegmentFrozen {
			n += g.Markers
		}
	}
	return n
}
