package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// offset is a position in the log of rec.
func offset(o int64) Position { return Position{TopicID: ID{1}, Offset: o} }

// Whatever overrules a namespace is durable with its batch, and is nothing when
// the batch is given up.
func TestBatch_OverruledIsDurable(t *testing.T) {
	dir := t.TempDir()
	open := func() (*Store, *Namespace) {
		s, err := Open(dir, nil)
		require.NoError(t, err)
		n, err := s.Namespace("a", &NamespaceOptions{Window: window.Hour})
		require.NoError(t, err)
		return s, n
	}
	s, n := open()
	for i := range int64(20) {
		_, err := n.Do(rec(fmt.Sprint(i), i, time.Duration(i)*time.Second), func(tx *Tx) error {
			_, err := tx.Add([]byte("n"), 1)
			return err
		})
		require.NoError(t, err)
	}
	require.NoError(t, n.Update(func(b *Batch) error {
		b.Remember(19, 7)
		return nil
	}))
	overrule := func(b *Batch) error {
		require.NoError(t, b.MoveTo(offset(10)))
		require.NoError(t, b.OpenCoverage(Lost, t0.Add(time.Minute)))
		require.NoError(t, b.RaiseSequence(100))
		require.Equal(t, uint64(101), b.Sequence())
		b.SetRewind(3)
		require.NoError(t, b.SetNote([]byte("note")))
		return b.ClearState()
	}
	before, err := n.Status()
	require.NoError(t, err)
	undone := fmt.Errorf("undone")
	require.ErrorIs(t, n.Update(func(b *Batch) error {
		require.NoError(t, overrule(b))
		return undone
	}), undone)
	same, err := n.Status()
	require.NoError(t, err)
	require.Equal(t, before, same)

	require.NoError(t, n.Update(overrule))
	for range 2 {
		st, err := n.Status()
		require.NoError(t, err)
		require.Equal(t, offset(10), st.Position)
		require.Equal(t, Coverage{Open: true, Reason: Lost}, st.Coverage)
		require.Equal(t, uint64(101), st.Sequence)
		require.Equal(t, uint64(3), st.Rewind)
		require.Equal(t, "note", string(st.Note))
		require.Equal(t, int64(-1), st.LastOffset, "the record remembered lies above")
		require.False(t, st.HasState)
		require.NoError(t, n.View(func(v *View) error {
			sum, err := v.Int([]byte("n"))
			require.Zero(t, sum)
			return err
		}))
		require.NoError(t, s.Close())
		s, n = open()
	}
	defer func() { require.NoError(t, s.Close()) }()

	// What is read again meets its markers, and coverage closes late.
	d, err := n.Do(rec("12", 12, 12*time.Second), nil)
	require.NoError(t, err)
	require.Equal(t, Duplicate, d.Verdict)
	d, err = n.Do(rec("new", 13, 30*time.Second), nil)
	require.NoError(t, err)
	require.Equal(t, []any{Unknown, Lost}, []any{d.Verdict, d.Reason})
	require.Equal(t, t0.Add(time.Minute).UTC(), d.Coverage.Since, "not the clock, which is earlier")
}

// Calls that make no sense are refused, and numbers never go back.
func TestBatch_OverruleRefusals(t *testing.T) {
	s := newScene(t, window.Hour)
	s.warm()
	var ended *Batch
	require.NoError(t, s.n.Update(func(b *Batch) error {
		ended = b
		seq := b.Sequence()
		require.NoError(t, b.RaiseSequence(1))
		require.Equal(t, seq, b.Sequence())
		require.ErrorContains(t, b.RaiseSequence(1<<63), "no sequence")
		require.ErrorContains(t, b.OpenCoverage(Late, time.Time{}), "Cold")
		require.ErrorContains(t, b.MoveTo(offset(-1)), "not a position")
		require.ErrorContains(t, b.SetNote(make([]byte, noteLimit+1)), "at most")
		b.SetRewind(5)
		b.SetRewind(4)
		require.NoError(t, b.ClearState())
		require.ErrorIs(t, b.Pass(rec("", s.off, 0), func(*Tx) error { return nil }), ErrStateCleared)
		return nil
	}))
	st, err := s.n.Status()
	require.NoError(t, err)
	require.Equal(t, uint64(5), st.Rewind)
	require.Nil(t, st.Note)
	for _, err := range []error{ended.MoveTo(offset(0)), ended.OpenCoverage(Cold, time.Time{}), ended.RaiseSequence(9),
		ended.SetNote(nil), ended.ClearState()} {
		require.ErrorIs(t, err, ErrTxDone)
	}
}

// In another log MoveTo is SetPosition; and a record that failed before is no
// obstacle once the position went back below it.
func TestBatch_MoveTo(t *testing.T) {
	s := newScene(t, window.Hour)
	s.warm()
	failed := fmt.Errorf("failed")
	require.NoError(t, s.n.Update(func(b *Batch) error {
		_, err := b.Do(rec("x", s.off, 0), func(*Tx) error { return failed })
		require.ErrorIs(t, err, failed)
		require.NoError(t, b.MoveTo(offset(2)))
		_, err = b.Do(rec("x", s.off+1, 0), nil)
		return err
	}))
	require.NoError(t, s.n.Update(func(b *Batch) error {
		b.SetCommitted(Committed{Offset: 3})
		return b.MoveTo(Position{TopicID: ID{9}, Offset: 5})
	}))
	st, err := s.n.Status()
	require.NoError(t, err)
	require.Equal(t, Position{TopicID: ID{9}, Offset: 5}, st.Position)
	require.Nil(t, st.Committed, "it is of the other log")
	require.True(t, st.Coverage.Open)
}
