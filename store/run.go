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

// begin makes the run one of a segment.
func (r *run) begin(g *segment) {
	r.clear()
	r.g, r.all, r.superseded, r.low, r.high = g, ledger{}, ledger{}, g.low, g.high
}

// n returns how many markers the segment will have accepted with the run.
func (r *run) n() uint64 { return r.g.all.n + r.all.n }

// take enters a marker. older is F of the marker that its ID had before, 0 when
// none: the segment must not be dropped before that one is dead, or the older
// one would stand as the last accepted again (R2).
func (r *run) take(id ident, m marker, older int64) bool {
	b, seed := r.g.base(), r.g.seeds[0]
	before, ok := r.put(id, b, m)
	if !ok {
		return false
	}
	if before != nil {
		was, _ := b.parseMarker(before[len(id.text):])
		r.superseded.add(proof(id.hash, was.first, was.origin.Offset, seed))
	}
	r.all.add(proof(id.hash, m.first, m.origin.Offset, seed))
	r.low = min(r.low, m.first)
	r.high = max(r.high, m.first, older)
	return true
}

// find looks an ID up.
func (r *run) find(id ident) (marker, bool) {
	e := r.exact.find(id)
	if e == nil {
		return marker{}, false
	}
	m, _ := r.g.base().parseMarker(e[len(id.text):])
	return m, true
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
		n := textLen(e)
		m, _ := s.base().parseMarker(e[n:])
		s.superseded.add(proof(hashText(e[:n], secret), m.first, m.origin.Offset, s.seeds[0]))
	})
}
