package store

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// A timeline is read back as it was, and no text makes the parser panic.
func FuzzTimeline(f *testing.F) {
	now := t0.UnixMilli()
	for _, t := range []Timeline{
		{},
		{clock: clock{now: now, first: now, times: firstTimes}, ended: rowEnd{3, now}},
		{clock: clock{now: now, first: 1, times: firstTimes, jumps: 999, low: now + 1, high: math.MaxInt64}, apart: true},
		{clock: clock{now: 1, first: 1, times: 1, high: 1}, apart: true},
	} {
		again, err := ParseTimeline(t.String())
		require.NoError(f, err)
		require.Equal(f, t, again)
		f.Add(t.String())
	}
	f.Add("AAgCAAAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		told, err := ParseTimeline(text)
		if err != nil {
			require.Equal(t, Timeline{}, told)
			require.ErrorContains(t, err, "give what Timeline.String returned")
			return
		}
		require.Equal(t, text, told.String())
	})
}
