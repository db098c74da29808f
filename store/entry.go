package store

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// An entry is one marker, the same bytes in a run, in memory and in a page:
//
//	+----------------------------+-------+--------------------+----------------------------+
//	| uvarint(len << 3 | kind)   | bytes | zigzag(F - base.F) | zigzag(offset - base.off)  |
//	+----------------------------+-------+--------------------+----------------------------+
//	'---------- ident.text --------------'
//
// (kind 7 says that more follows: see kindExtended.)
//
// base is what the entries of one segment share.
type base struct {
	origin Position // topic ID, partition, epoch; the first marker's offset
	first  int64    // F of the first marker
}

const baseSize = 16 + 4 + 4 + 8 + 8

// fits reports whether a marker of that origin can stand in the segment.
func (b base) fits(origin Position) bool {
	return b.origin.sameLog(origin) && b.origin.LeaderEpoch == origin.LeaderEpoch
}

// seed keys the proofs of the base's markers, so that a marker's ledger also
// holds its topic ID, partition and epoch.
func (b base) seed(secret uint64) uint64 {
	var k [24]byte
	copy(k[:], b.origin.TopicID[:])
	binary.BigEndian.PutUint32(k[16:], uint32(b.origin.Partition))
	binary.BigEndian.PutUint32(k[20:], uint32(b.origin.LeaderEpoch))
	return xxh3.HashSeed(k[:], secret)
}

func (b base) append(dst []byte) []byte {
	dst = append(dst, b.origin.TopicID[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(b.origin.Partition))
	dst = binary.BigEndian.AppendUint32(dst, uint32(b.origin.LeaderEpoch))
	dst = binary.BigEndian.AppendUint64(dst, uint64(b.origin.Offset))
	return binary.BigEndian.AppendUint64(dst, uint64(b.first))
}

func parseBase(b []byte) (base, []byte, bool) {
	if len(b) < baseSize {
		return base{}, nil, false
	}
	var v base
	copy(v.origin.TopicID[:], b)
	v.origin.Partition = int32(binary.BigEndian.Uint32(b[16:]))
	v.origin.LeaderEpoch = int32(binary.BigEndian.Uint32(b[20:]))
	v.origin.Offset = int64(binary.BigEndian.Uint64(b[24:]))
	v.first = int64(binary.BigEndian.Uint64(b[32:]))
	return v, b[baseSize:], true
}

// appendEntry appends the entry of an ID's text and its marker.
func (b base) appendEntry(dst, text []byte, m marker) []byte {
	dst = append(dst, text...)
	dst = binary.AppendVarint(dst, m.first-b.first)
	return binary.AppendVarint(dst, m.origin.Offset-b.origin.Offset)
}

// parse reads the entry at the start of e: the length of its ID text, its
// marker and its whole length; 0 lengths when it is damaged.
func (b base) parse(e []byte) (text int, m marker, size int) {
	text = textLen(e)
	if text == 0 {
		return 0, marker{}, 0
	}
	m, n := b.parseMarker(e[text:])
	if n == 0 {
		return 0, marker{}, 0
	}
	return text, m, text + n
}

// parseMarker reads what follows the ID text of an entry.
func (b base) parseMarker(e []byte) (marker, int) {
	first, n := binary.Varint(e)
	if n <= 0 {
		return marker{}, 0
	}
	offset, k := binary.Varint(e[n:])
	if k <= 0 {
		return marker{}, 0
	}
	m := marker{first: b.first + first, origin: b.origin}
	m.origin.Offset += offset
	return m, n + k
}

// entryLen returns the length of the entry at the start of e, 0 when it is
// damaged.
func entryLen(e []byte) int {
	n := textLen(e)
	if n == 0 {
		return 0
	}
	k := markerLen(e[n:])
	if k == 0 {
		return 0
	}
	return n + k
}

// markerLen returns the length of what follows the ID text of an entry, its two
// numbers, without reading them; 0 when it is damaged.
func markerLen(e []byte) int {
	if len(e) >= 8 { // both mostly end within eight bytes
		ends := ^binary.LittleEndian.Uint64(e) & 0x8080808080808080
		if ends &= ends - 1; ends != 0 {
			return bits.TrailingZeros64(ends)/8 + 1
		}
	}
	ends := 0
	for i, c := range e {
		if c < 0x80 {
			if ends++; ends == 2 {
				return i + 1
			}
		}
	}
	return 0
}

// find returns what the last entry of an ID says among entries in arrival order,
// the content of a page; a tombstone is found, with F = forgotten. A page that does not parse to its end is damaged.
func (b base) find(page, text []byte) (m marker, found, ok bool) {
	for len(page) > 0 {
		n := textLen(page)
		if n == 0 {
			return marker{}, false, false
		}
		k := markerLen(page[n:])
		if k == 0 {
			return marker{}, false, false
		}
		if bytes.Equal(page[:n], text) || extended(page) && startsWith(page[:n], text) {
			m, found = b.answer(page, text), true
		}
		page = page[n+k:]
	}
	return m, found, true
}
