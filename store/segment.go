package store

import (
	"encoding/binary"
	"sync/atomic"
)

// segment is a closed slice of a namespace's time, and at most one that is
// still open. Its life, in this order:
//
//	open    markers come in; they stand in runs on disk and in exact
//	closed  full, or its bucket is over
//	frozen  the batch that closed it is durable: read-only; may be spilled
//	kept    its table is ingested: a filter answers, and pages, which are in memory
//	        too while the budget allows
//	sealed  a filter in memory and pages on disk answer; a small one becomes so at
//	        once where the budget is short, in a shared table (share.go)
//	dropped its newest marker has left the window, or a merge replaced it
type segment struct {
	facts
	seeds []uint64 // of proofs, one a base
	exact *exact   // nil once its table is ingested
	table *sealed  // nil until then
	runs  uint64   // next run's sequence number

	bucketEnd int64 // ms; from this C on, the bucket in which it was opened is over

	uncatalogued bool       // has a table, but the batch that says so is not durable yet
	replaces     []*segment // by a merge, until that batch is durable
	merging      *merge     // that reads it

	// The queue's side. queued is the owner's; dead is set by the owner and
	// spilled by the queue.
	queued  bool
	dead    atomic.Bool
	spilled atomic.Pointer[sealed]
}

// facts are what the catalogue and the header of a table say of a segment.
//
// A segment's number is the place where it stands in the order of acceptance,
// and how often it was merged there: place<<16 | generation. A merged segment
// takes the place of the newest that it replaces, so numbers keep the order.
type facts struct {
	num        uint64
	from       uint64 // the oldest place it holds; its own unless it was merged
	bases      []base // of its entries; more than one only after a merge
	opened     int64  // C when it was opened
	low, high  int64  // F of its markers; high also covers the older marker of a re-accepted ID
	ruled      uint64 // the newest sweep that was applied to everything in it; 0: none
	all        ledger // every marker that was accepted into it
	superseded ledger // those of them that a newer one of the same ID replaced
	pages      uint32 // power of two; 0 while it has no table
	words      uint32 // of its filter
	filterSum  uint64 // xxh3 of the filter
	shared     bool   // its table lies among those of other namespaces, see share.go
}

const generationBits = 16

// placeOfNum returns the place of a segment number.
func placeOfNum(num uint64) uint64 { return num >> generationBits }

// merged reports whether the segment replaces others.
func (f *facts) merged() bool { return f.num&(1<<generationBits-1) != 0 }

// lastGeneration reports whether no merge can end at the segment any more.
func (f *facts) lastGeneration() bool { return (f.num+1)&(1<<generationBits-1) == 0 }

// sealed is what answers for a segment whose table is on disk.
type sealed struct {
	pages     uint32
	filter    *filter
	filterSum uint64
	kept      *kept // nil: none of its pages
}

// live returns how many markers the segment's table holds or will hold.
func (f *facts) live() uint64 { return f.all.n - f.superseded.n }

// pageOf returns the page of a hash: pages are ranges of it.
func pageOf(hi uint64, pages uint32) uint32 {
	return uint32(hi >> 32 * uint64(pages) >> 32)
}

const (
	factsFormat = 1
	factsShared = 1 // flag
)

func (f *facts) append(dst []byte) []byte {
	var flags byte
	if f.shared {
		flags = factsShared
	}
	dst = append(dst, factsFormat, flags)
	for _, v := range []uint64{f.num, f.from, uint64(f.opened), uint64(f.low), uint64(f.high), f.ruled} {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	dst = f.all.append(dst)
	dst = f.superseded.append(dst)
	dst = binary.BigEndian.AppendUint32(dst, f.pages)
	dst = binary.BigEndian.AppendUint32(dst, f.words)
	dst = binary.BigEndian.AppendUint64(dst, f.filterSum)
	for _, b := range f.bases {
		dst = b.append(dst)
	}
	return dst
}

func parseFacts(b []byte) (f facts, ok bool) {
	d := decoder{b: b}
	if d.byte() != factsFormat {
		return f, false
	}
	flags := d.byte()
	f.shared = flags == factsShared
	f.num, f.from = d.uint64(), d.uint64()
	f.opened, f.low, f.high = int64(d.uint64()), int64(d.uint64()), int64(d.uint64())
	f.ruled = d.uint64()
	f.all, f.superseded = d.ledger(), d.ledger()
	f.pages, f.words, f.filterSum = d.uint32(), d.uint32(), d.uint64()
	for ok = true; ok && len(d.b) > 0; {
		var v base
		if v, d.b, ok = parseBase(d.b); ok {
			f.bases = append(f.bases, v)
		}
	}
	return f, ok && !d.bad && flags <= factsShared && len(f.bases) > 0 && f.from <= placeOfNum(f.num)
}

// seedsOf returns the keys of the proofs of each base's markers.
func (f *facts) seedsOf(secret uint64) []uint64 {
	seeds := make([]uint64, len(f.bases))
	for i, b := range f.bases {
		seeds[i] = b.seed(secret)
	}
	return seeds
}

// expired reports whether every marker of the segment has left the window (R9).
// first is the namespace's first C, the meaning of F = 0.
func (s *segment) expired(now, first int64, r rules) bool {
	return !r.w.ContainsMillis(max(s.high, first), now)
}

// base returns the base of a segment that was never merged.
func (s *segment) base() base { return s.bases[0] }

// find looks an ID up in memory; the segment has no table. A tombstone is found,
// with F = forgotten.
func (s *segment) find(id ident) (marker, bool) {
	e := s.exact.find(id)
	if e == nil {
		return marker{}, false
	}
	return s.base().answer(e, id.text), true
}

// adopt makes the segment answer from its table, once the queue has written it.
func (s *segment) adopt() {
	t := s.spilled.Load()
	if s.table != nil || t == nil {
		return
	}
	s.pages, s.words, s.filterSum = t.pages, uint32(len(t.filter.words)), t.filterSum
	s.table, s.exact, s.uncatalogued = t, nil, true
}
