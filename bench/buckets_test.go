package bench

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// BenchmarkBuckets measures batches of 500 in a window that is cut into ever
// more buckets of time, while segments are written, merged and dropped as the
// clock goes on: how fast they are, and the slowest percent.
func BenchmarkBuckets(b *testing.B) {
	for _, buckets := range []int{1, 8, 64, 1000} {
		b.Run(fmt.Sprintf("buckets=%d", buckets), func(b *testing.B) { benchBuckets(b, buckets) })
	}
}

func benchBuckets(b *testing.B, buckets int) {
	st, err := store.Open(b.TempDir(), &store.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	defer func() { require.NoError(b, st.Close()) }()
	ns, err := st.Namespace("bench", &store.NamespaceOptions{
		BucketWidth: (window.Day.TTL() / time.Duration(buckets)).Truncate(time.Millisecond),
	})
	require.NoError(b, err)
	s := &stream{live: *markers, reach: *markers * 98 / 100}
	fill, run := runner(b, ns, s, 5000), runner(b, ns, s, 500)
	for s.fresh < s.live+s.live/4 {
		fill()
	}
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		run()
		took = append(took, time.Since(start))
	}
	status, err := ns.Status()
	require.NoError(b, err)
	slices.Sort(took)
	b.ReportMetric(float64(len(took)*500)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1000, "p99-ms")
	b.ReportMetric(float64(status.Segments), "segments")
}
