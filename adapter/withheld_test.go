package adapter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The length of the batch of the record "bad", from the beginning of its value: its
// highest byte, so that the batch seems to go on far behind what was sent.
const lengthOfBad = -60

// corrupt has the broker find its log damaged, wherever it is read.
func (w *world) corrupt() *kfake.FaultHandle {
	return w.kafka.Fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.CorruptMessage, Topic: topic, Count: -1,
	})
}

// silent has the broker send nothing of partition 0, though it goes on to an offset.
func (w *world) silent(end int64) {
	w.opts.Client = append(w.opts.Client, kgo.DisableFetchSessions())
	w.kafka.Fake.ControlKey(int16(kmsg.Fetch), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		w.kafka.Fake.KeepControl()
		req := kreq.(*kmsg.FetchRequest)
		w.kafka.Fake.SleepControl(func() {
			select {
			case <-time.After(time.Duration(req.MaxWaitMillis) * time.Millisecond):
			case <-w.Context().Done():
			}
		})
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		for _, t := range req.Topics {
			answer := kmsg.NewFetchResponseTopic()
			answer.Topic, answer.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				part := kmsg.NewFetchResponseTopicPartition()
				part.Partition, part.HighWatermark, part.LastStableOffset = p.Partition, end, end
				answer.Partitions = append(answer.Partitions, part)
			}
			resp.Topics = append(resp.Topics, answer)
		}
		return resp, nil, true
	})
}

// refuses has a live consumer end, within a limit, for damage at offset 2.
func (w *world) refuses(c *Consumer, within time.Duration, words ...string) {
	w.Helper()
	begun := time.Now()
	err := c.Run(w.Context())
	require.Less(w, time.Since(begun), within)
	require.ErrorIs(w, err, ErrConsumeRefused)
	for _, words := range append(words, "payments/0 from offset 2 on", "mend the log, or delete the records") {
		require.ErrorContains(w, err, words)
	}
	require.EqualValues(w, 2, w.committedAt(0))
	require.Equal(w, map[string]int{"a": 1, "b": 1}, w.calls.count())
}

// live is a consumer without an end of its own.
func (w *world) live() *Consumer {
	w.Helper()
	c := w.consumer(w.calls.seen)
	c.opts.UntilEnd = false
	return c
}

// E21: damage of which the client says nothing, for it takes it for something that
// passes, ends Run within a limit by an error that says where; what stands before it
// is handled and committed, in a consumer that is to end as in one that is not.
func TestFault_E21_DamageThatTheClientWithholds(t *testing.T) {
	t.Run("a wrong length", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			r := w.damage(lengthOfBad)
			for _, id := range []string{"a", "b", "bad", "c"} {
				w.produce(0, id) // each in a batch of its own
			}
			w.refuses(w.live(), time.Minute, "a batch has a wrong length")
			w.refuses(w.consumer(w.calls.seen), time.Minute, "a batch has a wrong length")
			r.off.Store(true)
			require.NoError(t, w.sees())
			require.Equal(t, map[string]int{"a": 1, "b": 1, "bad": 1, "c": 1}, w.calls.count())
		})
	})
	t.Run("the broker finds it", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.produce(0, "a", "b")
			done := make(chan error, 1)
			c := w.live()
			go func() { done <- c.Run(t.Context()) }()
			w.until(func() bool { return w.committedAt(0) == 2 })
			fault := w.corrupt()
			w.produce(0, "bad", "c")
			err := <-done
			require.ErrorIs(t, err, ErrConsumeRefused)
			require.ErrorIs(t, err, kerr.CorruptMessage)
			require.ErrorContains(t, err, "payments/0 from offset 2 on: the broker finds the log damaged")
			w.elsewhere() // a restore finds it, too
			require.ErrorIs(t, w.sees(), ErrConsumeRefused)
			require.Equal(t, map[string]int{"a": 1, "b": 1}, w.calls.count())
			fault.Remove()
			require.NoError(t, w.sees())
			require.Equal(t, map[string]int{"a": 1, "b": 1, "bad": 1, "c": 1}, w.calls.count())
		})
	})
	t.Run("the broker sends nothing", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *world) {
			w.produce(0, "a", "b")
			require.NoError(t, w.sees())
			w.produce(0, "bad", "c")
			w.silent(4)
			w.refuses(w.live(), 5*time.Minute, "sends nothing there, and no error, though the log goes on to offset 4")
			w.elsewhere() // a restore waits as long
			err := w.sees()
			require.ErrorIs(t, err, ErrConsumeRefused)
			require.ErrorContains(t, err, "payments/0 from offset 0 on: kafka sends nothing there")
		})
	})
}

// E21: an answer that was wrong for a moment ends nothing; nor does a partition that
// is idle, or paused with records before it, however long.
func TestFault_E21_StandingIsNoDamage(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.opts.OnFailure, w.opts.MaxAttempts = FailurePause, 1
		w.calls.fail = failing("bad", -1)
		w.produce(0, "a")
		w.produce(1, "b", "bad", "c")
		c, stop := w.start(w.calls.handle)
		w.until(func() bool { return len(c.Paused()) == 1 && w.committedAt(0) == 1 })
		time.Sleep(10 * time.Minute)
		fault := w.kafka.Fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.CorruptMessage, Topic: topic, Partitions: []int32{1}, Count: 2,
		})
		w.until(func() bool { return fault.Hits() == 2 })
		w.produce(0, "d")
		w.until(func() bool { return w.committedAt(0) == 2 })
		time.Sleep(time.Minute)
		require.Zero(t, c.Stats().Sessions)
		require.NoError(t, stop())
	})
}
