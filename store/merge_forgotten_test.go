package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// A merge takes out what was forgotten, so its table may hold far less than it has
// pages for: when it is merged again, with little beside it, all of its pages are
// read, and nothing of it is damage.
func TestMerge_OfWhatIsMostlyForgotten(t *testing.T) {
	s := openMem(t, Options{Logger: quiet()}, limits{full: 200, small: 100, merge: 1000})
	n, err := s.Namespace("a", &NamespaceOptions{Window: window.Forever})
	require.NoError(t, err)
	for o := int64(0); o < 1600; o += 100 {
		accept(t, n, o, 100, 0)
	}
	require.NoError(t, s.queue.drain())
	require.NoError(t, n.ForgetOrigins(ID{1}, 0, 10, 1590))
	s.limits.merge = 2
	first := mergedNow(t, s, n)[0]
	require.True(t, first.merged())
	require.EqualValues(t, 20, first.live())
	require.Greater(t, first.pages, pagesFor(first.live()+300))

	for o := int64(1600); o < 2000; o += 100 {
		accept(t, n, o, 100, 0)
	}
	last := mergedNow(t, s, n)[0]
	require.NotEqual(t, first.num, last.num, "it was not merged again")
	require.NoError(t, s.Err())
	require.Equal(t, append(idsOf(0, 10), idsOf(1590, 2000)...), duplicates(t, n, idsOf(0, 2000)...))
}
