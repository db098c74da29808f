package adapter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// inTransaction writes records to the input in a transaction, and ends it.
func (w *world) inTransaction(how kgo.TransactionEndTry, ids ...string) {
	w.Helper()
	cl, end := w.openTransaction(ids...)
	defer cl.Close()
	end(how)
}

func (w *world) openTransaction(ids ...string) (cl *kgo.Client, end func(kgo.TransactionEndTry)) {
	w.Helper()
	cl = w.kafka.Client(w, kgo.TransactionalID("producer"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(w, cl.BeginTransaction())
	for _, id := range ids {
		require.NoError(w, cl.ProduceSync(w.Context(), record(0, id)).FirstErr())
	}
	return cl, func(how kgo.TransactionEndTry) {
		require.NoError(w, cl.EndTransaction(w.Context(), how))
	}
}

// E16: records of an aborted transaction are not handled and leave no marker, so
// that what their producer sends again is New; nor do they or the ends of
// transactions hold up the position. What is in an open one waits for its end.
func TestFault_E16_AbortedInput(t *testing.T) {
	for _, transactional := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "transactional"}[transactional], func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.transactional(1)
				w.opts.Transactional = transactional
				w.inTransaction(kgo.TryAbort, "a", "b", "c")
				w.inTransaction(kgo.TryCommit, "b", "a")
				w.inTransaction(kgo.TryAbort, "d")
				c := w.consumer(forward)
				require.NoError(t, c.Run(t.Context()))
				w.onceEach(outTopic, []string{"b", "a"})
				require.Equal(t, uint64(2), c.Stats().New)
				ns, err := w.st.Namespace(namespaceName(group, topic, 0), nil)
				require.NoError(t, err)
				require.Equal(t, int64(2), w.state(0, "n"))
				_, found, err := ns.Lookup([]byte("d"))
				require.NoError(t, err)
				require.False(t, found)

				_, end := w.openTransaction("e", "d")
				w.produce(0, "f")
				c, stop := w.start(forward)
				time.Sleep(10 * time.Second)
				require.Zero(t, c.Stats().New, "it is not known yet what becomes of the two")
				end(kgo.TryCommit)
				w.until(func() bool { return c.Stats().Outputs == 3 })
				require.NoError(t, stop())
				w.onceEach(outTopic, []string{"b", "a", "e", "d", "f"})
			})
		})
	}
}
