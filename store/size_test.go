package store

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// A batch above the limit leaves nothing, and its records can be done again in
// smaller ones.
func TestFault_B18_HugeBatch(t *testing.T) {
	fs := vfs.NewMem()
	s, err := open("store", nil, seams{fs: fs})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	out := make([]byte, 1<<20)
	const end = MaxBatchBytes>>20 + 6
	do := func(b *Batch, o int64) error {
		d, err := b.Do(rec(fmt.Sprint(o), o, 0), func(tx *Tx) error {
			if err := tx.Set([]byte("last"), fmt.Append(nil, o)); err != nil {
				return err
			}
			return tx.Stage(out)
		})
		require.Equal(t, New, d.Verdict, "offset %d", o)
		return err
	}
	before := s.db.Metrics().WAL.BytesWritten
	err = n.Update(func(b *Batch) error {
		for o := range int64(end) {
			require.NoError(t, do(b, o))
		}
		require.Greater(t, b.Size(), MaxBatchBytes)
		return nil
	})
	require.ErrorIs(t, err, ErrBatchTooLarge)
	require.ErrorContains(t, err, "cut it by Batch.Size")
	require.Equal(t, before, s.db.Metrics().WAL.BytesWritten, "something was written")
	inState(t, s, StateRunning, nil)
	st, err := n.Status()
	require.NoError(t, err)
	require.Zero(t, st.Position)
	require.Zero(t, st.Pending)
	require.NoError(t, n.View(func(v *View) error {
		last, err := v.Get([]byte("last"))
		require.Nil(t, last)
		return err
	}))

	batches := 0
	for o := int64(0); o < end; batches++ {
		require.NoError(t, n.Update(func(b *Batch) error {
			for ; o < end && b.Size()+len(out) < MaxBatchBytes/4; o++ {
				require.NoError(t, do(b, o))
			}
			return nil
		}))
	}
	require.Greater(t, batches, 4)
	st, err = n.Status()
	require.NoError(t, err)
	require.EqualValues(t, end, st.Position.Offset)
	require.Equal(t, end, st.Pending)
}

// Size follows what is kept, is never less than what the log takes, and not much
// more.
func TestBatch_Size(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{})
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	key := []byte("key")
	for _, fn := range []func(*Tx) error{
		nil,
		func(tx *Tx) error { return tx.Set(key, make([]byte, 100_000)) },
		func(tx *Tx) error { return tx.Stage(make([]byte, 100_000)) },
		func(tx *Tx) error { return tx.Delete(key) },
	} {
		written := s.db.Metrics().WAL.BytesIn
		size := 0
		require.NoError(t, n.Update(func(b *Batch) error {
			require.Zero(t, b.Size())
			for i := range 1000 {
				o := b.Position().Offset
				var each func(*Tx) error
				if i%500 == 0 {
					each = fn
				}
				if _, err := b.Do(rec(fmt.Sprint("id-", o), o, 0), each); err != nil {
					return err
				}
			}
			size = b.Size()
			return nil
		}))
		written = s.db.Metrics().WAL.BytesIn - written
		require.LessOrEqual(t, written, uint64(size)+1<<10) // head and run
		require.Less(t, size, 3*int(written)+64<<10)
	}

	// What is undone, or replaced, counts no more.
	failed := errors.New("failed")
	require.ErrorIs(t, n.Update(func(b *Batch) error {
		o := b.Position().Offset
		set := func(size int) func(*Tx) error {
			return func(tx *Tx) error { return tx.Set(key, make([]byte, size)) }
		}
		_, err := b.Do(rec("x", o, 0), set(5000))
		require.NoError(t, err)
		size := b.Size()
		_, err = b.Do(rec("y", o+1, 0), func(tx *Tx) error {
			require.NoError(t, tx.Set(key, make([]byte, 9000)))
			require.NoError(t, tx.Set([]byte("other"), make([]byte, 9000)))
			require.NoError(t, tx.Stage(make([]byte, 9000)))
			return failed
		})
		require.ErrorIs(t, err, failed)
		require.Equal(t, size, b.Size())
		_, err = b.Do(rec("y", o+1, 0), set(0))
		require.NoError(t, err)
		require.Less(t, b.Size(), size-4000)
		return failed
	}), failed)
}
