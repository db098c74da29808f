package store

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// A Timeline is what a namespace's clock holds beside its time: the row of jumps that
// stands, and how the last one ended of whose markers none was accepted since (R1).
// When a marker was first seen does not say that it stands apart with a row, nor what
// became of that. Whoever keeps markers elsewhere, as the output of a relay does,
// keeps it with those that have one (Tx.Timeline), and with the clock at the end
// (Status.Timeline), so that they can be restored as they were (Batch.RestoreMarker,
// Restore.Timeline).
//
// The zero value says that there is nothing beside the time. Timelines are compared
// with ==, and kept as text: String, ParseTimeline.
type Timeline struct {
	clock clock
	ended rowEnd
	apart bool // the record's own time is of the row
}

// rowEnd is how the last row ended that was given up with markers: those of offsets
// below before count as first seen at first. Zero: it was told, or there was none.
type rowEnd struct{ before, first int64 }

// timeline returns what there is to tell beside the time.
func (f *flow) timeline(apart bool) Timeline {
	if f.clock.high == 0 && f.ended.first == 0 {
		return Timeline{}
	}
	return Timeline{f.clock, f.ended, apart}
}

// timeline returns what is told with a record that has moved the batch, and is not
// settled yet.
func (b *Batch) timeline(s step, o Position) Timeline {
	f := &b.head.flow
	if s.join != joinRebased || len(b.row.list) == 0 {
		return f.timeline(s.inRow)
	}
	return Timeline{f.clock, rowEnd{o.Offset + 1, f.clock.now}, s.inRow}
}

// tell brings the clock to where a marker, or the end of a restore, tells that it was,
// and has the row's markers join the others if it had ended by then.
func (b *Batch) tell(t Timeline) {
	c := &b.head.clock
	if len(b.row.list) > 0 {
		o := b.row.list[0].m.origin
		switch {
		case t.ended.first != 0 && (o.Offset < t.ended.before || !o.sameLog(b.head.pos)):
			c.now = t.ended.first
			b.join(joinRebased)
		case t.clock.now > add(c.now, b.n.rules.maxAdvance):
			c.now = t.clock.now
			b.join(joinAsIs)
		case t.clock.high == 0: // given up, and what told of it is not there
			c.now = max(c.now, t.clock.now)
			b.join(joinRebased)
		}
	}
	*c, b.head.ended = t.clock, t.ended
	if b.head.cov.open && c.high == 0 {
		b.head.cov = b.head.cov.closed(c.now)
	}
}

// plain returns the timeline of a clock that stands at a time, and has nothing beside it.
func (c *clock) plain(now int64) Timeline {
	first := c.first
	if first == 0 {
		first = now
	}
	return Timeline{clock: clock{now: now, first: first, times: firstTimes}}
}

// String returns the timeline as text, empty for the zero value: letters, digits, "-"
// and "_".
func (t Timeline) String() string {
	if t == (Timeline{}) {
		return ""
	}
	c := t.clock
	b := []byte{0}
	if t.apart {
		b[0] = 1
	}
	b = append(b, byte(c.times))
	for _, v := range []int64{
		c.now, c.now - c.first, int64(c.jumps), c.low - c.now, c.high - c.now, t.ended.before, t.ended.first - c.now,
	} {
		b = binary.AppendVarint(b, v)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseTimeline reads what String has written.
func ParseTimeline(text string) (t Timeline, err error) {
	if text == "" {
		return t, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	d := decoder{b: b}
	t.apart = d.byte() == 1
	c := &t.clock
	c.times = int(d.byte())
	c.now = d.varint()
	c.first, c.jumps = c.now-d.varint(), int(d.varint())
	c.low, c.high = c.now+d.varint(), c.now+d.varint()
	t.ended = rowEnd{d.varint(), c.now + d.varint()}
	if err != nil || d.bad || t.String() != text || !t.sound() {
		return Timeline{}, fmt.Errorf("store: %.80q is no timeline; give what Timeline.String returned", text)
	}
	return t, nil
}

// sound reports whether a clock can have been so.
func (t *Timeline) sound() bool {
	c := &t.clock
	return c.times >= 0 && c.times <= firstTimes && c.jumps >= 0 && c.jumps < rowLength &&
		c.now > 0 && c.first > 0 && c.low >= 0 && t.ended.before >= 0 && t.ended.first >= 0 &&
		(c.high == 0 || c.high >= c.now) && (c.high != 0 || t.ended.first != 0 && !t.apart)
}
