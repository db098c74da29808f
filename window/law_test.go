package window_test

import (
	"math"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/firstseen/firstseen/window"
)

// The laws of this package, stated once for the random tests and for the fuzz
// targets. The oracle computes with integers that have no end.

// anyWindow maps every int64 to a window that can be used.
func anyWindow(ms int64) window.Window {
	switch {
	case ms == 0:
		return window.Window{}
	case ms == math.MaxInt64:
		return window.Forever
	case ms < 0:
		ms = -(ms + 1) // not negative, even for math.MinInt64
	}
	return window.Of(time.Duration(ms%longest.Milliseconds()+1) * time.Millisecond)
}

// clamp brings x into int64.
func clamp(x *big.Int) int64 {
	switch {
	case x.Cmp(big.NewInt(math.MaxInt64)) > 0:
		return math.MaxInt64
	case x.Cmp(big.NewInt(math.MinInt64)) < 0:
		return math.MinInt64
	default:
		return x.Int64()
	}
}

// millisOf is the Unix millisecond at or below sec seconds and nsec nanoseconds.
func millisOf(sec int64, nsec uint32) int64 {
	ms := new(big.Int).Mul(big.NewInt(sec), big.NewInt(1000))
	return clamp(ms.Add(ms, big.NewInt(int64(nsec/1e6))))
}

func requireContains(t require.TestingT, w window.Window, first, clock int64) {
	ttl := big.NewInt(w.Millis())
	age := new(big.Int).Sub(big.NewInt(clock), big.NewInt(first))
	want := w.IsForever() || age.Cmp(ttl) < 0 // W > 0, so a negative age is as good as 0
	require.Equal(t, want, w.ContainsMillis(first, clock), "%v: %d at %d", w, first, clock)

	edge, expires := int64(math.MinInt64), int64(math.MaxInt64)
	if !w.IsForever() {
		edge = clamp(new(big.Int).Sub(big.NewInt(clock), ttl))
		expires = clamp(new(big.Int).Add(big.NewInt(first), ttl))
	}
	require.Equal(t, edge, w.Edge(clock), "edge of %v at %d", w, clock)
	require.Equal(t, expires, w.ExpiresAt(first), "expiry of %d in %v", first, w)
}

func requireBuckets(t require.TestingT, w window.Window, width, at, later, clock int64) {
	bs := w.Buckets(time.Duration(width) * time.Millisecond)
	require.NoError(t, bs.Validate())
	width = bs.Width().Milliseconds()
	b := bs.AtMillis(at)
	start, end := b.StartMillis(), b.EndMillis()

	require.LessOrEqual(t, start, at)
	require.True(t, at < end || end == math.MaxInt64, "%d in %v", at, b)
	edge := new(big.Int).Mul(big.NewInt(b.Index()), big.NewInt(width))
	require.Equal(t, clamp(edge), start, "start of %v", b)
	require.Equal(t, clamp(edge.Add(edge, big.NewInt(width))), end, "end of %v", b)

	require.Equal(t, b, bs.At(time.UnixMilli(at)))
	require.Equal(t, b, bs.AtMillis(start))
	require.Equal(t, start, b.Start().UnixMilli())
	require.Equal(t, end, b.End().UnixMilli())
	if end < math.MaxInt64 {
		next := bs.AtMillis(end)
		require.Equal(t, end, next.StartMillis(), "adjacent buckets touch")
		require.Equal(t, b.Index()+1, next.Index())
		require.Equal(t, b, bs.AtMillis(end-1))
	}
	if start > math.MinInt64 {
		previous := bs.AtMillis(start - 1)
		require.Equal(t, start, previous.EndMillis(), "adjacent buckets touch")
		require.Equal(t, b.Index()-1, previous.Index())
	}

	at, later = min(at, later), max(at, later)
	require.LessOrEqual(t, bs.AtMillis(at).Index(), bs.AtMillis(later).Index(), "monotone")

	c := time.UnixMilli(clock)
	oldest := bs.Oldest(c)
	require.True(t, oldest.Live(c, w), "%v at %d", oldest, clock)
	require.Equal(t, b.Index() >= oldest.Index(), b.Live(c, w), "%v at %d", b, clock)
	if w.ContainsMillis(at, clock) {
		require.True(t, bs.AtMillis(at).Live(c, w), "a live marker is in a live bucket")
	}
	if oldest.StartMillis() > math.MinInt64 {
		expired := bs.AtMillis(oldest.StartMillis() - 1)
		require.False(t, expired.Live(c, w), "%v at %d", expired, clock)
	}
}

// anyTime draws times that lie near each other and near all that matters.
func anyTime() *rapid.Generator[int64] {
	near := func(base int64) *rapid.Generator[int64] {
		return rapid.Map(rapid.Int64Range(-40, 40), func(by int64) int64 {
			return clamp(new(big.Int).Add(big.NewInt(base), big.NewInt(by)))
		})
	}
	return rapid.OneOf(near(0), near(math.MinInt64), near(math.MaxInt64), near(24*hour),
		near(-24*hour), near(1_800_000_000_000), rapid.Int64())
}

// anySpan draws milliseconds for a window or a width.
func anySpan() *rapid.Generator[int64] {
	return rapid.OneOf(rapid.Int64Range(0, 40), rapid.Int64Range(24*hour-2, 24*hour+2),
		rapid.Int64Range(longest.Milliseconds()-2, longest.Milliseconds()))
}

func TestWindow_ContainsLaw(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWindow(rapid.OneOf(anySpan(), rapid.Just[int64](math.MaxInt64)).Draw(t, "window"))
		requireContains(t, w, anyTime().Draw(t, "first"), anyTime().Draw(t, "clock"))
	})
}

func TestBuckets_Law(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := anyWindow(rapid.OneOf(anySpan(), rapid.Just[int64](math.MaxInt64)).Draw(t, "window"))
		requireBuckets(t, w, anySpan().Draw(t, "width"), anyTime().Draw(t, "at"),
			anyTime().Draw(t, "later"), anyTime().Draw(t, "clock"))
	})
}
