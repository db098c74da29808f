package adapter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// txnFault makes Kafka answer a request of transactions with an error.
func (w *world) txnFault(key kmsg.Key, err *kerr.Error, count int) *kfake.FaultHandle {
	return w.kafka.Fake.Fault(kfake.Fault{
		Keys: []kmsg.Key{key}, Err: err, Count: count, TxnID: transactionalID(group, w.st.ID()),
	})
}

// E17: the answer to the end of a transaction does not come. Whether it was
// committed is not known: the session ends, the next one takes the ID over, and the
// tag of the group's offset says it.
func TestFault_E17_EndIsNotAnswered(t *testing.T) {
	for _, committed := range []bool{false, true} {
		name := map[bool]string{false: "not committed", true: "committed"}[committed]
		t.Run(name, func(t *testing.T) {
			inWorldOf(t, 2, func(t *testing.T, w *world) {
				w.transactional(2)
				for p := range int32(2) {
					w.produce(p, ids("a", 10)...)
				}
				held := w.holdEnd(committed)
				c := w.consumer(forward)
				require.NoError(t, c.Run(t.Context()))
				require.True(t, held.Load())
				require.Equal(t, uint64(1), c.Stats().Sessions)
				w.onceEach(outTopic, ids("a", 10))
				w.settled(2, 10)
				if committed {
					require.Zero(t, c.Stats().Transactions, "nothing is sent again")
				}
			})
		})
	}
}

// holdEnd has no end of a transaction answered until the ID is taken over anew. What
// the first one asks for is done, or not at all.
func (w *world) holdEnd(done bool) *atomic.Bool {
	w.Helper()
	other := w.kafka.Client(w)
	var held, passing atomic.Bool
	var begun atomic.Int32
	w.kafka.Fake.ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
		w.kafka.Fake.KeepControl()
		begun.Add(1)
		return nil, nil, false
	})
	w.kafka.Fake.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		w.kafka.Fake.KeepControl()
		if begun.Load() > 1 || passing.Load() {
			return nil, nil, false
		}
		if first := !held.Swap(true); first && done {
			same := *req.(*kmsg.EndTxnRequest)
			w.kafka.Fake.SleepControl(func() {
				passing.Store(true)
				defer passing.Store(false)
				if _, err := same.RequestWith(context.Background(), other); err != nil {
					panic(err)
				}
			})
		}
		return nil, errors.New("the connection breaks"), true
	})
	return &held
}

// E17: another process with the same store takes the transactional ID over. The
// session is fenced and ends without a commit; its transaction leaves no trace.
func TestFault_E17_Zombie(t *testing.T) {
	for _, step := range []string{"durable", "produced", "added"} {
		t.Run(step, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.transactional(1)
				w.produce(0, ids("a", 10)...)
				c := w.consumer(forward)
				fenced := false
				c.step = func(done string) error {
					if done == step && !fenced {
						fenced = true
						w.takeOver()
					}
					return nil
				}
				require.NoError(t, c.Run(t.Context()))
				require.Equal(t, uint64(1), c.Stats().Sessions)
				require.Equal(t, uint64(1), c.Stats().Transactions)
				w.onceEach(outTopic, ids("a", 10))
				w.settled(1, 10)
			})
		})
	}
}

// takeOver is the start of another process with the same store.
func (w *world) takeOver() {
	w.Helper()
	cl := w.kafka.Client(w, kgo.TransactionalID(transactionalID(group, w.st.ID())))
	_, _, err := cl.ProducerID(w.Context())
	require.NoError(w, err)
}

// E17: brokers whose transactions are older than KIP-890 work, and the log says
// what that costs. A new broker may have old transactions, by its features.
func TestFault_E17_OlderTransactions(t *testing.T) {
	of39 := []kgo.Opt{kgo.MaxVersions(kversion.V3_9_0())}
	for name, test := range map[string]struct {
		features map[string]int16
		opts     []kgo.Opt
		warns    bool
	}{
		"version 2":         {nil, nil, false},
		"version 1":         {map[string]int16{"transaction.version": 1}, nil, true},
		"version 0":         {map[string]int16{"transaction.version": 0}, nil, true},
		"client of 3.9":     {nil, of39, true},
		"version 1, of 3.9": {map[string]int16{"transaction.version": 1}, of39, true},
	} {
		t.Run(name, func(t *testing.T) {
			inWorldOf(t, 2, func(t *testing.T, w *world) {
				var log alarms
				w.opts.Logger = log.logger()
				w.opts.Client = append(w.opts.Client, test.opts...)
				w.features(test.features)
				w.transactional(2)
				w.opts.MaxPollRecords, w.opts.MaxPending = 5, 8
				for p := range int32(2) {
					w.produce(p, ids("a", 20)...)
				}
				for _, step := range []string{"produced", "added", "ended"} {
					require.True(t, w.crashOnce(forward, step, 1))
				}
				require.NoError(t, w.consumer(forward).Run(t.Context()))
				require.Equal(t, test.warns, strings.Contains(log.text(), "KIP-890"))
				w.onceEach(outTopic, ids("a", 20))
				w.settled(2, 20)
			})
		})
	}
}

// features sets features of the cluster, by name, to levels that are not above
// what they are.
func (w *world) features(levels map[string]int16) {
	w.Helper()
	for name, level := range levels {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		update := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		update.Feature, update.MaxVersionLevel, update.UpgradeType = name, level, 3 // down, whatever it costs
		req.FeatureUpdates = append(req.FeatureUpdates, update)
		resp, err := req.RequestWith(w.Context(), w.kafka.Client(w))
		require.NoError(w, err)
		require.NoError(w, kerr.ErrorForCode(resp.ErrorCode))
	}
}

// What Kafka answers to a transaction, and what follows.
func TestTransactions_Refusals(t *testing.T) {
	for name, test := range map[string]struct {
		key      kmsg.Key
		err      *kerr.Error
		want     error // that ends Run; nil: it goes on
		sessions uint64
	}{
		"offsets, the coordinator moves": {kmsg.TxnOffsetCommit, kerr.NotCoordinator, nil, 0},
		"offsets, a rebalance":           {kmsg.TxnOffsetCommit, kerr.RebalanceInProgress, nil, 0},
		"offsets, concurrent":            {kmsg.TxnOffsetCommit, kerr.ConcurrentTransactions, nil, 0},
		"offsets, abort":                 {kmsg.TxnOffsetCommit, kerr.TransactionAbortable, nil, 0},
		"offsets, taken and timed out":   {kmsg.TxnOffsetCommit, kerr.RequestTimedOut, nil, 0},
		"offsets, fenced":                {kmsg.TxnOffsetCommit, kerr.FencedInstanceID, nil, 1},
		"offsets, not a member":          {kmsg.TxnOffsetCommit, kerr.UnknownMemberID, nil, 1},
		"offsets, fenced producer":       {kmsg.TxnOffsetCommit, kerr.ProducerFenced, nil, 1},
		"offsets, not allowed":           {kmsg.TxnOffsetCommit, kerr.GroupAuthorizationFailed, ErrCommitRefused, 0},
		"end, abort":                     {kmsg.EndTxn, kerr.TransactionAbortable, nil, 0},
		"end, fenced":                    {kmsg.EndTxn, kerr.ProducerFenced, nil, 1},
		"end, unknown":                   {kmsg.EndTxn, kerr.UnknownServerError, nil, 1},
		"begin, not allowed": {kmsg.InitProducerID, kerr.TransactionalIDAuthorizationFailed,
			ErrTransactionRefused, 0},
		"produce, fenced": {kmsg.Produce, kerr.InvalidProducerEpoch, nil, 1},
		"produce, abort":  {kmsg.Produce, kerr.TransactionAbortable, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.transactional(1)
				w.produce(0, ids("a", 10)...)
				fault := w.txnFault(test.key, test.err, 1)
				if test.key == kmsg.Produce { // it names no transaction to select by
					fault = w.kafka.Fake.Fault(kfake.Fault{Keys: []kmsg.Key{test.key}, Err: test.err, Topic: outTopic})
				}
				c := w.consumer(forward)
				err := c.Run(t.Context())
				require.Equal(t, 1, fault.Hits())
				require.Equal(t, test.sessions, c.Stats().Sessions)
				if test.want != nil {
					require.ErrorIs(t, err, test.want)
					require.ErrorIs(t, err, test.err)
					require.NoError(t, w.consumer(forward).Run(t.Context()))
				} else {
					require.NoError(t, err)
				}
				w.onceEach(outTopic, ids("a", 10))
				w.settled(1, 10)
			})
		})
	}
}

// F15, R12: Kafka refuses one output for good. It is found among many, nothing of
// its partition is seen, and the others go on. The next Run sends all of it.
func TestFault_F15_OneOutputIsRefusedInATransaction(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.transactional(2)
		w.opts.Client = append(w.opts.Client, kgo.ProducerBatchCompression(kgo.NoCompression()))
		for p := range int32(2) {
			var recs []*kgo.Record
			for _, id := range ids("a", 700) {
				rec := record(p, id)
				rec.Value = fmt.Appendf(nil, "%d-%s", p, rec.Value)
				recs = append(recs, rec)
			}
			w.kafka.Produce(t, recs...)
		}
		fault := w.refuseValue(outTopic, "1-v-a333", kerr.InvalidTimestamp, 1)
		err := w.consumer(forward).Run(t.Context())
		require.ErrorIs(t, err, ErrOutputRefused)
		require.ErrorIs(t, err, kerr.InvalidTimestamp)
		require.ErrorContains(t, err, "/1@333)")
		require.LessOrEqual(t, fault.Hits(), 14, "halved each time")
		got := w.kafka.ReadAll(t, outTopic)
		require.Len(t, got[0], 700)
		require.Empty(t, got[1])
		require.Equal(t, int64(700), w.committedAt(0))
		require.LessOrEqual(t, w.committedAt(1), int64(0))
		fault.Remove()
		require.NoError(t, w.consumer(forward).Run(t.Context()))
		w.onceEach(outTopic, ids("a", 700))
		w.settled(2, 700)
	})
}

// F15: a batch that is refused as a whole, and of which no record is, goes in parts.
func TestFault_F15_BatchIsRefusedInATransaction(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.transactional(1)
		w.opts.Client = append(w.opts.Client, kgo.ProducerBatchCompression(kgo.NoCompression()))
		w.produce(0, ids("a", 100)...)
		w.kafka.Fake.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidRecord, Topic: outTopic, Count: -1,
			When: func(r kmsg.Request) bool {
				records := r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records
				return bytes.Contains(records, []byte("v-a42")) && bytes.Contains(records, []byte("v-a43"))
			},
		})
		require.NoError(t, w.consumer(forward).Run(t.Context()))
		w.onceEach(outTopic, ids("a", 100))
		w.settled(1, 100)
	})
}

// F05: the dead-letter topic is away. The transactions of the other partitions go
// on; that of the dead letters pauses at its bound, and goes on by itself.
func TestFault_F05_DeadLetterTopicAwayInTransactions(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.transactional(2)
		w.kafka.CreateTopic(t, "dead", 2, nil)
		w.opts.DeadLetterTopic, w.opts.MaxPending, w.opts.MaxPollRecords = "dead", 20, 5
		away := refuse(w.kafka, "dead", kerr.NotEnoughReplicas)
		for p := range int32(2) {
			w.produce(p, ids("a", 40)...)
		}
		c, stop := w.start(func(ctx context.Context, tx *Tx, rec *Record) error {
			if rec.Partition == 1 && rec.Offset%2 == 0 {
				return DeadLetter(errors.New("no"))
			}
			return forward(ctx, tx, rec)
		})
		w.until(func() bool { return c.Stats().New == 50 && c.Stats().Paused == 1 })
		w.produce(0, "b")
		w.until(func() bool { return len(w.kafka.ReadAll(t, outTopic)[0]) == 41 })
		require.Equal(t, int64(41), w.committedAt(0))
		require.LessOrEqual(t, w.committedAt(1), int64(0))
		require.Empty(t, w.kafka.ReadAll(t, outTopic)[1])
		require.ErrorIs(t, c.Paused()[0].Err, ErrOutputsPending)
		require.GreaterOrEqual(t, c.Paused()[0].Offset, int64(20))
		leave := w.foreign() // a rebalance is possible
		w.until(func() bool { return c.Stats().Partitions == 1 })
		leave()
		away.Remove()
		w.until(func() bool { return len(w.kafka.ReadAll(t, outTopic)[1]) == 20 })
		require.NoError(t, stop())
		require.Zero(t, c.Stats().Sessions)
		require.Len(t, w.kafka.ReadAll(t, "dead")[1], 20)
		w.settled(1, 41)
		require.Equal(t, int64(40), w.committedAt(1))
	})
}

// E17: all brokers are away in the middle of a transaction.
func TestFault_E17_BrokersAwayInATransaction(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.transactional(1)
		w.produce(0, ids("a", 10)...)
		var away atomic.Bool
		w.kafka.Fake.Control(func(kmsg.Request) (kmsg.Response, error, bool) {
			w.kafka.Fake.KeepControl()
			if away.Load() {
				return nil, errors.New("away"), true
			}
			return nil, nil, false
		})
		c := w.consumer(forward)
		c.step = func(done string) error {
			if done == "produced" && c.Stats().Sessions == 0 {
				away.Store(true)
				time.AfterFunc(time.Hour, func() { away.Store(false) })
			}
			return nil
		}
		begun := time.Now()
		require.NoError(t, c.Run(t.Context()))
		require.GreaterOrEqual(t, time.Since(begun), time.Hour)
		w.onceEach(outTopic, ids("a", 10))
		w.settled(1, 10)
		require.Equal(t, int64(10), w.state(0, "n"))
	})
}
