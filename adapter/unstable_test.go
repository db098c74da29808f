package adapter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commitsIn has the open transaction of cl commit an offset of the group.
func (w *world) commitsIn(cl *kgo.Client, transactionalID string) {
	w.Helper()
	id, epoch, err := cl.ProducerID(w.Context())
	require.NoError(w, err)
	join := kmsg.NewPtrAddOffsetsToTxnRequest()
	join.TransactionalID, join.ProducerID, join.ProducerEpoch, join.Group = transactionalID, id, epoch, group
	joined, err := join.RequestWith(w.Context(), cl)
	require.NoError(w, err)
	require.NoError(w, kerr.ErrorForCode(joined.ErrorCode))

	of := kmsg.NewTxnOffsetCommitRequestTopic()
	topics, err := kadm.NewClient(cl).ListTopics(w.Context(), topic)
	require.NoError(w, err)
	of.TopicID = topics[topic].ID
	of.Topic, of.Partitions = topic, []kmsg.TxnOffsetCommitRequestTopicPartition{{Offset: 1, LeaderEpoch: -1}}
	commit := kmsg.NewPtrTxnOffsetCommitRequest()
	commit.TransactionalID, commit.ProducerID, commit.ProducerEpoch, commit.Group = transactionalID, id, epoch, group
	commit.Topics = append(commit.Topics, of)
	committed, err := commit.RequestWith(w.Context(), cl)
	require.NoError(w, err)
	require.NoError(w, kerr.ErrorForCode(committed.Topics[0].Partitions[0].ErrorCode))
}

// While a transaction that commits offsets of the group is open, where the group
// stands is not known: nothing begins, and a log line says why and how to end it.
func TestConsumer_WaitsForStableOffsets(t *testing.T) {
	for name, pinned := range map[string]map[string][]int32{"in a group": nil, "pinned": {topic: {0}}} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.transactional(1)
				w.opts.Pinned = pinned
				w.produce(0, "z")
				require.NoError(t, w.run())
				cl, end := w.openTransaction("a")
				w.commitsIn(cl, "producer")
				said := new(alarms)
				w.opts.Logger = said.logger()
				c, stop := w.start(w.calls.handle)
				time.Sleep(unstableCheck - time.Second)
				require.NotContains(t, said.text(), "kafka-transactions.sh", "most transactions end soon")
				time.Sleep(unstableCheck + 5*time.Second) // the transaction is open for 40 s
				require.Contains(t, said.text(), "kafka-transactions.sh")
				require.Zero(t, said.saysNoPartitions(), "it has been given some")
				require.Zero(t, c.Stats().Partitions)
				end(kgo.TryAbort)
				w.until(func() bool { return c.Stats().Partitions == 1 })
				lines := said.text()
				w.produce(0, "b")
				w.until(func() bool { return c.Stats().New == 1 })
				time.Sleep(3 * unstableCheck)
				require.Equal(t, lines, said.text(), "it is over")
				require.NoError(t, stop())
			})
		})
	}
}
