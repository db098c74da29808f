package store

import (
	"bytes"
)

// exact holds the markers of a segment that is not in a table on disk yet: it
// answers without reading. It is written by the namespace's owner alone until
// its segment closes, and never changes afterwards.
type exact struct {
	arena arena
	table table
}

func newExact(expect int) *exact { return &exact{table: tableFor(expect)} }

func (x *exact) bytes() int64 { return x.arena.size + x.table.bytes() }

// slot returns the index of the slot of an ID, -1 when there is none.
func (x *exact) slot(id ident) int {
	tag := tagOf(id.hash.Hi)
	for i := x.table.home(tag); i < len(x.table.slots); i++ {
		s := x.table.slots[i]
		if s == 0 {
			return -1
		}
		if uint32(s>>32) == tag && bytes.HasPrefix(x.arena.at(placeOf(s)), id.text) {
			return i
		}
	}
	return -1
}

// put appends an entry and points the ID's slot at it. before is the entry that
// the slot pointed at, nil when the ID is new here. ok is false, with nothing
// changed, when there is no room: the segment has to close.
func (x *exact) put(id ident, b base, m marker) (before []byte, ok bool) {
	tail, place, ok := x.arena.room(len(id.text) + 20)
	if !ok {
		return nil, false
	}
	i := x.slot(id)
	if i >= 0 {
		before = x.arena.at(placeOf(x.table.slots[i]))
		x.table.slots[i] = slotOf(tagOf(id.hash.Hi), place)
	} else if !x.add(slotOf(tagOf(id.hash.Hi), place)) {
		return nil, false
	}
	x.arena.fill(b.appendEntry(tail, id.text, m))
	return before, true
}

// add inserts a slot, in a larger table when it has to be.
func (x *exact) add(slot uint64) bool {
	if overloaded(x.table.n+1, x.table.bits) {
		if x.table.bits == tableMax {
			return false
		}
		x.table = x.table.grown()
	}
	for !x.table.insert(slot) {
		if x.table.bits == tableMax {
			return false
		}
		x.table = x.table.grown()
	}
	return true
}

// each calls fn for every entry in arrival order: its ID, its marker and the
// place where it stands. It reports false where an entry is damaged.
func (x *exact) each(b base, secret uint64, fn func(id ident, m marker, place uint32)) bool {
	for c, chunk := range x.arena.chunks {
		for off := 0; off < len(chunk); {
			n, m, size := b.parse(chunk[off:])
			if size == 0 {
				return false
			}
			text := chunk[off : off+n]
			fn(ident{text: text, hash: hashText(text, secret)}, m, uint32(c)<<chunkBits|uint32(off))
			off += size
		}
	}
	return true
}

// reset forgets what was added since m and builds the table anew.
func (x *exact) reset(m mark, b base, secret uint64) {
	x.arena.truncate(m)
	x.table = newTable(x.table.bits)
	x.each(b, secret, func(id ident, _ marker, place uint32) {
		if i := x.slot(id); i >= 0 {
			x.table.slots[i] = slotOf(tagOf(id.hash.Hi), place)
			return
		}
		x.add(slotOf(tagOf(id.hash.Hi), place))
	})
}

// keyed returns the ident of an ID's text.
func keyed(text []byte, secret uint64) ident {
	return ident{text: text, hash: hashText(text, secret)}
}
