package window_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// FuzzParse: Parse takes what Go's durations take, and what it takes comes back
// from its text.
func FuzzParse(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		w, err := window.Parse(text)
		if !strings.ContainsAny(text, "dw") && text != "forever" {
			ttl, goErr := time.ParseDuration(text)
			valid := goErr == nil && window.Of(ttl).Validate() == nil
			require.Equal(t, valid, err == nil, "%q: %v", text, err)
			if valid {
				require.Equal(t, window.Of(ttl), w)
			}
		}
		if err != nil {
			require.ErrorIs(t, err, window.ErrInvalid)
			require.True(t, w.IsZero())
			return
		}
		require.NoError(t, w.Validate())
		require.False(t, w.IsZero())
		require.Equal(t, w, window.Of(w.TTL()))

		again, err := window.Parse(w.String())
		require.NoError(t, err)
		require.Equal(t, w, again)

		encoded, err := w.MarshalText()
		require.NoError(t, err)
		var decoded window.Window
		require.NoError(t, decoded.UnmarshalText(encoded))
		require.Equal(t, w, decoded)
	})
}

// FuzzContains: the window is exact, in Unix milliseconds and in time.Time.
func FuzzContains(f *testing.F) {
	f.Fuzz(func(t *testing.T, ttl, first, clock int64, firstNanos, clockNanos uint32) {
		w := anyWindow(ttl)
		requireContains(t, w, first, clock)

		// The same two numbers as seconds reach far beyond int64 milliseconds.
		firstNanos, clockNanos = firstNanos%1e9, clockNanos%1e9
		want := w.ContainsMillis(millisOf(first, firstNanos), millisOf(clock, clockNanos))
		got := w.Contains(time.Unix(first, int64(firstNanos)), time.Unix(clock, int64(clockNanos)))
		require.Equal(t, want, got, "%v: %d.%09d at %d.%09d", w, first, firstNanos, clock, clockNanos)
	})
}

// FuzzBuckets: every time lies in its bucket, adjacent buckets touch, indexes
// follow time, and Oldest and Live agree with the window.
func FuzzBuckets(f *testing.F) {
	f.Fuzz(func(t *testing.T, ttl, width, at, later, clock int64) {
		if width %= longest.Milliseconds(); width < 0 {
			width = -width
		}
		requireBuckets(t, anyWindow(ttl), width, at, later, clock)
	})
}
