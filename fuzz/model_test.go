package fuzz

import (
	"math"
	"slices"
	"time"

	"github.com/firstseen/firstseen/store"
	"github.com/firstseen/firstseen/window"
)

// law is the oracle: one namespace, kept in plain maps and lists, decided as the
// rules say it. It forgets nothing and knows no buckets, batches or files.
type law struct {
	settings

	clock   int64            // C; 0 before the first time
	firsts  []int64          // the first 8 times
	jumps   []int64          // the row of jumps, counted since the clock followed last
	largest int64            // C' while a row stands; 0 when none does
	markers map[string]stamp // the last accepted marker of every ID
	apart   []string         // IDs whose marker belongs to the row
	ended   rowEnded         // how the last row ended that had any
	cov     cover
	ages    store.Ages
	pos     store.Position // L; its TopicID is zero before the first record
}

// settings are those of a namespace.
type settings struct {
	window  window.Window
	advance int64 // ms; 0: no limit
	ahead   int64 // ms
	wall    int64 // ms, a wall clock that stands still
	source  string
	policy  store.UnknownPolicy
}

// stamp is a marker.
type stamp struct {
	first  int64
	origin store.Position
}

// rowEnded is how a row was given up: markers of offsets below before have F = at. It is
// told with the next that is accepted.
type rowEnded struct{ before, at int64 }

// cover is coverage: since when the namespace has seen every record.
type cover struct {
	open   bool
	since  int64 // in C
	reason store.Reason
}

const beginning = math.MinInt64

func newLaw(s settings) *law {
	return &law{settings: s, markers: map[string]stamp{}, cov: cover{since: beginning}}
}

// time moves the clock by t (R1). known is false for a time that counts as
// missing; ofRow says that it belongs to the row that stands; moved, that the
// clock moved by a sound time, or followed a row.
func (l *law) time(t int64) (known, ofRow, moved bool) {
	before := l.clock
	switch {
	case t <= 0 || t-l.wall > l.ahead:
		return false, false, false
	case len(l.firsts) < 8:
		l.firsts = append(l.firsts, t)
		l.clock, l.largest = slices.Min(l.firsts), slices.Max(l.firsts)
		if len(l.firsts) == 8 {
			l.giveUp()
			return true, false, false
		}
		return true, true, false
	case l.advance > 0 && t-l.clock > l.advance:
		l.jumps = append(l.jumps, t)
		l.largest = max(l.largest, t)
		if len(l.jumps) < 1000 {
			return true, true, false
		}
		l.clock = slices.Min(l.jumps)
		l.jumps, l.apart = nil, nil
		known, ofRow, _ = l.time(t) // judged again by the new line
		return known, ofRow, true
	case l.advance > 0 && l.clock-t > l.advance:
		return true, false, false
	default:
		l.clock = max(l.clock, t)
		l.giveUp()
		return true, false, l.clock > before
	}
}

// giveUp ends the row: its markers join the others with F = C.
func (l *law) giveUp() {
	if len(l.apart) > 0 {
		l.ended = rowEnded{before: -1, at: l.clock}
	}
	for _, id := range l.apart {
		m := l.markers[id]
		m.first = l.clock
		l.markers[id] = m
	}
	l.jumps, l.apart, l.largest = nil, nil, 0
}

// do decides a record, whose handler succeeds.
func (l *law) do(id string, at time.Time, origin store.Position) store.Decision {
	t, known, ofRow := l.pass(at, origin)
	d := l.verdict(id, t, known, l.clock)
	if l.largest != 0 && l.verdict(id, t, known, l.largest) != d {
		d = store.Decision{Verdict: store.Unknown, Reason: store.Clock}
	}
	d.Coverage = l.coverage()
	switch d.Verdict {
	case store.Duplicate:
		l.age(l.markers[id])
		return d
	case store.Unknown:
		if d.Action = l.action(d.Reason); d.Action != store.Accept {
			return d
		}
	}
	l.ended = rowEnded{}
	l.apart = slices.DeleteFunc(l.apart, func(s string) bool { return s == id })
	m := stamp{l.clock, origin}
	if ofRow {
		m.first = l.largest
		l.apart = append(l.apart, id)
	}
	l.markers[id] = m
	return d
}

// pass moves clock, coverage and position by a record.
func (l *law) pass(at time.Time, origin store.Position) (t int64, known, ofRow bool) {
	if l.pos.IsZero() && !origin.IsZero() {
		l.setPosition(origin)
	}
	if !at.IsZero() {
		t = at.UnixMilli()
	}
	known, ofRow, moved := l.time(t)
	if moved && l.cov.open {
		l.cov.open, l.cov.since = false, max(l.cov.since, l.clock)
	}
	if !origin.IsZero() {
		l.pos = origin
		l.pos.Offset++
	}
	l.passedRow()
	return t, known, ofRow
}

// verdict is the decision by one line of time.
func (l *law) verdict(id string, t int64, known bool, clock int64) store.Decision {
	forever := l.window.IsForever()
	w := l.window.TTL().Milliseconds()
	if m, ok := l.markers[id]; ok {
		m.first = l.firstSeen(m)
		if forever || clock-m.first < w {
			return store.Decision{Verdict: store.Duplicate, First: instant(m.first), Origin: m.origin}
		}
	}
	switch {
	case known && !forever && t < clock-w:
		return store.Decision{Verdict: store.Unknown, Reason: store.Late}
	case l.cov.open || l.cov.since != beginning && (forever || l.cov.since > clock-w):
		return store.Decision{Verdict: store.Unknown, Reason: l.cov.reason}
	default:
		return store.Decision{Verdict: store.New}
	}
}

// firstSeen returns F of a marker; one accepted before any time has the first C.
func (l *law) firstSeen(m stamp) int64 {
	if m.first == 0 && len(l.firsts) > 0 {
		return slices.Min(l.firsts)
	}
	return m.first
}

// age counts a duplicate of m.
func (l *law) age(m stamp) {
	age := time.Duration(max(0, l.clock-l.firstSeen(m))) * time.Millisecond
	const day = 24 * time.Hour
	for i, edge := range []time.Duration{
		time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour,
		12 * time.Hour, day, 2 * day, 3 * day, 7 * day, 14 * day, 28 * day, 90 * day, 365 * day,
		math.MaxInt64,
	} {
		if age < edge {
			l.ages[i]++
			return
		}
	}
}

// action returns what the policy says of a reason.
func (l *law) action(r store.Reason) store.Action {
	a := map[store.Reason]store.Action{
		store.Late: l.policy.Late, store.Clock: l.policy.Clock, store.Cold: l.policy.Cold,
		store.Evicted: l.policy.Evicted, store.Lost: l.policy.Lost,
	}[r]
	return max(a, store.Accept)
}

// change gives the namespace other settings (R9). It reports whether any of them
// is stored.
func (l *law) change(s settings) (stored bool) {
	old := l.settings
	s.wall = old.wall
	if s.source == "" {
		s.source = old.source
	}
	l.settings = s
	if edge := l.clock - old.window.Millis(); s.window != old.window && !old.window.IsForever() &&
		len(l.firsts) > 0 && edge >= slices.Min(l.firsts) {
		// What has left the window is forgotten, here as nowhere else.
		for id, m := range l.markers {
			if l.firstSeen(m) <= edge {
				delete(l.markers, id)
			}
		}
		if !l.cov.open && l.cov.since < edge {
			l.cov.since, l.cov.reason = edge, store.Cold
		}
	}
	if old.source != "" && s.source != old.source {
		l.cov.open, l.cov.reason = true, store.Evicted
	}
	s.policy = old.policy
	return s != old
}

// advanceTo moves the clock outside the log. It reports whether it was moved.
func (l *law) advanceTo(to time.Time) (moved bool, err error) {
	switch {
	case len(l.firsts) < 8:
		return false, store.ErrNoClock
	case to.UnixMilli() > l.wall:
		return false, store.ErrAhead
	case to.UnixMilli() <= l.clock:
		return false, nil
	}
	l.clock = to.UnixMilli()
	l.giveUp()
	l.passedRow()
	return true, nil
}

// setPosition passes records of the same log, or starts in another one.
func (l *law) setPosition(p store.Position) {
	same := l.pos.TopicID == p.TopicID && l.pos.Partition == p.Partition
	if !same && p.Offset != 0 {
		l.cov.open, l.cov.reason = true, store.Cold
	}
	l.pos = p
}

// coverage returns what Status must say.
func (l *law) coverage() store.Coverage {
	switch {
	case l.cov.open:
		return store.Coverage{Open: true, Reason: l.cov.reason}
	case l.cov.since != beginning:
		return store.Coverage{Since: instant(l.cov.since), Reason: l.cov.reason}
	default:
		return store.Coverage{}
	}
}

// instant returns a time in ms as the store shows it.
func instant(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
