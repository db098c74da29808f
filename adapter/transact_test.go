package adapter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// transactional makes the world's consumers send in transactions.
func (w *world) transactional(partitions int32) {
	w.Helper()
	w.kafka.CreateTopic(w, outTopic, partitions, nil)
	w.opts.Transactional = true
}

// forward relays as Forward does, and counts in the state.
func forward(_ context.Context, tx *Tx, rec *Record) error {
	if _, err := tx.Add([]byte("n"), 1); err != nil {
		return err
	}
	return tx.forward(outTopic)
}

// onceEach fails unless a read_committed reader sees each of these IDs once in
// each partition, in order.
func (w *world) onceEach(name string, want []string) {
	w.Helper()
	for p, recs := range w.kafka.ReadAll(w, name) {
		var got []string
		for _, r := range recs {
			got = append(got, header(r, "id"))
		}
		require.Equal(w, want, got, "partition %d", p)
	}
}

// settled fails unless the group stands at the end of each partition, and nothing
// is pending there.
func (w *world) settled(partitions int32, at int64) {
	w.Helper()
	for p := range partitions {
		require.Equal(w, at, w.committedAt(p))
		require.Zero(w, w.pending(p))
	}
}

// txnSteps are the steps of the loop with transactions, in their order.
var txnSteps = []string{"polled", "handled", "durable", "produced", "added", "ended"}

// F15: a crash between any two steps, once more while the next session begins:
// a read_committed reader sees every output exactly once, in order, and the state
// is that of every message once.
func TestFault_F15_TransactionsOutliveACrash(t *testing.T) {
	for _, step := range txnSteps {
		for nth := 1; nth <= 3; nth++ {
			t.Run(fmt.Sprint(step, nth), func(t *testing.T) {
				inWorldOf(t, 2, func(t *testing.T, w *world) {
					w.transactional(2)
					w.opts.MaxPollRecords, w.opts.MaxPending = 5, 8
					for p := range int32(2) {
						w.produce(p, append(ids("a", 20), ids("a", 10)...)...)
					}
					require.True(t, w.crashOnce(forward, step, nth))
					before := 0
					for _, recs := range w.kafka.ReadAll(t, outTopic) {
						before += len(recs)
					}
					again := w.crashOnce(forward, "produced", 1) // of what is pending, or of the next
					require.NoError(t, w.consumer(forward).Run(t.Context()))
					w.onceEach(outTopic, ids("a", 20))
					w.settled(2, 30)
					for p := range int32(2) {
						require.Equal(t, int64(20), w.state(p, "n"))
					}
					require.True(t, again || before == 40, "%d were there after the first crash", before)
				})
			})
		}
	}
}

// A transaction that was committed when the process died is known by the tag: its
// outputs are not sent again, and the handler is not called.
func TestTransactions_CommittedBeforeTheCrash(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.transactional(1)
		w.produce(0, ids("a", 3)...)
		require.True(t, w.crashOnce(forward, "ended", 1))
		w.onceEach(outTopic, ids("a", 3))
		w.settled(1, 3)
		c := w.consumer(func(context.Context, *Tx, *Record) error { return errors.New("called") })
		require.NoError(t, c.Run(t.Context()))
		require.Zero(t, c.Stats().Transactions)
		w.onceEach(outTopic, ids("a", 3))
	})
}

// While records are there already the transaction grows by them, up to half of
// MaxPending; what comes alone is sent alone, at once.
func TestTransactions_GrowWithTheBacklog(t *testing.T) {
	for name, test := range map[string]struct {
		pending      int
		transactions uint64
	}{
		"all at once": {0, 1}, "bounded": {200, 10},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.transactional(1)
				w.opts.MaxPollRecords, w.opts.MaxPending = 10, test.pending
				w.produce(0, ids("a", 1000)...)
				c, stop := w.start(forward)
				w.until(func() bool { return c.Stats().Outputs == 1000 })
				require.Equal(t, test.transactions, c.Stats().Transactions)
				for i := range 3 {
					begun := time.Now()
					w.produce(0, "b"+strconv.Itoa(i))
					for c.Stats().Outputs < 1001+uint64(i) {
						time.Sleep(time.Millisecond)
					}
					require.Less(t, time.Since(begun), growFor)
				}
				require.Equal(t, test.transactions+3, c.Stats().Transactions)
				require.NoError(t, stop())
				w.onceEach(outTopic, append(ids("a", 1000), ids("b", 3)...))
				w.settled(1, 1003)
			})
		})
	}
}

// A transaction does not grow for longer than growFor, however many records there
// are.
func TestTransactions_GrowForAWhile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.transactional(1)
		w.opts.MaxPollRecords = 1
		w.produce(0, ids("a", 30)...)
		c := w.consumer(func(ctx context.Context, tx *Tx, rec *Record) error {
			time.Sleep(growFor / 3)
			return forward(ctx, tx, rec)
		})
		require.NoError(t, c.Run(t.Context()))
		require.GreaterOrEqual(t, c.Stats().Transactions, uint64(6))
		require.LessOrEqual(t, c.Stats().Transactions, uint64(10))
		w.onceEach(outTopic, ids("a", 30))
	})
}

// A partition that stops or pauses in the middle of a poll loses nothing of it: what
// is committed is the store's position, not what was polled.
func TestTransactions_StoppedInMidPoll(t *testing.T) {
	for _, policy := range []OnFailure{FailureStop, FailurePause} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			inWorldOf(t, 2, func(t *testing.T, w *world) {
				w.transactional(2)
				w.opts.OnFailure, w.opts.MaxAttempts = policy, 1
				for p := range int32(2) {
					w.produce(p, ids("a", 20)...)
				}
				bad := errors.New("not now")
				failing := func(ctx context.Context, tx *Tx, rec *Record) error {
					if rec.Partition == 1 && rec.Offset == 7 {
						return bad
					}
					return forward(ctx, tx, rec)
				}
				require.ErrorIs(t, w.consumer(failing).Run(t.Context()), bad)
				require.Equal(t, int64(7), w.committedAt(1))
				require.Len(t, w.kafka.ReadAll(t, outTopic)[1], 7)
				require.NoError(t, w.consumer(forward).Run(t.Context()))
				w.onceEach(outTopic, ids("a", 20))
				w.settled(2, 20)
			})
		})
	}
}

// Resumed in the same session, a paused partition goes on where it stood.
func TestTransactions_ResumedInMidPoll(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.transactional(1)
		w.opts.OnFailure, w.opts.MaxAttempts = FailurePause, 1
		w.produce(0, ids("a", 20)...)
		broken := true
		c, stop := w.start(func(ctx context.Context, tx *Tx, rec *Record) error {
			if broken && rec.Offset == 7 {
				return errors.New("not now")
			}
			return forward(ctx, tx, rec)
		})
		w.until(func() bool { return c.Stats().Paused == 1 && c.Stats().Outputs == 7 })
		w.produce(0, "b")
		broken = false
		require.True(t, c.Resume(topic, 0))
		w.until(func() bool { return c.Stats().Outputs == 21 })
		require.NoError(t, stop())
		w.onceEach(outTopic, append(ids("a", 20), "b"))
		w.settled(1, 21)
	})
}

// E03: what has grown is committed before a rebalance takes the partition.
func TestFault_E03_RebalanceWhileATransactionGrows(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.transactional(2)
		w.opts.MaxPollRecords = 1
		for p := range int32(2) {
			w.produce(p, ids("a", 400)...)
		}
		c, stop := w.start(func(ctx context.Context, tx *Tx, rec *Record) error {
			time.Sleep(50 * time.Millisecond)
			return forward(ctx, tx, rec)
		})
		w.until(func() bool { return c.Stats().New > 100 })
		leave := w.foreign()
		w.until(func() bool { return c.Stats().Partitions == 1 })
		seen := 0
		for p, recs := range w.kafka.ReadAll(t, outTopic) {
			seen += len(recs)
			require.LessOrEqual(t, w.committedAt(p), w.position(p))
		}
		require.Greater(t, seen, 50)
		require.True(t, w.committedAt(0) == w.position(0) || w.committedAt(1) == w.position(1), "of the one that went")
		leave()
		w.until(func() bool { return c.Stats().Outputs == 800 })
		require.NoError(t, stop())
		require.Zero(t, c.Stats().Sessions)
		require.Zero(t, c.Stats().Replays)
		w.onceEach(outTopic, ids("a", 400))
		w.settled(2, 400)
	})
}

// What has grown when Run is to end is committed.
func TestTransactions_EndWhileOneGrows(t *testing.T) {
	for records := range uint64(5) {
		inWorld(t, func(t *testing.T, w *world) {
			w.transactional(1)
			w.opts.MaxPollRecords = 1
			w.produce(0, ids("a", 100)...)
			c, stop := w.start(func(ctx context.Context, tx *Tx, rec *Record) error {
				time.Sleep(10 * time.Millisecond)
				return forward(ctx, tx, rec)
			})
			for c.Stats().New < 12+records {
				time.Sleep(time.Millisecond)
			}
			require.NoError(t, stop())
			at := w.position(0)
			require.Less(t, at, int64(100))
			require.Equal(t, at, w.committedAt(0))
			w.onceEach(outTopic, ids("a", int(at)))
		})
	}
}

// Dead letters and copies of duplicates go in the transaction of their records.
func TestTransactions_DeadLettersAndDuplicates(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.transactional(1)
		w.kafka.CreateTopic(t, "dead", 1, nil)
		w.kafka.CreateTopic(t, "again", 1, nil)
		w.opts.DeadLetterTopic, w.opts.DuplicatesTopic = "dead", "again"
		w.produce(0, "a", "bad", "a", "b", "bad", "b")
		handler := func(ctx context.Context, tx *Tx, rec *Record) error {
			if string(rec.ID) == "bad" {
				return DeadLetter(errors.New("no"))
			}
			return forward(ctx, tx, rec)
		}
		require.True(t, w.crashOnce(handler, "added", 1))
		for _, name := range []string{outTopic, "dead", "again"} {
			require.Empty(t, w.values(name))
		}
		c := w.consumer(handler)
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, uint64(1), c.Stats().Transactions)
		w.onceEach(outTopic, []string{"a", "b"})
		w.onceEach("dead", []string{"bad", "bad"})
		w.onceEach("again", []string{"a", "b"})
		w.settled(1, 6)
	})
}

// Records without outputs need no transaction; in one they go along.
func TestTransactions_PositionsWithoutOutputs(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.transactional(2)
		w.produce(0, "a", "b")
		c := w.consumer(w.calls.handle)
		require.NoError(t, c.Run(t.Context()))
		require.Zero(t, c.Stats().Transactions)
		require.Equal(t, int64(2), w.committedAt(0))
		w.produce(0, "a", "b")
		w.produce(1, "c")
		c = w.consumer(forward)
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, uint64(1), c.Stats().Transactions)
		w.settled(1, 4)
		require.Equal(t, int64(1), w.committedAt(1))
	})
}

// An adopted backup has another store ID, and with it another transactional ID.
func TestTransactionalID(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		id := transactionalID(group, w.st.ID())
		require.True(t, strings.HasPrefix(id, "firstseen-"+group+"-"))
		require.True(t, strings.HasSuffix(id, w.st.ID().String()))
		w.transactional(1)
		w.produce(0, "a")
		require.NoError(t, w.consumer(forward).Run(t.Context()))
		listed, err := kadm.NewClient(w.kafka.Client(t)).ListTransactions(t.Context(), nil, nil)
		require.NoError(t, err)
		require.Equal(t, []string{id}, listed.TransactionalIDs())
	})
}

// Outputs too many bytes for one transaction go in several, each partition whole.
func TestTransactions_RoomOfOne(t *testing.T) {
	inWorldOf(t, 3, func(t *testing.T, w *world) {
		w.transactional(3)
		for p := range int32(3) {
			w.produce(p, ids("a", 3)...)
		}
		big := bytes.Repeat([]byte("x"), 900_000)
		c := w.consumer(func(ctx context.Context, tx *Tx, rec *Record) error {
			for range 15 { // 13.5 MB for each record, 40 MB for each partition
				out := &kgo.Record{Topic: outTopic, Value: big, Headers: rec.Headers}
				if err := tx.Produce(out); err != nil {
					return err
				}
			}
			return nil
		})
		require.NoError(t, c.Run(t.Context()))
		require.Greater(t, c.Stats().Transactions, uint64(1))
		for _, recs := range w.kafka.ReadAll(t, outTopic) {
			require.Len(t, recs, 45)
		}
		w.settled(3, 3)
	})
}
