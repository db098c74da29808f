package bench

import (
	"context"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// BenchmarkVerify measures how fast an open store is verified, and its markers
// listed.
func BenchmarkVerify(b *testing.B) {
	const all = 3_000_000
	st, err := store.Open(b.TempDir(), &store.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	defer func() { require.NoError(b, st.Close()) }()
	ns, err := st.Namespace("bench", &store.NamespaceOptions{Window: window.Forever})
	require.NoError(b, err)
	s := &stream{live: all}
	ids := make([]byte, 0, 16)
	for s.fresh < all {
		require.NoError(b, ns.Update(func(u *store.Batch) error {
			for range 5000 {
				ids = s.id(ids[:0], s.fresh)
				r := store.Record{ID: ids, At: begin, Origin: store.Position{TopicID: store.ID{1}, Offset: s.fresh}}
				s.fresh++
				if _, err := u.Do(r, nil); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	b.Run("ids=3M/verify", func(b *testing.B) {
		for b.Loop() {
			r, err := st.Verify(context.Background(), nil)
			require.NoError(b, err)
			require.NoError(b, r.Err())
			require.GreaterOrEqual(b, r.Markers, uint64(all))
		}
		b.ReportMetric(float64(b.N)*all/b.Elapsed().Seconds(), "markers/s")
	})
	b.Run("ids=3M/list", func(b *testing.B) {
		for b.Loop() {
			n := 0
			require.NoError(b, ns.Markers(func(store.MarkerEntry) error { n++; return nil }))
			require.Equal(b, all, n)
		}
		b.ReportMetric(float64(b.N)*all/b.Elapsed().Seconds(), "markers/s")
	})
}
