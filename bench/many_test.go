package bench

import (
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/store"
)

var (
	spaces = flag.Int("spaces", 1000, "namespaces that share a budget far below their markers")
	each   = flag.Int64("each", 10_000, "live markers of each of them")
	turns  = flag.Int("turns", 3, "batches that each of them gets while it is measured")
	budget = flag.Int64("budget", 26, "MB that they share")
)

// BenchmarkNamespaces measures what it costs to have many namespaces: each in turn
// gets a batch, in a store whose windows are full and expire as they go. Twelve
// share as many live markers as the one has to itself; ten thousand have a
// hundred each, and a batch takes a hundred records, so that every one of them
// turns its whole window over. A tenth of the records are duplicates of one of
// the newest IDs: of the newest 50,000 of all namespaces, but of 50 of each at
// least.
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
		streams[i] = &stream{live: live, reach: max(50_000/int64(spaces), 50), rng: rand.New(rand.NewPCG(1, uint64(i)))}
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

// BenchmarkShortBudget measures namespaces that share a budget far below what
// their markers take: each in turn gets a batch, so that the one whose turn it is
// has been idle longest. Windows are full, roll over and expire. Beside speed it
// reports what the process holds, and what there is on disk: tables of markers and
// files of all kinds. Its flags make it as large as there is patience.
func BenchmarkShortBudget(b *testing.B) {
	before := resident(b)
	dir := b.TempDir()
	st, err := store.Open(dir, &store.Options{Logger: slog.New(slog.DiscardHandler), Memory: *budget << 20})
	require.NoError(b, err)
	defer func() { require.NoError(b, st.Close()) }()
	all, streams := make([]*store.Namespace, *spaces), make([]*stream, *spaces)
	for i := range all {
		all[i], err = st.Namespace(fmt.Sprintf("bench-%d", i), nil)
		require.NoError(b, err)
		streams[i] = &stream{live: *each, reach: *each / 2, rng: rand.New(rand.NewPCG(1, uint64(i)))}
	}
	filling := newTurn(int(min(2500, *each)))
	start, wrote := time.Now(), written(b)
	for streams[*spaces-1].fresh < *each+*each/4 {
		for i, n := range all {
			filling.run(b, n, streams[i])
		}
	}
	records := float64(int64(*spaces) * streams[0].record)
	b.Logf("filled: %.0f records/s, %.0f B written a record",
		records/time.Since(start).Seconds(), float64(written(b)-wrote)/records)
	for _, batch := range []int{100, 500} {
		b.Run(fmt.Sprintf("spaces=%d/each=%d/budget=%dMB/batch=%d", *spaces, *each, *budget, batch), func(b *testing.B) {
			for b.Loop() {
				shortBudget(b, st, batch, all, streams)
			}
			markers, tables, shared := uint64(0), 0, 0
			for _, n := range all {
				s, err := n.Status()
				require.NoError(b, err)
				markers, tables = markers+s.Markers, tables+s.Sealed
				segments, err := n.Segments()
				require.NoError(b, err)
				for _, g := range segments {
					if g.Shared {
						shared++
					}
				}
			}
			require.LessOrEqual(b, uint64(tables), markers/50_000+uint64(*spaces))
			b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
			b.ReportMetric(float64(resident(b)-before)/(1<<20), "memory-MB")
			b.ReportMetric(float64(st.Stats().DiskBytes)/(1<<20), "disk-MB")
			b.ReportMetric(float64(markers), "markers")
			b.ReportMetric(float64(tables), "tables")
			b.ReportMetric(float64(shared), "shared-segments")
			b.ReportMetric(float64(files(b, dir)), "files")
		})
	}
}

// shortBudget gives every namespace a few batches.
func shortBudget(b *testing.B, st *store.Store, batch int, all []*store.Namespace, streams []*stream) {
	measured := newTurn(batch)
	start, cpu, wrote := time.Now(), cpuTime(b), written(b)
	var took []time.Duration
	peak := int64(0)
	for range *turns {
		for i, n := range all {
			began := time.Now()
			measured.run(b, n, streams[i])
			took = append(took, time.Since(began))
			if i%1000 == 0 {
				peak = max(peak, st.Stats().MemoryBytes)
			}
		}
	}
	records := float64(len(took) * batch)
	b.ReportMetric(records/time.Since(start).Seconds(), "records/s")
	b.ReportMetric(float64((cpuTime(b)-cpu).Nanoseconds())/records, "cpu-ns/record")
	b.ReportMetric(float64(written(b)-wrote)/records, "written-B/record")
	b.ReportMetric(float64(peak)/(1<<20), "budget-MB")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "slowest-ms")
}

// written returns the bytes that the process has handed to the system to be
// written. (What the system counts as written are whole folios of its page cache,
// again at every sync.)
func written(b *testing.B) (n int64) {
	text, err := os.ReadFile("/proc/self/io")
	require.NoError(b, err)
	_, err = fmt.Sscanf(string(text[strings.Index(string(text), "\nwchar:"):]), "\nwchar: %d", &n)
	require.NoError(b, err)
	return n
}

// files returns how many tables of all kinds stand in a directory.
func files(b *testing.B, dir string) (n int) {
	require.NoError(b, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".sst") {
			n++
		}
		return err
	}))
	return n
}
