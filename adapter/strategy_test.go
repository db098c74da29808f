package adapter

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// heard notes the offsets that Kafka is told for partition 0, in order.
type heard struct {
	mu      sync.Mutex
	offsets []int64
	at      []time.Time
}

func (w *world) hears(taking ...time.Duration) *heard {
	h := new(heard)
	w.kafka.Fake.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.kafka.Fake.KeepControl()
		for _, t := range req.(*kmsg.OffsetCommitRequest).Topics {
			for _, p := range t.Partitions {
				h.note(p.Partition, p.Offset)
			}
		}
		for _, d := range taking {
			w.kafka.Fake.SleepControl(func() { time.Sleep(d) })
		}
		return nil, nil, false
	})
	return h
}

func (h *heard) note(partition int32, offset int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if partition == 0 && offset > 0 { // a partition that is taken over commits where it stands
		h.offsets = append(h.offsets, offset)
		h.at = append(h.at, time.Now())
	}
}

func (h *heard) take() []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	offsets := h.offsets
	h.offsets, h.at = nil, nil
	return offsets
}

// A commit after every poll, waited for: the default.
func TestCommitStrategies_PerPoll(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.MaxPollRecords = 4
		w.produce(0, ids("a", 10)...)
		h := w.hears()
		require.NoError(t, w.run())
		require.Equal(t, []int64{4, 8, 10, 10}, h.take(), "and once more at the end")
		require.Equal(t, CommitPerPoll(), CommitStrategy{})
	})
}

// A commit after every record.
func TestCommitStrategies_PerRecord(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Commit, w.opts.MaxPollRecords = CommitPerRecord(), 4
		w.produce(0, ids("a", 5)...)
		h := w.hears()
		require.NoError(t, w.run())
		require.Equal(t, []int64{1, 2, 3, 4, 5, 5}, h.take())
		require.Equal(t, ids("a", 5), w.calls.order)
	})
}

// A commit after every poll that is not waited for: the loop goes on while Kafka
// takes its time. One is under way at a time, none goes back, and the last is
// waited for.
func TestCommitStrategies_AsyncIsNotWaitedFor(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Commit, w.opts.MaxPollRecords = CommitAsync(), 1
		w.produce(0, ids("a", 20)...)
		h := w.hears(5 * time.Second)
		c := w.consumer(w.calls.handle)
		var handled []time.Time
		c.step = func(done string) error {
			if done == "handled" {
				handled = append(handled, time.Now())
			}
			return nil
		}
		require.NoError(t, c.Run(t.Context()))
		require.Less(t, handled[19].Sub(handled[0]), 2*time.Second, "all handled while the first is under way")
		offsets := h.take()
		require.True(t, slices.IsSorted(offsets), "%v", offsets)
		require.Less(t, len(offsets), 6)
		require.Equal(t, int64(20), w.committedAt(0))
	})
}

// What an asynchronous commit did not bring about goes with the next poll's, which
// is as high or higher.
func TestCommitStrategies_AsyncIsRetriedOnTheNextPoll(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Commit, w.opts.MaxPollRecords = CommitAsync(), 2
		w.kafka.Fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.RequestTimedOut, Topic: topic, Count: 3,
		})
		h := w.hears()
		c, stop := w.start(w.calls.handle)
		w.produce(0, ids("a", 4)...)
		w.until(func() bool { return c.Stats().New == 4 && w.committedAt(0) == 4 })
		w.produce(0, "b")
		w.until(func() bool { return w.committedAt(0) == 5 })
		require.NoError(t, stop())
		offsets := h.take()
		require.True(t, slices.IsSorted(offsets), "%v", offsets)
		require.Zero(t, c.Stats().Sessions)
	})
}

// A commit for every so many records, whatever the polls; the rest is committed at
// the end.
func TestCommitStrategies_PeriodicByCount(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Commit, w.opts.MaxPollRecords = CommitEvery(10, 0), 3
		h := w.hears()
		_, stop := w.start(w.calls.handle)
		w.produce(0, ids("a", 25)...)
		w.until(func() bool { return w.position(0) == 25 })
		time.Sleep(time.Hour)
		offsets := h.take()
		require.LessOrEqual(t, len(offsets), 2)
		for i, offset := range offsets {
			require.GreaterOrEqual(t, offset, int64(10*(i+1)))
		}
		require.Less(t, w.committedAt(0), int64(25))
		require.NoError(t, stop())
		require.Equal(t, int64(25), w.committedAt(0))
	})
}

// A commit every so often, however many records came, and none when none did.
func TestCommitStrategies_PeriodicByInterval(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Commit = CommitEvery(0, time.Minute)
		h := w.hears()
		_, stop := w.start(w.calls.handle)
		for i := range 300 {
			w.produce(0, ids("a", 300)[i])
			time.Sleep(time.Second)
		}
		require.Equal(t, int64(300), w.position(0))
		time.Sleep(time.Hour)
		require.Equal(t, int64(300), w.committedAt(0))
		h.mu.Lock()
		for i := 1; i < len(h.at); i++ {
			require.GreaterOrEqual(t, h.at[i].Sub(h.at[i-1]), time.Minute)
		}
		h.mu.Unlock()
		offsets := h.take()
		require.True(t, slices.IsSorted(offsets))
		require.GreaterOrEqual(t, len(offsets), 4)
		require.LessOrEqual(t, len(offsets), 7)
		require.NoError(t, stop())
	})
}

// Whichever comes first.
func TestCommitStrategies_PeriodicByCountAndInterval(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Commit = CommitEvery(50, time.Minute)
		_, stop := w.start(w.calls.handle)
		w.produce(0, ids("a", 60)...)
		w.until(func() bool { return w.committedAt(0) >= 50 })
		w.produce(0, "b")
		w.until(func() bool { return w.position(0) == 61 })
		begun := time.Now()
		w.until(func() bool { return w.committedAt(0) == 61 })
		require.LessOrEqual(t, time.Since(begun), time.Minute+time.Second)
		require.NoError(t, stop())
	})
}

// Whatever Kafka hears and when: what is durable is the same, a crash repeats no
// handler, and a revoked partition is committed whole.
func TestCommitStrategies_StoreIsAsEver(t *testing.T) {
	for name, strategy := range map[string]CommitStrategy{
		"per poll": CommitPerPoll(), "per record": CommitPerRecord(), "async": CommitAsync(),
		"by count": CommitEvery(1000, 0), "by interval": CommitEvery(0, time.Hour),
	} {
		t.Run(name, func(t *testing.T) {
			inWorldOf(t, 2, func(t *testing.T, w *world) {
				w.opts.Commit, w.opts.MaxPollRecords = strategy, 3
				w.produce(0, append(ids("a", 10), "a1")...)
				require.True(t, w.crashOnce(w.calls.handle, "durable", 3))
				position := w.position(0)
				require.Positive(t, position)
				require.Len(t, w.calls.order, int(position))
				require.LessOrEqual(t, w.committedAt(0), position)

				c, stop := w.start(w.calls.handle)
				w.until(func() bool { return w.position(0) == 11 })
				leave := w.foreign()
				w.until(func() bool { return c.Stats().Partitions == 1 })
				require.Equal(t, int64(11), w.committedAt(0))
				leave()
				require.NoError(t, stop())
				require.Equal(t, ids("a", 10), w.calls.order)
			})
		})
	}
}

// The last commit of a Run, and of a partition that is revoked, has a deadline of
// its own: it is made again while that lasts, and given up when it is over.
func TestCommitStrategies_FinalCommit(t *testing.T) {
	for _, test := range []struct {
		name  string
		count int
		want  int64
	}{
		{"mended", 5, 6},
		{"never", -1, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.opts.Commit = CommitEvery(0, time.Hour)
				w.produce(0, ids("a", 6)...)
				c, stop := w.start(w.calls.handle)
				w.until(func() bool { return c.Stats().New == 6 })
				w.kafka.Fake.Fault(kfake.Fault{
					Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.RequestTimedOut, Topic: topic, Count: test.count,
					When: func(kmsg.Request) bool { return true },
				})
				begun := time.Now()
				require.NoError(t, stop())
				require.LessOrEqual(t, time.Since(begun), commitTimeout+time.Second)
				if test.count > 0 {
					require.Equal(t, test.want, w.committedAt(0))
				} else {
					require.Greater(t, time.Since(begun), commitTimeout/4)
				}
				require.Equal(t, int64(6), w.position(0))
			})
		})
	}
}

func TestCommitEvery_Refuses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, strategy := range []CommitStrategy{CommitEvery(0, 0), CommitEvery(-1, time.Second), CommitEvery(1, -1)} {
			w.opts.Commit = strategy
			_, err := New(w.st, w.calls.handle, &w.opts)
			require.ErrorContains(t, err, "CommitEvery")
		}
		w.opts.Commit, w.opts.Concurrency, w.opts.MaxUncommitted = CommitPerRecord(), 2, -2
		_, err := New(w.st, w.calls.handle, &w.opts)
		require.ErrorContains(t, err, "CommitPerRecord")
		require.ErrorContains(t, err, "MaxUncommitted is -2")
	})
}

// E20: Kafka refuses offsets for hours. The partition goes on until MaxUncommitted
// offsets lie above what Kafka knows, then pauses; what is handled is durable, a
// rebalance stays possible, and it goes on by itself.
func TestFault_E20_CommitsRefusedForHours(t *testing.T) {
	for _, strategy := range []CommitStrategy{CommitPerPoll(), CommitAsync(), CommitEvery(0, time.Hour)} {
		inWorld(t, func(t *testing.T, w *world) {
			w.opts.Commit, w.opts.MaxPollRecords, w.opts.MaxUncommitted = strategy, 5, 40
			refused := w.kafka.Fake.Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Topic: topic, Count: -1,
			})
			w.produce(0, ids("a", 100)...)
			c, stop := w.start(w.calls.handle)
			w.until(func() bool { return len(c.Paused()) == 1 })
			at := c.Paused()[0]
			require.ErrorIs(t, at.Err, ErrUncommitted)
			require.False(t, c.Resume(topic, 0), "it goes on by itself")
			time.Sleep(3 * time.Hour)
			require.GreaterOrEqual(t, w.position(0), int64(40))
			require.LessOrEqual(t, w.position(0), int64(45))
			require.Equal(t, int64(-1), w.committedAt(0))
			require.Zero(t, c.Stats().Sessions)

			refused.Remove()
			w.until(func() bool { return w.position(0) == 100 })
			require.NoError(t, stop())
			require.Equal(t, int64(100), w.committedAt(0))
			require.Equal(t, ids("a", 100), w.calls.order)
		})
	}
}

// E20: a partition whose offsets are taken again goes on beside one that is never
// quiet.
func TestFault_E20_BesideABusyPartition(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.opts.MaxPollRecords, w.opts.MaxUncommitted = 5, 10
		refused := w.kafka.Fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Topic: topic,
			Partitions: []int32{0}, Count: -1,
		})
		w.produce(0, ids("a", 30)...)
		w.produce(1, ids("b", 500)...) // a second of handling each: no poll is quiet
		c, stop := w.start(func(ctx context.Context, tx *Tx, rec *Record) error {
			if rec.Partition == 1 {
				time.Sleep(time.Second)
			}
			return w.calls.handle(ctx, tx, rec)
		})
		w.until(func() bool { return len(c.Paused()) == 1 })
		refused.Remove()
		w.until(func() bool { return len(c.Paused()) == 0 })
		require.Less(t, c.Stats().New, uint64(500))
		w.until(func() bool { return w.committedAt(0) == 30 })
		require.NoError(t, stop())
	})
}

// E20: with -1 there is no bound.
func TestFault_E20_NoBound(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.MaxPollRecords, w.opts.MaxUncommitted = 5, -1
		w.kafka.Fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Topic: topic, Count: -1,
		})
		w.produce(0, ids("a", 100)...)
		c, stop := w.start(w.calls.handle)
		w.until(func() bool { return c.Stats().New == 100 })
		require.Empty(t, c.Paused())
		require.NoError(t, stop())
	})
}

// A partition whose outputs wait keeps its offset, whatever the strategy.
func TestCommitStrategies_OutputsComeFirst(t *testing.T) {
	for _, strategy := range []CommitStrategy{CommitPerRecord(), CommitAsync(), CommitEvery(1, 0)} {
		inWorld(t, func(t *testing.T, w *world) {
			w.kafka.CreateTopic(t, outTopic, 1, nil)
			w.opts.Commit = strategy
			away := w.kafka.Fake.Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Topic: outTopic, Count: -1,
			})
			w.produce(0, "a", "b")
			c, stop := w.start(func(_ context.Context, tx *Tx, rec *Record) error {
				return tx.Produce(&kgo.Record{Topic: outTopic, Value: rec.Value})
			})
			w.until(func() bool { return c.Stats().New == 2 })
			time.Sleep(time.Minute)
			require.LessOrEqual(t, w.committedAt(0), int64(0))
			away.Remove()
			w.until(func() bool { return w.committedAt(0) == 2 })
			require.NoError(t, stop())
		})
	}
}
