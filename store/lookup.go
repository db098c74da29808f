package store

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// prepared is what a batch knows of IDs before it decides them.
type prepared struct {
	below uint64 // answers hold for segments with numbers below this
	found []found
	maybe []maybe
	warm  uint64 // keeps the loads that warm the open table from being removed
}

// found is the newest hit for one ID.
type found struct {
	marker
	seg uint64 // its segment's number + 1; 0: none
}

// maybe is a filter's "perhaps": the page has to be read.
type maybe struct {
	at   int
	g    *segment
	page uint32
}

func (p *prepared) reset() { p.found, p.maybe, p.below = p.found[:0], p.maybe[:0], 0 }

// group is how many IDs are probed side by side: their cache misses overlap.
const group = 64

// prepare looks IDs up in everything but the open segment, segment after
// segment, newest first, and brings the open one's slots near.
//
// Answers stay right for the whole batch: segments below the open one change
// only between batches.
func (x *segments) prepare(ids []ident) {
	p := &x.ready
	p.reset()
	p.below = x.count
	if x.open != nil {
		p.below = x.open.num
	}
	p.found = slices.Grow(p.found, len(ids))[:len(ids)]
	clear(p.found)
	for from := 0; from < len(ids); from += group {
		x.probe(ids[from:min(from+group, len(ids))], from)
	}
	if err := x.readMaybes(ids); err != nil {
		p.reset() // the look-up that needs it meets the error again
	}
}

func (x *segments) probe(ids []ident, at int) {
	p := &x.ready
	if x.open != nil {
		t := &x.open.exact.table
		for i := range ids {
			p.warm += t.slots[t.home(tagOf(ids[i].hash.Hi))]
		}
	}
	for n := len(x.list) - 1; n >= 0; n-- {
		g := x.list[n]
		if g.num >= p.below {
			continue
		}
		if g.exact != nil {
			for i := range ids {
				if f := &p.found[at+i]; f.seg == 0 {
					if m, ok := g.find(ids[i]); ok {
						*f = found{m, g.num + 1}
					}
				}
			}
			continue
		}
		for i := range ids {
			// An ID found in a newer exact segment is settled.
			if p.found[at+i].seg == 0 && g.table.filter.maybe(ids[i].hash) {
				p.maybe = append(p.maybe, maybe{at + i, g, pageOf(ids[i].hash.Hi, g.pages)})
			}
		}
	}
}

// readMaybes reads the pages that the filters could not rule out with one
// iterator, from the last key to the first: towards higher keys Pebble would
// try a few steps before it seeks, and each step may load a block for nothing.
func (x *segments) readMaybes(ids []ident) error {
	p := &x.ready
	slices.SortFunc(p.maybe, func(a, b maybe) int {
		return cmp.Or(cmp.Compare(b.g.num, a.g.num), cmp.Compare(b.page, a.page))
	})
	for _, q := range p.maybe {
		f := &p.found[q.at]
		if f.seg > q.g.num+1 {
			continue
		}
		m, ok, err := x.readPage(q.g, q.page, ids[q.at])
		if err != nil {
			return err
		}
		if ok {
			*f = found{m, q.g.num + 1}
		}
	}
	p.maybe = p.maybe[:0]
	return nil
}

// readPage looks an ID up in one page of a sealed segment.
func (x *segments) readPage(g *segment, page uint32, id ident) (m marker, ok bool, err error) {
	err = x.s.fault.read("look an ID up", func() error {
		if x.iter == nil {
			from := nsKey(kindPage, x.ns)
			it, err := x.s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: after(from)})
			if err != nil {
				return err
			}
			x.iter = it
		}
		var buf [18]byte
		key := tableKey(buf[:0], x.ns, g.num, partPage, page)
		if !x.iter.SeekGE(key) || string(x.iter.Key()) != string(key) {
			// A miss is an answer only when there was no error, and never for
			// a page: even an empty one is written.
			if err := x.iter.Error(); err != nil {
				return err
			}
			return corruptf("namespace %d, segment %d: page %d is missing", x.ns, g.num, page)
		}
		content, err := x.iter.ValueAndErr()
		if err != nil {
			return err
		}
		var whole bool
		if m, ok, whole = g.base.find(content, id.text); !whole {
			return corruptf("namespace %d, segment %d: page %d is damaged", x.ns, g.num, page)
		}
		return nil
	})
	if err != nil {
		return marker{}, false, fmt.Errorf("namespace %d: %w", x.ns, err)
	}
	return m, ok, nil
}

func (x *segments) lookup(id ident, at int) (marker, bool, error) {
	ready := at >= 0 && at < len(x.ready.found)
	for n := len(x.list) - 1; n >= 0; n-- {
		g := x.list[n]
		if ready && g.num < x.ready.below {
			f := x.ready.found[at]
			return f.marker, f.seg != 0, nil
		}
		if g.exact != nil {
			if m, ok := g.find(id); ok {
				return m, true, nil
			}
			continue
		}
		if !g.table.filter.maybe(id.hash) {
			continue
		}
		m, ok, err := x.readPage(g, pageOf(id.hash.Hi, g.pages), id)
		if err != nil || ok {
			return m, ok, err
		}
	}
	return marker{}, false, nil
}
