package bench

import (
	"errors"
	"flag"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

var markers = flag.Int64("markers", 10_000_000, "live markers of the store that is opened and dropped from")

// filled makes a store of live markers whose times are spread over the window,
// and leaves about unspilled of them in no table.
func filled(b *testing.B, dir string, live, unspilled int64) {
	s := &stream{live: live, reach: 50_000}
	st, ns := openBench(b, dir)
	run := runner(b, ns, s, 5000)
	for s.fresh < live || s.fresh%segment < unspilled || s.fresh%segment > unspilled+10_000 {
		run()
	}
	require.NoError(b, st.Close())
}

// segment is how many markers fill one.
const segment = 5 << 18

func openBench(b *testing.B, dir string) (*store.Store, *store.Namespace) {
	st, err := store.Open(dir, &store.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	ns, err := st.Namespace("bench", nil)
	require.NoError(b, err)
	return st, ns
}

// BenchmarkOpen measures from Open to the first verdict of a store whose process
// has died (closing flushes nothing, so it reads the same), with half a million
// markers in no table, everything in the page cache, and once with nothing in
// it. It also reports what a marker takes on disk, and in memory once it is
// loaded: what a new process holds above what it held with an empty store, without
// the markers that are in no table, cached blocks and write buffers, whose budgets
// are stated; and how long a checkpoint takes.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	filled(b, dir, *markers, 500_000)
	var took []time.Duration
	var live uint64
	for b.Loop() {
		start := time.Now()
		st, ns := openBench(b, dir)
		firstVerdict(b, ns)
		took = append(took, time.Since(start))
		b.StopTimer()
		status, err := ns.Status()
		require.NoError(b, err)
		disk, err := ns.DiskBytes()
		require.NoError(b, err)
		b.ReportMetric(float64(disk)/float64(status.Markers), "disk-B/marker")
		b.ReportMetric(float64(status.Markers), "markers")
		live = status.Markers
		segments, err := ns.Segments()
		require.NoError(b, err)
		b.ReportMetric(float64(len(segments)), "segments")
		b.ReportMetric(float64(untabled(b, ns)), "unspilled-markers")
		require.NoError(b, st.Close())
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1000, "ms/open")

	b.ReportMetric(float64(loaded(b, dir))/float64(live), "memory-B/sealed-marker")

	cold := evict(b, dir)
	start := time.Now()
	st, ns := openBench(b, dir)
	firstVerdict(b, ns)
	if cold {
		b.ReportMetric(time.Since(start).Seconds()*1000, "ms/cold-open")
	}

	start = time.Now()
	require.NoError(b, st.Checkpoint(b.Context(), filepath.Join(b.TempDir(), "backup")))
	b.ReportMetric(time.Since(start).Seconds(), "s/checkpoint")
	require.NoError(b, st.Close())
}

var errUndone = errors.New("undone")

// firstVerdict decides the next record of the log, which is new, and undoes it: the
// store stays as it is.
func firstVerdict(b *testing.B, ns *store.Namespace) {
	require.ErrorIs(b, ns.Update(func(u *store.Batch) error {
		d, err := u.Do(store.Record{ID: []byte("never seen"), Origin: u.Position()}, nil)
		require.NoError(b, err)
		require.Equal(b, store.New, d.Verdict)
		return errUndone
	}), errUndone)
}

// loadedDir names the store that a process of its own is to load.
const loadedDir = "FIRSTSEEN_BENCH_LOADED"

// loaded returns what loading a store adds, beside what has a stated budget, to
// a new process that had an empty one open.
func loaded(b *testing.B, dir string) int64 {
	cmd := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkLoaded$", "-test.benchtime=1x")
	cmd.Env = append(os.Environ(), loadedDir+"="+dir)
	out, err := cmd.Output()
	require.NoError(b, err)
	fields := strings.Fields(string(out))
	i := slices.Index(fields, "bytes")
	require.Positive(b, i, "%s", out)
	n, err := strconv.ParseFloat(fields[i-1], 64)
	require.NoError(b, err)
	return int64(n)
}

// BenchmarkLoaded loads the store that the environment names, or an empty one.
func BenchmarkLoaded(b *testing.B) {
	dir := os.Getenv(loadedDir)
	if dir == "" {
		dir = b.TempDir()
	}
	for b.Loop() {
		st, _ := openBench(b, b.TempDir())
		before := resident(b)
		require.NoError(b, st.Close())
		st, ns := openBench(b, dir)
		firstVerdict(b, ns)
		used := st.Stats()
		b.ReportMetric(float64(resident(b)-before-used.MemoryBytes-used.CacheBytes), "bytes")
		require.NoError(b, st.Close())
	}
}

// resident returns the bytes of memory that the process holds.
func resident(b *testing.B) int64 {
	runtime.GC()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	require.NoError(b, err)
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	require.NoError(b, err)
	return pages * int64(os.Getpagesize())
}

// BenchmarkDrop measures batches of 500 while all older markers of the store are
// dropped at once, beside the same batches before: the 99th percentile of both,
// and how long it takes until the space is back.
func BenchmarkDrop(b *testing.B) {
	const batches = 2000
	for b.Loop() {
		dir := filepath.Join(b.TempDir(), "store")
		st, ns := openBench(b, dir)
		s := &stream{live: *markers * 24, reach: 50_000} // all of them within an hour
		fill := runner(b, ns, s, 5000)
		for s.fresh < *markers {
			fill()
		}
		s.live *= 1000 // a batch hardly moves the clock
		s.shift, s.moved = window.Hour.TTL(), s.fresh
		run := runner(b, ns, s, 500)
		usual := latencies(batches, run)
		full, err := ns.DiskBytes()
		require.NoError(b, err)
		for range 9 {
			s.shift, s.moved = s.shift+window.Day.TTL()/8, s.fresh
			run()
		}
		start, back := time.Now(), time.Duration(0)
		dropping := latencies(batches, func() {
			run()
			if back == 0 {
				if left, err := ns.DiskBytes(); err == nil && left < full/4 {
					back = time.Since(start)
				}
			}
		})
		b.ReportMetric(usual.Seconds()*1000, "p99-ms-before")
		b.ReportMetric(dropping.Seconds()*1000, "p99-ms-dropping")
		b.ReportMetric(back.Seconds(), "s-until-space")
		require.NoError(b, st.Close())
	}
}

// latencies returns the 99th percentile of n calls.
func latencies(n int, call func()) time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		start := time.Now()
		call()
		all[i] = time.Since(start)
	}
	slices.Sort(all)
	return all[n*99/100]
}
