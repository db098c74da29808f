package adapter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// readsSmall makes the reads of a restore small, so that there are many.
func readsSmall(c *Consumer) *Consumer {
	c.firstRead = 1
	return c
}

// oracle decides the whole log of partition 0 in one store that never left, and
// returns the IDs that are to be handled, in order.
func (w *world) oracle() (handled []string) {
	w.Helper()
	st, err := store.Open("", &store.Options{InMemory: true})
	require.NoError(w, err)
	defer func() { require.NoError(w, st.Close()) }()
	ns, err := st.Namespace("oracle", &store.NamespaceOptions{Window: w.opts.Window})
	require.NoError(w, err)
	for _, rec := range w.kafka.ReadAll(w, topic)[0] {
		id, _ := w.opts.ID.ID(rec)
		d, err := ns.Do(store.Record{ID: id, At: rec.Timestamp,
			Origin: store.Position{TopicID: store.ID{1}, Offset: rec.Offset}}, nil)
		require.NoError(w, err)
		if d.Verdict != store.Duplicate {
			handled = append(handled, string(id))
		}
	}
	return handled
}

// E06, E07: stores take turns in a group, some of them with history and some
// without, and die in the middle of restores. What is handled is what one store
// would have handled that never left, to the record, with copies at any distance
// up to several windows.
func TestFault_E06_RestoredDecidesAsOneThatNeverLeft(t *testing.T) {
	cut := 0
	for range 6 {
		seed := rand.Uint64()
		inWorld(t, func(t *testing.T, w *world) {
			told := fmt.Sprintf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 0))
			w.opts.Window = window.Of(2 * time.Minute)
			home, sent, copied := w.dir, 0, map[int]bool{}
			produce := func(n int) {
				for range n {
					id := sent
					if sent++; rng.IntN(3) == 0 && id > 0 {
						if of := rng.IntN(id); !copied[of] {
							id, copied[of] = of, true
							copied[sent-1] = true
						}
					}
					w.produceSlowly(fmt.Sprint("id", id))
				}
			}
			for turn := range 12 {
				produce(10 + rng.IntN(40))
				if rng.IntN(2) == 0 {
					c := readsSmall(w.consumer(w.calls.seen))
					c.step = crashAt("restored", 1+rng.IntN(4))
					if err := c.Run(t.Context()); err != nil {
						require.ErrorIs(t, err, errCrash)
						cut++
					}
					w.reopen()
				}
				require.NoError(t, readsSmall(w.consumer(w.calls.seen)).Run(t.Context()), told)
				if turn%4 == 3 {
					w.use(fmt.Sprint(home, "-new", turn))
				} else {
					w.use(fmt.Sprint(home, []string{"", "-b", "-c"}[rng.IntN(3)]))
				}
			}
			require.NoError(t, w.consumer(w.calls.seen).Run(t.Context()), told)
			require.Equal(t, w.oracle(), w.calls.take(), told)
			_, err := w.st.Verify(t.Context(), nil)
			require.NoError(t, err)
		})
	}
	require.Positive(t, cut)
}

// A restore that is cut short goes on where it was, under another G as well; and
// until it is done nothing is handled and nothing is committed.
func TestRestore_GoesOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceSlowly(ids("a", 60)...)
		w.runs()
		w.use(w.dir + "-another")
		w.calls.take()
		before := w.committedAt(0)
		var last int64
		for range 3 {
			c := readsSmall(w.consumer(w.calls.seen))
			c.opts.OnRestore = func(p RestoreProgress) {
				if p.Records == 0 {
					require.Equal(t, last, p.From)
				}
				require.False(t, p.Done)
			}
			c.step = crashAt("restored", 2)
			require.ErrorIs(t, c.Run(t.Context()), errCrash)
			require.Greater(t, w.position(0), last)
			last = w.position(0)
			require.Equal(t, int64(60), w.status().Restore.To)
			w.reopen()
		}
		require.Empty(t, w.calls.take())
		require.Equal(t, before, w.committedAt(0))
		w.produceSlowly("a1", "b")
		var told []RestoreProgress
		c := w.consumer(w.calls.seen)
		c.opts.OnRestore = func(p RestoreProgress) { told = append(told, p) }
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, []string{"b"}, w.calls.take())
		end := told[len(told)-1]
		require.True(t, end.Done)
		require.Equal(t, []int64{last, 60, 60}, []int64{end.From, end.Next, end.To})
		require.Equal(t, uint64(60-last), end.Records)
		require.Positive(t, end.Bytes)
		require.Equal(t, store.Coverage{}, w.status().Coverage)
		require.Nil(t, w.status().Restore)
		require.Zero(t, c.Stats().Restoring)
		require.Equal(t, uint64(60-last), c.Stats().Restored)
		require.Equal(t, end.Bytes, c.Stats().RestoredBytes)
	})
}

// While a partition is restored the others flow, and the end of Run does not wait
// for it.
func TestRestore_OthersFlow(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.produceSlowly(ids("a", 60)...)
		w.runs()
		w.use(w.dir + "-another")
		w.calls.take()
		hold := make(chan struct{})
		w.opts.OnRestore = func(p RestoreProgress) {
			if p.Partition == 0 && !p.Done {
				<-hold
			}
		}
		w.produce(0, "c")
		w.produce(1, ids("b", 20)...)
		c, stop := w.start(w.calls.seen)
		w.until(func() bool { return w.committedAt(1) == 20 })
		require.ElementsMatch(t, ids("b", 20), w.calls.take())
		require.Equal(t, int64(60), w.committedAt(0))
		at := c.Paused()
		require.Len(t, at, 1)
		require.ErrorIs(t, at[0].Err, ErrRestoring)
		require.False(t, c.Resume(topic, 0))
		require.Equal(t, []int{1, 1}, []int{c.Stats().Restoring, c.Stats().Partitions})
		require.Len(t, c.Restores(), 1)
		close(hold)
		w.until(func() bool { return w.committedAt(0) == 61 })
		require.Equal(t, []string{"c"}, w.calls.take())
		require.Empty(t, c.Paused())
		require.Empty(t, c.Restores())
		require.Equal(t, []int{0, 2}, []int{c.Stats().Restoring, c.Stats().Partitions})
		require.NoError(t, stop())
	})
}

// Run ends in the middle of a restore, and the group's offset stays what it is.
func TestRestore_EndsWithRun(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceSlowly(ids("a", 60)...)
		w.runs()
		g, _ := w.kafka.Committed(t, group, topic, 0)
		w.use(w.dir + "-another")
		c := readsSmall(w.consumer(w.calls.seen))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c.step = func(step string) error {
			if step == "restored" {
				cancel()
			}
			return nil
		}
		require.NoError(t, c.Run(ctx))
		require.Less(t, w.position(0), int64(60))
		now, _ := w.kafka.Committed(t, group, topic, 0)
		require.Equal(t, g, now)
	})
}

// E07: a cold instance and a log that is shorter than the window: what the log has
// is known, and coverage says from when on.
func TestFault_E07_LogShorterThanTheWindow(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceSlowly(ids("z", 8)...)
		w.produceEvery(3*time.Minute, ids("a", 40)...)
		w.runs()
		w.kafka.DeleteRecords(t, topic, 0, 8+21)
		first := w.kafka.ReadAll(t, topic)[0][0].Timestamp
		w.use(w.dir + "-another")
		w.calls.take()
		w.produceSlowly("a30", "a3", "b", "a39")
		s := w.runs()
		require.Equal(t, []string{"a3", "b"}, w.calls.take(), "what is not known is not lost")
		require.Equal(t, []uint64{2, 2, 0}, []uint64{s.Duplicates, s.Unknown, s.New})
		require.Equal(t, store.Coverage{Since: first.UTC(), Reason: store.Cold}, w.status().Coverage)

		w.produceEvery(3*time.Minute, ids("c", 3)...)
		s = w.runs()
		require.Equal(t, []uint64{1, 2}, []uint64{s.Unknown, s.New}, "one window after that it vouches for all")
	})
}

// E07: a row of jumps stands where the group is. Its markers are restored as its
// markers, and nothing is vouched for before the row is followed.
func TestFault_E07_ARowStands(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceEvery(3*time.Minute, ids("a", 40)...) // the first 8 are not followed by the others
		w.runs()
		clock := w.tagged().Clock
		w.kafka.DeleteRecords(t, topic, 0, 21)
		w.use(w.dir + "-another")
		w.calls.take()
		w.produceSlowly("a30", "a3", "b", "a39")
		s := w.runs()
		require.Equal(t, []string{"a3", "b"}, w.calls.take())
		require.Equal(t, []uint64{2, 2, 0}, []uint64{s.Duplicates, s.Unknown, s.New})
		require.Equal(t, clock, w.tagged().Clock)
		require.True(t, w.status().Coverage.Open)
	})
}

// produceEvery writes records a pause apart.
func (w *world) produceEvery(pause time.Duration, ids ...string) {
	w.Helper()
	for _, id := range ids {
		time.Sleep(pause)
		w.produce(0, id)
	}
}

// E07: a log so short that its times are a row of jumps by the clock at the edge of
// the window: what it has is known, and nothing before the group's offset is vouched
// for.
func TestFault_E07_LogTooShortForAClock(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceSlowly(ids("a", 40)...)
		w.runs()
		clock := w.tagged().Clock
		w.kafka.DeleteRecords(t, topic, 0, 15)
		w.use(w.dir + "-another")
		w.calls.take()
		w.produceSlowly("a20", "a3", "b", "a39")
		s := w.runs()
		require.Equal(t, []string{"a3", "b"}, w.calls.take())
		require.Equal(t, []uint64{2, 2}, []uint64{s.Duplicates, s.Unknown})
		require.Equal(t, store.Coverage{Since: time.UnixMilli(clock).UTC(), Reason: store.Cold}, w.status().Coverage)
	})
}

// E07: retention deletes records in the middle of a restore. They are a hole, and
// stop nothing.
func TestFault_E07_RetentionPassesARestore(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceSlowly(ids("a", 60)...)
		w.runs()
		w.use(w.dir + "-another")
		c := readsSmall(w.consumer(w.calls.seen))
		c.step = crashAt("restored", 2)
		require.ErrorIs(t, c.Run(t.Context()), errCrash)
		at := w.position(0)
		w.reopen()
		w.calls.take()
		c = readsSmall(w.consumer(w.calls.seen))
		once := false
		c.step = func(step string) error {
			if step == "restored" && !once {
				once = true
				w.kafka.DeleteRecords(t, topic, 0, 50)
			}
			return nil
		}
		w.produceSlowly("a0", "a55", fmt.Sprint("a", 45))
		require.NoError(t, c.Run(t.Context()))
		s := c.Stats()
		require.Equal(t, []string{"a45"}, w.calls.take())
		require.Equal(t, []uint64{2, 1}, []uint64{s.Duplicates, s.Unknown})
		require.Equal(t, store.Cold, w.status().Coverage.Reason)
		require.Less(t, at, int64(45))
	})
}

// E15: Kafka compacts the log by a key that is not the ID. What is left is restored,
// and coverage stays open up to the clock of the group's offset.
func TestFault_E15_CompactedSource(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.compacts()
		w.produceSlowly(ids("a", 10)...)
		w.runs()
		clock := w.tagged().Clock
		w.kafka.Fake.Compact()
		w.use(w.dir + "-another")
		w.calls.take()
		w.produceSlowly("a9", "a3", "b")
		s := w.runs()
		require.Equal(t, []string{"a3", "b"}, w.calls.take())
		require.Equal(t, []uint64{1, 2}, []uint64{s.Duplicates, s.Unknown})
		c := w.status().Coverage
		require.Equal(t, store.Cold, c.Reason)
		require.GreaterOrEqual(t, c.Since.UnixMilli(), clock)
	})
}

// compacts has Kafka compact the topic from now on.
func (w *world) compacts() {
	w.Helper()
	var configs []kadm.AlterConfig
	for name, value := range map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0",
		"segment.ms": "1", "segment.bytes": "200", "min.compaction.lag.ms": "0"} {
		configs = append(configs, kadm.AlterConfig{Name: name, Value: &value})
	}
	_, err := kadm.NewClient(w.kafka.Client(w)).AlterTopicConfigs(w.Context(), configs, topic)
	require.NoError(w, err)
}

// E16: records of transactions that were aborted get no markers, and their ends are
// no gaps.
func TestFault_E16_AbortedRecordsAreNotRestored(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produceSlowly("a")
		w.transaction(kgo.TryAbort, "x", "y")
		w.transaction(kgo.TryCommit, "b")
		w.transaction(kgo.TryAbort, "z")
		w.runs()
		require.Equal(t, []string{"a", "b"}, w.calls.take())
		at := w.committedAt(0)
		w.use(w.dir + "-another")
		w.produceSlowly("x", "b", "z")
		s := w.runs()
		require.Equal(t, []string{"x", "z"}, w.calls.take())
		require.Equal(t, []uint64{1, 2}, []uint64{s.Duplicates, s.New})
		require.Greater(t, w.committedAt(0), at)
	})
}

// What a policy skipped gets no markers, also where a restore is cut short and the
// group's offset is gone.
func TestRestore_SkippedHasNoMarkers(t *testing.T) {
	for _, lost := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			w.opts.OnForeignOffset = ForeignHonour
			w.produceSlowly(ids("a", 10)...)
			w.runs()
			w.produceSlowly(ids("s", 10)...)
			emptied()
			w.kafka.SetGroupOffset(t, group, topic, 0, 20)
			w.produceSlowly(ids("b", 30)...)
			w.runs()
			w.use(w.dir + "-another")
			w.calls.take()
			if lost {
				c := readsSmall(w.consumer(w.calls.seen))
				c.step = crashAt("restored", 2)
				require.ErrorIs(t, c.Run(t.Context()), errCrash)
				require.Less(t, w.position(0), int64(10))
				w.reopen()
				emptied()
				w.deleteOffsets()
				require.ErrorIs(t, w.consumer(w.calls.seen).Run(t.Context()), ErrOffsetsLost)
				w.opts.OnMissingOffset = MissingOffsetResume
			}
			w.produceSlowly("s3", "a3", "b7")
			s := w.runs()
			require.Equal(t, []string{"s3"}, w.calls.take())
			require.Equal(t, uint64(2), s.Duplicates)
			require.False(t, w.status().Coverage.Open)
			require.NotZero(t, w.status().Coverage.Since)
		})
	}
}

// A record of a later leader epoch than the group's offset: the log has changed
// since, and the plan is made anew.
func TestRestore_LaterEpoch(t *testing.T) {
	p := &partition{s: &session{c: &Consumer{opts: Options{ID: Header("id")}}}, topic: topic}
	rec := record(0, "a")
	rec.LeaderEpoch = 4
	err := p.enterRecord(nil, &item{rec: rec, id: []byte("a")}, resumePlan{Epoch: 3})
	var again *again
	require.True(t, errors.As(err, &again))
	require.ErrorContains(t, err, "leader epoch 4")
}

// Two stores in one group at once: what goes from one to the other is restored
// there, and nothing is handled twice.
func TestRestore_Rebalance(t *testing.T) {
	inWorldOf(t, 4, func(t *testing.T, w *world) {
		one := w.st
		two, err := store.Open(filepath.Join(w.dir, "two"), nil)
		require.NoError(t, err)
		defer func() { require.NoError(t, two.Close()) }()
		for p := range int32(4) {
			w.produce(p, ids(fmt.Sprint("a", p, "-"), 50)...)
		}
		_, stopOne := w.start(w.calls.seen)
		all := func(at int64) func() bool {
			return func() bool {
				for p := range int32(4) {
					if w.committedAt(p) != at {
						return false
					}
				}
				return true
			}
		}
		w.until(all(50))
		w.st = two
		c, stopTwo := w.start(w.calls.seen)
		w.until(func() bool { return c.Stats().Partitions == 2 })
		require.Equal(t, uint64(100), c.Stats().Restored)
		for p := range int32(4) {
			w.produce(p, append(ids(fmt.Sprint("a", p, "-"), 50), fmt.Sprint("b", p))...)
		}
		w.until(all(101))
		require.NoError(t, stopOne())
		require.NoError(t, stopTwo())
		w.st = one
		for id, n := range w.calls.count() {
			require.Equal(t, 1, n, id)
		}
		require.Len(t, w.calls.count(), 204)
	})
}
