package bench

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/store"
)

// BenchmarkNamespaces measures what it costs to have many namespaces: each in turn
// gets a batch, in a store whose windows are full and expire as they go. Twelve
// share as many live markers as the one has to itself; ten thousand have a
// hundred each, and a batch takes a hundred records, so that every one of them
// turns its whole window over. A tenth of the records are duplicates of one of
// the newest IDs.
func BenchmarkNamespaces(b *testing.B) {
	for _, c := range []struct {
		spaces, batch int
		live          int64 // in all
	}{
		{1, 500, 1_200_000}, {12, 500, 1_200_000}, {10_000, 100, 1_000_000},
	} {
		b.Run(fmt.Sprintf("spaces=%d/batch=%d", c.spaces, c.batch), func(b *testing.B) {
			benchNamespaces(b, c.spaces, c.batch, c.live/int64(c.spaces))
		})
	}
}

func benchNamespaces(b *testing.B, spaces, batch int, live int64) {
	empty, _ := openBench(b, b.TempDir())
	before := resident(b)
	require.NoError(b, empty.Close())
	st, _ := openBench(b, b.TempDir())
	defer func() { require.NoError(b, st.Close()) }()
	all := make([]*store.Namespace, spaces)
	streams := make([]*stream, spaces)
	for i := range all {
		n, err := st.Namespace(fmt.Sprintf("bench-%d", i), nil)
		require.NoError(b, err)
		all[i] = n
		streams[i] = &stream{live: live, reach: min(50_000, live/2), rng: rand.New(rand.NewPCG(1, uint64(i)))}
	}
	filling, measured := newTurn(min(5000, int(live))), newTurn(batch)
	for streams[spaces-1].fresh < live+live/4 {
		for i, n := range all {
			filling.run(b, n, streams[i])
		}
	}
	b.ReportAllocs()
	start, cpu, turns := time.Now(), cpuTime(b), 0
	for b.Loop() {
		measured.run(b, all[turns%spaces], streams[turns%spaces])
		turns++
	}
	took, spent := time.Since(start), cpuTime(b)-cpu
	records := float64(turns * batch)
	b.ReportMetric(records/took.Seconds(), "records/s")
	b.ReportMetric(float64(took.Nanoseconds())/records, "ns/record")
	b.ReportMetric(float64(spent.Nanoseconds())/records, "cpu-ns/record")
	b.ReportMetric(float64(resident(b)-before)/(1<<20), "memory-MB")
	b.ReportMetric(float64(st.Stats().MemoryBytes)/(1<<20), "budget-MB")
	b.ReportMetric(float64(st.Stats().DiskBytes)/(1<<20), "disk-MB")
}

// turn is a batch that is used for one namespace after the other.
type turn struct {
	recs []store.Record
	ids  [][]byte
}

func newTurn(size int) *turn { return &turn{make([]store.Record, size), make([][]byte, size)} }

// run decides the next batch of a namespace.
func (t *turn) run(b *testing.B, ns *store.Namespace, s *stream) {
	want, got := s.fill(t.recs, t.ids), 0
	require.NoError(b, ns.Update(func(u *store.Batch) error {
		u.Prepare(t.ids)
		for i := range t.recs {
			d, err := u.Do(t.recs[i], nil)
			if err != nil {
				return err
			}
			if d.Verdict == store.Duplicate {
				got++
			}
		}
		return nil
	}))
	require.Equal(b, want, got)
}
