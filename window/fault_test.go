package window_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

// TestFault_C05_ZeroAndNegativeTimes: missing, zero and negative times are
// ordinary numbers here; nothing underflows into a bucket far away.
func TestFault_C05_ZeroAndNegativeTimes(t *testing.T) {
	b := window.Day.Buckets(time.Hour)
	for _, tt := range []struct {
		name  string
		at    time.Time
		ms    int64
		index int64
	}{
		{"-1", time.UnixMilli(-1), -1, -1},
		{"0", time.UnixMilli(0), 0, 0},
		{"a nanosecond before 1970", time.Unix(0, -1), -1, -1},
		{"a second before 1970", time.Unix(-1, 0), -1000, -1},
		{"negative", time.UnixMilli(-30 * hour), -30 * hour, -30},
		{"zero time.Time", time.Time{}, -62_135_596_800_000, -17_259_888},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.index, b.At(tt.at).Index())
			require.Equal(t, b.AtMillis(tt.ms), b.At(tt.at))

			// The window has the same exact edge on both sides of 1970.
			at := time.UnixMilli(tt.ms)
			require.True(t, window.Day.Contains(tt.at, at.Add(24*time.Hour-time.Millisecond)))
			require.False(t, window.Day.Contains(tt.at, at.Add(24*time.Hour)))
		})
	}
}

// TestFault_C09_AgeIsTheWindow: a copy of age W is no longer a duplicate (R2).
func TestFault_C09_AgeIsTheWindow(t *testing.T) {
	for _, w := range []window.Window{
		{}, window.Of(time.Millisecond), window.Of(2 * time.Millisecond), window.Hour, window.Week,
		window.Of(longest),
	} {
		for _, first := range []int64{-1, 0, 1, -w.Millis(), 1_800_000_000_000} {
			t.Run(w.String(), func(t *testing.T) {
				clock := first + w.Millis()
				require.True(t, w.ContainsMillis(first, clock-1), "age W - 1 ms")
				require.False(t, w.ContainsMillis(first, clock), "age W")
				require.False(t, w.ContainsMillis(first, clock+1), "age W + 1 ms")
				require.True(t, w.ContainsMillis(first, first), "age 0")
				require.True(t, w.ContainsMillis(first, first-1), "ahead of the clock: age 0")

				require.Equal(t, clock, w.ExpiresAt(first))
				require.Equal(t, first, w.Edge(clock))
			})
		}
	}
}

// TestFault_C16_NothingWraps: at the ends of int64, and for times that int64
// cannot hold, everything saturates and stays exact as long as it can.
func TestFault_C16_NothingWraps(t *testing.T) {
	// Ages that need more than 63 bits.
	require.False(t, window.Of(longest).ContainsMillis(minMS, maxMS))
	require.False(t, window.Day.ContainsMillis(minMS, maxMS))
	require.True(t, window.Day.ContainsMillis(maxMS, minMS), "ahead of the clock: age 0")
	require.True(t, window.Forever.ContainsMillis(minMS, maxMS), "forever has no end")
	require.True(t, window.Day.ContainsMillis(maxMS-24*hour+1, maxMS))
	require.False(t, window.Day.ContainsMillis(maxMS-24*hour, maxMS))

	require.Equal(t, int64(minMS), window.Day.Edge(minMS))
	require.Equal(t, int64(minMS), window.Day.Edge(minMS+24*hour))
	require.Equal(t, int64(minMS+1), window.Day.Edge(minMS+24*hour+1))
	require.Equal(t, int64(maxMS), window.Day.ExpiresAt(maxMS))
	require.Equal(t, int64(maxMS), window.Day.ExpiresAt(maxMS-24*hour))
	require.Equal(t, int64(maxMS-1), window.Day.ExpiresAt(maxMS-24*hour-1))

	for _, tt := range []struct {
		name string
		at   time.Time
		ms   int64
	}{
		{"last millisecond", time.UnixMilli(maxMS), maxMS},
		{"the one before", time.UnixMilli(maxMS - 1), maxMS - 1},
		{"just beyond the last", time.UnixMilli(maxMS).Add(time.Millisecond), maxMS},
		{"last second of int64", time.Unix(math.MaxInt64/1000+1, 0), maxMS},
		{"first millisecond", time.UnixMilli(minMS), minMS},
		{"the one after", time.UnixMilli(minMS + 1), minMS + 1},
		{"just before the first", time.UnixMilli(minMS).Add(-time.Millisecond), minMS},
		{"greatest second", time.Unix(math.MaxInt64, 999_999_999), maxMS},
		{"least second", time.Unix(math.MinInt64, 0), minMS},
		{"year 9999", time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), 253_402_214_400_000},
		{"year 1e9", time.Date(1e9, 1, 1, 0, 0, 0, 0, time.UTC), maxMS},
		{"year -1e9", time.Date(-1e9, 1, 1, 0, 0, 0, 0, time.UTC), minMS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := window.Of(time.Millisecond).Buckets(0).At(tt.at)
			require.Equal(t, tt.ms, b.StartMillis())
			require.Equal(t, tt.ms, b.Index())
			require.NotPanics(t, func() { _ = b.String() })

			wide := window.Forever.Buckets(longest).At(tt.at)
			require.LessOrEqual(t, wide.StartMillis(), tt.ms)
			require.GreaterOrEqual(t, wide.EndMillis(), tt.ms)
			require.True(t, window.Forever.Contains(tt.at, time.Unix(math.MaxInt64, 0)))
			require.True(t, window.Hour.Contains(tt.at, tt.at))
		})
	}
}

// TestFault_C19_OnlyUTCMilliseconds: a change of the local clock is no change of
// time: neither the zone of a time.Time nor a day of 23 hours is seen.
func TestFault_C19_OnlyUTCMilliseconds(t *testing.T) {
	winter := time.FixedZone("winter", 3600)
	summer := time.FixedZone("summer", 7200)
	first := time.Date(2026, 3, 29, 1, 30, 0, 0, winter) // 02:00 becomes 03:00 that night
	clock := time.Date(2026, 3, 30, 1, 30, 0, 0, summer) // the same time of day, 23 hours later
	require.True(t, window.Day.Contains(first, clock))
	require.True(t, window.Day.Contains(first, clock.Add(time.Hour-time.Millisecond)))
	require.False(t, window.Day.Contains(first, clock.Add(time.Hour)))

	days := window.Week.Buckets(24 * time.Hour)
	require.Equal(t, days.At(first.UTC()), days.At(first))
	b := days.At(first)
	require.Equal(t, time.UTC, b.Start().Location())
	require.Equal(t, time.UTC, b.End().Location())
	require.Equal(t, time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC), b.Start())
	require.Equal(t, 24*time.Hour, b.End().Sub(b.Start()))

	// 2016 ended with a leap second; Unix time, and so the day, has none.
	leap := days.At(time.Date(2016, 12, 31, 23, 59, 59, 0, time.UTC))
	require.Equal(t, time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC), leap.End())
}
