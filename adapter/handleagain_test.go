package adapter

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// backup leaves a store of 10 records in place of one that went on to 15: with a
// word, for it is an adopted checkpoint.
func (w *world) backup(h Handler) {
	w.Helper()
	w.kafka.CreateTopic(w, outTopic, 1, nil)
	w.produceSlowly(ids("a", 10)...)
	require.NoError(w, w.consumer(h).Run(w.Context()))
	backup := w.dir + "-backup"
	require.NoError(w, w.st.Checkpoint(w.Context(), backup))
	w.opts.MaxPollRecords = 2 // in more batches than the backup knows
	w.produceSlowly("b0", "a5", "b1", "b2", "b3")
	require.NoError(w, w.consumer(h).Run(w.Context()))
	require.Equal(w, int64(15), w.committedAt(0))
	require.NoError(w, w.st.Close())
	require.NoError(w, store.Adopt(backup, nil))
	w.dir = backup
	w.open()
	require.Equal(w, int64(10), w.position(0))
}

// B13, E09, row 9: an old backup, adopted, lost its tail. State and markers of the
// tail are made again from the log, once, over a crash at every step of that; the
// outputs, which Kafka has, are not sent again, and new ones are.
func TestFault_B13_Row9StateIsMadeAgain(t *testing.T) {
	for nth := range 4 {
		inWorld(t, func(t *testing.T, w *world) {
			w.backup(shout)
			if nth > 0 {
				require.True(t, w.crashOnce(shout, "durable", nth))
			}
			before := w.tagged().Sequence
			require.NoError(t, w.consumer(shout).Run(t.Context()))
			require.Equal(t, int64(14), w.state(0, "n"))
			require.Equal(t, int64(15), w.committedAt(0))
			require.False(t, w.status().Coverage.Open)
			require.Greater(t, w.status().Sequence, before)

			w.produceSlowly("b1", "c0", "c1", "c2")
			require.True(t, w.crashOnce(shout, "durable", 2))
			require.NoError(t, w.consumer(shout).Run(t.Context()))
			require.Equal(t, int64(17), w.state(0, "n"))
			outs := w.outputs(outTopic)
			require.Len(t, outs, 17)
			for value, n := range outs {
				require.Equal(t, 1, n, value)
			}
		})
	}
}

// E09, row 9: what a policy had skipped in the tail is skipped once more: it gets
// no marker, and the tag goes on to say so.
func TestFault_E09_Row9SkipsAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.backup(shout)
		tag := w.tagged()
		tag.Skipped = []offsetRange{{2, 4}, {11, 13}}
		text, err := tag.encode()
		require.NoError(t, err)
		w.setBack(15, text)
		require.NoError(t, w.consumer(shout).Run(t.Context()))
		require.Equal(t, int64(13), w.state(0, "n"), "b0, b2 and b3 again")
		require.Equal(t, tag.Skipped, w.tagged().Skipped)
		require.Equal(t, store.Cold, w.status().Coverage.Reason)
		require.Equal(t, int64(15), w.committedAt(0))
	})
}

// E09, row 9: without state the tail is not handled again: its markers are
// restored.
func TestFault_E09_Row9Lost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.backup(w.calls.seen)
		w.calls.take()
		w.produceSlowly("a1", "b1", "c")
		s := w.runs()
		require.Equal(t, []string{"c"}, w.calls.take())
		require.Equal(t, []uint64{2, 0}, []uint64{s.Duplicates, s.Unknown})
		require.Equal(t, store.Coverage{}, w.status().Coverage)
		require.Equal(t, int64(18), w.committedAt(0))
	})
}

// E09, row 9: a record that is handled again cannot fail: its outputs, or its dead
// letter, are in Kafka. It stops, whatever the policy is.
func TestFault_E09_Row9FailureStops(t *testing.T) {
	for name, failure := range map[string]error{"fails": errPoison, "dead letter": DeadLetter(errPoison)} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.withDead(1)
				w.opts.OnFailure, w.opts.MaxAttempts = FailureDeadLetter, 2
				fail := false
				h := func(ctx context.Context, tx *Tx, rec *Record) error {
					if fail && string(rec.ID) == "b1" {
						return failure
					}
					return w.calls.handle(ctx, tx, rec)
				}
				w.backupAfter(h)
				fail = true
				err := w.consumer(h).Run(t.Context())
				var failed *RecordError
				require.ErrorAs(t, err, &failed)
				require.Equal(t, int64(12), failed.Offset)
				require.ErrorIs(t, err, errPoison)
				require.ErrorIs(t, err, errHandledAgain)
				require.Empty(t, w.kafka.ReadAll(t, deadTopic)[0])
				fail = false
				require.NoError(t, w.consumer(h).Run(t.Context()))
				require.Equal(t, int64(14), w.state(0, "n"))
			})
		})
	}
}

// backupAfter is backup in a world that has its topics.
func (w *world) backupAfter(h Handler) {
	w.Helper()
	w.produceSlowly(ids("a", 10)...)
	require.NoError(w, w.consumer(h).Run(w.Context()))
	backup := w.dir + "-backup"
	require.NoError(w, w.st.Checkpoint(w.Context(), backup))
	w.produceSlowly("b0", "a5", "b1", "b2", "b3")
	require.NoError(w, w.consumer(h).Run(w.Context()))
	require.NoError(w, w.st.Close())
	require.NoError(w, store.Adopt(backup, nil))
	w.dir = backup
	w.open()
}

// E09, row 9: records that went to the dead letters by a policy, and not by a
// handler, go there once.
func TestFault_E09_Row9DeadLettersOfPolicies(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		w.opts.MissingID = MissingIDDeadLetter
		w.opts.MaxPollRecords = 3
		w.produceSlowly(ids("a", 10)...)
		require.NoError(t, w.consumer(shout).Run(t.Context()))
		backup := w.dir + "-backup"
		require.NoError(t, w.st.Checkpoint(t.Context(), backup))
		w.produceSlowly("", "b")
		w.transaction(kgo.TryCommit, "x") // its end is an offset without a record
		require.NoError(t, w.consumer(shout).Run(t.Context()))
		require.NoError(t, w.st.Close())
		require.NoError(t, store.Adopt(backup, nil))
		w.dir = backup
		w.open()
		require.NoError(t, w.consumer(shout).Run(t.Context()))
		require.Equal(t, int64(12), w.state(0, "n"))
		require.Len(t, w.kafka.ReadAll(t, deadTopic)[0], 1)
		require.Len(t, w.outputs(outTopic), 12)
		require.Equal(t, w.committedAt(0), w.position(0))
	})
}

// E09, row 9: what is to be handled again is gone from the log, or compacted: it
// stops, or jumps when told, with state that is not whole.
func TestFault_E09_Row9RecordsAreGone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.backup(shout)
		w.kafka.DeleteRecords(t, topic, 0, 12)
		err := w.consumer(shout).Run(t.Context())
		require.ErrorIs(t, err, ErrGap)
		w.opts.OnGap = GapJump
		c := w.consumer(shout)
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, uint64(2), c.Stats().Skipped)
		require.Equal(t, int64(13), w.state(0, "n"))
		kept, err := decodeNote(w.status().Note)
		require.NoError(t, err)
		require.True(t, kept.broken)
	})
}

// E09, row 8: an opening of this store that the directory does not know committed
// beyond it. It stops until told, and commits nothing.
func TestFault_E09_Row8Clone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceSlowly(ids("a", 10)...)
		require.NoError(t, w.run())
		tag := w.tagged()
		tag.OpenID = [16]byte{0xee}
		text, err := tag.encode()
		require.NoError(t, err)
		w.produceSlowly(ids("b", 5)...)
		w.setBack(12, text)
		for range 2 {
			err := w.run()
			require.ErrorIs(t, err, ErrCloned)
			require.ErrorContains(t, err, "adopt")
		}
		require.Len(t, w.calls.order, 10)
		require.Equal(t, int64(12), w.committedAt(0))
	})
}

// E09, row 3: the group stands above the end of the log.
func TestFault_E09_Row3LogReplaced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceSlowly("a", "b")
		require.NoError(t, w.run())
		w.setBack(100, "")
		for _, policy := range []OnForeignOffset{ForeignFail, ForeignHonour, ForeignIgnore} {
			w.opts.OnForeignOffset = policy
			require.ErrorIs(t, w.run(), ErrLogReplaced)
		}
		require.Len(t, w.calls.order, 2)
	})
}

// A tag that says a damaged or newer thing stops, whatever the policies are.
func TestFault_E09_UnreadableTag(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.OnForeignOffset, w.opts.FreshState = ForeignHonour, true
		w.produceSlowly("a", "b")
		require.NoError(t, w.run())
		w.setBack(1, "fs9.AAAA")
		err := w.run()
		require.ErrorIs(t, err, ErrTag)
		require.False(t, errors.Is(err, ErrForeignOffset))
		require.Len(t, w.calls.order, 2)
	})
}
