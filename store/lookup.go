package store

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// group is how many IDs are probed side by side: their cache misses overlap.
const group = 64

// lookAll looks IDs up, segment after segment, newest first. What it finds goes
// to the same places of hits, which were empty.
func (x *segments) lookAll(q *prober, ids []ident, hits []found) error {
	q.maybe = q.maybe[:0]
	for from := 0; from < len(ids); from += group {
		to := min(from+group, len(ids))
		x.probe(q, ids[from:to], hits[from:to], from)
	}
	return x.settleMaybes(q, ids, hits)
}

// probe asks for a group of IDs what costs least: the exact tables of segments
// that have no filter, and the filters of the others. An ID that a newer segment
// knows for certain is settled.
func (x *segments) probe(q *prober, ids []ident, hits []found, at int) {
	for n := len(x.list) - 1; n >= 0; n-- {
		g := x.list[n]
		if g.table == nil {
			t := &g.exact.table
			for i := range ids {
				q.warm += t.touch(tagOf(ids[i].hash.Hi))
			}
			for i := range ids {
				if hits[i].seg == 0 && t.shaded(tagOf(ids[i].hash.Hi)) {
					if m, ok := g.find(ids[i]); ok {
						hits[i] = found{m, g.num + 1}
					}
				}
			}
			continue
		}
		filter := g.table.filter
		for i := range ids {
			q.warm += filter.touch(ids[i].hash)
		}
		for i := range ids {
			if hits[i].seg == 0 && filter.maybe(ids[i].hash) {
				q.maybe = append(q.maybe, maybe{at + i, g, pageOf(ids[i].hash.Hi, g.pages)})
			}
		}
	}
}

// settleMaybes looks up what the filters could not rule out. First in kept pages,
// all together, as every one is a cache miss; then in those on disk, with one
// iterator, from the last key to the first: towards higher keys Pebble would try a
// few steps before it seeks, and each step may load a block for nothing.
func (x *segments) settleMaybes(q *prober, ids []ident, hits []found) error {
	for _, y := range q.maybe {
		q.warm += uint64(y.g.table.kept.near(y.page))
	}
	unread := q.maybe[:0]
	for _, y := range q.maybe {
		f := &hits[y.at]
		if f.seg > y.g.num {
			continue
		}
		m, ok, kept := y.g.inKept(y.page, ids[y.at])
		switch {
		case !kept:
			unread = append(unread, y)
		case ok:
			*f = found{m, y.g.num + 1}
		}
	}
	q.maybe = unread
	slices.SortFunc(q.maybe, func(a, b maybe) int {
		return cmp.Or(cmp.Compare(b.g.num, a.g.num), cmp.Compare(b.page, a.page))
	})
	for _, y := range q.maybe {
		f := &hits[y.at]
		if f.seg > y.g.num {
			continue
		}
		m, ok, err := x.readPage(q, y.g, y.page, ids[y.at])
		if err != nil {
			return err
		}
		if ok {
			*f = found{m, y.g.num + 1}
		}
	}
	return nil
}

// readPage looks an ID up in one page on disk.
func (x *segments) readPage(q *prober, g *segment, page uint32, id ident) (m marker, ok bool, err error) {
	err = x.s.fault.read("look an ID up", func() error {
		it, err := q.over(x, g)
		if err == nil {
			m, ok, err = x.findIn(it, g, page, id)
		}
		return err
	})
	if err != nil {
		return marker{}, false, fmt.Errorf("namespace %d: %w", x.ns, err)
	}
	return m, ok, nil
}

// over returns an iterator over the namespace's tables of the segment's kind.
func (q *prober) over(x *segments, g *segment) (_ *pebble.Iterator, err error) {
	it := &q.iter
	if g.shared {
		it = &q.shared
	}
	if *it == nil {
		from := nsKey(g.kind(), x.ns)
		*it, err = x.s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: after(from)})
	}
	return *it, err
}

// findIn looks an ID up in one page.
func (x *segments) findIn(it *pebble.Iterator, g *segment, page uint32, id ident) (m marker, ok bool, err error) {
	var buf [18]byte
	key := g.key(buf[:0], x.ns, partPage, page)
	if !it.SeekGE(key) || string(it.Key()) != string(key) {
		// A miss is an answer only when there was no error, and never for
		// a page: even an empty one is written.
		if err := it.Error(); err != nil {
			return m, false, err
		}
		return m, false, corruptf("namespace %d, segment %d: page %d is missing", x.ns, g.num, page)
	}
	content, err := it.ValueAndErr()
	if err != nil {
		return m, false, err
	}
	m, ok, whole := g.facts.find(content, id.text)
	if !whole {
		return m, false, corruptf("namespace %d, segment %d: page %d is damaged", x.ns, g.num, page)
	}
	return m, ok, nil
}

func (x *segments) lookup(id ident, at int) (marker, bool, error) {
	b := &x.batch
	for _, r := range slices.Backward(b.runs) {
		if m, ok := r.find(id); ok {
			return stands(b.sweeps, m, r.g.num)
		}
	}
	if f := x.at(at); f != nil {
		if f.seg == 0 {
			return marker{}, false, nil
		}
		return stands(b.sweeps, f.marker, f.seg-1)
	}
	for _, g := range slices.Backward(x.list) {
		if g.table == nil {
			if m, ok := g.find(id); ok {
				return stands(b.sweeps, m, g.num)
			}
			continue
		}
		if !g.table.filter.maybe(id.hash) {
			continue
		}
		page := pageOf(id.hash.Hi, g.pages)
		m, ok, kept := g.inKept(page, id)
		if !kept {
			var err error
			if m, ok, err = x.readPage(&b.near, g, page, id); err != nil {
				return marker{}, false, err
			}
		}
		if ok {
			return stands(b.sweeps, m, g.num)
		}
	}
	return marker{}, false, nil
}
