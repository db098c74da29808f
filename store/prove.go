package store

import "github.com/cockroachdb/pebble/v2"

// proveStep is how many pages are proved before somebody else may have a word.
const proveStep = 512

// prove reads everything of the namespace and proves it. more is called again
// and again between two reads; its error ends the reading.
func (v *survey) prove(more func() error) error {
	v.layout()
	for nums := v.numbers(); len(nums) > 0; nums = nums[1:] {
		num := nums[0]
		g := v.segments[num]
		v.report.Segments++
		if v.hasHead && placeOfNum(num) >= v.head.next {
			v.wrong(PartTable, int64(num), -1, "it is newer than the head, which ends at place %d", v.head.next)
		}
		if g.table && g.known {
			if err := v.proveTable(g, more); err != nil {
				return err
			}
		}
		if err := more(); err != nil {
			return err
		}
		nums = append(nums, v.recall(g)...)
	}
	v.proveSum()
	v.proveOutputs()
	v.proveAges()
	err := v.proveState(more)
	if v.headless && (len(v.segments) > 0 || len(v.row.list) > 0 || v.rowIsBad || v.leftovers) {
		v.wrong(PartHead, -1, -1, "it is gone: a batch that wrote anything wrote one")
	}
	return err
}

// proveSum holds what the segments accepted against the sum in the head.
func (v *survey) proveSum() {
	v.sum = v.row.ledger(v.s.secret)
	for _, g := range v.segments {
		if !g.spare {
			v.sum.add(g.all)
		}
	}
	if !v.hasHead || v.sum == v.head.sum {
		return
	}
	v.isLost = true
	if v.sum.n == v.head.sum.n {
		v.wrong(PartSum, -1, -1, "%d markers are there, but they are not those that were acknowledged", v.sum.n)
		return
	}
	v.wrong(PartSum, -1, -1, "%d markers are there, %d were acknowledged", v.sum.n, v.head.sum.n)
}

// tableProof is a table on its way from the first page to the last.
type tableProof struct {
	*survey
	g      *surveyed
	it     *pebble.Iterator
	page   uint32
	sum    ledger
	filter *filter // nil when it is damaged
}

func (v *survey) proveTable(g *surveyed, more func() error) (err error) {
	p := &tableProof{survey: v, g: g}
	p.readFilter()
	from := g.key(nil, v.num, partPage, 0)
	err = guarded(func() (err error) {
		if p.it, err = v.clone(from, g.key(nil, v.num, partFilter, 0)); err == nil {
			p.it.First()
		}
		return err
	})
	if p.it != nil {
		defer func() { _ = guarded(p.it.Close) }() // its error was met by the step that met it
	}
	for err == nil && p.page < g.pages {
		err = guarded(p.step)
		if stop := more(); stop != nil {
			return stop
		}
	}
	if err == nil && p.it.Valid() {
		v.wrong(PartTable, int64(g.num), -1, "it has more than %d pages", g.pages)
	}
	if err != nil {
		v.wrong(PartPage, int64(g.num), int64(p.page), "it cannot be read: %v", err)
		return nil
	}
	v.report.Pages += uint64(g.pages)
	if p.sum.add(g.superseded); p.sum != g.all {
		v.wrong(PartTable, int64(g.num), -1, "it does not hold what it accepted: %d markers, not %d", p.sum.n, g.all.n)
	}
	return nil
}

// step proves some pages.
func (p *tableProof) step() error {
	var key [18]byte
	for range proveStep {
		if p.page == p.g.pages {
			return nil
		}
		want := p.g.key(key[:0], p.num, partPage, p.page)
		if !p.it.Valid() || string(p.it.Key()) != string(want) {
			if err := p.it.Error(); err != nil {
				return err
			}
			p.wrong(PartPage, int64(p.g.num), int64(p.page), "it is missing")
			if p.page++; !p.it.SeekGE(p.g.key(key[:0], p.num, partPage, p.page)) {
				p.page = p.g.pages
				return p.it.Error()
			}
			continue
		}
		content, err := p.it.ValueAndErr()
		if err != nil {
			return err
		}
		p.report.Bytes += uint64(len(want) + len(content))
		p.provePage(content)
		p.page++
		if !p.it.Next() {
			if err := p.it.Error(); err != nil {
				return err
			}
		}
	}
	return nil
}

// provePage proves that every entry of a page belongs there, and that whoever
// looks it up finds it.
func (p *tableProof) provePage(content []byte) {
	var astray, hidden, untimely int
	whole := p.g.eachIn(content, p.s.secret, func(e *stored) {
		p.report.Markers++
		p.sum.add(e.proof(p.g.seeds))
		p.ahead(p.g, e)
		if pageOf(e.hash.Hi, p.g.pages) != p.page {
			astray++
		}
		if p.filter != nil && !p.filter.maybe(e.hash) {
			hidden++
		}
		if e.first < p.g.low || e.first > p.g.high {
			untimely++
		}
	})
	at := func(format string, args ...any) { p.wrong(PartPage, int64(p.g.num), int64(p.page), format, args...) }
	if !whole {
		at("it ends in what is no entry")
	}
	if astray > 0 {
		at("%d markers belong into other pages", astray)
	}
	if hidden > 0 {
		at("%d markers are ruled out by the filter", hidden) // I7
	}
	if untimely > 0 {
		at("%d markers are older or newer than the table says", untimely)
	}
}

// readFilter reads the filter. What is wrong with it harms nobody: it is made
// anew where it is needed.
func (p *tableProof) readFilter() {
	var raw []byte
	chunks := uint32(0)
	ordered := true
	err := p.walk(p.g.key(nil, p.num, partFilter, 0)[:14], func(key, value []byte) {
		d := decoder{b: key[14:]}
		ordered = ordered && d.uint32() == chunks
		chunks++
		raw = append(raw, value...)
	})
	at := func(format string, args ...any) { p.wrong(PartFilter, int64(p.g.num), -1, format, args...) }
	if err != nil {
		at("it cannot be read: %v", err)
		return
	}
	words, err := p.g.wordsOf(raw)
	if err != nil || !ordered {
		at("it is not the one that was written")
		return
	}
	p.filter = newFilter(words)
}

// proveOutputs proves the staged outputs: whole, and none missing in between.
func (v *survey) proveOutputs() {
	var batch uint64
	next := uint32(0)
	err := v.walk(nsKey(kindOut, v.num), func(key, value []byte) {
		v.report.Outputs++
		v.leftovers = true
		if len(key) != 17 {
			v.wrong(PartOutputs, -1, -1, "a key does not parse")
			return
		}
		d := decoder{b: key[5:]}
		seq, index := d.uint64(), d.uint32()
		if seq != batch {
			batch, next = seq, 0
		}
		if index != next {
			v.wrong(PartOutputs, -1, -1, "output %d of batch %d follows on %d outputs", index, seq, next)
		}
		next = index + 1
		if v.hasHead && seq > v.head.sequence {
			v.wrong(PartOutputs, -1, -1, "output %d is of batch %d, the newest batch is %d", index, seq, v.head.sequence)
		}
		d = decoder{b: value}
		d.position()
		d.uvarint()
		if d.bad {
			v.wrong(PartOutputs, -1, -1, "output %d of batch %d does not parse", index, seq)
		}
	})
	if err != nil {
		v.wrong(PartOutputs, -1, -1, "they cannot be read to their end: %v", err)
	}
}

func (v *survey) proveAges() {
	value, err := v.value(nsKey(kindAges, v.num))
	if err != nil {
		v.wrong(PartAges, -1, -1, "they cannot be read: %v", err)
	} else if _, ok := parseAges(value); !ok && value != nil {
		v.wrong(PartAges, -1, -1, "they do not parse")
	}
}

// proveState reads the state, which is the user's: the checksums of its blocks
// prove it.
func (v *survey) proveState(more func() error) error {
	keys := uint64(0)
	err := v.walk(nsKey(kindState, v.num), func(_, _ []byte) { keys++ })
	v.report.StateKeys += keys
	v.leftovers = v.leftovers || keys > 0
	switch {
	case err != nil:
		v.wrong(PartState, -1, -1, "it cannot be read to its end: %v", err)
	case keys > 0 && v.hasHead && !v.head.hasState:
		v.wrong(PartState, -1, -1, "%d keys are there, and no batch wrote any", keys)
	}
	return more()
}
