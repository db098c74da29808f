package adapter

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

var errPoison = errors.New("account is closed")

// failing fails for one ID, so many times; -1: always.
func failing(id string, times int) func(string) error {
	return func(got string) error {
		if got == id && times != 0 {
			times--
			return errPoison
		}
		return nil
	}
}

// F01: a handler that always fails stops the partition when the batch's time is
// over; what stands before the record is kept and committed, nothing of it is.
func TestFault_F01_PoisonRecordStops(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a", "b", "bad", "c")
		w.calls.fail = failing("bad", -1)
		begun := time.Now()
		err := w.run()

		var failed *RecordError
		require.ErrorAs(t, err, &failed)
		require.ErrorIs(t, err, errPoison)
		require.Equal(t, RecordError{Topic: topic, Offset: 2, Err: errPoison}, *failed)
		require.InDelta(t, 5*time.Minute, time.Since(begun), float64(20*time.Second))
		require.Equal(t, []string{"a", "b"}, w.calls.order)
		require.Equal(t, int64(2), w.state(0, "n"))
		require.Equal(t, int64(2), w.position(0))
		require.Equal(t, int64(2), w.committedAt(0))

		w.calls.fail = nil
		require.NoError(t, w.run())
		require.Equal(t, []string{"a", "b", "bad", "c"}, w.calls.order)
		require.Equal(t, int64(4), w.committedAt(0))
	})
}

// A partition that stops lets the others finish what was polled with it.
func TestRun_StopKeepsOtherPartitions(t *testing.T) {
	inWorldOf(t, 2, func(t *testing.T, w *world) {
		w.opts.BatchTimeout = time.Second
		w.produce(0, "bad")
		w.produce(1, "a", "b")
		w.calls.fail = failing("bad", -1)
		for range 20 { // the first poll may bring the bad record alone
			var failed *RecordError
			require.ErrorAs(t, w.run(), &failed)
			require.Zero(t, failed.Partition)
			require.Equal(t, int64(0), w.committedAt(0))
			if w.committedAt(1) > 0 {
				break
			}
		}
		require.Equal(t, int64(2), w.committedAt(1))
	})
}

func TestRun_RetriesWithinTheBatch(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a", "bad", "bad", "c")
		w.calls.fail = failing("bad", 3)
		c := w.consumer(w.calls.handle)
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, []string{"a", "bad", "c"}, w.calls.order)
		require.Equal(t, uint64(3), c.Stats().Failures)
		require.Equal(t, uint64(1), c.Stats().Duplicates)
		require.Equal(t, int64(3), w.state(0, "n"))
	})
}

// F02: a handler that panics has failed; its stack is kept.
func TestFault_F02_PanicIsAFailure(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.BatchTimeout = time.Second
		w.produce(0, "a", "bad")
		err := w.consumer(func(ctx context.Context, tx *Tx, rec *Record) error {
			if string(rec.ID) == "bad" {
				_, _ = tx.Add([]byte("n"), 100)
				blowUp()
			}
			return w.calls.handle(ctx, tx, rec)
		}).Run(t.Context())

		var failed *RecordError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, int64(1), failed.Offset)
		var panicked *PanicError
		require.ErrorAs(t, err, &panicked)
		require.Equal(t, errPoison, panicked.Value)
		require.ErrorIs(t, err, errPoison)
		require.Contains(t, string(panicked.Stack), "blowUp")
		require.Equal(t, int64(1), w.state(0, "n"))
	})
}

func blowUp() { panic(errPoison) }

// The context of a handler ends with the batch's time; the record failed.
func TestRun_HandlerThatHangsIsTold(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "a")
		err := w.consumer(func(ctx context.Context, _ *Tx, _ *Record) error {
			<-ctx.Done()
			return ctx.Err()
		}).Run(t.Context())
		var failed *RecordError
		require.ErrorAs(t, err, &failed)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// A batch that takes long is cut: what was handled is committed, and the rest is
// fetched again from the position (I13).
func TestRun_SlowBatchIsCut(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, ids("a", 20)...)
		c := w.consumer(func(ctx context.Context, tx *Tx, rec *Record) error {
			time.Sleep(time.Minute)
			require.NoError(t, ctx.Err())
			return w.calls.handle(ctx, tx, rec)
		})
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, ids("a", 20), w.calls.order)
		require.Equal(t, int64(20), w.committedAt(0))
		require.Zero(t, c.Stats().Sessions)
		require.Zero(t, c.Stats().Replays)
	})
}

// D03: records without an ID stop the partition, or are accepted one by one;
// they never meet under an empty ID.
func TestFault_D03_MissingIDPolicies(t *testing.T) {
	without := func(value []byte, headers ...kgo.RecordHeader) *kgo.Record {
		return &kgo.Record{Topic: topic, Value: value, Headers: headers}
	}
	for _, test := range []struct {
		name string
		id   Extractor
		rec  *kgo.Record
	}{
		{"no header", Header("id"), without([]byte("v"))},
		{"empty header", Header("id"), without([]byte("v"), kgo.RecordHeader{Key: "id"})},
		{"null key", Key(), without([]byte("v"))},
		{"malformed JSON", JSONPointer("/id"), without([]byte(`{"id":"x"`))},
		{"JSON without it", JSONPointer("/id"), without([]byte(`{"ID":"x"}`))},
		{"tombstone", JSONPointer("/id"), without(nil)},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				w.opts.ID = test.id
				first, second := *test.rec, *test.rec
				w.kafka.Produce(t, &first, &second)

				err := w.run()
				var failed *RecordError
				require.ErrorAs(t, err, &failed)
				require.ErrorIs(t, err, ErrMissingID)
				require.Equal(t, int64(0), failed.Offset)
				require.ErrorContains(t, err, test.id.Name())
				require.Empty(t, w.calls.order)

				w.opts.MissingID = MissingIDAccept
				var tokens []string
				c := w.consumer(func(_ context.Context, tx *Tx, rec *Record) error {
					require.Empty(t, rec.ID)
					require.Zero(t, rec.Decision)
					tokens = append(tokens, rec.Token())
					_, err := tx.Add([]byte("n"), 1)
					return err
				})
				require.NoError(t, c.Run(t.Context()))
				require.Equal(t, int64(2), w.state(0, "n"))
				require.Equal(t, uint64(2), c.Stats().WithoutID)
				require.Len(t, tokens, 2)
				require.NotEqual(t, tokens[0], tokens[1])
			})
		})
	}
}

// A tombstone with an ID is a record like any other.
func TestRun_Tombstone(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.ID = Key()
		for range 2 {
			w.kafka.Produce(t, &kgo.Record{Topic: topic, Key: []byte("a")})
		}
		require.NoError(t, w.run())
		require.Equal(t, []string{"a"}, w.calls.order)
	})
}

type panicking struct{}

func (panicking) Name() string                    { return "panicking" }
func (panicking) ID(*kgo.Record) ([]byte, string) { panic(errPoison) }

// An extractor that panics fails its record.
func TestRun_ExtractorPanics(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.ID = panicking{}
		w.produce(0, "a")
		err := w.run()
		var failed *RecordError
		require.ErrorAs(t, err, &failed)
		var panicked *PanicError
		require.ErrorAs(t, err, &panicked)
		require.ErrorIs(t, err, errPoison)
	})
}

// An ID of a megabyte, and IDs of any bytes, are told apart.
func TestRun_OddIDs(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opts.ID = Key()
		big := string(make([]byte, 900_000))
		for _, id := range []string{big, "\x00", "\xff", "\x00\x00", big + "1", big, "\x00"} {
			w.kafka.Produce(t, &kgo.Record{Topic: topic, Key: []byte(id)})
		}
		require.NoError(t, w.run())
		require.Equal(t, []string{big, "\x00", "\xff", "\x00\x00", big + "1"}, w.calls.order)
	})
}

// Times that say nothing, and times that say too much, lose nothing.
func TestRun_OddTimes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at := func(id string, ms int64) *kgo.Record {
			r := record(0, id)
			r.Timestamp = time.UnixMilli(ms)
			return r
		}
		year9999 := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
		w.kafka.Produce(t, at("a", -1), at("b", 0), at("c", year9999),
			at("d", time.Now().UnixMilli()), at("a", -1), at("c", 0), at("d", year9999))
		require.NoError(t, w.run())
		require.Equal(t, []string{"a", "b", "c", "d"}, w.calls.order)
	})
}
