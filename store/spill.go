package store

import (
	"encoding/binary"

	"github.com/zeebo/xxh3"
)

const (
	pageMarkers = 64       // a page holds between 32 and 64 markers on average
	chunkBytes  = 32 << 10 // of the filter, per key
	syncEvery   = 512 << 10
)

// pagesFor returns the number of pages of n markers, a power of two.
func pagesFor(n uint64) uint32 {
	pages := uint32(1)
	for uint64(pages)*pageMarkers < n {
		pages *= 2
	}
	return pages
}

// spill writes the table of a frozen segment. It fails, and leaves no file,
// unless what it wrote proves to be what the segment accepted. keep is called for
// every page; it copies what it keeps.
func (s *Store) spill(ns uint32, g *segment, keep func(page []byte)) (*tableWriter, error) {
	f := g.facts
	f.pages = pagesFor(f.live())
	w, err := s.newTable(ns, f)
	if err != nil {
		return nil, err
	}
	w.keep = keep
	if err = w.writePages(g, s.secret); err == nil {
		err = w.end()
	}
	if err != nil {
		return nil, w.failed(err)
	}
	return w, nil
}

// byPage returns the places of the entries that still stand, page after page,
// and where each page ends. A slot's tag tells its page: no entry is read.
func (x *exact) byPage(pages uint32) (places, ends []uint32) {
	ends = make([]uint32, pages)
	pageOfSlot := func(s uint64) uint32 { return pageOf(s, pages) }
	for _, s := range x.table.slots {
		if s != 0 {
			ends[pageOfSlot(s)]++
		}
	}
	total := uint32(0)
	for p := range ends {
		n := ends[p]
		ends[p] = total // where it starts, for now
		total += n
	}
	places = make([]uint32, total)
	for _, s := range x.table.slots {
		if s != 0 {
			p := pageOfSlot(s)
			places[ends[p]] = placeOf(s)
			ends[p]++
		}
	}
	return places, ends
}

func appendWords(dst []byte, words []uint64) []byte {
	for _, w := range words {
		dst = binary.LittleEndian.AppendUint64(dst, w)
	}
	return dst
}

// wordsOf reads a filter as it was stored and checks it: one flipped bit in a
// filter would make members unknown.
func (f *facts) wordsOf(raw []byte) ([]uint64, error) {
	if len(raw) != int(f.words)*8 || xxh3.Hash(raw) != f.filterSum {
		return nil, corruptf("segment %d: its filter is not the one that was written", f.num)
	}
	words := make([]uint64, f.words)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(raw[i*8:])
	}
	return words, nil
}
