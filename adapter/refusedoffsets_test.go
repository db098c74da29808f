package adapter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/firstseen/firstseen/store"
)

// F15: Kafka goes on refusing the offsets of a transaction, as where a right on the
// group was taken away. It is tried once, whatever else is pending, and Run ends; the
// next one sends what is pending, once.
func TestFault_F15_OffsetsStayRefusedInATransaction(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.transactional(2)
		for p := range int32(2) {
			w.produce(p, ids("a", 10)...)
		}
		const most = 40 // or one that tries again without an end would not fail, but hang
		fault := w.txnFault(kmsg.TxnOffsetCommit, kerr.GroupAuthorizationFailed, most)
		begun := time.Now()
		c := w.consumer(forward)
		err := c.Run(t.Context())
		require.ErrorIs(t, err, ErrCommitRefused)
		require.ErrorIs(t, err, kerr.GroupAuthorizationFailed)
		require.Equal(t, 1, fault.Hits())
		require.Less(t, time.Since(begun), time.Minute)
		require.Zero(t, c.Stats().Transactions)
		for _, recs := range w.kafka.ReadAll(t, outTopic) {
			require.Empty(t, recs)
		}
		fault.Remove()
		require.NoError(t, w.consumer(forward).Run(t.Context()))
		w.onceEach(outTopic, ids("a", 10))
		w.settled(2, 10)
	})
}

// The store stops while a transaction is open: it is aborted, and not tried again.
func TestTransactions_StoreStopsInOne(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.transactional(1)
		w.produce(0, ids("a", 10)...)
		c := w.consumer(forward)
		produced := 0
		c.step = func(done string) error {
			if done != "produced" {
				return nil
			}
			if produced++; produced > 20 {
				return errCrash
			}
			return w.st.Close()
		}
		require.ErrorIs(t, c.Run(t.Context()), store.ErrClosed)
		require.Equal(t, 1, produced)
		w.open()
		require.NoError(t, w.consumer(forward).Run(t.Context()))
		w.onceEach(outTopic, ids("a", 10))
		w.settled(1, 10)
	})
}
