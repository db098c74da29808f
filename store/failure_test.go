package store

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

func TestFault_F02_F03_FailureLeavesNothing(t *testing.T) {
	s := newScene(t, window.Hour)
	boom := errors.New("boom")
	half := func(tx *Tx) {
		require.NoError(t, tx.Set([]byte("k"), []byte("v")))
		require.NoError(t, tx.Stage([]byte("out")))
	}
	require.PanicsWithValue(t, boom, func() {
		_, _ = s.n.Do(rec("x", 0, 0), func(tx *Tx) error { half(tx); panic(boom) })
	})
	_, err := s.n.Do(rec("x", 0, 0), func(tx *Tx) error { half(tx); return boom })
	require.ErrorIs(t, err, boom)
	require.NoError(t, s.n.View(func(v *View) error {
		got, err := v.Get([]byte("k"))
		require.Nil(t, got)
		return err
	}))
	st, err := s.n.Status()
	require.NoError(t, err)
	require.Zero(t, st.Pending)
	require.Zero(t, st.Clock)
	require.Equal(t, New, s.see("x", 0).Verdict)
}

func TestFault_F04_UseAfterTheEnd(t *testing.T) {
	s := newScene(t, window.Hour)
	var batch *Batch
	var tx *Tx
	var view *View
	require.NoError(t, s.n.Update(func(b *Batch) error {
		batch = b
		_, err := b.Do(rec("x", 0, 0), func(t *Tx) error { tx = t; return nil })
		return err
	}))
	require.NoError(t, s.n.View(func(v *View) error { view = v; return nil }))
	late := make(chan error)
	go func() { // while the namespace works on
		var errs []error
		_, err := batch.Do(rec("late", 1, 0), nil)
		errs = append(errs, err, batch.Pass(rec("", 1, 0), nil), batch.SetPosition(Position{Offset: 9}))
		batch.Prepare([][]byte{[]byte("late")})
		_, err = tx.Get([]byte("k"))
		errs = append(errs, err, tx.Set([]byte("k"), nil), tx.Delete([]byte("k")), tx.Stage(nil))
		_, err = tx.Add([]byte("k"), 1)
		errs = append(errs, err, tx.Scan(nil, nil))
		_, err = view.Get([]byte("k"))
		errs = append(errs, err, view.Scan(nil, nil))
		for _, err := range errs {
			if !errors.Is(err, ErrTxDone) {
				late <- fmt.Errorf("got %w from %d calls", err, len(errs))
				return
			}
		}
		late <- nil
	}()
	s.off = 1
	for i := range 50 {
		require.Equal(t, New, s.see(fmt.Sprint(i), 0).Verdict)
	}
	require.NoError(t, <-late)
}

// The caller may use its buffers again as soon as a call has returned.
func TestFault_D10_BuffersAreTheCallers(t *testing.T) {
	s := newScene(t, window.Hour)
	id, val := []byte("id-a"), []byte("val-a")
	require.NoError(t, s.n.Update(func(b *Batch) error {
		for i, c := range "abab" {
			id[3], val[4] = byte(c), byte(c)
			d, err := b.Do(Record{ID: id, At: t0, Origin: Position{TopicID: ID{1}, Offset: int64(i)}},
				func(tx *Tx) error {
					return errors.Join(tx.Set(id, val), tx.Stage(val))
				})
			require.NoError(t, err)
			require.Equal(t, i < 2, d.Verdict == New)
			id[3], val[4] = 'z', 'z'
		}
		return nil
	}))
	require.NoError(t, s.n.View(func(v *View) error {
		got, err := v.Get([]byte("id-a"))
		require.Equal(t, "val-a", string(got))
		return err
	}))
}

// A rolled-back batch forgets that it passed a failed record.
func TestBatch_FailureOutlivesRollback(t *testing.T) {
	boom := errors.New("boom")
	fail := func(*Tx) error { return boom }
	tests := []struct {
		name string
		run  func(t *testing.T, b *Batch) // fails at 5, and passes it
	}{
		{"passed, and the next fails", func(t *testing.T, b *Batch) {
			_, err := b.Do(rec("x", 5, 0), fail)
			require.ErrorIs(t, err, boom)
			require.NoError(t, b.SetPosition(Position{TopicID: ID{1}, Offset: 6}))
			_, err = b.Do(rec("y", 6, 0), fail)
			require.ErrorIs(t, err, boom)
		}},
		{"done again", func(t *testing.T, b *Batch) {
			_, err := b.Do(rec("x", 5, 0), fail)
			require.ErrorIs(t, err, boom)
			_, err = b.Do(rec("x", 5, 0), nil)
			require.NoError(t, err)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t, window.Hour)
			s.off = 4
			s.see("w", 0)
			require.ErrorIs(t, s.n.Update(func(b *Batch) error { tt.run(t, b); return boom }), boom)
			_, err := s.n.Do(rec("y", 6, 0), nil)
			require.ErrorIs(t, err, ErrGapAfterFailure)
			_, err = s.n.Do(rec("x", 5, 0), nil)
			require.NoError(t, err)
			_, err = s.n.Do(rec("y", 6, 0), nil)
			require.NoError(t, err)
		})
	}
	t.Run("before there is a position", func(t *testing.T) {
		s := newScene(t, window.Hour)
		in := func(log byte, id string, off int64) Record {
			r := rec(id, off, 0)
			r.Origin.TopicID = ID{log}
			return r
		}
		_, err := s.n.Do(in(1, "x", 5), fail)
		require.ErrorIs(t, err, boom)
		for _, off := range []int64{3, 5, 7} { // whatever its offset: it would pass the failed one silently
			_, err = s.n.Do(in(2, "y", off), nil)
			require.ErrorIs(t, err, ErrOtherLog, off)
			require.ErrorContains(t, err, "waits for "+in(1, "", 5).Origin.String())
		}
		_, err = s.n.Do(in(1, "y", 6), nil)
		require.ErrorIs(t, err, ErrGapAfterFailure)
		// Another log is taken up, and the batch given up again: the failure stands.
		require.ErrorIs(t, s.n.Update(func(b *Batch) error {
			require.NoError(t, b.SetPosition(Position{TopicID: ID{2}, Offset: 3}))
			_, err := b.Do(in(2, "y", 7), nil)
			require.NoError(t, err)
			_, err = b.Do(in(2, "z", 8), fail)
			return err
		}), boom)
		_, err = s.n.Do(in(1, "y", 6), nil)
		require.ErrorIs(t, err, ErrGapAfterFailure)
		_, err = s.n.Do(in(1, "x", 5), nil)
		require.NoError(t, err)
		_, err = s.n.Do(in(1, "y", 9), nil)
		require.NoError(t, err)
	})
	t.Run("another log is taken up for good", func(t *testing.T) {
		s := newScene(t, window.Hour)
		_, err := s.n.Do(rec("x", 5, 0), fail)
		require.ErrorIs(t, err, boom)
		require.NoError(t, s.n.Update(func(b *Batch) error {
			return b.SetPosition(Position{TopicID: ID{2}, Offset: 3})
		}))
		for _, off := range []int64{3, 7} { // 5 is an offset of the other log
			r := rec(fmt.Sprint(off), off, 0)
			r.Origin.TopicID = ID{2}
			_, err = s.n.Do(r, nil)
			require.NoError(t, err)
		}
	})
	t.Run("in another log", func(t *testing.T) {
		s := newScene(t, window.Hour)
		s.off = 4
		s.see("w", 0)
		require.ErrorIs(t, s.n.Update(func(b *Batch) error {
			require.NoError(t, b.SetPosition(Position{TopicID: ID{2}, Offset: 1}))
			r := rec("x", 1, 0)
			r.Origin.TopicID = ID{2}
			_, err := b.Do(r, fail)
			return err
		}), boom)
		_, err := s.n.Do(rec("y", 5, 0), nil)
		require.NoError(t, err, "nothing failed in this log")
	})
}
