//go:build kafka

package adapter

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/internal/kafkatest"
	"github.com/firstseen/firstseen/store"
)

func TestReal_Restore(t *testing.T) {
	b := kafkatest.StartReal(t, 1)
	for name, fn := range map[string]func(*testing.T, *world){
		"two stores":  realTurns,
		"log start":   realLogStart,
		"pure":        realPure,
		"from output": realFromOutput,
	} {
		t.Run(name, func(t *testing.T) { onReal(t, b, fn) })
	}
}

// other goes on with another store, once the group has let go of this one.
func (w *world) other(dir string) {
	w.Helper()
	w.kick()
	require.NoError(w, w.st.Close())
	w.dir = dir
	w.open()
}

// Two stores in turn, with aborted and committed transactions in the log: nothing is
// handled twice, and what was aborted is never taken for handled.
func realTurns(t *testing.T, w *world) {
	mine, theirs := w.dir, t.TempDir()
	w.produce(0, ids("a", 2000)...)
	w.transaction(kgo.TryAbort, ids("x", 50)...)
	w.transaction(kgo.TryCommit, ids("b", 50)...)
	w.runs()
	w.other(theirs)
	w.produce(0, append(ids("a", 2000), "x1")...)
	w.transaction(kgo.TryAbort, ids("y", 50)...)
	s := w.runs()
	require.Equal(t, []uint64{2000, 1, 2050}, []uint64{s.Duplicates, s.New, s.Restored})
	require.Equal(t, store.Coverage{}, w.status().Coverage)
	w.other(mine)
	w.produce(0, append(ids("b", 50), "x1", "x2", "y2")...)
	s = w.runs()
	require.Equal(t, []uint64{51, 2}, []uint64{s.Duplicates, s.New})
	for id, n := range w.calls.count() {
		require.Equal(t, 1, n, id)
	}
	require.Len(t, w.calls.count(), 2053)
}

// DeleteRecords moved the log start: before and in the middle of a restore.
func realLogStart(t *testing.T, w *world) {
	for i := range 20 {
		w.produce(0, ids(fmt.Sprint("a", i, "-"), 100)...)
	}
	w.runs()
	w.kafka.DeleteRecords(t, topic, 0, 500)
	w.other(t.TempDir())
	c := readsSmall(w.consumer(w.calls.seen))
	once := false
	c.step = func(step string) error {
		if step == "restored" && !once {
			once = true
			w.kafka.DeleteRecords(t, topic, 0, 1500)
		}
		return nil
	}
	w.produce(0, "a19-7", "a0-0", "new")
	require.NoError(t, c.Run(t.Context()))
	require.True(t, once)
	s := c.Stats()
	require.Equal(t, []uint64{1, 2, 0}, []uint64{s.Duplicates, s.Unknown, s.New})
	require.Equal(t, store.Cold, w.status().Coverage.Reason)
}

// The state of a pure handler follows to a store that has none.
func realPure(t *testing.T, w *world) {
	w.opts.Pure = true
	w.produce(0, append(ids("a", 500), ids("a", 500)...)...)
	require.NoError(t, w.consumer(shout).Run(t.Context()))
	w.other(t.TempDir())
	w.produce(0, "a1", "b")
	require.NoError(t, w.consumer(shout).Run(t.Context()))
	require.Equal(t, int64(501), w.state(0, "n"))
	n := 0
	for _, recs := range w.kafka.ReadAll(t, outTopic) {
		n += len(recs)
	}
	require.Equal(t, 501, n)
}

// The input is gone, the relay's output is not.
func realFromOutput(t *testing.T, w *world) {
	w.opts.RestoreFrom = outTopic
	w.produce(0, append(ids("a", 500), ids("a", 500)...)...)
	require.NoError(t, w.consumer(Forward(outTopic)).Run(t.Context()))
	w.kafka.DeleteRecords(t, topic, 0, 1000)
	w.other(t.TempDir())
	w.produce(0, append(ids("a", 500), "b")...)
	c := w.consumer(Forward(outTopic))
	require.NoError(t, c.Run(t.Context()))
	require.Equal(t, []uint64{500, 1}, []uint64{c.Stats().Duplicates, c.Stats().New})
	require.Equal(t, store.Coverage{}, w.status().Coverage)
}
