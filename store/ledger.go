package store

import (
	"encoding/binary"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// ledger proves a set of markers: how many there are, and the sum modulo 2^128
// of the keyed hashes of their whole entries (ID, F, origin). Sums do not
// depend on an order, so ledgers of disjoint sets add up to the one of their
// union, and taking a set away subtracts its own.
type ledger struct {
	n      uint64
	hi, lo uint64
}

func (l *ledger) add(o ledger) {
	var carry uint64
	l.n += o.n
	l.lo, carry = bits.Add64(l.lo, o.lo, 0)
	l.hi, _ = bits.Add64(l.hi, o.hi, carry)
}

func (l *ledger) sub(o ledger) {
	var borrow uint64
	l.n -= o.n
	l.lo, borrow = bits.Sub64(l.lo, o.lo, 0)
	l.hi, _ = bits.Sub64(l.hi, o.hi, borrow)
}

// proof returns the ledger of one marker. seed is the base's (see base.seed).
func proof(hash xxh3.Uint128, first, offset int64, seed uint64) ledger {
	var b [32]byte
	binary.LittleEndian.PutUint64(b[0:], hash.Hi)
	binary.LittleEndian.PutUint64(b[8:], hash.Lo)
	binary.LittleEndian.PutUint64(b[16:], uint64(first))
	binary.LittleEndian.PutUint64(b[24:], uint64(offset))
	h := xxh3.Hash128Seed(b[:], seed)
	return ledger{n: 1, hi: h.Hi, lo: h.Lo}
}

func (l ledger) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, l.n)
	dst = binary.BigEndian.AppendUint64(dst, l.hi)
	return binary.BigEndian.AppendUint64(dst, l.lo)
}
