package store

import (
	"math"

	"github.com/firstseen/firstseen/window"
)

const (
	firstTimes = 8    // the times that set a namespace's clock
	rowLength  = 1000 // jumps without a sound time between that move the clock
)

// clock is a namespace's own time, rule R1. All times are Unix milliseconds.
// It is a value: move returns the next one, and whoever cannot use it drops it.
type clock struct {
	now   int64 // C; 0 before the first time
	first int64 // the first C, the meaning of F = 0; 0 before the first time
	times int   // how many of the first 8 were seen
	jumps int   // jumps counted in the row
	low   int64 // smallest jump counted; 0 when none
	high  int64 // largest time of the row that stands; 0 when none stands
}

// other returns C', the clock by the row that stands, or C when none does.
func (c *clock) other() int64 {
	if c.high != 0 {
		return c.high
	}
	return c.now
}

// seen returns F of a marker accepted after step s: C', with a time of the row,
// and C with any other.
func (c *clock) seen(s step) int64 {
	if s.inRow {
		return c.other()
	}
	return c.now
}

// firstOf returns F of a marker: F = 0, accepted before any time, means the
// first C.
func (c *clock) firstOf(m *marker) int64 {
	if m.first == 0 {
		return c.first
	}
	return m.first
}

// age returns C - F of a marker; it may be below 0.
func (c *clock) age(m *marker) int64 { return c.now - c.firstOf(m) }

// rules are the settings that move a clock.
type rules struct {
	w          window.Window
	maxAdvance int64 // ms; math.MaxInt64: no limit
	maxAhead   int64 // ms
}

// join says what becomes of the markers of a row after a move.
type join uint8

const (
	joinNone    join = iota
	joinAsIs         // C followed the row: they join the others as they are
	joinRebased      // the row was given up, or the first 8 are complete: F = C
)

// step is what one time did.
type step struct {
	known  bool // the time is neither missing nor in the future
	future bool // beyond wall + MaxAhead: treated as missing
	inRow  bool // the time belongs to the row that stands: F = C'
	moved  bool // C moved without a jump, or followed a row: coverage closes
	join   join
}

// move moves the clock by a record with time t, seen at wall-clock time wall (R1).
func (c *clock) move(t, wall int64, r *rules) step {
	switch {
	case t <= 0:
		return step{}
	case t > add(wall, r.maxAhead):
		return step{future: true}
	case c.times < firstTimes:
		return c.start(t)
	case t > add(c.now, r.maxAdvance):
		return c.jump(t, r)
	case t < c.now && c.now-t > r.maxAdvance:
		return step{known: true} // older: neither counts nor ends a row
	default:
		return c.sound(t)
	}
}

// start takes one of the first 8 times: a row of their own, in which C is the
// smallest so far.
func (c *clock) start(t int64) step {
	s := step{known: true, inRow: true}
	if c.now == 0 || t < c.now {
		c.now, c.first = t, t
	}
	c.high = max(c.high, t)
	if c.times++; c.times == firstTimes {
		c.high = 0
		s.inRow, s.join = false, joinRebased
	}
	return s
}

// sound takes a time within MaxAdvance of C: a row that stands is given up.
func (c *clock) sound(t int64) step {
	s := step{known: true, moved: t > c.now}
	if c.high != 0 {
		c.jumps, c.low, c.high = 0, 0, 0
		s.join = joinRebased
	}
	c.now = max(c.now, t)
	return s
}

// jump takes a time more than MaxAdvance ahead: it moves nothing until the row
// is long enough; then C follows to the smallest, and t is judged once more.
func (c *clock) jump(t int64, r *rules) step {
	if c.jumps == 0 || t < c.low {
		c.low = t
	}
	c.high = max(c.high, t)
	if c.jumps++; c.jumps < rowLength {
		return step{known: true, inRow: true}
	}
	c.now = c.low
	c.jumps, c.low = 0, 0
	if t > add(c.now, r.maxAdvance) {
		c.jumps, c.low = 1, t
		return step{known: true, inRow: true, moved: true, join: joinAsIs}
	}
	c.now, c.high = t, 0 // t is sound by the new line, and ends the row
	return step{known: true, moved: true, join: joinAsIs}
}

// add returns a + b for b >= 0, at most math.MaxInt64.
func add(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
