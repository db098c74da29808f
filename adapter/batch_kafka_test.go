//go:build kafka

package adapter

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// toldAside gives a test a topic of dead letters of its own.
func (w *world) toldAside() {
	w.Helper()
	w.kafka.CreateTopic(w, deadTopic, 4, map[string]string{"retention.ms": "-1"})
	w.opts.DeadLetterTopic = deadTopic
	w.Cleanup(func() {
		_, err := kadm.NewClient(w.kafka.Client(w)).DeleteTopics(context.Background(), deadTopic)
		require.NoError(w, err)
	})
}

// A batch handler over a crash at every step and a poison record in each
// partition: state exact, every output there, and the poison with the dead.
func realBatches(t *testing.T, w *world) {
	const each = 3000
	w.toldAside()
	w.opts.MaxPollRecords, w.opts.OnFailure, w.opts.MaxAttempts = 400, FailureDeadLetter, 2
	for p := range int32(4) {
		all := ids("a", each)
		all[1234] = "bad"
		w.produce(p, append(append(all, all[:each/2]...), "last")...)
	}
	h := func(_ context.Context, tx *BatchTx, recs []*Record) error {
		for _, rec := range recs {
			if string(rec.ID) == "bad" {
				return errPoison
			}
			if err := tx.Produce(rec, &kgo.Record{Topic: outTopic, Key: rec.Key, Value: rec.Value}); err != nil {
				return err
			}
		}
		_, err := tx.Add([]byte("n"), int64(len(recs)))
		return err
	}
	for i, step := range steps {
		c := w.batches(h)
		c.step = crashAt(step, 1+i)
		require.ErrorIs(t, c.Run(t.Context()), errCrash)
		w.reopen()
	}
	w.inBatches(h)
	seen := make(map[string]int)
	for _, recs := range w.kafka.ReadAll(t, outTopic) {
		for _, r := range recs {
			seen[header(r, HeaderOutputID)]++
		}
	}
	require.Len(t, seen, 4*each)
	for p := range int32(4) {
		require.Equal(t, int64(each), w.state(p, "n"))
		require.Equal(t, int64(each+each/2+1), w.committedAt(p))
		dead := make(map[string]bool)
		for _, r := range w.kafka.ReadAll(t, deadTopic)[p] {
			dead[header(r, HeaderOrigin)] = true
		}
		require.Len(t, dead, 2, "and its copy, which is decided anew")
	}
}

// Slow calls side by side: 4,000 of 20 ms in less than one after the other.
func realConcurrency(t *testing.T, w *world) {
	const each = 1000
	w.opts.Concurrency = 50
	for p := range int32(4) {
		var recs []*kgo.Record
		for i, id := range append(ids("a", each), ids("a", each/2)...) {
			rec := record(p, id)
			rec.Key = fmt.Append(nil, i%100)
			recs = append(recs, rec)
		}
		w.kafka.Produce(t, recs...)
	}
	s := &slow{takes: 20 * time.Millisecond}
	begun := time.Now()
	c := w.consumer(s.handle)
	s.fail = nil
	require.NoError(t, c.Run(t.Context()))
	require.Equal(t, []uint64{4 * each, 2 * each}, []uint64{c.Stats().New, c.Stats().Duplicates})
	require.Less(t, time.Since(begun), time.Minute)
	for p := range int32(4) {
		require.Equal(t, int64(each+each/2), w.committedAt(p))
	}
}

// Every strategy over a crash at every step: what is handled is handled once but
// for the batch in hand, and Kafka hears of all of it in the end.
func realStrategies(t *testing.T, w *world) {
	handled, total := 0, 0
	for name, strategy := range map[string]CommitStrategy{
		"per poll": CommitPerPoll(), "per record": CommitPerRecord(), "async": CommitAsync(),
		"by count": CommitEvery(500, 0), "by interval": CommitEvery(0, 50*time.Millisecond),
	} {
		const each = 300
		w.opts.Commit, w.opts.MaxPollRecords = strategy, 100
		for p := range int32(4) {
			w.produce(p, ids(name, each)...)
		}
		total += 4 * each
		for _, step := range []string{"handled", "durable", "committed"} {
			w.crashOnce(w.calls.handle, step, 2)
		}
		require.NoError(t, w.consumer(w.calls.handle).Run(t.Context()))
		for p := range int32(4) {
			require.Equal(t, w.position(p), w.committedAt(p), name)
		}
		handled = len(w.calls.order)
		for id, n := range w.calls.count() {
			require.GreaterOrEqual(t, n, 4, id)
		}
	}
	require.GreaterOrEqual(t, handled, total)
	require.LessOrEqual(t, handled, total+5*2*4*100)
	n := int64(0)
	for p := range int32(4) {
		n += w.state(p, "n")
	}
	require.Equal(t, int64(total), n)
}

// Dead letters come back in Kafka transactions, once each.
func realRedrive(t *testing.T, w *world) {
	w.toldAside()
	w.opts.OnFailure, w.opts.MaxAttempts = FailureDeadLetter, 1
	w.produce(0, append(ids("bad", 400), ids("a", 100)...)...)
	require.NoError(t, w.consumer(w.poisoned()).Run(t.Context()))
	require.Len(t, w.calls.take(), 100)
	for _, want := range []int64{400, 0} {
		fed, err := w.redrive("")
		require.NoError(t, err)
		require.Equal(t, want, fed)
	}
	w.kafka.Settled(t, topic)
	c := w.consumer(w.calls.handle)
	require.NoError(t, c.Run(t.Context()))
	require.Equal(t, ids("bad", 400), w.calls.take())
	require.Zero(t, c.Stats().DeadLetters)
}
