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
// yet to be read. A restore from the output waits for them: a copy is no new message. The
// other partitions flow meanwhile, in one session.
func TestFault_E07_OutputsNotYetStable(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.transactional(2)
		w.produce(0, ids("a", 10)...)
		w.produce(1, ids("p", 10)...)
		release := w.holdBack(outTopic, 1)
		require.NoError(t, w.relays().Run(t.Context()))
		w.use(w.dir + "-another")
		w.produce(0, append(ids("a", 10), "b")...)
		w.produce(1, append(ids("p", 10), ids("q", 5)...)...)
		said := new(alarms)
		w.opts.Logger = said.logger()
		c := w.relays()
		var goesOn error // why the partition is paused whose restore goes on
		c.step = func(name string) error {
			if at := c.Paused(); name == "restored" && len(at) == 1 && at[0].Partition == 0 {
				goesOn = at[0].Err
			}
			return nil
		}
		ended := make(chan error, 1)
		go func() { ended <- c.Run(t.Context()) }()
		time.Sleep(2 * time.Minute)
		require.Equal(t, uint64(15), c.Stats().Records, "of the other partition")
		require.Contains(t, said.text(), outTopic+"/0 cannot be read from offset 0 to ")
		require.Contains(t, said.text(), "a transaction is open there")
		require.NotContains(t, said.text(), "holds nothing")
		require.NotContains(t, said.text(), "session ended")
		require.Len(t, c.Paused(), 1)
		require.ErrorIs(t, c.Paused()[0].Err, ErrRestoring)
		require.ErrorContains(t, c.Paused()[0].Err, "and waits: "+outTopic+"/0 cannot be read")
		release()
		require.NoError(t, <-ended)
		require.Equal(t, []uint64{20, 6}, []uint64{c.Stats().Duplicates, c.Stats().New})
		require.Equal(t, ErrRestoring, goesOn, "it waits no longer")
		sent := w.kafka.ReadAll(t, outTopic)
		require.Equal(t, []int{11, 15}, []int{len(sent[0]), len(sent[1])})
	})
}
