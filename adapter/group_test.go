package adapter

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// foreign joins the group as another member that commits nothing, and leaves
// when stop is called.
func (w *world) foreign(opts ...kgo.Opt) (stop func()) {
	w.Helper()
	own := append(w.kafka.DialOptions(), kgo.SeedBrokers(w.kafka.Brokers()...),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.Balancers(kgo.RangeBalancer()), kgo.DisableAutoCommit())
	cl, err := kgo.NewClient(append(own, opts...)...)
	require.NoError(w, err)
	ctx, cancel := context.WithCancel(w.Context())
	var polls sync.WaitGroup
	polls.Go(func() {
		for ctx.Err() == nil {
			cl.PollFetches(ctx)
		}
	})
	leave := sync.OnceFunc(func() { cancel(); polls.Wait(); cl.Close() })
	w.Cleanup(leave)
	return leave
}

// E03: a rebalance while a batch is worked on waits for the record in hand: what is
// done of the batch is committed as a whole, in the store and in Kafka, before a
// partition goes. When it comes back, it goes on where it stood.
func TestFault_E03_RebalanceMidBatch(t *testing.T) {
	inWorldOf(t, 4, func(t *testing.T, w *world) {
		for p := range int32(4) {
			w.produce(p, ids("a", 10)...)
		}
		var join sync.Once
		var leave func()
		c, stop := w.start(func(ctx context.Context, tx *Tx, rec *Record) error {
			if rec.Offset == 5 {
				join.Do(func() { leave = w.foreign() })
				time.Sleep(20 * time.Second)
			}
			return w.calls.handle(ctx, tx, rec)
		})
		w.until(func() bool { return c.Stats().Partitions == 2 })
		furthest := int64(0)
		for p := range int32(4) {
			require.Equal(t, w.position(p), w.committedAt(p))
			furthest = max(furthest, w.position(p))
		}
		require.GreaterOrEqual(t, furthest, int64(6), "the record in hand")
		for p := range int32(4) {
			w.produce(p, "b", "a0")
		}
		time.Sleep(time.Minute)
		leave()
		w.until(func() bool { return c.Stats().Partitions == 4 && c.Stats().Lag == 0 })
		require.NoError(t, stop())
		for p := range int32(4) {
			require.Equal(t, int64(11), w.state(p, "n"))
			require.Equal(t, int64(12), w.committedAt(p))
		}
		require.Zero(t, c.Stats().Sessions, "a rebalance is no fault")
		for _, n := range w.calls.count() {
			require.Equal(t, 4, n, "once per partition")
		}
	})
}

// E02: a member that was fenced while its handler took its time makes nothing
// durable any more, for the group does not vouch for it; commits nothing to Kafka,
// also not while its client is closed; and plans anew from the store.
func TestFault_E02_FencedMember(t *testing.T) {
	for _, how := range []string{"kicked", "replaced"} {
		t.Run(how, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.opts.MaxPollRecords = 5
				w.produce(0, ids("a", 10)...)
				var (
					mu        sync.Mutex
					c         *Consumer
					fenced    bool
					attempts  int // in the session that was fenced, after that
					committed []int64
				)
				w.kafka.Fake.Fault(kfake.Fault{
					Keys: []kmsg.Key{kmsg.OffsetCommit}, Group: group, Count: -1, Observe: true,
					When: func(r kmsg.Request) bool {
						mu.Lock()
						defer mu.Unlock()
						req := r.(*kmsg.OffsetCommitRequest)
						if fenced && c.Stats().Sessions == 0 {
							attempts++
						}
						committed = append(committed, req.Topics[0].Partitions[0].Offset)
						return true
					},
				})
				leave := func() {}
				handler := func(ctx context.Context, tx *Tx, rec *Record) error {
					mu.Lock()
					first := rec.Offset == 7 && !fenced
					fenced = fenced || first
					mu.Unlock()
					if first {
						if how == "kicked" {
							w.kick()
							leave = w.foreign()
						} else {
							leave = w.foreign(kgo.InstanceID(w.st.ID().String()))
						}
						time.Sleep(time.Minute)
					}
					return w.calls.handle(ctx, tx, rec)
				}
				var stop func() error
				c, stop = w.start(handler)
				w.until(func() bool { return c.Stats().Sessions > 0 })
				leave()
				w.until(func() bool { return w.committedAt(0) == 10 })
				w.produce(0, "b", "a9")
				w.until(func() bool { return w.committedAt(0) == 12 })
				require.NoError(t, stop())

				require.Equal(t, int64(11), w.state(0, "n"))
				require.Equal(t, append(append(ids("a", 8), ids("a", 10)[5:]...), "b"), w.calls.order,
					"what was not durable is handled again")
				require.LessOrEqual(t, attempts, 1, "the one that was refused")
				require.IsIncreasing(t, distinct(committed))
			})
		})
	}
}

// E02: a cooperative member is put out while a rebalance waits for it. The client
// joins again as another member and keeps what it had; nobody says that it was lost.
func TestFault_E02_PutOutInARebalance(t *testing.T) {
	inWorldOf(t, 4, func(t *testing.T, w *world) {
		w.opts.Balancer = BalancerCooperativeSticky
		c := w.consumer(w.calls.handle)
		c.opts.UntilEnd = false
		leave := w.foreign(like(w.opts.Balancer)...)
		var now atomic.Bool
		c.step = func(done string) error {
			if done == "committed" && now.CompareAndSwap(true, false) {
				leave()
				time.Sleep(4 * time.Second) // a heartbeat hears of the rebalance
				w.kick()
			}
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		w.until(func() bool { return c.Stats().Partitions == 2 })
		time.Sleep(10 * time.Second)
		now.Store(true)
		for p := range int32(4) {
			w.produce(p, ids("a", 10)...)
		}
		w.until(func() bool { return c.Stats().New == 40 && c.Stats().Partitions == 4 })
		cancel()
		require.NoError(t, <-ended)
		require.Equal(t, uint64(1), c.Stats().Sessions)
		for p := range int32(4) {
			require.Equal(t, int64(10), w.state(p, "n"))
			require.Equal(t, int64(10), w.committedAt(p))
		}
	})
}

// distinct drops neighbours that are equal.
func distinct(offsets []int64) (d []int64) {
	for _, o := range offsets {
		if len(d) == 0 || d[len(d)-1] != o {
			d = append(d, o)
		}
	}
	return d
}

// kick removes the consumer from the group, as an administrator does.
func (w *world) kick() {
	w.Helper()
	b := kadm.LeaveGroup(group).InstanceIDs(w.st.ID().String())
	resp, err := kadm.NewClient(w.kafka.Client(w)).LeaveGroup(w.Context(), b)
	require.NoError(w, err)
	if err := resp.Error(); !errors.Is(err, kerr.UnknownMemberID) { // gone by itself
		require.NoError(w, err)
	}
}

// A member that has no partition waits for one.
func TestRun_ZeroPartitions(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		leave := w.foreign(kgo.InstanceID("0")) // first in the range of one partition
		time.Sleep(10 * time.Second)
		w.produce(0, "a")
		c, stop := w.start(w.calls.handle)
		time.Sleep(time.Minute)
		require.Zero(t, c.Stats().Partitions)
		require.Empty(t, w.calls.order)
		leave()
		w.until(func() bool { return c.Stats().New == 1 })
		require.NoError(t, stop())
	})
}

// A restart of a static member finds its partition without a rebalance, and
// without waiting for the old session to time out.
func TestRun_RestartIsQuick(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a")
		require.NoError(t, w.run())
		w.produce(0, "b")
		begun := time.Now()
		require.NoError(t, w.run())
		require.Less(t, time.Since(begun), 10*time.Second)
		require.Equal(t, []string{"a", "b"}, w.calls.order)
	})
}

// Answers to a commit that end the session: no later one follows in it.
func TestCommit_FencingAnswers(t *testing.T) {
	for _, answer := range []*kerr.Error{
		kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.FencedInstanceID, kerr.UnknownTopicID,
	} {
		t.Run(answer.Message, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.produce(0, "a", "b")
				w.kafka.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: answer, Topic: topic})
				c := w.consumer(w.calls.handle)
				require.NoError(t, c.Run(t.Context()))
				require.Equal(t, uint64(1), c.Stats().Sessions)
				require.Equal(t, int64(2), w.committedAt(0))
				require.Equal(t, []string{"a", "b"}, w.calls.order)
			})
		})
	}
}

// The tag is on every commit, and says whose it is.
func TestCommit_Tag(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		topics, err := kadm.NewClient(w.kafka.Client(t)).ListTopics(t.Context(), topic)
		require.NoError(t, err)
		w.produce(0, "a", "b")
		require.NoError(t, w.consumer(shout).Run(t.Context()))
		g, ok := w.kafka.Committed(t, group, topic, 0)
		require.True(t, ok)
		tag, ours, err := decodeTag(g.Metadata)
		require.NoError(t, err)
		require.True(t, ours)
		require.Equal(t, [16]byte(w.st.ID()), tag.StoreID)
		require.Equal(t, [16]byte(w.st.OpenID()), tag.OpenID)
		require.Equal(t, [16]byte(topics[topic].ID), tag.TopicID)
		require.True(t, tag.HasState)
		require.Positive(t, tag.Sequence)
		require.InDelta(t, time.Now().UnixMilli(), tag.Clock, 60_000)
		require.GreaterOrEqual(t, g.LeaderEpoch, int32(0))
	})
}

// rewind sets the group's offset back beside the member, which a client does
// that uses its member ID and generation.
func (w *world) rewind(to int64) {
	w.Helper()
	cl := w.kafka.Client(w)
	groups, err := kadm.NewClient(cl).DescribeGroups(w.Context(), group)
	require.NoError(w, err)
	member := groups[group].Members[0]
	topics, err := kadm.NewClient(cl).ListTopics(w.Context(), topic)
	require.NoError(w, err)
	for generation := range int32(10) {
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Group, req.MemberID, req.InstanceID, req.Generation = group, member.MemberID, member.InstanceID, generation
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Offset = to
		req.Topics = []kmsg.OffsetCommitRequestTopic{{
			Topic: topic, TopicID: topics[topic].ID,
			Partitions: []kmsg.OffsetCommitRequestTopicPartition{p},
		}}
		resp, err := req.RequestWith(w.Context(), cl)
		require.NoError(w, err)
		if resp.Topics[0].Partitions[0].ErrorCode == 0 {
			break
		}
	}
	require.Equal(w, to, w.committedAt(0))
}

// A group offset that was set back beside the member is put right when a
// rebalance takes the partition, and at the end of Run, though nothing moved.
func TestCommit_RewoundBesideUs(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, ids("a", 5)...)
		_, stop := w.start(w.calls.handle)
		w.until(func() bool { return w.committedAt(0) == 5 })
		w.rewind(2)
		leave := w.foreign()
		time.Sleep(time.Minute)
		require.Equal(t, int64(5), w.committedAt(0))
		leave()
		time.Sleep(time.Minute)
		w.rewind(2)
		require.NoError(t, stop())
		require.Equal(t, int64(5), w.committedAt(0))
		require.NoError(t, w.run())
		require.Len(t, w.calls.order, 5)
	})
}
