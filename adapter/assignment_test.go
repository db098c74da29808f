package adapter

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Partitions lists all that the consumer has, and nothing else: those that flow, and
// each that stands still, with the reason.
func TestConsumer_Partitions(t *testing.T) {
	inWorldOf(t, 4, func(t *testing.T, w *world) {
		w.produce(2, "a", "b")
		w.opts.Pinned = map[string][]int32{topic: {2}}
		require.NoError(t, w.sees())
		w.elsewhere()
		w.opts.Pinned = nil

		w.opts.OnFailure, w.opts.MaxAttempts, w.opts.BatchTimeout = FailurePause, 1, 30*time.Second
		w.produce(0, "c")
		w.produce(1, "d", "bad", "e")
		fault := w.kafka.Fake.Fault(kfake.Fault{ // its restore comes to nothing
			Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Topic: topic, Partitions: []int32{2}, Count: -1,
		})
		release := make(chan struct{})
		returns := sync.OnceFunc(func() { close(release) })
		w.Cleanup(returns) // a test that fails would not end over it
		handler := func(ctx context.Context, tx *Tx, rec *Record) error {
			switch string(rec.ID) {
			case "bad":
				return errPoison
			case "hangs":
				<-release
			}
			return w.calls.seen(ctx, tx, rec)
		}
		require.Empty(t, w.consumer(handler).Partitions(), "before Run")
		c, stop := w.start(handler)
		stand := func() (all []Assignment, reasons []error) {
			all = c.Partitions()
			for i := range all {
				reasons = append(reasons, all[i].Paused)
				all[i].Paused = nil
			}
			return all, reasons
		}
		are := func(want []Assignment, reasons ...error) {
			t.Helper()
			w.until(func() bool {
				all, paused := stand()
				for i := range paused {
					if len(all) != len(want) || !errors.Is(paused[i], reasons[i]) || all[i] != want[i] {
						return false
					}
				}
				return len(all) > 0
			})
		}
		want := []Assignment{
			{Topic: topic, Partition: 0, Offset: 1, Lag: 0},
			{Topic: topic, Partition: 1, Offset: 1, Lag: 2},
			{Topic: topic, Partition: 2, Offset: 2, Lag: 0},
			{Topic: topic, Partition: 3, Offset: 0, Lag: 0},
		}
		are(want, nil, errPoison, ErrRestoring, nil)
		w.produce(0, "f")
		want[0].Offset = 2
		are(want, nil, errPoison, ErrRestoring, nil)

		w.produce(3, "hangs", "g")
		want[3].Lag = -1
		are(want, nil, errPoison, ErrRestoring, ErrHandlerHangs)
		time.Sleep(time.Minute) // and in the sessions after that
		are(want, nil, errPoison, ErrRestoring, ErrHandlerHangs)

		fault.Remove()
		are(want, nil, errPoison, nil, ErrHandlerHangs)

		leave := w.foreign()
		w.until(func() bool { return len(c.Partitions()) == 2 })
		leave()
		are(want, nil, errPoison, nil, ErrHandlerHangs)

		returns()
		want[3].Offset, want[3].Lag = 2, 0
		are(want, nil, errPoison, nil, nil)
		require.NoError(t, stop())
		require.Empty(t, c.Partitions(), "Run has ended")
	})
}

// Whoever looks beside the loop finds each partition where it stands, and where the
// group's offset will be.
func TestConsumer_Partitions_BesideTheLoop(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.produce(0, ids("a", 50)...)
		w.produce(1, ids("b", 50)...)
		w.opts.MaxPollRecords = 5
		c, stop := w.start(func(ctx context.Context, tx *Tx, rec *Record) error {
			time.Sleep(time.Second)
			return w.calls.handle(ctx, tx, rec)
		})
		last, moves := make([]int64, 2), 0
		w.until(func() bool {
			done := true
			for _, a := range c.Partitions() {
				require.GreaterOrEqual(t, a.Offset, last[a.Partition])
				require.LessOrEqual(t, a.Offset+a.Lag, int64(50))
				if a.Offset > last[a.Partition] {
					moves++
				}
				last[a.Partition] = a.Offset
				done = done && a.Offset == 50
			}
			return done && len(c.Partitions()) == 2
		})
		require.Greater(t, moves, 10)
		require.NoError(t, stop())
	})
}
