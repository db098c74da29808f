package store

import (
	"cmp"
	"slices"
)

// What an index gives back of its memory: see index. The order in which that is
// asked of namespaces is the store's, see Store.relieve.

// weight is what an index holds in memory, in bytes.
type weight struct{ unwritten, kept, filters int64 }

// markers returns what counts against the budget of markers.
func (w weight) markers() int64 { return w.unwritten + w.kept }

// recount tells the store's budgets what the segments hold.
func (x *segments) recount() {
	var now weight
	for _, g := range x.list {
		if g.table == nil {
			now.unwritten += g.exact.bytes()
			continue
		}
		now.filters += g.table.filter.bytes()
		if g.table.kept != nil {
			now.kept += g.table.kept.bytes
		}
	}
	x.s.memory.Add(now.markers() - x.bytes.markers())
	x.s.unwritten.Add(now.unwritten - x.bytes.unwritten)
	x.s.filters.Add(now.filters - x.bytes.filters)
	x.bytes = now
}

// squeeze halves filters that are whole, strip drops those that are not, the
// oldest first: most duplicates are of new markers. A namespace then reads more
// and answers the same. Only between batches.
func (x *segments) squeeze(excess int64) int64 {
	return x.thin(excess, func(g *segment) *filter {
		if len(g.table.filter.words) < int(g.words) {
			return g.table.filter
		}
		return g.table.filter.folded()
	})
}

func (x *segments) strip(excess int64) int64 {
	return x.thin(excess, func(*segment) *filter { return &filter{} })
}

func (x *segments) thin(excess int64, smaller func(*segment) *filter) int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, g := range x.list {
		if excess <= 0 {
			break
		}
		if g.table != nil {
			f := smaller(g)
			excess -= g.table.filter.bytes() - f.bytes()
			g.table.filter = f
		}
	}
	x.recount()
	return excess
}

// unload forgets the index, which the next use reads back from the disk. It
// reports false, and keeps all, when a table is being written or waits for its
// catalogue entry, and when it holds no marker in memory.
func (x *segments) unload() (freed int64, done bool) {
	for _, g := range x.list {
		if g.uncatalogued || g.queued && g.table == nil || g.merging != nil && !g.merging.idle() {
			return 0, false
		}
	}
	if freed = x.bytes.markers(); freed == 0 {
		return 0, false
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.list, x.open, x.gone, x.batch = nil, nil, true, batchIndex{}
	x.recount()
	return freed, true
}

// release gives up kept pages, the oldest segment's first. Only between batches. What the
// queue has written while the namespace was somebody's is not adopted yet, and
// nobody else may come to do it.
func (x *segments) release(excess int64) int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.adoptTables()
	for _, g := range x.list {
		if excess <= 0 {
			break
		}
		if g.table != nil && g.table.kept != nil {
			if excess = g.table.kept.release(excess); excess > 0 {
				g.table.kept = nil
			}
		}
	}
	x.recount()
	return excess
}

// relieve spills segments until the budget holds again, largest first, whatever
// their size. Only between batches.
func (x *segments) relieve(excess int64) int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	var able []*segment
	for _, g := range x.list {
		switch {
		case g.table != nil:
		case g.queued:
			excess -= g.exact.bytes() // on its way
		default:
			able = append(able, g)
		}
	}
	slices.SortFunc(able, func(a, b *segment) int { return cmp.Compare(b.exact.bytes(), a.exact.bytes()) })
	for _, g := range able {
		if excess <= 0 {
			break
		}
		if g == x.open {
			x.open = nil
		}
		excess -= g.exact.bytes()
		x.enqueue(g)
	}
	return excess
}
