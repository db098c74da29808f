package adapter

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// poisoned fails for every ID that begins with "bad", and else counts.
func (w *world) poisoned() Handler {
	return func(ctx context.Context, tx *Tx, rec *Record) error {
		if strings.HasPrefix(string(rec.ID), "bad") {
			_, _ = tx.Add([]byte("n"), 100)
			return errPoison
		}
		return w.calls.handle(ctx, tx, rec)
	}
}

// F01: a poison record is tried its times, then goes to the dead-letter topic
// with the batch that moves the position. It leaves no marker, no state; the
// records around it are handled.
func TestFault_F01_PoisonRecordIsDeadLettered(t *testing.T) {
	for _, attempts := range []int{0, 3} {
		inWorld(t, func(t *testing.T, w *world) {
			w.withDead(1)
			w.opts.OnFailure, w.opts.MaxAttempts = FailureDeadLetter, attempts
			w.produce(0, "a", "bad", "b", "bad", "a", "c")
			c := w.consumer(w.poisoned())
			begun := time.Now()
			require.NoError(t, c.Run(t.Context()))
			if attempts == 0 {
				attempts = 10
			}
			require.Less(t, time.Since(begun), 2*time.Minute)
			require.Equal(t, uint64(2*attempts), c.Stats().Failures)
			require.Equal(t, uint64(2), c.Stats().DeadLetters, "no marker: the copy is decided anew")
			require.Equal(t, []string{"a", "b", "c"}, w.calls.order)
			require.Equal(t, int64(3), w.state(0, "n"))
			require.Equal(t, int64(6), w.committedAt(0))
			require.Len(t, w.kafka.ReadAll(t, deadTopic)[0], 2)
		})
	}
}

// A dead letter is the record itself, with what is known of its failure.
func TestDeadLetter_Record(t *testing.T) {
	inWorldOf(t, 3, func(t *testing.T, w *world) {
		w.withDead(2)
		future := time.Now().Add(1000 * time.Hour).Truncate(time.Millisecond)
		in := []*kgo.Record{record(2, "bad"), record(1, "bad2")}
		in[0].Timestamp = time.Now().Add(-time.Hour).Truncate(time.Millisecond)
		in[0].Headers = append(in[0].Headers, kgo.RecordHeader{Key: "null"},
			kgo.RecordHeader{Key: HeaderOutputID, Value: []byte("its own")},
			kgo.RecordHeader{Key: HeaderOriginal + "x", Value: []byte("of another dead letter")})
		in[1].Key, in[1].Value, in[1].Timestamp = nil, nil, future
		w.kafka.Produce(t, in...)
		w.opts.OnFailure, w.opts.MaxAttempts = FailureDeadLetter, 2
		var mu sync.Mutex // two partitions
		tokens := make(map[string]string)
		var origin string
		require.NoError(t, w.consumer(func(_ context.Context, _ *Tx, rec *Record) error {
			mu.Lock()
			defer mu.Unlock()
			tokens[string(rec.ID)] = rec.Token()
			if string(rec.ID) == "bad" {
				origin = rec.origin.String()
				panic(errPoison)
			}
			return errPoison
		}).Run(t.Context()))

		got := w.kafka.ReadAll(t, deadTopic)
		require.Len(t, got[0], 1, "partition 2 of 3 goes to 0 of 2")
		require.Len(t, got[1], 1)
		r := got[0][0]
		require.Equal(t, in[0].Key, r.Key)
		require.Equal(t, in[0].Value, r.Value)
		require.Equal(t, in[0].Timestamp.UnixMilli(), r.Timestamp.UnixMilli())
		require.Equal(t, in[0].Headers[:2], r.Headers[:2])
		for key, want := range map[string]string{
			HeaderTopic: topic, HeaderAttempts: "2", HeaderToken: tokens["bad"], HeaderOrigin: origin,
			HeaderOriginal + "output-id": "its own", HeaderOriginal + "original-x": "of another dead letter",
		} {
			require.Equal(t, want, header(r, key), key)
		}
		require.True(t, strings.HasPrefix(header(r, HeaderError), "panic: account is closed"))
		require.LessOrEqual(t, len(header(r, HeaderError)), maxErrorText)
		require.NotContains(t, header(r, HeaderOutputID), "its own")

		r = got[1][0]
		require.Nil(t, r.Key)
		require.Nil(t, r.Value)
		require.Equal(t, in[1].Headers, r.Headers[:1])
		require.WithinDuration(t, time.Now(), r.Timestamp, time.Minute)
		require.NotEmpty(t, header(r, HeaderTime))
		require.Equal(t, errPoison.Error(), header(r, HeaderError))
	})
}

func TestErrorText(t *testing.T) {
	require.Equal(t, "a\uFFFDb", errorText(errors.New("a\xffb")))
	long := errorText(errors.New(strings.Repeat("日", 500)))
	require.Len(t, long, 999)
	require.True(t, utf8.ValidString(long))
}

// A failure that no attempt can mend is not tried again.
func TestDeadLetter_PermanentFailure(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		w.opts.OnFailure = FailureDeadLetter
		w.produce(0, "a", "b")
		called := 0
		require.NoError(t, w.consumer(func(context.Context, *Tx, *Record) error {
			called++
			return ErrSerialization
		}).Run(t.Context()))
		require.Equal(t, 2, called)
		require.Equal(t, "1", header(w.kafka.ReadAll(t, deadTopic)[0][1], HeaderAttempts))
	})
}

// D03: records without an ID go to the dead-letter topic, unhandled, and so does
// one whose extractor panics under FailureDeadLetter.
func TestFault_D03_MissingIDIsDeadLettered(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		w.opts.MissingID = MissingIDDeadLetter
		w.kafka.Produce(t, record(0, "a"), &kgo.Record{Topic: topic, Value: []byte("none")}, record(0, "b"))
		c := w.consumer(w.calls.handle)
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, []string{"a", "b"}, w.calls.order)
		dead := w.kafka.ReadAll(t, deadTopic)[0]
		require.Len(t, dead, 1)
		require.Equal(t, "none", string(dead[0].Value))
		require.Equal(t, "0", header(dead[0], HeaderAttempts))
		require.Contains(t, header(dead[0], HeaderError), `there is no header "id"`)
		require.Equal(t, uint64(3), c.Stats().Records)
	})
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		w.opts.ID, w.opts.OnFailure = panicking{}, FailureDeadLetter
		w.produce(0, "a")
		require.NoError(t, w.run())
		require.Contains(t, header(w.kafka.ReadAll(t, deadTopic)[0][0], HeaderError), "account is closed")
	})
}

// A record that the dead-letter topic would refuse stops the consumer: nothing
// is skipped.
func TestDeadLetter_TooLarge(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, deadTopic, 1, map[string]string{"max.message.bytes": "1000"})
		w.opts.DeadLetterTopic = deadTopic
		big := record(0, "bad")
		big.Value = make([]byte, 900)
		w.produce(0, "a")
		w.kafka.Produce(t, big)
		err := w.consumer(func(_ context.Context, _ *Tx, rec *Record) error {
			if string(rec.ID) == "bad" {
				return DeadLetter(errPoison)
			}
			return nil
		}).Run(t.Context())
		require.ErrorIs(t, err, ErrOutputTooLarge)
		require.ErrorIs(t, err, errPoison)
		require.Equal(t, int64(1), w.committedAt(0))
	})
}

func TestDeadLetter_Options(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		for _, change := range []func(*Options){
			func(o *Options) { o.OnFailure = FailureDeadLetter },
			func(o *Options) { o.MissingID = MissingIDDeadLetter },
		} {
			opts := w.opts
			change(&opts)
			_, err := New(w.st, shout, &opts)
			require.ErrorContains(t, err, "DeadLetterTopic is empty")
		}
		w.opts.DeadLetterTopic = topic
		_, err := New(w.st, shout, &w.opts)
		require.ErrorIs(t, err, ErrLoop)
		w.opts.DeadLetterTopic = "nowhere"
		require.ErrorIs(t, w.run(), ErrUnknownTopic)
	})
}

// F06: a crash at any step around a dead letter: it is with the batch that moves
// the position, or there is neither; it is sent again under the same ID, and its
// handler is called again only when the batch was not durable.
func TestFault_F06_CrashAroundADeadLetter(t *testing.T) {
	for _, step := range steps {
		for nth := 1; nth <= 3; nth++ {
			t.Run(step, func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.withDead(1)
					w.opts.OnFailure, w.opts.MaxAttempts, w.opts.MaxPollRecords = FailureDeadLetter, 1, 2
					w.produce(0, "a", "bad1", "b", "bad2", "bad3", "c")
					crashed := w.crashOnce(w.poisoned(), step, nth)
					require.True(t, crashed)
					require.LessOrEqual(t, w.committedAt(0), w.position(0))
					c := w.consumer(w.poisoned())
					require.NoError(t, c.Run(t.Context()))

					dead := w.outputs(deadTopic) // each with one output ID
					require.Len(t, dead, 3)
					repeated := 0
					for _, n := range dead {
						repeated += n - 1
					}
					if step == "sent" { // Kafka has it, nobody was told
						require.Equal(t, 1, repeated)
					} else {
						require.Zero(t, repeated)
					}
					require.Equal(t, int64(3), w.state(0, "n"))
					require.Equal(t, int64(6), w.committedAt(0))
					require.Zero(t, w.pending(0))
				})
			})
		}
	}
}

// F05: the dead-letter topic is away. The partition goes on until its bound of
// pending dead letters, then pauses; the group's offset waits before the first
// of them; a rebalance is possible; another partition flows. When the topic is
// back, each is sent once, in order, and the partition goes on where it stood.
func TestFault_F05_DeadLetterTopicAway(t *testing.T) {
	for name, away := range map[string]func(*testing.T, *world) func(){
		"refuses": func(_ *testing.T, w *world) func() {
			return refuse(w.kafka, deadTopic, kerr.NotLeaderForPartition).Remove
		},
		"deleted": deleteDead,
	} {
		t.Run(name, func(t *testing.T) {
			inWorldOf(t, 2, func(t *testing.T, w *world) { deadLetterTopicAway(t, w, 2, away) })
		})
	}
}

func deleteDead(t *testing.T, w *world) (back func()) {
	_, err := kadm.NewClient(w.kafka.Client(t)).DeleteTopic(t.Context(), deadTopic)
	require.NoError(t, err)
	return func() { w.kafka.CreateTopic(t, deadTopic, 1, nil) }
}

func deadLetterTopicAway(t *testing.T, w *world, partitions int, away func(*testing.T, *world) func()) {
	w.withDead(1)
	w.opts.OnFailure, w.opts.MaxAttempts, w.opts.MaxPending = FailureDeadLetter, 1, 3
	w.opts.MaxPollRecords = 4
	w.produce(0, "a0", "a1", "a2", "a3")
	c, stop := w.start(w.poisoned())
	w.until(func() bool { return c.Stats().New == 4 && w.committedAt(0) == 4 })

	back := away(t, w)
	w.produce(0, "b0", "bad0", "b1", "b2", "bad1", "b3", "bad2", "b4", "bad3", "b5")
	w.produce(1, ids("x", 4)...)
	w.until(func() bool { return c.Stats().Paused == 1 })
	require.ErrorIs(t, c.Paused()[0].Err, ErrOutputsPending)
	require.Equal(t, int64(11), c.Paused()[0].Offset, "after the third")
	require.False(t, c.Resume(topic, 0), "it is not for a caller to say")
	w.until(func() bool { return w.committedAt(1) == 4 })
	require.Equal(t, int64(4), w.committedAt(0), "the batch of the first one is held back")
	require.Equal(t, uint64(3), c.Stats().DeadLetters)

	leave := w.foreign()
	w.until(func() bool { return c.Stats().Partitions == partitions/2 })
	leave()
	w.until(func() bool { return c.Stats().Partitions == partitions })
	w.produce(1, "y")
	w.until(func() bool { return w.committedAt(1) == 5 })
	require.Equal(t, int64(4), w.committedAt(0))

	back()
	w.until(func() bool { return w.committedAt(0) == 14 })
	require.Zero(t, c.Stats().Paused)
	require.NoError(t, stop())
	require.Zero(t, c.Stats().Sessions)
	require.Equal(t, []string{"v-bad0", "v-bad1", "v-bad2", "v-bad3"}, w.values(deadTopic), "once each")
	for id, n := range w.calls.count() {
		require.Equal(t, 1, n, id)
	}
	require.Zero(t, w.pending(0))
}

// values returns the values of the first partition of a topic, in order.
func (w *world) values(name string) (values []string) {
	w.Helper()
	for _, r := range w.kafka.ReadAll(w, name)[0] {
		values = append(values, string(r.Value))
	}
	return values
}

// F05: a restart while the dead-letter topic is away. What is pending is sent
// before the partition flows; the others flow meanwhile.
func TestFault_F05_RestartWhileAway(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.withDead(1)
		w.opts.OnFailure, w.opts.MaxAttempts = FailureDeadLetter, 1
		away := refuse(w.kafka, deadTopic, kerr.NotLeaderForPartition)
		w.produce(0, "bad")
		c, stop := w.start(w.poisoned())
		w.until(func() bool { return c.Stats().DeadLetters == 1 })
		require.NoError(t, stop())
		w.reopen()

		w.produce(0, "a")
		w.produce(1, "b")
		c, stop = w.start(w.poisoned())
		w.until(func() bool { return w.committedAt(1) == 1 })
		require.Equal(t, []string{"b"}, w.calls.order)
		require.Equal(t, []Pause{{Topic: topic, Partition: 0, Offset: 1, Err: ErrOutputsPending}}, c.Paused())
		away.Remove()
		w.until(func() bool { return w.committedAt(0) == 2 })
		require.NoError(t, stop())
		require.Equal(t, []string{"b", "a"}, w.calls.order)
		require.Equal(t, []string{"v-bad"}, w.values(deadTopic))
	})
}

// A dead-letter topic that is away holds up no other output.
func TestDeadLetter_AwayHoldsUpNothingElse(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		w.opts.OnFailure, w.opts.MaxAttempts = FailureDeadLetter, 1
		w.opts.MaxPollRecords = 1
		away := refuse(w.kafka, deadTopic, kerr.NotLeaderForPartition)
		handler := func(ctx context.Context, tx *Tx, rec *Record) error {
			if string(rec.ID) == "bad" {
				return errPoison
			}
			return shout(ctx, tx, rec)
		}
		w.produce(0, "a", "bad", "b")
		c, stop := w.start(handler)
		w.until(func() bool { return c.Stats().Outputs == 2 })
		w.produce(0, ids("c", 20)...)
		begun := time.Now()
		w.until(func() bool { return c.Stats().Outputs == 22 })
		require.Less(t, time.Since(begun), sendPatience, "nobody waits for it again")
		require.LessOrEqual(t, w.committedAt(0), int64(1))
		away.Remove()
		w.until(func() bool { return w.committedAt(0) == 23 })
		require.NoError(t, stop())
		require.Len(t, w.outputs(outTopic), 22)
		require.Equal(t, []string{"v-bad"}, w.values(deadTopic))
		require.True(t, slices.IsSorted(w.values(outTopic)[:2]))
	})
}
