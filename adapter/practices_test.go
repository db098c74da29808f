package adapter

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/window"
)

// The tables of any page on deduplication with Kafka, a test for each row: what it
// gives, and where it ends.

// 1, an idempotent handler: a row that is written twice is the same row. That is
// all that it helps: a balance that is added to twice is not the same balance.
func TestDuplicateHandling_1_IdempotentHandler(t *testing.T) {
	inBareWorld(t, func(t *testing.T, p *bare) {
		p.produce(0, "a", "b", "c", "a")
		table, balance := map[string]string{}, 0
		p.each(func(r *kgo.Record) error {
			table[header(r, "id")] = string(r.Value)
			balance++
			if err := p.crash(r, "b"); err != nil {
				return err
			}
			p.commit(r)
			return nil
		})
		require.Equal(t, map[string]string{"a": "v-a", "b": "v-b", "c": "v-c"}, table)
		require.Equal(t, 5, balance, "of 3 messages")
		p.byFirstseen("a", "b", "c")
	})
}

// 2, check, then mark, in a store outside: it catches copies that Kafka holds, and
// over a crash it loses or doubles, as it marks before the effect or after it.
func TestDuplicateHandling_2_CheckThenMark(t *testing.T) {
	for name, want := range map[string]map[string]int{
		"mark, then effect": {"a": 1, "c": 1},
		"effect, then mark": {"a": 1, "b": 2, "c": 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBareWorld(t, func(t *testing.T, p *bare) {
				p.produce(0, "a", "a", "b", "c", "b")
				p.markedElsewhere(want["b"] == 0)
				require.Equal(t, want, p.effects)
				p.byFirstseen("a", "b", "c")
			})
		})
	}
}

// 3, marker and effect in one transaction: exact, wherever it crashes. It is what
// a handler's state is, and its outputs.
func TestDuplicateHandling_3_OneTransaction(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		w.opts.MaxPollRecords = 2
		w.produce(0, "a", "b", "a", "c", "b", "d")
		for _, step := range steps {
			w.crashOnce(shout, step, 1)
		}
		require.NoError(t, w.consumer(shout).Run(t.Context()))
		require.Equal(t, int64(4), w.state(0, "n"))
		for _, v := range []string{"V-A", "V-B", "V-C", "V-D"} {
			require.Positive(t, w.outputs(outTopic)[v], "%s is at least once, under one output ID", v)
		}
	})
}

// 4, Kafka's transactions: exact from topic to topic, over a crash, for what Kafka
// itself would repeat. What stands in the input twice, stands in the output twice;
// with firstseen in the transaction, once.
func TestDuplicateHandling_4_KafkaTransactions(t *testing.T) {
	inBareWorld(t, func(t *testing.T, p *bare) {
		const copied = "copied"
		p.kafka.CreateTopic(t, copied, 1, nil)
		p.transactional(1)
		p.produce(0, "a", "b", "c")
		require.ErrorIs(t, p.copyOnce(copied, true), errCrash)
		require.NoError(t, p.copyOnce(copied, false))
		p.onceEach(copied, []string{"a", "b", "c"})

		p.produce(0, "b") // upstream sends it again
		require.NoError(t, p.copyOnce(copied, false))
		p.onceEach(copied, []string{"a", "b", "c", "b"})

		for _, step := range txnSteps {
			p.crashOnce(forward, step, 1)
		}
		require.NoError(t, p.consumer(forward).Run(t.Context()))
		p.onceEach(outTopic, []string{"a", "b", "c"})
	})
}

// copyOnce copies what the group has not committed to another topic, in one
// transaction, before the end of which it may crash.
func (p *bare) copyOnce(to string, crash bool) error {
	p.Helper()
	left := p.left()
	s, err := kgo.NewGroupTransactSession(append(p.kafka.DialOptions(),
		kgo.SeedBrokers(p.kafka.Brokers()...), kgo.TransactionalID(bareGroup), kgo.ConsumerGroup(bareGroup),
		kgo.ConsumeTopics(topic), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	require.NoError(p, err)
	defer s.Close()
	require.NoError(p, s.Begin())
	for left > 0 {
		fetches := s.PollFetches(p.Context())
		require.NoError(p, fetches.Err())
		for _, r := range fetches.Records() {
			out := &kgo.Record{Topic: to, Value: r.Value, Headers: r.Headers}
			require.NoError(p, s.ProduceSync(p.Context(), out).FirstErr())
			left--
		}
	}
	if crash {
		return errCrash
	}
	committed, err := s.End(p.Context(), kgo.TryCommit)
	require.NoError(p, err)
	require.True(p, committed)
	return nil
}

// The table of windows: how late copies come, the window that catches them, and
// the next shorter one, which does not.
func TestWindows_RetryOfAProducer_Minutes(t *testing.T) {
	catches(t, 10*time.Minute, window.Hour, window.Of(5*time.Minute))
}

func TestWindows_RestartOfAProducer_Hours(t *testing.T) {
	catches(t, 5*time.Hour, window.Day, window.Hour)
}

func TestWindows_UpstreamReplay_Days(t *testing.T) {
	catches(t, 3*24*time.Hour, window.Week, window.Day)
}

func TestWindows_CopyOfAnyAge_Forever(t *testing.T) {
	catches(t, 365*24*time.Hour, window.Forever, window.Week)
}

// catches fails unless a copy that comes so much later is a duplicate in the one
// window, and in the shorter one is handled again, as the marker has expired.
func catches(t *testing.T, later time.Duration, by, shorter window.Window) {
	t.Helper()
	for win, want := range map[window.Window]int{by: 1, shorter: 2} {
		t.Run(win.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.opts.Window = win
				begin := time.Now().Add(-2 * later)
				step := min(shorter.TTL(), later) / 16 // a stream without long gaps
				var recs []*kgo.Record
				at := func(after time.Duration, id string) {
					r := record(0, id)
					r.Timestamp = begin.Add(after)
					recs = append(recs, r)
				}
				for _, id := range ids("before-", firstTimes) { // they set the clock
					at(0, id)
				}
				at(0, "copied")
				for i := 1; time.Duration(i)*step < later; i++ {
					at(time.Duration(i)*step, fmt.Sprint("other-", i))
				}
				at(later, "copied")
				w.kafka.Produce(t, recs...)
				c := w.consumer(countID)
				require.NoError(t, c.Run(t.Context()))
				require.Equal(t, want, w.states()["copied"])
				require.Zero(t, c.Stats().Unknown, "it was decided, not guessed")
			})
		})
	}
}

// The ID of the business names the message, wherever and however often it stands.
func TestBestPractices_BusinessIDInsteadOfOffset(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "payment-7", "payment-8", "payment-7", "payment-7")
		w.byFirstseen("payment-7", "payment-8")
	})
}

// acks=all and idempotence: what the producer itself repeats, as an answer is lost,
// stands in the log once. Without them it stands there twice.
func TestBestPractices_AcksAllAndIdempotence(t *testing.T) {
	for name, c := range map[string]struct {
		opts []kgo.Opt
		want []string
	}{
		"with":    {ProducerOptions(), []string{"a"}},
		"without": {[]kgo.Opt{kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck())}, []string{"a", "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				dialer, answers := w.lossy()
				cl := w.kafka.Client(t, append(c.opts, dialer, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
				answers.lose.Store(1)
				require.NoError(t, cl.ProduceSync(t.Context(), record(0, "a")).FirstErr())
				require.Zero(t, answers.lose.Load(), "it was lost")
				require.Equal(t, c.want, w.logged(0))
				w.byFirstseen("a")
			})
		})
	}
}

// Commit after processing: nothing is lost, and what the crash cut short is done
// again. That is the half which deduplication makes whole.
func TestBestPractices_CommitAfterProcessing(t *testing.T) {
	inBareWorld(t, func(t *testing.T, p *bare) {
		p.produce(0, "a", "b", "c")
		p.each(func(r *kgo.Record) error {
			p.effect(r)
			if err := p.crash(r, "b"); err != nil {
				return err
			}
			p.commit(r)
			return nil
		})
		require.Equal(t, map[string]int{"a": 1, "b": 2, "c": 1}, p.effects)
		p.byFirstseen("a", "b", "c")
	})
}

// A producer that restarts does not know what Kafka has, and sends it again. The
// ID was kept with the order, so it is the same.
func TestBestPractices_SameIDOverProducerRestarts(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		orders := []string{"order-1", "order-2", "order-3"}
		for _, confirmed := range []int{0, 2} { // before each start
			p, _ := w.producer()
			for _, id := range orders[confirmed:] {
				require.NoError(t, p.Send(t.Context(), record(0, id)))
			}
		}
		require.Equal(t, append(orders, "order-3"), w.logged(0))
		w.byFirstseen(orders...)
	})
}

// Keyed by ID, all copies of a message are in one partition, where they meet.
func TestBestPractices_KeyedByID(t *testing.T) {
	for name, c := range map[string]struct {
		partitioner kgo.Partitioner
		want        int
	}{
		"by ID":       {kgo.StickyKeyPartitioner(nil), 1},
		"round robin": {kgo.RoundRobinPartitioner(), 2},
	} {
		t.Run(name, func(t *testing.T) {
			inWorldOf(t, 4, func(t *testing.T, w *world) {
				cl := w.kafka.Client(t, kgo.RecordPartitioner(c.partitioner))
				for range 2 {
					r := record(0, "a")
					r.Key = []byte("a")
					require.NoError(t, cl.ProduceSync(t.Context(), r).FirstErr())
				}
				require.NoError(t, w.consumer(countID).Run(t.Context()))
				require.Equal(t, map[string]int{"a": c.want}, w.states())
			})
		})
	}
}

// The window is longer than the longest replay reaches back: here two days, of a
// message an hour, all of them once more. As long as that is not longer.
func TestBestPractices_WindowLongerThanTheLongestReplay(t *testing.T) {
	const hours = 48
	for win, want := range map[window.Window]int{
		window.Of((hours + 1) * time.Hour): 0,
		window.Of(hours * time.Hour):       1,
	} {
		t.Run(win.String(), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.opts.Window = win
				begin := time.Now().Add(-100 * time.Hour)
				var recs []*kgo.Record
				at := func(t time.Time, id string) {
					r := record(0, id)
					r.Timestamp = t
					recs = append(recs, r)
				}
				for _, id := range ids("before-", firstTimes) { // they set the clock
					at(begin, id)
				}
				all := ids("m", hours)
				for i, id := range all {
					at(begin.Add(time.Duration(i)*time.Hour), id)
				}
				for i, id := range all {
					at(begin.Add(hours*time.Hour).Add(time.Duration(i)*time.Second), id)
				}
				w.kafka.Produce(t, recs...)
				require.NoError(t, w.consumer(countID).Run(t.Context()))
				twice := 0
				for _, n := range w.states() {
					twice += n - 1
				}
				require.Equal(t, want, twice)
			})
		})
	}
}

// A record that cannot be handled goes aside, and holds up nothing.
func TestBestPractices_PoisonGoesToADeadLetterTopic(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		w.opts.OnFailure = FailureDeadLetter
		w.calls.fail = func(id string) error {
			if id == "b" {
				return errPoison
			}
			return nil
		}
		w.produce(0, "a", "b", "c")
		require.NoError(t, w.run())
		require.Equal(t, []string{"a", "c"}, w.calls.order)
		require.Equal(t, []string{"v-b"}, w.values(deadTopic))
		require.Equal(t, int64(3), w.committedAt(0))
	})
}

// A transaction that was aborted is none: its records are not read, leave no
// marker, and are handled when their producer sends them again.
func TestBestPractices_ReadCommitted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.inTransaction(kgo.TryAbort, "a", "b")
		w.inTransaction(kgo.TryCommit, "b", "c")
		w.byFirstseen("b", "c")
	})
}

// Duplicates are counted: a number that goes up says that something upstream has
// changed, before anybody misses a window.
func TestBestPractices_DuplicatesAreCounted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a", "b", "a", "a", "c", "b")
		c := w.consumer(w.calls.handle)
		require.NoError(t, c.Run(t.Context()))
		s := c.Stats()
		require.Equal(t, []uint64{6, 3, 3}, []uint64{s.Records, s.New, s.Duplicates})
	})
}
