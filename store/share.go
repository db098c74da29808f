package store

import "github.com/cockroachdb/pebble/v2"

// Shared tables. Where many namespaces share a budget far below their markers,
// each holds a few thousand: too few for tables of their own, and too many to be
// read back from their runs whenever it is their turn. Their closed segments are
// therefore laid out as tables are, in pages and with a filter, and written as
// ordinary keys: the database gathers those of many namespaces in its own tables.
// From then on a namespace needs their catalogue entries and filters only.
//
//	owner of many  pages, filters, catalogue entries in, runs out: ONE synced
//	               batch -> memory gives the markers up
//
// It is one batch, so a crash leaves the runs or what replaces them, and never
// both; a batch that drops the segment deletes the keys with the entry, and there
// is nothing to be removed later.

const (
	// sharedLeast is how many markers a segment has that is worth it. Fewer are
	// read back from their runs in the time that it takes to read a filter.
	sharedLeast = 256
	// sharedPart is which part of a memtable one batch of shared segments takes.
	sharedPart = 16
)

// sharing is one batch of shared segments. Their namespaces are owned until it
// has ended.
type sharing struct {
	s      *Store
	w      *pebble.Batch
	most   int // bytes of the batch
	owned  []*Namespace
	shared []sharedSegment
	err    error // of a segment that is not what it accepted
}

// sharedSegment is a segment on its way into a shared table.
type sharedSegment struct {
	*segment
	x     *segments
	facts facts
	table *sealed
}

// share moves segments of namespaces that are idle, those idle longest first, into
// shared tables, until excess bytes are given back or one batch is full. It
// returns what is left of excess, and whether there was a batchful.
func (s *Store) share(n *Namespace, excess int64) (left int64, full bool) {
	if s.disk.err() != nil {
		return excess, false
	}
	before := excess
	h := sharing{s: s, w: s.db.NewBatch(), most: s.limits.table / sharedPart}
	defer h.end()
	for _, o := range s.resting(n) {
		if excess <= 0 || h.full() {
			break
		}
		if o.tryOwn() {
			h.owned = append(h.owned, o)
			if freed := h.take(o); freed > 0 {
				excess -= freed
				continue
			}
			h.owned = h.owned[:len(h.owned)-1]
			o.giveBack()
		}
	}
	full = h.full()
	if len(h.shared) > 0 && h.commit() != nil {
		return before, false // the store has stopped, or the disk is full
	}
	return excess, full
}

// take stages the segments of a namespace that are worth it. It returns what that
// gives back.
func (h *sharing) take(n *Namespace) (freed int64) {
	x, ok := n.index.(*segments)
	if !ok {
		return 0 // not loaded
	}
	for _, g := range x.list {
		if !h.full() && x.sharable(g) && g.exact.arena.size <= int64(h.most) {
			h.stage(x, g)
			freed += g.exact.bytes()
		}
	}
	return freed
}

// sharable reports whether a segment is worth it. An open one, which is closed by
// it, is where it holds much of what the namespace has: so there are never many
// segments more because of it.
func (x *segments) sharable(g *segment) bool {
	least := uint64(x.s.limits.share)
	if g == x.open {
		least = max(least, x.total.n/4)
	}
	return g.table == nil && !g.queued && g.all.n >= least
}

// full reports whether the batch is large enough, or of no use any more.
func (h *sharing) full() bool { return h.w.Len() >= h.most || h.err != nil }

// stage writes the table of a segment in the place of its runs.
func (h *sharing) stage(x *segments, g *segment) {
	f := g.facts
	f.shared, f.pages = true, pagesFor(f.live())
	t := newTableContent(x.ns, f)
	t.put = func(key, value []byte) error { return h.w.Set(key, value, nil) }
	if h.err = t.writePages(g, h.s.secret); h.err != nil {
		return
	}
	must(t.writeFilter())
	must(h.w.Set(segKey(kindCat, x.ns, g.num), t.facts.append(nil), nil))
	x.stageReplaced(h.w, g)
	h.shared = append(h.shared, sharedSegment{g, x, t.facts, t.sealed()})
}

// commit makes the batch durable and lets its tables answer. After an error that
// may have left it on disk, its namespaces read again what is there.
func (h *sharing) commit() error {
	if h.err != nil {
		return h.s.fault.found(h.err)
	}
	if err := h.s.disk.spend(int64(h.w.Len())); err != nil {
		return err
	}
	w := h.w
	h.w = nil
	err := h.s.fault.write("write shared tables", h.s.opts.CommitTimeout, func() error {
		if err := h.s.db.Apply(w, pebble.Sync); err != nil {
			return err
		}
		return w.Close()
	})
	if err != nil {
		for _, n := range h.owned {
			n.index.hold()
			n.lose()
		}
		return err
	}
	for _, g := range h.shared {
		g.x.answerShared(g)
	}
	return nil
}

// answerShared gives up what is in memory of a segment whose shared table is
// durable.
func (x *segments) answerShared(g sharedSegment) {
	x.mu.Lock()
	defer x.mu.Unlock()
	g.segment.facts, g.segment.table, g.exact = g.facts, g.table, nil
	if x.open == g.segment {
		x.open = nil
	}
	x.recount()
}

// stageUnshare deletes a shared table and its entry in the catalogue.
func (x *segments) stageUnshare(w *pebble.Batch, g *segment) {
	must(w.Delete(segKey(kindCat, x.ns, g.num), nil))
	if g.pages > fewRuns {
		from := g.prefix(x.ns)
		must(w.DeleteRange(from, after(from), nil))
		return
	}
	for p := range g.pages {
		must(w.Delete(g.key(nil, x.ns, partPage, p), nil))
	}
	for i := uint32(0); i*chunkBytes < g.words*8; i++ {
		must(w.Delete(g.key(nil, x.ns, partFilter, i), nil))
	}
}

// end gives the namespaces back.
func (h *sharing) end() {
	if h.w != nil {
		must(h.w.Close())
	}
	for _, n := range h.owned {
		n.giveBack()
	}
}

// sharedTables takes the tables of the catalogue that are shared.
func (l *loader) sharedTables() error {
	var all []*segment
	for _, g := range l.segments {
		if g.shared {
			all = append(all, g)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return l.n.s.fault.read("find shared tables", func() error {
		from := nsKey(kindShared, l.n.num)
		it, err := l.n.s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: after(from)})
		if err != nil {
			return err
		}
		defer func() { _ = it.Close() }() // its error was met by the step that met it
		for _, g := range all {
			filter, err := l.filter(it, &g.facts)
			if err != nil {
				return err
			}
			g.table = &sealed{pages: g.pages, filter: filter, filterSum: g.filterSum}
		}
		return nil
	})
}
