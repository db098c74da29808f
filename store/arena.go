package store

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
	chunkMin  = 4 << 10
	chunksMax = 1 << (32 - chunkBits)
)

// mark is how far an arena was filled at some moment.
type mark struct{ chunk, off int }

func (a *arena) mark() mark {
	if len(a.chunks) == 0 {
		return mark{}
	}
	return mark{len(a.chunks) - 1, len(a.chunks[len(a.chunks)-1])}
}

// room returns the last chunk with space for n more bytes, and the place where
// they will stand. ok is false when the arena is full.
func (a *arena) room(n int) (tail []byte, place uint32, ok bool) {
	i := len(a.chunks) - 1
	if i < 0 || cap(a.chunks[i])-len(a.chunks[i]) < n {
		if i+1 == chunksMax {
			return nil, 0, false
		}
		// Doubling: a small namespace costs what it holds.
		c := max(min(chunkMin<<(i+1), chunkMax), n)
		a.chunks = append(a.chunks, make([]byte, 0, c))
		a.size += int64(c)
		i++
	}
	return a.chunks[i], uint32(i)<<chunkBits | uint32(len(a.chunks[i])), true
}

// fill sets the last chunk to tail, as room returned it, with bytes appended.
func (a *arena) fill(tail []byte) { a.chunks[len(a.chunks)-1] = tail }

// at returns the bytes from a place on: its entry, and those behind it in the
// same chunk.
func (a *arena) at(place uint32) []byte {
	return a.chunks[place>>chunkBits][place&(chunkMax-1):]
}

// truncate forgets what was added since m.
func (a *arena) truncate(m mark) {
	for i := m.chunk + 1; i < len(a.chunks); i++ {
		a.size -= int64(cap(a.chunks[i]))
	}
	if len(a.chunks) > 0 {
		clear(a.chunks[min(m.chunk+1, len(a.chunks)):])
		a.chunks = a.chunks[:m.chunk+1]
		a.chunks[m.chunk] = a.chunks[m.chunk][:m.off]
	}
}

// appendSince appends to dst what was added since m.
func (a *arena) appendSince(dst []byte, m mark) []byte {
	for i := m.chunk; i < len(a.chunks); i++ {
		from := 0
		if i == m.chunk {
			from = m.off
		}
		dst = append(dst, a.chunks[i][from:]...)
	}
	return dst
}
