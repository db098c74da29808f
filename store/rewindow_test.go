package store

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// A window that grows while a restore goes by an older clock: what had left it, and
// was dropped, is told by the clock that the namespace had reached (R9).
func TestStore_Namespace_R9_WindowGrowsInARestore(t *testing.T) {
	s := newScene(t, window.Hour)
	s.later(9 * time.Hour)
	s.warm()
	s.stroll(50 * time.Minute)
	s.see("gone", 50*time.Minute)
	s.stroll(2 * time.Hour)
	require.NoError(t, s.n.Update(func(b *Batch) error {
		return b.BeginRestore(Restore{To: s.off, From: at(100 * time.Minute)})
	}))
	require.NoError(t, s.reask(NamespaceOptions{Window: window.Of(3 * time.Hour)}))
	require.NoError(t, s.n.Update((*Batch).EndRestore))

	covered := Coverage{Since: at(time.Hour), Reason: Cold}
	require.Equal(t, covered, s.status().Coverage)
	d := s.see("gone", 2*time.Hour)
	require.Equal(t, Decision{Verdict: Unknown, Reason: Cold, Action: Accept, Coverage: covered}, d)
}

// A namespace that was restored from before its own first time has had markers
// there, and does not vouch for those that have left the window (R9).
func TestStore_Namespace_R9_WindowGrowsAfterARestoreFromBefore(t *testing.T) {
	s := newScene(t, window.Hour)
	s.later(9 * time.Hour)
	s.off = 100
	s.warm()
	require.NoError(t, s.n.Update(func(b *Batch) error {
		require.NoError(t, b.BeginRestore(Restore{To: 100, From: at(-30 * time.Minute), Until: at(10 * time.Minute)}))
		require.NoError(t, b.MoveTo(rec("", 90, 0).Origin))
		for i, id := range []string{"first", "old"} {
			_, err := b.Restore(rec(id, 90+int64(i), time.Duration(i-25)*time.Minute))
			require.NoError(t, err)
		}
		require.NoError(t, b.MoveTo(rec("", 100, 0).Origin))
		return b.EndRestore()
	}))
	require.Equal(t, at(-25*time.Minute), s.status().Coverage.Since)
	s.off = 100
	s.stroll(50 * time.Minute)
	require.NoError(t, s.reask(NamespaceOptions{Window: window.Of(3 * time.Hour)}))

	covered := Coverage{Since: at(-10 * time.Minute), Reason: Cold}
	require.Equal(t, covered, s.status().Coverage)
	d := s.see("old", 50*time.Minute)
	require.Equal(t, Decision{Verdict: Unknown, Reason: Cold, Action: Accept, Coverage: covered}, d)
}

// A window that changes while the first times come in: the clock is a guess until
// there are eight of them, and may go back by more than the window (R1). What is
// accepted by then counts (R9).
func TestStore_Namespace_R9_WindowChangesBeforeTheClockIsKnown(t *testing.T) {
	s := newScene(t, window.Hour)
	s.later(9 * time.Hour)
	s.see("ahead", 5*time.Hour)
	require.NoError(t, s.reask(NamespaceOptions{Window: window.Of(2 * time.Hour)}))
	s.see("x", 0)
	s.warm()
	require.Equal(t, at(0), s.status().Clock)
	s.see("y", time.Minute) // a row of times ahead is given up by one that is near
	require.Equal(t, Duplicate, s.see("x", time.Minute).Verdict)
	require.Equal(t, Duplicate, s.see("y", time.Minute).Verdict)
}
