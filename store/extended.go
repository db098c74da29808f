package store

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/zeebo/xxh3"
)

// An extended entry says more of its ID than that it was accepted. Its text has
// two bytes more, the rest is as in any entry:
//
//	uvarint(len << 3 | 7) | flags | kind | bytes
//
// It stands where the plain entry of its ID would, so that whoever looks for the
// one finds the other; its proof covers the flags.

const kindExtended = 7

// The flags of an extended entry.
const (
	flagRestored  = 1 << 0 // the marker comes out of a restore
	flagTombstone = 1 << 1 // the ID was forgotten: the entry is no marker
	flagsKnown    = flagRestored | flagTombstone
)

// forgotten is F of the marker that a tombstone is found as.
const forgotten = math.MinInt64

// extended reports whether an entry, or a text, is extended: the low bits of its
// first number are those of its first byte.
func extended(e []byte) bool { return e[0]&7 == kindExtended }

// appendExtended appends the extended form of a plain text.
func appendExtended(dst, text []byte, flags byte) []byte {
	h, n := binary.Uvarint(text)
	dst = binary.AppendUvarint(dst, h|7)
	dst = append(dst, flags, byte(h&7))
	return append(dst, text[n:]...)
}

// appendText appends the text that the entry of a marker begins with.
func (m *marker) appendText(dst, text []byte) []byte {
	if m.restored {
		return appendExtended(dst, text, flagRestored)
	}
	return append(dst, text...)
}

// tombstone returns the text by which an ID is forgotten.
func tombstone(text []byte) []byte {
	return appendExtended(make([]byte, 0, len(text)+2), text, flagTombstone)
}

// extendedLen returns the length of an extended text whose first number is h and
// takes n bytes, 0 when it is damaged.
func extendedLen(e []byte, h uint64, n int) int {
	size := n + 2 + int(h>>3)
	if len(e) < size || e[n]&^flagsKnown != 0 || e[n+1] >= kindExtended {
		return 0
	}
	return size
}

// flagsOf returns the flags of an entry, 0 for one that is not extended.
func flagsOf(e []byte) byte {
	if !extended(e) {
		return 0
	}
	_, n := binary.Uvarint(e)
	return e[n]
}

// plainText returns the text by which the ID of an entry's text is looked up.
func plainText(text []byte) []byte {
	if !extended(text) {
		return text
	}
	h, n := binary.Uvarint(text)
	plain := binary.AppendUvarint(make([]byte, 0, len(text)), h&^7|uint64(text[n+1]))
	return append(plain, text[n+2:]...)
}

// startsWith reports whether entry e is one of the ID with that text, either of
// them extended or not.
func startsWith(e, text []byte) bool {
	if bytes.HasPrefix(e, text) {
		return true
	}
	if !extended(e) && !extended(text) {
		return false
	}
	kind, id := idOf(e)
	kind2, id2 := idOf(text)
	return kind == kind2 && bytes.Equal(id, id2)
}

// idOf returns the kind and the bytes of the ID of an undamaged entry.
func idOf(e []byte) (kind byte, id []byte) {
	h, n := binary.Uvarint(e)
	kind = byte(h & 7)
	if kind == kindExtended {
		kind = e[n+1]
		n += 2
	}
	return kind, e[n : n+int(h>>3)]
}

// answer returns what entry e says of its ID, whose plain text is given.
func (b base) answer(e, text []byte) marker {
	if extended(e) {
		if flagsOf(e)&flagTombstone != 0 {
			return marker{first: forgotten}
		}
		text = e[:textLen(e)]
	}
	m, _ := b.parseMarker(e[len(text):])
	m.restored = flagsOf(e)&flagRestored != 0
	return m
}

// proofOf returns the ledger of entry e, whose ID's hash is given. seed is the
// base's.
func (b base) proofOf(e []byte, hash xxh3.Uint128, seed uint64) ledger {
	m, _ := b.parseMarker(e[textLen(e):])
	return proofAs(e, hash, m, seed)
}

// proofAs returns the ledger of an entry with that text, or that begins with it:
// the proof of an extended one also covers its flags.
func proofAs(text []byte, hash xxh3.Uint128, m marker, seed uint64) ledger {
	if extended(text) {
		seed = xxh3.HashSeed([]byte{flagsOf(text)}, seed)
	}
	return proof(hash, m.first, m.origin.Offset, seed)
}
