package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// An idle namespace keeps its markers, because no record moves its clock.
// Advance does, and the space comes back.
func TestFault_C14_IdleNamespaceGivesSpaceBack(t *testing.T) {
	s := newScene(t, window.Of(30*time.Minute))
	s.st.limits = limits{full: 2000, small: 100}
	s.warm()
	require.NoError(t, s.n.Update(func(b *Batch) error {
		for range 10_000 {
			if _, err := b.Do(rec(fmt.Sprintf("a rather long ID of %40d", s.off), s.off, 0), nil); err != nil {
				return err
			}
			s.off++
		}
		return nil
	}))
	require.NoError(t, s.st.queue.drain())
	before, err := s.n.DiskBytes()
	require.NoError(t, err)
	require.Greater(t, before, uint64(400_000))

	require.NoError(t, s.n.Advance(t0.Add(30*time.Minute)))
	st := s.status()
	require.Zero(t, st.Markers)
	require.Zero(t, st.Segments)
	require.Equal(t, at(30*time.Minute), st.Clock)
	require.Zero(t, s.st.Stats().MemoryBytes)
	require.NoError(t, s.st.queue.drain())
	left, err := s.n.DiskBytes()
	require.NoError(t, err)
	require.Less(t, left, before/50)
	require.Equal(t, New, s.see("a new one", 30*time.Minute).Verdict)
}

func TestNamespace_Advance(t *testing.T) {
	s := newScene(t, window.Hour)
	require.ErrorIs(t, s.n.Advance(t0), ErrNoClock)
	for i := range 7 {
		s.see(fmt.Sprint(i), 0)
	}
	require.ErrorIs(t, s.n.Advance(t0), ErrNoClock)
	s.see("7", 0)
	require.Equal(t, New, s.see("x", 0).Verdict)
	was := s.status()

	err := s.n.Advance(t0.Add(time.Hour + 1))
	require.ErrorIs(t, err, ErrAhead)
	require.ErrorContains(t, err, "2023-11-14T23:13:20.000000001Z")
	for _, at := range []time.Duration{0, -time.Hour} { // nothing happens
		require.NoError(t, s.n.Advance(t0.Add(at)))
	}
	require.Equal(t, was, s.status())

	require.NoError(t, s.n.Advance(t0.Add(time.Hour-time.Millisecond)))
	require.Equal(t, was.Sequence+1, s.status().Sequence)
	require.Equal(t, was.Position, s.status().Position)
	require.Equal(t, Duplicate, s.see("x", 0).Verdict)
	require.NoError(t, s.n.Advance(t0.Add(time.Hour)))
	require.Equal(t, New, s.see("x", time.Hour).Verdict)
	require.Equal(t, Late, s.see("late", -time.Millisecond).Reason)
}

// A row that stands is given up, and what it accepted counts from there on.
func TestNamespace_Advance_GivesARowUp(t *testing.T) {
	s := newScene(t, window.Hour)
	s.warm()
	require.Equal(t, New, s.see("jump", 40*time.Minute).Verdict)
	require.NoError(t, s.n.Advance(t0.Add(10*time.Minute)))
	d := s.see("jump", 0)
	require.Equal(t, Duplicate, d.Verdict)
	require.Equal(t, at(10*time.Minute), d.First)
	s.stroll(70*time.Minute - time.Millisecond)
	require.Equal(t, Duplicate, s.see("jump", 0).Verdict)
}

// Only what was seen closes coverage.
func TestNamespace_Advance_LeavesCoverageOpen(t *testing.T) {
	s := newScene(t, window.Of(10*time.Minute))
	s.off = 100
	s.warm()
	require.NoError(t, s.n.Advance(t0.Add(30*time.Minute)))
	require.Equal(t, Coverage{Open: true, Reason: Cold}, s.status().Coverage)
	require.Equal(t, Cold, s.see("x", 30*time.Minute).Reason)
	s.see("y", 31*time.Minute)
	require.Equal(t, Coverage{Since: at(31 * time.Minute), Reason: Cold}, s.status().Coverage)
}
