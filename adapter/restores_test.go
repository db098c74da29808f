package adapter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Run ends while partitions are being assigned: a restore that would begin then does
// not outlive it, and nothing is said to be paused any more.
func TestRestores_RunEndsBeforeTheyBegin(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		w.produce(0, "a")
		w.produce(1, "b", "c")
		home := w.dir
		w.opts.Pinned = map[string][]int32{topic: {0}}
		require.True(t, w.crashOnce(shout, "durable", 1), "an output is pending")
		w.opts.Pinned = map[string][]int32{topic: {1}}
		w.elsewhere()
		require.NoError(t, w.sees())
		w.opts.Pinned = nil
		require.NoError(t, w.st.Close())
		w.openAt(home)

		fault := w.kafka.Fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Topic: outTopic, Count: -1,
		})
		c, stop := w.start(w.calls.seen)
		w.until(func() bool { return fault.Hits() > 0 })
		require.NoError(t, stop(), "while the output is being sent")
		require.Empty(t, c.Paused())
		time.Sleep(time.Minute)
		require.Empty(t, c.Paused())
		fault.Remove()
		require.NoError(t, w.sees())
		require.Equal(t, map[string]int{"b": 1, "c": 1}, w.calls.count())
	})
}
