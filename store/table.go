package store

// table finds entries of an arena by hash: open addressing with linear probing
// over 8-byte slots, and spare slots at the end instead of wrapping around.
//
//	slot = tag (32 bits) | place in the arena + 1 (32 bits); 0 is empty
//
// The tag is the hash's top 32 bits, and the home slot the top bits of the tag:
// so a table doubles in one pass over its slots, without reading an entry.
type table struct {
	slots []uint64
	bits  uint // 1<<bits homes
	n     int  // filled slots

	shadow []uint64 // see shade; nil: none
}

const (
	tableMin   = 4  // bits
	tableMax   = 26 // bits, far above what a segment may hold
	tableSpare = 64 // slots behind the last home, fewer where there are fewer homes
)

func newTable(bits uint) table {
	return table{slots: make([]uint64, slotsOf(bits)), bits: bits}
}

func slotsOf(bits uint) int { return 1<<bits + min(1<<bits, tableSpare) }

// tableFor returns a table that takes n entries without growing.
func tableFor(n int) table { return newTable(bitsFor(n)) }

// bitsFor returns the bits of a table that takes n entries.
func bitsFor(n int) uint {
	bits := uint(tableMin)
	for bits < tableMax && overloaded(n, bits) {
		bits++
	}
	return bits
}

// fit gives an empty table the size for n entries, in the memory that it has if
// that suffices: going through a table that was large once is slow. With n = 0
// it stays as it is.
func (t *table) fit(n int) {
	if n == 0 {
		return
	}
	bits := bitsFor(n)
	if slotsOf(bits) > cap(t.slots) {
		*t = newTable(bits)
		return
	}
	t.slots, t.bits = t.slots[:slotsOf(bits)], bits
}

// overloaded reports a load above 0.65: from there clusters grow fast.
func overloaded(n int, bits uint) bool { return n > 13<<bits/20 }

func (t *table) bytes() int64 { return int64(cap(t.slots)+len(t.shadow)) * 8 }

func (t *table) home(tag uint32) int { return int(tag >> (32 - t.bits)) }

func tagOf(hi uint64) uint32 { return uint32(hi >> 32) }

func slotOf(tag, place uint32) uint64 { return uint64(tag)<<32 | uint64(place+1) }

func placeOf(slot uint64) uint32 { return uint32(slot) - 1 }

// clear empties the table.
func (t *table) clear() {
	if t.n > 0 {
		clear(t.slots)
		t.n = 0
	}
}

// shade gives a table that will not change any more a shadow: eight bits a home,
// set where a tag begins so. An eighth of the memory then tells of most absent IDs
// that they are absent: where many namespaces take turns, that eighth is still in
// the processor's caches.
func (t *table) shade() {
	t.shadow = make([]uint64, 1<<t.bits/8)
	for _, s := range t.slots {
		if s != 0 {
			i := uint32(s>>32) >> (29 - t.bits)
			t.shadow[i/64] |= 1 << (i % 64)
		}
	}
}

// shaded reports whether there may be a slot with a tag, and touch loads what
// that takes to tell.
func (t *table) shaded(tag uint32) bool {
	if t.shadow == nil {
		return true
	}
	i := tag >> (29 - t.bits)
	return t.shadow[i/64]>>(i%64)&1 != 0
}

func (t *table) touch(tag uint32) uint64 {
	if t.shadow == nil {
		return t.near(tag)
	}
	return t.shadow[tag>>(29-t.bits)/64]
}

// near loads the home of a tag.
func (t *table) near(tag uint32) uint64 { return t.slots[t.home(tag)] }

// insert puts a slot behind the filled ones of its home. It reports false when
// the neighbourhood is full, which a larger table cures.
func (t *table) insert(slot uint64) bool {
	for i := t.home(uint32(slot >> 32)); i < len(t.slots); i++ {
		if t.slots[i] == 0 {
			t.slots[i] = slot
			t.n++
			return true
		}
	}
	return false
}

// grown returns a table of twice the homes with the same entries.
func (t *table) grown() table { return t.grownTo(t.bits + 1) }

// grownTo returns a table of 1<<bits homes with the same entries, or of more.
func (t *table) grownTo(bits uint) table {
	for ; ; bits++ {
		if g := newTable(bits); g.takeAll(t) || bits == tableMax {
			return g
		}
	}
}

func (t *table) takeAll(from *table) bool {
	for _, s := range from.slots {
		if s != 0 && !t.insert(s) {
			return false
		}
	}
	return true
}
