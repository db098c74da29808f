package adapter

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/firstseen/firstseen/store"
)

// emptied waits until the group has no member any more, so that an operator
// may change its offsets: a static member does not leave.
func emptied() { time.Sleep(2 * sessionTimeout) }

// deleteOffsets removes the group's offsets in the topic, as their expiry does.
func (w *world) deleteOffsets() {
	w.Helper()
	adm := kadm.NewClient(w.kafka.Client(w))
	resp, err := adm.DeleteOffsets(w.Context(), group, kadm.TopicsSet{topic: {0: {}}})
	require.NoError(w, err)
	require.NoError(w, resp.Error())
}

// E09, A05, row 13: the store is ahead of the group, as after a crash before the
// Kafka commit. It goes on where the store stands.
func TestFault_A05_CrashBeforeTheKafkaCommit(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a", "b", "c")
		require.True(t, w.crashOnce(w.calls.handle, "durable", 1))
		require.LessOrEqual(t, w.committedAt(0), int64(0))
		require.Equal(t, int64(3), w.position(0))
		w.produce(0, "d", "a")
		c := w.consumer(w.calls.handle)
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, []string{"a", "b", "c", "d"}, w.calls.order)
		require.Zero(t, c.Stats().Replays, "the fetch begins at the position")
		require.Equal(t, int64(5), w.committedAt(0))
	})
}

// E09, row 4: a group that is new begins where it is told, and that is durable:
// a crash before the first record does not move the beginning.
func TestFault_E09_Row4NewGroup(t *testing.T) {
	for start, want := range map[Start][]string{
		StartEarliest: {"a", "b", "c"}, StartLatest: {"c"},
	} {
		t.Run(fmt.Sprint(start), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.opts.Start = start
				w.produce(0, "a", "b")
				if start == StartLatest {
					require.NoError(t, w.run())
					w.deleteOffsetsWhenEmpty()
				}
				w.produce(0, "c")
				require.NoError(t, w.run())
				require.Equal(t, want, w.calls.order)
			})
		})
	}
}

func (w *world) deleteOffsetsWhenEmpty() {
	emptied()
	w.deleteOffsets()
}

// E09, E14, row 4: a partition that was added begins at its log start, whatever
// the policy for a new group is.
func TestFault_E09_Row4PartitionAdded(t *testing.T) {
	for _, known := range []string{"to the group", "to the store alone"} {
		t.Run(known, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.opts.Start = StartLatest
				w.produce(0, "a")
				require.NoError(t, w.run())
				if known == "to the store alone" {
					w.deleteOffsetsWhenEmpty()
				}
				adm := kadm.NewClient(w.kafka.Client(t))
				_, err := adm.CreatePartitions(t.Context(), 1, topic)
				require.NoError(t, err)
				w.produce(1, "b")
				// Not until the end: a static member that returns has what it had, and is
				// at the end of that before the group hears of the partition.
				_, stop := w.start(w.calls.handle)
				w.until(func() bool { return len(w.calls.count()) > 0 })
				require.NoError(t, stop())
				require.Equal(t, []string{"b"}, w.calls.order)
			})
		})
	}
}

// E09, row 6 with K unset: the group has no offset, and none that the store
// knows of was acknowledged. The store's position counts.
func TestFault_E09_Row6BeforeTheFirstCommit(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		require.NoError(t, w.run())
		w.deleteOffsetsWhenEmpty()
		w.produce(0, "a", "b")
		require.NoError(t, w.run())
		require.Equal(t, []string{"a", "b"}, w.calls.order)
		require.Equal(t, int64(2), w.committedAt(0))
	})
}

// E09, row 6 with K set: the offsets expired or were deleted. It stops.
func TestFault_E09_Row6OffsetsLost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a")
		require.NoError(t, w.run())
		w.produce(0, "b") // K is written with this batch
		require.NoError(t, w.run())
		w.deleteOffsetsWhenEmpty()
		w.produce(0, "c")
		err := w.run()
		require.ErrorIs(t, err, ErrOffsetsLost)
		require.ErrorContains(t, err, topic)
		require.Equal(t, []string{"a", "b"}, w.calls.order)

		w.opts.OnMissingOffset = MissingOffsetResume
		require.NoError(t, w.run())
		require.Equal(t, []string{"a", "b", "c"}, w.calls.order)
		require.Equal(t, int64(3), w.committedAt(0))
	})
}

// E09, E10, row 7: an operator reset the group's offset. It stops and names both
// numbers, and says the same until somebody decides.
func TestFault_E09_Row7ForeignOffset(t *testing.T) {
	for _, to := range []int64{1, 9} {
		t.Run(fmt.Sprint(to), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.produce(0, ids("a", 5)...)
				require.NoError(t, w.run())
				emptied()
				w.produce(0, ids("b", 5)...)
				w.kafka.SetGroupOffset(t, group, topic, 0, to)
				for range 2 {
					err := w.run()
					require.ErrorIs(t, err, ErrForeignOffset)
					require.ErrorContains(t, err, fmt.Sprint(to))
					require.ErrorContains(t, err, "5")
				}
				require.Equal(t, to, w.committedAt(0))
				require.Len(t, w.calls.order, 5)
			})
		})
	}
}

// E09, row 5: a store that knows nothing meets a group that has offsets and
// state. It stops, and says what is missing.
func TestFault_E09_Row5ColdStore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a", "b")
		require.NoError(t, w.run())
		emptied()
		require.NoError(t, w.st.Close())
		w.dir = filepath.Join(w.dir, "another")
		w.open()
		require.ErrorIs(t, w.run(), ErrStateElsewhere)
		require.Len(t, w.calls.order, 2)
	})
}

// E09, row 1 and 4; E11: a topic that was deleted and recreated between two Runs
// is read from its beginning, and its markers count on.
func TestFault_E11_RecreatedBetweenRuns(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a", "b", "c")
		require.NoError(t, w.run())
		require.NoError(t, w.run())
		w.kafka.RecreateTopic(t, topic)
		w.produce(0, "d", "a", "e")
		require.NoError(t, w.run())
		require.Equal(t, []string{"a", "b", "c", "d", "e"}, w.calls.order)
		require.Equal(t, int64(3), w.committedAt(0))
		w.produce(0, "f")
		require.NoError(t, w.run())
		require.Equal(t, "f", w.calls.order[5])
	})
}

// E11: a topic that is deleted and recreated while it is consumed ends the
// session without a commit, and the next one reads the new log from its start.
func TestFault_E11_RecreatedWhileRunning(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, ids("a", 10)...)
		c, stop := w.start(w.calls.handle)
		w.until(func() bool { return w.committedAt(0) == 10 })
		w.kafka.RecreateTopic(t, topic)
		w.produce(0, "a0", "b", "a1", "c")
		w.until(func() bool { return c.Stats().Records == 14 })
		require.NoError(t, stop())
		require.Equal(t, append(ids("a", 10), "b", "c"), w.calls.order)
		require.Positive(t, c.Stats().Sessions)
		require.Equal(t, int64(4), w.committedAt(0))
	})
}

// E13: retention deleted records that nobody read. It stops with both numbers.
func TestFault_E13_RetentionPassesThePosition(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, ids("a", 3)...)
		require.NoError(t, w.run())
		w.produce(0, ids("b", 10)...)
		w.kafka.DeleteRecords(t, topic, 0, 7)
		err := w.run()
		require.ErrorIs(t, err, ErrGap)
		require.ErrorContains(t, err, "3")
		require.ErrorContains(t, err, "7")
		require.Equal(t, int64(3), w.committedAt(0))
	})
}

// E13: the same while it is consumed: the client is told out of range, nothing
// is committed, and the next session's plan stops Run.
func TestFault_E13_RetentionPassesAReader(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.MaxPollRecords = 2
		w.opts.Client = append(w.opts.Client, kgo.FetchMaxPartitionBytes(1), kgo.FetchMaxBytes(1))
		for _, id := range ids("a", 20) {
			w.produce(0, id)
		}
		err := w.consumer(func(ctx context.Context, tx *Tx, rec *Record) error {
			if rec.Offset == 1 {
				w.kafka.DeleteRecords(t, topic, 0, 15)
			}
			return w.calls.handle(ctx, tx, rec)
		}).Run(t.Context())
		require.ErrorIs(t, err, ErrGap)
		require.Less(t, w.position(0), int64(15))
		require.Equal(t, ids("a", int(w.position(0))), w.calls.order)
	})
}

// E15: offsets may be missing: a compacted log, and ends of transactions. Only
// the log start decides about a gap.
func TestFault_E15_HolesAreNoGaps(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.transaction(kgo.TryCommit, "a", "b")
		w.transaction(kgo.TryAbort, "x", "y")
		w.transaction(kgo.TryCommit, "c")
		w.transaction(kgo.TryAbort, "z")
		require.NoError(t, w.run())
		require.Equal(t, []string{"a", "b", "c"}, w.calls.order)
		end := w.position(0)
		require.Equal(t, end, w.committedAt(0))
		require.NoError(t, w.run())
		w.produce(0, "d")
		require.NoError(t, w.run())
		require.Equal(t, []string{"a", "b", "c", "d"}, w.calls.order)
	})
}

// E15: a compacted topic, whose remembered record may be gone.
func TestFault_E15_Compacted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Topics = []string{"compacted"}
		w.kafka.CreateTopic(t, "compacted", 1, map[string]string{
			"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0", "segment.ms": "1", "segment.bytes": "200",
			"min.compaction.lag.ms": "0",
		})
		put := func(key, id string) {
			r := record(0, id)
			r.Topic, r.Key = "compacted", []byte(key)
			w.kafka.Produce(t, r)
		}
		for i := range 10 {
			put("same", fmt.Sprint("a", i))
		}
		require.NoError(t, w.run())
		require.Len(t, w.calls.order, 10)
		put("same", "b")
		time.Sleep(time.Minute)
		put("other", "c")
		w.kafka.Fake.Compact()
		require.NoError(t, w.run())
		require.Equal(t, "c", w.calls.order[len(w.calls.order)-1])
	})
}

func (w *world) transaction(end kgo.TransactionEndTry, values ...string) {
	w.Helper()
	cl := w.kafka.Client(w, kgo.TransactionalID("tx"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(w, cl.BeginTransaction())
	for _, id := range values {
		require.NoError(w, cl.ProduceSync(w.Context(), record(0, id)).FirstErr())
	}
	require.NoError(w, cl.EndTransaction(w.Context(), end))
	cl.Close()
	w.kafka.Settled(w, topic)
}

// The seam: a log with the same topic ID and length that holds other records
// was replaced (row 3). The remembered record is looked up.
func TestAssign_SeamIsLookedUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a", "b", "c")
		require.NoError(t, w.run())
		ns, err := w.st.Namespace(namespaceName(group, topic, 0), nil)
		require.NoError(t, err)
		status, err := ns.Status()
		require.NoError(t, err)
		require.Equal(t, int64(2), status.LastOffset)
		require.Equal(t, fingerprint(w.kafka.ReadAll(t, topic)[0][2]), status.Fingerprint)
		require.NoError(t, w.run(), "the same record stands there")
		require.NoError(t, ns.Update(func(b *store.Batch) error {
			b.Remember(2, 12345)
			return nil
		}))
		require.ErrorIs(t, w.run(), ErrLogReplaced)
	})
}

func TestAssign_NamespaceNamesAreInjective(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		gen := rapid.StringMatching(`[a/%25F]{1,6}`)
		one := [2]string{gen.Draw(t, "group"), gen.Draw(t, "topic")}
		two := [2]string{gen.Draw(t, "group"), gen.Draw(t, "topic")}
		p, q := rapid.Int32Range(0, 12).Draw(t, "p"), rapid.Int32Range(0, 12).Draw(t, "q")
		same := namespaceName(one[0], one[1], p) == namespaceName(two[0], two[1], q)
		require.Equal(t, one == two && p == q, same)
	})
	require.Equal(t, "billing/payments/3", namespaceName("billing", "payments", 3))
}
