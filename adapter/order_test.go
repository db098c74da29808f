package adapter

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// steps are the steps of the loop, in the order of R10.
var steps = []string{"polled", "handled", "durable", "sent", "committed"}

// crashOnce runs a consumer that dies when a step is done for the nth time,
// and opens the store again as the next process does. It tells whether the
// consumer got that far.
func (w *world) crashOnce(h Handler, step string, nth int) (crashed bool) {
	w.Helper()
	c := w.consumer(h)
	c.step = crashAt(step, nth)
	err := c.Run(w.Context())
	if err != nil {
		require.ErrorIs(w, err, errCrash)
	}
	w.reopen()
	return err != nil
}

// A crash between any two steps: the state is that of every message once, the
// outputs are there, the group's offset is never above the store's, and only
// the batch in hand is handled again, when it was not durable.
func TestOrder_CrashBetweenAnyTwoSteps(t *testing.T) {
	for _, step := range steps {
		for nth := 1; nth <= 4; nth++ {
			t.Run(step+"/"+string(rune('0'+nth)), func(t *testing.T) {
				inWorldOf(t, 2, func(t *testing.T, w *world) {
					w.opts.MaxPollRecords = 5
					for p := range int32(2) {
						all := ids("a", 8)
						w.produce(p, append(all, all[:4]...)...)
					}
					crashed := w.crashOnce(w.calls.handle, step, nth)
					require.True(t, crashed)
					for p := range int32(2) {
						require.LessOrEqual(t, w.committedAt(p), w.position(p))
					}
					require.NoError(t, w.run())
					for p := range int32(2) {
						require.Equal(t, int64(8), w.state(p, "n"))
						require.Equal(t, int64(12), w.committedAt(p))
					}
					repeated := 0
					for _, n := range w.calls.count() {
						require.GreaterOrEqual(t, n, 2)
						repeated += n - 2
					}
					if step == "handled" {
						require.LessOrEqual(t, repeated, 5)
					} else {
						require.Zero(t, repeated)
					}
				})
			})
		}
	}
}

// A01: a crash after the poll leaves nothing; the records come again.
func TestFault_A01_CrashAfterThePoll(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a", "b")
		require.True(t, w.crashOnce(w.calls.handle, "polled", 1))
		require.Empty(t, w.calls.order)
		require.Zero(t, w.position(0))
		require.NoError(t, w.run())
		require.Equal(t, []string{"a", "b"}, w.calls.order)
	})
}

// A02: a crash after the handler and before its batch repeats the handler's
// calls to other systems, under the same token; the state is as if never called.
func TestFault_A02_CrashBeforeTheBatch(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a", "b", "a")
		var tokens []string
		handler := func(ctx context.Context, tx *Tx, rec *Record) error {
			tokens = append(tokens, rec.Token())
			return w.calls.handle(ctx, tx, rec)
		}
		require.True(t, w.crashOnce(handler, "handled", 1))
		require.Zero(t, w.state(0, "n"))
		require.NoError(t, w.consumer(handler).Run(t.Context()))
		require.Equal(t, int64(2), w.state(0, "n"))
		require.Len(t, tokens, 4)
		require.Equal(t, tokens[:2], tokens[2:])
		require.NotEqual(t, tokens[0], tokens[1])
	})
}

// A07: nothing is marked before its handler has returned, and the batch is
// durable: a crash in between loses no message.
func TestFault_A07_MarkerBeforeTheHandler(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.MaxPollRecords = 3
		w.produce(0, ids("a", 9)...)
		for _, nth := range []int{1, 2, 2} {
			require.True(t, w.crashOnce(w.calls.handle, "handled", nth))
		}
		require.NoError(t, w.run())
		require.Len(t, w.calls.count(), 9)
		require.Equal(t, int64(9), w.state(0, "n"))
	})
}

// A08: the group's offset is never above the store's position, at any step, and
// never above the first record of which an output is pending.
func TestFault_A08_KafkaCommitBeforeTheBatch(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		w.opts.MaxPollRecords = 3
		w.produce(0, ids("a", 12)...)
		c := w.consumer(shout)
		seen := make(map[string]int)
		c.step = func(done string) error {
			seen[done]++
			committed := w.committedAt(0)
			require.LessOrEqual(t, committed, w.position(0), done)
			require.LessOrEqual(t, committed, int64(len(w.outputs(outTopic))), done)
			return nil
		}
		require.NoError(t, c.Run(t.Context()))
		for _, step := range steps {
			require.Equal(t, 4, seen[step], step)
		}
		require.Equal(t, int64(12), w.committedAt(0))
	})
}
