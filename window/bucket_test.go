package window_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/firstseen/firstseen/window"
)

func TestBuckets_Width(t *testing.T) {
	for _, tt := range []struct {
		name  string
		b     window.Buckets
		width time.Duration
	}{
		{"zero Buckets", window.Buckets{}, 3 * time.Hour},
		{"zero window", window.Window{}.Buckets(0), 3 * time.Hour},
		{"an eighth", window.Day.Buckets(0), 3 * time.Hour},
		{"whole milliseconds", window.Of(100 * time.Millisecond).Buckets(0), 12 * time.Millisecond},
		{"at least 1 ms", window.Of(time.Millisecond).Buckets(0), time.Millisecond},
		{"forever", window.Forever.Buckets(0), 24 * time.Hour},
		{"given", window.Day.Buckets(time.Minute), time.Minute},
		{"wider than the window", window.Hour.Buckets(25 * time.Hour), 25 * time.Hour},
		{"widest", window.Hour.Buckets(longest), longest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.NoError(t, tt.b.Validate())
			require.Equal(t, tt.width, tt.b.Width())
			b := tt.b.AtMillis(0)
			require.Equal(t, tt.width.Milliseconds(), b.EndMillis()-b.StartMillis())
		})
	}
	require.Equal(t, window.Window{}.Buckets(0), window.Buckets{})
}

func TestBuckets_Invalid(t *testing.T) {
	for _, tt := range []struct {
		name  string
		width time.Duration
		names string
	}{
		{"negative", -time.Hour, "-1h0m0s"},
		{"least", math.MinInt64, "-2562047h47m16.854775808s"},
		{"below 1 ms", 999 * time.Microsecond, "999µs"},
		{"fraction", 1500 * time.Microsecond, "1.5ms"},
		{"greatest", math.MaxInt64, "2562047h47m16.854775807s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := window.Day.Buckets(tt.width)
			err := b.Validate()
			require.ErrorIs(t, err, window.ErrWidth)
			require.NotErrorIs(t, err, window.ErrInvalid)
			require.ErrorContains(t, err, " "+tt.names+":")
			for _, ms := range []int64{minMS, -1, 0, 1, maxMS} {
				require.NotPanics(t, func() { _ = b.AtMillis(ms).String() })
				require.NotPanics(t, func() { _ = b.Oldest(time.UnixMilli(ms)).String() })
			}
		})
	}

	err := window.Of(-1).Buckets(-1).Validate()
	require.ErrorIs(t, err, window.ErrWidth)
	require.ErrorIs(t, err, window.ErrInvalid, "both faults are reported at once")
	require.ErrorIs(t, window.Of(-1).Buckets(0).Validate(), window.ErrInvalid)
}

func TestBuckets_At(t *testing.T) {
	b := window.Day.Buckets(time.Hour)
	for _, tt := range []struct {
		name              string
		ms                int64
		index, start, end int64
	}{
		{"first ms", 0, 0, 0, hour},
		{"last ms", hour - 1, 0, 0, hour},
		{"next", hour, 1, hour, 2 * hour},
		{"before 1970", -1, -1, -hour, 0},
		{"first ms before 1970", -hour, -1, -hour, 0},
		{"two before 1970", -hour - 1, -2, -2 * hour, -hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := b.AtMillis(tt.ms)
			require.Equal(t, tt.index, got.Index())
			require.Equal(t, tt.start, got.StartMillis())
			require.Equal(t, tt.end, got.EndMillis())
			require.Equal(t, time.UnixMilli(tt.start).UTC(), got.Start())
			require.Equal(t, time.UnixMilli(tt.end).UTC(), got.End())
			require.Equal(t, got, b.At(time.UnixMilli(tt.ms)))
		})
	}
}

func TestBuckets_Oldest(t *testing.T) {
	for _, tt := range []struct {
		name   string
		b      window.Buckets
		clock  int64
		oldest int64 // its start
	}{
		{"edge just before a bucket starts", window.Day.Buckets(time.Hour), 30*hour - 1, 6 * hour},
		{"edge inside a bucket", window.Day.Buckets(time.Hour), 30*hour + 1, 6 * hour},
		{"edge at the last ms of a bucket", window.Day.Buckets(time.Hour), 31*hour - 1, 7 * hour},
		{"edge at the start of a bucket", window.Day.Buckets(time.Hour), 30 * hour, 6 * hour},
		{"before 1970", window.Hour.Buckets(time.Hour), -hour, -2 * hour},
		{"window of 1 ms", window.Of(time.Millisecond).Buckets(0), 5, 5},
		{"forever", window.Forever.Buckets(0), 5, minMS},
		{"saturated", window.Day.Buckets(0), minMS + 1, minMS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.oldest, tt.b.Oldest(time.UnixMilli(tt.clock)).StartMillis())
		})
	}
}

func TestBucket_Live(t *testing.T) {
	b := window.Day.Buckets(time.Hour).AtMillis(0)
	end := b.End()
	require.True(t, b.Live(b.Start().Add(-time.Hour), window.Day), "ahead of the clock")
	require.True(t, b.Live(end.Add(24*time.Hour-2*time.Millisecond), window.Day))
	require.False(t, b.Live(end.Add(24*time.Hour-time.Millisecond), window.Day))
	require.False(t, b.Live(end.Add(24*time.Hour), window.Day))
	require.True(t, b.Live(time.UnixMilli(maxMS), window.Forever))
}

func TestBucket_String(t *testing.T) {
	require.Equal(t, "0 [1970-01-01T00:00:00Z, 1970-01-01T00:00:00.001Z)",
		window.Bucket{}.String(), "the zero Bucket is the first millisecond of 1970")
	require.Equal(t, window.Bucket{}, window.Of(time.Millisecond).Buckets(0).AtMillis(0))
	require.Equal(t, "-1 [1969-12-31T00:00:00Z, 1970-01-01T00:00:00Z)",
		window.Forever.Buckets(0).AtMillis(-5).String())
}
