package adapter

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// E01: a handler that hangs, whatever its context says, is given up: its partition
// stands, the other one flows on, a rebalance stays possible, and when it returns
// at last its batch is not kept. Then the partition goes on where it stood.
func TestFault_E01_HandlerHangs(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.opts.BatchTimeout, w.opts.MaxPollRecords = 30*time.Second, 5
		w.produce(0, ids("a", 10)...)
		w.produce(1, ids("a", 10)...)
		var hung atomic.Int64
		release := make(chan struct{})
		c, stop := w.start(func(ctx context.Context, tx *Tx, rec *Record) error {
			if rec.Partition == 0 && rec.Offset == 7 && hung.Add(1) == 1 {
				<-release
			}
			return w.calls.handle(ctx, tx, rec)
		})
		w.until(func() bool { return len(c.Paused()) > 0 })
		at := c.Paused()[0]
		require.ErrorIs(t, at.Err, ErrHandlerHangs)
		require.Equal(t, int32(0), at.Partition)
		require.Equal(t, int64(5), at.Offset)
		w.until(func() bool { return c.Stats().New == 15 })
		w.produce(1, "b", "a1")
		w.until(func() bool { return w.committedAt(1) == 12 })

		leave := w.foreign() // takes partition 1, or the one that stands
		time.Sleep(time.Minute)
		leave()
		require.Equal(t, int64(5), w.position(0), "the batch is not kept")
		w.until(func() bool { return len(c.Paused()) == 1 })

		close(release)
		w.until(func() bool { return w.committedAt(0) == 10 })
		require.NoError(t, stop())
		require.Empty(t, c.Paused())
		require.Equal(t, int64(10), w.state(0, "n"))
		require.Equal(t, int64(11), w.state(1, "n"))
		require.Equal(t, uint64(21), c.Stats().New)
	})
}

// F07: a shutdown does not wait for a handler for ever. Run says what it leaves
// behind, nothing of the batch is kept, and the next Run handles it again.
func TestFault_F07_ShutdownOverAHungHandler(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.ShutdownTimeout = 10 * time.Second
		w.produce(0, "a", "b")
		begun, release := make(chan struct{}), make(chan struct{})
		c, stop := w.start(func(ctx context.Context, tx *Tx, rec *Record) error {
			if rec.Offset == 1 {
				close(begun)
				<-release
			}
			return w.calls.handle(ctx, tx, rec)
		})
		<-begun
		asked := time.Now()
		require.ErrorIs(t, stop(), ErrHandlerHangs)
		require.Equal(t, w.opts.ShutdownTimeout+hangPatience, time.Since(asked).Truncate(time.Second))
		require.Empty(t, c.Partitions())
		close(release)
		w.until(func() bool { return len(c.hangs.standing()) == 0 })
		require.Zero(t, w.position(0))
		require.NoError(t, w.run())
		require.Equal(t, int64(2), w.state(0, "n"))
	})
}

// F07: a handler that heeds its context ends with the shutdown: what came before
// is committed, and the record in hand comes again.
func TestFault_F07_ShutdownDeadline(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.ShutdownTimeout = 10 * time.Second
		w.produce(0, "a", "b", "c")
		begun := make(chan struct{})
		_, stop := w.start(func(ctx context.Context, tx *Tx, rec *Record) error {
			if rec.Offset == 1 {
				close(begun)
				<-ctx.Done()
				return ctx.Err()
			}
			return w.calls.handle(ctx, tx, rec)
		})
		<-begun
		asked := time.Now()
		require.NoError(t, stop())
		require.Equal(t, w.opts.ShutdownTimeout, time.Since(asked).Truncate(time.Second))
		require.Equal(t, int64(1), w.position(0))
		require.Equal(t, int64(1), w.committedAt(0))
		require.NoError(t, w.run())
		require.Equal(t, []string{"a", "b", "c"}, w.calls.order)
	})
}

// E02: a member that was put out, and has not heard of it, makes no batch durable
// that took its time: the group is asked first.
func TestFault_E02_NotVouchedFor(t *testing.T) {
	for name, balancer := range allBalancers {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.opts.Balancer = balancer
				w.opts.Client = append(w.opts.Client, kgo.HeartbeatInterval(10*time.Second))
				w.produce(0, "a", "b", "c")
				var out atomic.Bool
				c, stop := w.start(func(ctx context.Context, tx *Tx, rec *Record) error {
					if rec.Offset == 1 && out.CompareAndSwap(false, true) {
						err := Leave(ctx, w.opts.Brokers, group, w.st.ID().String(), w.opts.Client...)
						require.NoError(t, err)
						time.Sleep(vouchAge)
					}
					return w.calls.handle(ctx, tx, rec)
				})
				w.until(func() bool { return w.committedAt(0) == 3 })
				require.NoError(t, stop())
				require.Equal(t, uint64(1), c.Stats().Sessions)
				require.Equal(t, "b", w.calls.order[1])
				require.Greater(t, w.calls.count()["b"], 1, "it was handled again")
				require.Equal(t, int64(3), w.state(0, "n"))
			})
		})
	}
}

// A coordinator that does not answer holds no batch up while its last word counts;
// then nothing more becomes durable until it is back.
func TestVouched_CoordinatorAway(t *testing.T) {
	for name, away := range map[string]time.Duration{"for a moment": 10 * time.Second, "for long": 5 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.produce(0, "a", "b", "c")
				var since atomic.Pointer[time.Time]
				w.kafka.Fake.Fault(kfake.Fault{
					Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.CoordinatorNotAvailable, TopLevel: true, Count: -1,
					When: func(kmsg.Request) bool {
						s := since.Load()
						return s != nil && time.Since(*s) < away
					},
				})
				c, stop := w.start(func(ctx context.Context, tx *Tx, rec *Record) error {
					if now := time.Now(); rec.Offset == 1 && since.CompareAndSwap(nil, &now) {
						time.Sleep(away / 2)
					}
					return w.calls.handle(ctx, tx, rec)
				})
				w.until(func() bool { return w.committedAt(0) == 3 })
				require.NoError(t, stop())
				require.Equal(t, int64(3), w.state(0, "n"))
				require.Equal(t, away > time.Minute, c.Stats().Sessions > 0)
			})
		})
	}
}
