package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/xxh3"
)

const (
	// mergeAbove is how many tables a namespace may have before neighbours are
	// merged. Their filters are probed one after the other.
	mergeAbove = 24
	// mergeMost is how many segments one merge joins.
	mergeMost = 16
	// mergeStep is how many pages are written before the queue does something
	// else: a table that waits for a long merge would hold up batches.
	mergeStep = 1024
	// segmentsMost is the promise: so many live segments in a namespace. Near
	// it, no merge is too wide.
	segmentsMost = 64
)

// merge joins neighbouring segments into one, in the background. Pages are
// ranges of the hash, so it reads all of them side by side from the first page
// to the last and copies entries as they are; of two entries of one ID the newer
// one stays. What is forgotten becomes a tombstone, or goes, when nothing older
// stands that it would have to hide. The merged table replaces the others from
// the moment it is ingested: what was accepted is the same, proved by the sum of
// the ledgers.
//
//	owner   plan -> queue: steps, Ingest -> owner: adopt -> catalogue, dead
//	        records for the old ones, in its next batch -> queue: excise them
type merge struct {
	from   []*segment
	oldest bool    // nothing older stands in front of them
	sweeps []sweep // that are applied to what is copied
	state  atomic.Int32
	done   atomic.Pointer[segment]
}

// The states of a merge. The owner may cancel it, to drop one of its segments,
// until it is being ingested.
const (
	mergeRuns = iota
	mergeIngests
	mergeCancelled
)

// cancel makes sure that the merge, nil when there is none, will not replace its
// segments. It reports false when that is too late.
func (m *merge) cancel() bool {
	return m == nil || m.state.CompareAndSwap(mergeRuns, mergeCancelled) || m.state.Load() == mergeCancelled
}

// over reports that nobody waits for the merge any more.
func (m *merge) over() bool { return m.state.Load() == mergeCancelled || m.from[0].dead.Load() }

// planMerge starts a merge when there are too many segments. Only with mu held.
func (x *segments) planMerge() {
	limit := x.s.limits.merge
	if len(x.list) <= limit {
		return
	}
	waiting := 0
	for _, g := range x.list {
		switch {
		case g.merging != nil && !g.merging.idle():
			return // one at a time
		case g == x.open || g.table != nil:
		case g.queued:
			waiting++
		case len(x.list) > 2*limit && waiting < frozenMost:
			x.enqueue(g) // too small for a table of its own, but in the way
			waiting++
		}
	}
	if from := x.chooseMerge(); from != nil {
		m := &merge{from: from, oldest: from[0] == x.list[0], sweeps: x.sweeps}
		for _, g := range from {
			g.merging = m
		}
		x.s.queue.add(x.s.mergeJob(x.ns, m))
	}
}

// idle reports whether the merge has ended: cancelled, or adopted.
func (m *merge) idle() bool { return m.state.Load() == mergeCancelled }

// chooseMerge returns the neighbours to join: those that span no more time than
// a bucket may, so that their oldest marker does not wait long for its space to
// be given back (I6); near the most segments that there may be, any.
func (x *segments) chooseMerge() []*segment {
	if x.rules.w.IsForever() {
		return x.cheapest(math.MaxInt64)
	}
	from := x.cheapest(max(x.rules.w.Millis()/16, x.buckets.Width().Milliseconds()))
	if from == nil && len(x.list) > segmentsMost*7/8 {
		from = x.cheapest(math.MaxInt64)
	}
	return from
}

// cheapest returns the neighbours within a span of time that cost the least
// writing for every segment that goes.
func (x *segments) cheapest(span int64) []*segment {
	var best []*segment
	var least float64
	for i := range x.list {
		low, high, n := int64(math.MaxInt64), int64(math.MinInt64), uint64(0)
		for j, g := range x.list[i:min(len(x.list), i+mergeMost)] {
			low, high, n = min(low, g.low), max(high, g.high), n+g.live()
			if g.table == nil || g.uncatalogued || g.lastGeneration() || j > 0 && high-low > span {
				break
			}
			if cost := float64(n) / float64(j); j > 0 && (best == nil || cost < least) {
				best, least = x.list[i:i+j+1], cost
			}
		}
	}
	return slices.Clone(best)
}

// adoptMerges puts merged segments in the place of those they were made of.
// Only with mu held.
func (x *segments) adoptMerges() {
	for i := 0; i < len(x.list); i++ {
		m := x.list[i].merging
		if m == nil || m.from[0] != x.list[i] { // it may end while this looks on
			continue
		}
		g := m.done.Load()
		if g == nil {
			continue
		}
		g.replaces = m.from
		x.list = slices.Replace(x.list, i, i+len(m.from), g)
	}
}

// mergeJob works on a merge, step by step.
func (s *Store) mergeJob(ns uint32, m *merge) func() error {
	var w *merging
	return func() error {
		if m.over() {
			return w.abandon()
		}
		if err := s.disk.err(); err != nil {
			// It would take the room that the end of what has expired needs.
			err = errors.Join(err, w.abandon())
			w = nil
			return err
		}
		if w == nil {
			var err error
			if w, err = s.newMerging(ns, m); err != nil {
				return err
			}
		}
		more, err := w.step()
		if err == nil && more {
			return errMore
		}
		if err == nil {
			err = w.finish()
		}
		if err != nil {
			err = errors.Join(s.fault.found(err), w.abandon())
			w = nil // tried again from the start, in a new file
			return fmt.Errorf("merge segments of namespace %d: %w", ns, err)
		}
		if !m.state.CompareAndSwap(mergeRuns, mergeIngests) {
			return w.abandon()
		}
		if err := s.ingest(w.tableWriter); err != nil {
			m.state.Store(mergeRuns)
			w = nil
			return err
		}
		m.done.Store(w.segment())
		s.settle(ns)
		return nil
	}
}

// merging is the work on one merge.
type merging struct {
	*tableWriter
	s  *Store
	ns uint32
	*merge
	in   []*input
	page uint32

	// Of the page that is written; kept for the next one.
	all            []mergedEntry
	newest         map[xxh3.Uint128]int
	content, block []byte
}

// input is a segment that is being merged, at its current page.
type input struct {
	*segment
	shift   uint   // output pages of one of its own, as a power of two
	at      uint32 // of the page that is read; the next one before
	first   int    // its first base among all bases
	sum     ledger // of what was read
	content []byte
	entries []mergedEntry
	next    int
}

// mergedEntry is an entry on its way into a merged table.
type mergedEntry struct {
	ident
	base  int // among all bases
	proof ledger
	bytes []byte // within content, or of a tombstone
	page  uint32
	gone  bool // forgotten: it only hides what is older
	old   bool // a newer one of its ID is there
}

func (s *Store) newMerging(ns uint32, m *merge) (*merging, error) {
	from := m.from
	last := from[len(from)-1]
	f := facts{num: last.num + 1, from: from[0].from, opened: from[0].opened, low: last.low, high: last.high}
	if n := len(m.sweeps); n > 0 {
		f.ruled = m.sweeps[n-1].num
	}
	w := &merging{s: s, ns: ns, merge: m, newest: make(map[xxh3.Uint128]int)}
	for _, g := range from {
		w.in = append(w.in, &input{segment: g, at: g.pages, first: len(f.bases)})
		f.bases = append(f.bases, g.bases...)
		f.low, f.high = min(f.low, g.low), max(f.high, g.high)
		f.all.add(g.all)
		f.superseded.n += g.superseded.n // counts; the sum follows from what is written
	}
	f.pages = pagesFor(f.live())
	for _, in := range w.in {
		f.pages = max(f.pages, in.pages) // one has more than it needs when much in it was forgotten
	}
	for _, in := range w.in {
		for in.pages<<in.shift < f.pages {
			in.shift++
		}
	}
	t, err := s.newTable(ns, f)
	if err != nil {
		return nil, err
	}
	w.tableWriter = t
	return w, nil
}

// step writes some pages and reports whether there are more.
func (w *merging) step() (more bool, err error) {
	err = w.s.fault.read("read segments that are merged", func() error {
		its := make([]*pebble.Iterator, len(w.in))
		defer func() {
			for _, it := range its {
				if it != nil {
					_ = it.Close() // its error was met by the step that met it
				}
			}
		}()
		for i, in := range w.in {
			from := in.key(nil, w.ns, partPage, 0)
			to := in.key(nil, w.ns, partFilter, 0)
			var err error
			if its[i], err = w.s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to}); err != nil {
				return err
			}
		}
		for range mergeStep {
			if w.page == w.facts.pages {
				return nil
			}
			err := w.writePage(its)
			if w.over() {
				return nil // a shared table may be gone by now
			}
			if err != nil {
				return err
			}
			w.page++
			runtime.Gosched() // batches come first
		}
		return nil
	})
	return w.page < w.facts.pages, err
}

// writePage writes the next page.
func (w *merging) writePage(its []*pebble.Iterator) error {
	w.all = w.all[:0]
	for i, in := range w.in {
		if in.at != w.page>>in.shift {
			if err := in.read(its[i], w); err != nil {
				return err
			}
		}
		for ; in.next < len(in.entries) && in.entries[in.next].page == w.page; in.next++ {
			w.all = append(w.all, in.entries[in.next])
		}
	}
	w.findOld()
	w.content = w.content[:0]
	for all := w.all; len(all) > 0; {
		base := all[0].base
		w.block = w.block[:0]
		for ; len(all) > 0 && all[0].base == base; all = all[1:] {
			if e := &all[0]; !e.old && !(e.gone && w.oldest) {
				w.block = append(w.block, e.bytes...)
				w.add(e.hash, e.proof)
			}
		}
		if len(w.block) > 0 {
			w.content = appendBlock(w.content, base, w.block)
		}
	}
	return w.writeKey(partPage, w.page, w.content)
}

// findOld marks the entries of which a newer one of the same ID is in the page.
func (w *merging) findOld() {
	clear(w.newest)
	for i := len(w.all) - 1; i >= 0; i-- {
		e := &w.all[i]
		same := func(newer mergedEntry) bool { return bytes.Equal(newer.text, e.text) }
		switch newer, there := w.newest[e.hash]; {
		case !there:
			w.newest[e.hash] = i
		case same(w.all[newer]):
			e.old = true
		default: // another ID of the same hash
			e.old = slices.ContainsFunc(w.all[i+1:], same)
		}
	}
}

// read reads the input's page that output page w.page needs.
func (in *input) read(it *pebble.Iterator, w *merging) error {
	at := w.page >> in.shift
	key := in.key(nil, w.ns, partPage, at)
	there := false
	if at == 0 || !it.Valid() {
		there = it.SeekGE(key)
	} else {
		there = it.Next()
	}
	if !there || string(it.Key()) != string(key) {
		if err := it.Error(); err != nil {
			return err
		}
		return corruptf("namespace %d, segment %d: page %d is missing", w.ns, in.num, at)
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return err
	}
	in.at, in.next = at, 0
	in.content, in.entries = append(in.content[:0], v...), in.entries[:0]
	whole := in.blocks(in.content, func(i int, entries []byte) bool {
		for len(entries) > 0 {
			n, m, size := in.bases[i].parse(entries)
			if size == 0 {
				return false
			}
			id := keyed(plainText(entries[:n]), w.s.secret)
			p := proofAs(entries, id.hash, m, in.seeds[i])
			in.sum.add(p)
			e := mergedEntry{
				ident: id, base: in.first + i, proof: p, bytes: entries[:size],
				page: pageOf(id.hash.Hi, w.facts.pages), gone: flagsOf(entries)&flagTombstone != 0,
			}
			if !e.gone && len(w.sweeps) > 0 && swept(w.sweeps, m, placeOfNum(in.num)) {
				e.gone = true
				e.bytes = slices.Concat(tombstone(id.text), entries[n:size])
				e.proof = proofAs(e.bytes, id.hash, m, in.seeds[i])
			}
			in.entries = append(in.entries, e)
			entries = entries[size:]
		}
		return true
	})
	if !whole {
		return corruptf("namespace %d, segment %d: page %d is damaged", w.ns, in.num, at)
	}
	// In order of output pages; within one, of arrival.
	slices.SortStableFunc(in.entries, func(a, b mergedEntry) int { return cmp.Compare(a.page, b.page) })
	return nil
}

// finish proves that every input was what it was known to be, and ends the table.
func (w *merging) finish() error {
	for _, in := range w.in {
		if in.sum.add(in.superseded); in.sum != in.all {
			return corruptf("namespace %d, segment %d: its table does not hold what it accepted", w.ns, in.num)
		}
	}
	w.facts.superseded = w.facts.all
	w.facts.superseded.sub(w.sum)
	return w.end()
}

// segment returns the merged segment.
func (w *merging) segment() *segment {
	t := w.sealed()
	return &segment{
		facts: w.facts, seeds: w.facts.seedsOf(w.s.secret), table: t, uncatalogued: true,
	}
}

// abandon removes what was written. It may be called on nil.
func (w *merging) abandon() error {
	if w == nil {
		return nil
	}
	return w.remove()
}
