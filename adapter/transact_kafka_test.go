//go:build kafka

package adapter

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/internal/kafkatest"
)

// A crash at every step, on a real Kafka, and once more while what is pending is
// sent: each output once, in order, with transactions as they are now and as they
// were before KIP-890. Both take the ID over from a transaction that is open.
func TestRealTransactions(t *testing.T) {
	b := kafkatest.StartReal(t, 1)
	for _, version := range []int16{2, 1} { // downwards: features only sets a level below
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			onReal(t, b, func(t *testing.T, w *world) {
				var log alarms
				w.opts.Logger = log.logger()
				w.features(map[string]int16{"transaction.version": version})
				realTransactions(t, w)
				require.Equal(t, version < 2, strings.Contains(log.text(), "KIP-890"))
			})
		})
	}
}

func realTransactions(t *testing.T, w *world) {
	const each = 3000
	w.opts.Transactional = true
	w.opts.MaxPollRecords, w.opts.MaxPending = 200, 400
	for p := range int32(4) {
		all := ids("a", each)
		w.produce(p, append(all, all[:each/2]...)...)
	}
	for i, step := range append(txnSteps, txnSteps...) {
		require.True(t, w.crashOnce(forward, step, 1+i/4), step)
	}
	c := w.consumer(forward)
	fenced := false
	c.step = func(done string) error {
		if done == "produced" && !fenced { // another process comes with the same store
			fenced = true
			w.takeOver()
		}
		return nil
	}
	require.NoError(t, c.Run(t.Context()))
	require.Equal(t, uint64(1), c.Stats().Sessions)
	w.onceEach(outTopic, ids("a", each))
	w.settled(4, each+each/2)
	for p := range int32(4) {
		require.Equal(t, int64(each), w.state(p, "n"))
	}
	require.NotZero(t, c.Stats().Transactions)
}
