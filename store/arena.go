package store

import "slices"

// arena keeps entries in arrival order, in chunks that never move: it grows
// without copying, and a reader of a frozen segment needs no lock.
//
// A place in it is chunk<<20 | offset. An entry never spans two chunks.
type arena struct {
	chunks [][]byte // full slices up to their length; the last one is filled
	size   int64    // allocated bytes
}

const (
	chunkBits = 20
	chunkMax  = 1 << chunkBits
	chunkMin  = 256
	chunksMax = 1 << (32 - chunkBits)
)

// room returns the last chunk with space for n more bytes, and the place where
// they will stand. ok is false when the arena is full.
func (a *arena) room(n int) (tail []byte, place uint32, ok bool) {
	i := len(a.chunks) - 1
	if i < 0 || cap(a.chunks[i])-len(a.chunks[i]) < n {
		if i+1 == chunksMax {
			return nil, 0, false
		}
		a.grow(n)
		i++
	}
	return a.chunks[i], uint32(i)<<chunkBits | uint32(len(a.chunks[i])), true
}

// grow adds a chunk for n bytes or more, up to a whole one. Chunks grow with the
// arena: a small namespace costs what it holds.
func (a *arena) grow(n int) {
	c := slices.Grow([]byte(nil), min(max(n, int(a.size/2), chunkMin), chunkMax)) // what is allocated is counted
	a.chunks = append(a.chunks, c)
	a.size += int64(cap(c))
}

// fill sets the last chunk to tail, as room returned it, with bytes appended.
func (a *arena) fill(tail []byte) { a.chunks[len(a.chunks)-1] = tail }

// at returns the bytes from a place on: its entry, and those behind it in the
// same chunk.
func (a *arena) at(place uint32) []byte {
	return a.chunks[place>>chunkBits][place&(chunkMax-1):]
}

// moved says where entries of another arena stand after take: those at places
// below end are found at their place + by, modulo 2^32.
type moved struct{ end, by uint32 }

// take appends the entries of another arena, whole. ok is false when they do
// not fit; the arena is then of no use any more.
func (a *arena) take(from *arena, moves []moved) (_ []moved, ok bool) {
	for c, chunk := range from.chunks {
		for off := 0; off < len(chunk); {
			rest := chunk[off:]
			first := entryLen(rest)
			if last := len(a.chunks) - 1; last < 0 || cap(a.chunks[last])-len(a.chunks[last]) < first {
				first = len(rest) // a new chunk is one for all of them
			}
			tail, place, ok := a.room(first)
			if !ok {
				return nil, false
			}
			n := len(rest)
			if space := cap(tail) - len(tail); n > space {
				n = entriesWithin(rest, space)
			}
			a.fill(append(tail, rest[:n]...))
			src := uint32(c)<<chunkBits | uint32(off)
			off += n
			moves = append(moves, moved{uint32(c)<<chunkBits + uint32(off), place - src})
		}
	}
	return moves, true
}

// entriesWithin returns how many bytes of entries, whole ones, fit into space.
func entriesWithin(entries []byte, space int) int {
	n := 0
	for n < len(entries) {
		size := entryLen(entries[n:])
		if n+size > space {
			break
		}
		n += size
	}
	return n
}

// used returns how many bytes its entries take.
func (a *arena) used() (bytes int64) {
	for _, chunk := range a.chunks {
		bytes += int64(len(chunk))
	}
	return bytes
}

// clear forgets all entries and keeps one chunk for the next ones.
func (a *arena) clear() {
	if len(a.chunks) > 1 {
		size := int(min(a.size, chunkMax))
		*a = arena{}
		a.grow(size)
	}
	if len(a.chunks) == 1 {
		a.chunks[0] = a.chunks[0][:0]
	}
}

// appendTo appends all entries to dst.
func (a *arena) appendTo(dst []byte) []byte {
	for _, chunk := range a.chunks {
		dst = append(dst, chunk...)
	}
	return dst
}
