package window

import (
	"fmt"
	"math"
	"time"
)

const (
	day = 24 * time.Hour

	// forever stands for no end, as a TTL and in milliseconds.
	forever = math.MaxInt64
)

// The presets. They are variables only because Go has no constants of this kind.
var (
	// Hour is a window of 1 hour.
	Hour = Of(time.Hour)
	// Day is a window of 24 hours, and what the zero Window counts as.
	Day = Of(day)
	// Week is a window of 7 times 24 hours.
	Week = Of(7 * day)
	// Forever is a window without an end: its markers never expire.
	Forever = Of(forever)
)

// A Window (W) is how long a marker counts: a TTL of whole milliseconds, at
// least one, or [Forever].
//
// The zero Window counts as [Day], so it may be left out of any options;
// [Window.IsZero] tells it from a Day that was asked for. Two Windows made by
// [Of] or [Parse] are equal (==) exactly if their TTLs are.
//
// Of makes an invalid Window from a TTL that is none. [Window.Validate] reports
// it, and whoever takes a Window refuses it. An invalid Window contains nothing.
type Window struct {
	ttl time.Duration // as Of was given it
	ms  int64         // W; forever; -1 if ttl is invalid; 0 in the zero Window alone
}

// Of returns the window of the given TTL. A TTL below 1 ms or not of whole
// milliseconds gives an invalid Window, see [Window.Validate]. The largest
// time.Duration, which is what Forever.TTL() returns, gives [Forever].
func Of(ttl time.Duration) Window {
	switch {
	case ttl == forever:
		return Window{ttl: ttl, ms: forever}
	case ttl < time.Millisecond || ttl%time.Millisecond != 0:
		return Window{ttl: ttl, ms: -1}
	default:
		return Window{ttl: ttl, ms: ttl.Milliseconds()}
	}
}

// Validate returns nil for a window that can be used, the zero Window included,
// and otherwise an error that names the TTL and wraps [ErrInvalid].
func (w Window) Validate() error {
	if w.ms < 0 {
		return fmt.Errorf("%w %v: give a TTL of whole milliseconds, at least 1ms", ErrInvalid, w.ttl)
	}
	return nil
}

// IsZero reports whether w is the zero Window, which counts as [Day].
func (w Window) IsZero() bool { return w == Window{} }

// IsForever reports whether w has no end.
func (w Window) IsForever() bool { return w.ms == forever }

// TTL returns the length of w: 24 hours for the zero Window, the largest
// time.Duration for [Forever]. For an invalid Window it is what Of was given.
func (w Window) TTL() time.Duration {
	if w.IsZero() {
		return day
	}
	return w.ttl
}

// Millis returns W in milliseconds: math.MaxInt64 for [Forever], 0 for an
// invalid Window.
func (w Window) Millis() int64 {
	switch {
	case w.ms == 0:
		return day.Milliseconds()
	case w.ms < 0:
		return 0
	default:
		return w.ms
	}
}

// Contains reports whether a marker first seen at first still counts at clock:
// whether clock - first < W, in whole milliseconds. An age of exactly W is
// outside. If first is after clock, the age is 0.
func (w Window) Contains(first, clock time.Time) bool {
	return w.ContainsMillis(toMillis(first), toMillis(clock))
}

// ContainsMillis is [Window.Contains] for times in Unix milliseconds. It is
// exact over the whole of int64. That the newest marker of a slice is not
// contained is what allows the slice to be dropped.
func (w Window) ContainsMillis(first, clock int64) bool {
	if w.IsForever() {
		return true
	}
	var age uint64 // the difference of two int64 needs all 64 bits
	if first < clock {
		age = uint64(clock) - uint64(first)
	}
	return age < uint64(w.Millis())
}

// Edge returns clock - W in Unix milliseconds, at least math.MinInt64, which is
// also the edge of [Forever]. A record with a time below it is late; a marker at
// or below it has expired, except at math.MinInt64, where the true edge may lie
// lower.
func (w Window) Edge(clock int64) int64 {
	if w.IsForever() {
		return math.MinInt64
	}
	return subtract(clock, w.Millis())
}

// ExpiresAt returns first + W in Unix milliseconds, the clock from which on a
// marker first seen at first no longer counts. It is at most math.MaxInt64,
// which means never, and is so for [Forever]. To decide whether a marker has
// expired ask [Window.ContainsMillis], which needs no such exception.
func (w Window) ExpiresAt(first int64) int64 {
	if w.IsForever() {
		return math.MaxInt64
	}
	return add(first, w.Millis())
}
