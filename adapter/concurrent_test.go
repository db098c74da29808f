package adapter

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// keyed is a record of a key of its own, or of one that is shared.
func keyed(key, id string) *kgo.Record {
	rec := record(0, id)
	if rec.Key = []byte(key); key == "" {
		rec.Key = nil
	}
	return rec
}

// slow notes who is handled when, and what each took.
type slow struct {
	mu      sync.Mutex
	running map[string]int // by key, and by ID
	most    int
	order   []string
	total   int

	takes time.Duration
	fail  func(id string) error
}

func (s *slow) handle(_ context.Context, tx *Tx, rec *Record) error {
	s.begin(rec, 1)
	time.Sleep(s.takes)
	s.begin(rec, -1)
	if s.fail != nil {
		if err := s.fail(string(rec.ID)); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.order = append(s.order, string(rec.ID))
	s.mu.Unlock()
	return tx.Produce(&kgo.Record{Topic: outTopic, Value: rec.Value})
}

func (s *slow) begin(rec *Record, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		s.running = make(map[string]int)
	}
	at := fmt.Sprint(rec.Partition)
	for _, of := range []string{at + " key " + string(rec.Key), at + " id " + string(rec.ID)} {
		s.running[of] += n
		if rec.Key != nil && s.running[of] > 1 {
			panic("two at once of " + of)
		}
	}
	s.total += n
	s.most = max(s.most, s.total)
}

func (s *slow) counts() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := make(map[string]int)
	for _, id := range s.order {
		n[id]++
	}
	return n
}

// besides is a world with a topic for outputs and so many handlers at once.
func besides(t *testing.T, n int, fn func(t *testing.T, w *world)) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		w.opts.Concurrency = n
		fn(t, w)
	})
}

// 1,000 calls of 10 ms at a concurrency of 100 take under 0.3 s, all included,
// from the first batch on, which holds one record.
func TestConcurrency_1000SlowCalls(t *testing.T) {
	besides(t, 100, func(t *testing.T, w *world) {
		var recs []*kgo.Record
		for i := range 1000 {
			recs = append(recs, keyed(fmt.Sprint("k", i), fmt.Sprint("a", i)))
		}
		w.kafka.Produce(t, recs...)
		s := &slow{takes: 10 * time.Millisecond}
		c := w.consumer(s.handle)
		c.firstBatch, c.opts.UntilEnd = 1, false
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var begun, took time.Duration
		zero := time.Now()
		c.step = func(done string) error {
			switch {
			case done == "polled" && begun == 0:
				begun = time.Since(zero)
			case done == "committed" && c.Stats().New == 1000:
				took = time.Since(zero) - begun
				cancel()
			}
			return nil
		}
		require.NoError(t, c.Run(ctx))
		t.Log(took)
		require.Less(t, took, 300*time.Millisecond)
		require.Equal(t, 100, s.most)
		require.Len(t, s.counts(), 1000)
		require.Equal(t, int64(1000), w.committedAt(0))
		require.Len(t, w.kafka.ReadAll(t, outTopic)[0], 1000)
	})
}

// Records of one key are handled in offset order, one at a time; those of others
// pass them. Outputs go out in offset order, whatever was faster.
func TestConcurrency_OrderOfAKey(t *testing.T) {
	besides(t, 8, func(t *testing.T, w *world) {
		var recs []*kgo.Record
		var all []string
		for i := range 60 {
			id := fmt.Sprint("a", i)
			all = append(all, id)
			recs = append(recs, keyed(fmt.Sprint("k", i%3), id))
		}
		w.kafka.Produce(t, recs...)
		s := new(slow)
		require.NoError(t, w.consumer(func(ctx context.Context, tx *Tx, rec *Record) error {
			time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
			return s.handle(ctx, tx, rec)
		}).Run(t.Context()))
		for k := range 3 {
			of := func(ids []string) (mine []string) {
				for _, id := range ids {
					if slices.Index(all, id)%3 == k {
						mine = append(mine, id)
					}
				}
				return mine
			}
			require.Equal(t, of(all), of(s.order))
		}
		require.NotEqual(t, all, s.order)
		for i, rec := range w.kafka.ReadAll(t, outTopic)[0] {
			require.Equal(t, "v-"+all[i], string(rec.Value))
		}
	})
}

// Two copies of one ID are never in flight together, whatever their keys: the
// second waits, and is a duplicate; or it is handled, when the first went to the
// dead letters.
func TestConcurrency_CopiesWait(t *testing.T) {
	for _, dead := range []bool{false, true} {
		besides(t, 8, func(t *testing.T, w *world) {
			w.opts.DeadLetterTopic = deadTopic
			w.kafka.CreateTopic(t, deadTopic, 1, nil)
			w.kafka.Produce(t, keyed("k0", "a"), keyed("k1", "a"), keyed("k2", "b"), keyed("k2", "a"))
			failures := 0
			s := &slow{takes: time.Second, fail: func(id string) error {
				if id == "a" && dead && failures == 0 {
					failures++
					return DeadLetter(errPoison)
				}
				return nil
			}}
			c := w.consumer(s.handle)
			require.NoError(t, c.Run(t.Context()))
			require.Equal(t, map[string]int{"a": 1, "b": 1}, s.counts())
			want := []uint64{2, 2, 0}
			if dead {
				want = []uint64{2, 1, 1}
			}
			require.Equal(t, want, []uint64{c.Stats().New, c.Stats().Duplicates, c.Stats().DeadLetters})
			require.Len(t, w.kafka.ReadAll(t, deadTopic)[0], failures)
		})
	}
}

// A record that stops has those before it kept. A record that pauses, too; what
// was handled above it is not handled again when it goes on.
func TestConcurrency_StopAndPause(t *testing.T) {
	for _, policy := range []OnFailure{FailureStop, FailurePause} {
		besides(t, 4, func(t *testing.T, w *world) {
			w.opts.OnFailure, w.opts.MaxAttempts = policy, 2
			for i, id := range []string{"a", "b", "bad", "c", "d"} {
				w.kafka.Produce(t, keyed(fmt.Sprint(i), id))
			}
			var mended atomic.Bool
			s := &slow{takes: time.Second, fail: func(id string) error {
				if id == "bad" && !mended.Load() {
					return errPoison
				}
				return nil
			}}
			c, stop := w.start(s.handle)
			if policy == FailureStop {
				time.Sleep(time.Minute)
				err := stop()
				var failed *RecordError
				require.ErrorAs(t, err, &failed)
				require.Equal(t, int64(2), failed.Offset)
				require.Equal(t, int64(2), w.committedAt(0))
				require.Equal(t, uint64(2), c.Stats().New)
				return
			}
			w.until(func() bool { return c.Stats().Paused == 1 })
			require.Equal(t, int64(2), c.Paused()[0].Offset)
			require.Equal(t, uint64(2), c.Stats().New)
			time.Sleep(time.Minute)
			require.Equal(t, map[string]int{"a": 1, "b": 1, "c": 1, "d": 1}, s.counts())
			mended.Store(true)
			require.True(t, c.Resume(topic, 0))
			w.until(func() bool { return w.committedAt(0) == 5 })
			require.NoError(t, stop())
			require.Equal(t, map[string]int{"a": 1, "b": 1, "bad": 1, "c": 1, "d": 1}, s.counts())
			require.Len(t, w.kafka.ReadAll(t, outTopic)[0], 5)
		})
	}
}

// A batch whose time is half over is cut: what is not begun comes again, and
// nothing that was handled above it is handled twice.
func TestConcurrency_SlowBatchIsCut(t *testing.T) {
	besides(t, 3, func(t *testing.T, w *world) {
		for i := range 12 { // every third of one key, which is slower than the time
			key := fmt.Sprint(i)
			if i%3 == 0 {
				key = "slow"
			}
			w.kafka.Produce(t, keyed(key, fmt.Sprint("a", i)))
		}
		s := &slow{takes: time.Minute}
		c := w.consumer(s.handle)
		require.NoError(t, c.Run(t.Context()))
		require.Len(t, s.counts(), 12)
		for id, n := range s.counts() {
			require.Equal(t, 1, n, id)
		}
		require.Equal(t, uint64(12), c.Stats().New)
		require.Zero(t, c.Stats().Sessions)
		require.Len(t, w.kafka.ReadAll(t, outTopic)[0], 12)
	})
}

// When Run is to end, what is in hand is finished, and so are the records below:
// nothing is handled above the position that is kept.
func TestConcurrency_Shutdown(t *testing.T) {
	besides(t, 2, func(t *testing.T, w *world) {
		for i, key := range []string{"s", "s", "s", "x", "y", "z", "s"} {
			w.kafka.Produce(t, keyed(key, fmt.Sprint("a", i)))
		}
		s := &slow{takes: time.Second}
		_, stop := w.start(s.handle)
		w.until(func() bool { return s.counts()["a4"] == 1 })
		require.NoError(t, stop())
		position := w.position(0)
		require.GreaterOrEqual(t, position, int64(5))
		require.Equal(t, position, w.committedAt(0))
		require.Len(t, s.counts(), int(position))
	})
}

// A handler that hangs is told when the shutdown has lasted too long; nothing of
// its record remains.
func TestConcurrency_ShutdownTimeout(t *testing.T) {
	besides(t, 2, func(t *testing.T, w *world) {
		w.kafka.Produce(t, keyed("a", "a"), keyed("b", "b"))
		_, stop := w.start(func(ctx context.Context, _ *Tx, rec *Record) error {
			if string(rec.ID) == "b" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		time.Sleep(time.Minute)
		require.NoError(t, stop())
		require.Equal(t, int64(1), w.committedAt(0))
	})
}

// Handlers that run side by side have no state: asking for it stops, whatever the
// policy.
func TestConcurrency_NoState(t *testing.T) {
	for name, ask := range map[string]func(tx *Tx) error{
		"add":    func(tx *Tx) error { _, err := tx.Add([]byte("n"), 1); return err },
		"set":    func(tx *Tx) error { return tx.Set([]byte("n"), nil) },
		"delete": func(tx *Tx) error { return tx.Delete([]byte("n")) },
		"get":    func(tx *Tx) error { _, err := tx.Get([]byte("n")); return err },
		"scan": func(tx *Tx) error {
			return tx.Scan([]byte("n"), func(_, _ []byte) error { return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			besides(t, 2, func(t *testing.T, w *world) {
				w.withDeadOnly()
				w.opts.OnFailure = FailureDeadLetter
				w.produce(0, "a", "b")
				err := w.consumer(func(_ context.Context, tx *Tx, _ *Record) error { return ask(tx) }).Run(t.Context())
				require.ErrorIs(t, err, ErrNoState)
				require.ErrorContains(t, err, "Concurrency is 2")
				require.Equal(t, int64(0), w.position(0))
			})
		})
	}
}

func (w *world) withDeadOnly() {
	w.kafka.CreateTopic(w, deadTopic, 1, nil)
	w.opts.DeadLetterTopic = deadTopic
}

// F04: a Tx that is kept stages nothing any more.
func TestFault_F04_TxKeptBesideOthers(t *testing.T) {
	besides(t, 2, func(t *testing.T, w *world) {
		w.produce(0, "a", "b")
		var mu sync.Mutex
		var kept []*Tx
		require.NoError(t, w.consumer(func(_ context.Context, tx *Tx, rec *Record) error {
			mu.Lock()
			defer mu.Unlock()
			for _, tx := range kept {
				require.ErrorIs(t, tx.Produce(&kgo.Record{Topic: outTopic}), store.ErrTxDone)
			}
			kept = append(kept, tx)
			require.Equal(t, store.New, rec.Decision.Verdict)
			require.False(t, tx.Clock().IsZero())
			return nil
		}).Run(t.Context()))
		require.Len(t, kept, 2)
		require.Empty(t, w.kafka.ReadAll(t, outTopic)[0])
	})
}

// A crash after any step: every message is handled, outputs are there, and only
// the batch in hand is handled again.
func TestConcurrency_CrashAnywhere(t *testing.T) {
	for _, step := range []string{"polled", "handled", "durable", "sent", "committed"} {
		besides(t, 4, func(t *testing.T, w *world) {
			w.opts.MaxPollRecords = 4
			for i, id := range []string{"a", "b", "a", "c", "d", "e", "b", "f", "g"} {
				w.kafka.Produce(t, keyed(fmt.Sprint(i%3), id))
			}
			s := &slow{takes: time.Millisecond}
			w.opts.Transactional = step != "sent"
			w.crashOnce(s.handle, step, 2)
			require.NoError(t, w.consumer(s.handle).Run(t.Context()))
			require.Len(t, w.outputs(outTopic), 7)
			if w.opts.Transactional {
				require.Len(t, w.kafka.ReadAll(t, outTopic)[0], 7)
			}
			repeated := 0
			for _, n := range s.counts() {
				repeated += n - 1
			}
			require.LessOrEqual(t, repeated, 4)
			require.Equal(t, int64(9), w.committedAt(0))
		})
	}
}

// One log, handled one by one, in batches and side by side, with records that
// fail for good, are discarded or have no ID, cut into any polls and over
// crashes: the same decisions, outputs, dead letters and markers.
func TestHandlers_DecideAlike(t *testing.T) {
	for range 6 {
		seed := rand.Uint64()
		type outcome struct {
			outs, dead map[string]int
			stats      Stats
			status     store.Status
		}
		var outcomes []outcome
		for mode := range 3 {
			inWorld(t, func(t *testing.T, w *world) {
				r := rand.New(rand.NewPCG(seed, 0))
				t.Logf("seed %d", seed)
				w.withDead(1)
				w.opts.OnFailure, w.opts.MaxAttempts = FailureDeadLetter, 2
				w.opts.MissingID = MissingIDDeadLetter
				w.opts.Unknown = store.UnknownPolicy{Late: store.DeadLetter, Clock: store.Drop}
				at := time.Now().Add(-24 * time.Hour) // none lies ahead of the wall clock
				var recs []*kgo.Record
				for i := range 150 {
					rec := keyed(fmt.Sprint("k", r.IntN(5)), fmt.Sprint(r.IntN(60)))
					at = at.Add(time.Duration(r.Int64N(int64(4*time.Minute))) - time.Minute)
					rec.Timestamp = at
					rec.Value = fmt.Append(nil, i)
					switch r.IntN(12) {
					case 0:
						rec.Timestamp = at.Add(time.Hour / 2)
					case 1:
						rec.Timestamp = at.Add(-2 * time.Hour)
					case 2:
						rec.Headers = nil
					}
					recs = append(recs, rec)
				}
				w.kafka.Produce(t, recs...)
				judge := func(rec *Record) error {
					switch rec.Value[len(rec.Value)-1] {
					case '3':
						return errPoison
					case '7':
						return Discard(errPoison)
					case '9':
						return DeadLetter(errPoison)
					}
					return nil
				}
				one := func(_ context.Context, tx *Tx, rec *Record) error {
					return errors.Join(tx.Produce(&kgo.Record{Topic: outTopic, Value: rec.Value}), judge(rec))
				}
				all := func(_ context.Context, tx *BatchTx, recs []*Record) (err error) {
					for _, rec := range recs {
						if err == nil {
							err = errors.Join(tx.Produce(rec, &kgo.Record{Topic: outTopic, Value: rec.Value}), judge(rec))
						}
					}
					return err
				}
				w.opts.MaxPollRecords = []int{150, 7, 31}[rand.IntN(3)]
				var total Stats
				for crash := 1; ; crash++ {
					var c *Consumer
					switch mode {
					case 0, 2:
						w.opts.Concurrency = 1 + mode*rand.IntN(5)
						c = w.consumer(one)
					case 1:
						c = w.batches(all)
					}
					if crash < 3 {
						c.step = crashAt("durable", 1+rand.IntN(3))
					}
					err := c.Run(t.Context())
					s := c.Stats()
					total.New += s.New
					total.Duplicates += s.Duplicates
					total.Unknown += s.Unknown
					total.DeadLetters += s.DeadLetters
					total.Discarded += s.Discarded
					total.Dropped += s.Dropped
					if err == nil {
						break
					}
					require.ErrorIs(t, err, errCrash)
					w.reopen()
				}
				status := w.status()
				status.Sequence, status.Segments, status.Sealed, status.Committed = 0, 0, 0, nil
				// A cluster of its own, counts of an opening, and markers that expire by batches.
				status.Position.TopicID, status.Counts = store.ID{}, store.Counts{}
				status.Fingerprint, status.Pending, status.Markers = 0, 0, 0
				outcomes = append(outcomes, outcome{w.outputs(outTopic), w.outputs(deadTopic), total, status})
			})
		}
		require.Equal(t, outcomes[0], outcomes[1], "seed %d", seed)
		require.Equal(t, outcomes[0], outcomes[2], "seed %d", seed)
		require.Positive(t, outcomes[0].stats.Duplicates)
		require.Positive(t, outcomes[0].stats.DeadLetters)
	}
}
