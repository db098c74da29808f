package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

var t0 = time.UnixMilli(1_700_000_000_000)

func rec(id string, offset int64, at time.Duration) Record {
	return Record{ID: []byte(id), At: t0.Add(at), Origin: Position{TopicID: ID{1}, Offset: offset}}
}

func testOpen(t *testing.T, dir string, l limits) *Store {
	t.Helper()
	s, err := open(dir, nil, seams{limits: l})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestStore_SpillsDropsAndReopens(t *testing.T) {
	dir := t.TempDir()
	l := limits{full: 100, small: 10, merge: mergeAbove}
	off := int64(0)
	minute := 0
	for round := range 5 {
		s, err := open(dir, nil, seams{limits: l})
		require.NoError(t, err)
		n, err := s.Namespace("a", &NamespaceOptions{Window: window.Hour})
		require.NoError(t, err)
		for range 40 {
			require.NoError(t, n.Update(func(b *Batch) error {
				var ids [][]byte
				for i := range 20 {
					ids = append(ids, fmt.Appendf(nil, "id-%d", off+int64(i)))
				}
				b.Prepare(ids)
				for i := range ids {
					d, err := b.Do(Record{ID: ids[i], At: t0.Add(time.Duration(minute) * time.Minute),
						Origin: Position{TopicID: ID{1}, Offset: off}}, nil)
					require.NoError(t, err)
					require.Equal(t, New, d.Verdict, "round %d offset %d", round, off)
					off++
				}
				return nil
			}))
			minute++
		}
		require.NoError(t, s.queue.drain())
		// duplicates: the last 20 minutes
		require.NoError(t, n.Update(func(b *Batch) error {
			for o := off - 400; o < off; o++ {
				d, err := b.Do(Record{
					ID: fmt.Appendf(nil, "id-%d", o), Origin: Position{TopicID: ID{1}, Offset: o + 400},
				}, nil)
				require.NoError(t, err)
				require.Equal(t, Duplicate, d.Verdict, "round %d offset %d", round, o)
				require.Equal(t, o, d.Origin.Offset)
			}
			return nil
		}))
		off += 400
		st, err := n.Status()
		require.NoError(t, err)
		t.Logf("%+v", st)
		require.NoError(t, s.Close())
	}
}

func TestStore_FailureLeavesNothing(t *testing.T) {
	s := testOpen(t, t.TempDir(), limits{})
	n, err := s.Namespace("a", nil)
	require.NoError(t, err)
	boom := errors.New("boom")
	d, err := n.Do(rec("x", 0, 0), func(tx *Tx) error {
		_ = tx.Set([]byte("k"), []byte("v"))
		return boom
	})
	require.ErrorIs(t, err, boom)
	require.Equal(t, New, d.Verdict)
	_, err = n.Do(rec("y", 1, 0), nil)
	require.ErrorIs(t, err, ErrGapAfterFailure)
	d, err = n.Do(rec("x", 0, 0), func(tx *Tx) error {
		v, err := tx.Get([]byte("k"))
		require.NoError(t, err)
		require.Nil(t, v)
		_, err = tx.Add([]byte("n"), 5)
		return err
	})
	require.NoError(t, err)
	require.Equal(t, New, d.Verdict)
	d, err = n.Do(rec("x", 1, 0), nil)
	require.NoError(t, err)
	require.Equal(t, Duplicate, d.Verdict)
	require.NoError(t, n.View(func(v *View) error {
		i, err := v.Int([]byte("n"))
		require.Equal(t, int64(5), i)
		return err
	}))
}
