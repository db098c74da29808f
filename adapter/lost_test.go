package adapter

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// E05: partitions are lost, not revoked: the group forgot the member, and nobody
// was there between. What the session made durable stays in the store, nothing is
// committed for it any more, and the next session goes on from there.
func TestFault_E05_LostPartitions(t *testing.T) {
	inWorldOf(t, 3, func(t *testing.T, w *world) {
		for p := range int32(3) {
			w.produce(p, ids("a", 10)...)
		}
		var c *Consumer
		var lost atomic.Bool
		var late atomic.Int64
		forget := w.kafka.Fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID, TopLevel: true, Count: -1,
			When: func(kmsg.Request) bool { return lost.Load() && c.Stats().Sessions == 0 },
		})
		w.kafka.Fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.OffsetCommit}, Group: group, Count: -1, Observe: true,
			When: func(kmsg.Request) bool {
				if lost.Load() && c.Stats().Sessions == 0 {
					late.Add(1)
				}
				return true
			},
		})
		c, stop := w.start(func(ctx context.Context, tx *Tx, rec *Record) error {
			if rec.Partition == 1 && rec.Offset == 5 && !lost.Load() {
				lost.Store(true)
				time.Sleep(time.Minute)
			}
			return w.calls.handle(ctx, tx, rec)
		})
		w.until(func() bool { return c.Stats().Sessions > 0 })
		forget.Remove()
		w.until(func() bool { return w.committedAt(0) == 10 && w.committedAt(1) == 10 && w.committedAt(2) == 10 })
		require.NoError(t, stop())
		require.LessOrEqual(t, late.Load(), int64(1), "the one that was on its way")
		for p := range int32(3) {
			require.Equal(t, int64(10), w.state(p, "n"))
		}
		for id, n := range w.calls.count() {
			require.LessOrEqual(t, n, 6, "%s: what was not durable is handled again, once", id)
		}
	})
}

// E14: a partition that is added while the topic is consumed is read from its
// beginning, whatever a new group would do, and the operator is told. The others
// go on.
func TestFault_E14_PartitionAddedWhileRunning(t *testing.T) {
	for name, balancer := range allBalancers {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				told := new(alarms)
				w.opts.Logger = told.logger()
				w.opts.Start, w.opts.Balancer = StartLatest, balancer
				c, stop := w.start(w.calls.handle)
				w.until(func() bool { return w.committedAt(0) == 0 })
				w.produce(0, "a")
				w.until(func() bool { return w.committedAt(0) == 1 })
				_, err := kadm.NewClient(w.kafka.Client(t)).CreatePartitions(t.Context(), 2, topic)
				require.NoError(t, err)
				w.produce(2, "b", "a")
				w.produce(0, "c", "a")
				w.until(func() bool { return w.committedAt(2) == 2 && w.committedAt(0) == 3 && w.committedAt(1) == 0 })
				require.NoError(t, stop())
				require.Equal(t, map[string]int{"a": 2, "b": 1, "c": 1}, w.calls.count(), "scope is the partition")
				require.Zero(t, c.Stats().Sessions)
				require.Contains(t, told.text(), "the partition was added to a topic that the group had")
			})
		})
	}
}
