package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// An output is replaced where it stands, whole, together with what else its batch
// holds; one that is settled, or never was, is an error and stays what it was.
func TestBatch_Replace(t *testing.T) {
	s := newScene(t, window.Hour)
	require.NoError(t, s.n.Update(func(b *Batch) error {
		for i, id := range []string{"x", "y"} {
			_, err := b.Do(rec(id, int64(i), 0), func(tx *Tx) error {
				require.NoError(t, tx.Stage([]byte(id+"1")))
				return tx.Stage([]byte(id + "2"))
			})
			require.NoError(t, err)
		}
		return nil
	}))
	pending := func() (all []Output) {
		require.NoError(t, s.n.Pending(func(o Output) error { all = append(all, o); return nil }))
		return all
	}
	before := pending()
	require.Len(t, before, 4)

	require.ErrorIs(t, s.n.Update(func(b *Batch) error {
		require.NoError(t, b.Replace(before[2], []byte("never")))
		return ErrReplay
	}), ErrReplay)
	require.Equal(t, before, pending())

	require.NoError(t, s.n.Update(func(b *Batch) error {
		before[2].Data = []byte("a dead letter")
		require.NoError(t, b.Replace(before[2], before[2].Data))
		for _, not := range []Output{
			{}, {Sequence: 7, Origin: before[2].Origin}, {Sequence: before[2].Sequence, Origin: before[2].Origin, Index: 2},
		} {
			require.ErrorIs(t, b.Replace(not, nil), ErrNotPending)
		}
		return nil
	}))
	require.Equal(t, before, pending())
	status, err := s.n.Status()
	require.NoError(t, err)
	require.Equal(t, 4, status.Pending)

	var ended *Batch
	require.NoError(t, s.n.Update(func(b *Batch) error { // what is settled is gone, replaced or not
		ended = b
		b.Settle(before[0].Sequence)
		return b.Replace(before[1], []byte("late"))
	}))
	require.Empty(t, pending())
	require.ErrorIs(t, ended.Replace(before[0], nil), ErrTxDone)
	require.ErrorIs(t, s.n.Update(func(b *Batch) error { return b.Replace(before[0], nil) }), ErrNotPending)
}
