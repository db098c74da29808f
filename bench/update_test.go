package bench

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// stream makes records of one partition: random 16-byte IDs, a tenth of which
// are duplicates of one of the newest IDs, drawn evenly.
type stream struct {
	live   int64 // markers inside the window
	reach  int64 // how many of the newest IDs a duplicate may repeat
	rng    *rand.Rand
	record int64 // offset of the next record
	fresh  int64 // new IDs so far

	shift time.Duration // a step that the clock has taken
	moved int64         // new IDs before it; they are not repeated any more
}

var begin = time.UnixMilli(1_700_000_000_000)

// id returns the n-th new ID.
func (s *stream) id(dst []byte, n int64) []byte {
	x := uint64(n)*0x9e3779b97f4a7c15 + 0x1234567
	for range 2 {
		x ^= x >> 30
		x *= 0xbf58476d1ce4e5b9
		x ^= x >> 27
		x *= 0x94d049bb133111eb
		x ^= x >> 31
		dst = binary.LittleEndian.AppendUint64(dst, x)
		x += 0x9e3779b97f4a7c15
	}
	return dst
}

// fill makes the next batch. The clock moves with the new IDs, so that live of
// them lie inside a window of one day.
func (s *stream) fill(recs []store.Record, ids [][]byte) (dups int) {
	perID := float64(window.Day.Millis()) / float64(s.live)
	for i := range recs {
		n := s.fresh
		if s.fresh > s.moved && s.rng.IntN(10) == 0 {
			n = s.fresh - 1 - s.rng.Int64N(min(s.fresh-s.moved, s.reach))
			dups++
		} else {
			s.fresh++
		}
		ids[i] = s.id(ids[i][:0], n)
		recs[i] = store.Record{
			ID: ids[i], At: begin.Add(s.shift + time.Duration(float64(s.fresh-s.moved)*perID)*time.Millisecond),
			Origin: store.Position{TopicID: store.ID{1}, Offset: s.record},
		}
		s.record++
	}
	return dups
}

// BenchmarkUpdate measures the durable check and mark of a record: one synced
// batch an iteration, in a store whose window is full and expires as it goes.
// A tenth of the records are duplicates: of an ID anywhere in the window, most of
// which cost a read, or of one of the newest 50,000, as retries and redeliveries
// are. One goroutine waits for each batch before it makes the next; or two take turns,
// so that a batch is decided while the one before it is synced.
func BenchmarkUpdate(b *testing.B) {
	for _, live := range []int64{1_000_000, 10_000_000} {
		for _, dups := range []struct {
			name  string
			reach int64
		}{{"anywhere", live * 98 / 100}, {"recent", 50_000}} {
			for _, size := range []int{500, 5000} {
				for _, callers := range []int{1, 2} {
					b.Run(fmt.Sprintf("window=24h/ids=%dM/dups=10%%-%s/batch=%d/callers=%d",
						live/1_000_000, dups.name, size, callers),
						func(b *testing.B) { benchUpdate(b, &stream{live: live, reach: dups.reach}, size, callers) })
				}
			}
		}
	}
}

func benchUpdate(b *testing.B, s *stream, size, callers int) {
	st, ns := openBench(b, b.TempDir())
	defer func() { require.NoError(b, st.Close()) }()
	fill := runner(b, ns, s, 5000)
	run, finish := takingTurns(b, ns, s, size, callers)
	for s.fresh < s.live+s.live/4 {
		fill()
	}
	b.ReportAllocs()
	start, cpu := time.Now(), cpuTime(b)
	n := 0
	for b.Loop() {
		run()
		n++
	}
	finish()
	took, spent := time.Since(start), cpuTime(b)-cpu
	records := float64(n * size)
	b.ReportMetric(records/took.Seconds(), "records/s")
	b.ReportMetric(float64(took.Nanoseconds())/records, "ns/record")
	b.ReportMetric(float64(spent.Nanoseconds())/records, "cpu-ns/record")
}

// takingTurns returns what decides the next batch of a stream, and what waits until
// all are durable. So many callers take turns: each begins when the one before it
// has the namespace, and makes its records before.
func takingTurns(b *testing.B, ns *store.Namespace, s *stream, size, callers int) (run, finish func()) {
	if callers == 1 {
		return runner(b, ns, s, size), func() {}
	}
	idle := make(chan *caller, callers)
	for range callers {
		idle <- newCaller(ns, s, size)
	}
	run = func() {
		c := <-idle
		require.NoError(b, c.err)
		c.fill()
		turn := make(chan struct{})
		began := sync.OnceFunc(func() { close(turn) })
		go func() {
			c.decide(began)
			began() // if it was refused
			idle <- c
		}()
		<-turn
	}
	return run, func() {
		for range callers {
			require.NoError(b, (<-idle).err)
		}
	}
}

// runner returns what decides the next batch of a stream.
func runner(b *testing.B, ns *store.Namespace, s *stream, size int) func() {
	c := newCaller(ns, s, size)
	return func() {
		c.fill()
		c.decide(func() {})
		require.NoError(b, c.err)
	}
}

// caller makes batches of a stream and decides them.
type caller struct {
	ns   *store.Namespace
	s    *stream
	recs []store.Record
	ids  [][]byte
	dups int
	err  error
}

func newCaller(ns *store.Namespace, s *stream, size int) *caller {
	if s.rng == nil {
		s.rng = rand.New(rand.NewPCG(1, 2))
	}
	return &caller{ns: ns, s: s, recs: make([]store.Record, size), ids: make([][]byte, size)}
}

func (c *caller) fill() { c.dups = c.s.fill(c.recs, c.ids) }

// decide takes the batch through the store, which calls began when its turn has come.
func (c *caller) decide(began func()) {
	got := 0
	c.err = c.ns.Update(func(u *store.Batch) error {
		began()
		u.Prepare(c.ids)
		for i := range c.recs {
			d, err := u.Do(c.recs[i], nil)
			if err != nil {
				return err
			}
			if d.Verdict == store.Duplicate {
				got++
			}
		}
		return nil
	})
	if c.err == nil && got != c.dups {
		c.err = fmt.Errorf("%d duplicates were found, there were %d", got, c.dups)
	}
}

// cpuTime returns what the process has used of all its processors.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
