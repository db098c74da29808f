package adapter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/firstseen/firstseen/window"
)

func TestNote_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := note{merged: rapid.Bool().Draw(t, "merged"), broken: rapid.Bool().Draw(t, "broken"),
			stateless: rapid.Bool().Draw(t, "stateless"),
			stamp:     stamp(rapid.IntRange(int(unstamped), int(byBroker)).Draw(t, "stamp"))}
		covered := make(map[int64]bool)
		for range rapid.IntRange(0, 5).Draw(t, "ranges") {
			from := rapid.Int64Range(0, 50).Draw(t, "from")
			to := from + rapid.Int64Range(0, 10).Draw(t, "length")
			n = n.skip(rapid.Int64().Draw(t, "clock"), offsetRange{from, to})
			for o := from; o < to; o++ {
				covered[o] = true
			}
		}
		got := make(map[int64]bool)
		for i, r := range n.ranges() {
			require.Positive(t, max(i, 1)*int(r.To-r.From))
			for o := r.From; o < r.To; o++ {
				got[o] = true
			}
		}
		require.Equal(t, covered, got)

		b := n.encode()
		again, err := decodeNote(b)
		require.NoError(t, err)
		require.Equal(t, n, again)
		for cut := 1; cut < len(b); cut++ {
			_, err := decodeNote(b[:cut])
			require.ErrorIs(t, err, errNote)
		}
	})
	_, err := decodeNote([]byte{noteFormat + 1, 0, 0})
	require.ErrorIs(t, err, errNote)
	_, err = decodeNote([]byte{noteFormat, 3 * noteStamp, 0})
	require.ErrorIs(t, err, errNote)
	require.Nil(t, note{}.encode(), "nothing is no bytes")
}

// A note stays small, and says so when it covers more than was skipped.
func TestNote_IsBounded(t *testing.T) {
	n := note{}
	for i := range int64(noteMost) {
		n = n.skip(i, offsetRange{10 * i, 10*i + 1})
	}
	require.Len(t, n.skipped, noteMost)
	require.False(t, n.merged)
	n = n.skip(7, offsetRange{1993, 1994})
	require.Len(t, n.skipped, noteMost)
	require.True(t, n.merged)
	require.Equal(t, skip{offsetRange{1990, 1994}, 199}, n.skipped[noteMost-1], "the smallest gap")
}

// What was skipped is told as long as its markers would count.
func TestNote_LeavesTheWindow(t *testing.T) {
	hour := time.Hour.Milliseconds()
	n := note{merged: true}.skip(1000, offsetRange{1, 2}).skip(2000, offsetRange{5, 6})
	require.Len(t, n.within(window.Hour, 999+hour).skipped, 2)
	left := n.within(window.Hour, 1000+hour)
	require.Equal(t, []offsetRange{{5, 6}}, left.ranges())
	require.True(t, left.merged)
	require.Equal(t, note{skipped: []skip{}}, n.within(window.Hour, 9*hour))
	require.Len(t, n.within(window.Forever, 1<<60).skipped, 2)
	require.Len(t, n.skipped, 2, "it stays as it is")
}
