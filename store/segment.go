package store

import (
	"encoding/binary"
	"sync/atomic"
)

// segment is a closed slice of a namespace's time, and at most one that is
// still open. Its life, in this order:
//
//	open    markers come in; they stand in runs on disk and in exact
//	closed  full, or its bucket is over; still the batch's, a rollback reopens it
//	frozen  the batch is durable: read-only; may be spilled
//	sealed  its table is ingested: pages on disk, a filter in memory
//	dropped its newest marker has left the window
type segment struct {
	facts
	seed  uint64 // of proofs
	exact *exact // nil once sealed
	table *sealed
	runs  uint64 // next run's sequence number
	mark  mark   // up to here the entries stand in durable runs

	bucketEnd int64 // ms; from this C on, the bucket in which it was opened is over

	uncatalogued bool // sealed, but the batch that says so is not durable yet

	// The queue's side. queued is the owner's; dead is set by the owner and
	// spilled by the queue.
	queued  bool
	dead    atomic.Bool
	spilled atomic.Pointer[sealed]
}

// facts are what the catalogue and the header of a table say of a segment.
type facts struct {
	num        uint64
	base       base
	opened     int64  // C when it was opened
	low, high  int64  // F of its markers; high also covers the older marker of a re-accepted ID
	all        ledger // every marker that was accepted into it
	superseded ledger // those of them that a newer one of the same ID replaced
	pages      uint32 // power of two; 0 while it has no table
	words      uint32 // of its filter
	filterSum  uint64 // xxh3 of the filter
}

// sealed is what answers for a segment whose table is on disk.
type sealed struct {
	pages     uint32
	filter    *filter
	filterSum uint64
}

// live returns how many markers the segment's table holds or will hold.
func (f *facts) live() uint64 { return f.all.n - f.superseded.n }

// pageOf returns the page of a hash: pages are ranges of it.
func pageOf(hi uint64, pages uint32) uint32 {
	return uint32(hi >> 32 * uint64(pages) >> 32)
}

const factsFormat = 1

const factsSize = 1 + 8 + baseSize + 3*8 + 2*24 + 4 + 4 + 8

func (f *facts) append(dst []byte) []byte {
	dst = append(dst, factsFormat)
	dst = binary.BigEndian.AppendUint64(dst, f.num)
	dst = f.base.append(dst)
	dst = binary.BigEndian.AppendUint64(dst, uint64(f.opened))
	dst = binary.BigEndian.AppendUint64(dst, uint64(f.low))
	dst = binary.BigEndian.AppendUint64(dst, uint64(f.high))
	dst = f.all.append(dst)
	dst = f.superseded.append(dst)
	dst = binary.BigEndian.AppendUint32(dst, f.pages)
	dst = binary.BigEndian.AppendUint32(dst, f.words)
	return binary.BigEndian.AppendUint64(dst, f.filterSum)
}

func parseFacts(b []byte) (f facts, ok bool) {
	if len(b) != factsSize || b[0] != factsFormat {
		return f, false
	}
	d := decoder{b: b[1:]}
	f.num = d.uint64()
	f.base, d.b, _ = parseBase(d.b)
	f.opened, f.low, f.high = int64(d.uint64()), int64(d.uint64()), int64(d.uint64())
	f.all, f.superseded = d.ledger(), d.ledger()
	f.pages, f.words, f.filterSum = d.uint32(), d.uint32(), d.uint64()
	return f, !d.bad
}

// expired reports whether every marker of the segment has left the window (R9).
// first is the namespace's first C, the meaning of F = 0.
func (s *segment) expired(now, first int64, r rules) bool {
	return !r.w.ContainsMillis(max(s.high, first), now)
}

// take enters a marker. older is F of the marker that its ID had before, 0 when
// none: the segment must not be dropped before that one is dead, or the older
// one would stand as the last accepted again (R2).
func (s *segment) take(id ident, m marker, older int64) bool {
	before, ok := s.exact.put(id, s.base, m)
	if !ok {
		return false
	}
	if before != nil {
		_, was, _ := s.base.parse(before)
		s.superseded.add(proof(id.hash, was.first, was.origin.Offset, s.seed))
	}
	s.all.add(proof(id.hash, m.first, m.origin.Offset, s.seed))
	s.low = min(s.low, m.first)
	s.high = max(s.high, m.first, older)
	return true
}

// find looks an ID up in a segment that is not sealed.
func (s *segment) find(id ident) (marker, bool) {
	i := s.exact.slot(id)
	if i < 0 {
		return marker{}, false
	}
	_, m, _ := s.base.parse(s.exact.arena.at(placeOf(s.exact.table.slots[i])))
	return m, true
}

// appendRun appends what came in since the last durable batch, as it stands on
// disk:
//
//	base (40 B) | zigzag(opened - base.F) | zigzag(high - base.F) | entries
func (s *segment) appendRun(dst []byte) []byte {
	b := s.base.append(dst)
	b = binary.AppendVarint(b, s.opened-s.base.first)
	b = binary.AppendVarint(b, s.high-s.base.first)
	return s.exact.arena.appendSince(b, s.mark)
}

// adopt makes the segment answer from its table, once the queue has written it.
func (s *segment) adopt() {
	t := s.spilled.Load()
	if s.exact == nil || t == nil {
		return
	}
	s.pages, s.words, s.filterSum = t.pages, uint32(len(t.filter.words)), t.filterSum
	s.exact, s.table, s.uncatalogued = nil, t, true
}
