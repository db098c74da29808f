package store

import "encoding/binary"

// run is what one batch accepts into one segment: in memory only, until the
// batch is durable and the segment absorbs it. A rollback forgets it.
type run struct {
	exact
	g               *segment
	all, superseded ledger
	low, high       int64
}

// begin makes the run one of a segment, for expect markers, 0: nobody knows.
func (r *run) begin(g *segment, expect int) {
	r.clear()
	r.table.fit(expect)
	r.g, r.all, r.superseded, r.low, r.high = g, ledger{}, ledger{}, g.low, g.high
}

// n returns how many markers the segment will have accepted with the run.
func (r *run) n() uint64 { return r.g.all.n + r.all.n }

// takeAs enters an entry whose text is id's, or id's extended. older is F of the
// marker that its ID had before, 0 when none: the segment must not be dropped
// before that one is dead, or the older one would stand as the last accepted
// again (R2).
func (r *run) takeAs(text []byte, id ident, m marker, older int64) bool {
	b, seed := r.g.base(), r.g.seeds[0]
	before, ok := r.putAs(text, id, b, m)
	if !ok {
		return false
	}
	if before != nil {
		r.superseded.add(b.proofOf(before, id.hash, seed))
	}
	r.all.add(proofAs(text, id.hash, m, seed))
	r.low = min(r.low, m.first)
	r.high = max(r.high, m.first, older)
	return true
}

// find looks an ID up. A tombstone is found, with F = forgotten.
func (r *run) find(id ident) (marker, bool) {
	e := r.exact.find(id)
	if e == nil {
		return marker{}, false
	}
	return r.g.base().answer(e, id.text), true
}

// append appends the run as it stands on disk:
//
//	base (40 B) | zigzag(opened - base.F) | zigzag(high - base.F) | entries
func (r *run) append(dst []byte) []byte {
	b := r.g.base()
	dst = b.append(dst)
	dst = binary.AppendVarint(dst, r.g.opened-b.first)
	dst = binary.AppendVarint(dst, r.high-b.first)
	return r.arena.appendTo(dst)
}

// absorb takes over the markers of a run of this segment.
func (s *segment) absorb(r *run, secret uint64) bool {
	s.all.add(r.all)
	s.superseded.add(r.superseded)
	s.low, s.high = r.low, r.high
	return s.exact.absorb(&r.exact, func(e []byte) {
		hash := hashText(plainText(e[:textLen(e)]), secret)
		s.superseded.add(s.base().proofOf(e, hash, s.seeds[0]))
	})
}
