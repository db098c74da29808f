package adapter

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firstseen/firstseen/store"
)

const outTopic = "loud"

func shout(_ context.Context, tx *Tx, rec *Record) error {
	if _, err := tx.Add([]byte("n"), 1); err != nil {
		return err
	}
	return tx.Produce(&kgo.Record{Topic: outTopic, Key: rec.Key, Value: bytes.ToUpper(rec.Value)})
}

func header(r *kgo.Record, name string) string {
	var found []string
	for _, h := range r.Headers {
		if h.Key == name {
			found = append(found, string(h.Value))
		}
	}
	return strings.Join(found, "|")
}

// outputs returns what stands in a topic, by value, with how often, and fails
// when outputs of one value have more than one output ID.
func (w *world) outputs(name string) map[string]int {
	w.Helper()
	n := make(map[string]int)
	id := make(map[string]string)
	for _, recs := range w.kafka.ReadAll(w, name) {
		for _, r := range recs {
			n[string(r.Value)]++
			got := header(r, HeaderOutputID)
			require.NotEmpty(w, got)
			if was, ok := id[string(r.Value)]; ok {
				require.Equal(w, was, got)
			}
			id[string(r.Value)] = got
		}
	}
	return n
}

func TestTx_Produce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 3, nil)
		in := record(0, "a")
		in.Timestamp = time.Now().Add(-time.Minute).Truncate(time.Millisecond)
		in.Headers = append(in.Headers, kgo.RecordHeader{Key: HeaderOrigin, Value: []byte("old")})
		w.kafka.Produce(t, in)
		var logID store.ID
		require.NoError(t, w.consumer(func(_ context.Context, tx *Tx, rec *Record) error {
			logID = rec.origin.TopicID
			out := &kgo.Record{Topic: outTopic, Key: []byte("key-7"), Value: []byte("one"),
				Headers: rec.Headers, Partition: 99}
			require.NoError(t, tx.Produce(out))
			out.Value = []byte("two")
			out.Timestamp = time.UnixMilli(5)
			return tx.Produce(out)
		}).Run(t.Context()))

		var got []*kgo.Record
		for _, recs := range w.kafka.ReadAll(t, outTopic) {
			got = append(got, recs...)
		}
		require.Len(t, got, 2)
		want := int32(kgo.StickyKeyPartitioner(nil).ForTopic("").Partition(&kgo.Record{Key: []byte("key-7")}, 3))
		for i, r := range got {
			require.Equal(t, want, r.Partition)
			require.Equal(t, "a", header(r, "id"))
			require.Equal(t, outputID(group, logID, 0, 0, i), header(r, HeaderOutputID))
			require.Equal(t, logID.String()+"/0@0", header(r, HeaderOrigin))
			_, err := strconv.ParseInt(header(r, HeaderClock), 10, 64)
			require.NoError(t, err)
		}
		require.Equal(t, in.Timestamp.UnixMilli(), got[0].Timestamp.UnixMilli())
		require.Equal(t, int64(5), got[1].Timestamp.UnixMilli())
	})
}

func TestForward_KeepsTheRecord(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 2, nil)
		future := time.Now().Add(1000 * time.Hour).Truncate(time.Millisecond)
		in := []*kgo.Record{record(1, "a"), record(1, "b"), record(0, "c"), record(1, "a"),
			record(1, "d"), record(1, "e"),
		}
		in[4].Key, in[5].Key, in[5].Value = nil, []byte{}, nil
		in[5].Headers = append(in[5].Headers, kgo.RecordHeader{Key: "null"})
		in[1].Timestamp = future
		w.kafka.Produce(t, in...)
		require.NoError(t, w.consumer(Forward(outTopic)).Run(t.Context()))

		got := w.kafka.ReadAll(t, outTopic)
		require.Len(t, got[0], 1)
		require.Len(t, got[1], 4)
		for i, want := range []*kgo.Record{in[0], in[1], in[4], in[5]} {
			r := got[1][i]
			require.Equal(t, want.Key, r.Key)
			require.Equal(t, want.Value, r.Value)
			require.Equal(t, want.Headers, r.Headers[:len(want.Headers)])
			if want == in[1] {
				require.Equal(t, strconv.FormatInt(future.UnixMilli(), 10), header(r, HeaderTime))
				require.WithinDuration(t, time.Now(), r.Timestamp, time.Minute)
			} else {
				require.Empty(t, header(r, HeaderTime))
				require.Equal(t, want.Timestamp.UnixMilli(), r.Timestamp.UnixMilli())
			}
		}
	})
}

// What Kafka would refuse for good fails while the record is handled, at once.
func TestTx_ProduceRefusesWhatKafkaWould(t *testing.T) {
	for _, test := range []struct {
		name string
		out  kgo.Record
		want error
	}{
		{"too large", kgo.Record{Topic: outTopic, Value: make([]byte, 2000)}, ErrOutputTooLarge},
		{"too far ahead", kgo.Record{Topic: outTopic, Timestamp: time.Now().AddDate(9000, 0, 0)}, ErrOutputAhead},
		{"unknown topic", kgo.Record{Topic: "nowhere"}, ErrUnknownTopic},
		{"loop", kgo.Record{Topic: topic}, ErrLoop},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.kafka.CreateTopic(t, outTopic, 1, map[string]string{"max.message.bytes": "1000"})
				w.produce(0, "a")
				begun := time.Now()
				err := w.consumer(func(_ context.Context, tx *Tx, _ *Record) error {
					return tx.Produce(&test.out)
				}).Run(t.Context())
				var failed *RecordError
				require.ErrorAs(t, err, &failed)
				require.ErrorIs(t, err, test.want)
				if lasting(test.want) { // but a topic may come
					require.Less(t, time.Since(begun), time.Minute)
				}
				require.Equal(t, int64(0), w.position(0))
			})
		})
	}
}

// The size that is checked is the one that the client and the broker check: one
// byte decides, and what passes is sent.
func TestTx_ProduceLargestThatFits(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const limit = 5_000_000 // above what a client allows by default
		w.kafka.CreateTopic(t, outTopic, 1, map[string]string{"max.message.bytes": strconv.Itoa(limit)})
		w.produce(0, "a")
		var size int
		require.NoError(t, w.consumer(func(_ context.Context, tx *Tx, rec *Record) error {
			out := &kgo.Record{Topic: outTopic, Value: make([]byte, limit)}
			err := tx.Produce(out)
			for ; err != nil; err = tx.Produce(out) {
				require.ErrorIs(t, err, ErrOutputTooLarge)
				out.Value = out.Value[1:]
			}
			size = len(out.Value)
			return nil
		}).Run(t.Context()))
		got := w.kafka.ReadAll(t, outTopic)
		require.Len(t, got[0], 1)
		require.Len(t, got[0][0].Value, size)
		require.Greater(t, size, limit-500)
	})
}

// F14: a relay to its own input is refused, by New where it is known.
func TestFault_F14_RelayLoop(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		_, err := New(w.st, Forward(topic), &w.opts)
		require.ErrorIs(t, err, ErrLoop)
		_, err = New(w.st, Forward("elsewhere"), &w.opts)
		require.NoError(t, err)
		_, err = New(w.st, shout, &w.opts)
		require.NoError(t, err)
	})
}

// F15: a process that dies after the local batch leaves its outputs pending;
// they are sent as they were staged, without the handler, and the group's
// offset follows their acknowledgement.
func TestFault_F15_OutputsOutliveACrash(t *testing.T) {
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.kafka.CreateTopic(t, outTopic, 1, nil)
				w.opts.MaxPollRecords = 4
				w.produce(0, append(ids("a", 10), ids("a", 10)...)...)
				handled := 0
				handler := func(ctx context.Context, tx *Tx, rec *Record) error {
					handled++
					return shout(ctx, tx, rec)
				}
				require.True(t, w.crashOnce(handler, step, 2))
				require.LessOrEqual(t, w.committedAt(0), int64(len(w.outputs(outTopic))))
				require.NoError(t, w.consumer(handler).Run(t.Context()))

				got := w.outputs(outTopic)
				require.Len(t, got, 10)
				repeated := 0
				for _, n := range got {
					repeated += n - 1
				}
				switch step {
				case "handled": // the batch is not durable: its handler runs again
					require.Equal(t, 14, handled)
					require.Zero(t, repeated)
				case "sent": // Kafka has them, nobody was told
					require.Equal(t, 10, handled)
					require.Equal(t, 4, repeated)
				default:
					require.Equal(t, 10, handled)
					require.Zero(t, repeated)
				}
				require.Equal(t, int64(10), w.state(0, "n"))
				require.Equal(t, int64(20), w.committedAt(0))
				require.Zero(t, w.pending(0), "all is settled, or the tag says so")
			})
		})
	}
}

// pending counts the outputs that the next start would send.
func (w *world) pending(partition int32) (n int) {
	w.Helper()
	ns, err := w.st.Namespace(namespaceName(group, topic, partition), nil)
	require.NoError(w, err)
	g, _ := w.kafka.Committed(w, group, topic, partition)
	tag, _, err := decodeTag(g.Metadata)
	require.NoError(w, err)
	require.NoError(w, ns.Pending(func(o store.Output) error {
		if o.Sequence > tag.Sequence {
			n++
		}
		return nil
	}))
	return n
}

// F15: an output that Kafka refuses for good after it was staged ends Run, stays
// pending, and holds the group's offset back; the next Run sends it first.
func TestFault_F15_OutputRefusedLater(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		w.produce(0, "a")
		w.produce(1, "b")
		fault := w.kafka.Fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidTimestamp, Topic: outTopic, Count: -1,
		})
		err := w.consumer(shout).Run(t.Context())
		require.ErrorIs(t, err, ErrOutputRefused)
		require.ErrorIs(t, err, kerr.InvalidTimestamp)
		require.ErrorContains(t, err, topic)
		require.LessOrEqual(t, w.committedAt(0), int64(0))
		require.Equal(t, int64(1), w.position(0))

		fault.Remove()
		require.NoError(t, w.consumer(func(context.Context, *Tx, *Record) error {
			return errors.New("called for a record that is decided")
		}).Run(t.Context()))
		require.Equal(t, map[string]int{"V-A": 1, "V-B": 1}, w.outputs(outTopic))
		require.Equal(t, int64(1), w.committedAt(0))
	})
}

// F15: Kafka refuses a whole batch for one output in it. Its mates are sent one
// by one, and Run names the one that is refused.
func TestFault_F15_OneOutputIsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		w.opts.Client = append(w.opts.Client, kgo.ProducerBatchCompression(kgo.NoCompression()))
		w.produce(0, "a", "b", "bad", "c")
		fault := w.kafka.Fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidTimestamp, Topic: outTopic, Count: -1,
			When: func(r kmsg.Request) bool {
				return bytes.Contains(r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records, []byte("V-BAD"))
			},
		})
		err := w.consumer(shout).Run(t.Context())
		require.ErrorIs(t, err, ErrOutputRefused)
		require.ErrorContains(t, err, "/0@2)")
		require.Equal(t, []string{"V-A", "V-B"}, w.values(outTopic))
		require.LessOrEqual(t, w.committedAt(0), int64(0))
		fault.Remove()
		require.NoError(t, w.consumer(shout).Run(t.Context()))
		require.Len(t, w.outputs(outTopic), 4)
		require.Equal(t, int64(4), w.committedAt(0))
	})
}

// Outputs that are not acknowledged in time stay on their way, in the session,
// and hold the offset back; the partition goes on.
func TestRun_OutputsArriveLate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		w.produce(0, "a", "b")
		begun := time.Now()
		defer time.AfterFunc(3*time.Minute, refuse(w.kafka, outTopic, kerr.NotLeaderForPartition).Remove).Stop()
		c, stop := w.start(shout)
		w.until(func() bool { return c.Stats().New == 2 })
		w.produce(0, "c")
		w.until(func() bool { return c.Stats().New == 3 })
		require.Less(t, time.Since(begun), time.Minute)
		require.LessOrEqual(t, w.committedAt(0), int64(0))
		w.until(func() bool { return w.committedAt(0) == 3 })
		require.GreaterOrEqual(t, time.Since(begun), 3*time.Minute)
		require.NoError(t, stop())
		require.Zero(t, c.Stats().Sessions)
		require.Equal(t, map[string]int{"V-A": 1, "V-B": 1, "V-C": 1}, w.outputs(outTopic))
		require.Equal(t, int64(3), w.state(0, "n"))
		require.Zero(t, w.pending(0))
	})
}

// Outputs that are acknowledged are not sent again when the offset could not be
// committed: the store is told, in a batch of its own.
func TestRun_AcknowledgedOutputsAreSettled(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		w.produce(0, "a", "b")
		fault := w.kafka.Fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Topic: topic, Count: -1,
		})
		require.NoError(t, w.consumer(shout).Run(t.Context()))
		require.LessOrEqual(t, w.committedAt(0), int64(0))
		fault.Remove()
		w.reopen()
		require.NoError(t, w.consumer(shout).Run(t.Context()))
		require.Equal(t, map[string]int{"V-A": 1, "V-B": 1}, w.outputs(outTopic))
		require.Equal(t, int64(2), w.committedAt(0))
	})
}

// Without the permission to ask for a topic's limit, the usual one is kept to.
func TestTx_ProduceWithoutTheRightToAsk(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, map[string]string{"max.message.bytes": "5000000"})
		w.kafka.Fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.DescribeConfigs}, Err: kerr.TopicAuthorizationFailed, Resource: outTopic, Count: -1,
		})
		w.produce(0, "a")
		require.NoError(t, w.consumer(func(_ context.Context, tx *Tx, _ *Record) error {
			require.ErrorIs(t, tx.Produce(&kgo.Record{Topic: outTopic, Value: make([]byte, defaultLimit)}), ErrOutputTooLarge)
			return tx.Produce(&kgo.Record{Topic: outTopic, Value: make([]byte, defaultLimit-500)})
		}).Run(t.Context()))
		require.Len(t, w.kafka.ReadAll(t, outTopic)[0], 1)
	})
}
