package adapter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firstseen/firstseen/store"
)

// E10, row 7: an operator's reset back is honoured: what is read once more meets
// its markers, the rewind is counted, and the next start is as any other.
func TestFault_E10_Row7HonourBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.OnForeignOffset = ForeignHonour
		w.produceSlowly(ids("a", 10)...)
		require.NoError(t, w.run())
		for rewind := uint64(1); rewind < 3; rewind++ { // to the same offset, twice
			emptied()
			w.kafka.SetGroupOffset(t, group, topic, 0, 4)
			c := w.consumer(w.calls.handle)
			require.NoError(t, c.Run(t.Context()))
			require.Equal(t, uint64(6), c.Stats().Duplicates, "rewind %d", rewind)
			require.Equal(t, rewind, w.tagged().Rewind)
			require.Equal(t, int64(10), w.committedAt(0))
			require.Zero(t, c.Stats().Skipped)
			require.NoError(t, w.run())
		}
		require.Equal(t, ids("a", 10), w.calls.order)

		// Forgotten first, they are handled again.
		ns, err := w.st.Namespace(namespaceName(group, topic, 0), nil)
		require.NoError(t, err)
		require.NoError(t, ns.ForgetOrigins(w.status().Position.TopicID, 0, 4, 10))
		emptied()
		w.kafka.SetGroupOffset(t, group, topic, 0, 4)
		require.NoError(t, w.run())
		require.Equal(t, append(ids("a", 10), ids("a", 10)[4:]...), w.calls.order)
	})
}

// E10, row 7: a reset that was honoured is honoured once: after a crash before
// the next commit the store goes on where it stands.
func TestFault_E10_Row7HonouredOnce(t *testing.T) {
	for _, step := range []string{"polled", "handled", "durable", "committed"} {
		inWorld(t, func(t *testing.T, w *world) {
			w.opts.OnForeignOffset = ForeignHonour
			w.produceSlowly(ids("a", 10)...)
			require.NoError(t, w.run())
			emptied()
			w.kafka.SetGroupOffset(t, group, topic, 0, 4)
			refuse := func() {}
			if step != "committed" {
				refuse = w.refuseCommits().Remove
			}
			require.True(t, w.crashOnce(w.calls.handle, step, 1))
			refuse()
			c := w.consumer(w.calls.handle)
			require.NoError(t, c.Run(t.Context()))
			require.Equal(t, uint64(1), w.status().Rewind, step)
			require.Equal(t, uint64(1), w.tagged().Rewind)
			require.Equal(t, int64(10), w.committedAt(0))
			require.Equal(t, ids("a", 10), w.calls.order)
		})
	}
}

// E10, row 7: an operator who resets the group to the same offset once more is
// told from before, however little came between.
func TestFault_E10_Row7TheSameOffsetAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.OnForeignOffset, w.opts.MaxPollRecords = ForeignHonour, 2
		w.produceSlowly(ids("a", 10)...)
		require.NoError(t, w.run())
		w.produceSlowly("b")
		for rewind := range uint64(3) {
			emptied()
			w.kafka.SetGroupOffset(t, group, topic, 0, 8)
			w.kafka.Fake.Fault(kfake.Fault{ // the first one, so that no batch is told of it
				Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.RebalanceInProgress, Topic: topic, Count: 1,
			})
			require.True(t, w.crashOnce(w.calls.handle, "polled", 2))
			require.Equal(t, int64(10), w.position(0))
			require.Equal(t, rewind+1, w.status().Rewind)
		}
	})
}

// E10, row 7: a reset forward is honoured: the records between are never handled,
// they are counted, coverage is open, and the tag says it to other instances.
func TestFault_E10_Row7HonourForward(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.OnForeignOffset = ForeignHonour
		w.produceSlowly(ids("a", 10)...)
		require.NoError(t, w.run())
		emptied()
		w.produceSlowly(ids("b", 5)...)
		w.kafka.SetGroupOffset(t, group, topic, 0, 13)
		w.produceSlowly("a2", "b1", "c")
		c := w.consumer(w.calls.handle)
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, append(ids("a", 10), "b3", "b4", "b1", "c"), w.calls.order)
		require.Equal(t, uint64(3), c.Stats().Skipped)
		require.Equal(t, []uint64{1, 4}, []uint64{c.Stats().Duplicates, c.Stats().Unknown})
		require.Equal(t, []offsetRange{{10, 13}}, w.tagged().Skipped)
		require.Equal(t, uint64(1), w.tagged().Rewind)
		require.Equal(t, store.Cold, w.status().Coverage.Reason)

		time.Sleep(2 * time.Hour) // the range leaves the window
		w.produceSlowly("d")
		w.produceSlowly(ids("e", 1001)...) // a night is a jump
		require.NoError(t, w.run())
		require.Empty(t, w.tagged().Skipped)
	})
}

// E10, row 7: ignored, the store goes on where it stands, and says so to Kafka.
func TestFault_E10_Row7Ignore(t *testing.T) {
	for _, to := range []int64{0, 4, 12} {
		inWorld(t, func(t *testing.T, w *world) {
			w.opts.OnForeignOffset = ForeignIgnore
			w.produceSlowly(ids("a", 10)...)
			require.NoError(t, w.run())
			emptied()
			w.produceSlowly(ids("b", 5)...)
			w.kafka.SetGroupOffset(t, group, topic, 0, to)
			c := w.consumer(w.calls.handle)
			require.NoError(t, c.Run(t.Context()))
			require.Equal(t, append(ids("a", 10), ids("b", 5)...), w.calls.order)
			require.Zero(t, c.Stats().Duplicates)
			require.Equal(t, int64(15), w.committedAt(0))
			require.Zero(t, w.tagged().Rewind)
		})
	}
}
