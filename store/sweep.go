package store

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/zeebo/xxh3"
)

// A sweep forgets many markers at once: every one that it matches in a segment
// below a place. The batch that brings it ends the open segment there, so what
// is accepted afterwards stands above. A marker that is swept counts as not
// there, and nothing older of its ID stands in for it.
//
// A sweep is a few bytes, however much it forgets. Merges take what is swept out
// of what they copy; once every segment below its place has been rewritten so,
// or dropped, the sweep goes.
type sweep struct {
	num   uint64 // goes up; see facts.ruled
	below uint64 // place; goes up with num, or stays
	what  sweepKind

	topic     ID // of sweepOrigins
	partition int32
	from, to  int64 // offsets, or times in ms: from the one up to, not including, the other
	first     int64 // of sweepTimes: the meaning of F = 0 when it was ordered
}

type sweepKind uint8

const (
	_ sweepKind = iota
	sweepAll
	sweepOrigins
	sweepTimes
)

// sweepsMost bounds the sweeps of a namespace: every duplicate is held against
// all of them.
const sweepsMost = 1000

// matches reports whether the sweep is about marker m, wherever it stands.
func (s *sweep) matches(m marker) bool {
	switch s.what {
	case sweepOrigins:
		return m.origin.TopicID == s.topic && m.origin.Partition == s.partition && !m.origin.IsZero() &&
			m.origin.Offset >= s.from && m.origin.Offset < s.to
	case sweepTimes:
		first := m.first
		if first == 0 {
			first = s.first
		}
		return first >= s.from && (first < s.to || s.to == math.MaxInt64)
	default:
		return true
	}
}

// swept reports whether one of the sweeps takes a marker out of a segment.
func swept(all []sweep, m marker, place uint64) bool {
	for i := range all {
		if s := &all[i]; place < s.below && s.matches(m) {
			return true
		}
	}
	return false
}

// stands returns a marker that was found in a segment, unless it is forgotten.
// It hides what an older segment may have: the newest entry of an ID decides.
func stands(sweeps []sweep, m marker, num uint64) (marker, bool, error) {
	if m.first == forgotten || len(sweeps) > 0 && swept(sweeps, m, placeOfNum(num)) {
		return marker{}, false, nil
	}
	return m, true, nil
}

// sweep forgets what s matches of all that was accepted so far.
func (x *segments) sweep(s sweep) error {
	b := &x.batch
	if s.what == sweepAll {
		b.sweeps = nil // what they are about is swept once more
	} else if b.sweeps = x.needed(nil); len(b.sweeps) >= sweepsMost {
		return fmt.Errorf("%w: %d stand; they go as what they forgot leaves the window; forget IDs one by one, "+
			"or everything at once", ErrForgets, len(b.sweeps))
	}
	s.below = b.count
	b.sweeps = append(slices.Clip(b.sweeps), s)
	b.into, b.swept = nil, true
	return nil
}

// needed returns the sweeps that still have something to forget, in all segments
// but those that go. Numbers and places go up together, so what a segment needs
// are the last ones.
func (x *segments) needed(going []*segment) []sweep {
	b := &x.batch
	from := len(b.sweeps)
	needs := func(g *segment) {
		from = min(from, sort.Search(from, func(i int) bool {
			return b.sweeps[i].below > g.from && b.sweeps[i].num > g.ruled
		}))
	}
	for _, g := range x.list {
		if !slices.Contains(going, g) {
			needs(g)
		}
	}
	for _, r := range b.runs {
		needs(r.g)
	}
	return b.sweeps[from:]
}

// emptied reports whether a durable sweep leaves nothing of a segment, so that
// it may be dropped.
func (x *segments) emptied(g *segment) bool {
	return len(x.sweeps) > 0 && x.sweeps[0].what == sweepAll && placeOfNum(g.num) < x.sweeps[0].below
}

// closedBySweep reports whether a sweep ended a segment: nothing more may come in,
// or it would be swept too.
func (x *segments) closedBySweep(g *segment) bool {
	last := len(x.sweeps) - 1
	return last >= 0 && placeOfNum(g.num) < x.sweeps[last].below
}

// sweepSum proves the sweeps as the batch leaves them; 0 when there are none.
func (x *segments) sweepSum() uint64 { return sumOfSweeps(appendSweeps(nil, x.batch.sweeps)) }

func sumOfSweeps(value []byte) uint64 {
	if len(value) == 0 {
		return 0
	}
	return xxh3.Hash(value)
}

// appendSweeps writes sweeps, for each:
//
//	kind (1 B) | number, place | topic ID (16 B), partition (4 B) | from, to, first
func appendSweeps(dst []byte, all []sweep) []byte {
	for _, s := range all {
		dst = append(dst, byte(s.what))
		dst = binary.AppendUvarint(dst, s.num)
		dst = binary.AppendUvarint(dst, s.below)
		dst = append(dst, s.topic[:]...)
		dst = binary.BigEndian.AppendUint32(dst, uint32(s.partition))
		for _, v := range []int64{s.from, s.to, s.first} {
			dst = binary.AppendVarint(dst, v)
		}
	}
	return dst
}

func parseSweeps(b []byte) (all []sweep, ok bool) {
	d := decoder{b: b}
	for len(d.b) > 0 {
		s := sweep{what: sweepKind(d.byte()), num: d.uvarint(), below: d.uvarint()}
		copy(s.topic[:], d.bytes(16))
		s.partition = int32(d.uint32())
		s.from, s.to, s.first = d.varint(), d.varint(), d.varint()
		if d.bad || s.what < sweepAll || s.what > sweepTimes {
			return nil, false
		}
		all = append(all, s)
	}
	return all, !d.bad
}

// loadSweeps reads the sweeps that stand, and proves them.
func (n *Namespace) loadSweeps() ([]sweep, error) {
	v, err := n.s.get(nsKey(kindSweeps, n.num))
	if err != nil {
		return nil, err
	}
	all, ok := parseSweeps(v)
	if !ok || sumOfSweeps(v) != n.head.sweeps {
		return nil, corruptf("namespace %q: its forgotten ranges are not the ones that were written", n.name)
	}
	return all, nil
}
