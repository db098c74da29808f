package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/zeebo/xxh3"
)

// The kinds of a stored ID, the low 3 bits of an entry's first number. 7 is that
// of an extended entry, see kindExtended.
const (
	kindRaw    = 0 // the bytes as they are
	kindUUID   = 1 // 16 bytes for the canonical lower-case text of a UUID
	kindDigest = 2 // SHA-256 of an ID above 256 bytes; never equal to a raw ID
)

const maxRaw = 256 // bytes of an ID that is stored as it is

// ident is an ID as it is stored and looked up. Two IDs are equal if and only
// if their text is (R14; for IDs above 256 bytes: unless SHA-256 collides):
// the text begins with its own length and kind, and the hash only finds a place.
type ident struct {
	text []byte // uvarint(len<<3 | kind) | bytes: how an entry begins
	hash xxh3.Uint128
}

// appendIdent appends the stored text of id to dst. id is not empty.
func appendIdent(dst, id []byte) []byte {
	switch {
	case len(id) > maxRaw:
		sum := sha256.Sum256(id)
		return append(binary.AppendUvarint(dst, sha256.Size<<3|kindDigest), sum[:]...)
	case len(id) == 36:
		if u, ok := parseUUID(id); ok {
			return append(binary.AppendUvarint(dst, 16<<3|kindUUID), u[:]...)
		}
	}
	return append(binary.AppendUvarint(dst, uint64(len(id))<<3|kindRaw), id...)
}

// parseUUID returns the 16 bytes of a canonical lower-case UUID. Any other
// spelling is another ID and stays raw.
func parseUUID(id []byte) (u [16]byte, ok bool) {
	n := 0
	for i, c := range id {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return u, false
			}
			continue
		}
		d := bytes.IndexByte([]byte("0123456789abcdef"), c)
		if d < 0 {
			return u, false
		}
		u[n/2] = u[n/2]<<4 | byte(d)
		n++
	}
	return u, true
}

// textLen returns the length of the ID text at the start of entry e, 0 when it
// is damaged.
func textLen(e []byte) int {
	var h uint64
	n := 2
	if len(e) > 1 && e[0] >= 0x80 && e[1] < 0x80 { // an ID of 16 bytes or more, as most are
		h = uint64(e[0]&0x7f) | uint64(e[1])<<7
	} else {
		h, n = binary.Uvarint(e)
	}
	if n <= 0 || h>>3 > maxRaw || len(e)-n < int(h>>3) {
		return 0
	}
	if h&7 == kindExtended {
		return extendedLen(e, h, n)
	}
	return n + int(h>>3)
}

// hashText returns the keyed hash of an ID's text. The key is the store's own
// secret, so that nobody can choose IDs that share a place.
func hashText(text []byte, secret uint64) xxh3.Uint128 {
	return xxh3.Hash128Seed(text, secret)
}

// IDKind says how an ID is stored.
type IDKind uint8

// The kinds of a stored ID. The zero IDKind is none.
const (
	_        IDKind = iota
	IDRaw           // its bytes as they are
	IDUUID          // the 16 bytes of a UUID in its canonical lower-case text
	IDDigest        // the SHA-256 of an ID above 256 bytes, which is not stored itself
)

// String returns the kind's name in lower case.
func (k IDKind) String() string {
	switch k {
	case IDRaw:
		return "raw"
	case IDUUID:
		return "uuid"
	case IDDigest:
		return "digest"
	default:
		return "none"
	}
}

// readText returns the ID that an entry's text stands for, or its digest.
func readText(text []byte) ([]byte, IDKind) {
	h, n := binary.Uvarint(text)
	b := text[n:]
	switch h & 7 {
	case kindUUID:
		return appendUUID(nil, b), IDUUID
	case kindDigest:
		return b, IDDigest
	default:
		return b, IDRaw
	}
}

// appendUUID appends the canonical text of a UUID.
func appendUUID(dst, u []byte) []byte {
	for i := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, u[i:i+1])
	}
	return dst
}
