package adapter

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// Twelve partitions are restored side by side, of records of a kilobyte, while
// another one flows. What that takes in memory, with what the store holds of so few
// markers, is at most 64 MB: also where the records take little room on their way,
// because they are much alike.
func TestRestore_TakesLittleMemory(t *testing.T) {
	const (
		most    = 64 << 20
		records = 3000 // of each partition: the reads have grown by then
	)
	random := rand.NewChaCha8([32]byte{})
	for name, value := range map[string]func(i int) []byte{
		"as they are": func(int) []byte {
			b := make([]byte, 1<<10)
			_, _ = random.Read(b)
			return b
		},
		"compressed": func(i int) []byte {
			return fmt.Appendf(nil, `{"number":%d,"text":"%s"}`, i, bytes.Repeat([]byte("abcdefgh"), 125))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorldOf(t, restoresMost+1, func(t *testing.T, w *world) {
				cl := w.kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()),
					kgo.ProducerBatchCompression(kgo.GzipCompression()))
				for p := range int32(restoresMost) {
					var recs []*kgo.Record
					for i := range records {
						rec := record(p, fmt.Sprint("a", i))
						rec.Value = value(i)
						recs = append(recs, rec)
					}
					require.NoError(t, cl.ProduceSync(t.Context(), recs...).FirstErr())
				}
				require.Equal(t, uint64(restoresMost*records), w.runs().New)
				w.use(w.dir + "-another")
				w.calls.take()
				held, peak, flowed := live(), uint64(0), 0
				c, stop := w.startWith(w.calls.seen, func(c *Consumer) {
					c.step = func(step string) error {
						if step == "restored" { // all at the same time; each has read ahead by then
							time.Sleep(untilNext(0))
						}
						return nil
					}
				})
				for w.until(func() bool { return c.Stats().Restoring > 0 }); c.Stats().Restoring > 0; {
					time.Sleep(untilNext(time.Second / 2))
					if now := live(); now > held {
						peak = max(peak, now-held)
					}
					w.produce(restoresMost, fmt.Sprint("b", flowed))
					flowed++
				}
				w.until(func() bool { return w.committedAt(restoresMost) == int64(flowed) })
				require.NoError(t, stop())
				t.Logf("%d MB at most, in %d seconds", peak>>20, flowed)
				require.Equal(t, uint64(restoresMost*records), c.Stats().Restored)
				require.Greater(t, flowed, 2)
				require.LessOrEqual(t, peak, uint64(most))
			})
		})
	}
}

// A read brings about a megabyte of records, however small they were on their way, and
// no record is left out or comes twice.
func TestReader_TakesRecordsThatUnpack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const records, inBatch = 4000, 100
		cl := w.kafka.Client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ProducerBatchCompression(kgo.GzipCompression()))
		for from := 0; from < records; from += inBatch {
			var recs []*kgo.Record
			for i := range inBatch {
				rec := record(0, fmt.Sprint("a", from+i))
				rec.Value = bytes.Repeat([]byte("abcdefgh"), 125)
				recs = append(recs, rec)
			}
			require.NoError(t, cl.ProduceSync(t.Context(), recs...).FirstErr())
		}
		topics, err := kadm.NewClient(cl).Metadata(t.Context(), topic)
		require.NoError(t, err)
		r := &reader{cl: cl, topic: topic, log: store.ID(topics.Topics[topic].ID), leader: -1, most: readBytes}
		at, reads := int64(0), 0
		for ; at < records; reads++ {
			c := r.next(t.Context(), at)
			require.NoError(t, c.err)
			require.LessOrEqual(t, len(c.recs)*(recordBytes+1000), chunkBytes+inBatch*(recordBytes+1000))
			for _, rec := range c.recs {
				require.Equal(t, at, rec.Offset)
				at++
			}
			require.Equal(t, at, c.next)
		}
		require.LessOrEqual(t, reads, records/500, "nor are they small")
	})
}

// untilNext is the time until the next second of the clock, and some more.
func untilNext(more time.Duration) time.Duration {
	return time.Until(time.Now().Add(-more).Truncate(time.Second).Add(time.Second + more))
}

// live returns what is in use on the heap.
func live() uint64 {
	for range 2 { // what pools keep goes with the second
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
