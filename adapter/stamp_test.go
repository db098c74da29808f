package adapter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// stampedByBroker produces one batch as into a topic whose times the broker
// gives: kfake does so where the batch says it, not where the topic does. It
// leaves the checksum to whoever made the batch.
func (w *world) stampedByBroker(produce func()) {
	w.Helper()
	const crc, attributes, first, most = 17, 21, 27, 35 // where they stand in a batch of records
	table := crc32.MakeTable(crc32.Castagnoli)
	var ended atomic.Bool // a function that has handled nothing stays
	w.kafka.Fake.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if ended.Load() {
			return nil, nil, false
		}
		for _, t := range req.(*kmsg.ProduceRequest).Topics {
			for _, p := range t.Partitions {
				b := p.Records
				b[attributes+1] |= 1 << 3
				for _, at := range []int{first, most} {
					binary.BigEndian.PutUint64(b[at:], uint64(time.Now().UnixMilli())) // the bubble's
				}
				binary.BigEndian.PutUint32(b[crc:], crc32.Checksum(b[attributes:], table))
			}
		}
		return nil, nil, false
	})
	produce()
	ended.Store(true)
}

// The topic is switched from the producers' times, three hours behind, to the
// broker's, and back. Each switch is told, with its offset; and the clock does
// not follow the step, so nothing leaves the window by it.
func TestFault_C06_OtherKindOfTime(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		var log bytes.Buffer
		w.opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
		behind := func(partition int32, ids ...string) {
			var recs []*kgo.Record
			for _, id := range ids {
				r := record(partition, id)
				r.Timestamp = time.Now().Add(-3 * time.Hour)
				recs = append(recs, r)
			}
			w.kafka.Produce(t, recs...)
		}
		clock := func() time.Time {
			ns, err := w.st.Namespace(namespaceName(group, topic, 0), nil)
			require.NoError(t, err)
			st, err := ns.Status()
			require.NoError(t, err)
			return st.Clock
		}
		warnings := func() (lines []string) {
			for _, line := range strings.Split(log.String(), "\n") {
				if strings.Contains(line, "another kind of time") {
					lines = append(lines, line)
				}
			}
			return lines
		}
		behind(0, ids("a", 10)...)
		behind(1, ids("a", 10)...)
		require.NoError(t, w.run())
		was := clock()
		require.Empty(t, warnings())

		behind(0, ids("b", 3)...) // offsets 10 to 12
		w.stampedByBroker(func() { w.produce(0, "c0", "a5") })
		behind(1, ids("b", 3)...)
		c := w.consumer(w.calls.handle)
		require.NoError(t, c.Run(t.Context()))
		require.Len(t, warnings(), 1)
		for _, words := range []string{
			"partition=0", "offset=13", "time=LogAppendTime", "before=CreateTime", "message.timestamp.type",
		} {
			require.Contains(t, warnings()[0], words)
		}
		require.Less(t, clock().Sub(was), time.Minute, "the clock has followed the step")
		require.EqualValues(t, 1, c.Stats().Unknown, "by one of the clocks a5 has left the window, by the other not")

		w.stampedByBroker(func() { w.produce(0, "c1") }) // offset 15
		behind(0, "sound", "a1", "b1", "c0")
		c = w.consumer(w.calls.handle)
		require.NoError(t, c.Run(t.Context()))
		require.Len(t, warnings(), 2)
		for _, words := range []string{"offset=16", "time=CreateTime", "before=LogAppendTime"} {
			require.Contains(t, warnings()[1], words)
		}
		require.EqualValues(t, 3, c.Stats().Duplicates, "something has left the window")
	})
}

// The topic is switched while nobody consumes, and no record tells of the times before
// but those that were handled: another process, with this store or with one that was
// restored, says so at the first record of the other kind, once.
func TestFault_C06_SwitchedWhileAway(t *testing.T) {
	for _, cold := range []bool{false, true} {
		t.Run(fmt.Sprintf("cold=%v", cold), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				log := new(alarms)
				w.opts.Logger = log.logger()
				warned := func() int { return strings.Count(log.text(), "another kind of time") }
				w.produceSlowly(ids("a", 10)...)
				w.runs()
				w.runs() // what is kept stays, where nothing comes
				if w.reopen(); cold {
					w.use(w.dir + "-another")
				}
				time.Sleep(time.Minute)
				w.stampedByBroker(func() { w.produce(0, "b", "a9") })
				require.Zero(t, warned())
				require.Equal(t, uint64(1), w.runs().Duplicates)
				require.Equal(t, 1, warned())
				for _, words := range []string{"offset=10", "time=LogAppendTime", "before=CreateTime"} {
					require.Contains(t, log.text(), words)
				}
				w.reopen()
				w.stampedByBroker(func() { w.produce(0, "c") })
				w.runs()
				require.Equal(t, 1, warned(), "it is as it was")
				w.reopen()
				w.produce(0, "d")
				w.runs()
				require.Equal(t, 2, warned())
			})
		})
	}
}
