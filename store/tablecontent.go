package store

import (
	"runtime"

	"github.com/zeebo/xxh3"
)

// tableContent writes what a segment's table holds, wherever the table lies: pages,
// then the filter.
type tableContent struct {
	put    func(key, value []byte) error // keeps neither
	ns     uint32
	facts  facts // pages is set; what follows from the content is not yet
	filter *filter
	sum    ledger // of what was added
	key    []byte
	keep   func(page []byte) // keeps it in memory as well; nil: nobody does
}

func newTableContent(ns uint32, f facts) tableContent {
	return tableContent{ns: ns, facts: f, filter: newFilter(make([]uint64, filterWords(f.live())))}
}

// add enters a marker that is in the pages.
func (t *tableContent) add(hash xxh3.Uint128, p ledger) {
	t.filter.add(hash)
	t.sum.add(p)
}

func (t *tableContent) writeKey(part byte, index uint32, value []byte) error {
	t.key = t.facts.key(t.key[:0], t.ns, part, index)
	return t.put(t.key, value)
}

// writePages writes the pages of a segment in memory. It fails unless what it
// wrote proves to be what the segment accepted.
func (t *tableContent) writePages(g *segment, secret uint64) error {
	places, ends := g.exact.byPage(t.facts.pages)
	var page []byte
	var warm byte
	from := 0
	b, seed := g.base(), g.seeds[0]
	for p := range t.facts.pages {
		page = page[:0]
		for _, place := range places[from:ends[p]] {
			warm += g.exact.arena.at(place)[0] // a page's cache misses overlap
		}
		for _, place := range places[from:ends[p]] {
			e := g.exact.arena.at(place)
			n, m, size := b.parse(e)
			if size == 0 {
				return corruptf("segment %d: an entry in memory does not parse", g.num)
			}
			hash := hashText(plainText(e[:n]), secret)
			t.add(hash, proofAs(e, hash, m, seed))
			page = append(page, e[:size]...)
		}
		runtime.KeepAlive(warm)
		from = int(ends[p])
		if err := t.writeKey(partPage, p, page); err != nil {
			return err
		}
		if t.keep != nil {
			t.keep(page)
		}
	}
	if t.sum.add(g.superseded); t.sum != g.all {
		return corruptf("segment %d: its markers in memory are not the ones it accepted", g.num)
	}
	return nil
}

// writeFilter writes the filter of everything that was added.
func (t *tableContent) writeFilter() error {
	raw := appendWords(make([]byte, 0, len(t.filter.words)*8), t.filter.words)
	t.facts.words, t.facts.filterSum = uint32(len(t.filter.words)), xxh3.Hash(raw)
	for i := 0; i*chunkBytes < len(raw); i++ {
		chunk := raw[i*chunkBytes : min((i+1)*chunkBytes, len(raw))]
		if err := t.writeKey(partFilter, uint32(i), chunk); err != nil {
			return err
		}
	}
	return nil
}

// sealed returns what answers for the table.
func (t *tableContent) sealed() *sealed {
	return &sealed{pages: t.facts.pages, filter: t.filter, filterSum: t.facts.filterSum}
}
