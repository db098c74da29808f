package adapter

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// Under Observe every record is handled, and told apart; what is decided and
// counted is the same as without.
func TestObserve_DecidesAlike(t *testing.T) {
	var want Stats
	for _, observe := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			w.opts.Observe = observe
			begun := time.Now()
			for i, id := range []string{"a", "b", "a", "c", "b", "a"} {
				r := record(0, id)
				r.Timestamp = begun.Add(time.Duration(i) * 7 * time.Minute)
				w.kafka.Produce(t, r)
			}
			var verdicts []string
			c := w.consumer(func(ctx context.Context, tx *Tx, rec *Record) error {
				verdicts = append(verdicts, rec.Decision.Verdict.String())
				return w.calls.handle(ctx, tx, rec)
			})
			require.NoError(t, c.Run(t.Context()))
			if !observe {
				want = c.Stats()
				require.Equal(t, []string{"a", "b", "c"}, w.calls.order)
				return
			}
			require.Equal(t, want, c.Stats())
			require.Equal(t, []string{"a", "b", "a", "c", "b", "a"}, w.calls.order)
			require.Equal(t, []string{"new", "new", "duplicate", "new", "duplicate", "duplicate"}, verdicts)
			require.Equal(t, int64(6), w.state(0, "n"))
			require.Equal(t, int64(6), w.committedAt(0))

			w.opts.Observe = false // nothing stands in the way of going on in earnest
			w.produce(0, "c", "d")
			require.NoError(t, w.run())
			require.Equal(t, "d", w.calls.order[len(w.calls.order)-1])
		})
	}
}

// A duplicate that fails under Observe is a failure like any other.
func TestObserve_Failure(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Observe, w.opts.MaxAttempts = true, 1
		w.produce(0, "a", "a", "b")
		err := w.consumer(func(ctx context.Context, tx *Tx, rec *Record) error {
			if rec.Decision.Verdict == store.Duplicate {
				return errPoison
			}
			return w.calls.handle(ctx, tx, rec)
		}).Run(t.Context())
		var failed *RecordError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, int64(1), failed.Offset)
		require.Equal(t, int64(1), w.committedAt(0))
	})
}

// What is dropped goes to the topic of duplicates as it is, with when and where
// the accepted copy was seen, over a crash at any step.
func TestDuplicates_Topic(t *testing.T) {
	for _, step := range append(steps, "") {
		t.Run(step, func(t *testing.T) {
			inWorldOf(t, 2, func(t *testing.T, w *world) {
				w.kafka.CreateTopic(t, deadTopic, 2, nil)
				w.opts.DuplicatesTopic = deadTopic
				first, again := record(1, "a"), record(1, "a")
				again.Value = []byte("again")
				again.Headers = append(again.Headers, kgo.RecordHeader{Key: HeaderOutputID, Value: []byte("its own")})
				w.kafka.Produce(t, first, record(1, "b"), again)
				if step != "" {
					require.True(t, w.crashOnce(w.calls.handle, step, 1))
				}
				c := w.consumer(w.calls.handle)
				require.NoError(t, c.Run(t.Context()))
				got := w.kafka.ReadAll(t, deadTopic)
				require.Empty(t, got[0])
				require.Len(t, w.outputs(deadTopic), 1)
				r := got[1][0]
				require.Equal(t, again.Value, r.Value)
				require.Equal(t, again.Key, r.Key)
				require.Equal(t, again.Headers[:1], r.Headers[:1])
				require.Equal(t, "its own", header(r, HeaderOriginal+"output-id"))
				require.Equal(t, topic, header(r, HeaderTopic))
				require.Equal(t, Token(group, topic, []byte("a")), header(r, HeaderToken))
				require.Equal(t, strconv.FormatInt(first.Timestamp.UnixMilli(), 10), header(r, HeaderFirstSeen))
				require.Regexp(t, `/1@0$`, header(r, HeaderFirstOrigin))
				require.Regexp(t, `/1@2$`, header(r, HeaderOrigin))
				require.Equal(t, int64(2), w.state(1, "n"))
				require.Equal(t, int64(3), w.committedAt(1))
			})
		})
	}
}

// Under Observe a duplicate is handled, and its copy is kept, too.
func TestDuplicates_TopicUnderObserve(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, deadTopic, 1, nil)
		w.opts.DuplicatesTopic, w.opts.Observe = deadTopic, true
		w.produce(0, "a", "a")
		require.NoError(t, w.run())
		require.Equal(t, []string{"a", "a"}, w.calls.order)
		require.Equal(t, []string{"v-a"}, w.values(deadTopic))
	})
}

// While the topic of duplicates is away, the partition goes on; the group's
// offset waits.
func TestDuplicates_TopicAway(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, deadTopic, 1, nil)
		w.opts.DuplicatesTopic = deadTopic
		away := refuse(w.kafka, deadTopic, kerr.NotLeaderForPartition)
		w.produce(0, "a", "a", "b")
		c, stop := w.start(w.calls.handle)
		w.until(func() bool { return c.Stats().New == 2 })
		w.produce(0, "c")
		w.until(func() bool { return c.Stats().New == 3 })
		require.LessOrEqual(t, w.committedAt(0), int64(1))
		away.Remove()
		w.until(func() bool { return w.committedAt(0) == 4 })
		require.NoError(t, stop())
		require.Equal(t, []string{"v-a"}, w.values(deadTopic))
	})
}

func TestDuplicates_Options(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.DuplicatesTopic = topic
		_, err := New(w.st, shout, &w.opts)
		require.ErrorIs(t, err, ErrLoop)
		w.opts.DuplicatesTopic = "nowhere"
		require.ErrorIs(t, w.run(), ErrUnknownTopic)
	})
}
