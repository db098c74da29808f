package store

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/firstseen/firstseen/window"
)

// Marker is the stored fact that an ID was accepted.
type Marker struct {
	// First is when the ID was first seen, by the namespace's clock then.
	First time.Time
	// Origin is where the accepted record stands; zero when there is no log
	// behind it.
	Origin Position
	// Leaves is when the marker stops counting: at a clock of Leaves a record of
	// the ID is no duplicate any more. Zero: never.
	Leaves time.Time
	// Restored tells that the marker was read back from a log (R13): its record was
	// handled, and not by this store.
	Restored bool
}

// Why is everything that a namespace knows about an ID, as of one moment.
type Why struct {
	// Decision is what a record of the ID would be answered now, if it came
	// without a time.
	Decision Decision
	// Found tells whether a marker of the ID stands. One that does not count
	// any more stands until its segment is dropped.
	Found bool
	// Marker, zero unless Found, and its Age by the clock.
	Marker Marker
	Age    time.Duration
	// Place is where the marker stands.
	Place Place
	// Kind is how the ID is stored.
	Kind IDKind
	// Clock, Coverage, Window and Position are the namespace's.
	Clock    time.Time
	Coverage Coverage
	Window   window.Window
	Position Position
	// Asked is how many segments were asked, from the newest on; RuledOut how
	// many of them said no without a read; Read how many pages were read.
	Asked, RuledOut, Read int
}

// Place is where a marker stands.
type Place struct {
	// Row is set for a marker that stands apart, because the clock has not yet
	// decided what its time is worth (R1). What follows is then zero.
	Row bool
	// Segment is the number of its segment.
	Segment uint64
	// State of the segment.
	State SegmentState
	// Page of the segment's table, when it has one.
	Page uint32
}

// String returns the place as a few words.
func (p Place) String() string {
	switch {
	case p.Row:
		return "row of jumps"
	case p.State == SegmentKept || p.State == SegmentSealed:
		return fmt.Sprintf("segment %d (%v), page %d", p.Segment, p.State, p.Page)
	default:
		return fmt.Sprintf("segment %d (%v)", p.Segment, p.State)
	}
}

// Lookup returns the marker of an ID, and whether there is one that counts: a
// record of the ID that came now, without a time, would be a duplicate of it.
//
// It may be called from any goroutine, beside batches and from inside one, which
// it does not see. It never waits for a handler; at most for a batch that is
// being written. The first use of a namespace reads its markers, as Load does.
func (n *Namespace) Lookup(id []byte) (Marker, bool, error) {
	f, err := n.find(id)
	if err != nil || !f.found || !f.counts() {
		return Marker{}, false, err
	}
	return f.public(), true, nil
}

// Why returns everything that is known about an ID. It may be called like Lookup.
func (n *Namespace) Why(id []byte) (Why, error) {
	f, err := n.find(id)
	if err != nil {
		return Why{}, err
	}
	h := &f.head
	w := Why{
		Found: f.found, Place: f.place, Kind: kindOf(id),
		Clock: timeOf(h.clock.now), Coverage: h.cov.public(), Window: f.rules.w, Position: h.pos,
		Asked: f.asked, RuledOut: f.ruledOut, Read: f.read,
		Decision: f.decide(),
	}
	if f.found {
		w.Marker = f.public()
		w.Age = time.Duration(max(0, h.clock.age(&f.marker))) * time.Millisecond
	}
	return w, nil
}

// inquiry is a look-up from outside and what it has found, in which picture.
type inquiry struct {
	*picture
	marker
	found  bool
	place  Place
	sweeps []sweep

	asked, ruledOut, read int
}

func (f *inquiry) counts() bool { return f.decide().Verdict == Duplicate }

// decide returns what a record of the ID would be told that came without a time.
func (f *inquiry) decide() Decision {
	h := &f.head
	return decide(&h.clock, 0, step{}, f.found, &f.marker, h.cov, h.floor, f.rules.w)
}

func (f *inquiry) public() Marker { return f.picture.public(f.marker) }

// public returns a marker as callers see it.
func (p *picture) public(m marker) Marker {
	first := p.head.clock.firstOf(&m)
	v := Marker{First: timeOf(first), Origin: m.origin, Restored: m.restored}
	if !p.rules.w.IsForever() {
		v.Leaves = timeOf(add(max(first, 0), p.rules.w.Millis()))
	}
	return v
}

// find looks an ID up from outside: the row, then the segments, newest first.
// What is in memory answers with the index held still; pages are read after
// that, by an iterator of that moment, for which no table goes.
func (n *Namespace) find(id []byte) (f inquiry, err error) {
	if len(id) == 0 {
		return f, ErrNoID
	}
	if err := n.s.enter(); err != nil {
		return f, err
	}
	defer n.s.leave()
	key := keyed(appendIdent(nil, id), n.s.secret)
	var maybes []maybe
	var q prober
	defer func() { _ = guarded(func() error { q.close(); return nil }) }()
	err = n.look(func(p *picture) error {
		f, maybes = inquiry{picture: p, sweeps: p.index.sweeps}, maybes[:0]
		if f.inMemory(key, &maybes); len(maybes) == 0 {
			return nil
		}
		return n.s.fault.read("look an ID up", func() (err error) {
			for i := 0; i < len(maybes) && err == nil; i++ {
				_, err = q.over(p.index, maybes[i].g)
			}
			return err
		})
	})
	if err == nil && len(maybes) > 0 {
		err = n.s.fault.read("look an ID up", func() error { return f.inPages(&q, key, maybes) })
	}
	return f, errors.Join(err, n.there())
}

// inMemory asks what is in memory, and collects the segments above the first hit
// that only a page can answer for.
func (f *inquiry) inMemory(id ident, maybes *[]maybe) {
	if v, ok := f.row.find(id); ok {
		f.marker, f.found, f.place = v.m, true, Place{Row: true}
		return
	}
	for _, g := range slices.Backward(f.index.list) {
		f.asked++
		switch {
		case g.table == nil:
			if m, ok := g.find(id); ok {
				f.hit(g, m, id)
				return
			}
			f.ruledOut++
		case g.table.filter.maybe(id.hash):
			page := pageOf(id.hash.Hi, g.pages)
			m, ok, kept := g.inKept(page, id)
			if ok {
				f.hit(g, m, id)
				return
			}
			if kept {
				f.ruledOut++
			} else {
				*maybes = append(*maybes, maybe{g: g, page: page})
			}
		default:
			f.ruledOut++
		}
	}
}

// hit takes the newest entry of the ID, which may say that it is forgotten.
func (f *inquiry) hit(g *segment, m marker, id ident) {
	if f.marker, f.found, _ = stands(f.sweeps, m, g.num); !f.found {
		return
	}
	f.place = Place{Segment: g.num, State: f.index.stateOf(g)}
	if g.table != nil {
		f.place.Page = pageOf(id.hash.Hi, g.pages)
	}
}

// inPages reads the pages, newest first: a hit stands above the one in memory.
func (f *inquiry) inPages(from *prober, id ident, maybes []maybe) error {
	for i, q := range maybes {
		f.read++
		it, err := from.over(f.index, q.g)
		if err != nil {
			return err
		}
		m, ok, err := f.index.findIn(it, q.g, q.page, id)
		if err != nil {
			return err
		}
		if ok {
			f.place = Place{}
			if f.marker, f.found, _ = stands(f.sweeps, m, q.g.num); f.found {
				f.place = Place{Segment: q.g.num, State: SegmentSealed, Page: q.page}
			}
			f.asked -= len(maybes) - i - 1 // those below it need not have been
			return nil
		}
	}
	return nil
}

func kindOf(id []byte) IDKind {
	_, kind := readText(appendIdent(nil, id))
	return kind
}
