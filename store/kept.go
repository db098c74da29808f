package store

// kept holds pages of a sealed segment in memory as well, as many as the budget
// allows: a duplicate of what they hold costs no read. They are the same bytes as
// in the table. They lie in slabs, one behind the other; the first slabs are given up
// first. The nil kept has none.
type kept struct {
	at    []uint32 // where each page begins, slab<<20 | offset; the last pages may be missing
	slabs [][]byte // nil: given up
	gone  int      // the slabs before this one are given up
	bytes int64    // allocated

	rest int64 // bytes of the pages that are still to come
	room func(bytes int64) bool
	full bool // none of them is kept
}

const (
	slabBits = 20
	slabMax  = 1 << slabBits
)

// newKept returns one that takes so many pages, of so many bytes in all. room is
// asked for the memory.
func newKept(pages uint32, bytes int64, room func(bytes int64) bool) *kept {
	return &kept{at: make([]uint32, 0, pages), bytes: int64(pages) * 4, rest: bytes, room: room}
}

// keep returns what takes the pages of a segment while its table is written, as far
// as nothing has to go for them that is in no table. They are held against the
// budget until counted is called.
func (s *Store) keep(g *segment) (k *kept, counted func()) {
	held := int64(0)
	room := func(bytes int64) bool {
		if s.unwritten.Load()+held+bytes > s.opts.Memory {
			return false
		}
		held += bytes
		s.memory.Add(bytes)
		return true
	}
	return newKept(pagesFor(g.live()), g.exact.arena.used(), room), func() { s.memory.Add(-held) }
}

// add appends the next page. When there is no room for it, neither it is kept nor any
// that follows.
func (k *kept) add(page []byte) {
	if k.full {
		return
	}
	last := len(k.slabs) - 1
	if last < 0 || cap(k.slabs[last])-len(k.slabs[last]) < len(page) || len(k.slabs[last]) >= slabMax {
		size := max(int64(len(page)), min(k.rest, slabMax))
		if k.full = !k.room(size); k.full {
			return
		}
		k.slabs = append(k.slabs, make([]byte, 0, size))
		k.bytes += size
		last++
	}
	k.at = append(k.at, uint32(last)<<slabBits|uint32(len(k.slabs[last])))
	k.slabs[last] = append(k.slabs[last], page...)
	k.rest -= int64(len(page))
}

// inKept looks an ID up in a page of the segment's table. kept is false when the page
// has to be read for that: it is not in memory, or what is there does not parse.
func (s *segment) inKept(page uint32, id ident) (m marker, ok, kept bool) {
	content, kept := s.table.kept.page(page)
	if kept {
		m, ok, kept = s.facts.find(content, id.text)
	}
	return m, ok, kept
}

// page returns the content of a page, and whether it is kept.
func (k *kept) page(i uint32) ([]byte, bool) {
	if k == nil || int(i) >= len(k.at) {
		return nil, false
	}
	slab, from := k.slabs[k.at[i]>>slabBits], k.at[i]&(slabMax-1)
	if slab == nil {
		return nil, false
	}
	if next := int(i) + 1; next < len(k.at) && k.at[next]>>slabBits == k.at[i]>>slabBits {
		slab = slab[:k.at[next]&(slabMax-1)]
	}
	return slab[from:], true
}

// near loads the beginning of a page.
func (k *kept) near(i uint32) byte {
	if page, ok := k.page(i); ok && len(page) > 0 {
		return page[0]
	}
	return 0
}

// release gives up slabs until excess bytes are gone, and returns what is left of
// excess.
func (k *kept) release(excess int64) int64 {
	for ; k.gone < len(k.slabs) && excess > 0; k.gone++ {
		n := int64(cap(k.slabs[k.gone]))
		k.slabs[k.gone] = nil
		k.bytes -= n
		excess -= n
	}
	return excess
}
