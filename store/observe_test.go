package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// Observe and Do decide any log alike; what differs is whether fn is called for a
// duplicate, and what it did is kept.
func TestBatch_ObserveDecidesAsDo(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	s := testOpen(t, t.TempDir(), limits{full: 50, small: 5})
	open := func(name string) *Namespace {
		n, err := s.Namespace(name, &NamespaceOptions{Window: window.Hour})
		require.NoError(t, err)
		return n
	}
	do, observe := open("do"), open("observe")
	at, calls, duplicates := time.Duration(0), int64(0), int64(0)
	for batch := range 60 {
		log := make([]Record, 20)
		for i := range log {
			at += time.Duration(r.Int64N(int64(3*time.Minute))) - time.Minute
			log[i] = rec(fmt.Sprint(r.IntN(120)), int64(batch*len(log)+i), at)
		}
		want := make([]Decision, len(log))
		require.NoError(t, do.Update(func(b *Batch) (err error) {
			for i := range log {
				want[i], err = b.Do(log[i], nil)
				require.NoError(t, err)
			}
			return nil
		}))
		require.NoError(t, observe.Update(func(b *Batch) error {
			for i := range log {
				got, err := b.Observe(log[i], func(tx *Tx) error {
					require.Equal(t, want[i], tx.Decision())
					if calls++; want[i].Verdict == Duplicate {
						duplicates++
					}
					_, err := tx.Add([]byte(want[i].Verdict.String()), 1)
					return err
				})
				require.NoError(t, err)
				require.Equal(t, want[i], got)
			}
			return nil
		}))
	}
	require.Equal(t, int64(1200), calls)
	require.Positive(t, duplicates)
	require.NoError(t, observe.View(func(v *View) error {
		n, err := v.Int([]byte(Duplicate.String()))
		require.Equal(t, duplicates, n)
		return err
	}))
	was, err := do.Status()
	require.NoError(t, err)
	is, err := observe.Status()
	require.NoError(t, err)
	require.Equal(t, was.Position, is.Position)
	require.Equal(t, was.Clock, is.Clock)
}

// A duplicate whose fn fails leaves nothing, and is not passed.
func TestBatch_ObserveFailure(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{})
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	broken := errors.New("broken")
	require.NoError(t, n.Update(func(b *Batch) error {
		_, err := b.Observe(rec("a", 0, 0), nil)
		require.NoError(t, err)
		d, err := b.Observe(rec("a", 1, time.Minute), func(tx *Tx) error {
			require.NoError(t, tx.Set([]byte("k"), []byte("v")))
			require.NoError(t, tx.Stage([]byte("out")))
			return broken
		})
		require.ErrorIs(t, err, broken)
		require.Equal(t, Duplicate, d.Verdict)
		require.Equal(t, int64(1), b.Position().Offset)
		_, err = b.Observe(rec("b", 2, 0), nil)
		require.ErrorIs(t, err, ErrGapAfterFailure)
		_, err = b.Observe(Record{}, nil)
		require.ErrorIs(t, err, ErrNoID)
		_, err = b.Observe(rec("a", 0, 0), nil)
		require.ErrorIs(t, err, ErrReplay)
		return nil
	}))
	require.NoError(t, n.View(func(v *View) error {
		got, err := v.Get([]byte("k"))
		require.Nil(t, got)
		return err
	}))
	require.NoError(t, n.Pending(func(Output) error { return errors.New("nothing is staged") }))
}
