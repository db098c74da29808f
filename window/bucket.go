package window

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// bucketsPerWindow is how many buckets of the default width a window spans.
const bucketsPerWindow = 8

// Buckets cuts time into slices of one width, counted from the start of 1970 in
// UTC, for the markers of one [Window]. The width is a cost knob: narrow buckets
// give space back sooner, wide ones are fewer. It never changes which markers
// count.
//
// The zero Buckets is that of the zero Window at its default width: Day, in
// buckets of 3 hours. Buckets are comparable, but a default width and the same
// width given are not equal.
type Buckets struct {
	window Window
	width  time.Duration // 0: the default
}

// Buckets returns the buckets of the given width for w. Width 0 chooses W/8, at
// least 1 ms, or 24 hours if w is [Forever]. A width that is negative or not of
// whole milliseconds gives invalid Buckets, see [Buckets.Validate].
func (w Window) Buckets(width time.Duration) Buckets {
	return Buckets{window: w, width: width}
}

// Validate returns nil for Buckets that can be used, the zero Buckets included.
// Otherwise it names the width, the TTL or both, and wraps [ErrWidth],
// [ErrInvalid] or both. Invalid Buckets still answer, by a width of whole
// milliseconds of their choice, but the answers mean nothing.
func (b Buckets) Validate() error {
	var width error
	if b.width < 0 || b.width%time.Millisecond != 0 {
		width = fmt.Errorf("%w %v: give whole milliseconds, at least 1ms, or 0 for the default",
			ErrWidth, b.width)
	}
	return errors.Join(b.window.Validate(), width)
}

// Width returns the width of every bucket: the one given, or the default that
// stands for 0.
func (b Buckets) Width() time.Duration {
	switch {
	case b.width != 0:
		return b.width
	case b.window.IsForever():
		return day
	default:
		return time.Duration(max(b.window.Millis()/bucketsPerWindow, 1)) * time.Millisecond
	}
}

// At returns the bucket that t falls into.
func (b Buckets) At(t time.Time) Bucket { return b.AtMillis(toMillis(t)) }

// AtMillis returns the bucket that the Unix millisecond ms falls into.
func (b Buckets) AtMillis(ms int64) Bucket {
	width := max(b.Width().Milliseconds(), 1)
	index, past := ms/width, ms%width
	if past < 0 { // Go divides towards zero; before 1970 that is the bucket above
		index, past = index-1, past+width
	}
	return Bucket{index: index, first: subtract(ms, past), last: add(ms, width-1-past)}
}

// Oldest returns the oldest bucket that can still hold a live marker at clock.
// Every bucket with a lower index has expired as a whole. If the window is
// [Forever] it is the bucket of the earliest time there is.
func (b Buckets) Oldest(clock time.Time) Bucket {
	if b.window.IsForever() {
		return b.AtMillis(math.MinInt64)
	}
	// The oldest live marker has age W - 1 ms.
	return b.AtMillis(subtract(toMillis(clock), max(b.window.Millis()-1, 0)))
}

// A Bucket is one slice of time, made by [Buckets]. Buckets of one width are
// equal (==) exactly if they are the same slice. The zero Bucket is the first
// millisecond of 1970.
type Bucket struct {
	index       int64
	first, last int64 // the first and the last Unix millisecond in it
}

// Index returns the number of the bucket: 0 starts with 1970, and those before
// it are negative. Indexes of different widths do not compare.
func (b Bucket) Index() int64 { return b.index }

// Start returns the first time in the bucket, in UTC.
func (b Bucket) Start() time.Time { return time.UnixMilli(b.StartMillis()).UTC() }

// End returns the time at which the bucket has ended, in UTC: the start of the
// next one. See [Bucket.EndMillis] for the last bucket of all.
func (b Bucket) End() time.Time { return time.UnixMilli(b.EndMillis()).UTC() }

// StartMillis returns the first Unix millisecond in the bucket.
func (b Bucket) StartMillis() int64 { return b.first }

// EndMillis returns the Unix millisecond after the last one in the bucket. The
// last bucket of all has no such millisecond and returns math.MaxInt64, which
// then still belongs to it.
func (b Bucket) EndMillis() int64 { return add(b.last, 1) }

// Live reports whether the bucket can hold a marker that still counts in w at
// clock. A bucket that the clock has not reached is live.
func (b Bucket) Live(clock time.Time, w Window) bool {
	return w.ContainsMillis(b.last, toMillis(clock))
}

// String returns the index and the span: "2 [1970-01-03T00:00:00Z,
// 1970-01-04T00:00:00Z)" for the third bucket of 24 hours.
func (b Bucket) String() string {
	const layout = "2006-01-02T15:04:05.999Z07:00"
	return fmt.Sprintf("%d [%s, %s)", b.index, b.Start().Format(layout), b.End().Format(layout))
}
