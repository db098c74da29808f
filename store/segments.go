package store

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/firstseen/firstseen/window"
)

const (
	// fullSegment closes a segment. 1.3 M markers are 0.625 of 2^21 slots.
	fullSegment = 5 << 18
	// smallSegment is what a bucket's end does not bother to close, and a
	// closed segment below it stays in memory while the budget allows.
	smallSegment = 32 << 10
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

	list  []*segment // by number; the open one is last
	open  *segment   // nil: the next marker opens one
	count uint64     // the next segment's number
	total ledger     // of every segment in list
	bytes int64      // of exact segments, as counted in the store's budget

	// The batch.
	iter  *pebble.Iterator
	drops []*segment // planned by the durable clock
	undo  undo
	ready prepared
	run   []byte // scratch

	// excised returns the dead segments whose tables are gone since it was last
	// asked.
	excised func() []uint64
}

// undo is what a rollback puts back.
type undo struct {
	segments int
	open     *segment
	facts    facts
	mark     mark
	runs     uint64
	count    uint64
	total    ledger
}

func (x *segments) begin(durable clock) error {
	if err := x.backlog(); err != nil {
		return err
	}
	x.undo = undo{segments: len(x.list), open: x.open, count: x.count, total: x.total}
	if x.open != nil {
		x.undo.facts, x.undo.mark, x.undo.runs = x.open.facts, x.open.exact.arena.mark(), x.open.runs
	}
	x.drops = x.drops[:0]
	for _, g := range x.list {
		if g.expired(durable.now, durable.first, x.rules) {
			x.drops = append(x.drops, g)
		}
	}
	if len(x.drops) > 0 && x.drops[len(x.drops)-1] == x.open {
		x.open = nil // it is over: the next marker opens another
	}
	return nil
}

// adopt lets the tables that the queue has written answer from now on.
func (x *segments) adopt() {
	for _, g := range x.list {
		g.adopt()
	}
	x.recount()
}

// backlog waits until few enough segments wait for their table. What waits is
// in memory and in runs, so nothing is lost by it; but it must have an end.
func (x *segments) backlog() error {
	timeout := time.NewTimer(x.s.opts.CommitTimeout)
	defer timeout.Stop()
	for {
		// Asked before counting: a table written in between is not waited for.
		changed, failing := x.s.queue.state()
		x.adopt()
		waiting := 0
		for _, g := range x.list {
			if g.queued && g.exact != nil {
				waiting++
			}
		}
		over := x.s.memory.Load() > 2*x.s.opts.Memory && waiting > 0
		if waiting <= frozenMost && !over {
			return nil
		}
		if failing != nil {
			return fmt.Errorf("%w: %w; make room, then go on", ErrBacklog, failing)
		}
		select {
		case <-changed:
			x.adopt()
		case <-timeout.C:
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
	if x.open != nil && x.over(m, now) {
		x.open = nil
	}
	for {
		if x.open == nil {
			x.grow(m, now)
		}
		was := x.open.all
		if x.open.take(id, m, older) {
			was.sub(x.open.all)
			x.total.sub(was)
			return
		}
		x.open = nil // no room around its slot: another segment has
	}
}

// over reports whether the open segment ends before marker m, accepted at C now.
func (x *segments) over(m marker, now int64) bool {
	g := x.open
	if !g.base.fits(m.origin) || g.all.n >= uint64(x.s.limits.full) {
		return true
	}
	if now < g.bucketEnd {
		return false
	}
	return g.all.n >= uint64(x.s.limits.small) ||
		!x.rules.w.IsForever() && now-g.opened > x.rules.w.Millis()/16
}

// grow opens a segment for marker m.
func (x *segments) grow(m marker, now int64) {
	expect := 0
	if n := len(x.list); n > 0 && x.list[n-1].all.n >= uint64(x.s.limits.full) {
		expect = x.s.limits.full // its like will come: no growing on the way
	}
	b := base{origin: m.origin, first: m.first}
	x.open = &segment{
		facts: facts{num: x.count, base: b, opened: now, low: m.first, high: m.first},
		seed:  b.seed(x.s.secret),
		exact: newExact(expect), bucketEnd: x.buckets.AtMillis(now).EndMillis(),
	}
	x.count++
	x.list = append(x.list, x.open)
}

func (x *segments) sum() ledger {
	sum := x.total
	for _, g := range x.drops {
		sum.sub(g.all)
	}
	return sum
}

func (x *segments) next() uint64 { return x.count }

// stage writes the batch's runs, the catalogue entries of new tables in place
// of their runs, and the end of what is dropped.
func (x *segments) stage(b *pebble.Batch) {
	dropped := func(g *segment) bool { return slices.Contains(x.drops, g) }
	for _, g := range x.list {
		switch {
		case dropped(g):
			x.stageDrop(b, g)
		case g.exact != nil && g.exact.arena.mark() != g.mark:
			x.run = g.appendRun(x.run[:0])
			must(b.Set(runKey(x.ns, g.num, g.runs), x.run, nil))
		case g.uncatalogued:
			must(b.Set(segKey(kindCat, x.ns, g.num), g.append(nil), nil))
			x.deleteRuns(b, g)
		}
	}
	for _, num := range x.excised() {
		must(b.Delete(segKey(kindDead, x.ns, num), nil))
	}
}

// stageDrop deletes what is known of a segment. If it has, or may be getting, a
// table, the dead record outlives the batch until the table is gone.
func (x *segments) stageDrop(b *pebble.Batch, g *segment) {
	if g.queued || g.exact == nil {
		must(b.Delete(segKey(kindCat, x.ns, g.num), nil))
		must(b.Set(segKey(kindDead, x.ns, g.num), nil, nil))
	}
	if g.exact != nil || g.uncatalogued {
		x.deleteRuns(b, g)
	}
}

func (x *segments) deleteRuns(b *pebble.Batch, g *segment) {
	from := segKey(kindRun, x.ns, g.num)
	must(b.DeleteRange(from, after(from), nil))
}

func (x *segments) committed() {
	x.endBatch()
	for _, g := range x.list {
		if g.exact == nil {
			g.uncatalogued = false
		} else if m := g.exact.arena.mark(); m != g.mark {
			g.mark, g.runs = m, g.runs+1
		}
	}
	for _, g := range x.drops {
		g.dead.Store(true)
		x.total.sub(g.all)
		if g.queued || g.exact == nil {
			x.s.queue.add(x.s.exciseJob(x.ns, g.num))
		}
	}
	x.list = slices.DeleteFunc(x.list, func(g *segment) bool { return g.dead.Load() })
	x.drops = x.drops[:0]
	for _, g := range x.list {
		if g != x.open && g.exact != nil && g.all.n >= uint64(x.s.limits.small) {
			x.enqueue(g)
		}
	}
	x.recount()
}

// enqueue hands a frozen segment to the queue. Only what is durable may go:
// a table must never hold a marker of a batch that was lost.
func (x *segments) enqueue(g *segment) {
	if !g.queued {
		g.queued = true
		x.s.queue.add(x.s.spillJob(x.ns, g))
	}
}

func (x *segments) rollback() {
	x.endBatch()
	if x.undo.open != nil && x.undo.open.exact != nil {
		g := x.undo.open
		if g.all != x.undo.facts.all {
			g.facts = x.undo.facts
			g.exact.reset(x.undo.mark, g.base, x.s.secret)
		}
	}
	clear(x.list[x.undo.segments:])
	x.list = x.list[:x.undo.segments]
	x.open, x.count, x.total = x.undo.open, x.undo.count, x.undo.total
	x.recount()
}

func (x *segments) endBatch() {
	x.ready.reset()
	if x.iter != nil {
		// What an iterator met was reported by the look-up that met it.
		_ = x.iter.Close()
		x.iter = nil
	}
}

// recount tells the store's budget what the exact segments hold.
func (x *segments) recount() {
	bytes := int64(0)
	for _, g := range x.list {
		if g.exact != nil {
			bytes += g.exact.bytes()
		}
	}
	x.s.memory.Add(bytes - x.bytes)
	x.bytes = bytes
}

// relieve spills segments until the budget holds again, largest first, whatever
// their size. Only between batches.
func (x *segments) relieve(excess int64) int64 {
	var able []*segment
	for _, g := range x.list {
		switch {
		case g.exact == nil:
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

// must marks a call of Pebble's batch in memory that cannot fail: it appends.
func must(err error) {
	if err != nil {
		panic(errors.Join(errors.New("store: a batch in memory refused a write"), err))
	}
}
