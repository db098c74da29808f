package adapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/store"
)

// sink is a batch handler that notes what each call brought, counts in the state
// and produces one output a record, and only then fails.
type sink struct {
	mu    sync.Mutex
	calls [][]string // that succeeded, and how many failed
	fails int
	fail  func(ids []string) error
}

func (s *sink) handle(_ context.Context, tx *BatchTx, recs []*Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []string
	for _, rec := range recs {
		got = append(got, string(rec.ID))
		if _, err := tx.Add([]byte("n"), 1); err != nil {
			return err
		}
		if err := tx.Produce(rec, &kgo.Record{Topic: outTopic, Value: rec.Value}); err != nil {
			return err
		}
	}
	if s.fail != nil {
		if err := s.fail(got); err != nil {
			s.fails++
			return err
		}
	}
	s.calls = append(s.calls, got)
	return nil
}

// failsWith fails for every call that holds an ID which begins with "bad".
func failsWith(err error) func([]string) error {
	return func(ids []string) error {
		if slices.ContainsFunc(ids, func(id string) bool { return strings.HasPrefix(id, "bad") }) {
			return err
		}
		return nil
	}
}

func (w *world) batches(h BatchHandler) *Consumer {
	w.Helper()
	c, err := NewBatch(w.st, h, &w.opts)
	require.NoError(w, err)
	c.firstBatch = c.opts.MaxPollRecords
	return c
}

func (w *world) inBatches(h BatchHandler) *Consumer {
	w.Helper()
	c := w.batches(h)
	require.NoError(w, c.Run(w.Context()))
	return c
}

// The new records of a poll come in one call; copies do not, those inside the
// batch included.
func TestNewBatch_OneCallAPoll(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		w.produce(0, "a", "b", "a", "c")
		s := new(sink)
		w.inBatches(s.handle)
		w.produce(0, "b", "d", "d", "e")
		c := w.inBatches(s.handle)
		require.Equal(t, [][]string{{"a", "b", "c"}, {"d", "e"}}, s.calls)
		require.Equal(t, int64(5), w.state(0, "n"))
		require.Equal(t, map[string]int{"v-a": 1, "v-b": 1, "v-c": 1, "v-d": 1, "v-e": 1}, w.outputs(outTopic))
		require.Equal(t, int64(8), w.committedAt(0))
		require.Equal(t, []uint64{2, 2}, []uint64{c.Stats().New, c.Stats().Duplicates})
		for i, rec := range w.kafka.ReadAll(t, outTopic)[0] {
			at, ok := parseOrigin(header(rec, HeaderOrigin))
			require.True(t, ok)
			require.Equal(t, []int64{0, 1, 3, 5, 7}[i], at.Offset)
		}
	})
}

// A pinned consumer takes a handler of batches, too.
func TestNewBatch_Pinned(t *testing.T) {
	inPinnedWorld(t, 2, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		w.produce(0, "a", "b", "a")
		s := new(sink)
		w.inBatches(s.handle)
		w.produce(1, "c")
		w.produce(0, "b", "d")
		c := w.inBatches(s.handle)
		require.ElementsMatch(t, [][]string{{"a", "b"}, {"c"}, {"d"}}, s.calls)
		require.Equal(t, []int64{5, 1}, []int64{w.committedAt(0), w.committedAt(1)})
		require.Equal(t, []uint64{2, 1}, []uint64{c.Stats().New, c.Stats().Duplicates})
	})
}

// A call that fails leaves nothing, and is made again with the same records.
func TestNewBatch_AllOrNone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		w.produce(0, "a", "b", "c")
		s := new(sink)
		s.fail = func(ids []string) error {
			require.Equal(t, []string{"a", "b", "c"}, ids)
			if s.fails == 1 {
				panic(errPoison)
			}
			if s.fails < 3 {
				return errPoison
			}
			return nil
		}
		h := func(ctx context.Context, tx *BatchTx, recs []*Record) (err error) {
			defer func() {
				if v := recover(); v != nil {
					s.fails++
					panic(v)
				}
			}()
			return s.handle(ctx, tx, recs)
		}
		c := w.inBatches(h)
		require.Equal(t, uint64(3), c.Stats().Failures)
		require.Equal(t, [][]string{{"a", "b", "c"}}, s.calls)
		require.Equal(t, int64(3), w.state(0, "n"))
		require.Len(t, w.outputs(outTopic), 3)
		require.Len(t, w.kafka.ReadAll(t, outTopic)[0], 3)
	})
}

// A11, F01: a poison record fails its whole batch; the batch is halved until it
// stands alone, and then meets what a single one meets. All others are accepted,
// once, in few calls.
func TestFault_A11_F01_PoisonOfABatchIsIsolated(t *testing.T) {
	const n = 64
	for _, test := range []struct {
		name    string
		failure error
		policy  OnFailure
		dead    int
	}{
		{"dead letter", errPoison, FailureDeadLetter, 1},
		{"dead letter at once", DeadLetter(errPoison), FailureStop, 1},
		{"discard", Discard(errPoison), FailureStop, 0},
		{"stop", errPoison, FailureStop, 0},
		{"stop at once", Stop(errPoison), FailureDeadLetter, 0},
		{"pause", errPoison, FailurePause, 0},
	} {
		for _, at := range []int{0, 1, 31, 32, 63} {
			t.Run(fmt.Sprint(test.name, " ", at), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.withDead(1)
					w.opts.OnFailure, w.opts.MaxAttempts = test.policy, 3
					log := ids("a", n)
					log[at] = "bad"
					w.produce(0, log...)
					s := &sink{fail: failsWith(test.failure)}
					c := w.batches(s.handle)
					err := c.Run(t.Context())
					stops := strings.HasPrefix(test.name, "stop") || test.policy == FailurePause
					want := n - 1
					if stops {
						var failed *RecordError
						require.ErrorAs(t, err, &failed)
						require.ErrorIs(t, err, errPoison)
						want = at
						if test.name == "stop at once" { // of the whole call
							want = 0
						}
						require.Equal(t, int64(want), failed.Offset)
						require.Equal(t, int64(want), w.committedAt(0))
						s.fail = nil
						require.NoError(t, w.batches(s.handle).Run(t.Context()))
						want = n
					} else {
						require.NoError(t, err)
						require.Equal(t, uint64(test.dead), c.Stats().DeadLetters)
						require.Equal(t, uint64(1-test.dead), c.Stats().Discarded)
					}
					// Three attempts of the whole and of the one, and the halves.
					require.LessOrEqual(t, s.fails+len(s.calls), 3+3+6+6)
					got := slices.Concat(s.calls...)
					require.Len(t, got, want)
					require.True(t, slices.IsSortedFunc(got, func(a, b string) int {
						return slices.Index(log, a) - slices.Index(log, b)
					}))
					require.Equal(t, int64(want), w.state(0, "n"))
					require.Len(t, w.outputs(outTopic), want)
					require.Equal(t, int64(n), w.committedAt(0))
					dead := w.kafka.ReadAll(t, deadTopic)[0]
					require.Len(t, dead, test.dead)
					if test.policy == FailureDeadLetter && test.dead > 0 {
						require.Equal(t, "3", header(dead[0], HeaderAttempts))
					}
				})
			})
		}
	}
}

// A batch that no attempt mends within half of its time is halved in the next
// poll, with time of its own; a rebalance is possible in between.
func TestNewBatch_HalvedOverPolls(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		w.produce(0, append(ids("a", 30), "bad", "b", "c")...)
		s := &sink{fail: func(ids []string) error {
			time.Sleep(time.Minute)
			return failsWith(errPoison)(ids)
		}}
		err := w.batches(s.handle).Run(t.Context())
		var failed *RecordError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, int64(30), failed.Offset)
		require.Equal(t, int64(30), w.committedAt(0))
		require.Equal(t, int64(30), w.state(0, "n"))
		require.Equal(t, ids("a", 30), slices.Concat(s.calls...))
	})
}

// What leaves no marker has its copy decided anew, in the batch and after it.
func TestNewBatch_CopyOfADeadLetter(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		w.opts.OnFailure, w.opts.MaxAttempts = FailureDeadLetter, 1
		w.produce(0, "a", "bad", "b", "bad", "bad", "a")
		failures := 0
		s := &sink{fail: func(ids []string) error {
			if len(ids) == 1 && ids[0] == "bad" && failures == 1 {
				return nil // mended
			}
			if err := failsWith(errPoison)(ids); err != nil && len(ids) == 1 {
				failures++
				return err
			} else if err != nil {
				return err
			}
			return nil
		}}
		c := w.inBatches(s.handle)
		require.Equal(t, []uint64{3, 2, 1}, []uint64{c.Stats().New, c.Stats().Duplicates, c.Stats().DeadLetters})
		require.Equal(t, map[string]int{"v-a": 1, "v-b": 1, "v-bad": 1}, w.outputs(outTopic))
	})
}

// A crash after any step of any batch: state and outputs are those of every
// message once.
func TestNewBatch_CrashAnywhere(t *testing.T) {
	for _, step := range []string{"polled", "handled", "durable", "sent", "committed"} {
		for nth := range 6 {
			inWorld(t, func(t *testing.T, w *world) {
				w.kafka.CreateTopic(t, outTopic, 1, nil)
				w.opts.MaxPollRecords, w.opts.Transactional = 3, nth%2 > 0
				w.produce(0, "a", "b", "a", "c", "d", "e", "b", "f", "g")
				s := new(sink)
				c := w.batches(s.handle)
				c.step = crashAt(step, 1+nth/2)
				err := c.Run(t.Context())
				require.True(t, errors.Is(err, errCrash) || w.opts.Transactional && err == nil) // it has fewer steps
				w.reopen()
				w.inBatches(s.handle)
				require.Equal(t, int64(7), w.state(0, "n"))
				require.Len(t, w.outputs(outTopic), 7)
				if w.opts.Transactional {
					require.Len(t, w.kafka.ReadAll(t, outTopic)[0], 7)
				}
				require.Equal(t, int64(9), w.committedAt(0))
			})
		}
	}
}

// What is not to be handled goes its way beside the batch: records without an ID,
// duplicates to their topic, what is Unknown to the dead letters.
func TestNewBatch_RecordsAside(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		w.kafka.CreateTopic(t, "duplicates", 1, nil)
		w.opts.DuplicatesTopic, w.opts.MissingID = "duplicates", MissingIDDeadLetter
		w.opts.Unknown = store.UnknownPolicy{Late: store.DeadLetter}
		late := record(0, "late")
		late.Timestamp = time.Now().Add(-3 * time.Hour)
		without := record(0, "")
		without.Headers = nil
		w.produce(0, ids("a", 8)...)
		w.kafka.Produce(t, late, without, record(0, "a1"), record(0, "b"), record(0, "b"))
		s := new(sink)
		c := w.inBatches(s.handle)
		require.Equal(t, [][]string{append(ids("a", 8), "b")}, s.calls)
		require.Equal(t, []uint64{9, 2, 2},
			[]uint64{c.Stats().New, c.Stats().Duplicates, c.Stats().DeadLetters})
		require.Equal(t, map[string]int{"v-a1": 1, "v-b": 1}, w.outputs("duplicates"))
		dead := w.kafka.ReadAll(t, deadTopic)[0]
		require.Len(t, dead, 2)
		require.Equal(t, "late", header(dead[0], HeaderReason))
		require.Contains(t, header(dead[1], HeaderError), ErrMissingID.Error())
	})
}

// A record without an ID that stops leaves those before it handled; one that is
// accepted is handled with the others.
func TestNewBatch_MissingID(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, nil)
		w.produce(0, "a", "b", "", "c")
		s := new(sink)
		err := w.batches(s.handle).Run(t.Context())
		var failed *RecordError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, int64(2), failed.Offset)
		require.Equal(t, [][]string{{"a", "b"}}, s.calls)
		require.Equal(t, int64(2), w.committedAt(0))
		w.opts.MissingID = MissingIDAccept
		c := w.inBatches(s.handle)
		require.Equal(t, [][]string{{"a", "b"}, {"", "c"}}, s.calls)
		require.Equal(t, uint64(1), c.Stats().WithoutID)
	})
}

// F04: a BatchTx and its records are of one call.
func TestFault_F04_BatchTxIsOfOneCall(t *testing.T) {
	for _, n := range []int{1, 3} {
		inWorld(t, func(t *testing.T, w *world) {
			w.kafka.CreateTopic(t, outTopic, 1, nil)
			w.produce(0, ids("a", n)...)
			var kept *BatchTx
			var of *Record
			out := &kgo.Record{Topic: outTopic}
			w.inBatches(func(_ context.Context, tx *BatchTx, recs []*Record) error {
				kept, of = tx, recs[0]
				require.ErrorIs(t, tx.Produce(&Record{Record: recs[0].Record}, out), ErrNotOfBatch)
				require.ErrorIs(t, tx.Produce(nil, out), ErrNotOfBatch)
				require.NoError(t, tx.Set([]byte("k1"), []byte("v")))
				require.NoError(t, tx.Set([]byte("k2"), []byte("v")))
				require.NoError(t, tx.Delete([]byte("k1")))
				v, err := tx.Get([]byte("k2"))
				require.Equal(t, "v", string(v))
				var keys []string
				return errors.Join(err, tx.Scan([]byte("k"), func(key, _ []byte) error {
					keys = append(keys, string(key))
					require.Equal(t, []string{"k2"}, keys)
					return nil
				}))
			})
			require.ErrorIs(t, kept.Produce(of, out), ErrNotOfBatch)
			require.ErrorIs(t, kept.Set([]byte("k"), nil), store.ErrTxDone)
			_, err := kept.Get([]byte("k"))
			require.ErrorIs(t, err, store.ErrTxDone)
			require.Empty(t, w.kafka.ReadAll(t, outTopic)[0])
		})
	}
}

// What an output of a batch may not be is an error of its call, as for a Handler.
func TestNewBatch_ProduceRefuses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.kafka.CreateTopic(t, outTopic, 1, map[string]string{"max.message.bytes": "1000"})
		w.produce(0, "a", "b")
		w.inBatches(func(_ context.Context, tx *BatchTx, recs []*Record) error {
			require.ErrorIs(t, tx.Produce(recs[1], &kgo.Record{Topic: topic}), ErrLoop)
			require.ErrorIs(t, tx.Produce(recs[1], &kgo.Record{Topic: outTopic, Value: make([]byte, 1000)}),
				ErrOutputTooLarge)
			return nil
		})
	})
}

func TestNewBatch_Refuses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.Concurrency, w.opts.Group = 8, ""
		_, err := NewBatch(w.st, nil, &w.opts)
		require.ErrorContains(t, err, "handler is nil")
		require.ErrorContains(t, err, "Concurrency is 8")
		require.ErrorContains(t, err, "Group is empty")
	})
}
