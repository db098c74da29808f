package store

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// A Restore fills a namespace that does not have the markers of records that
// somebody else decided: they are read from the log once more (R13). See
// Batch.BeginRestore.
type Restore struct {
	// To is the offset at which it ends: the position then.
	To int64
	// From is the clock that it begins with, if that is not the namespace's own: of
	// records that are older than what the namespace knows. Zero: it goes on with
	// the clock as it stands.
	From time.Time
	// Until is the clock that the namespace has at the end, at least: that of whoever
	// decided the records. Zero: whatever the records make of it.
	Until time.Time
	// Timeline is that of the clock Until, of whoever decided the records. It is for a
	// restore of markers as they were (Batch.RestoreMarker).
	Timeline Timeline
	// Anew has the namespace begin as if it had seen nothing: its markers are
	// forgotten, the clock is unset, and coverage is from the beginning. It is for
	// a log that is read again from its first record. From is zero then.
	Anew bool
	// Source is where the reading of another log than the namespace's own goes on;
	// zero: its own is read, and goes on at the position. See Batch.RestoreFrom.
	Source Position
}

// BeginRestore begins a restore, or changes the aim of the one that is under way.
// Until EndRestore, records are entered by Restore, or decided by Do where a
// handler runs again. Position, clock and markers move with each batch as ever,
// so that a restore that is cut short goes on where it was.
//
// It has a clock of its own, which may be behind the namespace's: markers expire
// by it, and Status.Clock does not go back. The position is set by
// MoveTo, and what the namespace can vouch for is for OpenCoverage to say.
func (b *Batch) BeginRestore(r Restore) error {
	switch {
	case b.ended.Load():
		return ErrTxDone
	case r.To < 0, r.Anew && !r.From.IsZero():
		return fmt.Errorf("store: namespace %q: a restore up to offset %d from clock %v, anew %v, is none; "+
			"give an offset from 0 on, and no clock with Anew",
			b.n.name, r.To, r.From, r.Anew)
	}
	h := &b.head
	var held int64
	if h.clock.times == firstTimes { // else it may go back
		held = h.reached().now
	}
	switch from := millis(r.From); {
	case r.Anew:
		// What this batch drops is no part of the index's sum, and still answers.
		if h.sum.n > 0 || b.n.index.sum().n > 0 || len(b.row.list) > 0 {
			if err := b.ForgetAll(); err != nil {
				return err
			}
		}
		h.clock, h.cov, h.floor = clock{}, fromBeginning, math.MinInt64
		h.restore.from = 0
	case from > 0:
		row := joinAsIs
		if h.clock.high > add(max(from, millis(r.Until)), b.n.rules.maxAdvance) {
			row = joinRebased // whoever decided the records did not follow it
		}
		b.join(row)
		h.clock = clock{now: from, first: h.clock.first, times: firstTimes}
		if h.clock.first == 0 {
			h.clock.first = from
		}
		h.restore.from = from
	}
	h.restore.on, h.restore.held = true, held
	h.restore.to, h.restore.until = r.To, millis(r.Until)
	if r.Source.IsZero() || r.Source != h.restore.source {
		h.restore.last = 0
	}
	h.restore.source, h.restore.timeline = r.Source, r.Timeline
	b.dirty = true
	return nil
}

// Restore enters what a record has left that somebody else decided: it moves clock
// and position, and leaves a marker unless a copy was accepted within the window.
// No handler is called, and nothing is counted but Counts.Restored.
//
// Where the restore goes on from what the namespace knows, an Unknown is accepted
// as its policy says, as whoever decided it did. Where it began with another
// clock (Restore.From), the reasons that speak of the hole it fills (cold, evicted,
// lost) count for nothing: an ID that was handled must not be handled again. If
// From is a window or more before Until, what comes before the first time that
// moves the clock was first seen before From, and leaves no marker.
//
// The marker is flagged, see Marker.Restored. Refusals are those of Do, and
// ErrNotRestoring.
func (b *Batch) Restore(r Record) (Decision, error) {
	switch {
	case b.ended.Load():
		return Decision{}, ErrTxDone
	case len(r.ID) == 0:
		return Decision{}, ErrNoID
	case !b.head.restore.on:
		return Decision{}, fmt.Errorf("%w: namespace %q; call BeginRestore first", ErrNotRestoring, b.n.name)
	}
	id, at := b.ident(r.ID)
	if err := b.check(r.Origin); err != nil {
		return Decision{}, err
	}
	t, before := millis(r.At), b.head.flow
	s := b.move(t, r.Origin)
	if edge := &b.head.restore; b.fromEdge() && b.head.clock.now > edge.until {
		// Whoever decided the records did not follow that time.
		b.head.flow = before
		t, s = 0, b.move(0, r.Origin)
	}
	m, older, found, err := b.find(id, at, s)
	if err != nil {
		b.head.flow = before
		return Decision{}, err
	}
	d := decide(&b.head.clock, t, s, found, &m, b.head.cov, b.head.floor, b.n.rules.w)
	cold := b.head.restore.from > 0
	if d.Verdict == Unknown {
		d.Action = Accept
		if !cold || d.Reason == Late || d.Reason == Clock {
			d.Action = b.n.opts.Unknown.of(d.Reason)
		}
	}
	b.settle(s, r.Origin)
	early := b.fromEdge() && b.head.clock.now == b.head.restore.from && !s.inRow
	if d.accepted() && !early {
		b.head.ended = rowEnd{} // whoever decided the record has told
		b.enter(id, marker{first: b.head.clock.seen(s), origin: r.Origin, restored: true}, s, older)
		b.counts.Restored++
	}
	return d, nil
}

// fromEdge reports whether a restore began at the edge of the window of its end:
// what it finds before the clock moves has left the window then.
func (b *Batch) fromEdge() bool {
	r := &b.head.restore
	return r.from > 0 && r.until > 0 && !b.n.rules.w.ContainsMillis(r.from, r.until)
}

// RestoreMarker enters a marker as it was: Record.At is when the ID was first
// seen, by the clock of whoever accepted it, t what that Tx told beside it, and Origin
// where that record stands. It moves the clock, as EndRestore does, and no position,
// see RestoreFrom. A marker that was accepted later stands, and so does an equal one.
//
// Markers are to come in the order in which they were accepted. One that comes once
// more, after later ones, tells nothing of the clock.
func (b *Batch) RestoreMarker(r Record, t Timeline) error {
	edge := &b.head.restore
	switch {
	case b.ended.Load():
		return ErrTxDone
	case len(r.ID) == 0:
		return ErrNoID
	case !edge.on:
		return fmt.Errorf("%w: namespace %q; call BeginRestore first", ErrNotRestoring, b.n.name)
	}
	id, at := b.ident(r.ID)
	first, c := millis(r.At), &b.head.clock
	again := r.Origin.Offset < edge.last
	if again && t.apart {
		return nil // it was entered, and may have left the row since
	}
	b.dirty = true
	if !again {
		edge.last = r.Origin.Offset
		if to := edge.until; t == (Timeline{}) && first > c.now && (to == 0 || first <= to) {
			t = c.plain(first)
		}
		if t != (Timeline{}) {
			b.tell(t)
			b.head.ended = rowEnd{} // it was told
		}
	}
	m, older, found, err := b.find(id, at, step{})
	if err != nil {
		return err
	}
	same := m.origin.sameLog(r.Origin)
	if found && (same && m.origin.Offset >= r.Origin.Offset || !same && m.first > first) {
		return nil
	}
	b.enter(id, marker{first: first, origin: r.Origin, restored: true}, step{inRow: t.apart}, older)
	b.counts.Restored++
	return nil
}

// RestoreFrom keeps where the reading of another log goes on, see Restore.Source.
func (b *Batch) RestoreFrom(next Position) error {
	switch {
	case b.ended.Load():
		return ErrTxDone
	case !b.head.restore.on:
		return fmt.Errorf("%w: namespace %q; call BeginRestore first", ErrNotRestoring, b.n.name)
	}
	b.head.restore.source, b.dirty = next, true
	return nil
}

// EndRestore ends a restore where it stands. The clock becomes Restore.Until, or
// what it was before the restore, if that is later. Where no restore is under way
// it changes nothing.
func (b *Batch) EndRestore() error {
	h := &b.head
	switch {
	case b.ended.Load():
		return ErrTxDone
	case !h.restore.on:
		return nil
	}
	r := &h.restore
	if t := r.timeline; t != (Timeline{}) {
		b.tell(t)
	} else if !r.source.IsZero() && r.until > h.clock.now {
		b.tell(h.clock.plain(r.until))
	}
	if to := max(r.until, r.held); to > h.clock.now {
		b.endAt(to)
	}
	h.restore, b.dirty = restoring{}, true
	return nil
}

// endAt moves the clock to where it is told. A row of jumps beyond that stands on;
// any other is followed.
func (b *Batch) endAt(to int64) {
	c := &b.head.clock
	row := c.high > add(to, b.n.rules.maxAdvance)
	if !row {
		b.join(joinAsIs)
		c.jumps, c.low, c.high = 0, 0, 0
	}
	if c.first == 0 {
		c.first = to
	}
	c.now, c.times = to, firstTimes
	if b.head.cov.open && !row { // a row closes it when it is followed
		b.head.cov = b.head.cov.closed(to)
	}
}

// restoring is a restore that is under way.
type restoring struct {
	on       bool
	from     int64 // ms; the clock it began with, 0: the namespace's own
	to       int64 // offset
	until    int64 // ms; the clock at its end, at least
	held     int64 // ms; the clock that it must not fall behind
	source   Position
	last     int64 // offset; the newest origin that RestoreMarker was given
	timeline Timeline
}

// reached returns the clock that is shown: that of a restore may be behind it.
func (h *head) reached() clock {
	c := h.clock
	if h.restore.on && h.restore.held > c.now {
		c.now = h.restore.held
	}
	return c
}

func (r *restoring) public() *Restore {
	if !r.on {
		return nil
	}
	return &Restore{To: r.to, Until: timeOf(r.until), Timeline: r.timeline, Source: r.source}
}

// append writes, after the head:
//
//	from, to, until, held, last | source (position) | timeline, as text
func (r *restoring) append(dst []byte) []byte {
	for _, v := range []int64{r.from, r.to, r.until, r.held, r.last} {
		dst = binary.AppendVarint(dst, v)
	}
	return appendPrefixed(appendPosition(dst, r.source), []byte(r.timeline.String()))
}

func parseRestoring(d *decoder) restoring {
	r := restoring{
		on: true, from: d.varint(), to: d.varint(), until: d.varint(), held: d.varint(), last: d.varint(),
		source: d.position(),
	}
	var err error
	r.timeline, err = ParseTimeline(string(d.prefixed()))
	d.bad = d.bad || err != nil
	return r
}
