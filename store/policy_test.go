package store

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

func TestUnknownPolicy_Of(t *testing.T) {
	p := UnknownPolicy{Late: Drop, Evicted: DeadLetter, Lost: Accept}.withDefaults()
	require.Equal(t, UnknownPolicy{Drop, Accept, Accept, DeadLetter, Accept}, p)
	for reason, want := range map[Reason]Action{
		Late: Drop, Clock: Accept, Cold: Accept, Evicted: DeadLetter, Lost: Accept,
	} {
		require.Equal(t, want, p.of(reason), reason)
	}
	require.NoError(t, p.validate())
	err := UnknownPolicy{Late: Drop + 1, Lost: 9}.validate()
	require.ErrorContains(t, err, "Unknown.Late is 4")
	require.ErrorContains(t, err, "Unknown.Lost is 9")
}

// cold is a namespace that begins in the middle of a log, so that every ID it
// meets is Unknown(cold), under a policy.
func cold(t *testing.T, a Action) *scene {
	s := newScene(t, window.Hour)
	_, err := s.st.Namespace("a", &NamespaceOptions{Window: window.Hour, Unknown: UnknownPolicy{Cold: a}})
	require.NoError(t, err)
	s.off = 100
	return s
}

func TestBatch_Do_DropsAnUnknown(t *testing.T) {
	s := cold(t, Drop)
	for range 2 { // the second is no duplicate of what left no marker
		d, err := s.n.Do(rec("x", s.off, 0), func(*Tx) error { panic("handled") })
		require.NoError(t, err)
		require.Equal(t, Decision{
			Verdict: Unknown, Reason: Cold, Action: Drop, Coverage: Coverage{Open: true, Reason: Cold},
		}, d)
		s.off++
	}
	st, err := s.n.Status()
	require.NoError(t, err)
	require.Zero(t, st.Markers)
	require.Equal(t, int64(102), st.Position.Offset, "L moves")
	require.True(t, st.Clock.Equal(t0), "and the clock")
	require.Equal(t, Counts{Unknown: 2, Cold: 2, Dropped: 2}, st.Counts)
}

func TestBatch_Do_DeadLettersAnUnknown(t *testing.T) {
	s := cold(t, DeadLetter)
	for range 2 {
		d, err := s.n.Do(rec("x", s.off, 0), func(tx *Tx) error {
			require.Equal(t, DeadLetter, tx.Decision().Action)
			require.Equal(t, Coverage{Open: true, Reason: Cold}, tx.Decision().Coverage)
			require.ErrorIs(t, tx.Set([]byte("k"), nil), ErrDeadLetter)
			require.ErrorIs(t, tx.Delete([]byte("k")), ErrDeadLetter)
			_, err := tx.Add([]byte("k"), 1)
			require.ErrorIs(t, err, ErrDeadLetter)
			return tx.Stage([]byte("dead letter"))
		})
		require.NoError(t, err)
		require.Equal(t, DeadLetter, d.Action)
		s.off++
	}
	st, err := s.n.Status()
	require.NoError(t, err)
	require.Zero(t, st.Markers)
	require.False(t, st.HasState)
	require.Equal(t, 2, st.Pending)
	require.Equal(t, int64(102), st.Position.Offset, "L moves")
	require.Equal(t, Counts{Unknown: 2, Cold: 2, DeadLettered: 2}, st.Counts)
	_, err = s.n.Do(rec("x", s.off, 0), func(*Tx) error { return ErrOverflow })
	require.ErrorIs(t, err, ErrOverflow, "a failure is a failure")
	require.Equal(t, int64(102), s.status().Position.Offset)
}

// A policy is that of the newest opening which gave options.
func TestStore_Namespace_PolicyIsNotStored(t *testing.T) {
	s := cold(t, Drop)
	require.Equal(t, Drop, s.see("x", 0).Action)
	_, err := s.st.Namespace("a", nil)
	require.NoError(t, err)
	require.Equal(t, Drop, s.see("x", 0).Action)
	_, err = s.st.Namespace("a", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	require.Equal(t, Accept, s.see("x", 0).Action)
	require.Equal(t, Duplicate, s.see("x", 0).Verdict)
	require.Equal(t, uint64(3), s.status().Sequence-s.status().Counts.Duplicate, "no batch of its own")
}

// status returns the namespace's status.
func (s *scene) status() Status {
	st, err := s.n.Status()
	require.NoError(s.t, err)
	return st
}

// stroll sees a record every step until the clock stands at to.
func (s *scene) stroll(to time.Duration) {
	for at := s.status().Clock.Sub(t0); at < to; {
		at = min(at+s.status().Settings.MaxAdvance, to)
		s.see("stroll-"+at.String(), at)
	}
}
