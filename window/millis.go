package window

import (
	"math"
	"time"
)

// toMillis returns the Unix millisecond at or below t. Times outside int64
// saturate, where time.Time.UnixMilli would wrap.
func toMillis(t time.Time) int64 {
	sec, ms := t.Unix(), int64(t.Nanosecond()/int(time.Millisecond))
	if sec < 0 {
		// Counted down from the next second, so that the product below stays in
		// range for every time that is itself in range.
		sec, ms = sec+1, ms-1000
	}
	switch {
	case sec > math.MaxInt64/1000:
		return math.MaxInt64
	case sec < math.MinInt64/1000:
		return math.MinInt64
	case ms < 0:
		return subtract(sec*1000, -ms)
	default:
		return add(sec*1000, ms)
	}
}

// add returns a + n, at most math.MaxInt64; n must not be negative.
func add(a, n int64) int64 {
	if a > math.MaxInt64-n {
		return math.MaxInt64
	}
	return a + n
}

// subtract returns a - n, at least math.MinInt64; n must not be negative.
func subtract(a, n int64) int64 {
	if a < math.MinInt64+n {
		return math.MinInt64
	}
	return a - n
}
