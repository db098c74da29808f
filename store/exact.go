package store

import "runtime"

// exact holds markers that are in no table on disk, or in memory beside it: it
// answers without reading. A batch fills one of its own for every segment it
// touches; once it is durable the segment absorbs it.
type exact struct {
	arena arena
	table table
}

func newExact(expect int) *exact { return &exact{table: tableFor(expect)} }

// segmentBytes is what a segment takes beside its markers: where there are only a
// handful of them in each, it counts.
const segmentBytes = 512

// bytes returns what the budget is told: all that a segment in memory takes.
func (x *exact) bytes() int64 { return segmentBytes + x.arena.size + x.table.bytes() }

// clear forgets everything and keeps the memory for the next batch.
func (x *exact) clear() {
	x.arena.clear()
	x.table.clear()
}

// slot returns the index of the slot of an ID, -1 when there is none.
func (x *exact) slot(id ident) int {
	tag := tagOf(id.hash.Hi)
	for i := x.table.home(tag); i < len(x.table.slots); i++ {
		s := x.table.slots[i]
		if s == 0 {
			return -1
		}
		if uint32(s>>32) == tag && startsWith(x.arena.at(placeOf(s)), id.text) {
			return i
		}
	}
	return -1
}

// find returns the entry of an ID, nil when there is none.
func (x *exact) find(id ident) []byte {
	i := x.slot(id)
	if i < 0 {
		return nil
	}
	return x.arena.at(placeOf(x.table.slots[i]))
}

// put appends an entry and points the ID's slot at it. before is the entry that
// the slot pointed at, nil when the ID is new here. ok is false, with nothing
// changed, when there is no room.
func (x *exact) put(id ident, b base, m marker) (before []byte, ok bool) {
	return x.putAs(id.text, id, b, m)
}

// putAs is put of an entry whose text is id's, or id's extended.
func (x *exact) putAs(text []byte, id ident, b base, m marker) (before []byte, ok bool) {
	tail, place, ok := x.arena.room(len(text) + 20)
	if !ok {
		return nil, false
	}
	if before, ok = x.point(tagOf(id.hash.Hi), place, text); ok {
		x.arena.fill(b.appendEntry(tail, text, m))
	}
	return before, ok
}

// point makes the slot of an ID point at a place, in a larger table when it has
// to be. before is the entry that it pointed at, nil when there was no slot.
func (x *exact) point(tag, place uint32, text []byte) (before []byte, ok bool) {
	for {
		for i := x.table.home(tag); i < len(x.table.slots); i++ {
			s := x.table.slots[i]
			if s == 0 {
				if overloaded(x.table.n+1, x.table.bits) {
					break
				}
				x.table.slots[i] = slotOf(tag, place)
				x.table.n++
				return nil, true
			}
			if uint32(s>>32) == tag {
				if e := x.arena.at(placeOf(s)); startsWith(e, text) {
					x.table.slots[i] = slotOf(tag, place)
					return e, true
				}
			}
		}
		if x.table.bits == tableMax {
			return nil, false
		}
		x.table = x.table.grown()
	}
}

// absorb takes over all entries of another exact and calls replaced for every
// entry of this one that a newer one of the same ID replaces. It goes through
// the other's slots, in the order of hashes, a group at a time, so that the
// cache misses of a group overlap.
func (x *exact) absorb(from *exact, replaced func(entry []byte)) bool {
	var some [32]moved
	moves, ok := x.arena.take(&from.arena, some[:0])
	if !ok {
		return false
	}
	x.table.shadow = nil
	if bits := bitsFor(x.table.n + from.table.n); bits > x.table.bits {
		x.table = x.table.grownTo(bits)
	}
	var warm uint64
	var near [group]uint64
	n := 0
	flush := func() bool {
		for _, s := range near[:n] {
			warm += x.table.near(uint32(s >> 32))
		}
		for _, s := range near[:n] {
			place := placeOf(s)
			for _, m := range moves {
				if place < m.end {
					place += m.by
					break
				}
			}
			e := x.arena.at(place)
			before, ok := x.point(uint32(s>>32), place, e[:textLen(e)])
			if !ok {
				return false
			}
			if before != nil {
				replaced(before)
			}
		}
		n = 0
		return true
	}
	for _, s := range from.table.slots {
		if s == 0 {
			continue
		}
		near[n] = s
		if n++; n == group && !flush() {
			return false
		}
	}
	ok = flush()
	runtime.KeepAlive(warm)
	return ok
}

// each calls fn for every entry in arrival order, tombstones too: its ID, its
// marker and the place where it stands. It reports false where an entry is
// damaged.
func (x *exact) each(b base, secret uint64, fn func(id ident, m marker, place uint32)) bool {
	for c, chunk := range x.arena.chunks {
		for off := 0; off < len(chunk); {
			n, m, size := b.parse(chunk[off:])
			if size == 0 {
				return false
			}
			fn(keyed(plainText(chunk[off:off+n]), secret), m, uint32(c)<<chunkBits|uint32(off))
			off += size
		}
	}
	return true
}

// keyed returns the ident of an ID's text.
func keyed(text []byte, secret uint64) ident {
	return ident{text: text, hash: hashText(text, secret)}
}
