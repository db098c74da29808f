package window_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		text string
		ttl  time.Duration
		back string // what String makes of it
	}{
		{"90m", 90 * time.Minute, "1h30m"},
		{"1h", time.Hour, "1h"},
		{"24h", 24 * time.Hour, "24h"},
		{"1d", 24 * time.Hour, "24h"},
		{"24h0m0s", 24 * time.Hour, "24h"},
		{"36h", 36 * time.Hour, "36h"},
		{"48h", 48 * time.Hour, "2d"},
		{"7d", 168 * time.Hour, "7d"},
		{"1w", 168 * time.Hour, "7d"},
		{"4w", 672 * time.Hour, "4w"},
		{"28d", 672 * time.Hour, "4w"},
		{"007d", 168 * time.Hour, "7d"},
		{"1w2d12h30m", (9*24+12)*time.Hour + 30*time.Minute, "228h30m"},
		{"0w1h", time.Hour, "1h"},
		{"1.5h", 90 * time.Minute, "1h30m"},
		{"7d.5h", 168*time.Hour + 30*time.Minute, "168h30m"},
		{"10m", 10 * time.Minute, "10m"},
		{"20h", 20 * time.Hour, "20h"},
		{"1h10m", 70 * time.Minute, "1h10m"},
		{"1h10s", time.Hour + 10*time.Second, "1h0m10s"},
		{"1m0.5s", 60500 * time.Millisecond, "1m0.5s"},
		{"1ms", time.Millisecond, "1ms"},
		{"1000us", time.Millisecond, "1ms"},
		{"+1h", time.Hour, "1h"},
		{"106751d", 106751 * 24 * time.Hour, "106751d"},
		{"forever", window.Forever.TTL(), "forever"},
	} {
		t.Run(tt.text, func(t *testing.T) {
			w, err := window.Parse(tt.text)
			require.NoError(t, err)
			require.Equal(t, tt.ttl, w.TTL())
			require.Equal(t, tt.back, w.String())

			again, err := window.Parse(w.String())
			require.NoError(t, err)
			require.Equal(t, w, again)
		})
	}
}

func TestParse_Refuses(t *testing.T) {
	for _, text := range []string{
		"", " ", "0", "1", "d", "w", "7", "-7d", "+7d", "-1h", "0s", "0d", "0w", "1.5d", "1e3s",
		"7D", "7 d", " 7d", "7d ", "1d1w", "1w1w", "1d1d", "1h1d", "7d-5m", "7d+5m", "7d0",
		"Forever", "forever ", "7d forever", "window", "1.5ms", "999us", "1ns",
		"106752d", "293y", "15251w", "4294967295w", "4294967296d", "99999999999999999999d",
		"109802048057794951w",
		"2562047h47m16.854775808s", "invalid(1.5ms)", "7\x00d", "\xff\xfe", "٧d",
	} {
		t.Run(text, func(t *testing.T) {
			w, err := window.Parse(text)
			require.ErrorIs(t, err, window.ErrInvalid)
			require.True(t, w.IsZero())
		})
	}
}

func TestParse_ErrorSaysTheWayOut(t *testing.T) {
	_, err := window.Parse("soon")
	require.EqualError(t, err, `window: invalid window "soon": write it like `+
		`90m, 24h, 7d or 4w, at most 292 years, or forever`)

	_, err = window.Parse("1500us")
	require.EqualError(t, err, "window: invalid window 1.5ms: "+
		"give a TTL of whole milliseconds, at least 1ms")

	_, err = window.Parse(strings.Repeat("x", 1<<20))
	require.ErrorIs(t, err, window.ErrInvalid)
	require.Less(t, len(err.Error()), 256)
}

func TestWindow_String(t *testing.T) {
	for text, w := range map[string]window.Window{
		"24h": {}, "1h": window.Hour, "7d": window.Week, "forever": window.Forever,
		"2562047h47m16.854s": window.Of(longest),
	} {
		require.Equal(t, text, w.String())
	}
	require.Equal(t, "24h", window.Day.String())
}

func TestWindow_Text(t *testing.T) {
	type settings struct {
		Window window.Window
	}
	for _, w := range []window.Window{
		window.Hour, window.Day, window.Week, window.Forever, window.Of(longest),
	} {
		text, err := json.Marshal(settings{w})
		require.NoError(t, err)
		var got settings
		require.NoError(t, json.Unmarshal(text, &got))
		require.Equal(t, w, got.Window)
	}

	text, err := window.Window{}.MarshalText()
	require.NoError(t, err)
	require.Equal(t, "24h", string(text))

	_, err = window.Of(0).MarshalText()
	require.ErrorIs(t, err, window.ErrInvalid)

	w := window.Week
	require.ErrorIs(t, w.UnmarshalText(nil), window.ErrInvalid)
	require.Equal(t, window.Week, w, "an error leaves the window as it was")
}
