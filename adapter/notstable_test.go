package adapter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// holdBack has a transaction of another producer hold back, for read_committed readers,
// what is written to a topic from now on, as one does whose end Kafka has told and not
// yet written there. It ends with release.
func (w *world) holdBack(topic string, partitions int32) (release func()) {
	w.Helper()
	cl := w.kafka.Client(w, kgo.TransactionalID("another"), kgo.TransactionTimeout(10*time.Minute),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(w, cl.BeginTransaction())
	for p := range partitions {
		rec := record(p, "held")
		rec.Topic = topic
		require.NoError(w, cl.ProduceSync(w.Context(), rec).FirstErr())
	}
	return func() { require.NoError(w, cl.EndTransaction(w.Context(), kgo.TryAbort)) }
}

// The second stage goes on to the end that the first one has left, also when that is
// not yet to be read.
func TestRepartition_UntilEnd_NotYetStable(t *testing.T) {
	apart(t, func(t *testing.T, w *world) {
		w.scatter(ids("a", 12))
		release := w.holdBack(betweenTopic, places)
		ended := make(chan error, 1)
		go func() { ended <- w.repartition(Forward(outTopic)).Run(t.Context()) }()
		time.Sleep(time.Minute)
		require.Empty(t, ended, "there is more to come")
		release()
		require.NoError(t, <-ended)
		w.exactly(ids("a", 12))
	})
}

// E07: the group's offset is settled, and the outputs of the same transaction are not
// yet to be read. A restore from the output waits for them: a copy is no new message.
func TestFault_E07_OutputsNotYetStable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.transactional(1)
		w.produce(0, ids("a", 10)...)
		release := w.holdBack(outTopic, 1)
		require.NoError(t, w.relays().Run(t.Context()))
		w.use(w.dir + "-another")
		w.produce(0, append(ids("a", 10), "b")...)
		said := new(alarms)
		w.opts.Logger = said.logger()
		c := w.relays()
		ended := make(chan error, 1)
		go func() { ended <- c.Run(t.Context()) }()
		time.Sleep(time.Minute)
		require.Zero(t, c.Stats().Records)
		require.Contains(t, said.text(), outTopic+"/0 cannot be read from offset 0 to ")
		require.Contains(t, said.text(), "a transaction is open there")
		require.NotContains(t, said.text(), "holds nothing")
		release()
		require.NoError(t, <-ended)
		require.Equal(t, []uint64{10, 1}, []uint64{c.Stats().Duplicates, c.Stats().New})
		w.onceEach(outTopic, append(ids("a", 10), "b"))
	})
}
