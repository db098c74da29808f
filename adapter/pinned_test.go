package adapter

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/store"
)

// inPinnedWorld is inWorldOf with all partitions pinned.
func inPinnedWorld(t *testing.T, partitions int32, fn func(t *testing.T, w *world)) {
	inWorldOf(t, partitions, func(t *testing.T, w *world) {
		w.opts.Pinned = make(map[string][]int32)
		for p := range partitions {
			w.opts.Pinned[topic] = append(w.opts.Pinned[topic], p)
		}
		fn(t, w)
	})
}

// A pinned consumer reads its partitions and no others, commits for the group, and
// goes on where it stood: without a member.
func TestPinned_RunsWithoutAGroup(t *testing.T) {
	inWorldOf(t, 3, func(t *testing.T, w *world) {
		w.opts.Pinned, w.opts.Topics = map[string][]int32{topic: {0, 2}}, nil
		for p := range int32(3) {
			w.produce(p, "a", "b", "a")
		}
		require.NoError(t, w.run())
		w.reopen()
		w.produce(2, "b", "c")
		c := w.consumer(w.calls.handle)
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, uint64(1), c.Stats().Duplicates)
		require.Equal(t, map[string]int{"a": 2, "b": 2, "c": 1}, w.calls.count())
		require.Equal(t, []int64{3, -1, 5}, []int64{w.committedAt(0), w.committedAt(1), w.committedAt(2)})
		w.kafka.SetGroupOffset(t, group, topic, 1, 0) // refused while there are members
	})
}

// A crash at any step is made good as in a group.
func TestPinned_CrashBetweenAnyTwoSteps(t *testing.T) {
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			inPinnedWorld(t, 2, func(t *testing.T, w *world) {
				w.opts.MaxPollRecords = 5
				for p := range int32(2) {
					w.produce(p, append(ids("a", 8), ids("a", 4)...)...)
				}
				require.True(t, w.crashOnce(w.calls.handle, step, 2))
				require.NoError(t, w.run())
				for p := range int32(2) {
					require.Equal(t, int64(8), w.state(p, "n"))
					require.Equal(t, int64(12), w.committedAt(p))
				}
			})
		})
	}
}

// E08: two instances have the same partition. Nobody fences one of them, but the
// offset of the other has its tag: the one that commits next stops, and what was
// handled twice is what came since its last commit.
func TestFault_E08_TwoInstances(t *testing.T) {
	inPinnedWorld(t, 1, func(t *testing.T, w *world) {
		w.opts.MaxPollRecords = 10
		handle := func(ctx context.Context, tx *Tx, rec *Record) error {
			w.calls.mu.Lock()
			defer w.calls.mu.Unlock()
			w.calls.order = append(w.calls.order, string(rec.ID))
			return nil
		}
		first := w.consumer(handle)
		first.opts.UntilEnd = false
		ended := make(chan error, 1)
		go func() { ended <- first.Run(t.Context()) }()
		w.produce(0, ids("a", 20)...)
		w.until(func() bool { return w.committedAt(0) == 20 })

		other := &world{T: t, kafka: w.kafka, opts: w.opts, calls: w.calls}
		other.openAt(t.TempDir())
		defer func() { require.NoError(t, other.st.Close()) }()
		_, stop := other.start(handle)
		var mine store.ID
		w.until(func() bool {
			mine = w.tagged().StoreID
			return mine == other.st.ID()
		})
		w.produce(0, ids("b", 10)...)
		err := <-ended
		require.ErrorIs(t, err, ErrPinnedTwice)
		require.ErrorContains(t, err, mine.String())
		w.produce(0, ids("c", 10)...)
		w.until(func() bool { return w.committedAt(0) == 40 })
		require.NoError(t, stop())
		doubled := 0
		for id, n := range w.calls.count() {
			require.LessOrEqual(t, n, 2, id)
			doubled += n - 1
		}
		require.Len(t, w.calls.count(), 40)
		require.LessOrEqual(t, doubled, w.opts.MaxPollRecords)
	})
}

// E08: the same with transactions.
func TestFault_E08_TwoInstancesInTransactions(t *testing.T) {
	inPinnedWorld(t, 1, func(t *testing.T, w *world) {
		w.transactional(1)
		w.opts.MaxPollRecords, w.opts.FreshState = 10, true
		produce := func(_ context.Context, tx *Tx, _ *Record) error {
			return tx.forward(outTopic)
		}
		c := w.consumer(produce)
		c.opts.UntilEnd = false
		ended := make(chan error, 1)
		go func() { ended <- c.Run(t.Context()) }()
		w.produce(0, ids("a", 20)...)
		w.until(func() bool { return w.committedAt(0) == 20 })
		time.Sleep(time.Minute) // of the bubble: a commit of its own that is under way would put the other out
		other := &world{T: t, kafka: w.kafka, opts: w.opts, calls: w.calls}
		other.openAt(t.TempDir())
		defer func() { require.NoError(t, other.st.Close()) }()
		_, stop := other.start(produce)
		w.until(func() bool { return w.tagged().StoreID == other.st.ID() })
		w.produce(0, ids("b", 10)...)
		require.ErrorIs(t, <-ended, ErrPinnedTwice)
		w.until(func() bool { return w.committedAt(0) == 30 })
		require.NoError(t, stop())
		w.onceEach(outTopic, append(ids("a", 20), ids("b", 10)...))
	})
}

// An operator's reset is seen at the next commit, and is then the policy's.
func TestPinned_OperatorResets(t *testing.T) {
	for name, policy := range map[string]OnForeignOffset{"fail": ForeignFail, "honour": ForeignHonour} {
		t.Run(name, func(t *testing.T) {
			inPinnedWorld(t, 1, func(t *testing.T, w *world) {
				w.opts.OnForeignOffset = policy
				c := w.consumer(w.calls.handle)
				c.opts.UntilEnd = false
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error, 1)
				go func() { ended <- c.Run(ctx) }()
				w.produce(0, ids("a", 10)...)
				w.until(func() bool { return w.committedAt(0) == 10 })
				w.kafka.SetGroupOffset(t, group, topic, 0, 4)
				w.produce(0, "b")
				if policy == ForeignFail {
					require.ErrorIs(t, <-ended, ErrForeignOffset)
					return
				}
				w.until(func() bool { return w.committedAt(0) == 11 })
				cancel()
				require.NoError(t, <-ended)
				require.GreaterOrEqual(t, c.Stats().Duplicates, uint64(6))
				require.Equal(t, int64(11), w.state(0, "n"))
			})
		})
	}
}

// A group that has members is not for pinned consumers.
func TestPinned_GroupHasMembers(t *testing.T) {
	inPinnedWorld(t, 1, func(t *testing.T, w *world) {
		leave := w.foreign()
		defer leave()
		time.Sleep(10 * time.Second)
		w.produce(0, "a")
		require.ErrorIs(t, w.run(), ErrPinnedTwice)
	})
}

func TestPinned_WrongOptions(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for what, change := range map[string]func(o *Options){
			"Topics does not":      func(o *Options) { o.Pinned = map[string][]int32{topic: {0}, "x": {0}} },
			"Pinned no partition":  func(o *Options) { o.Pinned, o.Topics = map[string][]int32{"x": {0}}, []string{"x", topic} },
			"names no partition":   func(o *Options) { o.Pinned = map[string][]int32{topic: {}} },
			"from 0 on":            func(o *Options) { o.Pinned = map[string][]int32{topic: {-1}} },
			"name it once":         func(o *Options) { o.Pinned = map[string][]int32{topic: {1, 1}} },
			"neither Balancer nor": func(o *Options) { o.Pinned, o.Dynamic = map[string][]int32{topic: {0}}, true },
			"Balancer is":          func(o *Options) { o.Balancer = 77 },
		} {
			o := w.opts
			change(&o)
			_, err := New(w.st, shout, &o)
			require.ErrorContains(t, err, what)
		}
		w.opts.Pinned = map[string][]int32{topic: {0, 7}}
		err := w.run()
		require.ErrorIs(t, err, ErrUnknownTopic)
		require.ErrorContains(t, err, "no partition 7")
	})
}

// Partitions of many topics, pinned and in a group.
func TestRun_ManyTopics(t *testing.T) {
	for name, pinned := range map[string]bool{"group": false, "pinned": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.opts.Topics = ids("topic", 20)
				if pinned {
					w.opts.Pinned = make(map[string][]int32)
				}
				for _, name := range w.opts.Topics {
					w.kafka.CreateTopic(t, name, 3, nil)
					for p := range int32(3) {
						rec := record(p, "a")
						rec.Topic = name
						again := record(p, "a")
						again.Topic = name
						w.kafka.Produce(t, rec, again)
					}
					if pinned {
						w.opts.Pinned[name] = []int32{0, 1, 2}
					}
				}
				var mu sync.Mutex
				handled := make(map[topicPartition]int)
				c := w.consumer(func(_ context.Context, _ *Tx, rec *Record) error {
					mu.Lock()
					defer mu.Unlock()
					handled[topicPartition{rec.Topic, rec.Partition}]++
					return nil
				})
				require.NoError(t, c.Run(t.Context()))
				require.Len(t, handled, 60)
				for of, n := range handled {
					require.Equal(t, 1, n, of)
				}
			})
		})
	}
}
