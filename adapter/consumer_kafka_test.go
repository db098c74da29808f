//go:build kafka

package adapter

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/internal/kafkatest"
	"github.com/firstseen/firstseen/window"
)

// onReal runs a test against a broker of its own, with a topic of four
// partitions, in real time.
func onReal(t *testing.T, b *kafkatest.Broker, fn func(t *testing.T, w *world)) {
	w := &world{T: t, kafka: b.Cluster, dir: t.TempDir(), calls: new(calls)}
	for _, name := range []string{topic, outTopic} {
		b.CreateTopic(t, name, 4, map[string]string{"retention.ms": "-1"})
	}
	w.open()
	w.opts = Options{
		Brokers: b.Brokers(), Group: group, Topics: []string{topic}, ID: Header("id"),
		Window: window.Hour, UntilEnd: true, Logger: slog.New(slog.DiscardHandler),
	}
	fn(t, w)
	w.kick() // the next test is another member
	require.NoError(t, w.st.Close())
	_, err := kadm.NewClient(b.Client(t)).DeleteTopics(t.Context(), topic, outTopic)
	require.NoError(t, err)
	w.until(func() bool {
		topics, err := kadm.NewClient(b.Client(t)).ListTopics(t.Context(), topic, outTopic)
		return err == nil && topics[topic].Err != nil && topics[outTopic].Err != nil
	})
}

func TestReal(t *testing.T) {
	b := kafkatest.StartReal(t, 1)
	for name, fn := range map[string]func(*testing.T, *world){
		"batches":         realBatches,
		"concurrency":     realConcurrency,
		"crashes":         realCrashes,
		"fenced":          realFenced,
		"rebalance":       realRebalance,
		"recreated":       realRecreated,
		"operator resets": realReset,
		"redrive":         realRedrive,
		"retention":       realRetention,
		"strategies":      realStrategies,
		"broker restarts": func(t *testing.T, w *world) { realOutage(t, w, b) },
	} {
		t.Run(name, func(t *testing.T) { onReal(t, b, fn) })
	}
}

// Every message once in the state, at least once in the outputs, over a crash
// at every step.
func realCrashes(t *testing.T, w *world) {
	const each = 3000
	w.opts.MaxPollRecords = 400
	for p := range int32(4) {
		all := ids("a", each)
		w.produce(p, append(append(all, all[:each/2]...), "last")...)
	}
	for i, step := range append(steps, steps...) {
		require.True(t, w.crashOnce(shout, step, 1+i/2))
	}
	require.NoError(t, w.consumer(shout).Run(t.Context()))
	for p := range int32(4) {
		require.Equal(t, int64(each+1), w.state(p, "n"))
		require.Equal(t, int64(each+each/2+1), w.committedAt(p))
	}
	seen := make(map[string]int)
	total := 0
	for _, recs := range w.kafka.ReadAll(t, outTopic) {
		for _, r := range recs {
			seen[header(r, HeaderOutputID)]++
			total++
		}
	}
	require.Len(t, seen, 4*(each+1))
	require.LessOrEqual(t, total, 4*(each+1)+2*400, "one batch for each crash between sending and telling")
}

func realFenced(t *testing.T, w *world) {
	w.opts.MaxPollRecords = 5
	w.produce(0, ids("a", 10)...)
	var once sync.Once
	leave := func() {}
	c, stop := w.start(func(ctx context.Context, tx *Tx, rec *Record) error {
		if rec.Offset == 7 {
			once.Do(func() {
				joined, join := context.WithTimeout(ctx, waitLimit)
				leave = w.foreign(kgo.InstanceID(w.st.ID().String()), kgo.OnPartitionsAssigned(
					func(context.Context, *kgo.Client, map[string][]int32) { join() }))
				<-joined.Done()
				wait(ctx, 2*vouchAge) // from then on the group is asked before what is done counts
			})
		}
		return w.calls.handle(ctx, tx, rec)
	})
	w.until(func() bool { return c.Stats().Sessions > 0 })
	leave()
	w.until(func() bool { return w.committedAt(0) == 10 })
	require.NoError(t, stop())
	require.Equal(t, int64(10), w.state(0, "n"))
	require.Len(t, w.calls.count(), 10)
	require.Greater(t, len(w.calls.order), 10, "the batch of the member that was fenced is handled again")
}

func realRebalance(t *testing.T, w *world) {
	for p := range int32(4) {
		w.produce(p, ids("a", 100)...)
	}
	c, stop := w.start(w.calls.handle)
	w.until(func() bool { return c.Stats().New == 400 })
	leave := w.foreign()
	w.until(func() bool { return c.Stats().Partitions == 2 })
	for p := range int32(4) {
		require.Equal(t, int64(100), w.committedAt(p))
		w.produce(p, "b", "a1")
	}
	leave()
	w.until(func() bool { return c.Stats().New == 404 && c.Stats().Duplicates == 4 })
	require.NoError(t, stop())
	require.Zero(t, c.Stats().Sessions)
	require.Zero(t, c.Stats().Replays)
}

func realRecreated(t *testing.T, w *world) {
	w.produce(0, ids("a", 10)...)
	c, stop := w.start(w.calls.handle)
	w.until(func() bool { return w.committedAt(0) == 10 })
	w.kafka.RecreateTopic(t, topic)
	w.produce(0, "a0", "b", "a1", "c")
	w.until(func() bool { return w.committedAt(0) == 4 && c.Stats().Records == 14 })
	require.NoError(t, stop())
	require.Equal(t, append(ids("a", 10), "b", "c"), w.calls.order)
}

func realReset(t *testing.T, w *world) {
	w.produce(0, ids("a", 10)...)
	require.NoError(t, w.run())
	w.kick()
	w.kafka.SetGroupOffset(t, group, topic, 0, 4)
	require.ErrorIs(t, w.run(), ErrForeignOffset)
	require.Len(t, w.calls.order, 10)
	w.opts.OnForeignOffset = ForeignHonour
	c := w.consumer(w.calls.handle)
	require.NoError(t, c.Run(t.Context()))
	require.Equal(t, uint64(6), c.Stats().Duplicates)
	require.Equal(t, int64(10), w.committedAt(0))
	require.Equal(t, uint64(1), w.tagged().Rewind)
}

func realRetention(t *testing.T, w *world) {
	w.produce(0, ids("a", 10)...)
	require.NoError(t, w.run())
	w.produce(0, ids("b", 10)...)
	w.kafka.DeleteRecords(t, topic, 0, 15)
	require.ErrorIs(t, w.run(), ErrGap)
	require.Equal(t, int64(10), w.committedAt(0))
	w.opts.OnGap = GapJump
	c := w.consumer(w.calls.handle)
	require.NoError(t, c.Run(t.Context()))
	require.Equal(t, uint64(5), c.Stats().Skipped)
	require.Equal(t, int64(20), w.committedAt(0))
}

func realOutage(t *testing.T, w *world, b *kafkatest.Broker) {
	w.produce(0, ids("a", 10)...)
	c, stop := w.start(shout)
	w.until(func() bool { return w.committedAt(0) == 10 })
	b.Crash(t, 1)
	time.Sleep(3 * time.Second)
	b.Restart(t, 1)
	w.produce(0, ids("b", 10)...)
	w.until(func() bool { return w.committedAt(0) == 20 && c.Stats().New == 20 })
	require.NoError(t, stop())
	require.Len(t, w.outputs(outTopic), 20)
}
