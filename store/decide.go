package store

import (
	"math"

	"github.com/firstseen/firstseen/window"
)

// marker is the stored fact that an ID was accepted.
type marker struct {
	first    int64 // F, first seen, by the clock then; 0: before any time
	origin   Position
	restored bool // it comes out of a restore: no handler ran for it here (R13)
}

// coverage is since when a namespace has seen every record.
type coverage struct {
	open   bool   // after a hole: nothing is vouched for yet
	since  int64  // in C; math.MinInt64: from the beginning
	reason Reason // of whatever raised it last; zero while from the beginning
}

var fromBeginning = coverage{since: math.MinInt64}

// opened returns the coverage after a hole.
func (c coverage) opened(why Reason) coverage {
	c.open, c.reason = true, why
	return c
}

// closed returns the coverage once the clock has moved to now by a sound step.
func (c coverage) closed(now int64) coverage {
	if c.open {
		c.open, c.since = false, max(c.since, now)
	}
	return c
}

// decide is the decision of the law, whole. The clock c has already been moved
// by the record's time t; found tells whether there is a marker m. A marker with
// F at or below floor had left a window that was in force, and never counts
// again, whether it still stands or not. Action is for the policy to set.
//
// It is pure: the same log gives the same decisions, however it was split into
// batches, crashed over, or stored.
func decide(c *clock, t int64, s step, found bool, m *marker, cov coverage, floor int64, w window.Window) (d Decision) {
	first := c.firstOf(m)
	found = found && first > floor
	d.Verdict, d.Reason = decideAt(c.now, t, s.known, found, first, cov, w)
	if c.high != 0 {
		if v, why := decideAt(c.high, t, s.known, found, first, cov, w); v != d.Verdict || why != d.Reason {
			d.Verdict, d.Reason = Unknown, Clock
		}
	}
	if d.Verdict == Duplicate {
		d.First, d.Origin = timeOf(first), m.origin
	}
	d.Coverage = cov.public()
	return d
}

// decideAt is the decision by one line of time.
func decideAt(now, t int64, known, found bool, first int64, cov coverage, w window.Window) (Verdict, Reason) {
	edge := w.Edge(now)
	switch {
	case found && w.ContainsMillis(first, now):
		return Duplicate, 0
	case known && t < edge:
		return Unknown, Late
	case cov.open || cov.since > edge:
		return Unknown, cov.reason
	default:
		return New, 0
	}
}
