package adapter

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

const deadTopic = "dead"

// withDead gives the world topics for outputs and dead letters.
func (w *world) withDead(partitions int32) {
	w.Helper()
	w.kafka.CreateTopic(w, deadTopic, partitions, nil)
	if w.kafka.Fake != nil { // a real one has it
		w.kafka.CreateTopic(w, outTopic, partitions, nil)
	}
	w.opts.DeadLetterTopic = deadTopic
}

// saying returns a handler that writes state, produces, and then returns for the
// ID "bad" what say makes.
func (w *world) saying(say func() error) (h Handler, called *int) {
	called = new(int)
	return func(ctx context.Context, tx *Tx, rec *Record) error {
		if err := shout(ctx, tx, rec); err != nil {
			return err
		}
		if string(rec.ID) == "bad" || len(rec.ID) == 0 {
			*called++
			return say()
		}
		return nil
	}, called
}

// A discarded record is done with: its marker stands, and nothing else of it.
func TestOutcome_Discard(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		w.produce(0, "a", "bad", "bad", "c")
		h, called := w.saying(func() error { return Discard(errPoison) })
		c := w.consumer(h)
		require.NoError(t, c.Run(t.Context()))
		require.Equal(t, 1, *called)
		require.Equal(t, int64(2), w.state(0, "n"))
		require.Equal(t, map[string]int{"V-A": 1, "V-C": 1}, w.outputs(outTopic))
		require.Empty(t, w.kafka.ReadAll(t, deadTopic)[0])
		s := c.Stats()
		require.Equal(t, []uint64{4, 2, 1, 1}, []uint64{s.Records, s.New, s.Duplicates, s.Discarded})
		require.Equal(t, int64(4), w.committedAt(0))
	})
}

// A record without an ID is discarded alike, without a marker.
func TestOutcome_DiscardWithoutID(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.withDead(1)
		w.opts.MissingID = MissingIDAccept
		w.kafka.Produce(t, &kgo.Record{Topic: topic}, &kgo.Record{Topic: topic})
		h, called := w.saying(func() error { return Discard(errPoison) })
		require.NoError(t, w.consumer(h).Run(t.Context()))
		require.Equal(t, 2, *called)
		require.Zero(t, w.state(0, "n"))
		require.Equal(t, int64(2), w.committedAt(0))
	})
}

// Stop ends Run at once, whatever the policy is; nothing of the record remains.
func TestOutcome_Stop(t *testing.T) {
	for _, policy := range []OnFailure{FailureStop, FailurePause, FailureDeadLetter} {
		inWorld(t, func(t *testing.T, w *world) {
			w.withDead(1)
			w.opts.OnFailure = policy
			w.produce(0, "a", "bad", "c")
			h, called := w.saying(func() error { return Stop(errPoison) })
			err := w.consumer(h).Run(t.Context())
			var failed *RecordError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, int64(1), failed.Offset)
			require.ErrorIs(t, err, errPoison)
			require.Equal(t, 1, *called)
			require.Equal(t, int64(1), w.state(0, "n"))
			require.Equal(t, int64(1), w.committedAt(0))
			require.Empty(t, w.kafka.ReadAll(t, deadTopic)[0])
		})
	}
}

// DeadLetter goes aside at once, under any policy, and leaves no marker: the
// next copy is handled.
func TestOutcome_DeadLetter(t *testing.T) {
	for _, policy := range []OnFailure{FailureStop, FailurePause, FailureDeadLetter} {
		inWorld(t, func(t *testing.T, w *world) {
			w.withDead(1)
			w.opts.OnFailure = policy
			w.produce(0, "a", "bad", "c", "bad")
			outcome := DeadLetter(errPoison)
			h, called := w.saying(func() error {
				defer func() { outcome = nil }()
				return outcome
			})
			c := w.consumer(h)
			require.NoError(t, c.Run(t.Context()))
			require.Equal(t, 2, *called)
			require.Equal(t, int64(3), w.state(0, "n"))
			require.Equal(t, map[string]int{"V-A": 1, "V-BAD": 1, "V-C": 1}, w.outputs(outTopic))
			require.Equal(t, map[string]int{"v-bad": 1}, w.outputs(deadTopic))
			require.Equal(t, uint64(1), c.Stats().DeadLetters)
			require.Equal(t, uint64(4), c.Stats().Records)
			require.Equal(t, int64(4), w.committedAt(0))
		})
	}
}

// Without a dead-letter topic the record stops the consumer, and says why.
func TestOutcome_DeadLetterWithoutATopic(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.produce(0, "bad")
		err := w.consumer(func(context.Context, *Tx, *Record) error { return DeadLetter(errPoison) }).Run(t.Context())
		require.ErrorIs(t, err, ErrNoDeadLetterTopic)
		require.ErrorIs(t, err, errPoison)
		require.Equal(t, int64(0), w.position(0))
	})
}

func TestOutcome_Errors(t *testing.T) {
	for kind, of := range map[outcomeKind]func(error) error{
		outcomeDeadLetter: DeadLetter, outcomeDiscard: Discard, outcomeStop: Stop,
	} {
		err := of(errPoison)
		require.ErrorIs(t, err, errPoison)
		require.Equal(t, errPoison.Error(), err.Error())
		require.Equal(t, kind, kindOf(errors.Join(errors.New("other"), err)))
		require.ErrorIs(t, of(nil), errNoReason)
	}
	require.Equal(t, outcomeFailure, kindOf(errPoison))
	require.Equal(t, outcomeStop, kindOf(Stop(Discard(errPoison))))
}
