package bench

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
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
// are.
func BenchmarkUpdate(b *testing.B) {
	for _, live := range []int64{1_000_000, 10_000_000} {
		for _, dups := range []struct {
			name  string
			reach int64
		}{{"anywhere", live * 98 / 100}, {"recent", 50_000}} {
			for _, size := range []int{500, 5000} {
				b.Run(fmt.Sprintf("window=24h/ids=%dM/dups=10%%-%s/batch=%d", live/1_000_000, dups.name, size),
					func(b *testing.B) { benchUpdate(b, &stream{live: live, reach: dups.reach}, size) })
			}
		}
	}
}

func benchUpdate(b *testing.B, s *stream, size int) {
	st, ns := openBench(b, b.TempDir())
	defer func() { require.NoError(b, st.Close()) }()
	fill, run := runner(b, ns, s, 5000), runner(b, ns, s, size)
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
	took, spent := time.Since(start), cpuTime(b)-cpu
	records := float64(n * size)
	b.ReportMetric(records/took.Seconds(), "records/s")
	b.ReportMetric(float64(took.Nanoseconds())/records, "ns/record")
	b.ReportMetric(float64(spent.Nanoseconds())/records, "cpu-ns/record")
}

// runner returns what decides the next batch of a stream.
func runner(b *testing.B, ns *store.Namespace, s *stream, size int) func() {
	if s.rng == nil {
		s.rng = rand.New(rand.NewPCG(1, 2))
	}
	recs, ids := make([]store.Record, size), make([][]byte, size)
	return func() {
		want, got := s.fill(recs, ids), 0
		require.NoError(b, ns.Update(func(u *store.Batch) error {
			u.Prepare(ids)
			for i := range recs {
				d, err := u.Do(recs[i], nil)
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
}

// cpuTime returns what the process has used of all its processors.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
