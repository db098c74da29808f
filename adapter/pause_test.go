package adapter

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// I13: a partition that pauses inside a poll keeps what stands before the record
// that failed, and goes on at exactly that record, as often as it pauses. The
// other partitions flow meanwhile.
func TestPause_InsideAPoll(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.opts.OnFailure, w.opts.MaxAttempts = FailurePause, 2
		w.produce(0, "a", "b", "bad", "c", "bad", "d")
		w.produce(1, "x")
		w.calls.fail = failing("bad", 4)
		c, stop := w.start(w.calls.handle)
		for i := range uint64(2) {
			w.until(func() bool { return c.Stats().Failures == 2*(i+1) && c.Stats().Paused == 1 })
			p := c.Paused()[0]
			require.Equal(t, Pause{topic, 0, 2, &RecordError{Topic: topic, Offset: 2, Err: errPoison}}, p)
			require.Equal(t, int64(2), w.position(0))
			w.until(func() bool { return w.committedAt(0) == 2 && w.committedAt(1) > 0 })
			w.produce(1, "y"+time.Now().String())
			time.Sleep(time.Hour)
			require.Equal(t, 1, c.Stats().Paused, "until told")
			require.False(t, c.Resume(topic, 1))
			require.True(t, c.Resume(topic, 0))
		}
		w.until(func() bool { return w.committedAt(0) == 6 })
		require.NoError(t, stop())
		require.Empty(t, c.Paused())
		var order []string
		for _, id := range w.calls.order {
			if id != "x" && id[0] != 'y' { // the other partition's
				order = append(order, id)
			}
		}
		require.Equal(t, []string{"a", "b", "bad", "c", "d"}, order)
		for _, n := range w.calls.count() {
			require.Equal(t, 1, n)
		}
		require.Zero(t, c.Stats().Sessions)
		require.Equal(t, int64(5), w.state(0, "n"))
		require.Equal(t, uint64(1), c.Stats().Duplicates)
	})
}

// A rebalance is possible while a partition is paused, and the partition is
// handled again when it is assigned anew.
func TestPause_Rebalance(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.opts.OnFailure, w.opts.MaxAttempts = FailurePause, 1
		w.produce(0, "a", "bad", "b")
		var mended atomic.Bool
		c, stop := w.start(func(ctx context.Context, tx *Tx, rec *Record) error {
			if string(rec.ID) == "bad" && !mended.Load() {
				return errPoison
			}
			return w.calls.handle(ctx, tx, rec)
		})
		w.until(func() bool { return c.Stats().Paused == 1 })
		leave := w.foreign()
		w.until(func() bool { return c.Stats().Partitions == 1 })
		require.Equal(t, int64(1), w.committedAt(0))
		mended.Store(true)
		leave()
		w.until(func() bool { return w.committedAt(0) == 3 })
		require.NoError(t, stop())
		require.Equal(t, []string{"a", "bad", "b"}, w.calls.order)
		require.Zero(t, c.Stats().Paused)
		require.Zero(t, c.Stats().Sessions)
	})
}

// A Run until the end does not wait for a partition that is paused: it says why
// when the others are done.
func TestPause_UntilEnd(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.opts.OnFailure, w.opts.MaxAttempts = FailurePause, 1
		w.produce(0, "bad", "a")
		w.produce(1, "x", "y")
		w.calls.fail = failing("bad", 1)
		err := w.run()
		var failed *RecordError
		require.ErrorAs(t, err, &failed)
		require.Zero(t, failed.Partition)
		require.Equal(t, []string{"x", "y"}, w.calls.order)
		require.NoError(t, w.run())
		require.Equal(t, []string{"x", "y", "bad", "a"}, w.calls.order)
	})
}

// A11: a process that a record kills, again and again. It comes nearer to the
// record each time, until only that record is handled again; the effects that
// are repeated on the way are bounded by the batch.
func TestFault_A11_CrashLoop(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const before, most = 300, 500
		w.produce(0, append(append(ids("a", before), "killer"), ids("b", 100)...)...)
		calls, killed := make(map[string]int), false
		crash := func() {
			c := w.consumer(func(_ context.Context, _ *Tx, rec *Record) error {
				calls[string(rec.ID)]++
				killed = killed || string(rec.ID) == "killer"
				return nil
			})
			c.firstBatch = 1
			killed = false
			c.step = func(done string) error {
				if killed { // before its batch is durable
					return errCrash
				}
				return nil
			}
			require.ErrorIs(t, c.Run(t.Context()), errCrash)
			w.reopen()
		}
		for range 9 { // 2^9 > most
			crash()
		}
		require.Equal(t, int64(before), w.position(0))
		repeated := 0
		for _, id := range ids("a", before) {
			repeated += calls[id] - 1
		}
		require.Less(t, repeated, most)
		clear(calls)
		for range 3 {
			crash()
		}
		require.Equal(t, map[string]int{"killer": 3}, calls)
	})
}
