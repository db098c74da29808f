package store

import (
	"bytes"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// survey is what stands of a namespace on disk at one moment, told by reading it
// and by nothing that is in memory. What is wrong with it is collected, not
// returned: the rest is read all the same.
type survey struct {
	s    *Store
	name string
	num  uint32
	view *pebble.Iterator // of the moment; everything is read by clones of it

	report *Report
	found  []Damage

	head      head
	hasHead   bool // there is one that parses, or no batch yet
	headless  bool // there is none
	row       row
	sweeps    []sweep
	rowIsBad  bool
	leftovers bool                 // state or outputs
	segments  map[uint64]*surveyed // those that count
	dead      map[uint64]bool      // dropped; their tables may stand
	sum       ledger               // of what was proved, the row included
	isLost    bool                 // what is missing is in no segment that is known
}

// surveyed is a segment that stands on disk.
type surveyed struct {
	facts
	seeds     []uint64
	known     bool // its facts were read
	catalogue bool // the catalogue has it
	table     bool // it has pages
	strayed   bool // there are pages of a shared table that the catalogue does not know
	runs      uint64
	accepted  ledger      // in runs
	olds      []*surveyed // that it replaces, where the batch that says so was not durable
	spare     bool        // it does not prove, and the olds stand in its place
	bad       bool        // it does not prove
	doubt     bool        // its facts may be wrong
	beyond    bool        // it has markers of offsets that the position has not passed
}

// newSurvey opens a view of the database as it is now.
func (s *Store) newSurvey(name string, num uint32, r *Report) (*survey, error) {
	v := &survey{
		s: s, name: name, num: num, report: r, head: newHead(),
		segments: map[uint64]*surveyed{}, dead: map[uint64]bool{},
	}
	err := guarded(func() (err error) {
		v.view, err = s.db.NewIter(nil)
		return err
	})
	return v, err
}

// close gives the view up. What it met was told by the read that met it.
func (v *survey) close() { _ = guarded(v.view.Close) }

// wrong collects damage. Segment and page are -1 for what belongs to none.
func (v *survey) wrong(part Part, segment, page int64, format string, args ...any) {
	d := Damage{Namespace: v.name, Segment: segment, Page: page, Part: part, What: told(format, args...)}
	v.found = append(v.found, d)
	v.report.add(d)
	if segment >= 0 && !d.Harmless() {
		v.at(uint64(segment)).bad = true
	}
}

// at returns the segment of a number.
func (v *survey) at(num uint64) *surveyed {
	g := v.segments[num]
	if g == nil {
		g = &surveyed{facts: facts{num: num, from: placeOfNum(num)}, doubt: true}
		v.segments[num] = g
	}
	return g
}

// clone returns an iterator of the same moment over a range of keys.
func (v *survey) clone(from, to []byte) (*pebble.Iterator, error) {
	return v.view.Clone(pebble.CloneOptions{IterOptions: &pebble.IterOptions{LowerBound: from, UpperBound: to}})
}

// walk calls fn, which is ours, for every key with the prefix.
func (v *survey) walk(prefix []byte, fn func(key, value []byte)) error {
	return guarded(func() error {
		it, err := v.clone(prefix, after(prefix))
		if err != nil {
			return err
		}
		defer func() { _ = it.Close() }() // its error was met by the step that met it
		for ok := it.First(); ok; ok = it.Next() {
			value, err := it.ValueAndErr()
			if err != nil {
				return err
			}
			v.report.Bytes += uint64(len(it.Key()) + len(value))
			fn(it.Key(), value)
		}
		return it.Error()
	})
}

// layout finds out which segments count, as a namespace does when it loads.
func (v *survey) layout() {
	v.readHead()
	v.readRow()
	v.readSweeps()
	v.readCatalogue()
	v.readDead()
	v.readTables()
	v.readRuns()
	v.replaced()
}

func (v *survey) readHead() {
	v.headless = true
	err := v.walk(nsKey(kindHead, v.num), func(key, value []byte) {
		if len(key) > 5 {
			v.wrong(PartHead, -1, -1, "a key of %d bytes, not of 5", len(key))
			return
		}
		v.headless = false
		if v.head, v.hasHead = parseHead(value); !v.hasHead {
			v.head = newHead()
			v.wrong(PartHead, -1, -1, "it does not parse")
		}
	})
	if err != nil {
		v.hasHead, v.headless = false, false
		v.wrong(PartHead, -1, -1, "it cannot be read: %v", err)
	}
	v.hasHead = v.hasHead || v.headless
}

func (v *survey) readRow() {
	var value []byte
	err := v.walk(nsKey(kindRow, v.num), func(_, b []byte) { value = slices.Clone(b) })
	ok := err == nil
	if ok {
		v.row, ok = parseRow(value, v.s.secret)
	}
	switch {
	case err != nil:
		v.wrong(PartRow, -1, -1, "it cannot be read: %v", err)
	case !ok:
		v.wrong(PartRow, -1, -1, "it does not parse")
	case v.hasHead && v.row.ledger(v.s.secret) != v.head.row:
		v.wrong(PartRow, -1, -1, "it is not the one that the newest batch wrote")
	default:
		return
	}
	v.row, v.rowIsBad = row{}, true
}

func (v *survey) readSweeps() {
	value, err := v.value(nsKey(kindSweeps, v.num))
	var ok bool
	v.sweeps, ok = parseSweeps(value)
	switch {
	case err != nil:
		v.wrong(PartSweeps, -1, -1, "they cannot be read: %v", err)
	case !ok:
		v.wrong(PartSweeps, -1, -1, "they do not parse")
	case v.hasHead && sumOfSweeps(value) != v.head.sweeps:
		v.wrong(PartSweeps, -1, -1, "they are not those that the newest batch wrote")
	}
}

func (v *survey) readCatalogue() {
	err := v.walk(nsKey(kindCat, v.num), func(key, value []byte) {
		num, ok := segOf(key)
		if !ok {
			v.wrong(PartCatalogue, -1, -1, "a key does not parse")
			return
		}
		g := v.at(num)
		g.catalogue, g.doubt = true, false
		if f, ok := parseFacts(value); !ok || f.num != num {
			v.wrong(PartCatalogue, int64(num), -1, "its entry does not parse")
		} else {
			v.know(g, f)
		}
	})
	if err != nil {
		v.unreadable(PartCatalogue, err)
	}
}

func (v *survey) know(g *surveyed, f facts) {
	g.facts, g.seeds, g.known = f, f.seedsOf(v.s.secret), true
}

// unreadable tells of a range that cannot be read to its end: what else is in it
// is not known.
func (v *survey) unreadable(part Part, err error) {
	v.isLost = true
	v.wrong(part, -1, -1, "it cannot be read to its end: %v", err)
}

func (v *survey) readDead() {
	err := v.walk(nsKey(kindDead, v.num), func(key, _ []byte) {
		num, ok := segOf(key)
		switch {
		case !ok:
			v.wrong(PartDead, -1, -1, "a key does not parse")
		case v.segments[num] != nil:
			v.wrong(PartDead, int64(num), -1, "it is in the catalogue, and dropped")
		default:
			v.dead[num] = true
		}
	})
	if err != nil {
		v.unreadable(PartDead, err)
	}
}

// readTables reads the headers of the tables that the catalogue names, and finds
// those that it does not: between the numbers that are known, so that damage in
// one table hides no other.
func (v *survey) readTables() {
	from := uint64(0)
	known := append(v.numbers(), slices.Collect(maps.Keys(v.dead))...)
	slices.Sort(known)
	for _, num := range known {
		v.findTables(segKey(kindPage, v.num, from), segKey(kindPage, v.num, num))
		if !v.dead[num] {
			v.readHeader(num)
		}
		from = num + 1
	}
	v.findTables(segKey(kindPage, v.num, from), after(nsKey(kindPage, v.num)))
	v.findShared()
}

// findShared finds the shared tables that the catalogue does not know: damage, for
// entry and table come and go together.
func (v *survey) findShared() {
	from := nsKey(kindShared, v.num)
	for _, num := range v.numbers() {
		if v.segments[num].shared {
			known := segKey(kindShared, v.num, num)
			v.strayShared(from, known)
			from = after(known)
		}
	}
	v.strayShared(from, after(nsKey(kindShared, v.num)))
}

func (v *survey) strayShared(from, to []byte) {
	for bytes.Compare(from, to) < 0 {
		key, err := v.first(from, to)
		num, ok := segOf(key)
		switch {
		case err != nil:
			v.wrong(PartTable, -1, -1, "a shared table that the catalogue does not know cannot be read: %v", err)
			return
		case key == nil:
			return
		case !ok:
			v.wrong(PartKeys, -1, -1, "the key of a shared table does not parse")
			return
		}
		v.wrong(PartTable, int64(num), -1, "its shared table belongs to nothing: the catalogue does not name it")
		v.at(num).strayed = true
		from = after(segKey(kindShared, v.num, num))
	}
}

// findTables reads the headers of the tables in a range of keys.
func (v *survey) findTables(from, to []byte) {
	for bytes.Compare(from, to) < 0 {
		key, err := v.first(from, to)
		num, ok := segOf(key)
		switch {
		case err != nil:
			v.wrong(PartTable, -1, -1, "a table that the catalogue does not know cannot be read: %v", err)
			return
		case key == nil:
			return
		case !ok:
			v.wrong(PartKeys, -1, -1, "the key of a page does not parse")
			return
		}
		v.readHeader(num)
		from = segKey(kindPage, v.num, num+1)
	}
}

// first returns the first key of a range, nil when there is none.
func (v *survey) first(from, to []byte) (key []byte, err error) {
	err = guarded(func() error {
		it, err := v.clone(from, to)
		if err != nil {
			return err
		}
		defer func() { _ = it.Close() }() // its error was met by the step that met it
		if it.First() {
			key = slices.Clone(it.Key())
		}
		return it.Error()
	})
	return key, err
}

// numbers returns the segments' numbers, in order.
func (v *survey) numbers() []uint64 { return slices.Sorted(maps.Keys(v.segments)) }

func (v *survey) readHeader(num uint64) {
	g := v.at(num)
	g.table = true
	if g.shared {
		return // it has none: its entry came with it
	}
	from := segKey(kindPage, v.num, num)
	if key, err := v.first(from, after(from)); err == nil && key == nil {
		g.table = false
		v.wrong(PartTable, int64(num), -1, "it is in the catalogue, and has none")
		return
	}
	header, err := v.value(tableKey(nil, v.num, num, partHeader, 0))
	f, ok := parseFacts(header)
	switch {
	case err != nil:
		v.wrong(PartHeader, int64(num), -1, "it cannot be read: %v", err)
	case header == nil:
		v.wrong(PartHeader, int64(num), -1, "the table has none")
	case !ok || f.num != num:
		v.wrong(PartHeader, int64(num), -1, "it does not parse")
	case !g.known && !g.catalogue:
		v.know(g, f)
	case !g.known:
	case !bytes.Equal(g.facts.append(nil), header):
		g.doubt = true
		v.wrong(PartHeader, int64(num), -1, "it is not what the catalogue says")
	}
}

// value returns a copy of a value, nil when there is none.
func (v *survey) value(key []byte) (value []byte, err error) {
	err = v.walk(key, func(k, b []byte) {
		if bytes.Equal(k, key) {
			value = append([]byte{}, b...)
		}
	})
	return value, err
}

// readRuns reads the runs, and sums up what they accepted.
func (v *survey) readRuns() {
	err := v.walk(nsKey(kindRun, v.num), func(key, value []byte) {
		num, ok := segOf(key)
		if !ok || len(key) != 21 {
			v.wrong(PartRun, -1, -1, "a key does not parse")
			return
		}
		v.readRun(num, decodeSeq(key), value)
	})
	if err != nil {
		v.unreadable(PartRun, err)
	}
	for _, num := range v.numbers() {
		g := v.segments[num]
		switch {
		case g.catalogue || g.merged():
		case g.runs == 0:
			v.wrong(PartTable, int64(num), -1, "it belongs to nothing: neither the catalogue nor a run names it")
		case g.table && g.known && g.accepted != g.all:
			v.wrong(PartTable, int64(num), -1, "it does not hold what its runs do")
		case !g.table:
			g.all = g.accepted
		}
	}
}

func decodeSeq(key []byte) uint64 {
	d := decoder{b: key[13:]}
	return d.uint64()
}

// readRun reads one run, the seq-th of its segment.
func (v *survey) readRun(num, seq uint64, value []byte) {
	g := v.at(num)
	v.report.Runs++
	b, entries, opened, high, ok := parseRun(value)
	if !ok {
		v.wrong(PartRun, int64(num), -1, "run %d does not parse", seq)
		return
	}
	if !g.known {
		v.know(g, facts{num: num, from: placeOfNum(num), bases: []base{b}, opened: opened, low: b.first, high: high})
	}
	switch {
	case g.catalogue || g.merged():
		v.wrong(PartRun, int64(num), -1, "run %d should have gone with the table's entry in the catalogue", seq)
	case g.bases[0] != b:
		v.wrong(PartRun, int64(num), -1, "run %d has another base", seq)
	case seq != g.runs:
		v.wrong(PartRun, int64(num), -1, "run %d follows on %d runs", seq, g.runs)
	}
	g.runs = seq + 1
	if !g.table {
		g.high = max(g.high, high)
	}
	whole := g.eachIn(entries, v.s.secret, func(e *stored) {
		v.report.Markers++
		g.accepted.add(e.proof(g.seeds))
		v.ahead(g, e)
		if !g.table {
			g.low, g.high = min(g.low, e.first), max(g.high, e.first)
		}
	})
	if !whole {
		v.wrong(PartRun, int64(num), -1, "run %d ends in what is no entry", seq)
	}
}

// parseRun reads what run.append wrote.
func parseRun(value []byte) (b base, entries []byte, opened, high int64, ok bool) {
	b, rest, ok := parseBase(value)
	d := decoder{b: rest}
	opened, high = b.first+d.varint(), b.first+d.varint()
	return b, d.b, opened, high, ok && !d.bad
}

// ahead notes a marker of an offset that the position has not passed.
func (v *survey) ahead(g *surveyed, e *stored) {
	l := v.head.pos
	if !e.tombstone() && !e.origin.IsZero() && v.head.hasPos && e.origin.sameLog(l) && e.origin.Offset >= l.Offset {
		g.beyond = true
	}
}

// replaced takes out what a merged table replaces, where the batch that says so
// was not durable.
func (v *survey) replaced() {
	for _, num := range v.numbers() {
		g := v.segments[num]
		if g == nil || !g.merged() || g.catalogue || !g.known {
			continue
		}
		var sum ledger
		for _, old := range v.numbers() {
			if old < num && placeOfNum(old) >= g.from {
				sum.add(v.segments[old].all)
				g.olds = append(g.olds, v.segments[old])
			}
		}
		if sum != g.all {
			v.wrong(PartTable, int64(num), -1, "it does not hold what the segments hold that it was merged from")
			g.spare = len(g.olds) > 0
			continue
		}
		for _, old := range g.olds {
			delete(v.segments, old.num)
		}
	}
}

// recall puts the segments that a merged one was made of in its place, which does
// not prove. They are still to be proved.
func (v *survey) recall(g *surveyed) (nums []uint64) {
	if !g.bad || g.spare || len(g.olds) == 0 {
		return nil
	}
	g.spare = true
	for _, old := range g.olds {
		v.segments[old.num] = old
		nums = append(nums, old.num)
	}
	return nums
}
