package store

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/firstseen/firstseen/window"
)

const (
	// fullSegment closes a segment. 1.3 M markers are 0.625 of 2^21 slots.
	fullSegment = 5 << 18
	// smallSegment is what a bucket's end does not bother to close, and a
	// closed segment below it gets no table while the budget allows: so there are
	// no more tables than live markers / 50,000, and one a namespace.
	smallSegment = 50_000
	// fewRuns are deleted one by one. A range deletion slows every iterator down
	// while it is in a memtable, and thousands of small namespaces bring many.
	fewRuns = 64
	// frozenMost is how many segments of a namespace may wait for their table.
	frozenMost = 2
)

// segments is the index of a namespace: markers in segments, oldest first, and
// looked up newest first, so the first hit is the last accepted (R2).
type segments struct {
	s       *Store
	ns      uint32
	rules   rules
	buckets window.Buckets

	// mu is held by the owner while it changes what follows, so that others may
	// look IDs up: between two batches, and while a batch is written. The owner
	// reads without it.
	mu    sync.RWMutex
	list  []*segment // by number; the open one is last
	gone  bool       // it was given up: there is another, or none
	open  *segment   // nil: the next marker opens one
	count uint64     // the next segment's place
	total ledger     // of every segment in list
	bytes weight     // as counted in the store's budgets

	sweeps []sweep // oldest first; never changed in place

	batch batchIndex

	// expel has the table of a dead segment removed; excised returns those whose
	// tables are gone since it was last asked.
	expel   func(seg uint64)
	excised func() []uint64
}

// batchIndex is what a batch does to the index. Until it is durable nothing else
// knows of it, so a rollback only forgets it.
type batchIndex struct {
	into   *segment   // where the next marker goes; nil: it opens a segment
	count  uint64     // the next segment's place
	runs   []*run     // oldest first, one a segment
	drops  []*segment // planned by the durable clock
	sealed []*segment // whose tables enter the catalogue with it
	sweeps []sweep    // that stand; between batches those of segments
	swept  bool       // it brings a sweep
	near   prober     // of the owner
	ready  prepared

	indexScratch // lent by the store while the batch runs
}

func (x *segments) begin(durable clock, brings bool) error {
	if !brings {
		x.adopt()
	} else if err := x.backlog(); err != nil {
		return err
	}
	b := &x.batch
	b.borrow(&x.s.scratch)
	b.into, b.count = x.open, x.count
	for _, g := range x.list {
		if (g.expired(durable.now, durable.first, x.rules) || x.emptied(g)) && g.merging.cancel() {
			b.drops = append(b.drops, g)
			if g == b.into {
				b.into = nil // it is over: the next marker opens another
			}
		}
	}
	return nil
}

// adopt lets the tables that the queue has written answer from now on.
func (x *segments) adopt() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.adoptTables()
	x.recount()
}

// adoptTables is adopt with mu held, but for the budgets.
func (x *segments) adoptTables() {
	for _, g := range x.list {
		g.adopt()
	}
	x.adoptMerges()
}

// backlog waits until few enough segments wait for their table, and while there
// are too many segments and a merge is under way. What waits is in memory and in
// runs, so nothing is lost by it; but it must have an end.
func (x *segments) backlog() error {
	var timeout <-chan time.Time
	for {
		// Asked before counting: a table written in between is not waited for.
		changed, failing := x.s.queue.state()
		x.adopt()
		waiting, merging := 0, false
		for _, g := range x.list {
			if g.queued && g.table == nil {
				waiting++
			}
			merging = merging || g.merging != nil && !g.merging.idle()
		}
		over := x.s.memory.Load() > 2*x.s.opts.Memory && waiting > 0 ||
			len(x.list) > segmentsMost && (waiting > 0 || merging)
		if waiting <= frozenMost && !over {
			return nil
		}
		if failing != nil {
			return fmt.Errorf("%w: %w; make room, then go on", ErrBacklog, failing)
		}
		if timeout == nil {
			timeout = time.After(x.s.opts.CommitTimeout)
		}
		select {
		case <-changed:
		case <-timeout:
			return fmt.Errorf("%w: none was written within %v; the disk is too slow for this rate",
				ErrBacklog, x.s.opts.CommitTimeout)
		case <-x.s.fault.done:
			return x.s.fault.get()
		case <-x.s.closing:
			return ErrClosed
		}
	}
}

func (x *segments) accept(id ident, m marker, older, now int64) {
	b := &x.batch
	if b.into == nil || x.over(m, now) {
		x.grow(m, now)
	}
	text := id.text
	if m.restored {
		b.text = m.appendText(b.text[:0], id.text)
		text = b.text
	}
	for !x.runInto().takeAs(text, id, m, older) {
		x.grow(m, now) // no room around its slot: another segment has
	}
}

// forget enters a tombstone, with F = C: it is no marker, but its segment must
// outlive the one it hides.
func (x *segments) forget(id ident, was marker, now int64) {
	b := &x.batch
	m := marker{first: now, origin: was.origin}
	if b.into != nil {
		m.origin = b.into.base().origin // it says nothing: any will do
	}
	if b.into == nil || x.over(m, now) {
		x.grow(m, now)
	}
	for text := tombstone(id.text); !x.runInto().takeAs(text, id, m, was.first); {
		x.grow(m, now)
	}
}

// runInto returns the batch's run of the segment that markers go into.
func (x *segments) runInto() *run {
	b := &x.batch
	if n := len(b.runs); n > 0 && b.runs[n-1].g == b.into {
		return b.runs[n-1]
	}
	r := &run{exact: *newExact(0)}
	if n := len(b.spare); n > 0 {
		r, b.spare = b.spare[n-1], b.spare[:n-1]
	}
	r.begin(b.into, len(b.ready.found))
	b.runs = append(b.runs, r)
	return r
}

// over reports whether the segment that markers go into ends before marker m,
// accepted at C now.
func (x *segments) over(m marker, now int64) bool {
	g := x.batch.into
	n := g.all.n
	if last := len(x.batch.runs) - 1; last >= 0 && x.batch.runs[last].g == g {
		n = x.batch.runs[last].n()
	}
	if !g.base().fits(m.origin) || n >= uint64(x.s.limits.full) {
		return true
	}
	if now < g.bucketEnd {
		return false
	}
	return n >= uint64(x.s.limits.small) ||
		!x.rules.w.IsForever() && now-g.opened > x.rules.w.Millis()/16
}

// grow opens a segment for marker m.
func (x *segments) grow(m marker, now int64) {
	b := &x.batch
	at := base{origin: m.origin, first: m.first}
	g := &segment{
		facts: facts{
			num: b.count << generationBits, from: b.count, bases: []base{at},
			opened: now, low: m.first, high: m.first,
		},
		bucketEnd: x.buckets.AtMillis(now).EndMillis(),
	}
	g.seeds = g.seedsOf(x.s.secret)
	b.into = g
	b.count++
}

func (x *segments) sum() ledger {
	sum := x.total
	for _, g := range x.batch.drops {
		sum.sub(g.all)
	}
	for _, r := range x.batch.runs {
		sum.add(r.all)
	}
	return sum
}

func (x *segments) next() uint64 { return x.batch.count }

// stage writes the batch's runs, the catalogue entries of new tables in place
// of their runs, and the end of what is dropped.
func (x *segments) stage(w *pebble.Batch) {
	b := &x.batch
	b.ready.end() // segments change from here on
	for _, r := range b.runs {
		b.value = r.append(b.value[:0])
		must(w.Set(runKey(x.ns, r.g.num, r.g.runs), b.value, nil))
	}
	for _, g := range b.drops {
		x.stageDrop(w, g)
	}
	for _, g := range x.list {
		if g.uncatalogued && !slices.Contains(b.drops, g) {
			b.sealed = append(b.sealed, g)
			must(w.Set(segKey(kindCat, x.ns, g.num), g.append(nil), nil))
			x.stageReplaced(w, g)
		}
	}
	for _, num := range x.excised() {
		must(w.Delete(segKey(kindDead, x.ns, num), nil))
	}
	if len(b.sweeps) > 0 {
		b.sweeps = x.needed(b.drops)
		if b.swept || len(b.sweeps) != len(x.sweeps) {
			must(w.Set(nsKey(kindSweeps, x.ns), appendSweeps(nil, b.sweeps), nil))
		}
	}
}

// stageDrop deletes what is known of a segment. If it has, or may be getting, a
// table of its own, the dead record outlives the batch until the table is gone.
func (x *segments) stageDrop(w *pebble.Batch, g *segment) {
	if g.shared {
		x.stageUnshare(w, g)
		return
	}
	if g.queued || g.table != nil {
		must(w.Delete(segKey(kindCat, x.ns, g.num), nil))
		must(w.Set(segKey(kindDead, x.ns, g.num), nil, nil))
	}
	if g.table == nil || g.uncatalogued {
		x.stageReplaced(w, g)
	}
}

// stageReplaced deletes what a table stands for: its runs, or the segments that
// were merged into it.
func (x *segments) stageReplaced(w *pebble.Batch, g *segment) {
	switch {
	case g.merged():
	case g.runs <= fewRuns:
		for seq := range g.runs {
			must(w.Delete(runKey(x.ns, g.num, seq), nil))
		}
	default:
		from := segKey(kindRun, x.ns, g.num)
		must(w.DeleteRange(from, after(from), nil))
	}
	for _, old := range g.replaces {
		x.stageDrop(w, old)
	}
}

// hold takes mu, which committed, failed or unhold gives back.
func (x *segments) hold() { x.mu.Lock() }

func (x *segments) absorb() {
	for _, r := range x.batch.runs {
		g := r.g
		if g.exact == nil {
			expect := 0
			if n := len(x.list); n > 0 && x.list[n-1].all.n >= uint64(x.s.limits.full) {
				expect = x.s.limits.full // its like will come: no growing on the way
			}
			g.exact = newExact(expect)
			x.list = append(x.list, g)
		}
		g.runs++
		x.total.add(r.all)
		if !g.absorb(r, x.s.secret) {
			panic("store: a segment in memory refused a marker that is in its runs")
		}
	}
}

func (x *segments) committed() {
	defer x.mu.Unlock()
	b := &x.batch
	x.open, x.count, x.sweeps = b.into, b.count, b.sweeps
	for _, g := range b.sealed {
		g.uncatalogued = false
		for _, old := range g.replaces {
			x.bury(old)
		}
		g.replaces = nil
	}
	for _, g := range b.drops {
		x.total.sub(g.all)
		x.bury(g)
	}
	x.list = slices.DeleteFunc(x.list, func(g *segment) bool { return g.dead.Load() })
	x.endBatch()
	for _, g := range x.list {
		switch {
		case g == x.open || g.table != nil:
		case g.all.n >= uint64(x.s.limits.small):
			x.enqueue(g)
		case g.exact.table.shadow == nil:
			g.exact.table.shade() // it stays
		}
	}
	x.planMerge()
	x.recount()
}

// bury ends a segment whose end is durable.
func (x *segments) bury(g *segment) {
	g.dead.Store(true)
	if !g.shared && (g.queued || g.table != nil) {
		x.expel(g.num)
	}
	for _, old := range g.replaces {
		x.bury(old)
	}
}

// enqueue hands a frozen segment to the queue. Only what is durable may go:
// a table must never hold a marker of a batch that was lost.
func (x *segments) enqueue(g *segment) {
	if !g.queued {
		g.queued = true
		x.s.queue.add(x.s.spillJob(x.ns, g))
	}
}

func (x *segments) rollback() { x.endBatch() }

func (x *segments) failed() {
	defer x.mu.Unlock()
	x.endBatch()
	for _, g := range x.list {
		g.dead.Store(true) // no table may hold its markers
	}
	x.list, x.gone = nil, true
	x.recount()
}

func (x *segments) end() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, g := range x.list {
		g.dead.Store(true)
		for _, old := range g.replaces {
			old.dead.Store(true)
		}
		g.merging.cancel() // one that is too late for it is excised with the rest
	}
	x.list, x.open = nil, nil
	x.recount()
}

func (x *segments) endBatch() {
	b := &x.batch
	b.ready.end()
	b.near.close()
	b.giveBack(&x.s.scratch)
	clear(b.runs) // a segment that is gone must not hang on
	clear(b.drops)
	clear(b.sealed)
	b.runs, b.drops, b.sealed, b.into = b.runs[:0], b.drops[:0], b.sealed[:0], nil
	b.sweeps, b.swept = x.sweeps, false
}

// must marks a call of Pebble's batch in memory that cannot fail: it appends.
func must(err error) {
	if err != nil {
		panic(errors.Join(errors.New("store: a batch in memory refused a write"), err))
	}
}
