package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// What a namespace is, read back from disk. Everything is proved before it is
// believed (R16): every run and every table against its ledger, and the sum of
// them against the one that the newest batch wrote.

// loadHead reads what a namespace's newest batch wrote, but not its markers.
// entry is the namespace's in the registry: a head that was written under other
// settings says that one of the two went back.
func (n *Namespace) loadHead(entry []byte) error {
	v, err := n.s.get(nsKey(kindHead, n.num))
	if err != nil {
		return err
	}
	n.head = newHead()
	n.head.settings = settingsSum(entry, n.s.secret)
	if v != nil {
		h, ok := parseHead(v)
		if !ok {
			return unparsed(fmt.Sprintf("namespace %q: its head", n.name), v, headFormat)
		}
		if h.settings != n.head.settings {
			return corruptf("namespace %q: its settings are not those of its newest batch", n.name)
		}
		n.head = h
	}
	if v, err = n.s.get(nsKey(kindRow, n.num)); err != nil {
		return err
	}
	r, ok := parseRow(v, n.s.secret)
	if !ok || r.ledger(n.s.secret) != n.head.row {
		return corruptf("namespace %q: its row of jumps is not the one that was written", n.name)
	}
	n.row = r
	return n.loadPending()
}

// Load reads and proves the namespace's markers, which its first batch would do
// otherwise: call it to learn early that they are there, and how many. It
// returns ErrCorrupt when they are not the ones that were acknowledged.
func (n *Namespace) Load() error {
	if err := n.own(); err != nil {
		return err
	}
	defer n.disown()
	if err := n.load(false); err != nil {
		return err
	}
	n.publish()
	return nil
}

// load reads the markers at the first use. The caller owns the namespace; writes
// tells whether it has come to write.
func (n *Namespace) load(writes bool) error {
	if n.loaded {
		return nil
	}
	defer n.endLoading()
	l := loader{n: n, segments: map[uint64]*segment{}}
	x, err := l.load()
	if err != nil {
		return n.s.fault.found(err)
	}
	n.index, n.loaded = x, true
	n.used.Store(n.s.uses.Add(1))
	n.show()
	n.s.makeRoom(n, writes)
	for _, seg := range l.dead {
		n.expel(seg)
	}
	return nil
}

// loader reads the segments of one namespace.
type loader struct {
	n        *Namespace
	segments map[uint64]*segment
	dead     []uint64
	taken    run // scratch: the run that is read, its slots in order of arrival
}

func (l *loader) load() (*segments, error) {
	n := l.n
	for _, read := range []func() error{l.catalogue, l.deadRecords, l.tables, l.sharedTables, l.replaced, l.runs} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	x := &segments{
		s: n.s, ns: n.num, rules: n.rules, buckets: n.rules.w.Buckets(n.opts.BucketWidth),
		count: n.head.next, expel: n.expel, excised: n.takeGone,
	}
	sweeps, err := n.loadSweeps()
	if err != nil {
		return nil, err
	}
	x.sweeps, x.batch.sweeps = sweeps, sweeps
	for _, g := range l.segments {
		if g.exact == nil && g.table == nil {
			return nil, corruptf("namespace %q: segment %d is in the catalogue and has no table", n.name, g.num)
		}
		if placeOfNum(g.num) >= x.count {
			return nil, corruptf("namespace %q: segment %d is newer than its head, which ends at %d", n.name, g.num, x.count)
		}
		x.list = append(x.list, g)
		x.total.add(g.all)
	}
	sum := x.total
	sum.add(n.head.row)
	if sum != n.head.sum {
		return nil, corruptf("namespace %q: %d markers are there, %d were acknowledged, or they are others",
			n.name, sum.n, n.head.sum.n)
	}
	slices.SortFunc(x.list, func(a, b *segment) int { return int(int64(a.num - b.num)) })
	if last := len(x.list) - 1; last >= 0 && x.list[last].table == nil && !x.closedBySweep(x.list[last]) {
		x.open = x.list[last] // where its base, its bucket and its size allow, it goes on
		x.open.bucketEnd = x.buckets.AtMillis(x.open.opened).EndMillis()
	}
	for _, g := range x.list {
		if g.table == nil && g != x.open {
			g.exact.table.shade()
		}
	}
	x.recount()
	return x, nil
}

// catalogue reads which segments have a table.
func (l *loader) catalogue() error {
	return l.n.s.scan(nsKey(kindCat, l.n.num), func(_, value []byte) error {
		f, ok := parseFacts(value)
		if !ok {
			return unparsed(fmt.Sprintf("namespace %q: an entry of its catalogue", l.n.name), value, factsFormat)
		}
		l.segments[f.num] = &segment{facts: f, seeds: f.seedsOf(l.n.s.secret)}
		return nil
	})
}

// deadRecords reads which segments were dropped and may still have a table.
func (l *loader) deadRecords() error {
	return l.n.s.scan(nsKey(kindDead, l.n.num), func(key, _ []byte) error {
		seg, ok := segOf(key)
		if !ok {
			return corruptf("namespace %q: a dead record does not parse", l.n.name)
		}
		l.dead = append(l.dead, seg)
		return nil
	})
}

// tables finds every table, and takes those that are live: known by the
// catalogue, or not yet known by it because a crash came after the ingest, in
// which case its runs are still there and the table wins. Any other table is
// damage, not garbage: its markers were acknowledged once.
func (l *loader) tables() error {
	n := l.n
	return n.s.fault.read("find tables", func() error {
		from := nsKey(kindPage, n.num)
		it, err := n.s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: after(from)})
		if err != nil {
			return err
		}
		defer func() { _ = it.Close() }() // its error was met by the step that met it
		next := uint64(0)
		for ok := it.First(); ok; next++ {
			num, fine := segOf(it.Key())
			if !fine {
				return corruptf("namespace %q: the key of a page does not parse", n.name)
			}
			// A damaged manifest brings tables to the wrong place: looking for the
			// next one would then find the same ones for ever.
			if num < next || num == math.MaxUint64 {
				return corruptf("namespace %q: its tables are out of order at segment %d", n.name, num)
			}
			next = num
			if !slices.Contains(l.dead, num) {
				if err := l.table(it, num); err != nil {
					return err
				}
			}
			ok = it.SeekGE(segKey(kindPage, n.num, num+1))
		}
		return it.Error()
	})
}

// table reads header and filter of a segment's table.
func (l *loader) table(it *pebble.Iterator, num uint64) error {
	n := l.n
	key := tableKey(nil, n.num, num, partHeader, 0)
	if !it.SeekGE(key) || string(it.Key()) != string(key) {
		if err := it.Error(); err != nil {
			return err
		}
		return corruptf("namespace %q: the table of segment %d has no header", n.name, num)
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return err
	}
	f, ok := parseFacts(v)
	if !ok || f.num != num {
		return unparsed(fmt.Sprintf("namespace %q: the header of segment %d", n.name, num), v, factsFormat)
	}
	g := l.segments[num]
	if g == nil {
		g = &segment{facts: f, seeds: f.seedsOf(n.s.secret), uncatalogued: true}
		if runs, err := l.hasRuns(num); err != nil {
			return err
		} else if !runs && !g.merged() {
			return corruptf("namespace %q: the table of segment %d belongs to nothing", n.name, num)
		}
		l.segments[num] = g
	}
	if !bytes.Equal(g.facts.append(nil), v) {
		return corruptf("namespace %q: segment %d is one thing in the catalogue and another in its table", n.name, num)
	}
	filter, err := l.filter(it, &g.facts)
	if err != nil {
		return err
	}
	g.table = &sealed{pages: f.pages, filter: filter, filterSum: f.filterSum}
	return nil
}

// replaced finds the segments that a merged table replaces, and whose end is not
// durable yet: the merged one wins, if it holds what they accepted.
func (l *loader) replaced() error {
	for _, g := range l.segments {
		if !g.merged() || !g.uncatalogued {
			continue
		}
		var sum ledger
		for num, old := range l.segments {
			if num < g.num && placeOfNum(num) >= g.from {
				sum.add(old.all)
				g.replaces = append(g.replaces, old)
			}
		}
		if sum != g.all {
			return corruptf("namespace %q: the merged segment %d does not hold what the merged ones do", l.n.name, g.num)
		}
	}
	for _, g := range l.segments {
		for _, old := range g.replaces {
			delete(l.segments, old.num)
		}
	}
	return nil
}

// hasRuns reports whether a segment stands in runs.
func (l *loader) hasRuns(num uint64) (found bool, err error) {
	err = l.n.s.scan(segKey(kindRun, l.n.num, num), func(_, _ []byte) error {
		found = true
		return nil
	})
	return found, err
}

// runs reads the markers that are in no table, and proves the tables whose runs
// still stand.
func (l *loader) runs() error {
	n := l.n
	proved := map[uint64]*ledger{}
	err := n.s.scan(nsKey(kindRun, n.num), func(key, value []byte) error {
		num, ok := segOf(key)
		b, rest, fine := parseBase(value)
		d := decoder{b: rest}
		opened, high := b.first+d.varint(), b.first+d.varint()
		if !ok || !fine || d.bad {
			return corruptf("namespace %q: a run does not parse", n.name)
		}
		g := l.segments[num]
		if g == nil {
			g = &segment{
				facts: facts{
					num: num, from: placeOfNum(num), bases: []base{b}, opened: opened, low: b.first, high: high,
				},
				exact: newExact(0),
			}
			g.seeds = g.seedsOf(n.s.secret)
			l.segments[num] = g
		}
		if g.merged() || g.base() != b || g.table != nil && !g.uncatalogued {
			return corruptf("namespace %q: a run of segment %d is not its own", n.name, num)
		}
		if proved[num] == nil {
			proved[num] = &ledger{}
		}
		g.high = max(g.high, high)
		return l.run(g, d.b, proved[num])
	})
	if err != nil {
		return err
	}
	for num, sum := range proved {
		g := l.segments[num]
		if g.all != *sum {
			return corruptf("namespace %q: segment %d: its table does not hold what its runs do", n.name, num)
		}
	}
	return nil
}

// run takes the markers of one run: it proves them as they are parsed, and lets
// the segment absorb them as the batch did that wrote them.
func (l *loader) run(g *segment, entries []byte, sum *ledger) error {
	r := &l.taken
	r.g, r.all, r.low, r.high = g, ledger{}, g.low, g.high
	r.arena.chunks, r.table.slots = r.arena.chunks[:0], r.table.slots[:0]
	b, seed := g.base(), g.seeds[0]
	m := marker{origin: b.origin}
	for len(entries) > 0 {
		off := 0
		for off < len(entries) && off < chunkMax/2 { // an entry is far smaller than the other half
			e := entries[off:]
			text := textLen(e)
			first, n := binary.Varint(e[text:])
			offset, k := binary.Varint(e[text+max(n, 0):])
			if text == 0 || n <= 0 || k <= 0 {
				return corruptf("namespace %q: a run of segment %d does not parse", l.n.name, g.num)
			}
			m.first, m.origin.Offset = b.first+first, b.origin.Offset+offset
			hash := hashText(plainText(e[:text]), l.n.s.secret)
			r.all.add(proofAs(e, hash, m, seed))
			r.low, r.high = min(r.low, m.first), max(r.high, m.first)
			place := uint32(len(r.arena.chunks))<<chunkBits | uint32(off)
			r.table.slots = append(r.table.slots, slotOf(tagOf(hash.Hi), place))
			off += text + n + k
		}
		r.arena.chunks = append(r.arena.chunks, entries[:off])
		entries = entries[off:]
	}
	r.table.n = len(r.table.slots)
	sum.add(r.all)
	if g.exact != nil && !g.absorb(r, l.n.s.secret) {
		return corruptf("namespace %q: segment %d does not fit into memory", l.n.name, g.num)
	}
	g.runs++
	return nil
}
