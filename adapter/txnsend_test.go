package adapter

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A transaction is not committed before the client knows the partitions that are in
// it: kgo would abort it, and report that all is well.
func TestTransactions_KnowsItsPartitions(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 2, nil)
		txn := &transactions{cl: w.kafka.Client(t, kgo.TransactionalID("any"),
			kgo.RecordPartitioner(kgo.ManualPartitioner()))}
		outs := []*output{{rec: &kgo.Record{Topic: outTopic, Partition: 1}}}
		begun := time.Now()
		require.False(t, txn.knows(t.Context(), outs))
		require.Equal(t, commitTimeout, time.Since(begun))
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		require.False(t, txn.knows(gone, outs))
		require.True(t, txn.knows(t.Context(), nil))

		require.NoError(t, txn.cl.BeginTransaction())
		require.NoError(t, txn.cl.ProduceSync(t.Context(), outs[0].rec).FirstErr())
		require.True(t, txn.knows(t.Context(), outs))
		require.NoError(t, txn.cl.EndTransaction(t.Context(), kgo.TryCommit))
		require.Len(t, w.kafka.ReadAll(t, outTopic)[1], 1)
	})
}
