package adapter

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firstseen/firstseen/store"
)

// seen counts like calls.handle, and writes no state.
func (c *calls) seen(_ context.Context, _ *Tx, rec *Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.order = append(c.order, string(rec.ID))
	return nil
}

// take returns what was handled since it was asked last.
func (c *calls) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	order := c.order
	c.order = nil
	return order
}

// runs consumes until the end without state.
func (w *world) runs() Stats {
	w.Helper()
	c := w.consumer(w.calls.seen)
	require.NoError(w, c.Run(w.Context()))
	return c.Stats()
}

// status returns what the store knows of partition 0.
func (w *world) status() store.Status {
	w.Helper()
	ns, err := w.st.Namespace(namespaceName(group, topic, 0), nil)
	require.NoError(w, err)
	status, err := ns.Status()
	require.NoError(w, err)
	return status
}

// tagged returns the tag that stands in Kafka.
func (w *world) tagged() offsetTag {
	w.Helper()
	g, ok := w.kafka.Committed(w, group, topic, 0)
	require.True(w, ok)
	tag, ours, err := decodeTag(g.Metadata)
	require.NoError(w, err)
	require.True(w, ours)
	return tag
}

// produceSlowly writes records a second apart, so that the clock moves with each.
func (w *world) produceSlowly(ids ...string) {
	w.Helper()
	for _, id := range ids {
		time.Sleep(time.Second)
		w.produce(0, id)
	}
}

// use goes on with the store in another directory, as another instance does.
func (w *world) use(dir string) {
	w.Helper()
	emptied()
	require.NoError(w, w.st.Close())
	w.dir = dir
	w.open()
}

// setBack commits an offset, with a tag, beside the group.
func (w *world) setBack(at int64, tag string) {
	w.Helper()
	emptied()
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, At: at, LeaderEpoch: -1, Metadata: tag})
	require.NoError(w, kadm.NewClient(w.kafka.Client(w)).CommitAllOffsets(w.Context(), group, offsets))
}

// loseTail has the brokers say that every leader epoch ended at an offset.
func (w *world) loseTail(at int64) {
	w.kafka.Fake.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		w.kafka.Fake.KeepControl()
		req := kreq.(*kmsg.OffsetForLeaderEpochRequest)
		resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		for _, t := range req.Topics {
			rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
				rp.Partition, rp.LeaderEpoch, rp.EndOffset = p.Partition, p.LeaderEpoch, at
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
}

// refuseCommits has all commits of the group refused, for now.
func (w *world) refuseCommits() *kfake.FaultHandle {
	return w.kafka.Fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorNotAvailable, Topic: topic, Count: -1,
	})
}

// E12, row 2: the log lost its tail. The store and the group go back, the markers
// stay: what a producer sends again is a duplicate, what is new is handled.
func TestFault_E12_Row2TailLoss(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceSlowly(ids("a", 10)...)
		require.NoError(t, w.run())
		w.loseTail(7) // its records 7, 8 and 9 are what a producer sent again
		w.produceSlowly("b")
		c := w.consumer(w.calls.handle)
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, append(ids("a", 10), "b"), w.calls.order)
		require.Equal(t, []uint64{3, 1, 0}, []uint64{c.Stats().Duplicates, c.Stats().New, c.Stats().Replays})
		require.Equal(t, int64(11), w.committedAt(0))
		require.False(t, w.status().Coverage.Open, "it had seen all of it")
	})
}

// E12, row 2: the group's offset is committed below the one that Kafka had, even
// when nothing comes; and a crash before that goes back once more.
func TestFault_E12_Row2CommitsLower(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceSlowly(ids("a", 10)...)
		require.NoError(t, w.run())
		w.produceSlowly("b")
		require.NoError(t, w.run())
		require.Equal(t, int64(10), w.status().Committed.Offset)
		w.loseTail(7)
		refuse := w.refuseCommits()
		require.True(t, w.crashOnce(w.calls.handle, "polled", 1))
		require.Equal(t, int64(11), w.committedAt(0))
		require.Equal(t, int64(7), w.position(0))
		require.Equal(t, int64(7), w.status().Committed.Offset)
		require.Equal(t, int64(-1), w.status().LastOffset)
		w.opts.MaxPollRecords = 2
		require.True(t, w.crashOnce(w.calls.handle, "durable", 1))
		require.Equal(t, int64(9), w.position(0))
		require.Equal(t, int64(7), w.status().Committed.Offset, "never above the position")
		refuse.Remove()
		_, stop := w.start(func(context.Context, *Tx, *Record) error { panic("not reached") })
		w.until(func() bool { return w.committedAt(0) == 11 && w.position(0) == 11 })
		require.NoError(t, stop())
	})
}

// E09, row 5: a group that had another program before is gone on with at its
// offset; what came before is not vouched for.
func TestFault_E09_Row5AdoptedGroup(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceSlowly(ids("a", 10)...)
		w.kafka.SetGroupOffset(t, group, topic, 0, 6)
		s := w.runs()
		require.Equal(t, ids("a", 10)[6:], w.calls.take())
		require.Equal(t, uint64(4), s.Unknown)
		require.Equal(t, int64(10), w.committedAt(0))
		w.produceSlowly(ids("b", 10)...)
		s = w.runs()
		require.Equal(t, uint64(10), s.Unknown, "for a whole window")
		require.Equal(t, store.Cold, w.status().Coverage.Reason)
		require.False(t, w.status().Coverage.Open)
	})
}

// E09, row 5: state of what another program read is nowhere, so it does not
// start empty silently, whenever the handler first writes; unless it is told.
func TestFault_E09_Row5AdoptedGroupWithState(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceSlowly(ids("a", 10)...)
		w.kafka.SetGroupOffset(t, group, topic, 0, 6)
		for range 2 {
			err := w.run()
			require.ErrorIs(t, err, ErrStateElsewhere)
			require.ErrorContains(t, err, "FreshState")
			require.Equal(t, int64(6), w.position(0))
			w.reopen()
		}
		w.opts.FreshState = true
		w.calls.take()
		require.NoError(t, w.run())
		require.Equal(t, ids("a", 10)[6:], w.calls.take())
		require.Equal(t, int64(4), w.state(0, "n"))
	})
}

// E09, row 5: a store that is empty goes on at another store's offset. Its markers
// are restored before anything is handled.
func TestFault_E09_Row5AnotherStores(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceSlowly(ids("a", 10)...)
		w.runs()
		w.use(w.dir + "-another")
		w.produceSlowly("b", "a3", "b")
		s := w.runs()
		require.Equal(t, append(ids("a", 10), "b"), w.calls.take())
		require.Equal(t, []uint64{0, 2, 10}, []uint64{s.Unknown, s.Duplicates, s.Restored})
		require.Equal(t, store.Coverage{}, w.status().Coverage, "it has read all of the log")
		require.Equal(t, int64(13), w.committedAt(0))
		require.Equal(t, w.st.ID(), store.ID(w.tagged().StoreID))
	})
}

// E09, row 5: a namespace that this store had, and lost. What the log has of it is
// restored, what it has not is lost.
func TestFault_E09_Row5Lost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceSlowly(ids("a", 10)...)
		w.runs()
		before := w.status().Sequence
		require.NoError(t, w.st.DeleteNamespace(namespaceName(group, topic, 0)))
		w.kafka.DeleteRecords(t, topic, 0, 2)
		w.produceSlowly("a3", "a1")
		s := w.runs()
		require.Equal(t, []uint64{1, 1}, []uint64{s.Duplicates, s.Unknown})
		require.Equal(t, store.Lost, w.status().Coverage.Reason)
		require.Greater(t, w.status().Sequence, before, "tags of before are of other batches")
	})
}

// E06, E09, row 10: a partition that went to another instance and comes back knows
// what this store had seen, and what the other one did.
func TestFault_E06_Row10AnotherWentOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		mine, other := w.dir, w.dir+"-another"
		w.produceSlowly(ids("a", 10)...)
		w.runs()
		w.use(other)
		w.produceSlowly(ids("b", 10)...)
		w.runs()
		far := w.tagged().Clock
		w.use(mine)
		w.calls.take()
		w.produceSlowly("a3", "b3", "c", "c")
		s := w.runs()
		require.Equal(t, []string{"c"}, w.calls.take())
		require.Equal(t, []uint64{3, 1, 0}, []uint64{s.Duplicates, s.New, s.Unknown})
		require.Equal(t, store.Coverage{}, w.status().Coverage)
		require.GreaterOrEqual(t, w.tagged().Clock, far)
		require.Equal(t, int64(24), w.committedAt(0))
	})
}

// E09, rows 5, 10 and 12: state that another instance has is refused as stale,
// and started empty only when that is told.
func TestFault_E09_StateElsewhere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		mine, other := w.dir, w.dir+"-another"
		w.produceSlowly(ids("a", 10)...)
		require.NoError(t, w.run())
		w.use(other)
		require.ErrorIs(t, w.run(), ErrStateElsewhere)
		w.opts.FreshState = true
		w.produceSlowly("b")
		require.NoError(t, w.run())
		require.Equal(t, int64(1), w.state(0, "n"))
		w.opts.FreshState = false
		w.use(mine)
		require.ErrorIs(t, w.run(), ErrStateElsewhere)
		require.Equal(t, int64(10), w.state(0, "n"))
		w.opts.FreshState = true
		w.produceSlowly("c")
		require.NoError(t, w.run())
		require.Equal(t, int64(1), w.state(0, "n"), "the old state is gone, not mixed")
	})
}

// E09, row 11: the coordinator lost its tail and holds an older commit of ours.
func TestFault_E09_Row11OlderCommit(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.MaxPollRecords = 5
		w.produceSlowly(ids("a", 5)...)
		require.NoError(t, w.run())
		g, ok := w.kafka.Committed(t, group, topic, 0)
		require.True(t, ok)
		w.produceSlowly(ids("b", 10)...)
		require.NoError(t, w.run())
		w.setBack(g.At, g.Metadata)
		w.produceSlowly("c")
		require.NoError(t, w.run())
		require.Equal(t, append(append(ids("a", 5), ids("b", 10)...), "c"), w.calls.order)
		require.Equal(t, int64(16), w.committedAt(0))
	})
}

// E09, row 12: this instance died with records that it had not committed, and
// another one handled them. What it did of them did not happen: its markers of
// them go, so that a copy after them is judged by what counts.
func TestFault_E09_Row12Replaced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		mine, other := w.dir, w.dir+"-another"
		w.opts.MaxPollRecords = 5
		w.produceSlowly(ids("a", 5)...)
		w.runs()
		w.runs()
		w.produceSlowly("b0", "b1", "b2", "b3")
		say := func(ctx context.Context, tx *Tx, rec *Record) error {
			return errors.Join(w.calls.seen(ctx, tx, rec), tx.Produce(&kgo.Record{Topic: outTopic, Value: rec.Value}))
		}
		require.True(t, w.crashOnce(say, "durable", 1))
		require.Equal(t, int64(9), w.position(0))
		require.Equal(t, 4, w.pending(0))

		w.use(other)
		c := w.consumer(w.calls.seen)
		c.opts.MaxPollRecords = 2
		c.step = crashAt("committed", 1) // it stands at 7
		require.ErrorIs(t, c.Run(t.Context()), errCrash)
		require.Equal(t, int64(7), w.committedAt(0))

		w.use(mine)
		refuse := w.refuseCommits()
		require.True(t, w.crashOnce(say, "polled", 1))
		refuse.Remove()
		w.calls.take()
		c = w.consumer(say)
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, []string{"b2", "b3"}, w.calls.take(), "the other one did not come to them")
		require.Equal(t, map[string]int{"v-b2": 1, "v-b3": 1}, w.outputs(outTopic), "nothing of what did not happen")
		require.Zero(t, w.pending(0))
		require.Equal(t, int64(9), w.committedAt(0))
		w.produceSlowly("b0", "a1", "b2")
		s := w.runs()
		require.Empty(t, w.calls.take(), "b0 is of the other one")
		require.Equal(t, []uint64{3, 0}, []uint64{s.Duplicates, s.Unknown})
	})
}

// E13, last row: the records between are jumped over when that is told.
func TestFault_E13_GapJump(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceSlowly(ids("a", 10)...)
		require.NoError(t, w.run())
		w.produceSlowly(ids("b", 10)...)
		w.kafka.DeleteRecords(t, topic, 0, 17)
		w.opts.OnGap = GapJump
		w.produceSlowly("b2", "a2")
		c := w.consumer(w.calls.handle)
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, append(ids("a", 10), "b7", "b8", "b9", "b2"), w.calls.order)
		s := c.Stats()
		require.Equal(t, []uint64{7, 1, 4}, []uint64{s.Skipped, s.Duplicates, s.Unknown})
		require.Equal(t, store.Cold, w.status().Coverage.Reason)
		require.Equal(t, int64(22), w.committedAt(0))
		require.NoError(t, w.run())
	})
}

// E13: the same while it is consumed: the next session jumps.
func TestFault_E13_GapJumpWhileRunning(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.MaxPollRecords = 2
		w.opts.OnGap = GapJump
		w.opts.Client = append(w.opts.Client, kgo.FetchMaxPartitionBytes(1), kgo.FetchMaxBytes(1))
		for _, id := range ids("a", 20) {
			w.produce(0, id)
		}
		c := w.consumer(func(ctx context.Context, tx *Tx, rec *Record) error {
			if rec.Offset == 1 {
				w.kafka.DeleteRecords(t, topic, 0, 15)
			}
			return w.calls.handle(ctx, tx, rec)
		})
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, uint64(20), c.Stats().Skipped+uint64(len(w.calls.order)))
		require.Equal(t, ids("a", 20)[15:], w.calls.order[len(w.calls.order)-5:])
		require.Equal(t, int64(20), w.committedAt(0))
	})
}

// Row 4: a group that is new begins at a time.
func TestFault_E09_Row4AtATime(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceSlowly(ids("a", 10)...)
		at := w.kafka.ReadAll(t, topic)[0][6].Timestamp
		w.opts.Start, w.opts.StartTime = StartTime, at
		w.runs()
		require.Equal(t, ids("a", 10)[6:], w.calls.take())
		require.Equal(t, store.Cold, w.status().Coverage.Reason)
		w.produceSlowly("b")
		w.opts.StartTime = at.Add(-time.Hour)
		w.runs()
		require.Equal(t, []string{"b"}, w.calls.take(), "the group has an offset")
	})
}

// Outputs of a topic that was deleted are sent, however far another store has
// come in the new one: its offsets are others.
func TestFault_E11_PendingOfTheOldTopic(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		mine, other := w.dir, w.dir+"-another"
		say := func(_ context.Context, tx *Tx, rec *Record) error {
			return tx.Produce(&kgo.Record{Topic: outTopic, Value: rec.Value})
		}
		w.produceSlowly("a", "b")
		require.True(t, w.crashOnce(say, "durable", 1))
		require.Equal(t, 2, w.pending(0))
		w.kafka.RecreateTopic(t, topic)
		w.produceSlowly(ids("c", 10)...)
		w.use(other)
		w.runs()
		w.use(mine)
		require.NoError(t, w.consumer(say).Run(t.Context()))
		require.Equal(t, map[string]int{"v-a": 1, "v-b": 1}, w.outputs(outTopic))
		require.Equal(t, int64(10), w.position(0))
	})
}
