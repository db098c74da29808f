package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// The queue has written a table while somebody else, for a moment, owned its
// namespace, which nobody uses afterwards: the budget gets its memory back all the
// same.
func TestBudget_ATableThatCameUnnoticed(t *testing.T) {
	s := openMem(t, Options{Logger: quiet(), Memory: 1}, limits{full: 100, small: 50, merge: 1000, share: 1 << 30})
	a, err := s.Namespace("a", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	b, err := s.Namespace("b", &NamespaceOptions{Window: window.Hour})
	require.NoError(t, err)
	require.NoError(t, s.lockTables(t.Context()))
	accept(t, a, 0, 100, 0)
	require.NoError(t, a.own())
	s.unlockTables()
	require.NoError(t, s.queue.drain())
	g := indexOf(a).list[0]
	require.Nil(t, g.table)
	require.NotNil(t, g.spilled.Load())
	a.disown()
	accept(t, b, 0, 1, 0)
	require.NoError(t, s.queue.drain())
	require.NotNil(t, g.table)
	require.Nil(t, g.exact, "it is still in memory")
	require.Len(t, duplicates(t, a, "id-0", "id-99"), 2)
}
