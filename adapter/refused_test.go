package adapter

import (
	"bytes"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// refuseValue has a topic refuse batches that hold a record with this value.
func (w *world) refuseValue(name, value string, err *kerr.Error, partitions ...int32) *kfake.FaultHandle {
	w.Helper()
	id := w.kafka.Fake.TopicInfo(name).TopicID
	return w.kafka.Fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Err: err, Topic: name, Partitions: partitions, Count: -1,
		When: func(r kmsg.Request) bool {
			for _, topic := range r.(*kmsg.ProduceRequest).Topics {
				for _, p := range topic.Partitions {
					if (topic.Topic == name || topic.TopicID == id) && bytes.Contains(p.Records, []byte(value)) {
						return true
					}
				}
			}
			return false
		},
	})
}

// inBothModes runs a test with and without transactions, in a world with a topic for
// outputs and one for dead letters.
func inBothModes(t *testing.T, fn func(t *testing.T, w *world)) {
	for name, transactional := range map[string]bool{"plain": false, "transactional": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.transactional(1)
				w.kafka.CreateTopic(t, "dead", 1, nil)
				w.opts.Transactional, w.opts.DeadLetterTopic = transactional, "dead"
				w.opts.Client = append(w.opts.Client, kgo.ProducerBatchCompression(kgo.NoCompression()))
				fn(t, w)
			})
		})
	}
}

// F15, R12: an output that is refused after it was staged becomes a dead letter, in
// one batch; the others go where they were to go. A crash anywhere changes nothing.
func TestFault_F15_RefusedOutputIsDeadLettered(t *testing.T) {
	for _, step := range []string{"", "durable", "produced", "added", "ended", "sent"} {
		t.Run(step, func(t *testing.T) {
			inBothModes(t, func(t *testing.T, w *world) {
				w.opts.OnFailure = FailureDeadLetter
				w.produce(0, ids("a", 100)...)
				w.refuseValue(outTopic, "v-a42", kerr.InvalidTimestamp)
				if step != "" {
					w.crashOnce(forward, step, 1)
				}
				c := w.consumer(forward)
				require.NoError(t, c.Run(t.Context()))
				want := ids("a", 100)
				want = append(want[:42:42], want[43:]...)
				if w.opts.Transactional {
					w.onceEach(outTopic, want)
					w.onceEach("dead", []string{"a42"})
				}
				require.Len(t, w.outputs(outTopic), 99)
				require.Len(t, w.outputs("dead"), 1)
				dead := w.kafka.ReadAll(t, "dead")[0][0]
				require.Equal(t, "v-a42", string(dead.Value))
				require.Equal(t, outTopic, header(dead, HeaderRefused))
				require.Equal(t, topic, header(dead, HeaderTopic))
				require.Contains(t, header(dead, HeaderOrigin), "/0@42")
				require.Contains(t, header(dead, HeaderError), "INVALID_TIMESTAMP")
				require.Equal(t, int64(100), w.state(0, "n"))
				w.settled(1, 100)
			})
		})
	}
}

// An output with a time that Kafka refuses goes aside with the time now, and its own
// in a header.
func TestRefusedLetter_Time(t *testing.T) {
	inBothModes(t, func(t *testing.T, w *world) {
		w.opts.OnFailure = FailureDeadLetter
		w.refuseValue(outTopic, "v-b", kerr.InvalidTimestamp)
		w.produce(0, "a", "b")
		require.True(t, w.crashOnce(forward, "durable", 1))
		time.Sleep(time.Minute)
		require.NoError(t, w.consumer(forward).Run(t.Context()))
		dead := w.kafka.ReadAll(t, "dead")[0]
		require.Len(t, dead, 1)
		require.Empty(t, header(dead[0], HeaderTime))

		p := &partition{s: &session{c: w.consumer(forward)}, topic: topic}
		future := time.Now().Add(48 * time.Hour).Truncate(time.Millisecond)
		out := &output{rec: &kgo.Record{Topic: outTopic, Timestamp: future}, err: kerr.InvalidTimestamp}
		letter := p.refusedLetter(out, 1)
		require.Equal(t, strconv.FormatInt(future.UnixMilli(), 10), header(letter, HeaderTime))
		require.WithinDuration(t, time.Now(), letter.Timestamp, time.Second)
	})
}

// What the dead-letter topic refuses, too, ends Run, with the output pending.
func TestFault_F15_DeadLetterIsRefusedToo(t *testing.T) {
	inBothModes(t, func(t *testing.T, w *world) {
		w.opts.OnFailure = FailureDeadLetter
		w.produce(0, "a", "b", "c")
		first := w.refuseValue(outTopic, "v-b", kerr.InvalidRecord)
		second := w.refuseValue("dead", "v-b", kerr.InvalidRecord)
		err := w.consumer(forward).Run(t.Context())
		require.ErrorIs(t, err, ErrOutputRefused)
		require.ErrorContains(t, err, `to dead/0`)
		require.LessOrEqual(t, w.committedAt(0), int64(0))
		first.Remove()
		second.Remove()
		require.NoError(t, w.consumer(forward).Run(t.Context()))
		if w.opts.Transactional {
			w.onceEach(outTopic, []string{"a", "c"})
		}
		require.Len(t, w.outputs(outTopic), 2)
		require.Equal(t, map[string]int{"v-b": 1}, w.outputs("dead"))
		w.settled(1, 3)
	})
}

// Under FailurePause the partition pauses for a refused output, and says so; resumed,
// it sends it first.
func TestFault_F15_RefusedOutputPauses(t *testing.T) {
	for _, crash := range []string{"", "durable"} {
		t.Run(crash, func(t *testing.T) {
			inBothModes(t, func(t *testing.T, w *world) {
				w.opts.OnFailure = FailurePause
				fault := w.refuseValue(outTopic, "v-b", kerr.InvalidRecord)
				w.produce(0, "a", "b", "c")
				if crash != "" {
					require.True(t, w.crashOnce(forward, crash, 1))
				}
				c, stop := w.start(forward)
				paused := func() bool { p := c.Paused(); return len(p) == 1 && isOneOf(p[0].Err, ErrOutputRefused) }
				w.until(paused)
				w.produce(0, "d")
				time.Sleep(time.Minute)
				require.True(t, paused())
				require.Equal(t, int64(3), c.Paused()[0].Offset)
				require.LessOrEqual(t, w.committedAt(0), int64(0))
				require.True(t, c.Resume(topic, 0)) // it is still refused
				time.Sleep(time.Minute)
				require.True(t, paused())
				fault.Remove()
				require.True(t, c.Resume(topic, 0))
				w.until(func() bool { return w.committedAt(0) == 4 })
				require.NoError(t, stop())
				require.Zero(t, c.Stats().Paused)
				w.onceEach(outTopic, []string{"a", "b", "c", "d"})
				w.settled(1, 4)
			})
		})
	}
}
