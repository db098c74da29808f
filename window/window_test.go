package window_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

const (
	minMS = math.MinInt64
	maxMS = math.MaxInt64
	hour  = int64(time.Hour / time.Millisecond)
)

// longest is the longest finite TTL of whole milliseconds.
const longest = time.Duration(math.MaxInt64) / time.Millisecond * time.Millisecond

func TestWindow_Presets(t *testing.T) {
	for _, tt := range []struct {
		name   string
		w      window.Window
		ttl    time.Duration
		millis int64
	}{
		{"zero", window.Window{}, 24 * time.Hour, 24 * hour},
		{"hour", window.Hour, time.Hour, hour},
		{"day", window.Day, 24 * time.Hour, 24 * hour},
		{"week", window.Week, 168 * time.Hour, 168 * hour},
		{"forever", window.Forever, math.MaxInt64, math.MaxInt64},
		{"shortest", window.Of(time.Millisecond), time.Millisecond, 1},
		{"longest", window.Of(longest), longest, longest.Milliseconds()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.NoError(t, tt.w.Validate())
			require.Equal(t, tt.ttl, tt.w.TTL())
			require.Equal(t, tt.millis, tt.w.Millis())
			require.Equal(t, tt.name == "zero", tt.w.IsZero())
			require.Equal(t, tt.name == "forever", tt.w.IsForever())
			if !tt.w.IsZero() {
				require.Equal(t, tt.w, window.Of(tt.w.TTL()))
			}
		})
	}
}

func TestOf_Invalid(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ttl   time.Duration
		names string // what the error calls the TTL
	}{
		{"zero", 0, "0s"},
		{"negative", -time.Hour, "-1h0m0s"},
		{"least", math.MinInt64, "-2562047h47m16.854775808s"},
		{"nanosecond", 1, "1ns"},
		{"just below", time.Millisecond - 1, "999.999µs"},
		{"just above", time.Millisecond + 1, "1.000001ms"},
		{"fraction", 1500 * time.Microsecond, "1.5ms"},
		{"above longest", longest + 1, "2562047h47m16.854000001s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := window.Of(tt.ttl)
			err := w.Validate()
			require.ErrorIs(t, err, window.ErrInvalid)
			require.ErrorContains(t, err, " "+tt.names+":")
			require.Equal(t, "invalid("+tt.names+")", w.String())
			require.Equal(t, tt.ttl, w.TTL())
			require.Zero(t, w.Millis())
			require.False(t, w.IsZero())
			require.False(t, w.IsForever())
			require.False(t, w.ContainsMillis(5, 5), "an invalid window contains nothing")
		})
	}
}

func TestWindow_Contains_IsContainsMillis(t *testing.T) {
	first := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	require.True(t, window.Hour.Contains(first, first.Add(time.Hour-time.Millisecond)))
	require.False(t, window.Hour.Contains(first, first.Add(time.Hour)))

	// Times are cut to the millisecond before they are compared.
	require.False(t, window.Hour.Contains(first.Add(999*time.Microsecond), first.Add(time.Hour)))
	require.True(t, window.Hour.Contains(first, first.Add(time.Hour-1)))
}

func TestWindow_EdgeAndExpiresAt(t *testing.T) {
	for _, tt := range []struct {
		name          string
		w             window.Window
		at            int64
		edge, expires int64
	}{
		{"zero window", window.Window{}, 0, -24 * hour, 24 * hour},
		{"hour", window.Hour, 5 * hour, 4 * hour, 6 * hour},
		{"before 1970", window.Hour, -hour, -2 * hour, 0},
		{"forever", window.Forever, 5, minMS, maxMS},
		{"forever at the end", window.Forever, maxMS, minMS, maxMS},
		{"forever at the start", window.Forever, minMS, minMS, maxMS},
		{"invalid", window.Of(-1), 5, 5, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.edge, tt.w.Edge(tt.at))
			require.Equal(t, tt.expires, tt.w.ExpiresAt(tt.at))
		})
	}
}
